// The border of the pooling kernels (cpu/pool.inl).
#pragma once
#include <cstdint>

#include "kernels/conv.h"

namespace pn {

// The places of maxima while they are searched: integers as wide as the elements.
template <class T>
struct PoolPlace {
  using type = int64_t;
};
template <>
struct PoolPlace<float> {
  using type = int32_t;
};

// On rows of `lanes` elements, at most kBatchLanes, one for each plane: y[j] = the largest of the rows tap[t] + j *
// stride of x over t < taps (at least one), lane by lane; the first of equals, the last NaN. place[j] = at[t] + j *
// stride of that one.
template <class T>
struct MaxOfTaps {
  int64_t n, stride, lanes, taps;
  const int64_t *tap, *at;
  const T* x;
  T* y;
  typename PoolPlace<T>::type* place;
};

// y[r, j] = the largest of x[2 r, 2 j], x[2 r, 2 j + 1], x[2 r + 1, 2 j] and x[2 r + 1, 2 j + 1], the first of equals,
// the last NaN; index[r, j] = its place in x. y and index are dense.
template <class T>
struct MaxOfSquares {
  int64_t rows, n;
  const T* x;
  int64_t x_row;
  T* y;
  int64_t* index;
};

// On rows of kBatchLanes: dx[at[t] + j * stride] = dy[j] in the lanes where index[j] says so, else 0, for j < n and t <
// taps.
template <class T>
struct ChosenPlaces {
  int64_t n, stride, taps;
  const int64_t* at;
  const T* dy;
  const int64_t* index;
  T* dx;
};

template <class T>
struct PoolKernels {
  void (*max_of_taps)(const MaxOfTaps<T>&);
  void (*max_of_squares)(const MaxOfSquares<T>&);
  void (*choose_places)(const ChosenPlaces<T>&);
  // index[l * index_row + i * index_step] = place[i * lanes + l] for i < n.
  void (*spread_places)(int64_t n, int64_t lanes, const typename PoolPlace<T>::type* place, int64_t* index,
                        int64_t index_row, int64_t index_step);
};

}  // namespace pn
