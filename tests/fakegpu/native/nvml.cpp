// NVML: numbers the devices as the machine does, whatever CUDA_VISIBLE_DEVICES says. A handle is the number plus one.
#include <cstdio>
#include <cstring>
#include <string>

#include "ledger.h"

namespace {
struct Memory { u64 total, free, used; };
struct Memory_v2 { unsigned version; u64 total, reserved, free, used; };
struct ProcessInfo { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; };
enum { NVML_INVALID_ARGUMENT = 2, NVML_INSUFFICIENT_SIZE = 7 };

int device_of(void* handle) { return (int)(long)handle - 1; }
int find(long device, void** handle) {
  *handle = (void*)(device + 1);
  return device >= 0 && device < settings().num_devices ? SUCCESS : NVML_INVALID_ARGUMENT;
}
int running(void* handle, unsigned* count, ProcessInfo* out) {
  unsigned pids[MAX_PROCESSES], room = out ? *count : 0;
  u64 bytes[MAX_PROCESSES];
  *count = (unsigned)list_processes(device_of(handle), pids, bytes, MAX_PROCESSES);
  if (*count > room) return NVML_INSUFFICIENT_SIZE;
  for (unsigned i = 0; i < *count; i++) out[i] = {pids[i], bytes[i], ~0u, ~0u};
  return SUCCESS;
}
}  // namespace

API(nvmlInit_v2) { return SUCCESS; }
API(nvmlInitWithFlags, unsigned) { return SUCCESS; }
API(nvmlShutdown) { return SUCCESS; }
API_OF(const char*, nvmlErrorString, int) { return "an error of the fake NVML"; }
API(nvmlSystemGetDriverVersion, char* text, unsigned room) { snprintf(text, room, "580.00"); return SUCCESS; }
API(nvmlDeviceGetCount_v2, unsigned* n) { *n = settings().num_devices; return SUCCESS; }
API(nvmlDeviceGetHandleByIndex_v2, unsigned index, void** handle) { return find(index, handle); }
API(nvmlDeviceGetHandleByPciBusId_v2, const char* id, void** handle) {
  const char* bus = strchr(id, ':');
  return bus ? find(strtol(bus + 1, nullptr, 16) - 1, handle) : NVML_INVALID_ARGUMENT;
}
API(nvmlDeviceGetHandleByUUID, const char* id, void** handle) {
  return strncmp(id, "GPU-", 4) ? NVML_INVALID_ARGUMENT : find(strtol(std::string(id + 4, 2).c_str(), nullptr, 16) - 1, handle);
}
API(nvmlDeviceGetName, void*, char* text, unsigned room) { snprintf(text, room, "%s", settings().name.c_str()); return SUCCESS; }
API(nvmlDeviceGetUUID, void* handle, char* text, unsigned room) {
  snprintf(text, room, "GPU-%02x000000-0000-0000-0000-000000000000", device_of(handle) + 1);
  return SUCCESS;
}
API(nvmlDeviceGetMemoryInfo, void* handle, Memory* out) {
  u64 total = settings().total_bytes, used = used_bytes(device_of(handle));
  *out = {total, total - used, used};
  return SUCCESS;
}
API(nvmlDeviceGetMemoryInfo_v2, void* handle, Memory_v2* out) {
  u64 total = settings().total_bytes, used = used_bytes(device_of(handle));
  *out = {out->version, total, 0, total - used, used};
  return SUCCESS;
}
struct ProcessInfo_v1 { unsigned pid; u64 used; };
API(nvmlDeviceGetComputeRunningProcesses, void* handle, unsigned* count, ProcessInfo_v1* out) {  // for PyTorch's message
  unsigned pids[MAX_PROCESSES], room = out ? *count : 0;
  u64 bytes[MAX_PROCESSES];
  *count = (unsigned)list_processes(device_of(handle), pids, bytes, MAX_PROCESSES);
  if (*count > room) return NVML_INSUFFICIENT_SIZE;
  for (unsigned i = 0; i < *count; i++) out[i] = {pids[i], bytes[i]};
  return SUCCESS;
}
API(nvmlDeviceGetComputeRunningProcesses_v2, void* handle, unsigned* n, ProcessInfo* out) { return running(handle, n, out); }
API(nvmlDeviceGetComputeRunningProcesses_v3, void* handle, unsigned* n, ProcessInfo* out) { return running(handle, n, out); }
