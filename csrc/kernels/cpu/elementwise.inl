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

// The loop below may be taken in vectors: what it writes is what it reads at the same place, or elsewhere altogether.
#if defined(__clang__)
#define PN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define PN_INDEPENDENT _Pragma("GCC ivdep")
#endif

// Loops of functions go over whole vectors alone, which the mask tells the compiler; what is left over goes through
// once more, as a vector of its own. Their bodies would else stand there twice more, for half vectors and single
// elements; for the same reason none is inlined into itself.
template <class T>
struct Elementwise {
  static constexpr int kWhole = matmul::kLanes<T>;

  // f on what is left, `count` elements of each operand: f(in, out) on whole vectors.
  template <int N, class F>
  static void rest(int64_t count, const T* const (&from)[N], T* to, const F& f) {
    const int n = static_cast<int>(count);
    T in[N][kWhole], out[kWhole];
    for (int k = 0; k < N; ++k) matmul::store<T>(in[k], matmul::load_part(from[k], n));
    f(in, out);
    matmul::store_part(to, matmul::load<T>(out), n);
  }

#define PN_WHOLE_VECTORS(...)                 \
  const int64_t whole = n & -int64_t{kWhole}; \
  PN_INDEPENDENT                              \
  for (int64_t i = 0; i < whole; ++i) {       \
    __VA_ARGS__                               \
  }                                           \
  if (whole == n) return;

#define PN_UNARY(name, ...)                                                                                     \
  __attribute__((noinline)) static void unary_##name(int64_t n, const T* xs, T* ys, const double* parameters) { \
    [[maybe_unused]] const T p0 = static_cast<T>(parameters[0]);                                                \
    [[maybe_unused]] const T p1 = static_cast<T>(parameters[1]);                                                \
    PN_WHOLE_VECTORS(const T x = xs[i]; ys[i] = __VA_ARGS__;)                                                   \
    rest(n - whole, {xs + whole}, ys + whole,                                                                   \
         [=](const auto& in, T* out) { unary_##name(kWhole, in[0], out, parameters); });                        \
  }
#define PN_UNARY_ANY PN_UNARY
#define PN_UNARY_FLOAT PN_UNARY

#define PN_BINARY(name, ...)                                                                        \
  __attribute__((noinline)) static void binary_##name(int64_t n, const T* as, const T* bs, T* ys) { \
    PN_WHOLE_VECTORS(const T a = as[i], b = bs[i]; ys[i] = __VA_ARGS__;)                            \
    rest(n - whole, {as + whole, bs + whole}, ys + whole,                                           \
         [](const auto& in, T* out) { binary_##name(kWhole, in[0], in[1], out); });                 \
  }
#define PN_BINARY_ANY PN_BINARY
#define PN_BINARY_FLOAT PN_BINARY

#define PN_TERNARY_FLOAT(name, ...)                                                                               \
  __attribute__((noinline)) static void ternary_##name(int64_t n, const T* as, const T* bs, const T* cs, T* ys) { \
    PN_WHOLE_VECTORS(const T a = as[i], b = bs[i], c = cs[i]; ys[i] = __VA_ARGS__;)                               \
    rest(n - whole, {as + whole, bs + whole, cs + whole}, ys + whole,                                             \
         [](const auto& in, T* out) { ternary_##name(kWhole, in[0], in[1], in[2], out); });                       \
  }

#define PN_COMPARE_ANY(name, ...)                                             \
  static void compare_##name(int64_t n, const T* as, const T* bs, bool* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                         \
      const T a = as[i], b = bs[i];                                           \
      ys[i] = __VA_ARGS__;                                                    \
    }                                                                         \
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
    // A choice by bytes, of what has been read, is made in vectors; one by bools is a branch for each.
    const unsigned char* chosen = reinterpret_cast<const unsigned char*>(c);
    PN_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const T if_true = a[i], otherwise = b[i];
      y[i] = chosen[i] != 0 ? if_true : otherwise;
    }
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

  // Division with remainder is done for short quotients; the few others are done over again, from a block that keeps
  // what an operation in place would overwrite.
  template <void (*fast)(int64_t, const T*, const T*, T*), T (*exact)(T, T)>
  static void with_long_quotients(int64_t n, const T* as, const T* bs, T* ys) {
    constexpr int64_t block = 256;
    T a[block], b[block];
    for (int64_t start = 0; start < n; start += block) {
      const int64_t m = n - start < block ? n - start : block;
      int all = 1;
      for (int64_t i = 0; i < m; ++i) {
        a[i] = as[start + i], b[i] = bs[start + i];
        all &= is_short_quotient(a[i], b[i]);
      }
      fast(m, a, b, ys + start);
      for (int64_t i = 0; !all && i < m; ++i)
        if (!is_short_quotient(a[i], b[i])) ys[start + i] = exact(a[i], b[i]);
    }
  }

  static ElementwiseKernels<T> table() {
    ElementwiseKernels<T> kernels = rows();
    kernels.binary[static_cast<int>(Binary::remainder)] = &with_long_quotients<&binary_remainder, &any_remainder<T>>;
    kernels.binary[static_cast<int>(Binary::floor_divide)] =
        &with_long_quotients<&binary_floor_divide, &any_floor_divide<T>>;
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
