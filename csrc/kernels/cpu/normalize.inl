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
inline PN_LAMBDA void total(int64_t runs, int64_t n, const F& f, double* out) {
  constexpr int L = kLanes<T>, P = kParts<T>, C = 4 / Sums;
  const int64_t together = runs > 1 && n < kRowBlock ? kRowBlock / n : 1;
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
            f(r, i + p * L, static_cast<int>(left < 0 ? 0 : (left < L ? left : L)), a[p]);
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

// Adds to sum[s] what the columns at j of `rows` rows come to: W vectors, the last of `lanes` elements.
template <int Sums, int W, class T, class F>
inline void column_strip(int64_t first, int64_t last, int64_t j, int lanes, const F& f, double (*sum)[kPlaneColumns]) {
  constexpr int L = kLanes<T>;
  V<T> a[W][Sums] = {};
  for (int64_t r = first; r < last; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) f(r, j + w * L, w < W - 1 ? L : lanes, a[w]);
  }
  for (int s = 0; s < Sums; ++s) {
    T part[W * L];
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) matmul::store<T>(part + w * L, a[w][s]);
    for (int l = 0; l < W * L; ++l) sum[s][j + l] += static_cast<double>(part[l]);
  }
}

// The same down the columns of channels side by side: out[s * channels + c].
template <int Sums, class T, class F>
inline void column_totals(const Planes& s, const F& f, double* out) {
  constexpr int L = kLanes<T>, W = 4;
  const int64_t columns = s.channels * s.places;
  double sum[Sums][kPlaneColumns] = {};
  for (int64_t first = 0; first < s.rows; first += kColumnBlock) {
    const int64_t last = first + kColumnBlock < s.rows ? first + kColumnBlock : s.rows;
    int64_t j = 0;
    for (; j + W * L <= columns; j += W * L) column_strip<Sums, W, T>(first, last, j, L, f, sum);
    for (; j < columns; j += L)
      column_strip<Sums, 1, T>(first, last, j, static_cast<int>(columns - j < L ? columns - j : L), f, sum);
  }
  for (int k = 0; k < Sums; ++k)
    for (int64_t c = 0; c < s.channels; ++c) {
      double whole = 0;
      for (int64_t p = 0; p < s.places; ++p) whole += sum[k][c * s.places + p];
      out[k * s.channels + c] = whole;
    }
}

// One value for each column, in `room` unless `from` has that already.
template <class T>
inline const T* spread(const Planes& s, const T* from, T* room) {
  if (s.places == 1) return from;
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t p = 0; p < s.places; ++p) room[c * s.places + p] = from[c];
  return room;
}

template <class T>
void inverse(int64_t n, const T* var, double eps, double* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = 1 / sqrt_(static_cast<double>(var[i]) + eps);
}

// Mean and variance of `count` channels, `step` elements apart, of runs of n elements each. A pass for the means and
// one for the variances, so that the end of one channel's sum overlaps with the start of the next one's.
template <class T>
void run_moments(int64_t count, int64_t step, int64_t runs, int64_t n, int64_t stride, const T* x, bool centred,
                 T* mean, T* var) {
  const double elements = static_cast<double>(runs * n);
  double sum;
  for (int64_t c = 0; c < count; ++c) {
    const T* from = x + c * step;
    mean[c] = 0;
    if (!centred) continue;
    total<1, T>(
        runs, n, [=](int64_t r, int64_t i, int lanes, V<T>* a) PN_LAMBDA { a[0] += get(from + r * stride + i, lanes); },
        &sum);
    mean[c] = static_cast<T>(sum / elements);
  }
  for (int64_t c = 0; c < count; ++c) {
    const T* from = x + c * step;
    const V<T> m = all(mean[c]);
    total<1, T>(
        runs, n,
        [=](int64_t r, int64_t i, int lanes, V<T>* a) PN_LAMBDA {
          const V<T> d = live<T>(get(from + r * stride + i, lanes) - m, lanes);
          a[0] = multiply_add(d, d, a[0]);
        },
        &sum);
    var[c] = static_cast<T>(sum / elements);
  }
}

template <class T>
void moments(const Planes& s, const T* x, bool centred, T* mean, T* var) {
  if (s.places >= kLongPlaces)
    return run_moments(s.channels, s.places, s.rows, s.places, s.stride, x, centred, mean, var);
  const double count = static_cast<double>(s.rows * s.places);
  const int64_t stride = s.stride;
  double sums[kPlaneColumns];
  T means[kPlaneColumns] = {};
  const T* m = means;  // zeros
  for (int64_t c = 0; c < s.channels; ++c) mean[c] = 0;
  if (centred) {
    column_totals<1, T>(
        s, [=](int64_t r, int64_t j, int lanes, V<T>* a) PN_LAMBDA { a[0] += get(x + r * stride + j, lanes); }, sums);
    for (int64_t c = 0; c < s.channels; ++c) mean[c] = static_cast<T>(sums[c] / count);
    m = spread(s, mean, means);
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
  column_totals<2, T>(s, Products<T, Each<T>>{dy, x, s.stride, {spread(s, mean, means)}}, out);
}

// Statistics of kind M, weight and bias of kind W.
template <class T, class M, class W>
inline void scale_row(int64_t n, const T* x, M mean, M factor, W weight, W bias, T* y) {
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
        scale_row<T, Same<T>, Same<T>>(s.places, x + at, {mean[c]}, {factor[c]}, {weight[c]}, {bias[c]}, y + at);
      }
    return;
  }
  T columns[4][kPlaneColumns];
  const T* k[] = {mean, factor, weight, bias};
  for (int i = 0; i < 4; ++i) k[i] = spread(s, k[i], columns[i]);
  for (int64_t r = 0; r < s.rows; ++r)
    scale_row<T, Each<T>, Each<T>>(s.channels * s.places, x + r * s.stride, {k[0]}, {k[1]}, {k[2]}, {k[3]},
                                   y + r * s.stride);
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
  const T* k[] = {mean, a, b, c};
  for (int i = 0; i < 4; ++i) k[i] = spread(s, k[i], columns[i]);
  for (int64_t r = 0; r < s.rows; ++r)
    back_row<T, Each<T>>(s.channels * s.places, dy + r * s.stride, x + r * s.stride, {k[0]}, {k[1]}, {k[2]}, {k[3]},
                         dx + r * s.stride);
}

template <class T>
void coefficients(int64_t channels, const NormChannels<T>& s, const double* sums, T* __restrict a, T* __restrict b,
                  T* __restrict c) {
  T* __restrict dweight = s.dweight, * __restrict dbias = s.dbias;
  for (int64_t i = 0; i < channels; ++i) {
    const double w = static_cast<double>(s.weight[i]), e = sums[i], ex = sums[channels + i];
    const double factor = 1 / sqrt_(static_cast<double>(s.var[i]) + s.eps);
    const NormBack k = norm_back(s.count, true, factor, w * e, w * ex, static_cast<double>(s.dmean[i]),
                                 static_cast<double>(s.dvar[i]));
    a[i] = static_cast<T>(factor * w);
    b[i] = static_cast<T>(k.b);
    c[i] = static_cast<T>(k.c);
    dweight[i] = static_cast<T>(factor * ex);
    dbias[i] = static_cast<T>(e);
  }
}

template <class T>
void approach(int64_t n, double share, double factor, const T* now, T* running) {
  for (int64_t i = 0; i < n; ++i)
    running[i] =
        static_cast<T>((1 - share) * static_cast<double>(running[i]) + share * factor * static_cast<double>(now[i]));
}

// Rows go through each pass together, so that the end of one row's sum overlaps with the start of the next one's, and
// the gradients of weight and bias are fetched once for all; as many as stay in the L1 cache.
constexpr int64_t kRowsTogether = 8;
inline int64_t rows_together(int64_t n) { return n <= 256 ? kRowsTogether : (n <= 2048 ? 4 : 1); }

template <class T>
void rows(const NormRows<T>& s, const T* bias, T* y, T* mean, T* var) {
  const int64_t n = s.n, together = rows_together(n);
  for (int64_t first = 0; first < s.rows; first += together) {
    const int64_t last = first + together < s.rows ? first + together : s.rows;
    double factors[kRowsTogether];
    run_moments(last - first, n, 1, n, 0, s.x + first * n, s.centred, mean + first, var + first);
    inverse(last - first, var + first, s.eps, factors);
    for (int64_t r = first; r < last; ++r) {
      const T factor = static_cast<T>(factors[r - first]);
      scale_row<T, Same<T>, Each<T>>(n, s.x + r * n, {mean[r]}, {factor}, {s.weight}, {bias}, y + r * n);
    }
  }
}

template <class T>
void rows_back(const NormRows<T>& s, const T* dy, const T* mean, const T* var, const T* dmean, const T* dvar, T* dx,
               T* dweight, T* dbias) {
  const int64_t n = s.n, together = rows_together(n);
  const T* w = s.weight;
  for (int64_t first = 0; first < s.rows; first += together) {
    const int64_t count = first + together < s.rows ? together : s.rows - first;
    const T *x = s.x + first * n, *g = dy + first * n;
    T* to = dx + first * n;
    double factors[kRowsTogether], sums[kRowsTogether][2];
    for (int64_t r = 0; r < count; ++r) {
      const V<T> own_mean = all(s.centred ? mean[first + r] : T(0));
      total<2, T>(
          1, n,
          [=](int64_t, int64_t i, int lanes, V<T>* a) PN_LAMBDA {
            const V<T> e = get(g + r * n + i, lanes) * get(w + i, lanes);
            a[0] += e;
            a[1] = multiply_add(e, get(x + r * n + i, lanes) - own_mean, a[1]);
          },
          sums[r]);
    }
    inverse(count, var + first, s.eps, factors);
    struct {
      T mean, scale, b, c;
    } row[kRowsTogether];
    for (int64_t r = 0; r < count; ++r) {
      const NormBack k = norm_back(static_cast<double>(n), s.centred, factors[r], sums[r][0], sums[r][1],
                                   static_cast<double>(dmean[first + r]), static_cast<double>(dvar[first + r]));
      row[r] = {s.centred ? mean[first + r] : T(0), static_cast<T>(factors[r]), static_cast<T>(k.b),
                static_cast<T>(k.c)};
    }
    const auto* const rows = row;
    over<T>(n, [=](int64_t i, int lanes) PN_LAMBDA {
      const V<T> weight = get(w + i, lanes);
      V<T> of_weight = get(dweight + i, lanes), of_bias = get(dbias + i, lanes);
      for (int64_t r = 0, at = i; r < count; ++r, at += n) {
        const V<T> d = get(x + at, lanes) - rows[r].mean, own = get(g + at, lanes);
        put(to + at, multiply_add(weight * rows[r].scale, own, multiply_add(all(rows[r].b), d, all(rows[r].c))), lanes);
        of_weight = multiply_add(own, d * rows[r].scale, of_weight);
        of_bias += own;
      }
      put(dweight + i, of_weight, lanes);
      put(dbias + i, of_bias, lanes);
    });
  }
}

#undef PN_LAMBDA

template <class T>
NormKernels<T> table() {
  return {&moments<T>, &inverse<T>, &scale<T>,     &sums<T>,    &coefficients<T>,
          &back<T>,    &rows<T>,    &rows_back<T>, &approach<T>};
}

}  // namespace normalize
