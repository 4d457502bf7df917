// The driver as Triton uses it, and the way to its entry points.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "ledger.h"

API(cudaDeviceGetAttribute, int*, int, int);

API(cuInit, unsigned) { return SUCCESS; }
API(cuDriverGetVersion, int* version) { *version = CUDA_RELEASE; return SUCCESS; }
API(cuDeviceGetCount, int* n) { *n = num_visible(); return SUCCESS; }
API(cuDeviceGet, int* device, int index) { *device = index; return physical(index) < 0 ? INVALID_DEVICE : SUCCESS; }
API(cuDeviceGetName, char* text, int room, int) { snprintf(text, room, "%s", settings().name.c_str()); return SUCCESS; }
API(cuDeviceGetAttribute, int* value, int which, int device) { return cudaDeviceGetAttribute(value, which, device); }
API(cuDevicePrimaryCtxGetState, int device, unsigned* flags, int* is_active) {
  *flags = 0;
  *is_active = process_if_on(physical(device)) != nullptr;
  return SUCCESS;
}

// A context's handle is its device's number plus one.
API(cuDevicePrimaryCtxRetain, void** context, int device) {
  if (!process_on(physical(device))) return OUT_OF_MEMORY;
  *context = (void*)(long)(device + 1);
  return SUCCESS;
}
API(cuCtxGetCurrent, void** context) { *context = process_if_on(physical(current_device)) ? (void*)(long)(current_device + 1) : nullptr; return SUCCESS; }
API(cuCtxSetCurrent, void* context) { if (context) current_device = (int)(long)context - 1; return SUCCESS; }
API(cuCtxGetDevice, int* device) { *device = current_device; return SUCCESS; }

static void attribute_of_pointer(void* out, int which, u64 p) {
  if (which == 3) *(u64*)out = is_on_device((void*)p) ? p : 0;  // 3: its address on the device
  else *(int*)out = 0;
}
API(cuPointerGetAttribute, void* out, int which, u64 p) {
  attribute_of_pointer(out, which, p);
  return is_on_device((void*)p) ? SUCCESS : INVALID_VALUE;
}
API(cuPointerGetAttributes, unsigned n, int* which, void** out, u64 p) { for (unsigned i = 0; i < n; i++) attribute_of_pointer(out[i], which[i], p); return SUCCESS; }

API(cuModuleLoadData, void** module, const void*) {
  if (settings().kernel_bytes && !take(settings().kernel_bytes, physical(current_device))) return OUT_OF_MEMORY;
  *module = new_handle();
  return SUCCESS;
}
API(cuModuleLoadDataEx, void** module, const void* image, unsigned, void*, void*) { return cuModuleLoadData(module, image); }
API(cuModuleGetFunction, void** function, void*, const char* name) { *function = strdup(name); return SUCCESS; }
API(cuFuncGetAttribute, int* value, int which, void*) { *value = which == 0 ? 1024 : which == 4 ? 32 : 0; return SUCCESS; }  // threads, registers
static int launch_function(void* function) { return launch(nullptr, ("triton " + std::string((char*)function)).c_str()); }
API(cuLaunchKernel, void* function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) { return launch_function(function); }
API(cuLaunchKernelEx, const void*, void* function, void**, void**) { return launch_function(function); }
API(cuOccupancyMaxActiveClusters, int* n, void*, void*) { *n = 1; return SUCCESS; }

static int entry_point(const char* name, void** function, int* status) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (status) *status = *function ? 0 : 1;
  return SUCCESS;
}
API(cudaGetDriverEntryPoint, const char* name, void** function, u64, int* status) { return entry_point(name, function, status); }
API(cudaGetDriverEntryPointByVersion, const char* name, void** function, unsigned, u64, int* status) { return entry_point(name, function, status); }
API(cuGetProcAddress_v2, const char* name, void** function, int, u64, int* status) { entry_point(name, function, status); return *function ? SUCCESS : 500; }
