// Convolutions: sums over the taps of a window, with the factors' places given by a table, so that one kernel serves
// every stride, padding, dilation, group and direction (ops/conv*.cpp make the tables). Vectors run along output
// channels or along the batch. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
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
constexpr Facts kIsa = {14, 2, 5, 5};
#elif defined(__AVX2__) && defined(__FMA__)
constexpr Facts kIsa = {6, 2, 4, 3};
#elif defined(__aarch64__)
constexpr Facts kIsa = {10, 2, 5, 4};
#else
constexpr Facts kIsa = {4, 2, 3, 3};
#endif

// One register tile of a TapProduct: a, b, c and the biases of s point at it.
template <class T, int R, int N>
void tile(const TapProduct<T>& s) {
  constexpr int L = kLanes<T>;
  V<T> sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[r][v] = V<T>{};
  const Tap* tap = s.tap;
  const int64_t a_row = s.a_row, three_rows = 3 * a_row;
#pragma GCC unroll 1
  for (int64_t t = s.taps; t > 0; --t, ++tap) {
    const T *a = s.a + tap->a, *b = s.b + tap->b;
    V<T> vector[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) vector[v] = load<T>(b + v * L);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V<T> x = a[r % 3 * a_row] - V<T>{};
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] = multiply_add(x, vector[v], sum[r][v]);
      if (r % 3 == 2) {
        a += three_rows;
        // Hides where a comes from: else every row's offset is kept in a register of its own, which do not suffice.
        asm("" : "+r"(a));
      }
    }
  }
  // One pass for each of these, which the compiler does not multiply with each other.
  if (s.add) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] = load<T>(s.c + r * s.c_row + v * L) + sum[r][v];
  }
  if (s.column_bias) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      const V<T> bias = load<T>(s.column_bias + v * L);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r][v] += bias;
    }
  }
  if (s.row_bias) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V<T> bias = s.row_bias[r] - V<T>{};
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] += bias;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) store<T>(s.c + r * s.c_row + v * L, sum[r][v]);
}

template <class S>
using Tile = void (*)(const S&);
template <class S, int Count>
struct Tiles {
  Tile<S> of[Count];
};
template <class T, int... I>
constexpr Tiles<TapProduct<T>, kIsa.rows * kIsa.vectors> product_tiles(matmul::Sequence<I...>) {
  return {{&tile<T, I / kIsa.vectors + 1, I % kIsa.vectors + 1>...}};
}
template <class T>
constexpr auto kTiles = product_tiles<T>(typename matmul::Count<kIsa.rows * kIsa.vectors>::type{});

template <class T>
void product(const TapProduct<T>& whole) {
  constexpr int64_t L = kLanes<T>;
  const int64_t vectors = whole.columns / L, strips = pieces_of(whole.rows, kIsa.rows);
  TapProduct<T> s = whole;
  for (int64_t v = 0, wide; v < vectors; v += wide) {
    wide = smaller(kIsa.vectors, vectors - v);
    s.b = whole.b + v * L;
    if (whole.column_bias) s.column_bias = whole.column_bias + v * L;
    if (whole.rows == 1 && vectors - v >= 4) {  // two sums would wait for each other
      s.c = whole.c + v * L;
      tile<T, 1, 4>(s);
      wide = 4;
      continue;
    }
    for (int64_t t = 0, i = 0; t < strips; ++t) {
      const int64_t rows = whole.rows / strips + (t < whole.rows % strips);
      s.a = whole.a + i * whole.a_row;
      s.c = whole.c + i * whole.c_row + v * L;
      if (whole.row_bias) s.row_bias = whole.row_bias + i;
      kTiles<T>.of[(rows - 1) * kIsa.vectors + wide - 1](s);
      i += rows;
    }
  }
}

// One register tile of a LaneProduct; columns_of_sums is the row length of the whole.
template <class T>
struct LaneTile {
  int64_t taps;
  const Tap* tap;
  const T* a;
  int64_t a_row;
  const T* b;
  int64_t b_row;
  T* sums;
  int64_t sums_row;
};

template <class T, int R, int C>
void lane_tile(const LaneTile<T>& s) {
  V<T> sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = load<T>(s.sums + r * s.sums_row + c * kBatchLanes);
  const Tap* tap = s.tap;
#pragma GCC unroll 1
  for (int64_t t = s.taps; t > 0; --t, ++tap) {
    const T *a = s.a + tap->a, *b = s.b + tap->b;
    V<T> y[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) y[c] = load<T>(b + c * s.b_row);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V<T> x = load<T>(a + r * s.a_row);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = multiply_add(x, y[c], sum[r][c]);
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
  const int64_t down = pieces_of(whole.rows, kIsa.lane_rows), across = pieces_of(whole.columns, kIsa.lane_columns);
  LaneTile<T> s;
  s.taps = whole.taps;
  s.tap = whole.tap;
  s.a_row = whole.a_row;
  s.b_row = whole.b_row;
  s.sums_row = whole.columns * kBatchLanes;
  for (int64_t lane = 0; lane < kBatchLanes; lane += kLanes<T>)
    for (int64_t p = 0, i = 0; p < down; ++p) {
      const int64_t rows = whole.rows / down + (p < whole.rows % down);
      for (int64_t q = 0, j = 0; q < across; ++q) {
        const int64_t columns = whole.columns / across + (q < whole.columns % across);
        s.a = whole.a + i * whole.a_row + lane;
        s.b = whole.b + j * whole.b_row + lane;
        s.sums = whole.sums + i * s.sums_row + j * kBatchLanes + lane;
        kLaneTiles<T>.of[(rows - 1) * kIsa.lane_columns + columns - 1](s);
        j += columns;
      }
      i += rows;
    }
}

template <class T>
void add_lanes(int64_t n, const T* sums, T* y) {
  for (int64_t i = 0; i < n; ++i, sums += kBatchLanes) {
    T s[kBatchLanes / 2];
    for (int64_t l = 0; l < 8; ++l) s[l] = sums[l] + sums[l + 8];
    for (int64_t l = 0; l < 4; ++l) s[l] += s[l + 4];
    y[i] = (s[0] + s[2]) + (s[1] + s[3]);
  }
}

template <class T>
ConvKernels<T> table() {
  return {kLanes<T>, &product<T>, &lane_product<T>, &add_lanes<T>, &matmul::transpose<T, kLanes<T>, false>};
}

}  // namespace conv
