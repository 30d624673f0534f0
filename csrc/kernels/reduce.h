// The border of the reduction kernels (cpu/reduce.inl).
#pragma once
#include <cstdint>

namespace pn {

enum class Fold { sum, prod, max, min, logsumexp, count };

// Elements of a row, and rows of a column fold, that one kernel call takes. Longer axes are cut into blocks of this
// length, and the blocks' results are folded in the same way: the error of a sum grows with the number of levels.
inline constexpr int64_t kRowBlock = 4096;
inline constexpr int64_t kColumnBlock = 256;

template <class T>
struct ReduceKernels {
  // y[r] = fold of x[r * stride + i] over i < n, for 1 <= n <= kRowBlock.
  void (*rows[static_cast<int>(Fold::count)])(int64_t rows, int64_t n, int64_t stride, const T* x, T* y);
  // y[c] = fold of x[i * stride + c] over i < n, for 1 <= n <= kColumnBlock.
  void (*columns[static_cast<int>(Fold::count)])(int64_t n, int64_t columns, int64_t stride, const T* x, T* y);
  // Softmax [0] and its logarithm [1] along dense rows of n >= 1, and along the n rows of columns `stride` apart.
  void (*softmax_rows[2])(int64_t rows, int64_t n, const T* x, T* y);
  void (*softmax_columns[2])(int64_t n, int64_t columns, int64_t stride, const T* x, T* y);
};

}  // namespace pn
