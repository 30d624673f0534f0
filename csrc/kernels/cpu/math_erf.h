// Part of math.h: erf, gelu.

// erf(x) / x - 1 as a function of z = x^2, |x| <= 1.
PN_MATH float erf_poly(float z) {
  return poly(z, 0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2d0ep-4f, -0x1.b7fa4ap-6f, 0x1.540ddcp-8f, -0x1.a42acap-11f,
              0x1.49e8b8p-14f);
}

PN_MATH double erf_poly(double z) {
  return poly(z, 0x1.06eba8214db69p-3, -0x1.812746b037a25p-2, 0x1.ce2f21a045954p-4, -0x1.b82ce31358241p-6,
              0x1.565bcd2d0af98p-8, -0x1.c02db957c0faep-11, 0x1.f9a3be32f0209p-14, -0x1.f4dd5bba92e52p-17,
              0x1.ba6f0427aa485p-20, -0x1.63c7f7922652dp-23, 0x1.146270a60ab24p-26, -0x1.cd11944a1a477p-30,
              0x1.47a5abf097e9ap-33);
}

// log(erfc(x)) for x in [1, 3.95] ([1, 5.95]), fitted so that 1 - e^this is accurate: erfc <= 0.16 needs fewer bits.
PN_MATH float log_erfc_poly(float x) {
  return poly(x, -0x1.662798p-12f, -0x1.2088e8p+0f, -0x1.46baf4p-1f, -0x1.a6530ap-4f, 0x1.65cb0ep-6f, -0x1.825a2ep-9f,
              0x1.86dc42p-13f);
}

PN_MATH double log_erfc_poly(double x) {
  return poly(x, -0x1.0df574aa104a9p-21, -0x1.20dd1fd4845d1p+0, -0x1.45f6274e3252ep-1, -0x1.a4ac5d2114e05p-4,
              0x1.3722996603cc5p-6, 0x1.ae919703e1824p-12, -0x1.f6406032293c2p-10, 0x1.940950db17eacp-11,
              -0x1.1b36ef0cf0571p-13, -0x1.540b4661901b6p-16, 0x1.7ee877d1f2882p-16, -0x1.22d3ece6e6723p-17,
              0x1.1ea6c2f78825bp-19, -0x1.90d6b85bd1ab0p-22, 0x1.8ec70460e3dccp-25, -0x1.0e5d9c53a2bcbp-28,
              0x1.c1b385892a381p-33, -0x1.5ad40d30aa5bbp-38);
}

template <class T>
PN_MATH T erf_of(T x, T end) {
  T a = abs_(x);
  T small = fma_(a, erf_poly(a * a), a);
  auto [r, r_lo, n] = exp_reduce(log_erfc_poly(a > end ? end : a));
  T e = (T(1) + fma_(r * r, exp_poly(r), r)) * from_bits<T>((n + Fp<T>::bias) << Fp<T>::mantissa);
  return with_sign(a < T(1) ? small : T(1) - e, x);
}

// gelu(x) = x (1 - Q(x)) with the upper tail of the normal distribution Q(a) = e^(-a^2 / 2) P(t) / (a + k),
// t = (a - k) / (a + k), which keeps its relative accuracy down to the smallest results.
//
// The float version computes in double with short polynomials (errors below 2^-28): fewer steps than float pairs would
// take.
PN_MATH float gelu(float x) {
  double a = abs_(x) > 14.6f ? 14.6f : abs_(x);  // gelu(-14.6) is 0 after rounding
  auto [r, r_lo, n] = exp_reduce(-0.5 * a * a);
  double q = poly(r, 0x1.00000056861bfp-1, 0x1.555486f0ab50fp-3, 0x1.55545423e439ep-5, 0x1.124146cadc6e7p-7,
                  0x1.6dbc5370ffedbp-10);
  double e = (1.0 + fma_(r * r, q, r)) * from_bits<double>((n + Fp<double>::bias) << Fp<double>::mantissa);
  double inverse = 1.0 / (a + 5.0);
  double p = poly((a - 5.0) * inverse, 0x1.89d3abe207b3cp-1, -0x1.54ad0318b6d83p-1, 0x1.fb31642e77468p-2,
                  -0x1.410f206e98032p-2, 0x1.51f634ed72a2dp-3, -0x1.1b0e0f44dfe9bp-4, 0x1.54d3b334d0a98p-6,
                  -0x1.906474a770c33p-9, -0x1.c50c5dffd1e84p-11, 0x1.49fb0a95b8b22p-11, 0x1.8fe66a308da8ap-14);
  double tail = a * e * p * inverse;
  float y = float(x < 0.0f ? tail : a - tail);
  return with_sign(x > 14.6f ? x : y, x);
}

// (P(t) - P(0)) / t for k = 6 and 0.5 <= a <= 38.8.
PN_MATH double tail_poly(double t) {
  return poly(t, -0x1.66eaa7d09640fp-1, 0x1.234fe3fd925bfp-1, -0x1.a7d6577269babp-2, 0x1.1267d7383d9f3p-2,
              -0x1.38b069dbb6afbp-3, 0x1.33e77776046dap-4, -0x1.fba9d52f13644p-6, 0x1.48a83bd0929c7p-7,
              -0x1.1764cdd05df82p-9, 0x1.13bbdb1e282f3p-15, 0x1.7c574d5f1e30fp-13, -0x1.0f96fd084bc9ap-14,
              0x1.206dea13ee3ffp-20, 0x1.c81aae61e32a1p-18, -0x1.e26efff147aadp-20, -0x1.cd5cf2be16119p-22,
              0x1.497f1633f064bp-22, 0x1.06747dac921d3p-27, -0x1.5a249ac3fe3dcp-25, 0x1.096ba6d832d76p-29,
              0x1.0709982b8443ep-28);
}

PN_MATH double gelu(double x) {
  constexpr double end = 38.8;
  double a = abs_(x) > end ? end : abs_(x);
  auto square = two_product(a, a);
  auto e = exp_parts(-0.5 * square.hi, -0.5 * square.lo);
  auto below = two_sum(a, 6.0);
  auto t = divide(two_sum(a, -6.0), below);
  auto rest = two_product(t.hi, tail_poly(t.hi));
  auto p = two_sum(0x1.8e010d2b8a0eap-1, rest.hi);
  // the first two coefficients have second parts; for t.lo: P'(t) is about -P(t) (-0.6 to -1.4 times)
  p.lo += (fma_(t.hi, 0x1.5d51820dcfd50p-56, -0x1.d4793f3d356b5p-55) + rest.lo) - p.hi * t.lo;
  auto m = two_product(p.hi, e.hi);
  m.lo += p.hi * e.lo + p.lo * e.hi;
  auto n = two_product(a, m.hi);
  n.lo += a * m.lo;
  auto q = divide(n, below);
  auto scale = two_powers<double>(e.n_bits);
  double tail = (q.hi + q.lo) * scale.hi * scale.lo;
  double right = (a - q.hi * scale.hi * scale.lo) - q.lo * scale.hi * scale.lo;
  // near 0 x (1 / 2 + erf(x / sqrt(2)) / 2) is more accurate
  constexpr double scale_erf = 0x1.6a09e667f3bcdp-2;  // 1 / sqrt(8)
  auto phi = fast_two_sum(0.5, x * fma_(scale_erf, erf_poly(0.5 * square.hi), scale_erf));
  double near_zero = fma_(x, phi.hi, x * phi.lo);
  double y = x > end ? x : (x < 0.0 ? tail : right);
  return with_sign(a < 0.5 ? near_zero : y, x);
}

PN_MATH float erf(float x) { return erf_of(x, 3.95f); }
PN_MATH double erf(double x) { return erf_of(x, 5.95); }
