// The border of the convolution kernels (cpu/conv.inl).
#pragma once
#include <cstdint>

namespace pn {

// Where one term of a sum stands: offsets, in elements, of its first factor and of its second.
struct Tap {
  int64_t a, b;
};

// Images of a block where vectors run along the batch; products that are summed side by side.
inline constexpr int64_t kBatchLanes = 16;

// c[r, j] = sum over i < repeats and taps t, in order, of
//   a[i * a_repeat + r * a_row + tap[t].a] * b[i * b_repeat + tap[t].b + j],
// one chain of fused multiply-adds that starts from 0. Then, one rounding each: + c[r, j] if `add`, + row_bias[r].
// Columns stand in groups of kBatchLanes, which lie b_step and c_step apart.
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
  const T* row_bias;  // or null
  int64_t repeats = 1, a_repeat = 0, b_repeat = 0;
  int64_t b_step = kBatchLanes, c_step = kBatchLanes;
};

// sums[r, j, l] += (or, if `begin`, =) a[i * a_image + r * a_row + s * kBatchLanes + l] * b[i * b_image + place[j] + s
// * b_step + l] for l < kBatchLanes, s < steps and image after image i: one chain per lane l. sums is dense. With
// `ones`, there is one column more, in which b is 1 everywhere: sums of a.
template <class T>
struct LaneProduct {
  int64_t rows, columns, steps, images;
  const T* a;
  int64_t a_row, a_image;
  const T* b;
  int64_t b_image;
  const int64_t* place;
  T* sums;
  int64_t b_step = kBatchLanes;
  bool begin = false;
  bool ones = false;
};

// y[r * y_row + j] = sum over taps t, in order, of z[r * z_row + tap[t].b + j] where 0 <= tap[t].a + j < width, + bias,
// for r < rows and j < columns. Whole vectors of z are read.
template <class T>
struct TapSum {
  int64_t rows, columns, taps, width;
  const Tap* tap;
  const T* z;
  int64_t z_row;
  T bias;
  T* y;
  int64_t y_row;
};

// Rows of some matrices (planes): their elements taken apart, or put together, by the remainder of the column.
template <class T>
struct RowCopy {
  int64_t planes, rows, n, step;
  const T* from;
  int64_t from_plane, from_row;
  T* to;
  int64_t to_plane, to_row;
  int64_t part;  // between the elements of one remainder and of the next, where they are apart
};

template <class T>
struct ConvKernels {
  int lanes;  // of a vector
  void (*product)(const TapProduct<T>&);
  void (*lane_product)(const LaneProduct<T>&);
  // y[i] = sum of the kBatchLanes values at sums[i * kBatchLanes], by a fixed tree. y may be sums.
  void (*add_lanes)(int64_t n, const T* sums, T* y);
  // y[i] = sum over p < parts, in order, of x[p * part + i].
  void (*add_parts)(int64_t n, int64_t parts, int64_t part, const T* x, T* y);
  void (*sum_taps)(const TapSum<T>&);
  // to[p * to_row + i] = from[i * from_row + p] for i < columns, p < depth.
  void (*transpose)(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t columns, int64_t depth);
  // to[i % step * part + i / step] = from[i] for i < n, in every row; 0 behind, as far as the last vectors reach,
  // before the next row or plane is written.
  void (*take)(const RowCopy<T>&);
  // to[i] = from[i % step * part + i / step] for i < n, in every row. Reads whole vectors.
  void (*put)(const RowCopy<T>&);
  bool (*within)(int64_t n, const T* x, T most);  // whether all |x[i]| <= most
  // Winograd's sums (ops/conv_winograd.cpp) for n tiles side by side, a multiple of kBatchLanes. v[p * point + t] =
  // place p of B^T d B, where d is columns 2 t to 2 t + 3 of 4 rows.
  void (*winograd_source)(int64_t n, const T* rows, int64_t row, T* v, int64_t point);
  // Columns 2 t and 2 t + 1 of 2 rows = A^T m A, plus the bias if there is one, m being m[p * point + t].
  void (*winograd_result)(int64_t n, const T* m, int64_t point, T bias, bool add, T* rows, int64_t row);
};

}  // namespace pn
