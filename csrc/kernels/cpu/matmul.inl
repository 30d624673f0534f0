// The matrix product. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
//
// One register tile of c (kRows x kVectors vectors) is carried through a block of k at a time; every element is one
// chain of fused multiply-adds in the order of k, and a later block goes on from what the earlier one left in c, so the
// bits are the same for every tile, split, layout and instruction set that has a fused multiply-add.
// Vectors run along the columns of c. Where b has unit column stride and behaves in the cache it is read in place; else
// a panel of it, one tile wide and one block of k deep, is copied just before its use. If b is transposed, the same
// product may be cheaper as c^T = b^T a^T (fewer elements to turn): `choose_turned` counts both.
namespace matmul {

// Facts of the instruction set: bytes of a vector; rows and vectors of the register tile; whether a masked load costs
// no more than a plain one; rows of c from which a copy of b pays though b could be read in place, if its rows crowd
// the same cache sets and if not (a narrow tile takes one cache line of each row of b, which the prefetchers handle
// badly).
struct Facts {
  int bytes, rows, vectors;
  bool masks;
  int64_t crowded_copy, copy;
};
#if defined(__AVX512F__)
constexpr Facts kIsa = {64, 8, 3, true, 128, INT64_MAX};
#elif defined(__AVX2__) && defined(__FMA__)
constexpr Facts kIsa = {32, 6, 2, false, 32, 256};
#elif defined(__aarch64__)
constexpr Facts kIsa = {16, 7, 3, false, 32, 256};  // 21 sums, 3 of b and 7 of a fit 32 registers in any order of loads
#else
constexpr Facts kIsa = {16, 4, 2, false, 32, 256};
#endif
constexpr int kRows = kIsa.rows, kVectors = kIsa.vectors;

constexpr int64_t kDepthBytes = 2048;      // depth of a block of k: a tile's rows of a fill half of L1
constexpr int64_t kBlockRows = 512;        // rows of one task: a packed block of a fits L2, each copy of b serves many
constexpr int64_t kTurnedRows = 1024;      // rows of c that one transposed piece may have
constexpr int64_t kPrefetchDepth = 128;    // depth from which a tile has time to fetch ahead
constexpr int64_t kTinyWork = 24;          // multiply-adds up to which plain loops win
constexpr int64_t kThreadedWork = 500000;  // multiply-adds below which a second thread costs more than it brings
constexpr int64_t kTaskWork = 250000;      // multiply-adds that a thread should have at least
constexpr int64_t kLongWork = 4000000;     // multiply-adds from which a piece is long
constexpr int64_t kTurnedColumns = 64;     // columns of c that pay for turning a

inline int64_t pieces_of(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
inline int64_t round_up(int64_t n, int64_t unit) { return pieces_of(n, unit) * unit; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

template <class T, int L>
struct Vector {
  typedef T type __attribute__((vector_size(L * sizeof(T))));
  typedef T loose __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T)), may_alias));  // any address
};
template <class T>
constexpr int kLanes = kIsa.bytes / static_cast<int>(sizeof(T));
template <class T>
using V = typename Vector<T, kLanes<T>>::type;

template <class T, int L = kLanes<T>>
inline typename Vector<T, L>::type load(const T* p) {
  return *reinterpret_cast<const typename Vector<T, L>::loose*>(p);
}
template <class T, int L = kLanes<T>>
inline void store(T* p, typename Vector<T, L>::type v) {
  *reinterpret_cast<typename Vector<T, L>::loose*>(p) = v;
}

// a * b + c with one rounding where the instruction set has it; with two in the base set.
#if defined(__AVX512F__)
inline V<float> multiply_add(V<float> a, V<float> b, V<float> c) { return _mm512_fmadd_ps(a, b, c); }
inline V<double> multiply_add(V<double> a, V<double> b, V<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__) && defined(__FMA__)
inline V<float> multiply_add(V<float> a, V<float> b, V<float> c) { return _mm256_fmadd_ps(a, b, c); }
inline V<double> multiply_add(V<double> a, V<double> b, V<double> c) { return _mm256_fmadd_pd(a, b, c); }
#elif defined(__aarch64__)
inline V<float> multiply_add(V<float> a, V<float> b, V<float> c) { return vfmaq_f32(c, a, b); }
inline V<double> multiply_add(V<double> a, V<double> b, V<double> c) { return vfmaq_f64(c, a, b); }
#else
inline V<float> multiply_add(V<float> a, V<float> b, V<float> c) { return a * b + c; }
inline V<double> multiply_add(V<double> a, V<double> b, V<double> c) { return a * b + c; }
#endif
#if defined(__FMA__) || defined(__aarch64__)
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
inline float multiply_add(float a, float b, float c) { return a * b + c; }
inline double multiply_add(double a, double b, double c) { return a * b + c; }
#endif

// The first `lanes` elements of a vector, the others 0 and their addresses untouched.
#if defined(__AVX512F__)
inline V<float> load_part(const float* p, int lanes) { return _mm512_maskz_loadu_ps((1u << lanes) - 1, p); }
inline V<double> load_part(const double* p, int lanes) { return _mm512_maskz_loadu_pd((1u << lanes) - 1, p); }
inline void store_part(float* p, V<float> v, int lanes) { _mm512_mask_storeu_ps(p, (1u << lanes) - 1, v); }
inline void store_part(double* p, V<double> v, int lanes) { _mm512_mask_storeu_pd(p, (1u << lanes) - 1, v); }
#else
#if defined(__AVX2__) && defined(__FMA__)
inline V<float> load_part(const float* p, int lanes) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), lane));
}
inline V<double> load_part(const double* p, int lanes) {
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes), lane));
}
#else
template <class T>
inline V<T> load_part(const T* p, int lanes) {
  V<T> v = {};
  for (int i = 0; i < lanes; ++i) v[i] = p[i];
  return v;
}
#endif
template <class T>
inline void store_part(T* p, V<T> v, int lanes) {
  for (int i = 0; i < lanes; ++i) p[i] = v[i];
}
#endif

// What the tiles of one panel of c share. `lanes` counts the elements of the last vector.
template <class T>
struct Panel {
  int64_t k;
  const T* b;
  int64_t b_row, a_row, a_col, c_row;
  const T* bias;
  int lanes;
  bool go_on;   // start from c instead of 0
  bool padded;  // b is a copy, filled up to whole vectors
};

// c (R, N vectors) = a (R, k) * b (k, N vectors) [+ c] [+ bias]
template <class T, int R, int N>
void tile(const Panel<T>& s, const T* a, T* c) {
  constexpr int L = kLanes<T>;
  const int64_t a_row = s.a_row, a_col = s.a_col, b_row = s.b_row, c_row = s.c_row;
  const int lanes = s.lanes, b_lanes = s.padded ? L : lanes;
  V<T> sum[R][N];
  if (s.go_on) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < N - 1; ++v) sum[r][v] = load<T>(c + r * c_row + v * L);
      sum[r][N - 1] = load_part(c + r * c_row + (N - 1) * L, lanes);
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] = V<T>{};
  }
  if (s.k >= kPrefetchDepth) {  // the next tile's c, which is far away if the matrix is large
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) __builtin_prefetch(c + (R + r) * c_row + v * L, 1);
  }
  const T* b = s.b;
#pragma GCC unroll 1
  for (int64_t p = s.k; p > 0; --p) {
    V<T> row[N];
#pragma GCC unroll 4
    for (int v = 0; v < N - 1; ++v) row[v] = load<T>(b + v * L);
    if constexpr (kIsa.masks)
      row[N - 1] = load_part(b + (N - 1) * L, b_lanes);
    else
      row[N - 1] = load<T>(b + (N - 1) * L);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V<T> x = a[r * a_row] - V<T>{};
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] = multiply_add(x, row[v], sum[r][v]);
    }
    a += a_col;
    b += b_row;
  }
  if (s.bias) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) {
      const V<T> bias = v < N - 1 ? load<T>(s.bias + v * L) : load_part(s.bias + v * L, lanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r][v] += bias;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < N - 1; ++v) store<T>(c + r * c_row + v * L, sum[r][v]);
    if (lanes == L)
      store<T>(c + r * c_row + (N - 1) * L, sum[r][N - 1]);
    else
      store_part(c + r * c_row + (N - 1) * L, sum[r][N - 1], lanes);
  }
}

// 0, 1, ..., N - 1 as a pack (the standard library's templates must not be instantiated here).
template <int... I>
struct Sequence {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  typedef Sequence<I...> type;
};

template <class T>
using Tile = void (*)(const Panel<T>&, const T*, T*);
template <class T>
struct Tiles {
  Tile<T> of[kRows * kVectors];
};
template <class T, int... I>
constexpr Tiles<T> make_tiles(Sequence<I...>) {
  return {{&tile<T, I / kVectors + 1, I % kVectors + 1>...}};
}
template <class T>
constexpr Tiles<T> kTiles = make_tiles<T>(typename Count<kRows * kVectors>::type{});

// One step of the transposition of L x L: swaps, between rows r and r + D, the blocks of D lanes off the diagonal.
template <class T, int D, int L, int... I>
inline void swap_blocks(typename Vector<T, L>::type* x, Sequence<I...>) {
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) {
    if (r & D) continue;
    const auto low = x[r], high = x[r + D];
    x[r] = __builtin_shufflevector(low, high, (I & D ? L + I - D : I)...);
    x[r + D] = __builtin_shufflevector(low, high, (I & D ? L + I : I + D)...);
  }
}
template <class T, int D, int L>
inline void transpose_vectors(typename Vector<T, L>::type* x) {
  if constexpr (D > 0) {
    swap_blocks<T, D, L>(x, typename Count<L>::type{});
    transpose_vectors<T, D / 2, L>(x);
  }
}

// to[p * to_row + i] = from[i * from_row + p] for i < columns, p < depth. With Spill, up to L - 1 elements behind the
// last column of a row may be overwritten, in the order of rows: the caller has room, or writes the next row there
// anyway. Where a square of L x L reaches beyond an end it is moved back from there; of less than a square, a copy is
// turned.
template <class T, int L, bool Spill>
void transpose(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t columns, int64_t depth) {
  const int64_t down = smaller(depth, L);
  for (int64_t c = 0; c < columns; c += L) {
    const int64_t i = Spill || columns < L ? c : smaller(c, columns - L), across = smaller(columns - i, L);
    for (int64_t d = 0; d < depth; d += L) {
      const int64_t p = smaller(d, depth - down);
      const T* f = from + i * from_row + p;
      T* t = to + p * to_row + i;
      int64_t f_row = from_row, t_row = to_row;
      T square[L * L];
      const bool whole = across == L && down == L;
      if (!whole) {
        for (int64_t r = 0; r < across; ++r)
          for (int64_t q = 0; q < L; ++q) square[r * L + q] = f[r * from_row + smaller(q, down - 1)];
        f = t = square;
        f_row = t_row = L;
      } else if constexpr (!Spill) {  // of so many runs of memory, no prefetcher keeps track
        constexpr int kAhead = 64;
        const bool gathers = from_row > to_row;
        const T* far = (gathers ? f : t) + kAhead;
        const int64_t far_row = gathers ? from_row : to_row;
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) __builtin_prefetch(far + r * far_row);
      }
      typename Vector<T, L>::type x[L];
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) x[r] = load<T, L>(f + r * f_row);
      transpose_vectors<T, L / 2, L>(x);
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) store<T, L>(t + r * t_row, x[r]);
      for (int64_t r = 0; !whole && r < down; ++r)
        for (int64_t q = 0; q < across; ++q) to[(p + r) * to_row + i + q] = square[r * L + q];
    }
  }
}

// Copies b (depth, columns) to rows of `width` elements. Behind the last column stands anything finite or from b.
template <class T>
void pack_columns(const T* b, int64_t b_row, int64_t b_col, T* to, int64_t width, int64_t columns, int64_t depth) {
  constexpr int L = kLanes<T>;
  if (b_row == 1) return transpose<T, L, true>(b, b_col, to, width, columns, depth);
  const int64_t whole = columns / L * L;
  for (int64_t p = 0; p < depth; ++p, b += b_row, to += width) {
    if (b_col == 1) {
      for (int64_t i = 0; i < whole; i += L) store<T>(to + i, load<T>(b + i));
      if (whole < columns) store<T>(to + whole, load_part(b + whole, static_cast<int>(columns - whole)));
    } else {
      for (int64_t i = 0; i < columns; ++i) to[i] = b[i * b_col];
      for (int64_t i = columns; i < width; ++i) to[i] = 0;
    }
  }
}

// Copies a (rows, depth) so that the elements of one k stand together.
template <class T>
void pack_rows(const T* a, int64_t a_row, int64_t a_col, T* to, int64_t rows, int64_t depth) {
  constexpr int L = kLanes<T> > 8 ? 8 : kLanes<T>;
  if (a_col == 1)  // a spill must not reach beyond the row that is written next
    return rows <= L ? transpose<T, L, true>(a, a_row, to, rows, rows, depth)
                     : transpose<T, L, false>(a, a_row, to, rows, rows, depth);
  if (a_row == 1 && rows == L)
    for (int64_t p = 0; p < depth; ++p) store<T, L>(to + p * L, load<T, L>(a + p * a_col));
  else
    for (int64_t p = 0; p < depth; ++p)
      for (int64_t r = 0; r < rows; ++r) to[p * rows + r] = a[r * a_row + p * a_col];
}

// Memory for copies, one block per thread, kept until the thread ends.
struct Scratch {
  void* memory = nullptr;
  size_t size = 0;
  void* get(size_t bytes) {
    if (bytes > size) {
      aligned_give(memory);
      size = (bytes + 65535) / 65536 * 65536;
      memory = aligned_take(size);
      if (!memory) size = 0;
    }
    return memory;
  }
  ~Scratch() { aligned_give(memory); }
};
static thread_local Scratch scratch;

// The definition, for tiny products, and where memory for copies cannot be had.
template <class T>
void plain(const Gemm<T>& g) {
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j) {
      const T *a = g.a + i * g.a_row, *b = g.b + j * g.b_col;
      T sum = g.accumulate ? g.c[i * g.c_row + j] : T(0);
      for (int64_t p = 0; p < g.k; ++p) sum = multiply_add(a[p * g.a_col], b[p * g.b_row], sum);
      g.c[i * g.c_row + j] = g.bias ? sum + g.bias[j] : sum;
    }
}

// Rows at this distance share few cache sets, so that a tile's rows push each other out.
template <class T>
inline bool crowds_cache(int64_t stride) {
  return stride * static_cast<int64_t>(sizeof(T)) % 2048 == 0;
}

// One product on this thread, with vectors along the columns of c; copies go to `memory`, or to the thread's scratch.
// False if that cannot be had.
template <class T>
bool multiply(const Gemm<T>& g, T* memory = nullptr) {
  constexpr int64_t L = kLanes<T>, width = kVectors * L;
  const int64_t blocks = pieces_of(g.k * static_cast<int64_t>(sizeof(T)), kDepthBytes);
  const int64_t depth = blocks <= 1 ? g.k : round_up(pieces_of(g.k, blocks), 16);
  const int64_t strips = pieces_of(g.m, kRows), high = g.m / strips, higher = g.m % strips;
  const bool pack_a = g.n >= 4 * width && (crowds_cache<T>(g.a_row) || (g.a_col != 1 && g.a_row != 1));
  const bool pack_b = g.b_col != 1 || g.m >= (crowds_cache<T>(g.b_row) ? kIsa.crowded_copy : kIsa.copy);
  const bool pack_last = !kIsa.masks && g.n % L != 0;
  T *packed_a = nullptr, *packed_b = nullptr;
  if (pack_a || pack_b || pack_last) {
    const int64_t a_size = pack_a ? round_up(g.m * depth + L, L) : 0;
    packed_a = memory;
    if (!packed_a) packed_a = static_cast<T*>(scratch.get((a_size + width * depth) * sizeof(T)));
    if (!packed_a) return false;
    packed_b = packed_a + a_size;
  }
  int64_t from = 0;
  do {
    const int64_t now = smaller(depth, g.k - from);
    Panel<T> s;
    s.k = now;
    s.c_row = g.c_row;
    s.go_on = g.accumulate || from > 0;
    const T* a = g.a + from * g.a_col;
    if (pack_a)
      for (int64_t t = 0, i = 0; t < strips; ++t) {
        const int64_t rows = high + (t < higher);
        pack_rows(a + i * g.a_row, g.a_row, g.a_col, packed_a + i * now, rows, now);
        i += rows;
      }
    for (int64_t j = 0; j < g.n; j += width) {
      const int64_t columns = smaller(width, g.n - j), vectors = pieces_of(columns, L);
      s.lanes = static_cast<int>(columns - (vectors - 1) * L);
      s.bias = g.bias && from + now == g.k ? g.bias + j : nullptr;
      s.b = g.b + from * g.b_row + j * g.b_col;
      s.b_row = g.b_row;
      s.padded = pack_b || (pack_last && s.lanes < L);
      if (s.padded) {
        pack_columns(s.b, g.b_row, g.b_col, packed_b, vectors * L, columns, now);
        s.b = packed_b;
        s.b_row = vectors * L;
      }
      for (int64_t t = 0, i = 0; t < strips; ++t) {
        const int64_t rows = high + (t < higher);
        s.a_row = pack_a ? 1 : g.a_row;
        s.a_col = pack_a ? rows : g.a_col;
        kTiles<T>.of[(rows - 1) * kVectors + vectors - 1](s, pack_a ? packed_a + i * now : a + i * g.a_row,
                                                          g.c + i * g.c_row + j);
        i += rows;
      }
    }
    from += now;
  } while (from < g.k);
  return true;
}

// The same as c^T = b^T a^T into a copy of c^T, which is turned into c at the end.
template <class T>
bool multiply_turned(const Gemm<T>& g) {
  constexpr int L = kLanes<T>;
  const int64_t c_row = round_up(g.m, L) + L;  // off the power of two
  const int64_t c_size = round_up(g.n * c_row, 64);
  const int64_t depth = kDepthBytes / static_cast<int64_t>(sizeof(T)) + 16;
  const int64_t rest = round_up(g.n * depth + L, 64) + kVectors * L * depth;
  T* c = static_cast<T*>(scratch.get((c_size + rest) * sizeof(T)));
  if (!c) return false;
  if (g.accumulate) transpose<T, L, false>(g.c, g.c_row, c, c_row, g.m, g.n);
  const Gemm<T> turned = {g.n, g.m, g.k, g.b, g.b_col, g.b_row, g.a, g.a_col, g.a_row, c, c_row, g.accumulate, nullptr};
  multiply(turned, c + c_size);
  transpose<T, L, false>(c, c_row, g.c, g.c_row, g.n, g.m);
  if (g.bias)
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) g.c[i * g.c_row + j] += g.bias[j];
  return true;
}

// Whether c^T = b^T a^T is cheaper, counted in vector instructions.
template <class T>
bool choose_turned(const Gemm<T>& g) {
  constexpr int64_t L = kLanes<T>;
  constexpr double kTurn = 0.4, kFinish = 1;  // instructions per element of a transposed operand; of the result
  const double m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k);
  const double straight = m * k * static_cast<double>(pieces_of(g.n, L)) + (g.b_col == 1 ? 0 : kTurn * n * k);
  const double turned =
      n * k * static_cast<double>(pieces_of(g.m, L)) + (g.a_row == 1 ? 0 : kTurn * m * k) + kFinish * m * n;
  return turned < straight;
}

template <class T>
void run(const Gemm<T>& given) {
  if (given.m <= 0 || given.n <= 0) return;
  const int64_t work = given.m * given.n * given.k;
  const auto finish = [&](int64_t i, int64_t j, int64_t rows, int64_t columns) {
    if (given.epilogue) given.epilogue->apply(given.epilogue->context, i, j, rows, columns);
  };
  if (work <= kTinyWork) {
    plain(given);
    return finish(0, 0, given.m, given.n);
  }
  Gemm<T> g = given;
  if (g.n == 1) g.b_col = 1;  // the stride of a single row or column is never used: take the cheap one
  if (g.m == 1) g.a_row = 1;
  const bool turned = choose_turned(g);
  // Pieces of c: bounded so that copies fit the cache, and cut further for threads.
  constexpr int64_t L = kLanes<T>;
  const int64_t row_unit = turned ? L : kRows, column_unit = turned ? kRows : L;
  int64_t down = pieces_of(g.m, turned ? kTurnedRows : kBlockRows), across = turned ? pieces_of(g.n, kBlockRows) : 1;
  const int64_t threads = work >= kThreadedWork ? num_threads() : 1;
  if (threads > 1) {
    // One piece a thread, or two if they are long enough to be worth the better balance.
    const int64_t wanted = larger(smaller(threads, work / kTaskWork), smaller(2 * threads, work / kLongWork));
    const int64_t factor = pieces_of(wanted, down * across);
    // Straight, cut the longer side, or columns if b must be turned: each row of pieces would turn it again. Turned,
    // cut columns (each core streams its part of b) unless too few are left in a piece to make up for turning a.
    const bool by_columns = turned ? g.n > factor * kTurnedColumns || g.m < factor * L
                                   : g.n > g.m || (g.b_col != 1 && g.n >= factor * kVectors * L);
    (by_columns ? across : down) *= factor;
  }
  if (down * across == 1) {
    if (!(turned ? multiply_turned(g) : multiply(g))) plain(g);
    return finish(0, 0, g.m, g.n);
  }
  const int64_t row_units = pieces_of(g.m, row_unit), column_units = pieces_of(g.n, column_unit);
  down = smaller(down, row_units);
  across = smaller(across, column_units);
  const auto task = [&](int64_t t) {
    const int64_t r = t % down, i = row_units * r / down * row_unit;
    const int64_t q = t / down, j = column_units * q / across * column_unit;
    Gemm<T> piece = g;
    piece.m = smaller(row_units * (r + 1) / down * row_unit, g.m) - i;
    piece.n = smaller(column_units * (q + 1) / across * column_unit, g.n) - j;
    piece.a += i * g.a_row;
    piece.b += j * g.b_col;
    piece.c += i * g.c_row + j;
    if (piece.bias) piece.bias += j;
    if (!(turned ? multiply_turned(piece) : multiply(piece))) plain(piece);
    finish(i, j, piece.m, piece.n);
  };
  if (threads > 1)
    parallel_for(down * across, task);
  else
    for (int64_t t = 0; t < down * across; ++t) task(t);
}

}  // namespace matmul

void gemm_f32(const Gemm<float>& g) { matmul::run(g); }
void gemm_f64(const Gemm<double>& g) { matmul::run(g); }
