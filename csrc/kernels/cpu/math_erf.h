// Part of math.h: erf.

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

PN_MATH float erf(float x) { return erf_of(x, 3.95f); }
PN_MATH double erf(double x) { return erf_of(x, 5.95); }
