// Part of math.h: log, log2, log10, log1p, logsigmoid, softplus, asinh, acosh, atanh.

// (log(1 + f) - f + f^2 / 2) / f^3 for |f| <= 1/3.
PN_MATH float log_poly(float f) {
  return poly(f, 0x1.555558p-2f, -0x1.ffff16p-3f, 0x1.999666p-3f, -0x1.5597eep-3f, 0x1.2517b4p-3f, -0x1.f3a648p-4f,
              0x1.b546bp-4f, -0x1.06d722p-3f, 0x1.f860c6p-4f);
}

PN_MATH double log_poly(double f) {
  return poly(f, 0x1.555555555553ap-2, -0x1.ffffffffffeb8p-3, 0x1.999999999fba0p-3, -0x1.555555556e045p-3,
              0x1.24924920dbdc0p-3, -0x1.ffffffe996f24p-4, 0x1.c71c73fa20ad7p-4, -0x1.99999ee5ff43dp-4,
              0x1.745cb84a313c1p-4, -0x1.5554970683f45p-4, 0x1.3b1d8732ac283p-4, -0x1.24a326419189ap-4,
              0x1.106bcc9303c3ep-4, -0x1.fe10e0ae873efp-5, 0x1.ef9c52326a2a7p-5, -0x1.d95b8bf416e25p-5,
              0x1.56a95ba575932p-5, -0x1.300e249c8e84cp-5, 0x1.5b9d9939d37a7p-4, -0x1.5e77378320597p-4);
}

// x = 2^e (1 + f), 1 + f in [2/3, 4/3), for normal x > 0; e as a number and, plus 128 (1024), as an integer.
template <class T>
struct LogReduced {
  T f, e;
  typename Fp<T>::Bits e_biased;
};

template <class T>
PN_MATH LogReduced<T> log_reduce(T x) {
  using F = Fp<T>;
  constexpr auto offset = F::bias + 1;
  auto biased = (to_bits(x) - to_bits(T(2) / T(3)) + (offset << F::mantissa)) >> F::mantissa;
  constexpr T unit = T(typename F::Bits(1) << F::mantissa);  // 2^mantissa: or-ing an integer into it converts that
  T e = from_bits<T>(biased | to_bits(unit)) - (unit + T(offset));
  return {from_bits<T>(to_bits(x) - ((biased - offset) << F::mantissa)) - T(1), e, biased};
}

// e ln 2 + log(1 + f + f_lo) as a pair.
template <class T>
PN_MATH Pair<T> log_pair(T f, T f_lo, T e) {
  T f2 = f * f;
  T lo = fma_(e, Fp<T>::ln2_lo, f_lo * ((T(1) - f) + f2));  // f_lo / (1 + f), to the few bits that count
  T y = fma_(f2, fma_(f, log_poly(f), T(-0.5)), lo);
  auto sum = fast_two_sum(e * Fp<T>::ln2_hi, f);
  return {sum.hi, sum.lo + y};
}

// log(u.hi + u.lo) + more_e ln 2 for normal u.hi > 0; full relative accuracy also when u is near 1 and u.lo matters.
template <class T>
PN_MATH T log_of_pair(Pair<T> u, T more_e = T(0)) {
  auto [f, e, biased] = log_reduce(u.hi);
  // 2^(1 - e): it exists for every e, up to 2^128 (2^1024)
  T inverse = from_bits<T>((2 * Fp<T>::bias + 2 - biased) << Fp<T>::mantissa);
  auto sum = fast_two_sum(f, T(0.5) * u.lo * inverse);
  auto r = log_pair(sum.hi, sum.lo, e + more_e);
  return r.hi + r.lo;
}

// What log and its kin give outside (0, inf): -inf at 0, NaN below, x itself for inf and NaN.
template <class T>
PN_MATH T log_edges(T x, T y) {
  T special = x == T(0) ? -Fp<T>::inf : (x < T(0) ? Fp<T>::nan : x);
  return ((x > T(0)) & (x < Fp<T>::inf)) ? y : special;
}

// As log_reduce, for denormal x too.
template <class T>
PN_MATH LogReduced<T> log_reduce_any(T x) {
  constexpr T up = T(typename Fp<T>::Bits(1) << Fp<T>::mantissa);
  bool denormal = x < Fp<T>::tiny;
  auto r = log_reduce(denormal ? x * up : x);
  r.e -= denormal ? T(Fp<T>::mantissa) : T(0);
  return r;
}

template <class T>
PN_MATH T log_of(T x) {
  auto [f, e, biased] = log_reduce_any(x);
  auto r = log_pair(f, T(0), e);
  return log_edges(x, r.hi + r.lo);
}

// log2 and log10: e * log_b(2) + log(1 + f) / log(b). The factors' first parts have few bits, so that products are
// exact.
template <class T>
PN_MATH T log_in_base(T x, Pair<T> of_two, Pair<T> factor) {
  auto [f, e, biased] = log_reduce_any(x);
  T head = from_bits<T>(to_bits(f) & Fp<T>::high_half), tail = f - head;
  T y = f * f * fma_(f, log_poly(f), T(-0.5));
  auto sum = fast_two_sum(e * of_two.hi, head * factor.hi);
  T lo = fma_(e, of_two.lo, fma_(f, factor.lo, fma_(tail, factor.hi, y * (factor.hi + factor.lo))));
  return log_edges(x, sum.hi + (sum.lo + lo));
}

template <class T>
PN_MATH T log1p_of(T x) {
  T y = log_edges(x + T(1), log_of_pair(two_sum(T(1), x)));
  return abs_(x) < Fp<T>::eps ? x : y;
}

// log(1 + e^-|x|), which softplus and logsigmoid share.
template <class T>
PN_MATH T log1p_exp_neg(T x) {
  T z = exp_of(-abs_(x));
  // 1 + z <= 2, so the exponent is known without looking: 1 + z = 1 + f, or 2 (1 + f) from z = 1/3 on
  bool halve = z > T(1) / T(3);
  T factor = halve ? T(0.5) : T(1), minus = halve ? T(0.5) : T(0);
  T scaled = z * factor, f = scaled - minus;
  auto r = log_pair(f, scaled - (f + minus), minus + minus);
  return r.hi + r.lo;
}

template <class T>
PN_MATH T softplus_of(T x) {
  return (x < T(0) ? T(0) : x) + log1p_exp_neg(x);
}

template <class T>
PN_MATH T logsigmoid_of(T x) {
  return (x > T(0) ? T(0) : x) - log1p_exp_neg(x);
}

template <class T>
PN_MATH T asinh_of(T x) {
  T a = abs_(x);
  constexpr T big = sizeof(T) == 4 ? T(0x1p12) : T(0x1p28);  // from here on it is log(2 a)
  bool large = a > big;
  T c = large ? T(1) : a, z = c * c;
  auto y = two_sum(c, z / (T(1) + square_root(T(1) + z)));
  auto u = two_sum(T(1), y.hi);
  T r = log_of_pair<T>({large ? a : u.hi, large ? T(0) : u.lo + y.lo}, large ? T(1) : T(0));
  return a < Fp<T>::eps ? x : with_sign(a < Fp<T>::inf ? r : a, x);
}

template <class T>
PN_MATH T acosh_of(T x) {
  constexpr T big = sizeof(T) == 4 ? T(0x1p12) : T(0x1p28);
  bool large = x > big;
  T c = large ? T(1) : x;
  auto square = two_product(c, c);
  auto less = fast_two_sum(square.hi, T(-1));
  auto root = sqrt_pair(fast_two_sum(less.hi, less.lo + square.lo));
  auto u = fast_two_sum(c, root.hi);
  T r = log_of_pair<T>({large ? x : u.hi, large ? T(0) : u.lo + root.lo}, large ? T(1) : T(0));
  T special = x < T(1) ? Fp<T>::nan : x;
  return ((x >= T(1)) & (x < Fp<T>::inf)) ? r : special;
}

template <class T>
PN_MATH T atanh_of(T x) {
  // log1p(2 a / (1 - a)) / 2
  T a = abs_(x);
  auto q = divide<T>({a + a, T(0)}, two_sum(T(1), -a));
  auto u = two_sum(T(1), q.hi);
  T r = T(0.5) * log_of_pair<T>({u.hi, u.lo + q.lo});
  T special = a == T(1) ? Fp<T>::inf : (a > T(1) ? Fp<T>::nan : a);
  return a < Fp<T>::eps ? x : with_sign(a < T(1) ? r : special, x);
}

PN_MATH_BOTH(log)
PN_MATH float log2(float x) { return log_in_base<float>(x, {1, 0}, {0x1.714p+0f, 0x1.47652cp-12f}); }
PN_MATH double log2(double x) { return log_in_base<double>(x, {1, 0}, {0x1.715476p+0, 0x1.4ae0bf85ddf44p-26}); }
PN_MATH float log10(float x) {
  return log_in_base<float>(x, {0x1.344p-2f, 0x1.3509f8p-18f}, {0x1.bcap-2f, 0x1.7b1526p-14f});
}
PN_MATH double log10(double x) {
  return log_in_base<double>(x, {0x1.34413509f7p-2, 0x1.3fde623e2566bp-43}, {0x1.bcb7b1p-2, 0x1.49b9438ca9aaep-28});
}
PN_MATH_BOTH(log1p)
PN_MATH_BOTH(softplus)
PN_MATH_BOTH(logsigmoid)
PN_MATH_BOTH(asinh)
PN_MATH_BOTH(acosh)
PN_MATH_BOTH(atanh)
