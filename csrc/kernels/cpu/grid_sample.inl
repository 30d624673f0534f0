// Reading at points of a grid: every step is a loop along the points, so that vectors run along them. All loops go
// through kGridPoints, which the compiler knows; the points beyond the last one are made up and not written.
namespace grid_sample {

// The taps along one axis.
template <class T>
struct Axis {
  int count;
  int32_t place[4][kGridPoints];
  T weight[4][kGridPoints], slope[4][kGridPoints];
};

// Moves places that lie outside to where the padding reads; multiplies the slopes by the derivative.
template <class T>
void continue_outside(const GridSample& s, int64_t size, T* at, T* slope) {
  const T last = static_cast<T>(size - 1);
  if (s.padding == GridSample::reflection) {
    const T low = s.align_corners ? T(0) : T(-0.5), span = s.align_corners ? last : static_cast<T>(size);
    const T turn = span > 0 ? span : T(1);
    for (int p = 0; p < kGridPoints; ++p) {
      const T past = at[p] - low, away = past < 0 ? -past : past, turns = floor_(away / turn);
      const T rest = span > 0 ? away - turns * span : T(0);
      const bool back = turns - T(2) * floor_(turns / T(2)) != 0;
      const T sign = past < 0 ? T(-1) : T(1);
      at[p] = low + (back ? span - rest : rest);
      slope[p] *= back ? -sign : sign;
    }
  }
  if (s.padding == GridSample::zeros) return;
  for (int p = 0; p < kGridPoints; ++p) {
    const T x = at[p];
    slope[p] = x > 0 && x < last ? slope[p] : T(0);
    const T above = x < 0 ? T(0) : x;
    at[p] = above > last ? last : above;
  }
}

// Whole numbers as places, -1 outside.
template <class T>
void to_places(int64_t size, const T* at, int32_t* place) {
  const T last = static_cast<T>(size - 1);
  for (int p = 0; p < kGridPoints; ++p) {
    const T x = at[p] >= 0 && at[p] <= last ? at[p] : T(-1);  // -1 for NaN as well
    place[p] = static_cast<int32_t>(x);
  }
}

// The taps for coordinates g, `step` apart.
template <class T>
void axis_taps(const GridSample& s, int64_t size, int64_t n, const T* g, int step, Axis<T>& a) {
  const T wide = static_cast<T>(size), last = static_cast<T>(size - 1);
  T at[kGridPoints], slope[kGridPoints], past[kGridPoints], whole[kGridPoints];
  const T scale = (s.align_corners ? last : wide) / T(2);
  for (int64_t p = 0; p < n; ++p) past[p] = g[p * step];
  for (int64_t p = n; p < kGridPoints; ++p) past[p] = 0;
  for (int p = 0; p < kGridPoints; ++p) {
    const T given = past[p], c = given != given ? T(-1) : given;  // NaN counts as -1
    const T inner = (c + T(1)) / T(2) * last, outer = ((c + T(1)) * wide - T(1)) / T(2);
    at[p] = s.align_corners ? inner : outer;
    slope[p] = given != given ? T(0) : scale;
  }
  if (s.mode == GridSample::bicubic) {
    constexpr T A = T(-0.75);  // Keys 1981, as in resample
    a.count = 4;
    for (int p = 0; p < kGridPoints; ++p) whole[p] = floor_(at[p]), past[p] = at[p] - whole[p];
    for (int k = 0; k < 4; ++k) {
      const bool outer = k == 0 || k == 3;
      const T sign = k < 2 ? T(1) : T(-1), start = static_cast<T>(k < 2 ? 1 - k : k - 1);
      for (int p = 0; p < kGridPoints; ++p) {
        const T u = start + sign * past[p];  // the distance
        const T w = outer ? ((u - 5) * u + 8) * u * A - 4 * A : ((A + 2) * u - (A + 3)) * u * u + 1;
        const T v = outer ? ((3 * u - 10) * u + 8) * A : (3 * (A + 2) * u - 2 * (A + 3)) * u;
        a.weight[k][p] = w;
        a.slope[k][p] = sign * slope[p] * v;
        at[p] = whole[p] + static_cast<T>(k - 1);
      }
      T ignored[kGridPoints] = {};
      continue_outside(s, size, at, ignored);
      for (int p = 0; p < kGridPoints; ++p) at[p] = rint_(at[p]);
      to_places(size, at, a.place[k]);
    }
    return;
  }
  continue_outside(s, size, at, slope);
  if (s.mode == GridSample::nearest) {
    a.count = 1;
    for (int p = 0; p < kGridPoints; ++p) at[p] = rint_(at[p]), a.weight[0][p] = 1, a.slope[0][p] = 0;
    to_places(size, at, a.place[0]);
    return;
  }
  a.count = 2;
  for (int p = 0; p < kGridPoints; ++p) {
    whole[p] = floor_(at[p]);
    const T t = at[p] - whole[p];
    a.weight[0][p] = T(1) - t, a.weight[1][p] = t;
    a.slope[0][p] = -slope[p], a.slope[1][p] = slope[p];
    past[p] = whole[p] + T(1);
  }
  to_places(size, whole, a.place[0]);
  to_places(size, past, a.place[1]);
}

template <class T>
void taps(const GridSample& s, int64_t n, const T* grid, bool slopes, GridTaps<T>& to) {
  Axis<T> a;
  to.count = 1;
  for (int p = 0; p < kGridPoints; ++p) to.place[0][p] = 0, to.weight[0][p] = 1;
  for (int d = 0; d < s.spatial; ++d) {
    axis_taps(s, s.size[d], n, grid + s.spatial - 1 - d, s.spatial, a);
    const int32_t size = static_cast<int32_t>(s.size[d]);
    // Every tap so far with every one of this axis, from the last on, so that none is overwritten before its turn.
    for (int i = to.count - 1; i >= 0; --i)
      for (int k = a.count - 1; k >= 0; --k) {
        const int t = i * a.count + k;
        if (slopes) {
          for (int e = 0; e < d; ++e)
            for (int p = 0; p < kGridPoints; ++p) to.slope[e][t][p] = to.slope[e][i][p] * a.weight[k][p];
          for (int p = 0; p < kGridPoints; ++p) to.slope[d][t][p] = to.weight[i][p] * a.slope[k][p];
        }
        for (int p = 0; p < kGridPoints; ++p) {
          const int32_t before = to.place[i][p], own = a.place[k][p], place = before * size + own;
          to.place[t][p] = (before | own) < 0 ? -1 : place;
          to.weight[t][p] = to.weight[i][p] * a.weight[k][p];
        }
      }
    to.count *= a.count;
  }
}

// What tap t of point p reads, times `factor`; 0 outside, whatever x and the factor are.
template <class T>
inline T read_tap(const GridTaps<T>& taps, int t, int p, const T* x, T factor) {
  const int32_t place = taps.place[t][p], at = place < 0 ? 0 : place;
  const T value = x[at] * factor;
  return place < 0 ? T(0) : value;
}

template <class T>
void read(int64_t n, const GridTaps<T>& taps, const T* x, T* y) {
  T sum[kGridPoints] = {};
  for (int t = 0; t < taps.count; ++t)
    for (int p = 0; p < kGridPoints; ++p) sum[p] += read_tap(taps, t, p, x, taps.weight[t][p]);
  for (int64_t p = 0; p < n; ++p) y[p] = sum[p];
}

template <class T>
void slopes(int spatial, int64_t n, const GridTaps<T>& taps, const T* x, const T* dy, T (*sums)[kGridPoints]) {
  T value[kGridPoints], g[kGridPoints] = {};
  for (int64_t p = 0; p < n; ++p) g[p] = dy[p];
  for (int t = 0; t < taps.count; ++t) {
    for (int p = 0; p < kGridPoints; ++p) value[p] = read_tap(taps, t, p, x, g[p]);
    for (int d = 0; d < spatial; ++d)
      for (int p = 0; p < kGridPoints; ++p) {
        const T slope = taps.slope[d][t][p];  // NaN of an infinite coordinate
        sums[d][p] += taps.place[t][p] < 0 ? T(0) : slope * value[p];
      }
  }
}

template <class T>
GridSampleKernels<T> table() {
  return {&taps<T>, &read<T>, &slopes<T>};
}

}  // namespace grid_sample
