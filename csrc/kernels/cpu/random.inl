// Random numbers from Philox (core/philox.h has the layout of a group), 16 blocks at a time.
//
// uniform, bernoulli and dropout give the same bits on every instruction set; normal, which takes a logarithm, on every
// one with a fused multiply-add.

namespace random {

// 64-bit lanes of which the low halves count. A product of low halves is one instruction then, its high half one shift;
// what is left over in the high halves does no harm, because the next product ignores it.
#if defined(__AVX512F__)
inline constexpr int kLanes = 8;
#elif defined(__AVX2__)
inline constexpr int kLanes = 4;
#else
inline constexpr int kLanes = 2;
#endif
typedef uint64_t Lanes __attribute__((vector_size(kLanes * 8)));
typedef uint32_t Halves __attribute__((vector_size(kLanes * 4)));

PN_MATH Lanes product_of_low_halves(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  Lanes p;  // gcc 12 warns of an uninitialised value inside its own _mm512_mul_epu32
  asm("vpmuludq %2, %1, %0" : "=v"(p) : "v"(a), "v"(b));
  return p;
#elif defined(__AVX2__)
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  return (Lanes)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

PN_MATH void store_halves(Lanes v, uint32_t* to) {
  const Halves h = __builtin_convertvector(v, Halves);
  __builtin_memcpy(to, &h, sizeof h);
}

// The words of one group: four rows of 16.
PN_MATH void group(Stream s, uint32_t* w) {
  constexpr int kTogether = 2;  // independent chains hide each other's latency
  const Lanes m0 = Lanes{} + kPhiloxM0, m1 = Lanes{} + kPhiloxM1;
  Lanes count;
  for (int i = 0; i < kLanes; ++i) count[i] = (uint64_t)i;
  for (int first = 0; first < kGroupBlocks; first += kLanes * kTogether) {
    Lanes a[kTogether], b[kTogether], c[kTogether], d[kTogether];
    for (int p = 0; p < kTogether; ++p) {
      a[p] = count + (s.block + (uint64_t)(first + p * kLanes));
      b[p] = a[p] >> 32;
      c[p] = d[p] = Lanes{};
    }
    uint32_t k0 = (uint32_t)s.seed, k1 = (uint32_t)(s.seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < kPhiloxRounds; ++round) {
#pragma GCC unroll 2
      for (int p = 0; p < kTogether; ++p) {
        const Lanes x = product_of_low_halves(a[p], m0), y = product_of_low_halves(c[p], m1);
        a[p] = (y >> 32) ^ b[p] ^ (uint64_t)k0;
        c[p] = (x >> 32) ^ d[p] ^ (uint64_t)k1;
        b[p] = y;
        d[p] = x;
      }
      k0 += kPhiloxW0;
      k1 += kPhiloxW1;
    }
    for (int p = 0; p < kTogether; ++p) {
      uint32_t* to = w + first + p * kLanes;
      store_halves(a[p], to);
      store_halves(b[p], to + kGroupBlocks);
      store_halves(c[p], to + 2 * kGroupBlocks);
      store_halves(d[p], to + 3 * kGroupBlocks);
    }
  }
}

static void words(Stream s, int64_t groups, uint32_t* y) {
  for (int64_t g = 0; g < groups; ++g, s.block += kGroupBlocks, y += kGroupWords) group(s, y);
}

// f(words, index, out) makes the `Each` numbers of one group; the last group may be cut short.
template <int Each, class T, class F>
PN_MATH void draw(Stream s, int64_t n, T* y, const F& f) {
  alignas(64) uint32_t w[kGroupWords];
  int64_t i = 0;
  for (; i + Each <= n; i += Each, s.block += kGroupBlocks) {
    group(s, w);
    f(w, i, y + i);
  }
  if (i == n) return;
  alignas(64) T rest[Each];
  group(s, w);
  f(w, i, rest);
  __builtin_memcpy(y + i, rest, (size_t)(n - i) * sizeof(T));
}

// u in [0, 1): multiples of 2^-24 from a word, of 2^-53 from two.
PN_MATH float unit(uint32_t w) { return (float)(int32_t)(w >> 8) * 0x1p-24f; }
PN_MATH double unit(uint32_t high, uint32_t low) {
  return ((double)(int32_t)(high >> 5) * 0x1p26 + (double)(int32_t)(low >> 6)) * 0x1p-53;
}

template <class T>
PN_MATH T within(T u, T low, T range, T top) {
  const T y = low + u * range;
  return y < top ? y : top;
}

static void uniform(Stream s, int64_t n, float low, float range, float top, float* y) {
  draw<kGroupWords>(s, n, y, [=](const uint32_t* w, int64_t, float* out) {
    for (int k = 0; k < kGroupWords; ++k) out[k] = within(unit(w[k]), low, range, top);
  });
}

static void uniform(Stream s, int64_t n, double low, double range, double top, double* y) {
  draw<kGroupWords / 2>(s, n, y, [=](const uint32_t* w, int64_t, double* out) {
    for (int half = 0; half < 2; ++half)
      for (int k = 0; k < 16; ++k)
        out[16 * half + k] = within(unit(w[32 * half + k], w[32 * half + 16 + k]), low, range, top);
  });
}

// Box and Muller: sqrt(-2 log u) (cos, sin)(2 pi v). u is in (0, 1], so the logarithm is finite.
template <class T>
PN_MATH void polar(T u, T turn, typename Fp<T>::Bits quadrant, T mean, T std, T* a, T* b) {
  const T r = sqrt_(T(-2) * log(u));
  const T x = turn * T(0x1.921fb54442d18p+2), z = x * x;  // 2 pi turn, |x| <= pi / 4
  const T sine = x + x * z * sin_poly(z), cosine = (T(1) - T(0.5) * z) + z * z * cos_poly(z);
  const T c = quadrant & 1 ? sine : cosine, d = quadrant & 1 ? cosine : sine;
  const T cos_sign = ((quadrant + 1) & 2) ? T(-1) : T(1), sin_sign = (quadrant & 2) ? T(-1) : T(1);
  *a = mean + std * (r * (c * cos_sign));
  *b = mean + std * (r * (d * sin_sign));
}

static void normal(Stream s, int64_t n, float mean, float std, float* y) {
  draw<kGroupWords>(s, n, y, [=](const uint32_t* w, int64_t, float* out) {
    for (int half = 0; half < 64; half += 32)
      for (int k = half; k < half + 16; ++k) {
        const float u = ((float)(int32_t)(w[k] >> 1) + 0.5f) * 0x1p-31f;
        const uint32_t v = w[k + 16] >> 8, quadrant = (v + (1u << 21)) >> 22;  // v / 2^24 turns, to the nearest quarter
        const float turn = (float)(int32_t)(v - (quadrant << 22)) * 0x1p-24f;
        polar(u, turn, quadrant, mean, std, &out[k], &out[k + 16]);
      }
  });
}

static void normal(Stream s, int64_t n, double mean, double std, double* y) {
  draw<kGroupWords / 2>(s, n, y, [=](const uint32_t* w, int64_t, double* out) {
    for (int k = 0; k < 16; ++k) {
      const double u = unit(w[k], w[16 + k]) + 0x1p-54;
      const double v = unit(w[32 + k], w[48 + k]), nearest = v * 4 + Fp<double>::magic;
      const double turn = v - (nearest - Fp<double>::magic) * 0.25;
      polar(u, turn, to_bits(nearest), mean, std, &out[k], &out[16 + k]);
    }
  });
}

// All 32 bits take part, so that small probabilities come out right.
template <class T>
static void bernoulli(Stream s, int64_t n, const T* p, T* y) {
  draw<kGroupWords>(s, n, y, [=](const uint32_t* w, int64_t i, T* out) {
    const int m = n - i < kGroupWords ? (int)(n - i) : kGroupWords;
    for (int k = 0; k < m; ++k) {
      const double u = ((double)(int32_t)(w[k] ^ 0x80000000u) + 0x1p31) * 0x1p-32;
      out[k] = u < (double)p[i + k] ? T(1) : T(0);
    }
  });
}

// A dropped element is 0 even where x is infinite or NaN: its bits are masked, which also leaves no branch.
template <class T>
PN_MATH T kept(uint32_t w, uint32_t below, T y) {
  using Bits = typename Fp<T>::Bits;
  const Bits mask = (Bits)((int32_t)(w ^ 0x80000000u) < (int32_t)(below ^ 0x80000000u)) - 1;
  return from_bits<T>(to_bits(y) & mask);
}

template <class T>
static void dropout(Stream s, int64_t n, const T* x, uint32_t below, T scale, T* y) {
  draw<kGroupWords>(s, n, y, [=](const uint32_t* w, int64_t i, T* out) {
    if (n - i >= kGroupWords) {
      for (int k = 0; k < kGroupWords; ++k) out[k] = kept(w[k], below, x[i + k] * scale);
    } else {
      for (int k = 0; k < n - i; ++k) out[k] = kept(w[k], below, x[i + k] * scale);
    }
  });
}

template <class T>
RandomKernels<T> table() {
  RandomKernels<T> k{};
  k.words = &words;
  k.uniform = &uniform;
  k.normal = &normal;
  k.bernoulli = &bernoulli<T>;
  k.dropout = &dropout<T>;
  return k;
}

}  // namespace random
