// The border of the loss kernels (cpu/losses.inl).
#pragma once
#include <cstdint>

namespace pn {

// Dense rows of n >= 1 logits, one class number per row. A row whose number is `ignore` has loss and gradient 0. A
// number outside [0, n) is not followed: the loss is NaN, so that it shows, and the gradient 0.
template <class T>
struct LossKernels {
  // y[r] = logsumexp(row) - row[target]
  void (*cross_entropy)(int64_t rows, int64_t n, const T* x, const int64_t* target, int64_t ignore, T* y);
  // y[r, i] = g[r * g_step] * (softmax(row)[i] - (i == target))
  void (*cross_entropy_backward)(int64_t rows, int64_t n, const T* x, const int64_t* target, int64_t ignore, const T* g,
                                 int64_t g_step, T* y);
};

}  // namespace pn
