// Part of math.h: log, log1p, logsigmoid, softplus.

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

// log(u.hi + u.lo) for normal u.hi > 0; full relative accuracy also when u is near 1 and u.lo matters.
template <class T>
PN_MATH T log_of_pair(Pair<T> u) {
  auto [f, e, biased] = log_reduce(u.hi);
  // 2^(1 - e): it exists for every e, up to 2^128 (2^1024)
  T inverse = from_bits<T>((2 * Fp<T>::bias + 2 - biased) << Fp<T>::mantissa);
  auto sum = fast_two_sum(f, T(0.5) * u.lo * inverse);
  auto r = log_pair(sum.hi, sum.lo, e);
  return r.hi + r.lo;
}

// What log and its kin give outside (0, inf): -inf at 0, NaN below, x itself for inf and NaN.
template <class T>
PN_MATH T log_edges(T x, T y) {
  T special = x == T(0) ? -Fp<T>::inf : (x < T(0) ? Fp<T>::nan : x);
  return ((x > T(0)) & (x < Fp<T>::inf)) ? y : special;
}

template <class T>
PN_MATH T log_of(T x) {
  constexpr T up = T(typename Fp<T>::Bits(1) << Fp<T>::mantissa);
  bool denormal = x < Fp<T>::tiny;
  auto [f, e, biased] = log_reduce(denormal ? x * up : x);
  auto r = log_pair(f, T(0), e - (denormal ? T(Fp<T>::mantissa) : T(0)));
  return log_edges(x, r.hi + r.lo);
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

PN_MATH float log(float x) { return log_of(x); }
PN_MATH double log(double x) { return log_of(x); }
PN_MATH float log1p(float x) { return log1p_of(x); }
PN_MATH double log1p(double x) { return log1p_of(x); }
PN_MATH float softplus(float x) { return softplus_of(x); }
PN_MATH double softplus(double x) { return softplus_of(x); }
PN_MATH float logsigmoid(float x) { return logsigmoid_of(x); }
PN_MATH double logsigmoid(double x) { return logsigmoid_of(x); }
