// What k-means does in vectors: products of rows with few centres, sums of rows, exact distances.
#pragma once
#include <cstdint>

namespace pn {

// The largest size of some numbers, and the value of the lowest bit that is set in any of them.
template <class T>
struct DigitRange {
  T most = 0, least = __builtin_huge_val();
};

template <class T>
struct KMeansKernels {
  int lanes;  // partial sums of each product in `scores`, for bounds of its rounding

  // out[r * k + j] = bias[j] + x_r . c_j for `rows` rows of x (x_row elements apart) and `k` rows of c (c_row apart).
  // Pays for few centres; many are a matrix product.
  void (*scores)(const T* x, int64_t x_row, int64_t rows, const T* c, int64_t c_row, int64_t k, int64_t d,
                 const T* bias, T* out);
  // out[i] = bias[j] + x . c_j for the centres j = which[i].
  void (*scores_at)(const T* x, const T* c, int64_t c_row, const int32_t* which, int64_t count, int64_t d,
                    const T* bias, T* out);
  // lower[j] = at most sqrt(norm + scores[j]), where that sum is off by at most `error`.
  void (*bounds)(const T* scores, int64_t k, T norm, T error, float* lower);
  // lower[j] -= moves[j], rounded down; returns how many are not above `upper`.
  int64_t (*lower_bounds)(float* lower, const float* moves, int64_t k, float upper);
  // which = the numbers of those that are not above `upper`, in order; returns how many. Room for one more than k.
  int64_t (*not_above)(const float* lower, int64_t k, float upper, int32_t* which);
  // sums += the rows which[0], which[1], ... of x, in this order, each times its weight (or 1 without weights).
  void (*add_rows)(const T* x, int64_t x_row, const int32_t* which, int64_t count, const double* weights, int64_t d,
                   double* sums);
  // sum (x - c)^2 in float64, in one order on every instruction set.
  double (*squared_distance)(const T* x, const double* c, int64_t d);
  // Extends the range by n finite numbers.
  void (*digits)(const T* x, int64_t n, DigitRange<T>* range);
  // y = x for bytes.
  void (*widen)(const uint8_t* x, int64_t n, T* y);
};

}  // namespace pn
