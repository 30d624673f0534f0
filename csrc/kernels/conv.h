// The border of the convolution kernels (cpu/conv.inl).
#pragma once
#include <cstdint>

namespace pn {

// Where one term of a sum stands: offsets, in elements, of its first factor and of its second.
struct Tap {
  int64_t a, b;
};

// c[r, j] = sum over taps t, in order, of a[r * a_row + tap[t].a] * b[tap[t].b + j], one chain of fused multiply-adds
// that starts from 0. Then, one rounding each: + c[r, j] if `add`, + column_bias[j], + row_bias[r].
template <class T>
struct TapProduct {
  int64_t rows, columns, taps;  // columns is a multiple of ConvKernels::lanes
  const Tap* tap;
  const T* a;
  int64_t a_row;
  const T* b;
  T* c;
  int64_t c_row;
  bool add;
  const T* column_bias;  // or null
  const T* row_bias;     // or null
};

// Elements of a batch that are summed side by side.
inline constexpr int64_t kBatchLanes = 16;

// sums[r, j, l] += a[r * a_row + tap[t].a + l] * b[j * b_row + tap[t].b + l] for l < kBatchLanes, one chain per lane in
// the order of taps. sums is dense.
template <class T>
struct LaneProduct {
  int64_t rows, columns, taps;
  const Tap* tap;
  const T* a;
  int64_t a_row;
  const T* b;
  int64_t b_row;
  T* sums;
};

template <class T>
struct ConvKernels {
  int lanes;  // of a vector
  void (*product)(const TapProduct<T>&);
  void (*lane_product)(const LaneProduct<T>&);
  // y[i] = sum of the kBatchLanes values at sums[i * kBatchLanes], by a fixed tree.
  void (*add_lanes)(int64_t n, const T* sums, T* y);
  // to[p * to_row + i] = from[i * from_row + p] for i < columns, p < depth.
  void (*transpose)(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t columns, int64_t depth);
};

}  // namespace pn
