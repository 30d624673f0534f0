// Part of math.h: exp, expm1, tanh, sigmoid, silu, sinh, cosh.

// (e^r - 1 - r) / r^2 for |r| <= 0.35.
PN_MATH float exp_poly(float r) {
  return poly(r, 0x1p-1f, 0x1.5554aap-3f, 0x1.5554c4p-5f, 0x1.122c3ap-7f, 0x1.6d780ep-10f);
}

PN_MATH double exp_poly(double r) {
  return poly(r, 0x1p-1, 0x1.5555555555559p-3, 0x1.5555555555559p-5, 0x1.111111110f5a1p-7, 0x1.6c16c16c14858p-10,
              0x1.a01a01b07cb96p-13, 0x1.a01a01b028422p-16, 0x1.71ddf67ba6006p-19, 0x1.27e4c600266f6p-22,
              0x1.af6279a54954dp-26, 0x1.1f959b4af4b0ap-29);
}

// x + low = n ln 2 + r + r_lo, |r| <= 0.35; n comes as an integer held in the low bits of `n_bits` (wraps when
// negative).
template <class T>
struct ExpReduced {
  T r, r_lo;
  typename Fp<T>::Bits n_bits;
};

template <class T>
PN_MATH ExpReduced<T> exp_reduce(T x, T low = T(0)) {
  T t = fma_(x, Fp<T>::log2e, Fp<T>::magic);
  T n = t - Fp<T>::magic;
  T a = fma_(n, -Fp<T>::ln2_hi, x);  // exact: the product has few bits, the difference cancels
  T b = n * Fp<T>::ln2_lo - low;
  T r = a - b;
  return {r, (a - r) - b, to_bits(t) - to_bits(Fp<T>::magic)};
}

// 2^n as a product of two powers, so that a result in the denormal range or near overflow is rounded once.
template <class T>
PN_MATH Pair<T> two_powers(typename Fp<T>::Bits n_bits) {
  auto both = n_bits + 2 * Fp<T>::bias;
  auto first = both >> 1;
  return {from_bits<T>(first << Fp<T>::mantissa), from_bits<T>((both - first) << Fp<T>::mantissa)};
}

template <class T>
PN_MATH T clamp_(T x, T low, T high) {  // keeps NaN
  x = x > high ? high : x;
  return x < low ? low : x;
}

template <class T>
PN_MATH T exp_of(T x) {
  auto [r, r_lo, n] = exp_reduce(clamp_(x, Fp<T>::exp_min, Fp<T>::exp_max));
  T e = T(1) + fma_(r * r, exp_poly(r), r);
  auto [a, b] = two_powers<T>(n);
  return e * a * b;
}

// e^(x + low) = (hi + lo) * 2^n, hi in [0.7, 1.42].
template <class T>
struct ExpParts {
  T hi, lo;
  typename Fp<T>::Bits n_bits;
};

template <class T>
PN_MATH ExpParts<T> exp_parts(T x, T low = T(0)) {
  auto [r, r_lo, n] = exp_reduce(x, low);
  auto first = fast_two_sum(T(1), r);
  auto whole = fast_two_sum(first.hi, first.lo + fma_(r * r, exp_poly(r), r_lo));
  return {whole.hi, whole.lo, n};
}

template <class T>
PN_MATH T expm1_of(T x) {
  // 2^n (1 + p) - 1 = (2^n - 1) + 2^n p, computed at half scale because 2^128 (2^1024) does not exist.
  auto [r, r_lo, n] = exp_reduce(clamp_(x, Fp<T>::expm1_min, Fp<T>::exp_max));
  T scale = from_bits<T>((n + (Fp<T>::bias - 1)) << Fp<T>::mantissa);
  T tail = fma_(r * r, exp_poly(r), r_lo);
  auto sum = fast_two_sum(scale - T(0.5), scale * r);
  T y = T(2) * (sum.hi + fma_(scale, tail, sum.lo));
  return abs_(x) < Fp<T>::eps ? x : y;  // also keeps -0 and denormals
}

// (tanh(x) / x - 1) / x^2 as a function of z = x^2, |x| <= 0.56.
PN_MATH float tanh_poly(float z) {
  return poly(z, -0x1.55554ap-2f, 0x1.110cd8p-3f, -0x1.b91888p-5f, 0x1.58a58ep-6f, -0x1.97799ep-8f);
}

PN_MATH double tanh_poly(double z) {
  return poly(z, -0x1.555555555554dp-2, 0x1.11111111104aap-3, -0x1.ba1ba1b95036bp-5, 0x1.664f484ee5d39p-6,
              -0x1.226e2db03ad02p-7, 0x1.d6d261ec1bc12p-9, -0x1.7d8cdcebc921dp-10, 0x1.346ad5f3cef4fp-11,
              -0x1.e86ebf2857697p-13, 0x1.5a88e3430f09ep-14, -0x1.3fc391ffbc368p-16);
}

template <class T>
PN_MATH T tanh_of(T x) {
  T a = abs_(x), z = a * a;
  T small = fma_(a * z, tanh_poly(z), a);
  T capped = a > T(22) ? T(22) : a;  // tanh is 1 from 9.02 (19.07) on
  auto [r, r_lo, n] = exp_reduce(capped + capped);
  T e = (T(1) + fma_(r * r, exp_poly(r), r)) * from_bits<T>((n + Fp<T>::bias) << Fp<T>::mantissa);
  T large = T(1) - T(2) / (e + T(1));
  return with_sign(a < T(0.55) ? small : large, x);
}

template <class T>
PN_MATH T sigmoid_of(T x) {
  // With z = e^-|x| and w = z / (1 + z): sigmoid = 1 - w or z - z w, where the errors of w count for half at most.
  T a = -abs_(x);
  auto [r, r_lo, n] = exp_reduce(a < Fp<T>::exp_min ? Fp<T>::exp_min : a);
  T e = T(1) + fma_(r * r, exp_poly(r), r);
  auto scale = two_powers<T>(n);
  T z = e * (scale.hi * scale.lo);
  T w = z / (T(1) + z);
  return x < T(0) ? fma_(-e, w, e) * scale.hi * scale.lo : T(1) - w;
}

template <class T>
PN_MATH T silu_of(T x) {
  // As sigmoid, with x multiplied in before the power of two, so that denormal results are rounded once.
  constexpr T end = 8 - Fp<T>::exp_min;  // silu(-end) is 0 after rounding, silu(end) is end
  T a = abs_(x) > end ? end : abs_(x);
  auto e = exp_parts(-a);
  auto scale = two_powers<T>(e.n_bits);
  T power = scale.hi * scale.lo;
  auto below = fast_two_sum(T(1), e.hi * power);
  below.lo += e.lo * power;
  bool negative = x < T(0);
  auto p = two_product(a, e.hi);
  p.lo += a * e.lo;
  auto q = divide<T>({negative ? p.hi : a, negative ? p.lo : T(0)}, below);
  T y = q.hi + q.lo;
  return with_sign(negative ? y * scale.hi * scale.lo : (x > end ? x : y), x);
}

// (sinh(x) / x - 1) / x^2 as a function of z = x^2 <= 1.
PN_MATH float sinh_poly(float z) { return poly(z, 0x1.555556p-3f, 0x1.1110e2p-7f, 0x1.a020f2p-13f, 0x1.75b7fep-19f); }

PN_MATH double sinh_poly(double z) {
  return poly(z, 0x1.5555555555556p-3, 0x1.1111111111020p-7, 0x1.a01a01a036d52p-13, 0x1.71de3a3b589dbp-19,
              0x1.ae646fab006c3p-26, 0x1.611713834be1dp-33, 0x1.b5beeb372ae04p-41);
}

// (e^a + sign e^-a) / 2 for a >= 0; loses bits by cancellation for sign = -1 and a < 1.
template <class T>
PN_MATH T half_exp_sum(T a, T sign) {
  T high = Fp<T>::exp_max + T(1);
  auto e = exp_parts(a > high ? high : a);
  T inverse = from_bits<T>((Fp<T>::bias - 2 * e.n_bits) << Fp<T>::mantissa) / e.hi;  // 2^-2n / hi
  T other = a > T(20) ? T(0) : sign * inverse;
  auto scale = two_powers<T>(e.n_bits - 1);
  return (e.hi + (e.lo + other)) * scale.hi * scale.lo;
}

template <class T>
PN_MATH T sinh_of(T x) {
  T a = abs_(x), z = a * a;
  T small = fma_(a * z, sinh_poly(z), a);
  return with_sign(a < T(1) ? small : half_exp_sum(a, T(-1)), x);
}

template <class T>
PN_MATH T cosh_of(T x) {
  return half_exp_sum(abs_(x), T(1));
}

PN_MATH_BOTH(exp)
PN_MATH_BOTH(expm1)
PN_MATH_BOTH(tanh)
PN_MATH_BOTH(sigmoid)
PN_MATH_BOTH(silu)
PN_MATH_BOTH(sinh)
PN_MATH_BOTH(cosh)
