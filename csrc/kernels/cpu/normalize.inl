// Normalisation kernels. Included by isa_unit.cpp inside the namespace of one instruction set, after reduce.inl.
//
// The order of every sum is part of its definition. Over long runs: element i of a run goes to lane i % 16 of chain (i
// / 16) % C while whole groups of 16 C elements last, the rest to chain 0; a chain goes on through the runs of one
// block (kRowBlock elements), chains and lanes are joined as in reduce.inl, and blocks are added in double. Over rows
// of few columns: row after row within blocks of kColumnBlock, then block after block in double, then the columns of a
// channel.
namespace normalize {

using matmul::kLanes;
using matmul::multiply_add;
using matmul::V;
using reduce::kParts;

#define PN_LAMBDA __attribute__((always_inline))

// The first `lanes` elements at p; 0 in the other lanes.
template <class T>
inline V<T> get(const T* p, int lanes) {
  return lanes == kLanes<T> ? matmul::load<T>(p) : matmul::load_part(p, lanes);
}
template <class T>
inline void put(T* p, V<T> v, int lanes) {
  lanes == kLanes<T> ? matmul::store<T>(p, v) : matmul::store_part(p, v, lanes);
}
template <class T>
inline V<T> all(T x) {
  return x - V<T>{};
}
// v with 0 in the lanes beyond the first `lanes`.
template <class T>
inline V<T> live(V<T> v, int lanes) {
  if (lanes == kLanes<T>) return v;
  V<T> index{};
#pragma GCC unroll 16
  for (int l = 0; l < kLanes<T>; ++l) index[l] = static_cast<T>(l);
  return index < all(static_cast<T>(lanes)) ? v : V<T>{};
}

// A constant of a channel: one value along a run, or one for each column.
template <class T>
struct Same {
  T value;
  inline V<T> operator()(int64_t, int) const { return all(value); }
};
template <class T>
struct Each {
  const T* p;
  inline V<T> operator()(int64_t i, int lanes) const { return get(p + i, lanes); }
};

// f(i, lanes) for each vector of n elements.
template <class T, class F>
inline void over(int64_t n, const F& f) {
  constexpr int L = kLanes<T>;
  const int64_t whole = n - n % L;
  for (int64_t i = 0; i < whole; i += L) f(i, L);
  if (whole < n) f(whole, static_cast<int>(n - whole));
}

// Sums over runs of n elements: f(r, i, lanes, a) adds its terms at element i of run r to the accumulators a[Sums].
template <int Sums, class T, class F>
inline void total(int64_t runs, int64_t n, const F& f, double* out) {
  constexpr int L = kLanes<T>, P = kParts<T>, C = 4 / Sums;
  const int64_t together = n < kRowBlock ? kRowBlock / n : 1;
  for (int s = 0; s < Sums; ++s) out[s] = 0;
  for (int64_t first = 0; first < runs; first += together) {
    const int64_t last = first + together < runs ? first + together : runs;
    for (int64_t low = 0; low < n; low += kRowBlock) {
      const int64_t high = low + kRowBlock < n ? low + kRowBlock : n;
      V<T> a[C * P][Sums] = {};
      for (int64_t r = first; r < last; ++r) {
        int64_t i = low;
        for (; i + 16 * C <= high; i += 16 * C) {
#pragma GCC unroll 16
          for (int p = 0; p < C * P; ++p) f(r, i + p * L, L, a[p]);
        }
        for (; i < high; i += 16) {
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) {
            const int64_t left = high - i - p * L;
            if (left >= L)
              f(r, i + p * L, L, a[p]);
            else if (left > 0)
              f(r, i + p * L, static_cast<int>(left), a[p]);
          }
        }
      }
#pragma GCC unroll 2
      for (int s = 0; s < Sums; ++s) {
        V<T> sum[C * P];
#pragma GCC unroll 16
        for (int p = 0; p < C * P; ++p) sum[p] = a[p][s];
        reduce::join<reduce::Add, C * P>(sum);
        out[s] += static_cast<double>(reduce::across<reduce::Add, T>(sum[0]));
      }
    }
  }
}

// The same down the columns of channels side by side: out[s * channels + c].
template <int Sums, class T, class F>
inline void column_totals(const Planes& s, const F& f, double* out) {
  const int64_t columns = s.channels * s.places;
  double sum[Sums][kPlaneColumns] = {};
  for (int64_t first = 0; first < s.rows; first += kColumnBlock) {
    T part[Sums][kPlaneColumns] = {};
    for (int64_t r = first; r < s.rows && r < first + kColumnBlock; ++r)
      over<T>(columns, [&](int64_t j, int lanes) PN_LAMBDA {
        V<T> a[Sums];
        for (int k = 0; k < Sums; ++k) a[k] = matmul::load<T>(part[k] + j);
        f(r, j, lanes, a);
        for (int k = 0; k < Sums; ++k) matmul::store<T>(part[k] + j, a[k]);
      });
    for (int k = 0; k < Sums; ++k)
      for (int64_t j = 0; j < columns; ++j) sum[k][j] += static_cast<double>(part[k][j]);
  }
  for (int k = 0; k < Sums; ++k)
    for (int64_t c = 0; c < s.channels; ++c) {
      double whole = 0;
      for (int64_t p = 0; p < s.places; ++p) whole += sum[k][c * s.places + p];
      out[k * s.channels + c] = whole;
    }
}

// One value for each column.
template <class T>
inline void spread(const Planes& s, const T* from, T* to) {
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t p = 0; p < s.places; ++p) to[c * s.places + p] = from[c];
}

// Mean and variance of runs of n elements.
template <class T>
void run_moments(int64_t runs, int64_t n, int64_t stride, const T* x, bool centred, T* mean, T* var) {
  const double count = static_cast<double>(runs * n);
  double sum;
  *mean = 0;
  if (centred) {
    total<1, T>(
        runs, n, [=](int64_t r, int64_t i, int lanes, V<T>* a) PN_LAMBDA { a[0] += get(x + r * stride + i, lanes); },
        &sum);
    *mean = static_cast<T>(sum / count);
  }
  const V<T> m = all(*mean);
  total<1, T>(
      runs, n,
      [=](int64_t r, int64_t i, int lanes, V<T>* a) PN_LAMBDA {
        const V<T> d = live<T>(get(x + r * stride + i, lanes) - m, lanes);
        a[0] = multiply_add(d, d, a[0]);
      },
      &sum);
  *var = static_cast<T>(sum / count);
}

template <class T>
void moments(const Planes& s, const T* x, bool centred, T* mean, T* var) {
  if (s.places >= kLongPlaces) {
    for (int64_t c = 0; c < s.channels; ++c)
      run_moments(s.rows, s.places, s.stride, x + c * s.places, centred, mean + c, var + c);
    return;
  }
  const double count = static_cast<double>(s.rows * s.places);
  const int64_t stride = s.stride;
  double sums[kPlaneColumns];
  T means[kPlaneColumns] = {};
  const T* m = means;
  for (int64_t c = 0; c < s.channels; ++c) mean[c] = 0;
  if (centred) {
    column_totals<1, T>(
        s, [=](int64_t r, int64_t j, int lanes, V<T>* a) PN_LAMBDA { a[0] += get(x + r * stride + j, lanes); }, sums);
    for (int64_t c = 0; c < s.channels; ++c) mean[c] = static_cast<T>(sums[c] / count);
    spread(s, mean, means);
  }
  column_totals<1, T>(
      s,
      [=](int64_t r, int64_t j, int lanes, V<T>* a) PN_LAMBDA {
        const V<T> d = get(x + r * stride + j, lanes) - get(m + j, lanes);
        a[0] = multiply_add(d, d, a[0]);
      },
      sums);
  for (int64_t c = 0; c < s.channels; ++c) var[c] = static_cast<T>(sums[c] / count);
}

template <class T, class M>
struct Products {
  const T *dy, *x;
  int64_t stride;
  M mean;
  inline PN_LAMBDA void operator()(int64_t r, int64_t i, int lanes, V<T>* a) const {
    const V<T> g = get(dy + r * stride + i, lanes);
    a[0] += g;
    a[1] = multiply_add(g, get(x + r * stride + i, lanes) - mean(i, lanes), a[1]);
  }
};

template <class T>
void sums(const Planes& s, const T* dy, const T* x, const T* mean, double* out) {
  if (s.places >= kLongPlaces) {
    for (int64_t c = 0; c < s.channels; ++c) {
      const int64_t at = c * s.places;
      double own[2];
      total<2, T>(s.rows, s.places, Products<T, Same<T>>{dy + at, x + at, s.stride, {mean[c]}}, own);
      out[c] = own[0], out[s.channels + c] = own[1];
    }
    return;
  }
  T means[kPlaneColumns];
  spread(s, mean, means);
  column_totals<2, T>(s, Products<T, Each<T>>{dy, x, s.stride, {means}}, out);
}

template <class T, class M>
inline void scale_row(int64_t n, const T* x, M mean, M factor, M weight, M bias, T* y) {
  over<T>(n, [=](int64_t i, int lanes) PN_LAMBDA {
    const V<T> h = (get(x + i, lanes) - mean(i, lanes)) * factor(i, lanes);
    put(y + i, multiply_add(h, weight(i, lanes), bias(i, lanes)), lanes);
  });
}

template <class T>
void scale(const Planes& s, const T* x, const T* mean, const T* factor, const T* weight, const T* bias, T* y) {
  if (s.places >= kLongPlaces) {
    for (int64_t c = 0; c < s.channels; ++c)
      for (int64_t r = 0; r < s.rows; ++r) {
        const int64_t at = r * s.stride + c * s.places;
        scale_row<T, Same<T>>(s.places, x + at, {mean[c]}, {factor[c]}, {weight[c]}, {bias[c]}, y + at);
      }
    return;
  }
  T columns[4][kPlaneColumns];
  const T* constants[] = {mean, factor, weight, bias};
  for (int k = 0; k < 4; ++k) spread(s, constants[k], columns[k]);
  for (int64_t r = 0; r < s.rows; ++r)
    scale_row<T, Each<T>>(s.channels * s.places, x + r * s.stride, {columns[0]}, {columns[1]}, {columns[2]},
                          {columns[3]}, y + r * s.stride);
}

template <class T, class M>
inline void back_row(int64_t n, const T* dy, const T* x, M mean, M a, M b, M c, T* dx) {
  over<T>(n, [=](int64_t i, int lanes) PN_LAMBDA {
    const V<T> d = get(x + i, lanes) - mean(i, lanes);
    put(dx + i, multiply_add(a(i, lanes), get(dy + i, lanes), multiply_add(b(i, lanes), d, c(i, lanes))), lanes);
  });
}

template <class T>
void back(const Planes& s, const T* dy, const T* x, const T* mean, const T* a, const T* b, const T* c, T* dx) {
  if (s.places >= kLongPlaces) {
    for (int64_t k = 0; k < s.channels; ++k)
      for (int64_t r = 0; r < s.rows; ++r) {
        const int64_t at = r * s.stride + k * s.places;
        back_row<T, Same<T>>(s.places, dy + at, x + at, {mean[k]}, {a[k]}, {b[k]}, {c[k]}, dx + at);
      }
    return;
  }
  T columns[4][kPlaneColumns];
  const T* constants[] = {mean, a, b, c};
  for (int k = 0; k < 4; ++k) spread(s, constants[k], columns[k]);
  for (int64_t r = 0; r < s.rows; ++r)
    back_row<T, Each<T>>(s.channels * s.places, dy + r * s.stride, x + r * s.stride, {columns[0]}, {columns[1]},
                         {columns[2]}, {columns[3]}, dx + r * s.stride);
}

template <class T>
void rows(const NormRows<T>& s, const T* bias, T* y, T* mean, T* var) {
  for (int64_t r = 0; r < s.rows; ++r) {
    const T* x = s.x + r * s.n;
    T* to = y + r * s.n;
    const T *w = s.weight, *b = bias;
    run_moments(int64_t{1}, s.n, int64_t{0}, x, s.centred, mean + r, var + r);
    const V<T> m = all(mean[r]), factor = all(static_cast<T>(1 / sqrt_(static_cast<double>(var[r]) + s.eps)));
    over<T>(s.n, [=](int64_t i, int lanes) PN_LAMBDA {
      put(to + i, multiply_add((get(x + i, lanes) - m) * factor, get(w + i, lanes), get(b + i, lanes)), lanes);
    });
  }
}

template <class T>
void rows_back(const NormRows<T>& s, const T* dy, const T* mean, const T* var, const T* dmean, const T* dvar, T* dx,
               T* dweight, T* dbias) {
  for (int64_t r = 0; r < s.rows; ++r) {
    const T *x = s.x + r * s.n, *g = dy + r * s.n, *w = s.weight;
    T* to = dx + r * s.n;
    const double factor = 1 / sqrt_(static_cast<double>(var[r]) + s.eps);
    const V<T> m = all(s.centred ? mean[r] : T(0)), scale = all(static_cast<T>(factor));
    double e[2];
    total<2, T>(
        1, s.n,
        [=](int64_t, int64_t i, int lanes, V<T>* a) PN_LAMBDA {
          const V<T> own = get(g + i, lanes) * get(w + i, lanes);
          a[0] += own;
          a[1] = multiply_add(own, get(x + i, lanes) - m, a[1]);
        },
        e);
    const NormBack k = norm_back(static_cast<double>(s.n), s.centred, factor, e[0], e[1], static_cast<double>(dmean[r]),
                                 static_cast<double>(dvar[r]));
    const V<T> kb = all(static_cast<T>(k.b)), kc = all(static_cast<T>(k.c));
    over<T>(s.n, [=](int64_t i, int lanes) PN_LAMBDA {
      const V<T> d = get(x + i, lanes) - m, own = get(g + i, lanes);
      put(to + i, multiply_add(get(w + i, lanes) * scale, own, multiply_add(kb, d, kc)), lanes);
      put(dweight + i, multiply_add(own, d * scale, get(dweight + i, lanes)), lanes);
      put(dbias + i, get(dbias + i, lanes) + own, lanes);
    });
  }
}

#undef PN_LAMBDA

template <class T>
NormKernels<T> table() {
  return {&moments<T>, &scale<T>, &sums<T>, &back<T>, &rows<T>, &rows_back<T>};
}

}  // namespace normalize
