// The update rules of the optimisers on flat, contiguous arrays, in place. Formulas: those of torch.optim.
//
// The coefficients arrive in double (step sizes, bias corrections and so on are scalars, worked out once per call) and
// are rounded to T once, here; everything per element is arithmetic in T. Elements are independent of each other, so a
// caller may split the arrays anywhere without changing a bit.
//
// sign is -1 when the objective is to be maximised, else 1: a multiplication by it is exact, so it needs no branch.
// Weight decay does: fma(0, w, g) would turn an infinite w into NaN.

// The larger one; NaN in b is kept, so that a NaN gradient shows up in what is built from it.
template <class T>
static inline T larger_(T a, T b) {
  return a > b ? a : b;
}

// 0 for what is smaller than `least`, the smallest normal number. A running mean whose gradients have become 0 decays
// until rounding holds it at some subnormal number, with which a CPU is many times slower in every later step. A square
// that is divided by without an eps stays as it is: then `least` is 0.
template <class T>
static inline T settled_(T x, T least = Fp<T>::tiny) {
  return abs_(x) < least ? (T)0 : x;
}
template <class T>
static inline T least_(double eps) {
  return eps > 0 ? Fp<T>::tiny : (T)0;
}

template <bool Decay, class T>
static inline T decayed_(T g, T w, T sign, T decay) {
  return Decay ? fma_(decay, w, sign * g) : sign * g;
}

// w <- w - lr (g + decay w)
template <bool Decay, class T>
static void sgd_loop(int64_t n, T* __restrict w, const T* __restrict g, const SgdCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay;
  for (int64_t i = 0; i < n; ++i) w[i] = fma_(lr, decayed_<Decay>(g[i], w[i], sign, decay), w[i]);
}

template <class T>
void sgd(int64_t n, T* w, const T* g, const SgdCoefficients& c) {
  c.decay != 0 ? sgd_loop<true>(n, w, g, c) : sgd_loop<false>(n, w, g, c);
}

// b <- momentum b + fresh g;  w <- w - lr b, or with Nesterov  w <- w - lr (g + momentum b).
// The first step sets b = g, which the caller asks for by momentum 0 in `keep` and fresh 1.
template <bool Decay, bool Nesterov, class T>
static void momentum_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict b,
                          const MomentumCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay;
  const T keep = (T)c.keep, fresh = (T)c.fresh, momentum = (T)c.momentum;
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    b[i] = settled_(fma_(keep, b[i], fresh * d));
    w[i] = fma_(lr, Nesterov ? fma_(momentum, b[i], d) : b[i], w[i]);
  }
}

template <class T>
void momentum(int64_t n, T* w, const T* g, T* b, const MomentumCoefficients& c) {
  if (c.nesterov)
    c.decay != 0 ? momentum_loop<true, true>(n, w, g, b, c) : momentum_loop<false, true>(n, w, g, b, c);
  else
    c.decay != 0 ? momentum_loop<true, false>(n, w, g, b, c) : momentum_loop<false, false>(n, w, g, b, c);
}

// v <- alpha v + (1 - alpha) g^2;  with a mean: a <- a + (1 - alpha) (g - a), and v - a^2 in place of v below
// d = g / (sqrt(v) + eps);  w <- w - lr d, or with momentum  b <- momentum b + d, w <- w - lr b
template <bool Decay, bool Centered, bool Momentum, class T>
static void rmsprop_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict v, T* __restrict mean,
                         T* __restrict b, const RmspropCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay, eps = (T)c.eps;
  const T alpha = (T)c.alpha, rest = (T)(1.0 - c.alpha), momentum = (T)c.momentum, least = least_<T>(c.eps);
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    v[i] = settled_(fma_(alpha, v[i], rest * (d * d)), least);
    T spread = v[i];
    if (Centered) {
      mean[i] = settled_(fma_(rest, d - mean[i], mean[i]));
      spread = fma_(-mean[i], mean[i], spread);
      spread = spread < 0 ? (T)0 : spread;  // rounding alone can take it below 0 once the gradient is constant
    }
    const T move = d / (sqrt_(spread) + eps);
    if (Momentum) b[i] = settled_(fma_(momentum, b[i], move));
    w[i] = fma_(lr, Momentum ? b[i] : move, w[i]);
  }
}

template <bool Decay, class T>
static void rmsprop_pick(int64_t n, T* w, const T* g, T* v, T* mean, T* b, const RmspropCoefficients& c) {
  if (mean && b)
    rmsprop_loop<Decay, true, true>(n, w, g, v, mean, b, c);
  else if (mean)
    rmsprop_loop<Decay, true, false>(n, w, g, v, mean, b, c);
  else if (b)
    rmsprop_loop<Decay, false, true>(n, w, g, v, mean, b, c);
  else
    rmsprop_loop<Decay, false, false>(n, w, g, v, mean, b, c);
}

// mean and b may be null: not centred, no momentum.
template <class T>
void rmsprop(int64_t n, T* w, const T* g, T* v, T* mean, T* b, const RmspropCoefficients& c) {
  c.decay != 0 ? rmsprop_pick<true>(n, w, g, v, mean, b, c) : rmsprop_pick<false>(n, w, g, v, mean, b, c);
}

// w <- shrink w;  m <- m + (1 - beta1) (g - m);  v <- beta2 v + (1 - beta2) g^2;  top <- max(top, v)
// w <- w - lr m / (sqrt(v) scale + eps)      with lr and scale already corrected for the bias of m and v
template <bool Decay, bool Max, class T>
static void adam_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                      T* __restrict top, const AdamCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay, shrink = (T)c.shrink, eps = (T)c.eps;
  const T rest1 = (T)(1.0 - c.beta1), beta2 = (T)c.beta2, rest2 = (T)(1.0 - c.beta2), scale = (T)c.scale;
  const T least = least_<T>(c.eps);
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    m[i] = settled_(fma_(rest1, d - m[i], m[i]));
    v[i] = settled_(fma_(beta2, v[i], rest2 * (d * d)), least);
    if (Max) top[i] = larger_(top[i], v[i]);
    const T denominator = fma_(sqrt_(Max ? top[i] : v[i]), scale, eps);
    w[i] = fma_(lr, m[i] / denominator, shrink * w[i]);
  }
}

// top may be null: no AMSGrad.
template <class T>
void adam(int64_t n, T* w, const T* g, T* m, T* v, T* top, const AdamCoefficients& c) {
  if (top)
    c.decay != 0 ? adam_loop<true, true>(n, w, g, m, v, top, c) : adam_loop<false, true>(n, w, g, m, v, top, c);
  else
    c.decay != 0 ? adam_loop<true, false>(n, w, g, m, v, top, c) : adam_loop<false, false>(n, w, g, m, v, top, c);
}

// s <- s + g^2;  w <- w - lr g / (sqrt(s) + eps)      with lr already decayed
template <bool Decay, class T>
static void adagrad_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict s,
                         const AdagradCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay, eps = (T)c.eps;
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    s[i] = fma_(d, d, s[i]);
    w[i] = fma_(lr, d / (sqrt_(s[i]) + eps), w[i]);
  }
}

template <class T>
void adagrad(int64_t n, T* w, const T* g, T* s, const AdagradCoefficients& c) {
  c.decay != 0 ? adagrad_loop<true>(n, w, g, s, c) : adagrad_loop<false>(n, w, g, s, c);
}

// v <- rho v + (1 - rho) g^2;  d = g sqrt(u + eps) / sqrt(v + eps);  u <- rho u + (1 - rho) d^2;  w <- w - lr d
template <bool Decay, class T>
static void adadelta_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict v, T* __restrict u,
                          const AdadeltaCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay, eps = (T)c.eps;
  const T rho = (T)c.rho, rest = (T)(1.0 - c.rho), least = least_<T>(c.eps);
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    v[i] = settled_(fma_(rho, v[i], rest * (d * d)), least);
    const T move = sqrt_(u[i] + eps) / sqrt_(v[i] + eps) * d;
    u[i] = settled_(fma_(rho, u[i], rest * (move * move)), least);
    w[i] = fma_(lr, move, w[i]);
  }
}

template <class T>
void adadelta(int64_t n, T* w, const T* g, T* v, T* u, const AdadeltaCoefficients& c) {
  c.decay != 0 ? adadelta_loop<true>(n, w, g, v, u, c) : adadelta_loop<false>(n, w, g, v, u, c);
}

// m <- m + (1 - beta1) (g - m);  u <- max(beta2 u, |g| + eps);  w <- w - lr m / u      with lr already corrected
template <bool Decay, class T>
static void adamax_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict u,
                        const AdamaxCoefficients& c) {
  const T lr = (T)-c.lr, sign = (T)c.sign, decay = (T)c.decay, eps = (T)c.eps;
  const T rest1 = (T)(1.0 - c.beta1), beta2 = (T)c.beta2;
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    m[i] = settled_(fma_(rest1, d - m[i], m[i]));
    u[i] = larger_(beta2 * u[i], abs_(d) + eps);
    w[i] = fma_(lr, m[i] / u[i], w[i]);
  }
}

template <class T>
void adamax(int64_t n, T* w, const T* g, T* m, T* u, const AdamaxCoefficients& c) {
  c.decay != 0 ? adamax_loop<true>(n, w, g, m, u, c) : adamax_loop<false>(n, w, g, m, u, c);
}

// w <- shrink w;  m and v as in Adam;  q = sqrt(v) scale + eps;  w <- w - lr_now g / q - lr_ahead m / q
template <bool Decay, class T>
static void nadam_loop(int64_t n, T* __restrict w, const T* __restrict g, T* __restrict m, T* __restrict v,
                       const NadamCoefficients& c) {
  const T now = (T)-c.lr_now, ahead = (T)-c.lr_ahead, sign = (T)c.sign, decay = (T)c.decay, shrink = (T)c.shrink;
  const T eps = (T)c.eps, rest1 = (T)(1.0 - c.beta1), beta2 = (T)c.beta2, rest2 = (T)(1.0 - c.beta2);
  const T scale = (T)c.scale, least = least_<T>(c.eps);
  for (int64_t i = 0; i < n; ++i) {
    const T d = decayed_<Decay>(g[i], w[i], sign, decay);
    m[i] = settled_(fma_(rest1, d - m[i], m[i]));
    v[i] = settled_(fma_(beta2, v[i], rest2 * (d * d)), least);
    const T denominator = fma_(sqrt_(v[i]), scale, eps);
    w[i] = fma_(ahead, m[i] / denominator, fma_(now, d / denominator, shrink * w[i]));
  }
}

template <class T>
void nadam(int64_t n, T* w, const T* g, T* m, T* v, const NadamCoefficients& c) {
  c.decay != 0 ? nadam_loop<true>(n, w, g, m, v, c) : nadam_loop<false>(n, w, g, m, v, c);
}

template <class T>
static OptimKernels<T> optim_kernels() {
  return {&sgd<T>, &momentum<T>, &rmsprop<T>, &adam<T>, &adagrad<T>, &adadelta<T>, &adamax<T>, &nadam<T>};
}
