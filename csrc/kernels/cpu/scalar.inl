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
static inline float copysign_(float a, float b) { return __builtin_copysignf(a, b); }
static inline double copysign_(double a, double b) { return __builtin_copysign(a, b); }

// Python's rule: the result has the sign of b.
template <class T>
static inline T remainder_(T a, T b) {
  const T r = fmod_(a, b);
  return r == 0 ? copysign_(r, b) : ((r < 0) != (b < 0) ? r + b : r);
}

// floor(a / b) of the exact quotient, as Python and NumPy have it: from the remainder, not from the rounded quotient.
template <class T>
static inline T floor_divide_(T a, T b) {
  const T q = a / b, r = fmod_(a, b);
  const T exact = (a - r) / b - (r != 0 && (b < 0) != (r < 0) ? T(1) : T(0));
  return b == 0 ? q : (exact == 0 ? copysign_(T(0), q) : rint_(exact));
}
