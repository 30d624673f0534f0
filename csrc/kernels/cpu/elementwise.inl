// Elementwise kernels: one loop per row of elementwise.def, vectorised by the compiler. Included inside the namespace
// of one instruction set.

// The trigonometric functions reduce moderate arguments only; the few that are huge are done over again by the C
// library.
template <class T>
static void redo_huge(int64_t n, const T* xs, T* ys, T (*exact)(T)) {
  int any = 0;
  for (int64_t i = 0; i < n; ++i) any |= trig_needs_libm(xs[i]);
  if (!any) return;
  for (int64_t i = 0; i < n; ++i)
    if (trig_needs_libm(xs[i])) ys[i] = exact(xs[i]);
}
static float huge_sin(float x) { return __builtin_sinf(x); }
static double huge_sin(double x) { return __builtin_sin(x); }
static float huge_cos(float x) { return __builtin_cosf(x); }
static double huge_cos(double x) { return __builtin_cos(x); }
static float huge_tan(float x) { return __builtin_tanf(x); }
static double huge_tan(double x) { return __builtin_tan(x); }

template <class T>
struct Elementwise {
#define PN_UNARY(name, ...)                                                           \
  static void unary_##name(int64_t n, const T* xs, T* ys, const double* parameters) { \
    [[maybe_unused]] const T p0 = static_cast<T>(parameters[0]);                      \
    [[maybe_unused]] const T p1 = static_cast<T>(parameters[1]);                      \
    for (int64_t i = 0; i < n; ++i) {                                                 \
      const T x = xs[i];                                                              \
      ys[i] = __VA_ARGS__;                                                            \
    }                                                                                 \
  }
#define PN_UNARY_ANY PN_UNARY
#define PN_UNARY_FLOAT PN_UNARY

#define PN_TWO(family, R, name, ...)                                        \
  static void family##_##name(int64_t n, const T* as, const T* bs, R* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                       \
      const T a = as[i], b = bs[i];                                         \
      ys[i] = static_cast<R>(__VA_ARGS__);                                  \
    }                                                                       \
  }
#define PN_BINARY_ANY(name, ...) PN_TWO(binary, T, name, __VA_ARGS__)
#define PN_BINARY_FLOAT(name, ...) PN_TWO(binary, T, name, __VA_ARGS__)
#define PN_COMPARE_ANY(name, ...) PN_TWO(compare, bool, name, __VA_ARGS__)

#define PN_TERNARY_FLOAT(name, ...)                                                     \
  static void ternary_##name(int64_t n, const T* as, const T* bs, const T* cs, T* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                                   \
      const T a = as[i], b = bs[i], c = cs[i];                                          \
      ys[i] = __VA_ARGS__;                                                              \
    }                                                                                   \
  }

#define PN_TEST(name, ...)                                    \
  static void test_##name(int64_t n, const T* xs, bool* ys) { \
    for (int64_t i = 0; i < n; ++i) {                         \
      const T x = xs[i];                                      \
      ys[i] = __VA_ARGS__;                                    \
    }                                                         \
  }
#define PN_TEST_ANY PN_TEST
#define PN_TEST_FLOAT PN_TEST
#include "kernels/elementwise_rows.h"

  static void where(int64_t n, const bool* c, const T* a, const T* b, T* y) {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
  }

  // In place, x would be overwritten by the first pass: these three go by way of a block that keeps it.
  template <void (*fast)(int64_t, const T*, T*, const double*), T (*exact)(T)>
  static void with_huge(int64_t n, const T* xs, T* ys, const double* parameters) {
    constexpr int64_t block = 256;
    T kept[block];
    for (int64_t start = 0; start < n; start += block) {
      const int64_t m = n - start < block ? n - start : block;
      for (int64_t i = 0; i < m; ++i) kept[i] = xs[start + i];
      fast(m, kept, ys + start, parameters);
      redo_huge<T>(m, kept, ys + start, exact);
    }
  }

  static ElementwiseKernels<T> table() {
    ElementwiseKernels<T> kernels = rows();
    kernels.unary[static_cast<int>(Unary::sin)] = &with_huge<&unary_sin, &huge_sin>;
    kernels.unary[static_cast<int>(Unary::cos)] = &with_huge<&unary_cos, &huge_cos>;
    kernels.unary[static_cast<int>(Unary::tan)] = &with_huge<&unary_tan, &huge_tan>;
    return kernels;
  }

 private:
  static ElementwiseKernels<T> rows() {
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
