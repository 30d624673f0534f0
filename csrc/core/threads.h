// The one door to threads. OpenMP stands behind it, because a second thread pool beside the one that PyTorch,
// scikit-learn or LightGBM brought along would fight with it for the same cores.
//
// Work is cut into tasks by shape alone, never by the number of threads, and each task owns its outputs. Any thread may
// run any task (it takes those of its own share one by one and then others', so that a thread the system has put aside
// stalls nobody), and the bits of the result depend on neither.
#pragma once
#include <cstdint>

namespace pn {

// Threads that a parallel loop uses now: 1 in a forked child (OpenMP's team did not survive the fork).
int num_threads();

// Sets the number for later loops, at least 1; may exceed the number of cores.
void set_num_threads(int threads);

// The number at start: PYNEURAL_NUM_THREADS, else OMP_NUM_THREADS, else the cores that affinity and cgroup allow.
int default_num_threads();

// No exception leaves a task, not even where it runs in the caller's thread: a test that meets one ends there.
using Task = void (*)(void* context, int64_t task) noexcept;

// Runs body(context, t) for t in [0, tasks). Serial, without touching OpenMP, if there is one task or one thread, or if
// the caller is itself inside a task.
void run_tasks(int64_t tasks, Task body, void* context);

// Calls body(context), which is about to run several parallel loops: their threads come together once and stay. A loop
// then begins and ends with words that they watch, in less time than OpenMP takes to call them. What body throws is
// thrown on.
void together(void (*body)(void* context), void* context);

// How many loops the calling thread has shared with others so far.
int64_t loops_shared();

// run_tasks() for a callable f(int64_t task).
template <class F>
inline void parallel_for(int64_t tasks, const F& f) {
  run_tasks(
      tasks, [](void* context, int64_t task) noexcept { (*static_cast<const F*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// Elements per task of a loop that does little with each; below two of them a thread costs more than it brings.
inline constexpr int64_t kRangeTask = int64_t{1} << 15;

// Calls f(low, high) on ranges of [0, units) that hold about kRangeTask elements each, on one range if that is all.
template <class F>
inline void parallel_ranges(int64_t units, int64_t elements_per_unit, const F& f) noexcept {
  if (units == 0) return;
  const int64_t size = elements_per_unit > 0 ? elements_per_unit : 1;
  if (units * size < 2 * kRangeTask) return f(int64_t{0}, units);
  const int64_t per_task = size >= kRangeTask ? 1 : kRangeTask / size;
  parallel_for((units + per_task - 1) / per_task, [&](int64_t t) {
    const int64_t low = t * per_task;
    f(low, low + per_task < units ? low + per_task : units);
  });
}

}  // namespace pn
