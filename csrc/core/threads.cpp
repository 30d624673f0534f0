#include "core/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace pn {
namespace {

std::atomic<int> thread_count{0};  // 0: not yet asked for
std::atomic<bool> after_fork{false};
thread_local bool inside_task = false;

int positive_variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::max(0, std::atoi(text)) : 0;  // OMP_NUM_THREADS may be a list; atoi takes its first number
}

int usable_cores() {
  int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = std::min(cores, CPU_COUNT(&set));
  // A container's share of the machine: "max 100000" or "150000 100000" (quota and period in microseconds).
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0)
    cores = std::min(cores, std::max(1, static_cast<int>(std::atof(quota.c_str()) / period + 0.5)));
#endif
  return std::max(1, cores);
}

struct ForkGuard {
  ForkGuard() {
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, [] { after_fork.store(true, std::memory_order_relaxed); });
#endif
  }
} fork_guard;

}  // namespace

int default_num_threads() {
  for (const char* name : {"PYNEURAL_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const int n = positive_variable(name)) return n;
  return usable_cores();
}

int num_threads() {
  if (after_fork.load(std::memory_order_relaxed)) return 1;
  int n = thread_count.load(std::memory_order_relaxed);
  if (n == 0) thread_count.store(n = default_num_threads(), std::memory_order_relaxed);
  return n;
}

void set_num_threads(int threads) { thread_count.store(std::max(1, threads), std::memory_order_relaxed); }

void run_tasks(int64_t tasks, Task body, void* context) {
  const int threads = inside_task ? 1 : static_cast<int>(std::min<int64_t>(num_threads(), tasks));
  if (threads <= 1) {
    for (int64_t t = 0; t < tasks; ++t) body(context, t);
    return;
  }
  // Each thread has its share of the tasks, in order, and helps with the others' when it is done: what one loop has
  // left in a core's cache for a part of a batch, the next loop finds there.
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  constexpr int kMost = 64;
  Share shares[kMost];
  const int count = std::min(threads, kMost);
  for (int i = 0; i < count; ++i) {
    shares[i].next.store(tasks * i / count, std::memory_order_relaxed);
    shares[i].end = tasks * (i + 1) / count;
  }
#pragma omp parallel num_threads(threads)
  {
    inside_task = true;
    const int own = omp_get_thread_num();
    for (int i = 0; i < count; ++i) {
      Share& share = shares[(own + i) % count];
      for (int64_t t; (t = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) body(context, t);
    }
    inside_task = false;
  }
}

}  // namespace pn
