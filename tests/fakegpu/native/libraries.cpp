// cuBLAS and cuDNN: a call is a launch. PyTorch itself allocates their workspaces; their handles take the libraries' code.
#include <cstdlib>
#include <cstring>
#include <set>

#include "ledger.h"

bool take_library(const char* name) {
  static std::mutex guard;
  static std::set<std::pair<std::string, int>> loaded;
  std::lock_guard<std::mutex> locked(guard);
  int device = physical(current_device);
  if (!process_on(device)) return false;
  if (loaded.count({name, device})) return true;
  if (settings().library_bytes && !take(settings().library_bytes, device)) return false;
  loaded.insert({name, device});
  return true;
}

static int descriptor(void** out) { *out = calloc(1, 4096); return SUCCESS; }

API(cublasCreate_v2, void** handle) { *handle = new_handle(); return take_library("cublas") ? SUCCESS : ALLOC_FAILED; }
API(cublasLtCreate, void** handle) { *handle = new_handle(); return take_library("cublas") ? SUCCESS : ALLOC_FAILED; }
API(cublasGetMathMode, void*, int* mode) { *mode = 0; return SUCCESS; }
API(cublasGetPointerMode_v2, void*, int* mode) { *mode = 0; return SUCCESS; }
API_OF(size_t, cublasLtGetVersion) { return CUDA_RELEASE * 10; }
API(cublasGemmEx) { return launch(nullptr, "cublasGemmEx"); }
API(cublasSgemm_v2) { return launch(nullptr, "cublasSgemm"); }
API(cublasSgemmStridedBatched) { return launch(nullptr, "cublasSgemmStridedBatched"); }
API(cublasGemmStridedBatchedEx) { return launch(nullptr, "cublasGemmStridedBatchedEx"); }
API(cublasLtMatmul) { return launch(nullptr, "cublasLtMatmul"); }
API(cublasLtMatmulDescCreate, void** out, int, int) { return descriptor(out); }
API(cublasLtMatmulDescDestroy, void* p) { free(p); return SUCCESS; }
API(cublasLtMatmulPreferenceCreate, void** out) { return descriptor(out); }
API(cublasLtMatmulPreferenceDestroy, void* p) { free(p); return SUCCESS; }
API(cublasLtMatrixLayoutCreate, void** out, int, u64, u64, long) { return descriptor(out); }
API(cublasLtMatrixLayoutDestroy, void* p) { free(p); return SUCCESS; }
API(cublasLtMatmulAlgoGetHeuristic, void*, void*, void*, void*, void*, void*, void*, int, void* result, int* count) {
  memset(result, 0, 64);
  *count = 1;
  return SUCCESS;
}

enum { OF_DESCRIPTOR = 15, PLAN_WORKSPACE = 402, CUDNN_ALLOC_FAILED = 4003 };  // CUDNN_TYPE_*, CUDNN_ATTR_*, status
API(cudnnCreate, void** handle) { *handle = new_handle(); return take_library("cudnn") ? SUCCESS : CUDNN_ALLOC_FAILED; }
API(cudnnBackendCreateDescriptor, int, void** out) { *out = calloc(1, 64); return SUCCESS; }
API(cudnnBackendDestroyDescriptor, void* p) { free(p); return SUCCESS; }
API(cudnnBackendGetAttribute, void*, int name, int type, long, long* count, void* out) {
  if (count) *count = 1;
  if (out && type != OF_DESCRIPTOR) memset(out, 0, 8);
  if (out && name == PLAN_WORKSPACE) *(long*)out = settings().cudnn_workspace_bytes;
  return SUCCESS;
}
API(cudnnBackendExecute, void*, void*, void*) { return launch(nullptr, "cudnnBackendExecute"); }
API_OF(size_t, cudnnGetVersion) { return CUDNN_RELEASE; }
API(cudnnGetProperty, int place, int* value) {  // libraryPropertyType: major, minor, patch
  *value = place == 0 ? CUDNN_RELEASE / 10000 : place == 1 ? CUDNN_RELEASE / 100 % 100 : CUDNN_RELEASE % 100;
  return SUCCESS;
}
API_OF(size_t, cudnnGetCudartVersion) { return CUDA_RELEASE; }
API_OF(const char*, cudnnGetErrorString, int status) { return status == CUDNN_ALLOC_FAILED ? "CUDNN_STATUS_ALLOC_FAILED" : "CUDNN_STATUS_EXECUTION_FAILED"; }
