// Walks N strided operands of one shape together. Axes that all operands run through without a gap are merged, so a
// contiguous tensor of any rank is one row.
#pragma once
#include <cstdint>

#include "core/array.h"
#include "core/threads.h"

namespace pn {

template <int N>
struct Loop {
  int ndim = 0;
  int64_t shape[kMaxDims];
  int64_t strides[N][kMaxDims];  // in elements
  int64_t item[N];
  char* base[N];
  int64_t total = 1;

  Loop(int dims, const int64_t* sizes, const Array* const* operands) {
    for (int k = 0; k < N; ++k) {
      base[k] = operands[k]->data;
      item[k] = static_cast<int64_t>(item_size(operands[k]->dtype));
    }
    for (int d = 0; d < dims; ++d) {
      total *= sizes[d];
      if (sizes[d] == 1) continue;
      bool merge = ndim > 0;
      for (int k = 0; k < N && merge; ++k) merge = strides[k][ndim - 1] == operands[k]->strides[d] * sizes[d];
      if (merge) {
        shape[ndim - 1] *= sizes[d];
        for (int k = 0; k < N; ++k) strides[k][ndim - 1] = operands[k]->strides[d];
      } else {
        shape[ndim] = sizes[d];
        for (int k = 0; k < N; ++k) strides[k][ndim] = operands[k]->strides[d];
        ++ndim;
      }
    }
    if (ndim == 0) {
      ndim = 1;
      shape[0] = 1;
      for (int k = 0; k < N; ++k) strides[k][0] = 1;
    }
  }

  int64_t inner() const { return shape[ndim - 1]; }

  // Reorders the axes so that operand k's strides fall: its rows become as dense as they can be.
  void order_by(int k) {
    for (int i = 1; i < ndim; ++i)
      for (int j = i; j > 0 && magnitude(strides[k][j - 1]) < magnitude(strides[k][j]); --j) swap_axes(j - 1, j);
  }

  // f(n, pointers, strides) for each row.
  template <class F>
  void rows(const F& f) const {
    range(0, total, [&](int64_t n, char* const* at, const int64_t* stride) { f(n, at, stride); });
  }

  // f(n, pointers, strides) for each piece of a row within [low, high) of the flat (row-major) index.
  template <class F>
  void range(int64_t low, int64_t high, const F& f) const {
    if (low >= high) return;
    int64_t index[kMaxDims];
    char* at[N];
    int64_t inner_strides[N];
    int64_t rest = low;
    for (int k = 0; k < N; ++k) at[k] = base[k], inner_strides[k] = strides[k][ndim - 1];
    for (int d = ndim - 1; d >= 0; --d) {
      index[d] = rest % shape[d];
      rest /= shape[d];
      for (int k = 0; k < N; ++k) at[k] += index[d] * strides[k][d] * item[k];
    }
    while (low < high) {
      const int64_t left = shape[ndim - 1] - index[ndim - 1];
      const int64_t n = left < high - low ? left : high - low;
      f(n, at, inner_strides);
      low += n;
      step(index, at, n);
    }
  }

  // Moves index and pointers n elements on within a row, and to the next row where the row ends.
  void step(int64_t* index, char** at, int64_t n) const {
    int d = ndim - 1;
    index[d] += n;
    for (int k = 0; k < N; ++k) at[k] += n * strides[k][d] * item[k];
    while (index[d] == shape[d] && d > 0) {
      index[d] = 0;
      for (int k = 0; k < N; ++k) at[k] += (strides[k][d - 1] - shape[d] * strides[k][d]) * item[k];
      ++index[--d];
    }
  }

 private:
  static int64_t magnitude(int64_t s) { return s < 0 ? -s : s; }
  void swap_axes(int i, int j) {
    auto swap = [](int64_t& p, int64_t& q) {
      const int64_t t = p;
      p = q, q = t;
    };
    swap(shape[i], shape[j]);
    for (int k = 0; k < N; ++k) swap(strides[k][i], strides[k][j]);
  }
};

}  // namespace pn
