// Kernel values in blocks, by the library's matrix product and elementwise kernels.
#include <algorithm>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "learn/svm.h"

namespace pn::learn {
namespace {

template <class T>
void apply(Unary kind, int64_t n, T* x) {
  constexpr double none[2] = {0, 0};
  kernels().of<T>().elementwise.unary[static_cast<int>(kind)](n, x, x, none);
}

template <class T>
T power(T x, int degree) {
  T result = 1;
  for (; degree > 0; degree /= 2, x *= x)
    if (degree % 2) result *= x;
  return result;
}

}  // namespace

template <class T>
SvmRows<T>::SvmRows(const T* x, int64_t n, int64_t d, int64_t row_stride, const double* centre)
    : rows(n), columns(d), values(n * d), squares(n) {
  constexpr int64_t kRows = 64;
  parallel_for((n + kRows - 1) / kRows, [&](int64_t task) {
    for (int64_t i = task * kRows; i < std::min(n, (task + 1) * kRows); ++i) {
      const T* from = x + i * row_stride;
      T* to = values.data() + i * d;
      if (centre)
        for (int64_t j = 0; j < d; ++j) to[j] = static_cast<T>(from[j] - centre[j]);
      else
        std::copy(from, from + d, to);
      // By the chain of the matrix product, so that the distance of a row from its copy is exactly 0.
      kernels().of<T>().gemm({1, 1, d, to, d, 1, to, 1, d, squares.data() + i, 1, false, nullptr});
    }
  });
}

template <class T>
void svm_kernel_block(const SvmKernel& kernel, int64_t d, int64_t m, const T* a, const T* a_squares, int64_t n,
                      const T* b, const T* b_squares, T* out, int64_t out_row) {
  kernels().of<T>().gemm({m, n, d, a, d, 1, b, 1, d, out, out_row, false, nullptr});
  if (kernel.kind == SvmKernel::linear) return;
  const T gamma = static_cast<T>(kernel.gamma), coef0 = static_cast<T>(kernel.coef0);
  const auto finish = [&](int64_t i) {
    T* row = out + i * out_row;
    if (kernel.kind == SvmKernel::rbf) {
      const T own = a_squares[i];
      for (int64_t j = 0; j < n; ++j) {
        const T square = (own + b_squares[j]) - 2 * row[j];
        row[j] = -gamma * (square < 0 ? T(0) : square);  // keeps NaN
      }
      apply(Unary::exp, n, row);
    } else if (kernel.kind == SvmKernel::sigmoid) {
      for (int64_t j = 0; j < n; ++j) row[j] = gamma * row[j] + coef0;
      apply(Unary::tanh, n, row);
    } else {
      for (int64_t j = 0; j < n; ++j) row[j] = power(gamma * row[j] + coef0, kernel.degree);
    }
  };
  constexpr int64_t kWorthAThread = 20000;
  if (m * n < 2 * kWorthAThread || m < 2)
    for (int64_t i = 0; i < m; ++i) finish(i);
  else
    parallel_for(m, finish);
}

template struct SvmRows<float>;
template struct SvmRows<double>;
template void svm_kernel_block(const SvmKernel&, int64_t, int64_t, const float*, const float*, int64_t, const float*,
                               const float*, float*, int64_t);
template void svm_kernel_block(const SvmKernel&, int64_t, int64_t, const double*, const double*, int64_t, const double*,
                               const double*, double*, int64_t);

}  // namespace pn::learn
