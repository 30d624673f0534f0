// The border of the pooling kernels (cpu/pool.inl).
#pragma once
#include <cstdint>

namespace pn {

// y[j] = the largest of x[tap[t] + j * stride] over t < taps (at least one): the first of equals, the last NaN.
// index[j] = base + tap[t] + j * stride of that one.
template <class T>
struct MaxOfTaps {
  int64_t n, stride, taps;
  const int64_t* tap;
  const T* x;
  T* y;
  int64_t* index;
  int64_t base;
};

template <class T>
struct PoolKernels {
  void (*max_of_taps)(const MaxOfTaps<T>&);
};

}  // namespace pn
