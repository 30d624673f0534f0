// Elementwise kernels: one loop per row of elementwise.def, vectorised by the compiler. Included inside the namespace of
// one instruction set.

template <class T>
struct Elementwise {
#define PN_UNARY(name, ...)                                                            \
  static void unary_##name(int64_t n, const T* xs, T* ys, const double* parameters) {  \
    [[maybe_unused]] const T p0 = static_cast<T>(parameters[0]);                       \
    [[maybe_unused]] const T p1 = static_cast<T>(parameters[1]);                       \
    for (int64_t i = 0; i < n; ++i) {                                                  \
      const T x = xs[i];                                                               \
      ys[i] = __VA_ARGS__;                                                             \
    }                                                                                  \
  }
#define PN_UNARY_ANY PN_UNARY
#define PN_UNARY_FLOAT PN_UNARY

#define PN_TWO(family, R, name, ...)                                              \
  static void family##_##name(int64_t n, const T* as, const T* bs, R* ys) {       \
    for (int64_t i = 0; i < n; ++i) {                                             \
      const T a = as[i], b = bs[i];                                               \
      ys[i] = static_cast<R>(__VA_ARGS__);                                        \
    }                                                                             \
  }
#define PN_BINARY_ANY(name, ...) PN_TWO(binary, T, name, __VA_ARGS__)
#define PN_BINARY_FLOAT(name, ...) PN_TWO(binary, T, name, __VA_ARGS__)
#define PN_COMPARE_ANY(name, ...) PN_TWO(compare, bool, name, __VA_ARGS__)

#define PN_TERNARY_FLOAT(name, ...)                                               \
  static void ternary_##name(int64_t n, const T* as, const T* bs, const T* cs, T* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                             \
      const T a = as[i], b = bs[i], c = cs[i];                                    \
      ys[i] = __VA_ARGS__;                                                        \
    }                                                                             \
  }

#define PN_TEST(name, ...)                                     \
  static void test_##name(int64_t n, const T* xs, bool* ys) {  \
    for (int64_t i = 0; i < n; ++i) {                          \
      const T x = xs[i];                                       \
      ys[i] = __VA_ARGS__;                                     \
    }                                                          \
  }
#define PN_TEST_ANY PN_TEST
#define PN_TEST_FLOAT PN_TEST
#include "kernels/elementwise_rows.h"

  static void where(int64_t n, const bool* c, const T* a, const T* b, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
  }

  static ElementwiseKernels<T> table() {
    return {{
#define PN_UNARY_ANY(name, ...) &unary_##name,
#define PN_UNARY_FLOAT(name, ...) &unary_##name,
#include "kernels/elementwise_rows.h"
            },
            {
#define PN_BINARY_ANY(name, ...) &binary_##name,
#define PN_BINARY_FLOAT(name, ...) &binary_##name,
#include "kernels/elementwise_rows.h"
            },
            {
#define PN_TERNARY_FLOAT(name, ...) &ternary_##name,
#include "kernels/elementwise_rows.h"
            },
            {
#define PN_TEST_ANY(name, ...) &test_##name,
#define PN_TEST_FLOAT(name, ...) &test_##name,
#include "kernels/elementwise_rows.h"
            },
            {
#define PN_COMPARE_ANY(name, ...) &compare_##name,
#include "kernels/elementwise_rows.h"
            },
            &where};
  }
};
