// The ledger: contexts, bytes taken and given back, processes that ended.
#include "ledger.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

const Settings& settings() { static Settings of_process; return of_process; }
thread_local int current_device = 0;

namespace {
struct Ledger { Process processes[MAX_PROCESSES]; };
struct Shared { Ledger* ledger = nullptr; int file = -1; };
std::recursive_mutex guard;
std::atomic<Process*> own[MAX_DEVICES];

Shared& shared(int device) {
  static Shared all[MAX_DEVICES];
  std::lock_guard<std::recursive_mutex> locked(guard);
  Shared& of = all[device];
  if (!of.ledger) {
    std::string path = settings().directory + "/device" + std::to_string(device);
    of.file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (of.file < 0 || ftruncate(of.file, sizeof(Ledger))) { perror(path.c_str()); abort(); }
    of.ledger = (Ledger*)mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED, of.file, 0);
  }
  return of;
}

// The kernel drops it when a process is killed, unlike a lock inside the ledger.
struct DeviceLock {
  int file;
  explicit DeviceLock(int device) : file(shared(device).file) { guard.lock(); while (flock(file, LOCK_EX) && errno == EINTR) {} }
  ~DeviceLock() { flock(file, LOCK_UN); guard.unlock(); }
};

bool has_ended(long pid) {
  if (pid == getpid()) return false;
  if (kill((int)pid, 0) && errno == ESRCH) return true;
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE* file = fopen(path, "r");
  if (!file) return true;
  if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 0;
  fclose(file);
  return state == 'Z' || state == 'X';  // its parent has not asked yet, but the driver has taken everything back
}

long held_by_all(int device) {
  long sum = 0;
  for (Process& process : shared(device).ledger->processes) {
    long pid = process.pid;
    if (!pid) break;
    if (pid > 0 && process.held && has_ended(pid)) { process.held = 0; process.pid = -pid; }
    sum += process.held;
  }
  return sum;
}

void raise_peak(Process& process) { if (process.held > process.peak) process.peak = (long)process.held; }

struct Life {
  Life() { pthread_atfork(nullptr, nullptr, [] { for (auto& p : own) p = nullptr; }); }  // a child begins without contexts
  ~Life() {
    for (auto& p : own)
      if (Process* process = p) { process->held = 0; process->pid = -(long)process->pid; }
  }
} life;
}  // namespace

Process* process_if_on(int device) { return device < 0 ? nullptr : own[device].load(); }

Process* process_on(int device) {
  if (device < 0) return nullptr;
  if (Process* process = own[device]) return process;
  DeviceLock locked(device);
  if (own[device]) return own[device];
  if (held_by_all(device) + settings().context_bytes > settings().total_bytes) return nullptr;
  for (Process& process : shared(device).ledger->processes)
    if (!process.pid) {
      process.pid = getpid();
      process.held = process.context = settings().context_bytes;
      raise_peak(process);
      own[device] = &process;
      return &process;
    }
  fprintf(stderr, "fakegpu: more than %d processes used device %d\n", MAX_PROCESSES, device);
  abort();
}

bool take(size_t bytes, int device) {
  Process* process = process_on(device);
  if (!process) return false;
  DeviceLock locked(device);
  if (held_by_all(device) + (long)bytes > settings().total_bytes) { process->refused++; return false; }
  process->held += bytes;
  raise_peak(*process);
  return true;
}

void give(size_t bytes, int device) { if (Process* process = process_if_on(device)) process->held -= bytes; }

long used_bytes(int device) { DeviceLock locked(device); return held_by_all(device); }

size_t list_processes(int device, unsigned* pids, u64* bytes, size_t room) {
  DeviceLock locked(device);
  held_by_all(device);
  size_t count = 0;
  if (settings().nvml_sees_processes)
    for (Process& process : shared(device).ledger->processes)
      if (process.pid > 0) {
        if (count < room) { pids[count] = (unsigned)process.pid; bytes[count] = (u64)process.held; }
        count++;
      }
  return count;
}

// CUDA_VISIBLE_DEVICES: numbers or the beginnings of UUIDs; what follows the first bad one is not seen.
int physical(int index) {
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  if (!visible) return index < settings().num_devices ? index : -1;
  std::string list = std::string(visible) + ",";
  for (size_t begin = 0, i = 0; begin < list.size(); i++) {
    size_t end = list.find(',', begin);
    std::string item = list.substr(begin, end - begin);
    char* rest;
    long device = item.rfind("GPU-", 0) == 0 ? strtol(item.substr(4, 2).c_str(), &rest, 16) - 1 : strtol(item.c_str(), &rest, 10);
    if (item.empty() || *rest || device < 0 || device >= settings().num_devices) return -1;
    if ((int)i == index) return (int)device;
    begin = end + 1;
  }
  return -1;
}

int num_visible() { int n = 0; while (n < settings().num_devices && physical(n) >= 0) n++; return n; }

// For Python, through ctypes: the ten numbers of `Process` after its pid, on a device as this process numbers it.
API(fake_gpu_process, int index, long* out) {
  Process* process = process_if_on(physical(index));
  if (!process) return INVALID_DEVICE;
  memcpy(out, (const void*)&process->held, 10 * sizeof(long));
  return SUCCESS;
}
API(fake_gpu_reset_peak, int index) {
  if (Process* process = process_if_on(physical(index))) process->peak = (long)process->held;
  return SUCCESS;
}
