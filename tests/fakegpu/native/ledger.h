// What every process holds of each device, in one file per device that the processes share, and this process's settings.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <string>

// build.py writes a stub for each entry point that PyTorch or Triton needs and no line begins with API or API_OF names.
#define API(name, ...) extern "C" int name(__VA_ARGS__)
#define API_OF(type, name, ...) extern "C" type name(__VA_ARGS__)

typedef unsigned long long u64;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, ALLOC_FAILED = 3 };
constexpr int MAX_DEVICES = 16, MAX_PROCESSES = 512;
constexpr size_t MIB = 1 << 20, PAGE = 2 * MIB;

struct Settings {
  int num_devices = number("FAKE_GPU_COUNT", 1);
  long total_bytes = number("FAKE_GPU_MIB", 8192) * MIB;        // of each device
  long context_bytes = number("FAKE_GPU_CONTEXT_MIB", 426) * MIB;  // a process takes it before its first tensor
  long kernel_bytes = number("FAKE_GPU_KERNEL_KIB", 64) << 10;  // a kernel's code, at its first launch
  long library_bytes = number("FAKE_GPU_LIBRARY_MIB", 0) * MIB;  // of the first cuBLAS and the first cuDNN handle each
  long cudnn_workspace_bytes = number("FAKE_GPU_CUDNN_MIB", 0) * MIB;  // of every cuDNN plan
  bool nvml_sees_processes = number("FAKE_GPU_NVML_PROCESSES", 1);  // not in a container without `pid: host`
  int capability = number("FAKE_GPU_CAPABILITY", 90);
  bool counts_kernels = number("FAKE_GPU_KERNEL_NAMES", 0);  // kernels.<pid>.tsv in the directory, at the end
  std::string name = text("FAKE_GPU_NAME", "NVIDIA H200 (fake)"), directory = text("FAKE_GPU_DIR", "/dev/shm");

  static long number(const char* key, long otherwise) { const char* v = getenv(key); return v ? atol(v) : otherwise; }
  static const char* text(const char* key, const char* otherwise) { const char* v = getenv(key); return v ? v : otherwise; }
};
extern const Settings& settings();

// One process on one device. double.py reads this layout: 12 fields of 8 bytes. `pid` is negative once it has ended.
struct Process {
  std::atomic<long> pid, held, peak, context, launches, syncs, copies_to_host, copies_to_device, mallocs, frees, refused, spare;
};

extern thread_local int current_device;  // as this process numbers its devices

int physical(int index);                 // of the index-th visible device, -1 where there is none
int num_visible();
Process* process_on(int device);         // this process; makes its context. Null where the device has no room for it
Process* process_if_on(int device);      // null where it has no context there
bool take(size_t bytes, int device);     // false, and counted as refused, where they do not fit
void give(size_t bytes, int device);
long used_bytes(int device);
size_t list_processes(int device, unsigned* pids, u64* bytes, size_t room);

int fail(int code);                      // remembers it for cudaGetLastError
int last_error(bool clears);
void* new_handle();
bool is_on_device(const void* pointer);
int launch(const void* kernel, const char* name);  // the code of a kernel is taken the first time
bool take_library(const char* name);     // false where its code does not fit
