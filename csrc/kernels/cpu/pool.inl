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
template <class Loose, class Value, class Number, class T>
inline Number max_at(const PoolTaps& s, const T* x, Value& best) {
  const auto value_at = [&](int64_t t) -> Value { return *reinterpret_cast<const Loose*>(x + s.offset[t]); };
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

template <class T>
void max_of_taps(PoolTaps s, int64_t lanes, const T* x, T* y, void* place) {
  constexpr int L = matmul::kLanes<T>;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; ++j) {
      const T* const window = x + r * s.x_row + j * s.x_step;
      const int64_t to = r * s.y_row + j * lanes;
      int64_t l = 0;
      for (; l + L <= lanes; l += L) {
        matmul::V<T> best;
        const Numbers<T> number =
            max_at<typename matmul::Vector<T, L>::loose, matmul::V<T>, Numbers<T>>(s, window + l, best);
        matmul::store<T>(y + to + l, best);
        s.wide ? write(static_cast<int32_t*>(place) + to + l, number)
               : write(static_cast<uint8_t*>(place) + to + l, number);
      }
      for (; l < lanes; ++l) {
        const int32_t number = max_at<T, T, int32_t>(s, window + l, y[to + l]);
        if (s.wide)
          static_cast<int32_t*>(place)[to + l] = number;
        else
          static_cast<uint8_t*>(place)[to + l] = static_cast<uint8_t>(number);
      }
    }
}

template <class T>
void choose_places(PoolTaps s, const T* dy, const void* place, T* dx) {
  constexpr int L = matmul::kLanes<T>;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; ++j)
      for (int64_t l = 0; l < kBatchLanes; l += L) {
        const int64_t from = r * s.y_row + j * kBatchLanes + l;
        const matmul::V<T> g = matmul::load<T>(dy + from);
        Numbers<T> number{};
        s.wide ? read(static_cast<const int32_t*>(place) + from, number)
               : read(static_cast<const uint8_t*>(place) + from, number);
        T* const window = dx + r * s.x_row + j * s.x_step + l;
        for (int64_t t = 0; t < s.taps; ++t)
          matmul::store<T>(window + s.offset[t], number == s.number[t] ? g : matmul::V<T>{});
      }
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
