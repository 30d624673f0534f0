// Part of math.h: pow.

// (atanh(s) / s - 1 - z / 3) / z^2 as a function of z = s^2 <= 0.0401.
PN_MATH double atanh_tail(double z) {
  return poly(z, 0x1.999999999999ap-3, 0x1.2492492492354p-3, 0x1.c71c71c7489d8p-4, 0x1.745d172ced47cp-4,
              0x1.3b13b95da3b28p-4, 0x1.110f6e8b1921cp-4, 0x1.e24ac025c0b85p-5, 0x1.a733e775257d5p-5,
              0x1.dab67674490c9p-5);
}

// log(x) for x > 0 to about 2^-65, because pow multiplies its error by up to 745: log(1 + f) = 2 atanh(s), s = f / (2 +
// f), with the first two terms of the series in pairs.
PN_MATH Pair<double> log_accurate(double x) {
  auto [f, e, biased] = log_reduce_any(x);
  auto s = divide<double>({f, 0}, two_sum(2.0, f));
  s = fast_two_sum(s.hi, s.lo);
  auto z = two_product(s.hi, s.hi);
  z.lo += 2 * s.hi * s.lo;
  constexpr Pair<double> third = {0x1.5555555555555p-2, 0x1.5555555555555p-56};
  auto a = two_product(z.hi, third.hi);
  a.lo += z.hi * third.lo + z.lo * third.hi;
  auto b = fast_two_sum(a.hi, a.lo + z.hi * z.hi * atanh_tail(z.hi));  // atanh(s) = s + s b
  auto c = two_product(2 * s.hi, b.hi);
  c.lo += 2 * (s.hi * b.lo + s.lo * b.hi);
  auto d = fast_two_sum(2 * s.hi, c.hi);
  auto g = fast_two_sum(e * Fp<double>::ln2_hi, d.hi);
  double lo = g.lo + (d.lo + (c.lo + fma_(e, Fp<double>::ln2_lo, 2 * s.lo)));
  return fast_two_sum(g.hi, lo);
}

PN_MATH bool is_integer(double v) {
  double a = abs_(v);
  return (a >= 0x1p52) | ((a + 0x1p52) - 0x1p52 == a);
}

// C's rules for pow outside 0 < x < inf; r is the power of |x|.
PN_MATH double pow_edges(double x, double y, double r) {
  double a = abs_(x);
  bool below = y < 0.0;
  r = a == 0.0 ? (below ? Fp<double>::inf : 0.0) : r;
  r = a == Fp<double>::inf ? (below ? 0.0 : a) : r;
  bool whole = is_integer(y), odd = whole & !is_integer(0.5 * y);
  bool negative = with_sign(1.0, x) < 0.0;
  r = (negative & odd) ? -r : r;
  r = ((x < 0.0) & !whole & (a < Fp<double>::inf)) ? Fp<double>::nan : r;
  r = ((x != x) | (y != y)) ? x + y : r;
  return ((y == 0.0) | (x == 1.0)) ? 1.0 : r;
}

PN_MATH double pow(double x, double y) {
  auto l = log_accurate(abs_(x));
  double c = clamp_(y, -0x1p65, 0x1p65);  // past these every x but 1 has gone to 0 or inf
  auto p = two_product(c, l.hi);
  double low = fma_(c, l.lo, p.lo);
  double capped = clamp_(p.hi, Fp<double>::exp_min, Fp<double>::exp_max);
  auto [r, r_lo, n] = exp_reduce(capped, capped == p.hi ? low : 0.0);
  double e = 1.0 + (r + fma_(r * r, exp_poly(r), r_lo));
  auto [a, b] = two_powers<double>(n);
  return pow_edges(x, y, e * a * b);
}

PN_MATH float pow(float x, float y) {
  double wide = x, exponent = y;
  auto [f, e, biased] = log_reduce(abs_(wide));
  auto l = log_pair(f, 0.0, e);
  double p = clamp_(clamp_(exponent, -0x1p65, 0x1p65) * (l.hi + l.lo), -200.0, 200.0);
  auto [r, r_lo, n] = exp_reduce(p);
  double power = (1.0 + fma_(r * r, exp_poly(r), r)) * from_bits<double>((n + Fp<double>::bias) << 52);
  return float(pow_edges(wide, exponent, power));
}
