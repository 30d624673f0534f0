// Normalisation kernels. Included by isa_unit.cpp inside the namespace of one instruction set, after reduce.inl.
//
// The order of every sum is part of its definition. Over the run of a row, or of a channel in an image: element i goes
// to lane i % 16 of chain (i / 16) % 2 while whole groups of 32 elements last, the rest to chain 0; chains and lanes
// are joined as in reduce.inl, and blocks of kRowBlock elements, then images, are added in double. Of few columns: row
// after row within blocks of kColumnBlock, then block after block in double, then the columns of a channel.
//
// Mean and variance come from one pass over the distances to a centre, the mean of a few elements, and from a second
// pass with the mean as the centre if that one was far off.
namespace normalize {

using matmul::kLanes;
using matmul::multiply_add;
using matmul::V;
using reduce::kParts;

constexpr int kSums = 2, kChains = 2;  // made in one pass, and accumulators of 16 lanes for each

#define PN_LAMBDA __attribute__((always_inline))
#define PN_NOINLINE __attribute__((noinline))

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

// Adds the `lanes` elements at x to a[0] = sum of e and a[1] = sum of e * d: d = x - centre, and e is dy, times a
// weight if there is one, or d if there is no dy.
template <class T>
inline PN_LAMBDA void add(const T* dy, const T* x, const T* weight, V<T> centre, int lanes, V<T>* a) {
  const V<T> d = live<T>(get(x, lanes) - centre, lanes);
  V<T> e = d;
  if (dy) e = get(dy, lanes);
  if (weight) e *= get(weight, lanes);
  a[0] += e;
  a[1] = multiply_add(e, d, a[1]);
}

// Those sums over a run of n elements: all chains of a sum joined to one vector.
template <class T>
inline PN_LAMBDA void chains(int64_t n, const T* dy, const T* x, const T* weight, T centre, V<T>* sum) {
  constexpr int L = kLanes<T>, P = kParts<T>, C = kChains;
  const V<T> c = all(centre);
  V<T> a[C * P][kSums] = {};
  int64_t i = 0;
  for (; i + 16 * C <= n; i += 16 * C) {
#pragma GCC unroll 16
    for (int64_t p = 0, j = i; p < C * P; ++p, j += L)
      add(dy ? dy + j : nullptr, x + j, weight ? weight + j : nullptr, c, L, a[p]);
  }
  for (; i < n; i += 16) {
#pragma GCC unroll 8
    for (int64_t p = 0, j = i; p < P; ++p, j += L) {
      const int lanes = static_cast<int>(n - j < 0 ? 0 : (n - j < L ? n - j : L));
      add(dy ? dy + j : nullptr, x + j, weight ? weight + j : nullptr, c, lanes, a[p]);
    }
  }
#pragma GCC unroll 2
  for (int s = 0; s < kSums; ++s) {
    V<T> of[C * P];
#pragma GCC unroll 16
    for (int p = 0; p < C * P; ++p) of[p] = a[p][s];
    reduce::join<reduce::Add, C * P>(of);
    sum[s] = of[0];
  }
}

// Adds to out[k] the lanes of v[k], joined, for `count` <= kLanes<T> of them; spoils v, which has room for kLanes<T>.
template <class T>
PN_NOINLINE void add_across(int64_t count, V<T>* v, double* out) {
  if (count == 1) {
    out[0] += static_cast<double>(reduce::across<reduce::Add, T>(v[0]));
    return;
  }
  for (int64_t k = count; k < kLanes<T>; ++k) v[k] = V<T>{};
  const V<T> joined = reduce::across_each<T>(v);
  for (int k = 0; k < kLanes<T>; ++k) out[k] += static_cast<double>(joined[k]);
}

// Rows, channels or images go through each pass together: the lanes of their sums are joined side by side, and the
// gradients of weight and bias are fetched once for all; as many as stay in the L1 cache.
constexpr int64_t kTogether = kBatchLanes;
inline int64_t rows_together(int64_t n) { return n <= 256 ? kTogether : (n <= 2048 ? 4 : 1); }

// Vectors of a strip of columns; one where code is to be small.
template <class T>
constexpr int kStrip = kLanes<T> * sizeof(T) > 16 ? 4 : 1;

// f.template operator()<W>(i, lanes) for each strip of n columns: W vectors, the last of `lanes` elements.
template <class T, class F>
inline PN_LAMBDA void over_strips(int64_t n, const F& f) {
  constexpr int L = kLanes<T>, W = kStrip<T>;
  int64_t i = 0;
  if constexpr (W > 1)
    for (; i + W * L <= n; i += W * L) f.template operator()<W>(i, L);
  for (; i < n; i += L) f.template operator()<1>(i, static_cast<int>(n - i < L ? n - i : L));
}

// Adds to sum[s] what the columns at j of `rows` rows come to: W vectors, the last of `lanes` elements.
template <int W, class T, class F>
inline void column_strip(int64_t first, int64_t last, int64_t j, int lanes, const F& f, double (*sum)[kPlaneColumns]) {
  constexpr int L = kLanes<T>;
  V<T> a[W][kSums] = {};
  for (int64_t r = first; r < last; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) f(r, j + w * L, w < W - 1 ? L : lanes, a[w]);
  }
  for (int s = 0; s < kSums; ++s) {
    T part[W * L];
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) matmul::store<T>(part + w * L, a[w][s]);
    for (int l = 0; l < W * L; ++l) sum[s][j + l] += static_cast<double>(part[l]);
  }
}

// The same down the columns of channels side by side: out[s * channels + c].
template <class T, class F>
inline void column_totals(const Planes& s, const F& f, double* out) {
  const int64_t columns = s.channels * s.places;
  double sum[kSums][kPlaneColumns] = {};
  for (int64_t first = 0; first < s.rows; first += kColumnBlock) {
    const int64_t last = first + kColumnBlock < s.rows ? first + kColumnBlock : s.rows;
    over_strips<T>(columns,
                   [&]<int W>(int64_t j, int lanes) PN_LAMBDA { column_strip<W, T>(first, last, j, lanes, f, sum); });
  }
  for (int k = 0; k < kSums; ++k)
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

// Mean and variance of `n` elements each from the sums of their distances d to a centre and of d * d. Where the centre
// was further than two standard deviations from the mean, which costs digits of the variance, the mean becomes the
// centre; whether there was such a one.
template <class T>
inline bool settle(int64_t count, double n, bool centred, T* __restrict centre, const double* sum,
                   const double* squares, T* __restrict mean, T* __restrict var) {
  const double share = 1 / n;
  bool any = false;
  for (int64_t k = 0; k < count; ++k) {
    const double shift = centred ? sum[k] * share : 0.0, v = squares[k] * share - shift * shift;
    const bool far = shift * shift > 4 * v;
    mean[k] = static_cast<T>(static_cast<double>(centre[k]) + shift);
    var[k] = static_cast<T>(v < 0 ? 0.0 : v);
    centre[k] = far ? mean[k] : centre[k];
    any |= far;
  }
  return any;
}

// The sums of add() for each of `count` <= kTogether runs of n elements, `step` elements apart: out[0][k] and
// out[1][k].
template <class T>
PN_NOINLINE void run_sums(int64_t count, int64_t step, int64_t n, const T* dy, const T* x, const T* centre,
                          const T* weight, double (*out)[kTogether]) {
  constexpr int L = kLanes<T>;
  for (int s = 0; s < kSums; ++s)
    for (int k = 0; k < kTogether; ++k) out[s][k] = 0;
  for (int64_t k = 0; k < count; k += L)
    for (int64_t low = 0; low < n; low += kRowBlock) {
      const int64_t length = low + kRowBlock < n ? kRowBlock : n - low, runs = k + L < count ? L : count - k;
      V<T> own[kSums], sums[kSums][L];
      for (int64_t l = 0, at = k * step + low; l < runs; ++l, at += step) {
        chains(length, dy ? dy + at : nullptr, x + at, weight ? weight + low : nullptr, centre[k + l], own);
        for (int s = 0; s < kSums; ++s) sums[s][l] = own[s];
      }
      for (int s = 0; s < kSums; ++s) add_across<T>(runs, sums[s], out[s] + k);
    }
}

// The same for kTogether runs that take turns, element (i, k) at i * kTogether + k, with one centre: vectors run along
// the runs, and what chains() has as the lanes of its chains are accumulators.
template <class T>
PN_NOINLINE void turn_sums(int64_t n, const T* dy, const T* x, T centre, double (*out)[kTogether]) {
  constexpr int L = kLanes<T>, kLines = 16 * kChains, kHeld = sizeof(V<T>) == 64 ? 8 : 4;
  constexpr int64_t kPiece = 4 * kLines;  // elements of a run that stay in L1
  T sums[kSums][kLines][kTogether];
  const V<T> c = all(centre);
  for (int s = 0; s < kSums; ++s)
    for (int k = 0; k < kTogether; ++k) out[s][k] = 0;
  // Elements first, first + step, ... below last, to the accumulators from `line` on.
  const auto take = [&](int64_t first, int64_t last, int64_t step, int line, int held, int lane) PN_LAMBDA {
    V<T> a[kHeld][kSums];
#pragma GCC unroll 8
    for (int h = 0; h < held; ++h)
      for (int s = 0; s < kSums; ++s) a[h][s] = matmul::load<T>(&sums[s][line + h][lane]);
    for (int64_t i = first; i < last; i += step)
#pragma GCC unroll 8
      for (int h = 0; h < held; ++h) {
        const int64_t at = (i + h) * kTogether + lane;
        add<T>(dy ? dy + at : nullptr, x + at, nullptr, c, L, a[h]);
      }
#pragma GCC unroll 8
    for (int h = 0; h < held; ++h)
      for (int s = 0; s < kSums; ++s) matmul::store<T>(&sums[s][line + h][lane], a[h][s]);
  };
  for (int64_t low = 0; low < n; low += kRowBlock) {
    const int64_t length = low + kRowBlock < n ? kRowBlock : n - low, end = low + length, whole = end - length % kLines;
    __builtin_memset(sums, 0, sizeof sums);
    for (int64_t piece = low; piece < whole; piece += kPiece)
      for (int line = 0; line < kLines; line += kHeld)
        for (int lane = 0; lane < kTogether; lane += L)
          take(piece + line, piece + kPiece < whole ? piece + kPiece : whole, kLines, line, kHeld, lane);
    for (int64_t i = whole; i < end; ++i)
      for (int lane = 0; lane < kTogether; lane += L) take(i, i + 1, 1, static_cast<int>((i - whole) % 16), 1, lane);
    for (int s = 0; s < kSums; ++s) {
      for (int half = kLines / 2; half > 0; half /= 2)
        for (int line = 0; line < half; ++line)
          for (int k = 0; k < kTogether; ++k) sums[s][line][k] += sums[s][line + half][k];
      for (int k = 0; k < kTogether; ++k) out[s][k] += static_cast<double>(sums[s][0][k]);
    }
  }
}

// The same for each of `channels` <= kTogether channels of long planes.
template <class T>
void channel_sums(const Planes& s, int64_t channels, const T* dy, const T* x, const T* centre,
                  double (*out)[kTogether]) {
  if (s.rows == 1 && !s.blocked) return run_sums<T>(channels, s.places, s.places, dy, x, centre, nullptr, out);
  for (int64_t c = 0; c < channels; ++c) {
    double own[kSums][kTogether], total[kSums] = {};
    T same[kTogether];
    for (T& v : same) v = centre[c];
    const int64_t together = s.blocked ? 1 : kTogether;
    for (int64_t r = 0; r < s.rows; r += together) {
      const int64_t at = r * s.stride + c * s.places, images = s.rows - r < together ? s.rows - r : kTogether;
      const T* const g = dy ? dy + at : nullptr;
      if (s.blocked)
        turn_sums<T>(s.places / kTogether, g, x + at, centre[c], own);
      else
        run_sums<T>(images, s.stride, s.places, g, x + at, same, nullptr, own);
      for (int t = 0; t < kSums; ++t)
        for (int64_t k = 0; k < images; ++k) total[t] += own[t][k];
    }
    for (int t = 0; t < kSums; ++t) out[t][c] = total[t];
  }
}

// The same for channels side by side, with a centre for each column: out[c] and out[channels + c].
template <class T>
PN_NOINLINE void column_sums(const Planes& s, const T* dy, const T* x, const T* centre, double* out) {
  const int64_t stride = s.stride;
  const auto add = [=](int64_t r, int64_t j, int lanes, V<T>* a) PN_LAMBDA {
    const V<T> d = get(x + r * stride + j, lanes) - get(centre + j, lanes);
    const V<T> e = dy ? get(dy + r * stride + j, lanes) : d;
    a[0] += e;
    a[1] = multiply_add(e, d, a[1]);
  };
  column_totals<T>(s, add, out);
}

// A number near the mean of n elements, `step` apart: that of the first eight.
template <class T>
inline T near_mean(int64_t n, const T* x, int64_t step = 1) {
  if (n < 8) return reduce::finite_or_zero(x[0]);
  T sum[8];
  for (int i = 0; i < 8; ++i) sum[i] = x[i * step];
  for (int apart = 1; apart < 8; apart *= 2)
    for (int i = 0; i < 8; i += 2 * apart) sum[i] += sum[i + apart];
  return reduce::finite_or_zero(sum[0] / 8);
}

// Mean and variance of each of `count` <= kTogether channels of long planes.
template <class T>
PN_NOINLINE void channel_moments(const Planes& s, int64_t count, const T* x, bool centred, T* mean, T* var) {
  T centre[kTogether] = {};
  double sums[kSums][kTogether];
  const int64_t step = s.blocked ? kBatchLanes : 1;
  for (int64_t c = 0; centred && c < count; ++c) centre[c] = near_mean(s.places / step, x + c * s.places, step);
  for (int pass = 0; pass < 2; ++pass) {
    channel_sums<T>(s, count, nullptr, x, centre, sums);
    if (!settle(count, static_cast<double>(s.rows * s.places), centred, centre, sums[0], sums[1], mean, var)) break;
  }
}

template <class T>
void moments(const Planes& s, const T* x, bool centred, T* mean, T* var) {
  if (s.places >= kLongPlaces) {
    for (int64_t c = 0; c < s.channels; c += kTogether)
      channel_moments(s, c + kTogether < s.channels ? kTogether : s.channels - c, x + c * s.places, centred, mean + c,
                      var + c);
    return;
  }
  // The centres are the means of the first 8 rows.
  const int64_t columns = s.channels * s.places, rows = s.rows < 8 ? s.rows : 8;
  T sum[kPlaneColumns] = {}, centre[kPlaneColumns] = {};
  double sums[2 * kPlaneColumns];
  for (int64_t r = 0; centred && r < rows; ++r)
    for (int64_t j = 0; j < columns; ++j) sum[j] += x[r * s.stride + j];
  for (int64_t c = 0; c < s.channels; ++c) {
    T whole = 0;
    for (int64_t p = 0; p < s.places; ++p) whole += sum[c * s.places + p];
    centre[c] = reduce::finite_or_zero(whole / static_cast<T>(rows * s.places));
  }
  for (int pass = 0; pass < 2; ++pass) {
    column_sums<T>(s, nullptr, x, spread(s, centre, sum), sums);
    if (!settle(s.channels, static_cast<double>(s.rows * s.places), centred, centre, sums, sums + s.channels, mean,
                var))
      break;
  }
}

template <class T>
void sums(const Planes& s, const T* dy, const T* x, const T* mean, double* out) {
  if (s.places >= kLongPlaces) {
    for (int64_t c = 0; c < s.channels; c += kTogether) {
      const int64_t count = c + kTogether < s.channels ? kTogether : s.channels - c, at = c * s.places;
      double own[kSums][kTogether];
      channel_sums<T>(s, count, dy + at, x + at, mean + c, own);
      for (int64_t k = 0; k < count; ++k) out[c + k] = own[0][k], out[s.channels + c + k] = own[1][k];
    }
    return;
  }
  T columns[kPlaneColumns];
  column_sums(s, dy, x, spread(s, mean, columns), out);
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
    for (int64_t k = s.channels - 1; k >= 0; --k)
      for (int64_t r = s.rows - 1; r >= 0; --r) {
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
    a[i] = static_cast<T>(factor * w);
    b[i] = static_cast<T>(norm_back_b(s.count, factor, w * ex, static_cast<double>(s.dvar[i])));
    c[i] = static_cast<T>(norm_back_c(s.count, factor, w * e, static_cast<double>(s.dmean[i])));
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

template <class T>
void rows(const NormRows<T>& s, const T* bias, T* y, T* mean, T* var) {
  constexpr int L = kLanes<T>;
  const int64_t n = s.n, together = rows_together(n);
  for (int64_t first = 0; first < s.rows; first += together) {
    const int64_t count = first + together < s.rows ? together : s.rows - first;
    const T *x = s.x + first * n, *weight = s.weight;
    T* to = y + first * n;
    double factors[kTogether];
    T scales[kTogether];
    const T *own_mean = mean + first, *own_scale = scales;
    channel_moments({1, count, n, 0}, count, x, s.centred, mean + first, var + first);
    inverse(count, var + first, s.eps, factors);
    for (int64_t r = 0; r < count; ++r) scales[r] = static_cast<T>(factors[r]);
    over_strips<T>(n, [=]<int W>(int64_t i, int lanes) PN_LAMBDA {
      V<T> w[W], b[W];
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v) {
        const int part = v < W - 1 ? L : lanes;
        w[v] = get(weight + i + v * L, part), b[v] = get(bias + i + v * L, part);
      }
      for (int64_t r = 0, at = i; r < count; ++r, at += n) {
#pragma GCC unroll 4
        for (int v = 0; v < W; ++v) {
          const int part = v < W - 1 ? L : lanes;
          const V<T> h = (get(x + at + v * L, part) - own_mean[r]) * own_scale[r];
          put(to + at + v * L, multiply_add(h, w[v], b[v]), part);
        }
      }
    });
  }
}

template <class T>
void rows_back(const NormRows<T>& s, const T* dy, const T* mean, const T* var, const T* dmean, const T* dvar, T* dx,
               T* dweight, T* dbias) {
  constexpr int L = kLanes<T>;
  const int64_t n = s.n, together = rows_together(n);
  const double elements = static_cast<double>(n);
  const T* weight = s.weight;
  for (int64_t first = 0; first < s.rows; first += together) {
    const int64_t count = first + together < s.rows ? together : s.rows - first;
    const T *x = s.x + first * n, *g = dy + first * n;
    T* to = dx + first * n;
    struct {
      T mean[kTogether] = {}, var[kTogether] = {}, dmean[kTogether] = {}, dvar[kTogether] = {}, scale[kTogether],
        b[kTogether], c[kTogether] = {};
    } own;
    for (int64_t r = 0; r < count; ++r) {
      if (s.centred) own.mean[r] = mean[first + r];
      own.var[r] = var[first + r], own.dmean[r] = dmean[first + r], own.dvar[r] = dvar[first + r];
    }
    const auto* const k = &own;
    double factors[kTogether], sums[2][kTogether];
    run_sums(count, n, n, g, x, own.mean, weight, sums);
    inverse(kTogether, own.var, s.eps, factors);
    for (int r = 0; r < kTogether; ++r) {
      own.scale[r] = static_cast<T>(factors[r]);
      own.b[r] = static_cast<T>(norm_back_b(elements, factors[r], sums[1][r], static_cast<double>(own.dvar[r])));
    }
    for (int r = 0; s.centred && r < kTogether; ++r)
      own.c[r] = static_cast<T>(norm_back_c(elements, factors[r], sums[0][r], static_cast<double>(own.dmean[r])));
    over_strips<T>(n, [=]<int W>(int64_t i, int lanes) PN_LAMBDA {
      V<T> w[W], of_weight[W], of_bias[W];
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v) {
        const int part = v < W - 1 ? L : lanes;
        w[v] = get(weight + i + v * L, part);
        of_weight[v] = get(dweight + i + v * L, part), of_bias[v] = get(dbias + i + v * L, part);
      }
      for (int64_t r = 0, at = i; r < count; ++r, at += n) {
#pragma GCC unroll 4
        for (int v = 0; v < W; ++v) {
          const int part = v < W - 1 ? L : lanes;
          const V<T> d = get(x + at + v * L, part) - k->mean[r], e = get(g + at + v * L, part);
          put(to + at + v * L, multiply_add(w[v] * k->scale[r], e, multiply_add(all(k->b[r]), d, all(k->c[r]))), part);
          of_weight[v] = multiply_add(e, d * k->scale[r], of_weight[v]);
          of_bias[v] += e;
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v) {
        const int part = v < W - 1 ? L : lanes;
        put(dweight + i + v * L, of_weight[v], part);
        put(dbias + i + v * L, of_bias[v], part);
      }
    });
  }
}

#undef PN_LAMBDA
#undef PN_NOINLINE

template <class T>
NormKernels<T> table() {
  return {&moments<T>, &inverse<T>, &scale<T>,     &sums<T>,    &coefficients<T>,
          &back<T>,    &rows<T>,    &rows_back<T>, &approach<T>};
}

}  // namespace normalize
