// Parallel loops (core/threads.h): every task is done once, whatever the numbers of tasks and threads, with OpenMP's
// call for each loop or in a team that stays; and what one loop wrote, the next one reads.
#include "core/threads.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace {

[[noreturn]] void fail(const char* what, int64_t tasks, int64_t seen) {
  std::printf("%s: %lld tasks, %d threads: got %lld\n", what, static_cast<long long>(tasks), pn::num_threads(),
              static_cast<long long>(seen));
  std::exit(1);
}

void once(int64_t tasks) {
  std::vector<std::atomic<int>> done(static_cast<size_t>(tasks));
  pn::parallel_for(tasks, [&](int64_t t) { ++done[static_cast<size_t>(t)]; });
  for (const auto& d : done)
    if (d != 1) fail("a task was not done once", tasks, d);
}

// Chains of loops that hand values on: a plain array, so that a missing order between loops shows.
void chain(int64_t tasks, int loops) {
  std::vector<int64_t> values(static_cast<size_t>(tasks), 0), next(values);
  for (int k = 0; k < loops; ++k) {
    pn::parallel_for(tasks, [&](int64_t t) {
      const size_t i = static_cast<size_t>(t), beside = static_cast<size_t>((t + tasks / 2) % tasks);
      next[i] = values[beside] + 1;
      pn::parallel_for(3, [&](int64_t inner) { next[i] += inner == 7; });  // within a task: serial
    });
    values.swap(next);
  }
  for (const int64_t v : values)
    if (v != loops) fail("a loop did not see what the last one wrote", tasks, v);
}

template <class F>
void together(const F& f) {
  pn::together([](void* given) { (*static_cast<const F*>(given))(); }, const_cast<void*>(static_cast<const void*>(&f)));
}

void all() {
  for (const int64_t tasks : {1, 2, 3, 5, 64, 1000, 65535, 65536, 200001}) once(tasks);
  for (const int64_t tasks : {2, 3, 8, 97}) chain(tasks, pn::num_threads() > 3 ? 20 : 300);
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 3, 8, 70}) {
    pn::set_num_threads(threads);
    all();
    for (int k = 0; k < 3; ++k) together([] { all(); });
    together([] { together([] { all(); }); });
    const int64_t before = pn::loops_shared();
    bool thrown = false;
    try {
      together([] {
        chain(8, 20);
        throw std::runtime_error("on");
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    if (!thrown) fail("an exception was lost", 8, 0);
    if (pn::loops_shared() - before != (threads > 1 ? 20 : 0)) fail("loops shared", 8, pn::loops_shared() - before);
    all();
  }
  for (int k = 0; k < 3000; ++k) {  // teams that come and go, of sizes that change
    pn::set_num_threads(2 + k % 3);
    together([&] { chain(2 + k % 5, 3); });
  }
  std::puts("fine");
  return 0;
}
