// The border of the pooling kernels (cpu/pool.inl).
#pragma once
#include <cstdint>

#include "kernels/conv.h"

namespace pn {

// Rows of outputs and the elements of their windows. Output (r, j) stands at r * y_row + j * lanes and reads x at
// r * x_row + j * x_step + offset[t] for t < taps (at least one); number[t] is how a place names that element. Each
// stands for `lanes` planes, side by side. Places are int32 if `wide`, else uint8.
struct PoolTaps {
  int64_t rows, n, x_row, x_step, y_row, taps;
  const int64_t* offset;
  const int32_t* number;
  bool wide;
};

// What places below `taps` say: of a plane's output (r, j) it is element row[r] + column[j] + offset[place] of `size`.
struct PoolPlaces {
  int64_t rows, n, size, taps;
  const int64_t *row, *column, *offset;
  bool wide;
};

// y[r, j] = the largest of x[2 r, 2 j], x[2 r, 2 j + 1], x[2 r + 1, 2 j] and x[2 r + 1, 2 j + 1], the first of equals,
// the last NaN; place[r, j] = which of these four. y and place are dense.
template <class T>
struct MaxOfSquares {
  int64_t rows, n;
  const T* x;
  int64_t x_row;
  T* y;
  uint8_t* place;
};

template <class T>
struct PoolKernels {
  // y = the largest element of each window, lane by lane; the first of equals, the last NaN. place = its number. At
  // most kBatchLanes lanes.
  void (*max_of_taps)(PoolTaps, int64_t lanes, const T* x, T* y, void* place);
  void (*max_of_squares)(const MaxOfSquares<T>&);
  // On kBatchLanes lanes: each window's element dx = dy where the place names it, else 0.
  void (*choose_places)(PoolTaps, const T* dy, const void* place, T* dx);
  // dx += dy at the places, in order, on 1 or kBatchLanes lanes, which the tables count in. Planes are dense.
  void (*add_places)(PoolPlaces, int64_t planes, int64_t lanes, const T* dy, const void* place, T* dx);
  // to[l * row + i] = place[i * lanes + l] for i < n.
  void (*spread_places)(bool wide, int64_t n, int64_t lanes, const void* place, void* to, int64_t row);
};

}  // namespace pn
