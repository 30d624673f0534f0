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

// Python's rule: the result has the sign of b.
static inline float remainder_(float a, float b) {
  const float r = __builtin_fmodf(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : (r == 0 ? __builtin_copysignf(r, b) : r);
}
static inline double remainder_(double a, double b) {
  const double r = __builtin_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : (r == 0 ? __builtin_copysign(r, b) : r);
}

// floor(a / b) of the exact quotient, as NumPy has it: from the remainder, not from the rounded quotient.
template <class T>
static inline T floor_divide_(T a, T b) {
  const T q = a / b;
  const T exact = rint_((a - remainder_(a, b)) / b);
  return b == 0 || !(abs_(q) <= kMax<T>) ? q : (exact == 0 ? q * 0 : exact);
}
