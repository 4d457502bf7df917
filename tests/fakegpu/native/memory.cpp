// Memory: address space without pages behind it, so that a device of any size costs none. Reads give zeros.
#include <driver_types.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <unordered_map>

#include "ledger.h"

namespace {
struct Block { size_t bytes; int device; };
std::recursive_mutex guard;
typedef std::lock_guard<std::recursive_mutex> Locked;
std::unordered_map<void*, Block> blocks;       // of cudaMalloc
std::unordered_map<void*, size_t> host_blocks;  // of cudaHostAlloc
std::map<char*, Block> ranges;                 // everything that is a device address
std::unordered_map<u64, Block> chunks;         // physical memory of cuMemCreate

void* address_space(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

std::map<char*, Block>::iterator range_of(const void* p) {
  auto after = ranges.upper_bound((char*)p);
  if (after == ranges.begin()) return ranges.end();
  auto it = std::prev(after);
  return (char*)p < it->first + it->second.bytes ? it : ranges.end();
}

int allocate(void** out, size_t wanted) {
  *out = nullptr;
  size_t bytes = (wanted + PAGE - 1) / PAGE * PAGE;
  int device = physical(current_device);
  if (!take(bytes, device)) return fail(OUT_OF_MEMORY);
  process_on(device)->mallocs++;
  void* p = address_space(bytes);
  if (!p) { give(bytes, device); return fail(OUT_OF_MEMORY); }
  Locked locked(guard);
  blocks[p] = ranges[(char*)p] = {bytes, device};
  *out = p;
  return SUCCESS;
}

int release(void* p) {
  Locked locked(guard);
  auto it = blocks.find(p);
  if (it == blocks.end()) return SUCCESS;
  Block block = it->second;
  blocks.erase(it);
  ranges.erase((char*)p);
  munmap(p, block.bytes);
  give(block.bytes, block.device);
  if (Process* process = process_if_on(block.device)) process->frees++;
  return SUCCESS;
}

int copy(void* to, const void* from, size_t bytes) {
  bool writes_device = is_on_device(to), reads_device = is_on_device(from);
  Process* process = process_on(physical(current_device));
  if (!process) return fail(OUT_OF_MEMORY);
  if (reads_device && !writes_device) { process->copies_to_host++; memset(to, 0, bytes); }  // no kernel wrote there
  else if (writes_device && !reads_device) process->copies_to_device++;                    // and nothing will read it
  else if (!writes_device) memcpy(to, from, bytes);
  return SUCCESS;
}
}  // namespace

bool is_on_device(const void* p) { Locked locked(guard); return range_of(p) != ranges.end(); }

API(cudaMalloc, void** p, size_t bytes) { return allocate(p, bytes); }
API(cudaMallocAsync, void** p, size_t bytes, void*) { return allocate(p, bytes); }
API(cudaFree, void* p) { return release(p); }
API(cudaFreeAsync, void* p, void*) { return release(p); }
API(cudaMemGetInfo, size_t* free, size_t* total) {
  int device = physical(current_device);
  if (!process_on(device)) return fail(OUT_OF_MEMORY);
  *total = settings().total_bytes;
  *free = settings().total_bytes - used_bytes(device);
  return SUCCESS;
}
API(cudaHostAlloc, void** p, size_t bytes, unsigned) {  // pinning needs a context on the current device, as the driver does
  if (!process_on(physical(current_device))) return fail(OUT_OF_MEMORY);
  *p = address_space(bytes ? bytes : 1);
  Locked locked(guard);
  host_blocks[*p] = bytes ? bytes : 1;
  return SUCCESS;
}
API(cudaFreeHost, void* p) {
  Locked locked(guard);
  auto it = host_blocks.find(p);
  if (it != host_blocks.end()) { munmap(p, it->second); host_blocks.erase(it); }
  return SUCCESS;
}
API(cudaMemcpy, void* to, const void* from, size_t bytes, int) {
  if (Process* process = process_on(physical(current_device))) process->syncs++;
  return copy(to, from, bytes);
}
API(cudaMemcpyAsync, void* to, const void* from, size_t bytes, int, void*) { return copy(to, from, bytes); }
API(cudaMemcpyPeerAsync, void*, int, const void*, int, size_t, void*) { return SUCCESS; }
API(cudaMemcpyToSymbol, const void*, const void*, size_t, size_t, int) { return SUCCESS; }
API(cudaMemset, void*, int, size_t) { return launch(nullptr, "memset"); }
API(cudaMemsetAsync, void*, int, size_t, void*) { return launch(nullptr, "memset"); }
API(cudaGetSymbolAddress, void** p, const void* symbol) { *p = (void*)symbol; return SUCCESS; }
API(cudaPointerGetAttributes, cudaPointerAttributes* of, const void* p) {
  memset(of, 0, sizeof *of);
  Locked locked(guard);
  auto it = range_of(p);
  of->type = it != ranges.end() ? cudaMemoryTypeDevice : host_blocks.count((void*)p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  of->device = current_device;
  for (int i = 0; it != ranges.end() && i < num_visible(); i++) if (physical(i) == it->second.device) of->device = i;
  of->devicePointer = of->hostPointer = (void*)p;
  return SUCCESS;
}

// The driver's virtual memory, which expandable segments are made of.
struct AllocationProperties { int type, handle_types, location_type, location; };
API(cuMemGetAllocationGranularity, size_t* bytes, const void*, int) { *bytes = PAGE; return SUCCESS; }
API(cuMemAddressReserve, u64* p, size_t bytes, size_t, u64, u64) {
  void* address = address_space(bytes);
  if (!address) return OUT_OF_MEMORY;
  Locked locked(guard);
  ranges[(char*)address] = {bytes, physical(current_device)};
  *p = (u64)address;
  return SUCCESS;
}
API(cuMemAddressFree, u64 p, size_t bytes) {
  Locked locked(guard);
  ranges.erase((char*)p);
  munmap((void*)p, bytes);
  return SUCCESS;
}
API(cuMemCreate, u64* chunk, size_t bytes, const AllocationProperties* of, u64) {
  int device = physical(of->location);
  if (!take(bytes, device)) return OUT_OF_MEMORY;
  process_on(device)->mallocs++;
  Locked locked(guard);
  *chunk = (u64)new_handle();
  chunks[*chunk] = {bytes, device};
  return SUCCESS;
}
API(cuMemRelease, u64 chunk) {
  Locked locked(guard);
  auto it = chunks.find(chunk);
  if (it == chunks.end()) return SUCCESS;
  give(it->second.bytes, it->second.device);
  if (Process* process = process_if_on(it->second.device)) process->frees++;
  chunks.erase(it);
  return SUCCESS;
}
API(cuMemGetAddressRange_v2, u64* base, size_t* bytes, u64 p) {
  Locked locked(guard);
  auto it = range_of((void*)p);
  if (it == ranges.end()) return INVALID_VALUE;
  if (base) *base = (u64)it->first;
  if (bytes) *bytes = it->second.bytes;
  return SUCCESS;
}
API(cuMemGetAddressRange, u64* base, size_t* bytes, u64 p) { return cuMemGetAddressRange_v2(base, bytes, p); }
