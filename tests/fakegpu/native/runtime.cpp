// The runtime: devices, streams, events and launches. A kernel does nothing but count, and take its code's memory once.
#include <vector_types.h>
#include <driver_types.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "ledger.h"

namespace {
std::mutex guard;
std::atomic<long> next_handle{4096};
thread_local int error_code = 0;
std::unordered_map<const void*, const char*>& names() { static std::unordered_map<const void*, const char*> all; return all; }
std::unordered_set<const void*> loaded[MAX_DEVICES];
std::map<std::string, long> launches_by_name;

struct Report {
  ~Report() {
    if (launches_by_name.empty()) return;
    FILE* file = fopen((settings().directory + "/kernels." + std::to_string(getpid()) + ".tsv").c_str(), "w");
    if (!file) return;
    for (auto& [name, count] : launches_by_name) fprintf(file, "%ld\t%s\n", count, name.c_str());
    fclose(file);
  }
} report;

const char* text_of(int code) {
  return code == SUCCESS ? "no error" : code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected"
       : code == INVALID_DEVICE ? "invalid device ordinal" : "an error of the fake device";
}
}  // namespace

int fail(int code) { if (code) error_code = code; return code; }
int last_error(bool clears) { int code = error_code; if (clears) error_code = 0; return code; }
void* new_handle() { return (void*)(next_handle += 64); }

int launch(const void* kernel, const char* name) {
  int device = physical(current_device);
  Process* process = process_on(device);
  if (!process) return fail(OUT_OF_MEMORY);
  process->launches++;
  if (settings().counts_kernels) {
    std::lock_guard<std::mutex> locked(guard);
    auto it = names().find(kernel);
    launches_by_name[name ? name : it == names().end() ? "?" : it->second]++;
  }
  if (!settings().kernel_bytes || !kernel) return SUCCESS;
  std::lock_guard<std::mutex> locked(guard);
  if (loaded[device].count(kernel)) return SUCCESS;
  if (!take(settings().kernel_bytes, device)) return fail(OUT_OF_MEMORY);
  loaded[device].insert(kernel);
  return SUCCESS;
}

// ---- devices
API(cudaGetDeviceCount, int* n) { *n = num_visible(); return *n ? SUCCESS : fail(NO_DEVICE); }
API(cudaGetDevice, int* device) { *device = current_device; return SUCCESS; }
API(cudaSetDevice, int device) {
  if (physical(device) < 0) return fail(INVALID_DEVICE);
  current_device = device;
  return process_on(physical(device)) ? SUCCESS : fail(OUT_OF_MEMORY);
}
API(cudaDriverGetVersion, int* version) { *version = CUDA_RELEASE; return SUCCESS; }
API(cudaRuntimeGetVersion, int* version) { *version = CUDA_RELEASE; return SUCCESS; }
API(cudaDeviceSynchronize) {
  if (Process* process = process_on(physical(current_device))) { process->syncs++; return SUCCESS; }
  return fail(OUT_OF_MEMORY);
}
API(cudaGetLastError) { return last_error(true); }
API(cudaPeekAtLastError) { return last_error(false); }
API_OF(const char*, cudaGetErrorName, int code) { return code == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : code ? "cudaErrorUnknown" : "cudaSuccess"; }
API_OF(const char*, cudaGetErrorString, int code) { return text_of(code); }
API(cuGetErrorString, int code, const char** text) { *text = text_of(code); return SUCCESS; }

API(cudaDeviceGetAttribute, int* value, int which, int) {
  switch (which) {
    case cudaDevAttrComputeCapabilityMajor: *value = settings().capability / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = settings().capability % 10; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 232448; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 233472; break;
    case cudaDevAttrWarpSize: case cudaDevAttrMaxBlocksPerMultiprocessor: *value = 32; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: *value = 65536; break;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    case cudaDevAttrL2CacheSize: *value = 60 << 20; break;
    case cudaDevAttrUnifiedAddressing: case cudaDevAttrConcurrentKernels: *value = 1; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMemoryClockRate: *value = 3201000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = 6144; break;
    default: *value = 0;
  }
  return SUCCESS;
}
API(cudaGetDeviceProperties, cudaDeviceProp* p, int device) {
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "%s", settings().name.c_str());
  p->major = settings().capability / 10;
  p->minor = settings().capability % 10;
  p->totalGlobalMem = settings().total_bytes;
  p->multiProcessorCount = 132;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472;
  p->reservedSharedMemPerBlock = 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = p->maxBlocksPerMultiProcessor = 32;
  p->memPitch = 2147483647;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalConstMem = 65536;
  p->textureAlignment = 512;
  p->maxThreadsPerMultiProcessor = 2048;
  p->l2CacheSize = 60 << 20;
  p->concurrentKernels = p->unifiedAddressing = p->managedMemory = p->cooperativeLaunch = p->streamPrioritiesSupported = p->memoryPoolsSupported = 1;
  p->asyncEngineCount = 3;
  p->memoryBusWidth = 6144;
  p->pciBusID = p->uuid.bytes[0] = physical(device) + 1;
  return SUCCESS;
}
API(cudaGetDeviceProperties_v2, cudaDeviceProp* p, int device) { return cudaGetDeviceProperties(p, device); }
API(cudaDeviceGetPCIBusId, char* text, int room, int device) { snprintf(text, room, "0000:%02x:00.0", physical(device) + 1); return SUCCESS; }
API(cudaDeviceGetStreamPriorityRange, int* least, int* greatest) { if (least) *least = 0; if (greatest) *greatest = -5; return SUCCESS; }
API(cudaDeviceCanAccessPeer, int* can, int, int) { *can = 0; return SUCCESS; }
API(cudaDeviceGetDefaultMemPool, void** pool, int) { *pool = (void*)64; return SUCCESS; }
API(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, int* n, const void*, int, size_t, unsigned) { *n = 2; return SUCCESS; }
API(cudaFuncGetAttributes, cudaFuncAttributes* a, const void*) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024;
  a->numRegs = 32;
  a->binaryVersion = a->ptxVersion = settings().capability;
  a->maxDynamicSharedSizeBytes = 49152;
  return SUCCESS;
}

// ---- streams and events; an elapsed time is 1 ms and means nothing
static int new_on_device(void** out) { if (!process_on(physical(current_device))) return fail(OUT_OF_MEMORY); *out = new_handle(); return SUCCESS; }
static int synchronize() { if (Process* process = process_on(physical(current_device))) process->syncs++; return SUCCESS; }
API(cudaStreamCreate, void** s) { return new_on_device(s); }
API(cudaStreamCreateWithFlags, void** s, unsigned) { return new_on_device(s); }
API(cudaStreamCreateWithPriority, void** s, unsigned, int) { return new_on_device(s); }
API(cudaStreamGetPriority, void*, int* p) { *p = 0; return SUCCESS; }
API(cudaStreamSynchronize, void*) { return synchronize(); }
API(cudaStreamIsCapturing, void*, int* status) { *status = 0; return SUCCESS; }
API(cudaStreamGetCaptureInfo, void*, int* status, u64* id) { *status = 0; if (id) *id = 0; return SUCCESS; }
API(cudaStreamGetCaptureInfo_v2, void*, int* status, u64* id) { *status = 0; if (id) *id = 0; return SUCCESS; }
API(cudaEventCreate, void** e) { return new_on_device(e); }
API(cudaEventCreateWithFlags, void** e, unsigned) { return new_on_device(e); }
API(cudaEventSynchronize, void*) { return synchronize(); }
API(cudaEventElapsedTime, float* ms, void*, void*) { *ms = 1; return SUCCESS; }

// ---- launches
API_OF(void**, __cudaRegisterFatBinary, void*) { static void* binary; return &binary; }
API_OF(void, __cudaRegisterFatBinaryEnd, void**) {}
API_OF(void, __cudaUnregisterFatBinary, void**) {}
API_OF(void, __cudaRegisterFunction, void**, const char* host, char*, const char* name) { names()[host] = name; }
API_OF(void, __cudaRegisterVar, void**) {}
static thread_local struct { dim3 grid, block; size_t shared; void* stream; } configuration;
API_OF(unsigned, __cudaPushCallConfiguration, dim3 grid, dim3 block, size_t shared, void* stream) { configuration = {grid, block, shared, stream}; return 0; }
API(__cudaPopCallConfiguration, dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *shared = configuration.shared;
  *(void**)stream = configuration.stream;
  return SUCCESS;
}
API(__cudaGetKernel, void** kernel, const void* host) { *kernel = (void*)host; return SUCCESS; }
API(__cudaLaunchKernel, void* kernel, dim3, dim3, void**, size_t, void*) { return launch(kernel, nullptr); }
API(cudaLaunchKernel, const void* kernel, dim3, dim3, void**, size_t, void*) { return launch(kernel, nullptr); }
API(cudaLaunchKernelExC, const void*, const void* kernel, void**) { return launch(kernel, nullptr); }
