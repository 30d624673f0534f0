// What the files of the index family share.
#pragma once
#include <cstdint>

#include "ops/op.h"

namespace pn {

// Refuses an index outside [low, size) of what, axis: ("dim ", 1).
void check_range(const OpCall& call, const Array& index, int64_t low, int64_t size, const char* what, int64_t axis);

// A tensor without dimensions counts as one with a single element.
inline Array at_least_1d(const Array& a) {
  Array b = a;
  if (a.ndim == 0) b.ndim = 1, b.shape[0] = b.strides[0] = 1;
  return b;
}

OpList search_ops();  // the ops of search.cpp, which index_ops() takes in

}  // namespace pn
