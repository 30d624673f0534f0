// Small scalar functions that elementwise.def uses besides those of math.h.

template <class T>
inline constexpr T kMax = sizeof(T) == 4 ? static_cast<T>(__FLT_MAX__) : static_cast<T>(__DBL_MAX__);

static inline float abs_(float x) { return __builtin_fabsf(x); }
static inline double abs_(double x) { return __builtin_fabs(x); }
static inline float sqrt_(float x) { return __builtin_sqrtf(x); }
static inline double sqrt_(double x) { return __builtin_sqrt(x); }
static inline float floor_(float x) { return __builtin_floorf(x); }
static inline double floor_(double x) { return __builtin_floor(x); }
static inline float ceil_(float x) { return __builtin_ceilf(x); }
static inline double ceil_(double x) { return __builtin_ceil(x); }
static inline float rint_(float x) { return __builtin_rintf(x); }
static inline double rint_(double x) { return __builtin_rint(x); }
static inline float trunc_(float x) { return __builtin_truncf(x); }
static inline double trunc_(double x) { return __builtin_trunc(x); }

// -1, 0 or 1; NaN stays NaN.
template <class T>
static inline T sign_(T x) {
  return x > 0 ? T(1) : (x < 0 ? T(-1) : x);
}

static inline float fmod_(float a, float b) { return __builtin_fmodf(a, b); }
static inline double fmod_(double a, double b) { return __builtin_fmod(a, b); }

// Is the quotient of finite numbers below what leaves room for a fraction, so that short_fmod is exact?
template <class T>
static inline bool is_short_quotient(T a, T b) {
  constexpr T limit = sizeof(T) == 4 ? T(0x1p22) : T(0x1p51);
  return (abs_(a / b) < limit) & (abs_(b) <= kMax<T>);
}

static inline float copysign_(float a, float b) { return __builtin_copysignf(a, b); }
static inline double copysign_(double a, double b) { return __builtin_copysign(a, b); }

// fmod for short quotients. The rounded quotient reaches a whole number that the exact one is just below, but never the
// other way round; then the remainder is one b too small. Both steps are exact where products and sums are fused.
template <class T>
static inline T short_fmod(T a, T b) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  const T r = fma_(-trunc_(a / b), b, a);
  return r != 0 && (r < 0) != (a < 0) ? r + copysign_(b, a) : copysign_(r, a);
#else
  return fmod_(a, b);
#endif
}

// Python's rule: the result has the sign of b. r is fmod(a, b).
template <class T>
static inline T remainder_from(T r, T b) {
  const T moved = (r < 0) != (b < 0) ? r + b : r;
  return r == 0 ? copysign_(r, b) : moved;
}
// floor(a / b) of the exact quotient, as Python and NumPy have it: from the remainder, not from the rounded quotient.
template <class T>
static inline T floor_divide_from(T r, T a, T b) {
  const T q = a / b, near = (a - r) / b - (r != 0 && (b < 0) != (r < 0) ? T(1) : T(0));
  const T low = floor_(near), whole = near - low > T(0.5) ? low + 1 : low;
  return b == 0 ? q : (near == 0 ? copysign_(T(0), q) : whole);
}

// For short quotients, in vectors; and for all.
template <class T>
static inline T remainder_(T a, T b) {
  return remainder_from(short_fmod(a, b), b);
}
template <class T>
static inline T floor_divide_(T a, T b) {
  return floor_divide_from(short_fmod(a, b), a, b);
}
template <class T>
static T any_remainder(T a, T b) {
  return remainder_from(fmod_(a, b), b);
}
template <class T>
static T any_floor_divide(T a, T b) {
  return floor_divide_from(fmod_(a, b), a, b);
}
