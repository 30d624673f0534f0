#include "core/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

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

namespace {

// What may still be taken of a thread's share of a loop, in one word, so that nobody takes a task of one loop for
// another's: the loop's number, and tasks [next, end) of it.
struct Share {
  uint32_t loop;
  uint16_t next, end;
  explicit Share(uint64_t word)
      : loop(static_cast<uint32_t>(word >> 32)),
        next(static_cast<uint16_t>(word >> 16)),
        end(static_cast<uint16_t>(word)) {}
  static uint64_t word(uint32_t loop, int64_t next, int64_t end) {
    return uint64_t{loop} << 32 | static_cast<uint64_t>(next) << 16 | static_cast<uint64_t>(end);
  }
};
constexpr int64_t kMostTasks = UINT16_MAX;
constexpr uint32_t kNoLoop = UINT32_MAX;  // the number that dismisses a team
constexpr int kSpins = 4000;              // some 0.1 ms; who waits longer sleeps, and others get the core

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Threads that share loops. Each has a share of the tasks, in order, and helps with the others' when it is done: what
// one loop has left in a core's cache for a part of a batch, the next loop finds there. A thread that the system has
// put aside is waited for only within a task.
class Team {
 public:
  // Before a loop of so many threads, or before as many serve.
  void gather(int size, bool serving) {
    serving_ = serving;
    if (size > room_) members_.reset(new Member[static_cast<size_t>(room_ = size)]);
    size_ = size;
    for (int i = 0; i < size; ++i) {
      members_[i].share.store(Share::word(loop_, 0, 0), std::memory_order_relaxed);
      members_[i].done.store(0, std::memory_order_relaxed);
    }
    static const int cores = usable_cores();
    spins_ = size > cores ? 0 : kSpins;
  }

  // Offers a loop to all; returns its number.
  uint32_t offer(int64_t tasks, Task body, void* context) {
    body_.store(body, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    if (++loop_ == kNoLoop) loop_ = 0;
    for (int i = 0; i < size_; ++i) tell(i, Share::word(loop_, tasks * i / size_, tasks * (i + 1) / size_));
    return loop_;
  }

  // A member's part in a loop.
  void work(int own, uint32_t loop) {
    // These are the loop's if one of its tasks can be taken: the next loop is offered when all of them are done.
    const Task body = body_.load(std::memory_order_relaxed);
    void* const context = context_.load(std::memory_order_relaxed);
    uint32_t done = 0;
    inside_task = true;
    for (int i = 0; i < size_; ++i) {
      std::atomic<uint64_t>& share = members_[(own + i) % size_].share;
      uint64_t word = share.load(std::memory_order_acquire);
      for (Share s(word); s.loop == loop && s.next < s.end; s = Share(word)) {
        if (!share.compare_exchange_weak(word, Share::word(loop, s.next + 1, s.end), std::memory_order_acq_rel))
          continue;
        body(context, s.next);
        ++done;
        word = share.load(std::memory_order_acquire);
      }
    }
    inside_task = false;
    members_[own].done.store(uint64_t{loop} << 32 | done, std::memory_order_release);
  }

  // The leader's part, to the end of the loop.
  void lead(int64_t tasks, uint32_t loop) {
    work(0, loop);
    for (int spins = 0;; ++spins) {
      int64_t done = 0;
      for (int i = 0; i < size_; ++i) {
        const uint64_t word = members_[i].done.load(std::memory_order_acquire);
        if (word >> 32 == loop) done += static_cast<uint32_t>(word);
      }
      if (done == tasks) return;
      spins < spins_ ? pause() : std::this_thread::yield();
    }
  }

  // Any other member's part in loop after loop behind `last`, until it is dismissed.
  void serve(int own, uint32_t last) {
    std::atomic<uint64_t>& share = members_[own].share;
    while (true) {
      uint64_t word = share.load(std::memory_order_acquire);
      for (int spins = 0; Share(word).loop == last; word = share.load(std::memory_order_acquire))
        ++spins < spins_ ? pause() : share.wait(word, std::memory_order_acquire);
      last = Share(word).loop;
      if (last == kNoLoop) return;
      work(own, last);
    }
  }

  void dismiss() {
    for (int i = 1; i < size_; ++i) tell(i, Share::word(kNoLoop, 0, 0));
  }

  uint32_t last_loop() const { return loop_; }

 private:
  struct alignas(128) Member {  // two lines, because CPUs fetch neighbours together
    std::atomic<uint64_t> share{0};
    std::atomic<uint64_t> done{0};  // the last loop's number, and how many of its tasks this member has done
  };

  void tell(int member, uint64_t word) {
    members_[member].share.store(word, std::memory_order_release);
    if (serving_) members_[member].share.notify_one();
  }

  std::unique_ptr<Member[]> members_;
  std::atomic<Task> body_{nullptr};
  std::atomic<void*> context_{nullptr};
  uint32_t loop_ = 0;
  int size_ = 0, room_ = 0, spins_ = 0;
  bool serving_ = false;  // else nobody sleeps
};

thread_local Team team;  // that this thread leads
thread_local bool team_is_here = false;
thread_local int64_t shared_loops = 0;

}  // namespace

void together(void (*body)(void* context), void* context) {
  const int threads = num_threads();
  if (threads <= 1 || inside_task || team_is_here) return body(context);
  Team& members = team;
  members.gather(threads, true);
  const uint32_t last = members.last_loop();
  std::exception_ptr thrown;
#pragma omp parallel num_threads(threads)
  {
    if (omp_get_thread_num() > 0) {
      members.serve(omp_get_thread_num(), last);
    } else {
      team_is_here = true;
      try {
        body(context);
      } catch (...) {
        thrown = std::current_exception();
      }
      team_is_here = false;
      members.dismiss();
    }
  }
  if (thrown) std::rethrow_exception(thrown);
}

int64_t loops_shared() { return shared_loops; }

void run_tasks(int64_t tasks, Task body, void* context) {
  const int threads = inside_task ? 1 : static_cast<int>(std::min<int64_t>(num_threads(), tasks));
  if (threads <= 1) {
    for (int64_t t = 0; t < tasks; ++t) body(context, t);
    return;
  }
  if (tasks > kMostTasks) {  // in groups, as many as a word counts
    struct Groups {
      Task body;
      void* context;
      int64_t tasks, each;
    } all{body, context, tasks, (tasks + kMostTasks - 1) / kMostTasks};
    const Task group = [](void* given, int64_t g) noexcept {
      const Groups& all = *static_cast<Groups*>(given);
      for (int64_t t = g * all.each; t < std::min(all.tasks, (g + 1) * all.each); ++t) all.body(all.context, t);
    };
    return run_tasks((tasks + all.each - 1) / all.each, group, &all);
  }
  ++shared_loops;
  Team& members = team;
  if (team_is_here) return members.lead(tasks, members.offer(tasks, body, context));
  members.gather(threads, false);
  const uint32_t loop = members.offer(tasks, body, context);
#pragma omp parallel num_threads(threads)
  members.work(omp_get_thread_num(), loop);
}

}  // namespace pn
