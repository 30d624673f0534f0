// The matrix product with operands rounded to bfloat16 (8 bits of significand, to nearest, ties to even; subnormal
// numbers become 0) and sums in float32. Included by isa_unit.cpp inside the namespace of one instruction set, after
// matmul.inl.
//
// The order is that of the CPU's own instruction (VDPBF16PS): along k in pairs, the second of a pair first; each
// product is exact and each addition rounded once. An instruction set without it rounds the operands and runs the
// float32 kernel in that order, so the bits are the same wherever there is a fused multiply-add, but for sums that are
// subnormal, which the instruction flushes to 0.
namespace bf16 {

using matmul::pieces_of;
using matmul::round_up;
using matmul::smaller;

static thread_local matmul::Scratch pairs_scratch;  // of whole operands; panels lie in matmul::scratch

constexpr uint32_t kSmallestNormal = 0x00800000u;

inline uint32_t bits_of(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}

// The nearest bfloat16, as the upper half of a word.
inline uint32_t rounded(float x) {
  const uint32_t u = bits_of(x), magnitude = u & 0x7fffffffu;
  const uint32_t near = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  const uint32_t quiet = (u | 0x00400000u) & 0xffff0000u;
  const uint32_t y = magnitude > 0x7f800000u ? quiet : near;
  return magnitude < kSmallestNormal ? u & 0x80000000u : y;
}

// Without the instruction: rounded copies with the two of each pair exchanged, and the float32 kernel on them.
inline void copy_rounded(const float* x, int64_t rows, int64_t row, int64_t k, int64_t step, float* to) {
  const int64_t depth = round_up(k, 2);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t p = 0; p < depth; ++p) {
      const int64_t q = p ^ 1;
      const uint32_t u = q < k ? rounded(x[i * row + q * step]) : 0u;
      __builtin_memcpy(to + i * depth + p, &u, sizeof u);
    }
}

inline void emulate(const Gemm<float>& g) {
  const int64_t depth = round_up(g.k, 2);
  float* a = static_cast<float*>(pairs_scratch.get(static_cast<size_t>((g.m + g.n) * depth + 1) * sizeof(float)));
  if (!a) return matmul::run(g);
  float* b = a + g.m * depth;
  copy_rounded(g.a, g.m, g.a_row, g.k, g.a_col, a);
  copy_rounded(g.b, g.n, g.b_col, g.k, g.b_row, b);
  Gemm<float> h = g;
  h.k = depth;
  h.a = a, h.a_row = depth, h.a_col = 1;
  h.b = b, h.b_row = 1, h.b_col = depth;
  matmul::run(h);
}

#if defined(__AVX512F__)
#define PN_BF16 __attribute__((target("avx512bf16")))

constexpr int64_t kWidth = 48;   // columns of a panel
constexpr int64_t kDepth = 512;  // pairs of a block: a panel of it stays in L2
constexpr int64_t kTaskWork = 1 << 20;

// (The masked forms of two instructions, because gcc 12 warns about its own header's others.)
//
// Pairs along k, of which two rows of x hold the halves (the second one may be absent): to[i] for i < count.
PN_BF16 inline void interleave(const float* x, const float* y, int64_t count, uint32_t* to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 some = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
    const __m512 low = _mm512_maskz_loadu_ps(some, x + i);
    const __m512 high = y ? _mm512_maskz_loadu_ps(some, y + i) : _mm512_setzero_ps();
    const __m512i l = _mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)_mm512_cvtneps_pbh(low));
    const __m512i h = _mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)_mm512_cvtneps_pbh(high));
    _mm512_mask_storeu_epi32(to + i, some, _mm512_or_si512(l, _mm512_maskz_slli_epi32(0xffff, h, 16)));
  }
}

// Pairs of k dense elements.
PN_BF16 inline void convert(const float* x, int64_t k, uint32_t* to) {
  for (int64_t p = 0; p < k; p += 32) {
    const int64_t left = k - p;
    const __mmask16 first = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __mmask16 second = left >= 32  ? 0xffff
                             : left > 16 ? static_cast<__mmask16>((1u << (left - 16)) - 1)
                                         : static_cast<__mmask16>(0);
    const __m512 low = _mm512_maskz_loadu_ps(first, x + p);
    const __m512 high = second ? _mm512_maskz_loadu_ps(second, x + p + 16) : _mm512_setzero_ps();
    const int64_t pairs = left >= 32 ? 16 : (left + 1) / 2;
    _mm512_mask_storeu_epi32(to + p / 2, static_cast<__mmask16>((1u << pairs) - 1),
                             (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

inline uint32_t pair(const float* x, int64_t step, int64_t p, int64_t k) {
  return rounded(x[p * step]) >> 16 | (p + 1 < k ? rounded(x[(p + 1) * step]) : 0u);
}

// A whole operand in pairs: pair p of row i at to[i * row + p * step].
struct Pairs {
  uint32_t* data;
  int64_t row, step;
};

PN_BF16 inline void fill_rows(const Gemm<float>& g, const Pairs& to, int64_t low, int64_t high) {
  if (g.a_col == 1)
    for (int64_t i = low; i < high; ++i) convert(g.a + i * g.a_row, g.k, to.data + i * to.row);
  else
    for (int64_t i = low; i < high; ++i)
      for (int64_t p = 0; p < g.k; p += 2)
        to.data[i * to.row + p / 2 * to.step] = pair(g.a + i * g.a_row, g.a_col, p, g.k);
}

PN_BF16 inline void fill_pairs(const Gemm<float>& g, const Pairs& to, int64_t low, int64_t high) {
  for (int64_t p = low; p < high; ++p) {
    const float* x = g.a + 2 * p * g.a_col;
    interleave(x, 2 * p + 1 < g.k ? x + g.a_col : nullptr, g.m, to.data + p * to.step);
  }
}

// Pairs [low, low + depth) of columns [j, j + columns) of b, in rows of `width` words.
PN_BF16 inline void fill_panel(const Gemm<float>& g, int64_t low, int64_t depth, int64_t j, int64_t columns,
                               int64_t width, uint32_t* to, uint32_t* line) {
  if (g.b_col == 1) {
    for (int64_t p = 0; p < depth; ++p) {
      const int64_t q = 2 * (low + p);
      const float* x = g.b + q * g.b_row + j;
      interleave(x, q + 1 < g.k ? x + g.b_row : nullptr, columns, to + p * width);
    }
    return;
  }
  const int64_t elements = smaller(2 * depth, g.k - 2 * low);
  for (int64_t c = 0; c < columns; ++c) {
    const float* x = g.b + 2 * low * g.b_row + (j + c) * g.b_col;
    if (g.b_row == 1)
      convert(x, elements, line + c * depth);
    else
      for (int64_t p = 0; p < depth; ++p) line[c * depth + p] = pair(x, g.b_row, 2 * p, elements);
  }
  // Words are moved as they are, whatever number they would be as a float.
  matmul::transpose<float, 16, true>(reinterpret_cast<const float*>(line), depth, reinterpret_cast<float*>(to), width,
                                     columns, depth);
}

// c (R, 16 N) = a (R, depth pairs) * panel [+ c] [+ bias]
template <int R, int N>
PN_BF16 void tile(int64_t depth, const uint32_t* a, int64_t row, int64_t step, const uint32_t* b, float* c,
                  int64_t c_row, int lanes, bool go_on, const float* bias) {
  const __mmask16 last = static_cast<__mmask16>((1u << lanes) - 1);
  __m512 sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v)
      sum[r][v] =
          go_on ? _mm512_maskz_loadu_ps(v < N - 1 ? 0xffff : last, c + r * c_row + v * 16) : _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int64_t p = 0; p < depth; ++p, a += step, b += 16 * N) {
    __m512bh y[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) y[v] = (__m512bh)_mm512_loadu_si512(b + v * 16);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[r * row]));
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], x, y[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    const __mmask16 some = v < N - 1 ? 0xffff : last;
    const __m512 added = bias ? _mm512_maskz_loadu_ps(some, bias + v * 16) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
      _mm512_mask_storeu_ps(c + r * c_row + v * 16, some, bias ? _mm512_add_ps(sum[r][v], added) : sum[r][v]);
  }
}

using Tile = void (*)(int64_t, const uint32_t*, int64_t, int64_t, const uint32_t*, float*, int64_t, int, bool,
                      const float*);
constexpr int kRows = 8;
template <int... I>
inline Tile tile_of(int which, matmul::Sequence<I...>) {
  static constexpr Tile tiles[] = {&tile<I / 3 + 1, I % 3 + 1>...};
  return tiles[which];
}

inline void multiply(const Gemm<float>& g) {
  const int64_t pairs = (g.k + 1) / 2;
  const bool across = g.a_row == 1 && g.a_col != 1;  // the rows of a stand together
  const int64_t stride = round_up(across ? g.m : pairs, 16) + 16;
  const int64_t panels = pieces_of(g.n, kWidth), work = g.m * g.n * g.k;
  const bool threaded = work >= 2 * kTaskWork;
  uint32_t* memory = static_cast<uint32_t*>(
      pairs_scratch.get(static_cast<size_t>((across ? pairs : g.m) * stride) * sizeof(uint32_t)));
  if (!memory) return emulate(g);
  const Pairs a = {memory, across ? 1 : stride, across ? stride : 1};
  constexpr int64_t kTogether = 64;
  const int64_t lines = across ? pairs : g.m;
  const auto fill = [&](int64_t t) {
    const int64_t low = t * kTogether, high = smaller(low + kTogether, lines);
    across ? fill_pairs(g, a, low, high) : fill_rows(g, a, low, high);
  };
  const auto over = [&](int64_t tasks, const auto& task) {
    if (threaded)
      parallel_for(tasks, task);
    else
      for (int64_t t = 0; t < tasks; ++t) task(t);
  };
  over(pieces_of(lines, kTogether), fill);
  // Few panels are cut by rows as well.
  const int64_t strips = pieces_of(g.m, kRows);
  const int64_t down = threaded && panels < 8 ? smaller(strips, pieces_of(8, panels)) : 1;
  const auto block = [&](int64_t t) {
    const int64_t j = t / down * kWidth, columns = smaller(kWidth, g.n - j), vectors = pieces_of(columns, 16);
    const int64_t first = strips * (t % down) / down, last = strips * (t % down + 1) / down;
    const int64_t depth_most = smaller(kDepth, pairs);
    uint32_t* panel = static_cast<uint32_t*>(
        matmul::scratch.get(static_cast<size_t>(2 * kWidth * (depth_most + 16) + 64) * sizeof(uint32_t)));
    if (!panel) return false;
    uint32_t* line = panel + kWidth * (depth_most + 16);
    const int lanes = static_cast<int>(columns - (vectors - 1) * 16);
    for (int64_t low = 0; low < pairs || low == 0; low += kDepth) {
      const int64_t depth = smaller(kDepth, pairs - low);
      fill_panel(g, low, depth, j, columns, vectors * 16, panel, line);
      const bool end = low + depth >= pairs;
      for (int64_t s = first; s < last; ++s) {
        const int64_t i = g.m * s / strips, rows = g.m * (s + 1) / strips - i;
        tile_of(static_cast<int>((rows - 1) * 3 + vectors - 1), typename matmul::Count<kRows * 3>::type{})(
            depth, a.data + i * a.row + low * a.step, a.row, a.step, panel, g.c + i * g.c_row + j, g.c_row, lanes,
            low > 0 || g.accumulate, end && g.bias ? g.bias + j : nullptr);
      }
    }
    const int64_t i = g.m * first / strips, rows = g.m * last / strips - i;
    if (g.epilogue) g.epilogue->apply(g.epilogue->context, i, j, rows, columns);
    return true;
  };
  int failed = 0;
  over(panels * down, [&](int64_t t) {
    if (!block(t)) __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
  });
  if (failed) emulate(g);
}
#endif

inline bool has_instruction() {
#if defined(__AVX512F__)
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

inline void run(const Gemm<float>& g) {
  if (g.m <= 0 || g.n <= 0) return;
#if defined(__AVX512F__)
  if (has_instruction()) return multiply(g);
#endif
  emulate(g);
}

}  // namespace bf16

void gemm_bf16(const Gemm<float>& g) { bf16::run(g); }
