// Pooling, planes side by side as lanes. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction
// set.
namespace pool {

// What comparing vectors gives: integers as wide as the elements, which are numbers of taps here.
template <class T>
using Numbers = decltype(matmul::V<T>{} < matmul::V<T>{});

// A vector of numbers to and from places. Bytes are left to the instructions for it where there are any: GCC takes its
// own conversions apart, element by element. GCC 12 warns of an uninitialised value inside those without a mask.
template <class P, class N>
inline void write(P* place, N number) {
  typedef P Packed __attribute__((vector_size(sizeof(P) * sizeof(N) / sizeof(number[0]))));
  const Packed packed = __builtin_convertvector(number, Packed);
  __builtin_memcpy(place, &packed, sizeof packed);
}
template <class P, class N>
inline void read(const P* place, N& number) {
  for (size_t l = 0; l < sizeof(N) / sizeof(number[0]); ++l) number[l] = place[l];
}
#if defined(__AVX512F__)
inline void write(uint8_t* place, Numbers<float> number) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(place), _mm512_maskz_cvtepi32_epi8((__mmask16)-1, (__m512i)number));
}
inline void write(uint8_t* place, Numbers<double> number) {
  _mm_storeu_si64(place, _mm512_maskz_cvtepi64_epi8((__mmask8)-1, (__m512i)number));
}
inline void read(const uint8_t* place, Numbers<float>& number) {
  number = (Numbers<float>)_mm512_maskz_cvtepu8_epi32((__mmask16)-1,
                                                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(place)));
}
inline void read(const uint8_t* place, Numbers<double>& number) {
  number = (Numbers<double>)_mm512_maskz_cvtepu8_epi64((__mmask8)-1, _mm_loadu_si64(place));
}
#elif defined(__AVX2__)
template <class N>
inline void write(uint8_t* place, N number) {
  const __m256i all = (__m256i)number;
  const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  __m128i bytes = _mm_packus_epi16(shorts, shorts);
  if (sizeof(number[0]) == 8) bytes = _mm_packus_epi16(bytes, bytes);
  __builtin_memcpy(place, &bytes, sizeof(N) / sizeof(number[0]));
}
inline void read(const uint8_t* place, Numbers<float>& number) {
  number = (Numbers<float>)_mm256_cvtepu8_epi32(_mm_loadu_si64(place));
}
inline void read(const uint8_t* place, Numbers<double>& number) {
  number = (Numbers<double>)_mm256_cvtepu8_epi64(_mm_loadu_si32(place));
}
#endif

// A window's largest element and its number, a vector of lanes or one; without branches, because which of random
// numbers is larger cannot be foretold.
template <class Number, class Value, class T>
inline Number max_at(const PoolTaps& s, const T* x, Value& best) {
  const auto value_at = [&](int64_t t) {
    Value v;
    __builtin_memcpy(&v, x + s.offset[t], sizeof v);
    return v;
  };
  best = value_at(0);
  Number number = Number{} + s.number[0];
  for (int64_t t = 1; t < s.taps; ++t) {
    const Value v = value_at(t);
    const auto take = (v > best) | (v != v);
    best = take ? v : best;
    number = take ? Number{} + s.number[t] : number;
  }
  return number;
}

// Whether an element is NaN.
template <class T>
inline bool has_nan(matmul::V<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
  else
    return _mm512_cmp_pd_mask((__m512d)v, (__m512d)v, _CMP_UNORD_Q);
#else
  const auto nan = v != v;
  bool any = false;
  for (int l = 0; l < matmul::kLanes<T>; ++l) any |= nan[l] != 0;
  return any;
#endif
}

// The same for W windows, x_step apart, which need not wait for each other. A maximum is then one instruction and its
// number one comparison, which holds if no element is NaN. Adds the windows' elements to `sum`, which tells that. Taps:
// how many there are, or 0 for any number.
template <int W, int Taps, class P, class T>
inline void max_of_windows(const PoolTaps& s, int64_t lanes, const T* x, T* y, P* place, matmul::V<T>& sum) {
  const int64_t taps = Taps ? Taps : s.taps;
  const auto value_at = [&](int w, int64_t t) { return matmul::load<T>(x + w * s.x_step + s.offset[t]); };
  matmul::V<T> best[W], sums[W];
  Numbers<T> number[W];
#pragma GCC unroll 4
  for (int w = 0; w < W; ++w) best[w] = sums[w] = value_at(w, 0), number[w] = Numbers<T>{} + s.number[taps - 1];
#pragma GCC unroll 4
  for (int64_t t = 1; t < taps; ++t)
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) {
      const matmul::V<T> v = value_at(w, t);
      best[w] = v > best[w] ? v : best[w];
      sums[w] += v;
    }
#pragma GCC unroll 4
  for (int64_t t = taps - 2; t >= 0; --t)
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) number[w] = value_at(w, t) == best[w] ? Numbers<T>{} + s.number[t] : number[w];
#pragma GCC unroll 4
  for (int w = 0; w < W; ++w) {
    matmul::store<T>(y + w * lanes, best[w]);
    write(place + w * lanes, number[w]);
    sum += sums[w];
  }
}

template <int Taps, class P, class T>
inline void maxima(const PoolTaps& s, int64_t lanes, const T* x, T* y, P* place) {
  constexpr int L = matmul::kLanes<T>;
  constexpr int kTogether = Taps ? 4 : 1;
  for (int64_t r = 0; r < s.rows; ++r, x += s.x_row, y += s.y_row, place += s.y_row) {
    int64_t l = 0;
    for (; l + L <= lanes; l += L) {
      matmul::V<T> sum{};
      int64_t j = 0;
      for (; kTogether > 1 && j + kTogether <= s.n; j += kTogether)
        max_of_windows<kTogether, Taps>(s, lanes, x + j * s.x_step + l, y + j * lanes + l, place + j * lanes + l, sum);
      for (; j < s.n; ++j)
        max_of_windows<1, Taps>(s, lanes, x + j * s.x_step + l, y + j * lanes + l, place + j * lanes + l, sum);
      for (j = has_nan<T>(sum) ? 0 : s.n; j < s.n; ++j) {
        matmul::V<T> best;
        const Numbers<T> number = max_at<Numbers<T>>(s, x + j * s.x_step + l, best);
        matmul::store<T>(y + j * lanes + l, best);
        write(place + j * lanes + l, number);
      }
    }
    for (; l < lanes; ++l)
      for (int64_t j = 0; j < s.n; ++j)
        place[j * lanes + l] = static_cast<P>(max_at<int32_t>(s, x + j * s.x_step + l, y[j * lanes + l]));
  }
}
template <class T>
void max_of_taps(PoolTaps s, int64_t lanes, const T* x, T* y, void* place) {
  if (s.wide) return maxima<0>(s, lanes, x, y, static_cast<int32_t*>(place));
  s.taps == 4 ? maxima<4>(s, lanes, x, y, static_cast<uint8_t*>(place))
              : maxima<0>(s, lanes, x, y, static_cast<uint8_t*>(place));
}

template <int Taps, class P, class T>
inline void choose(const PoolTaps& s, const T* dy, const P* place, T* dx) {
  constexpr int L = matmul::kLanes<T>;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t l = 0; l < kBatchLanes; l += L)
      for (int64_t j = 0; j < s.n; ++j) {
        const int64_t from = r * s.y_row + j * kBatchLanes + l;
        const matmul::V<T> g = matmul::V<T>{} + matmul::load<T>(dy + from);  // 0 for -0, as a sum has it
        Numbers<T> number{};
        read(place + from, number);
        T* const window = dx + r * s.x_row + j * s.x_step + l;
        const auto put = [&](int64_t t) {
          matmul::store<T>(window + s.offset[t], number == s.number[t] ? g : matmul::V<T>{});
        };
        if constexpr (Taps == 4)
          put(0), put(1), put(2), put(3);
        else
          for (int64_t t = 0; t < s.taps; ++t) put(t);
      }
}
template <class T>
void choose_places(PoolTaps s, const T* dy, const void* place, T* dx) {
  if (s.wide) return choose<0>(s, dy, static_cast<const int32_t*>(place), dx);
  s.taps == 4 ? choose<4>(s, dy, static_cast<const uint8_t*>(place), dx)
              : choose<0>(s, dy, static_cast<const uint8_t*>(place), dx);
}

// A place that no maximum has, which only the caller of an op by itself can make up, is passed over.
template <class P, class T>
inline void add(const PoolPlaces& s, int64_t planes, int64_t lanes, const T* dy, const P* place, T* dx) {
  const int64_t size = s.size * lanes;
  for (int64_t p = 0; p < planes; ++p, dx += size)
    for (int64_t r = 0; r < s.rows; ++r, dy += s.n * lanes, place += s.n * lanes) {
      const auto one = [&](int64_t i, int64_t j, int64_t lane) {
        if (static_cast<uint64_t>(place[i]) >= static_cast<uint64_t>(s.taps)) return;
        const int64_t at = s.row[r] + s.column[j] + s.offset[place[i]] + lane;
        if (at < size) dx[at] += dy[i];
      };
      if (lanes == 1)
        for (int64_t j = 0; j < s.n; ++j) one(j, j, 0);
      else
        for (int64_t i = 0; i < s.n * lanes; ++i) one(i, i / kBatchLanes, i % kBatchLanes);
    }
}
template <class T>
void add_places(PoolPlaces s, int64_t planes, int64_t lanes, const T* dy, const void* place, T* dx) {
  s.wide ? add(s, planes, lanes, dy, static_cast<const int32_t*>(place), dx)
         : add(s, planes, lanes, dy, static_cast<const uint8_t*>(place), dx);
}

template <class T>
void max_of_squares(const MaxOfSquares<T>& s) {
  constexpr int L = matmul::kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; j += L) {
      const int64_t left = 2 * (s.n - j);
      matmul::V<T> best;
      Numbers<T> number{};
      const auto take = [&](matmul::V<T> v, int k) {
        const auto better = (v > best) | (v != v);
        best = better ? v : best;
        number = better ? Numbers<T>{} + k : number;
      };
      for (int i = 0; i < 2; ++i) {
        const T* x = s.x + (2 * r + i) * s.x_row + 2 * j;
        const auto a = matmul::load_part(x, conv::lanes_of<T>(left, 0));
        const auto b = matmul::load_part(x + L, conv::lanes_of<T>(left, L));
        const auto even = conv::every_other<T, 0>(a, b, lanes);
        if (i == 0)
          best = even;
        else
          take(even, 2);
        take(conv::every_other<T, 1>(a, b, lanes), 2 * i + 1);
      }
      const int64_t to = r * s.n + j;
      if (s.rows * s.n - to >= L) {  // what goes beyond the row's end, the next row writes anew
        matmul::store<T>(s.y + to, best);
        write(s.place + to, number);
        continue;
      }
      uint8_t place[L];
      write(place, number);
      for (int l = 0; l < conv::lanes_of<T>(s.n, j); ++l) s.y[to + l] = best[l], s.place[to + l] = place[l];
    }
}

template <class P>
inline void spread(int64_t i, int64_t n, int64_t lanes, const void* place, void* to, int64_t row) {
  for (; i < n; ++i)
    for (int64_t l = 0; l < lanes; ++l) static_cast<P*>(to)[l * row + i] = static_cast<const P*>(place)[i * lanes + l];
}
// Bytes go 16 by 16: rows and columns change places in four rounds, each of which merges row k with row k + 8.
inline void spread_places(bool wide, int64_t n, int64_t lanes, const void* place, void* to, int64_t row) {
  if (wide) return spread<int32_t>(0, n, lanes, place, to, row);
  using Row = matmul::Vector<uint8_t, kBatchLanes>;
  int64_t i = 0;
  for (; lanes == kBatchLanes && i + kBatchLanes <= n; i += kBatchLanes) {
    typename Row::type a[kBatchLanes], b[kBatchLanes];
    __builtin_memcpy(a, static_cast<const uint8_t*>(place) + i * lanes, sizeof a);
    for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
      for (int k = 0; k < kBatchLanes / 2; ++k) {
        b[2 * k] = __builtin_shufflevector(a[k], a[k + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        b[2 * k + 1] =
            __builtin_shufflevector(a[k], a[k + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
      __builtin_memcpy(a, b, sizeof a);
    }
    for (int64_t l = 0; l < lanes; ++l)
      *reinterpret_cast<typename Row::loose*>(static_cast<uint8_t*>(to) + l * row + i) = a[l];
  }
  spread<uint8_t>(i, n, lanes, place, to, row);
}

template <class T>
PoolKernels<T> table() {
  return {&max_of_taps<T>, &max_of_squares<T>, &choose_places<T>, &add_places<T>, &spread_places};
}

}  // namespace pool
