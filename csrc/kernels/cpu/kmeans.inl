// The vector loops of k-means. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
//
// Products with few centres run with vectors along the features, because filling lanes with centres would leave most of
// them empty. Their bits depend on the instruction set; the labels made of them do not, for whoever calls decides all
// that is close by squared_distance, whose order is fixed.
namespace kmeans {

using matmul::load;
using matmul::load_part;
using matmul::multiply_add;
template <class T>
using V = matmul::V<T>;
template <class T>
constexpr int kLanes = matmul::kLanes<T>;
typedef matmul::Vector<double, 8>::type Eight;

constexpr int kPairs = matmul::kIsa.rows >= 7 ? 2 : 1;    // rows at a time: what the registers hold
constexpr int kChunk = matmul::kIsa.bytes == 64 ? 8 : 4;  // vectors of eight sums that stay in registers
constexpr int64_t kAheadRows = 4;                         // rows between what is computed and what is fetched

// The halves are picked by name, not by address: an address would force every sum of a tile into memory.
template <class T, int L, int... I>
inline T total_of(typename matmul::Vector<T, L>::type v, matmul::Sequence<I...>);
template <class T, int L>
inline T total(typename matmul::Vector<T, L>::type v) {
  if constexpr (L == 1)
    return v[0];
  else
    return total_of<T, L>(v, typename matmul::Count<L / 2>::type{});
}
template <class T, int L, int... I>
inline T total_of(typename matmul::Vector<T, L>::type v, matmul::Sequence<I...>) {
  if constexpr (L == 2)
    return v[0] + v[1];
  else
    return total<T, L / 2>(__builtin_shufflevector(v, v, I...) + __builtin_shufflevector(v, v, (I + L / 2)...));
}

// Makes the compiler load v once: it likes to repeat the load in each product that uses it, and loads limit a tile.
template <class V>
inline void in_register([[maybe_unused]] V& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#endif
}

// R rows with N centres.
template <class T, int R, int N>
void score_tile(const T* x, int64_t x_row, const T* c, int64_t c_row, int64_t d, const T* bias, T* out, int64_t k) {
  constexpr int L = kLanes<T>;
  V<T> sum[R][N];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 10
    for (int j = 0; j < N; ++j) sum[r][j] = V<T>{};
  int64_t p = 0;
#pragma GCC unroll 1
  for (; p + L <= d; p += L) {
    V<T> row[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      row[r] = load<T>(x + r * x_row + p);
      // Into L2 only: ten centres of many features fill L1, and rows fetched early would drive them out.
      __builtin_prefetch(x + (r + kAheadRows) * x_row + p, 0, 2);
    }
#pragma GCC unroll 10
    for (int j = 0; j < N; ++j) {
      V<T> centre = load<T>(c + j * c_row + p);
      in_register(centre);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) sum[r][j] = multiply_add(row[r], centre, sum[r][j]);
    }
  }
  if (p < d) {
    const int rest = static_cast<int>(d - p);
    V<T> row[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) row[r] = load_part(x + r * x_row + p, rest);
#pragma GCC unroll 10
    for (int j = 0; j < N; ++j) {
      const V<T> centre = load_part(c + j * c_row + p, rest);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) sum[r][j] = multiply_add(row[r], centre, sum[r][j]);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 10
    for (int j = 0; j < N; ++j) out[r * k + j] = total<T, L>(sum[r][j]) + bias[j];
}

// Tiles of 10, 5, 2 and 1 centres cover every number without many copies of the code.
template <class T, int R>
void score_rows(const T* x, int64_t x_row, const T* c, int64_t c_row, int64_t k, int64_t d, const T* bias, T* out) {
  int64_t j = 0;
  for (; j + 10 <= k; j += 10) score_tile<T, R, 10>(x, x_row, c + j * c_row, c_row, d, bias + j, out + j, k);
  for (; j + 5 <= k; j += 5) score_tile<T, R, 5>(x, x_row, c + j * c_row, c_row, d, bias + j, out + j, k);
  for (; j + 2 <= k; j += 2) score_tile<T, R, 2>(x, x_row, c + j * c_row, c_row, d, bias + j, out + j, k);
  for (; j < k; ++j) score_tile<T, R, 1>(x, x_row, c + j * c_row, c_row, d, bias + j, out + j, k);
}

template <class T>
void scores(const T* x, int64_t x_row, int64_t rows, const T* c, int64_t c_row, int64_t k, int64_t d, const T* bias,
            T* out) {
  int64_t r = 0;
  for (; r + kPairs <= rows; r += kPairs)
    score_rows<T, kPairs>(x + r * x_row, x_row, c, c_row, k, d, bias, out + r * k);
  if constexpr (kPairs > 1)
    for (; r < rows; ++r) score_rows<T, 1>(x + r * x_row, x_row, c, c_row, k, d, bias, out + r * k);
}

// N centres in C chains each: fewer than eight chains would wait for each other.
template <class T, int N, int C>
void score_some(const T* x, const T* c, int64_t c_row, const int32_t* which, int64_t count, int64_t d, const T* bias,
                T* out) {
  constexpr int L = kLanes<T>;
  const T* centre[N];
  V<T> sum[N][C];
#pragma GCC unroll 4
  for (int j = 0; j < N; ++j) {
    centre[j] = c + which[j < count ? j : 0] * c_row;
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) sum[j][v] = V<T>{};
  }
  int64_t p = 0;
#pragma GCC unroll 1
  for (; p + C * L <= d; p += C * L)
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) {
      const V<T> row = load<T>(x + p + v * L);
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[j][v] = multiply_add(row, load<T>(centre[j] + p + v * L), sum[j][v]);
    }
  for (; p < d; p += L) {
    const int rest = static_cast<int>(d - p < L ? d - p : L);
    const V<T> row = load_part(x + p, rest);
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) sum[j][0] = multiply_add(row, load_part(centre[j] + p, rest), sum[j][0]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < N; ++j) {
#pragma GCC unroll 8
    for (int v = 1; v < C; ++v) sum[j][0] += sum[j][v];
    if (j < count) out[j] = total<T, L>(sum[j][0]) + bias[which[j]];
  }
}

template <class T>
void scores_at(const T* x, const T* c, int64_t c_row, const int32_t* which, int64_t count, int64_t d, const T* bias,
               T* out) {
  int64_t i = 0;
  for (; i + 1 < count; i += 4) score_some<T, 4, 2>(x, c, c_row, which + i, count - i, d, bias, out + i);
  if (i < count) score_some<T, 1, 8>(x, c, c_row, which + i, 1, d, bias, out + i);
}

// Bounds are floats for rows of either type, and rounded away from what they bound: four roundings of a float are less
// than kSlack of it.
constexpr float kSlack = 0x1p-21f;

template <class T>
void bounds(const T* scores, int64_t k, T norm, T error, float* lower) {
  constexpr T kMost = __FLT_MAX__;
  for (int64_t j = 0; j < k; ++j) {
    const T square = scores[j] + norm - error;
    const T root = square_root(square > 0 && square < Fp<T>::inf ? square : 0);  // an overflow or a NaN bounds nothing
    lower[j] = static_cast<float>(root < kMost ? root : kMost) * (1 - kSlack);
  }
}

inline int64_t lower_bounds(float* lower, const float* moves, int64_t k, float upper) {
  int32_t close = 0;
  for (int64_t j = 0; j < k; ++j) {
    lower[j] = lower[j] * (1 - kSlack) - moves[j];
    close += !(lower[j] > upper);
  }
  return close;
}

inline int64_t not_above(const float* lower, int64_t k, float upper, int32_t* which) {
  constexpr int kRun = 64;
  int64_t found = 0;
  for (int64_t first = 0; first < k; first += kRun) {
    const int64_t run = k - first < kRun ? k - first : kRun;
    alignas(8) uint8_t close[kRun] = {};
    for (int64_t j = 0; j < run; ++j) close[j] = !(lower[first + j] > upper);
    for (int64_t j = 0; j < run; j += 8) {
      uint64_t eight;
      __builtin_memcpy(&eight, close + j, 8);
      if (eight == 0) continue;  // as most are
      for (int64_t i = j; i < j + 8; ++i) {
        which[found] = static_cast<int32_t>(first + i);
        found += close[i];
      }
    }
  }
  return found;
}

template <class T>
inline Eight eight(const T* x) {
#if defined(__AVX512F__)
  // GCC converts halves and joins them.
  if constexpr (sizeof(T) == sizeof(float)) return (Eight)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(x));
#endif
  return __builtin_convertvector(load<T, 8>(x), Eight);
}

template <class T, int N>
inline void add_chunk(const T* x, int64_t x_row, const int32_t* which, int64_t count, const double* weights,
                      double* sums) {
  Eight sum[N];
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) sum[v] = load<double, 8>(sums + 8 * v);
  for (int64_t i = 0; i < count; ++i) {
    const T* row = x + which[i] * x_row;
    if (weights) {
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) sum[v] += eight(row + 8 * v) * weights[which[i]];
    } else {
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) sum[v] += eight(row + 8 * v);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) matmul::store<double, 8>(sums + 8 * v, sum[v]);
}

template <class T>
void add_rows(const T* x, int64_t x_row, const int32_t* which, int64_t count, const double* weights, int64_t d,
              double* sums) {
  int64_t p = 0;
  for (; p + 8 * kChunk <= d; p += 8 * kChunk) add_chunk<T, kChunk>(x + p, x_row, which, count, weights, sums + p);
  for (; p + 8 <= d; p += 8) add_chunk<T, 1>(x + p, x_row, which, count, weights, sums + p);
  for (; p < d; ++p)
    for (int64_t i = 0; i < count; ++i) {
      const double value = static_cast<double>(x[which[i] * x_row + p]);
      sums[p] += weights ? value * weights[which[i]] : value;
    }
}

template <class T>
double squared_distance(const T* x, const double* c, int64_t d) {
  constexpr int kChains = 4;
  Eight sum[kChains] = {};
  int64_t p = 0;
  for (; p + 8 * kChains <= d; p += 8 * kChains)
#pragma GCC unroll 4
    for (int v = 0; v < kChains; ++v) {
      const Eight e = eight(x + p + 8 * v) - load<double, 8>(c + p + 8 * v);
      sum[v] += e * e;
    }
  for (int lane = 0; p < d; ++p, ++lane) {
    const double e = static_cast<double>(x[p]) - c[p];
    sum[lane / 8][lane % 8] += e * e;
  }
  const Eight s = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

// The patterns of numbers above 0 are in the order of the numbers, and minima of integers become vector code.
template <class T>
void digits(const T* x, int64_t n, DigitRange<T>* range) {
  using Bits = typename Fp<T>::Bits;
  Bits most = to_bits(range->most), least = to_bits(range->least) - 1;
  for (int64_t i = 0; i < n; ++i) {
    const Bits bits = to_bits(x[i]) & ~Fp<T>::sign;
    // Without its lowest bit the pattern is the number less that bit's value; a power of two has no other bit.
    const T rest = from_bits<T>(bits & (bits - 1));
    const bool power = (bits & ((Bits{1} << Fp<T>::mantissa) - 1)) == 0;
    const Bits lowest = power ? bits : to_bits(from_bits<T>(bits) - rest);
    least = lowest - 1 < least ? lowest - 1 : least;  // less one, a zero is the largest
    most = bits > most ? bits : most;
  }
  range->most = from_bits<T>(most);
  range->least = from_bits<T>(least + 1);
}

template <class T>
void widen(const uint8_t* x, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(x[i]);
}

template <class T>
KMeansKernels<T> table() {
  return {kLanes<T>,  &scores<T>,   &scores_at<T>,        &bounds<T>, &lower_bounds,
          &not_above, &add_rows<T>, &squared_distance<T>, &digits<T>, &widen<T>};
}

}  // namespace kmeans
