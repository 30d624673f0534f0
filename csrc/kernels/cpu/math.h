// Scalar mathematical functions that a compiler can vectorise: `for (i...) y[i] = exp(x[i])` becomes vector code.
//
// Include this header INSIDE `namespace pn::PN_ISA`, after <cstdint>: it opens no namespace and includes no system
// header, so that each instruction set gets its own copies and the linker merges none of them. No std:: for the same
// reason.
//
// How it works. Every function is straight-line code: no branches, no tables, no calls; special cases are selects of
// values. Integers are reached by bit casts and by adding 1.5 * 2^p ("magic" rounding), never by conversions, which
// AVX2 lacks for 64 bits. All steps are IEEE additions, products, divisions, square roots and explicit fma_, so vector
// lanes, scalar tails and all instruction sets with a fused multiply-add give the same bits. The baseline without one
// differs in last bits. The two types share one template; only widths and polynomials differ. Polynomials are minimax
// fits by a Remez exchange, low coefficients rounded first and the others refitted. Needs -ffp-contract=off;
// -fno-math-errno and -fno-trapping-math let gcc vectorise square roots and selects.
//
// Accuracy: bounds in ulp (float, double) of the exact result over the whole range, denormal results, signed zeros,
// infinities and NaN included. Measured with fused multiply-add on every float for exp, log, tanh, sigmoid and erf, on
// every 37th for the others and on 10^7 random doubles; without it on every 211th float and 4 * 10^6 doubles. Rounded
// up a little from the worst of these, and held by tests/test_math_accuracy.py.
//
//   exp         1.1  1.1   logsigmoid  1.8  1.8   atanh         1    1
//   expm1       1.2  1.2   softplus    1.8  1.8   sin        0.95 0.95
//   log           1    1   silu        0.9  0.9   cos        0.95 0.95
//   log1p         1    1   gelu       0.65  2.2   tan        1.25 1.25
//   log2        1.3  1.3   erf         1.5  1.6   asin       0.75 0.75
//   log10       1.4  1.9   sinh        0.9  0.9   acos       0.75 0.75
//   pow        0.51  1.1   cosh       0.95 0.95   atan       0.95 0.95
//   tanh        1.6  1.6   asinh       1.2  1.2   atan2       1.6  1.6
//   sigmoid     1.9  1.9   acosh         1    1
//
// sin, cos and tan hold up to |x| = 1e7 (math_trig.h says what to do beyond). Where C has no function: silu(-inf) and
// gelu(-inf) are -0, the limits.
#define PN_MATH static inline __attribute__((always_inline))

PN_MATH float fma_(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

PN_MATH double fma_(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// What the templates need to know about a type.
template <class T>
struct Fp;

template <>
struct Fp<float> {
  using Bits = uint32_t;
  static constexpr int mantissa = 23;
  static constexpr Bits bias = 127, sign = 0x80000000u, high_half = 0xfffff000u;
  static constexpr float magic = 0x1.8p23f, tiny = 0x1p-126f, inf = __builtin_inff(), nan = __builtin_nanf("");
  static constexpr float log2e = 0x1.715476p+0f;
  static constexpr float ln2_hi = 0x1.62e4p-1f, ln2_lo = 0x1.7f7d1cp-20f;  // hi: 16 bits, so hi * n is exact
  static constexpr float exp_min = -104.0f, exp_max = 89.0f;               // beyond: 0 and inf after rounding
  static constexpr float expm1_min = -18.0f, eps = 0x1p-25f;
};

template <>
struct Fp<double> {
  using Bits = uint64_t;
  static constexpr int mantissa = 52;
  static constexpr Bits bias = 1023, sign = 0x8000000000000000u, high_half = 0xfffffffff8000000u;
  static constexpr double magic = 0x1.8p52, tiny = 0x1p-1022, inf = __builtin_inf(), nan = __builtin_nan("");
  static constexpr double log2e = 0x1.71547652b82fep+0;
  static constexpr double ln2_hi = 0x1.62e42fefa38p-1, ln2_lo = 0x1.ef35793c7673p-45;  // hi: 42 bits
  static constexpr double exp_min = -746.0, exp_max = 710.0;
  static constexpr double expm1_min = -38.0, eps = 0x1p-54;
};

template <class T>
PN_MATH typename Fp<T>::Bits to_bits(T x) {
  return __builtin_bit_cast(typename Fp<T>::Bits, x);
}

template <class T>
PN_MATH T from_bits(typename Fp<T>::Bits u) {
  return __builtin_bit_cast(T, u);
}

template <class T>
PN_MATH T abs_(T x) {
  return from_bits<T>(to_bits(x) & ~Fp<T>::sign);
}

// |magnitude| with the sign of `signed_`; magnitude must be >= 0 or NaN.
template <class T>
PN_MATH T with_sign(T magnitude, T signed_) {
  return from_bits<T>((to_bits(magnitude) & ~Fp<T>::sign) | (to_bits(signed_) & Fp<T>::sign));
}

// poly(x, c0, c1, ...) = c0 + c1 x + ..., by Horner's rule.
template <class T>
PN_MATH T poly(T, T c) {
  return c;
}

template <class T, class... C>
PN_MATH T poly(T x, T c, C... higher) {
  return fma_(poly(x, higher...), x, c);
}

// a * b - p for p = a * b rounded. Without a fused multiply-add the factors are split in halves (Dekker).
template <class T>
PN_MATH T product_error(T a, T b, T p) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fma_(a, b, -p);
#else
  T ah = from_bits<T>(to_bits(a) & Fp<T>::high_half), al = a - ah;
  T bh = from_bits<T>(to_bits(b) & Fp<T>::high_half), bl = b - bh;
  return (((ah * bh - p) + ah * bl) + al * bh) + al * bl;
#endif
}

// An unevaluated sum hi + lo, |lo| <= ulp(hi) / 2 or so: results that another step still needs more bits of.
template <class T>
struct Pair {
  T hi, lo;
};

template <class T>
PN_MATH Pair<T> two_sum(T a, T b) {  // exact for any a, b
  T s = a + b, bb = s - a;
  return {s, (a - (s - bb)) + (b - bb)};
}

template <class T>
PN_MATH Pair<T> fast_two_sum(T a, T b) {  // exact for |a| >= |b| or a == 0
  T s = a + b;
  return {s, b - (s - a)};
}

template <class T>
PN_MATH Pair<T> two_product(T a, T b) {
  T p = a * b;
  return {p, product_error(a, b, p)};
}

// n / d as a pair; its lo has few correct bits, which is what a last rounding needs.
template <class T>
PN_MATH Pair<T> divide(Pair<T> n, Pair<T> d) {
  T inverse = T(1) / d.hi;
  T q = n.hi * inverse;
  T p = q * d.hi;
  T rest = ((n.hi - p) - product_error(q, d.hi, p)) + (n.lo - q * d.lo);
  return {q, rest * inverse};
}

PN_MATH float square_root(float x) { return __builtin_sqrtf(x); }
PN_MATH double square_root(double x) { return __builtin_sqrt(x); }

// sqrt(w.hi + w.lo) as a pair; 0 gives 0.
template <class T>
PN_MATH Pair<T> sqrt_pair(Pair<T> w) {
  T s = square_root(w.hi), p = s * s;
  T rest = ((w.hi - p) - product_error(s, s, p)) + w.lo;
  return {s, rest / (s + (s > T(0) ? s : T(1)))};
}

// float name(float) and double name(double) from the template name_of.
#define PN_MATH_BOTH(name)                             \
  PN_MATH float name(float x) { return name##_of(x); } \
  PN_MATH double name(double x) { return name##_of(x); }

// The order matters: later parts build on earlier ones.
// clang-format off
#include "math_exp.h"
#include "math_log.h"
#include "math_erf.h"
#include "math_trig.h"
#include "math_pow.h"
// clang-format on

#undef PN_MATH_BOTH
