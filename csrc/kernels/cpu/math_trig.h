// Part of math.h: sin, cos, tan and their inverses.
//
// sin, cos and tan subtract a multiple of pi / 2 that is known to 2^-84 (float) or 2^-143 (double) and whose products
// are exact, which holds up to |x| = 1e7. Where trig_needs_libm(x) is true the result is meaningless (but harmless):
// the caller computes those few elements again with __builtin_sin etc.

template <class T>
PN_MATH bool trig_needs_libm(T x) {
  return (abs_(x) > T(1e7)) & (abs_(x) < Fp<T>::inf);
}

// x = n pi / 2 + r + r_lo; quadrant = n mod 4 in the low bits.
template <class T>
struct TrigReduced {
  T r, r_lo;
  typename Fp<T>::Bits quadrant;
};

constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
constexpr double pio2_1 = 0x1.921fb54p+0, pio2_2 = 0x1.10b46118p-30, pio2_3 = 0x1.313198ap-61;  // 30 bits each
constexpr double pio2_4 = 0x1.701b839a25205p-92, pio2_2to3 = 0x1.10b4611a62633p-30;

PN_MATH TrigReduced<float> trig_reduce(float x) {
  double t = fma_(double(x), two_over_pi, Fp<double>::magic), n = t - Fp<double>::magic;
  double r = fma_(n, -pio2_2to3, fma_(n, -pio2_1, double(x)));
  float rounded = float(r);
  return {rounded, float(r - double(rounded)), uint32_t(to_bits(t))};
}

PN_MATH TrigReduced<double> trig_reduce(double x) {
  double t = fma_(x, two_over_pi, Fp<double>::magic), n = t - Fp<double>::magic;
  double a = x - n * pio2_1;
  auto b = two_sum(a, -(n * pio2_2));
  auto c = two_sum(b.hi, -(n * pio2_3));
  auto r = fast_two_sum(c.hi, (c.lo + b.lo) - n * pio2_4);
  return {r.hi, r.lo, to_bits(t)};
}

// (sin(r) / r - 1) / z and (cos(r) - 1 + z / 2) / z^2 as functions of z = r^2, |r| <= pi / 4.
PN_MATH float sin_poly(float z) { return poly(z, -0x1.555546p-3f, 0x1.11076ep-7f, -0x1.994df6p-13f); }
PN_MATH float cos_poly(float z) { return poly(z, 0x1.55554ap-5f, -0x1.6c0c1ap-10f, 0x1.99e0cep-16f); }

PN_MATH double sin_poly(double z) {
  return poly(z, -0x1.5555555555548p-3, 0x1.111111110f716p-7, -0x1.a01a019be313fp-13, 0x1.71de354ddde6cp-19,
              -0x1.ae5e4465edbdfp-26, 0x1.5d88e9e1b0822p-33);
}

PN_MATH double cos_poly(double z) {
  return poly(z, 0x1.555555555554bp-5, -0x1.6c16c16c15003p-10, 0x1.a01a019c8b24dp-16, -0x1.27e4f7ecfcaa1p-22,
              0x1.1ee9d78f40418p-29, -0x1.8fa3c04d7b28ep-37);
}

template <class T>
PN_MATH Pair<T> sin_parts(T r, T r_lo, T z) {
  return {r, fma_(r * z, sin_poly(z), r_lo)};
}

template <class T>
PN_MATH Pair<T> cos_parts(T r, T r_lo, T z) {
  T half = T(0.5) * z;
  auto head = fast_two_sum(T(1), -half);
  return {head.hi, head.lo + fma_(z * z, cos_poly(z), -(r * r_lo))};
}

// sin of x + shift * pi / 2 for the reduced x.
template <class T>
PN_MATH T sin_shifted(TrigReduced<T> x, typename Fp<T>::Bits shift) {
  T z = x.r * x.r;
  auto s = sin_parts(x.r, x.r_lo, z), c = cos_parts(x.r, x.r_lo, z);
  auto quadrant = x.quadrant + shift;
  T y = (quadrant & 1) ? c.hi + c.lo : s.hi + s.lo;
  return from_bits<T>(to_bits(y) ^ ((quadrant & 2) << (sizeof(T) * 8 - 2)));
}

template <class T>
PN_MATH T sin_of(T x) {  // on |x|, so that sin(-0) is -0
  T y = sin_shifted(trig_reduce(abs_(x)), 0);
  return from_bits<T>(to_bits(y) ^ (to_bits(x) & Fp<T>::sign));
}

template <class T>
PN_MATH T cos_of(T x) {
  return sin_shifted(trig_reduce(x), 1);
}

template <class T>
PN_MATH T tan_of(T x) {
  auto reduced = trig_reduce(abs_(x));
  T z = reduced.r * reduced.r;
  auto s = sin_parts(reduced.r, reduced.r_lo, z), c = cos_parts(reduced.r, reduced.r_lo, z);
  s = fast_two_sum(s.hi, s.lo);
  c = fast_two_sum(c.hi, c.lo);
  bool odd = (reduced.quadrant & 1) != 0;
  auto q = divide<T>({odd ? -c.hi : s.hi, odd ? -c.lo : s.lo}, {odd ? s.hi : c.hi, odd ? s.lo : c.lo});
  return from_bits<T>(to_bits(q.hi + q.lo) ^ (to_bits(x) & Fp<T>::sign));
}

// pi / 4 in two parts, the first with three trailing zeros: its small multiples are exact.
template <class T>
PN_MATH constexpr Pair<T> quarter_pi() {
  if constexpr (sizeof(T) == 4)
    return {0x1.921fbp-1f, 0x1.5110b4p-23f};
  else
    return {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55};
}

// (asin(s) / s - 1) / z as a function of z = s^2 <= 1/4.
PN_MATH float asin_poly(float z) {
  return poly(z, 0x1.5555ccp-3f, 0x1.3300c4p-4f, 0x1.749b1cp-5f, 0x1.8b062ap-6f, 0x1.5a682p-5f);
}

PN_MATH double asin_poly(double z) {
  return poly(z, 0x1.5555555555578p-3, 0x1.333333332deefp-4, 0x1.6db6db722e513p-5, 0x1.f1c71a8a397b1p-6,
              0x1.6e8be01406bfap-6, 0x1.1c49da74279c9p-6, 0x1.ca21a0ea3ee74p-7, 0x1.757461b8aa3bdp-7,
              0x1.619d8ca8cd11ep-7, 0x1.e0304b816af43p-9, 0x1.65610ee2fde88p-6, -0x1.5a82842a9bcf4p-6,
              0x1.0c11cda83836bp-5);
}

// asin(|x|), or what is left of it when asin(x) = pi / 2 - 2 asin(sqrt((1 - x) / 2)), as s + lo.
template <class T>
PN_MATH Pair<T> asin_parts(T a) {
  bool big = a > T(0.5);
  T z = big ? (T(1) - a) * T(0.5) : a * a;
  auto root = sqrt_pair<T>({z, T(0)});
  T s = big ? root.hi : a;
  return {s, fma_(s * z, asin_poly(z), big ? root.lo : T(0))};
}

template <class T>
PN_MATH T asin_of(T x) {
  T a = abs_(x);
  auto part = asin_parts(a);
  auto sum = fast_two_sum(T(2) * quarter_pi<T>().hi, T(-2) * part.hi);
  T large = sum.hi + (sum.lo + (T(2) * quarter_pi<T>().lo - T(2) * part.lo));
  return with_sign(a > T(0.5) ? large : part.hi + part.lo, x);
}

template <class T>
PN_MATH T acos_of(T x) {
  T a = abs_(x);
  auto part = asin_parts(a);
  bool big = a > T(0.5), negative = x < T(0);
  T quarters = big ? (negative ? T(4) : T(0)) : T(2);
  T factor = big ? (negative ? T(-2) : T(2)) : (negative ? T(1) : T(-1));
  auto sum = fast_two_sum(quarters * quarter_pi<T>().hi, factor * part.hi);
  return sum.hi + (sum.lo + fma_(factor, part.lo, quarters * quarter_pi<T>().lo));
}

// (atan(t) / t - 1) / z as a function of z = t^2, t <= tan(pi / 8).
PN_MATH float atan_poly(float z) {
  return poly(z, -0x1.55554ap-2f, 0x1.9991e4p-3f, -0x1.23b9eap-3f, 0x1.b2288p-4f, -0x1.f2f924p-5f);
}

PN_MATH double atan_poly(double z) {
  return poly(z, -0x1.555555555553dp-2, 0x1.9999999995889p-3, -0x1.24924922ae56fp-3, 0x1.c71c70e66fe1bp-4,
              -0x1.745cf8e62f382p-4, 0x1.3b1119ae46d8ep-4, -0x1.10ebbd57c04dbp-4, 0x1.df0f7f1440cdbp-5,
              -0x1.9cd34201ee3e5p-5, 0x1.37d5f6d48d3c9p-5, -0x1.2568e3ae1063ep-6);
}

// The angle of (x, y) for y >= 0 and x of either sign, given as |x| and its sign.
template <class T>
PN_MATH T angle(T y, T x, bool left) {
  bool swap = y > x;
  T n = swap ? x : y, d = swap ? y : x;
  bool middle = n > d * T(0.41421356);  // then turn by pi / 4
  auto minus = two_sum(n, -d), plus = two_sum(n, d);
  Pair<T> top = {middle ? minus.hi : n, middle ? minus.lo : T(0)};
  Pair<T> bottom = {middle ? plus.hi : d, middle ? plus.lo : T(0)};
  auto q = divide(top, bottom);
  q.lo = abs_(top.hi) < Fp<T>::tiny / Fp<T>::eps ? T(0) : q.lo;  // its remainder has underflowed
  T z = q.hi * q.hi;
  T lo = fma_(q.hi * z, atan_poly(z), q.lo);
  T quarters = middle ? T(1) : T(0), sign = T(1);
  quarters = swap ? T(2) - quarters : quarters, sign = swap ? -sign : sign;
  quarters = left ? T(4) - quarters : quarters, sign = left ? -sign : sign;
  auto sum = fast_two_sum(quarters * quarter_pi<T>().hi, sign * q.hi);
  return sum.hi + (sum.lo + fma_(sign, lo, quarters * quarter_pi<T>().lo));
}

template <class T>
PN_MATH T atan_of(T x) {
  T a = abs_(x);
  return with_sign(angle(a > T(0x1p100) ? T(0x1p100) : a, T(1), false), x);
}

template <class T>
PN_MATH T atan2_of(T y, T x) {
  constexpr T big = sizeof(T) == 4 ? T(0x1p60) : T(0x1p500);
  T n = abs_(y), d = abs_(x), longest = n > d ? n : d;
  // bring the longer side into a range where sums and reciprocals are safe; infinities become 1 or 0, (0, 0) becomes
  // (0, 1)
  T scale = longest > big ? T(1) / big : (longest < T(1) / big ? big : T(1));
  bool infinite = longest == Fp<T>::inf;
  n = infinite ? (n == longest ? T(1) : T(0)) : n * scale;
  d = infinite ? (d == longest ? T(1) : T(0)) : (longest == T(0) ? T(1) : d * scale);
  T r = with_sign(angle(n, d, with_sign(T(1), x) < T(0)), y);
  return ((x != x) | (y != y)) ? x + y : r;
}

PN_MATH_BOTH(sin)
PN_MATH_BOTH(cos)
PN_MATH_BOTH(tan)
PN_MATH_BOTH(asin)
PN_MATH_BOTH(acos)
PN_MATH_BOTH(atan)
PN_MATH float atan2(float y, float x) { return atan2_of(y, x); }
PN_MATH double atan2(double y, double x) { return atan2_of(y, x); }
