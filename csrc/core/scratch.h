// Memory for the length of a call, and for the length of a task.
#pragma once
#include <cstdint>
#include <vector>

#include "core/array.h"
#include "core/dtype.h"

namespace pn {

inline int64_t pieces_of(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }

// n elements, from the pool.
template <class T>
Array memory(int64_t n) {
  return Array::empty(dtype_of<T>::value, 1, &n);
}

// A task's own n elements, on a cache line, kept for the thread's next task. A task asks once: the next call may move
// them.
template <class T>
T* scratch(int64_t n) {
  static thread_local std::vector<T> kept;
  constexpr size_t kLine = 64;
  if (kept.size() < static_cast<size_t>(n) + kLine) kept.resize(static_cast<size_t>(n) + kLine);
  return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(kept.data()) + kLine - 1) / kLine * kLine);
}

}  // namespace pn
