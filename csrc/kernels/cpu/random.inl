// Random numbers from Philox (core/philox.h has the layout of a group).
//
// uniform, bernoulli and keep_bits give the same bits on every instruction set; normal, which takes a logarithm, on
// every one with a fused multiply-add.

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
typedef uint32_t Words __attribute__((vector_size(kLanes * 8)));

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

PN_MATH void store_low_halves(Lanes x, Lanes y, uint32_t* to) {
#if defined(__AVX512F__)
  const Words w =
      __builtin_shufflevector((Words)x, (Words)y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif defined(__AVX2__)
  const Words w = __builtin_shufflevector((Words)x, (Words)y, 0, 2, 4, 6, 8, 10, 12, 14);
#else
  const Words w = __builtin_shufflevector((Words)x, (Words)y, 0, 2, 4, 6);
#endif
  __builtin_memcpy(to, &w, sizeof w);
}

// The keys of all rounds.
struct Keys {
  Lanes k[kPhiloxRounds][2];
  explicit Keys(uint64_t seed) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round, k0 += kPhiloxW0, k1 += kPhiloxW1)
      k[round][0] = Lanes{} + (uint64_t)k0, k[round][1] = Lanes{} + (uint64_t)k1;
  }
};

// The words of kTogether kLanes blocks: whole groups, or a part of one. Independent chains hide each other's latency.
template <int kTogether>
PN_MATH void blocks(uint64_t block, const Keys& keys, uint32_t* w) {
  const Lanes m0 = Lanes{} + kPhiloxM0, m1 = Lanes{} + kPhiloxM1;
  Lanes count;
  for (int i = 0; i < kLanes; ++i) count[i] = (uint64_t)i;
  Lanes a[kTogether], b[kTogether], c[kTogether], d[kTogether];
#pragma GCC unroll 8
  for (int p = 0; p < kTogether; ++p) {  // the first round, of two words that are 0
    const Lanes n = count + (block + (uint64_t)(p * kLanes));
    d[p] = product_of_low_halves(n, m0);
    a[p] = (n >> 32) ^ keys.k[0][0];
    c[p] = (d[p] >> 32) ^ keys.k[0][1];
    b[p] = Lanes{};
  }
#pragma GCC unroll 10
  for (int round = 1; round < kPhiloxRounds; ++round) {
#pragma GCC unroll 8
    for (int p = 0; p < kTogether; ++p) {
      const Lanes x = product_of_low_halves(a[p], m0), y = product_of_low_halves(c[p], m1);
      a[p] = (y >> 32) ^ b[p] ^ keys.k[round][0];
      c[p] = (x >> 32) ^ d[p] ^ keys.k[round][1];
      b[p] = y;
      d[p] = x;
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kTogether; p += 2) {
    uint32_t* to = w + p * kLanes / kGroupBlocks * kGroupWords + p * kLanes % kGroupBlocks;
    store_low_halves(a[p], a[p + 1], to);
    store_low_halves(b[p], b[p + 1], to + kGroupBlocks);
    store_low_halves(c[p], c[p + 1], to + 2 * kGroupBlocks);
    store_low_halves(d[p], d[p + 1], to + 3 * kGroupBlocks);
  }
}

// As many chains as there are registers for.
#if defined(__AVX512F__)
inline constexpr int kTogether = 6;
#elif defined(__AVX2__)
inline constexpr int kTogether = 4;
#else
inline constexpr int kTogether = 2;
#endif

static void words(Stream s, int64_t groups, uint32_t* y) {
  const Keys keys(s.seed);
  constexpr int kGroups = kTogether * kLanes / kGroupBlocks;
  if constexpr (kGroups > 1)
    for (; groups >= kGroups; groups -= kGroups, s.block += kGroups * kGroupBlocks, y += kGroups * kGroupWords)
      blocks<kTogether>(s.block, keys, y);
  constexpr int kChains = kGroups > 1 ? kGroupBlocks / kLanes : kTogether;
  for (; groups > 0; --groups, s.block += kGroupBlocks, y += kGroupWords)
    for (int first = 0; first < kGroupBlocks; first += kChains * kLanes)
      blocks<kChains>(s.block + (uint64_t)first, keys, y + first);
}

// f(words, groups, first group) takes the words of so many groups, a few at a time, which stay in L1.
template <class F>
PN_MATH void in_batches(Stream s, int64_t groups, const F& f) {
  constexpr int64_t kBatch = 24;
  alignas(64) uint32_t w[kBatch * kGroupWords];
  for (int64_t g = 0; g < groups; g += kBatch, s.block += kBatch * kGroupBlocks) {
    const int64_t m = groups - g < kBatch ? groups - g : kBatch;
    words(s, m, w);
    f(w, m, g);
  }
}

// f(words, index, out) makes the `Each` numbers of one group; the last group may be cut short.
template <int Each, class T, class F>
PN_MATH void draw(Stream s, int64_t n, T* y, const F& f) {
  in_batches(s, (n + Each - 1) / Each, [&](const uint32_t* w, int64_t groups, int64_t first) {
    for (int64_t i = first * Each; groups > 0; --groups, i += Each, w += kGroupWords) {
      alignas(64) T rest[Each];
      const bool whole = i + Each <= n;
      f(w, i, whole ? y + i : rest);
      if (!whole) __builtin_memcpy(y + i, rest, (size_t)(n - i) * sizeof(T));
    }
  });
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

// Bit i: is w[i] at least `limit`?
PN_MATH uint64_t reaching(const uint32_t* w, uint32_t limit) {
  uint64_t bits = 0;
#if defined(__AVX512F__)
  for (int i = 0; i < kGroupWords; i += 16)
    bits |= (uint64_t)_mm512_cmpge_epu32_mask(_mm512_load_si512(w + i), _mm512_set1_epi32((int)limit)) << i;
#elif defined(__AVX2__)
  const __m256i least = _mm256_set1_epi32((int)limit);
  for (int i = 0; i < kGroupWords; i += 8) {
    const __m256i v = _mm256_load_si256((const __m256i*)(w + i));
    const __m256i is = _mm256_cmpeq_epi32(_mm256_max_epu32(v, least), v);
    bits |= (uint64_t)(uint32_t)_mm256_movemask_ps((__m256)is) << i;
  }
#else
  for (int i = 0; i < kGroupWords; ++i) bits |= (uint64_t)(w[i] >= limit) << i;
#endif
  return bits;
}

static void mask(Stream s, int64_t groups, uint32_t below, uint8_t* y) {
  in_batches(s, groups, [=](const uint32_t* w, int64_t m, int64_t first) {
    for (int64_t g = 0; g < m; ++g) {
      const uint64_t bits = reaching(w + g * kGroupWords, below);
      __builtin_memcpy(y + (first + g) * 8, &bits, 8);
    }
  });
}

// Squares of 16 images by 16 places, many side by side, are transposed by swapping ever smaller halves of them.
static void turn_mask(int64_t n, const uint8_t* bits, int64_t first, int64_t step, uint8_t* y) {
  constexpr int kWords = 8, kPlaces = 64 * kWords, kSquares = kPlaces / 16;
  for (int64_t i = 0; i < n; i += kPlaces) {
    const int64_t m = n - i < kPlaces ? n - i : kPlaces;
    alignas(64) uint64_t words[kBatchLanes][kWords];
    for (int l = 0; l < kBatchLanes; ++l) {
      const int64_t at = first + l * step + i, off = at & 7;
      uint64_t w[kWords + 1] = {};
      if (m == kPlaces)
        __builtin_memcpy(w, bits + (at >> 3), sizeof w);
      else
        __builtin_memcpy(w, bits + (at >> 3), (size_t)(m + off + 7) / 8);
      for (int k = 0; k < kWords; ++k) words[l][k] = w[k] >> off | w[k + 1] << 1 << (63 - off);
    }
    alignas(64) uint16_t row[kBatchLanes][kSquares], turned[kPlaces];
    __builtin_memcpy(row, words, sizeof row);
    for (int half = 8, mask = 0xff; half > 0; half /= 2, mask ^= mask << half)
      for (int l = 0; l < kBatchLanes; ++l)
        if (!(l & half))
          for (int k = 0; k < kSquares; ++k) {
            const uint16_t swapped = (uint16_t)((row[l][k] >> half ^ row[l + half][k]) & mask);
            row[l + half][k] ^= swapped;
            row[l][k] ^= (uint16_t)(swapped << half);
          }
    for (int l = 0; l < kBatchLanes; ++l)
      for (int k = 0; k < kSquares; ++k) turned[k * 16 + l] = row[l][k];
    __builtin_memcpy(y + 2 * i, turned, (size_t)m * 2);
  }
}

template <class T>
static void dropout(const Dropout<T>& d, int64_t at, int64_t n, const T* x, const uint8_t* bits, T* y) {
  const T low = d.low, scale = d.scale, shift = d.shift;
  if (d.each > 1) {
    for (int64_t i = 0; i < n;) {
      const int64_t bit = (at + i) / d.each, next = (bit + 1) * d.each - at, end = next < n ? next : n;
      const bool keep = bits[bit >> 3] >> (bit & 7) & 1;
      for (; i < end; ++i) y[i] = (keep ? x[i] : low) * scale + shift;
    }
    return;
  }
  constexpr int kTogether = 32;
  for (int64_t i = 0; i < n; i += kTogether) {
    uint64_t eight_bytes;
    __builtin_memcpy(&eight_bytes, bits + ((at + i) >> 3), 8);
    const uint32_t m = (uint32_t)(eight_bytes >> ((at + i) & 7));
    if (n - i >= kTogether)
      for (int k = 0; k < kTogether; ++k) y[i + k] = (m & 1u << k ? x[i + k] : low) * scale + shift;
    else
      for (int k = 0; k < n - i; ++k) y[i + k] = (m & 1u << k ? x[i + k] : low) * scale + shift;
  }
}

template <class T>
RandomKernels<T> table() {
  RandomKernels<T> k{};
  k.words = &words;
  k.uniform = &uniform;
  k.normal = &normal;
  k.bernoulli = &bernoulli<T>;
  k.mask = &mask;
  k.turn_mask = &turn_mask;
  k.dropout = &dropout<T>;
  return k;
}

}  // namespace random
