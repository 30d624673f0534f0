// The border of the resampling kernel (cpu/resample.inl).
#pragma once
#include <cstdint>

namespace pn {

// A sparse linear map along one axis, applied to rows of n elements: y[j, i] = the sum over the taps t in [begin[j],
// begin[j + 1]), in order, of weight[t] * x[place[t], i], one chain of fused multiply-adds that starts from 0. x and y
// are dense and apart.
template <class T>
struct AxisSum {
  int64_t outputs;
  const int64_t *begin, *place;
  const T* weight;
  int64_t n;
  const T* x;
  T* y;
};

template <class T>
struct ResampleKernels {
  void (*axis_sum)(const AxisSum<T>&);
};

}  // namespace pn
