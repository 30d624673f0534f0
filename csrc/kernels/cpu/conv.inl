// Convolutions: sums over the taps of a window, with the factors' places given by a table, so that one kernel serves
// every stride, padding, dilation, group and direction (ops/conv*.cpp make the tables). Vectors run along output
// channels or along pixels. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
namespace conv {

using matmul::kLanes;
using matmul::load;
using matmul::multiply_add;
using matmul::pieces_of;
using matmul::smaller;
using matmul::store;
using matmul::V;

// Register tiles: rows and vectors of TapProduct's; rows and columns of LaneProduct's.
struct Facts {
  int rows, vectors, lane_rows, lane_columns;
};
#if defined(__AVX512F__)
constexpr Facts kIsa = {6, 4, 4, 6};
#elif defined(__AVX2__) && defined(__FMA__)
constexpr Facts kIsa = {6, 2, 4, 3};
#elif defined(__aarch64__)
constexpr Facts kIsa = {10, 2, 5, 4};
#else
constexpr Facts kIsa = {4, 2, 3, 3};
#endif

constexpr int kAlone = 8;  // vectors of the tile for one row: fewer sums would wait for each other

// Where vector v of a tile stands, of columns whose groups lie `step` apart. Tiles start at a multiple of their width.
template <class T>
inline int64_t place_of(int v, int64_t step) {
  constexpr int kVectors = static_cast<int>(kBatchLanes) / kLanes<T>;
  return v / kVectors * step + v % kVectors * kLanes<T>;
}

// One register tile of a TapProduct: a, b, c and the bias of s point at it.
template <class T, int R, int N>
void tile(const TapProduct<T>& s) {
  V<T> sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) sum[r][v] = V<T>{};
  const int64_t a_row = s.a_row, three_rows = 3 * a_row, b_step = s.b_step;
  const T *a_now = s.a, *b_now = s.b;
#pragma GCC unroll 1
  for (int64_t i = s.repeats; i > 0; --i, a_now += s.a_repeat, b_now += s.b_repeat) {
    const Tap* tap = s.tap;
#pragma GCC unroll 1
    for (int64_t t = s.taps; t > 0; --t, ++tap) {
      const T *a = a_now + tap->a, *b = b_now + tap->b;
      V<T> vector[N];
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) vector[v] = load<T>(b + place_of<T>(v, b_step));
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V<T> x = a[r % 3 * a_row] - V<T>{};
#pragma GCC unroll 8
        for (int v = 0; v < N; ++v) sum[r][v] = multiply_add(x, vector[v], sum[r][v]);
        if (r % 3 == 2) {
          a += three_rows;
          // Hides where a comes from: else every row's offset is kept in a register of its own, which do not suffice.
          asm("" : "+r"(a));
        }
      }
    }
  }
  // One pass for each of these, which the compiler does not multiply with each other. Places of rows come one from the
  // other, and from copies of what s holds: a store could change that, and to know all places beforehand takes more
  // registers than there are.
  const int64_t c_row = s.c_row, c_step = s.c_step;
  const auto next_row = [=](T* row) {
    row += c_row;
    asm("" : "+r"(row));
    return row;
  };
  T* c = s.c;
  if (s.add) {
    T* row = c;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r, row = next_row(row))
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) sum[r][v] = load<T>(row + place_of<T>(v, c_step)) + sum[r][v];
  }
  if (s.row_bias) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V<T> bias = s.row_bias[r] - V<T>{};
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) sum[r][v] += bias;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, c = next_row(c))
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) store<T>(c + place_of<T>(v, c_step), sum[r][v]);
}

template <class S>
using Tile = void (*)(const S&);
template <class S, int Count>
struct Tiles {
  Tile<S> of[Count];
};
// A product's tiles: of every number of vectors, but of 3 only where a group of columns is one.
template <class T>
constexpr int64_t width_of(int64_t vectors) {
  return vectors == 3 && kLanes<T> < kBatchLanes ? 2 : smaller(kIsa.vectors, vectors);
}
template <class T, int... I>
constexpr Tiles<TapProduct<T>, kIsa.rows * kIsa.vectors> product_tiles(matmul::Sequence<I...>) {
  return {{&tile<T, I / kIsa.vectors + 1, width_of<T>(I % kIsa.vectors + 1)>...}};
}
template <class T>
constexpr auto kTiles = product_tiles<T>(typename matmul::Count<kIsa.rows * kIsa.vectors>::type{});

template <class T>
void product(const TapProduct<T>& whole) {
  constexpr int64_t L = kLanes<T>;
  const int64_t vectors = whole.columns / L, strips = pieces_of(whole.rows, kIsa.rows);
  TapProduct<T> s = whole;
  for (int64_t v = 0, wide; v < vectors; v += wide) {
    const bool alone = whole.rows == 1 && vectors - v >= kAlone;
    wide = alone ? kAlone : width_of<T>(vectors - v);
    s.b = whole.b + place_of<T>(static_cast<int>(v), whole.b_step);
    T* const c = whole.c + place_of<T>(static_cast<int>(v), whole.c_step);
    for (int64_t t = 0, i = 0; t < strips; ++t) {
      const int64_t rows = whole.rows / strips + (t < whole.rows % strips);
      s.a = whole.a + i * whole.a_row;
      s.c = c + i * whole.c_row;
      if (whole.row_bias) s.row_bias = whole.row_bias + i;
      (alone ? &tile<T, 1, kAlone> : kTiles<T>.of[(rows - 1) * kIsa.vectors + wide - 1])(s);
      i += rows;
    }
  }
}

// One register tile of a LaneProduct: a, b, place and sums of `whole` are moved there; sums_row is the row length of
// all. The tile's last column stands by itself, because it may be the ones.
template <class T>
struct LaneTile {
  const LaneProduct<T>& whole;
  const T *a, *b, *last;
  int64_t last_step, last_image;
  const int64_t* place;
  T* sums;
  int64_t sums_row;
};
template <class T>
constexpr V<T> kOnes = V<T>{} + T(1);

template <class T, int R, int C>
void lane_tile(const LaneTile<T>& s) {
  V<T> sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = s.whole.begin ? V<T>{} : load<T>(s.sums + r * s.sums_row + c * kBatchLanes);
  const int64_t a_row = s.whole.a_row, b_step = s.whole.b_step, steps = s.whole.steps;
  int64_t place[C];
#pragma GCC unroll 8
  for (int c = 0; c < C - 1; ++c) place[c] = s.place[c];
  const T *a_now = s.a, *b_now = s.b, *last_now = s.last;
#pragma GCC unroll 1
  for (int64_t image = s.whole.images; image > 0; --image) {
    const T *a = a_now, *b = b_now, *last = last_now;
    a_now += s.whole.a_image, b_now += s.whole.b_image, last_now += s.last_image;
#pragma GCC unroll 1
    for (int64_t t = steps; t > 0; --t, a += kBatchLanes, b += b_step, last += s.last_step) {
      V<T> y[C];
#pragma GCC unroll 8
      for (int c = 0; c < C - 1; ++c) y[c] = load<T>(b + place[c]);
      y[C - 1] = load<T>(last);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V<T> x = load<T>(a + r * a_row);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sum[r][c] = multiply_add(x, y[c], sum[r][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) store<T>(s.sums + r * s.sums_row + c * kBatchLanes, sum[r][c]);
}

template <class T, int... I>
constexpr Tiles<LaneTile<T>, kIsa.lane_rows * kIsa.lane_columns> lane_tiles(matmul::Sequence<I...>) {
  return {{&lane_tile<T, I / kIsa.lane_columns + 1, I % kIsa.lane_columns + 1>...}};
}
template <class T>
constexpr auto kLaneTiles = lane_tiles<T>(typename matmul::Count<kIsa.lane_rows * kIsa.lane_columns>::type{});

template <class T>
void lane_product(const LaneProduct<T>& whole) {
  const int64_t all = whole.columns + whole.ones;
  const int64_t down = pieces_of(whole.rows, kIsa.lane_rows), across = pieces_of(all, kIsa.lane_columns);
  LaneTile<T> s{whole, nullptr, nullptr, nullptr, 0, 0, nullptr, nullptr, 0};
  s.sums_row = all * kBatchLanes;
  for (int64_t lane = 0; lane < kBatchLanes; lane += kLanes<T>)
    for (int64_t p = 0, i = 0; p < down; ++p) {
      const int64_t rows = whole.rows / down + (p < whole.rows % down);
      for (int64_t q = 0, j = 0; q < across; ++q) {
        const int64_t columns = all / across + (q < all % across);
        const bool ones = j + columns > whole.columns;
        s.a = whole.a + i * whole.a_row + lane;
        s.b = whole.b + lane;
        s.place = whole.place + j;
        s.last = ones ? reinterpret_cast<const T*>(&kOnes<T>) : s.b + s.place[columns - 1];
        s.last_step = ones ? 0 : whole.b_step;
        s.last_image = ones ? 0 : whole.b_image;
        s.sums = whole.sums + i * s.sums_row + j * kBatchLanes + lane;
        kLaneTiles<T>.of[(rows - 1) * kIsa.lane_columns + columns - 1](s);
        j += columns;
      }
      i += rows;
    }
}

template <class T>
inline void store_some(T* p, V<T> v, int64_t n) {
  if (n >= kLanes<T>)
    store<T>(p, v);
  else if (n > 0)
    matmul::store_part(p, v, static_cast<int>(n));
}

template <class T>
void add_lanes(int64_t n, const T* sums, T* y) {
  constexpr int L = kLanes<T>, kVectors = kBatchLanes / L;
  for (int64_t i = 0; i < n; i += L) {
    V<T> x[L];
#pragma GCC unroll 16
    for (int r = 0; r < L; ++r) {
      const T* from = sums + smaller(i + r, n - 1) * kBatchLanes;
      V<T> s[kVectors];
      for (int v = 0; v < kVectors; ++v) s[v] = load<T>(from + v * L);
      reduce::join<reduce::Add, kVectors>(s);
      x[r] = s[0];
    }
    store_some(y + i, reduce::across_each<T>(x), n - i);
  }
}

template <class T>
void add_parts(int64_t n, int64_t parts, int64_t part, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
  for (int64_t p = 1; p < parts; ++p)
    for (int64_t i = 0; i < n; ++i) y[i] += x[p * part + i];
}

// R rows of a vector's columns.
template <class T, int R>
inline void sum_rows(const TapSum<T>& s, int64_t row, int64_t column) {
  using Column = decltype((V<T>{} < V<T>{})[0] + 0);
  auto first = V<T>{} < V<T>{};
  for (int l = 0; l < kLanes<T>; ++l) first[l] = static_cast<Column>(column + l);
  const Column width = static_cast<Column>(s.width);
  const T* const z = s.z + row * s.z_row + column;
  V<T> sum[R] = {};
  for (int64_t t = 0; t < s.taps; ++t) {
    const auto at = first + static_cast<Column>(s.tap[t].a);
    const auto inside = (at >= 0) & (at < width);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] += inside ? load<T>(z + r * s.z_row + s.tap[t].b) : V<T>{};
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) store_some(s.y + (row + r) * s.y_row + column, sum[r] + s.bias, s.columns - column);
}

template <class T>
void sum_taps(const TapSum<T>& s) {
  constexpr int kRows = 4;
  for (int64_t j = 0; j < s.columns; j += kLanes<T>) {
    int64_t r = 0;
    for (; r + kRows <= s.rows; r += kRows) sum_rows<T, kRows>(s, r, j);
    for (; r < s.rows; ++r) sum_rows<T, 1>(s, r, j);
  }
}

// Every other element of a and b, from number From on.
template <class T, int From, int... I>
inline V<T> every_other(V<T> a, V<T> b, matmul::Sequence<I...>) {
  return __builtin_shufflevector(a, b, (2 * I + From)...);
}
// Elements of a and b in turn: those of the first halves, or of the second ones.
template <class T, int From, int... I>
inline V<T> in_turn(V<T> a, V<T> b, matmul::Sequence<I...>) {
  return __builtin_shufflevector(a, b, (From + I / 2 + I % 2 * kLanes<T>)...);
}

// The lanes of vector i of n elements.
template <class T>
inline int lanes_of(int64_t n, int64_t i) {
  return static_cast<int>(n - i < 0 ? 0 : smaller(n - i, kLanes<T>));
}

template <class T, class F>
inline void each_row(const RowCopy<T>& s, const T* from, T* to, const F& copy) {
  const int64_t rows = s.rows, from_row = s.from_row, to_row = s.to_row;
#pragma GCC unroll 2
  for (int64_t r = 0; r < rows; ++r) copy(from + r * from_row, to + r * to_row);
}

// The last vectors of all rows of a plane come first: what they write behind a row, the next row's first ones write
// anew.
template <class T>
void take(const RowCopy<T>& s) {
  constexpr int L = kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  const int64_t step = s.step, part = s.part, wide = L * step;
  for (int64_t p = 0; p < s.planes; ++p)
    for (int64_t i = (s.n - 1) / wide * wide; i >= 0; i -= wide) {
      const T* from = s.from + p * s.from_plane + i;
      T* to = s.to + p * s.to_plane + i / step;
      const int first = lanes_of<T>(s.n, i), second = lanes_of<T>(s.n, i + L);
      if (step == 1) {
        each_row(s, from, to, [=](const T* f, T* t) { store<T>(t, matmul::load_part(f, first)); });
      } else if (step == 2) {
        each_row(s, from, to, [=](const T* f, T* t) {
          const V<T> a = matmul::load_part(f, first), b = matmul::load_part(f + L, second);
          store<T>(t + part, every_other<T, 1>(a, b, lanes));
          store<T>(t, every_other<T, 0>(a, b, lanes));
        });
      } else {
        const int64_t n = smaller(s.n - i, wide);
        each_row(s, from, to, [=](const T* f, T* t) {
          for (int64_t l = 0; l < n; ++l) t[l % step * part + l / step] = f[l];
        });
      }
    }
}

template <class T>
void put(const RowCopy<T>& s) {
  constexpr int L = kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  const int64_t step = s.step, part = s.part, wide = L * step;
  for (int64_t p = 0; p < s.planes; ++p)
    for (int64_t i = 0; i < s.n; i += wide) {
      const T* from = s.from + p * s.from_plane + i / step;
      T* to = s.to + p * s.to_plane + i;
      const int64_t n = smaller(s.n - i, wide);
      if (step == 1)
        each_row(s, from, to, [=](const T* f, T* t) { store_some(t, load<T>(f), n); });
      else if (step == 2)
        each_row(s, from, to, [=](const T* f, T* t) {
          const V<T> a = load<T>(f), b = load<T>(f + part);
          store_some(t, in_turn<T, 0>(a, b, lanes), n);
          store_some(t + L, in_turn<T, L / 2>(a, b, lanes), n - L);
        });
      else
        each_row(s, from, to, [=](const T* f, T* t) {
          for (int64_t l = 0; l < n; ++l) t[l] = f[l % step * part + l / step];
        });
    }
}

template <class T>
bool within(int64_t n, const T* x, T most) {
  constexpr int L = kLanes<T>;
  const V<T> low = V<T>{} - most, high = V<T>{} + most;
  auto good = low == low;
  for (int64_t i = 0; i < n; i += L) {
    const V<T> v = n - i < L ? matmul::load_part(x + i, static_cast<int>(n - i)) : load<T>(x + i);
    good &= (v >= low) & (v <= high);
  }
  bool all = true;
  for (int l = 0; l < L; ++l) all &= good[l] != 0;
  return all;
}

// B^T of F(2, 3), on every vector of four.
template <class X>
inline void sums_of_source(X a, X b, X c, X d, X* to, int step) {
  to[0] = a - c, to[step] = b + c, to[2 * step] = c - b, to[3 * step] = b - d;
}

template <class T>
void winograd_source(int64_t n, const T* rows, int64_t row, T* v, int64_t point) {
  constexpr int L = kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  for (int64_t t = 0; t < n; t += L) {
    V<T> half[4][4], full[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const T* d = rows + i * row + 2 * t;
      const V<T> a = load<T>(d), b = load<T>(d + L), a2 = load<T>(d + 2), b2 = load<T>(d + L + 2);
      sums_of_source(every_other<T, 0>(a, b, lanes), every_other<T, 1>(a, b, lanes), every_other<T, 0>(a2, b2, lanes),
                     every_other<T, 1>(a2, b2, lanes), half[i], 1);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sums_of_source(half[0][j], half[1][j], half[2][j], half[3][j], &full[0][j], 4);
#pragma GCC unroll 16
    for (int p = 0; p < 16; ++p) store<T>(v + p * point + t, full[p / 4][p % 4]);
  }
}

template <class T>
void winograd_result(int64_t n, const T* m, int64_t point, T bias, bool add, T* rows, int64_t row) {
  constexpr int L = kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  for (int64_t t = 0; t < n; t += L) {
    V<T> half[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const T* at = m + j * point + t;
      const V<T> a = load<T>(at), b = load<T>(at + 4 * point), c = load<T>(at + 8 * point),
                 d = load<T>(at + 12 * point);
      half[0][j] = a + b + c, half[1][j] = b - c - d;
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      V<T> even = half[i][0] + half[i][1] + half[i][2], odd = half[i][1] - half[i][2] - half[i][3];
      if (add) even += bias, odd += bias;
      T* to = rows + i * row + 2 * t;
      store<T>(to, in_turn<T, 0>(even, odd, lanes));
      store<T>(to + L, in_turn<T, L / 2>(even, odd, lanes));
    }
  }
}

template <class T>
ConvKernels<T> table() {
  return {kLanes<T>,
          &product<T>,
          &lane_product<T>,
          &add_lanes<T>,
          &add_parts<T>,
          &sum_taps<T>,
          &matmul::transpose<T, kLanes<T>, false>,
          &take<T>,
          &put<T>,
          &within<T>,
          &winograd_source<T>,
          &winograd_result<T>};
}

}  // namespace conv
