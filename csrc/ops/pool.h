// What the files of the pooling family share: windows, as the attributes give them, and tasks of planes.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/threads.h"
#include "ops/op.h"

namespace pn {

// One window along one axis: the places begin, begin + step, ... below end; `count` places with the padding.
struct Window {
  int64_t begin, end, step, count;
  int64_t elements() const { return (end - begin + step - 1) / step; }
};

struct PoolShape {
  int spatial;
  int64_t planes;         // batch times channels
  int64_t in[3], out[3];  // of one plane; axes in front have size 1
  std::vector<Window> windows[3];
  int64_t most[3], step[3];  // of a window: its elements, at most; and from one of them to the next

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t slice() const { return step[0] * in[1] * in[2]; }  // from an element to the next along the first axis
};

// The op with its number of dimensions, for messages.
std::string pool_name(const OpCall& call, int spatial);

// Everything but the windows. The first attribute is the size of the result, x has the other one; of ops that go back
// from outputs of pooling, the result is `in`.
PoolShape read_pool(const OpCall& call, AttributeReader& attributes, bool backward);

// Fills windows from the attributes kernel, stride, padding and, for maxima, dilation.
void read_windows(const OpCall& call, AttributeReader& attributes, bool dilates, PoolShape& s);

// An output with the batch and the channels of x and these sizes.
void describe_pooled(OpCall& call, int output, DType type, const PoolShape& s, const int64_t* sizes);

inline constexpr int64_t kPoolTask = 12000;  // elements read and written by a task, about

// Calls f(first, last) on ranges of [0, units), each about a task's work, or on all if that is worth no second thread;
// a unit reads and writes so many elements.
template <class F>
inline void in_tasks(int64_t units, int64_t elements, const F& f) {
  const int64_t work = 1 + elements;
  if (units * work < 3 * kPoolTask) return f(int64_t{0}, units);
  const int64_t each = std::max<int64_t>(1, kPoolTask / work);
  parallel_for((units + each - 1) / each, [&](int64_t task) { f(task * each, std::min(units, (task + 1) * each)); });
}

// Calls f(unit) for every unit.
template <class F>
inline void for_units(int64_t units, int64_t elements, const F& f) {
  in_tasks(units, elements, [&](int64_t first, int64_t last) {
    for (int64_t u = first; u < last; ++u) f(u);
  });
}
// Calls f(plane) for every plane.
template <class F>
inline void for_planes(const PoolShape& s, const F& f) {
  for_units(s.planes, s.in_size() + s.out_size(), f);
}

}  // namespace pn
