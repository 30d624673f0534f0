// Reduction kernels. Included by isa_unit.cpp inside the namespace of one instruction set, after matmul.inl, whose
// vector type it uses.
//
// The order of every fold is part of its definition. Along a row: element i goes to lane i % 16 of chain (i / 16) % C
// (the last, incomplete group of 16 to chain C - 1), then the chains, the lanes 8 apart, 4 apart, 2 apart and
// neighbours are joined. Down columns: row after row. So the bits do not depend on the instruction set, as long as the
// operation itself does not.
namespace reduce {

using matmul::kLanes;
using matmul::load;
using matmul::load_part;
using matmul::V;
using matmul::Vector;

template <class T>
constexpr int kParts = 16 / kLanes<T>;
template <class T>
constexpr int kChains = sizeof(T) == 4 ? 4 : 2;  // independent additions in flight: as many bytes for both types
constexpr int64_t kPiece = 1024;                 // elements of a buffer on the stack
constexpr int64_t kPanel = 64;                   // columns whose maxima and sums are kept on the stack

// The operations, for scalars and vectors alike. The first operand is the one that comes first in order.
struct Add {
  template <class T>
  static constexpr T kIdentity = 0;
  template <class X>
  static inline X of(X a, X b) {
    return a + b;
  }
};
struct Multiply {
  template <class T>
  static constexpr T kIdentity = 1;
  template <class X>
  static inline X of(X a, X b) {
    return a * b;
  }
};
// NaN wins against everything.
struct Max {
  template <class T>
  static constexpr T kIdentity = -static_cast<T>(__builtin_inf());
  template <class X>
  static inline X of(X a, X b) {
    return ((a > b) | (a != a)) ? a : b;
  }
};
struct Min {
  template <class T>
  static constexpr T kIdentity = static_cast<T>(__builtin_inf());
  template <class X>
  static inline X of(X a, X b) {
    return ((a < b) | (a != a)) ? a : b;
  }
};

// Joins the lanes of one vector.
template <class O, class T>
inline T across(typename Vector<T, 2>::type v) {
  return O::of(v[0], v[1]);
}
template <class O, class T>
inline T across(typename Vector<T, 4>::type v) {
  const auto w = O::of(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  return O::of(w[0], w[1]);
}
template <class O, class T>
inline T across(typename Vector<T, 8>::type v) {
  return across<O, T>(O::of(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7)));
}
template <class O, class T>
inline T across(typename Vector<T, 16>::type v) {
  return across<O, T>(O::of(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                            __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)));
}

// Every other group of q lanes of a and of b, from the first or from the second one on.
template <int q, bool second, class T, int... I>
inline V<T> groups(V<T> a, V<T> b, matmul::Sequence<I...>) {
  return __builtin_shufflevector(a, b, (I + I / q % 2 * (kLanes<T> - q) + (second ? q : 0))...);
}
// Lane r of the result: the lanes of v[r], joined as by across<Add>.
template <class T, int q = kLanes<T> / 2>
inline V<T> across_each(V<T>* v) {
  constexpr typename matmul::Count<kLanes<T>>::type lanes{};
#pragma GCC unroll 8
  for (int r = 0; r < q; ++r)
    v[r] = groups<q, false, T>(v[r], v[r + q], lanes) + groups<q, true, T>(v[r], v[r + q], lanes);
  if constexpr (q > 1)
    return across_each<T, q / 2>(v);
  else
    return v[0];
}
// Joins `count` vectors into the first, those half of them apart first. A recursion, so that every index is a constant.
template <class O, int count, class W>
inline void join(W* v) {
  if constexpr (count > 1) {
#pragma GCC unroll 16
    for (int i = 0; i < count / 2; ++i) v[i] = O::of(v[i], v[i + count / 2]);
    join<O, count / 2>(v);
  }
}

// The first `lanes` elements at p, which may be none or more than a vector; the identity in the other lanes.
template <class O, class T>
inline V<T> load_rest(const T* p, int64_t lanes) {
  constexpr int L = kLanes<T>;
  if (lanes >= L) return load<T>(p);
  if constexpr (O::template kIdentity<T> == 0) {
    return lanes > 0 ? load_part(p, static_cast<int>(lanes)) : V<T>{};
  } else {
    V<T> v = O::template kIdentity<T> - V<T>{};
    for (int i = 0; i < lanes; ++i) v[i] = p[i];
    return v;
  }
}

// A vector register holds as many of the 16 lanes as it can, so vectors of one chain, and then chains, are neighbours
// in the array: joining those half the array apart joins the chains first and then the lanes.
template <class O, class T>
inline T fold_row(int64_t n, const T* x) {
  constexpr int L = kLanes<T>, P = kParts<T>, C = kChains<T>;
  if (n <= 16) {
    V<T> a[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) a[p] = load_rest<O>(x + p * L, n - p * L);
    join<O, P>(a);
    return across<O, T>(a[0]);
  }
  V<T> a[C * P];
#pragma GCC unroll 16
  for (int p = 0; p < C * P; ++p) a[p] = O::template kIdentity<T> - V<T>{};
  for (; n >= 16 * C; n -= 16 * C, x += 16 * C) {
#pragma GCC unroll 16
    for (int p = 0; p < C * P; ++p) a[p] = O::of(a[p], load<T>(x + p * L));
  }
#pragma GCC unroll 4
  for (int c = 0; c < C - 1; ++c) {
    if (n < 16) break;
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) a[c * P + p] = O::of(a[c * P + p], load<T>(x + p * L));
    n -= 16, x += 16;
  }
  if (n > 0) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) a[(C - 1) * P + p] = O::of(a[(C - 1) * P + p], load_rest<O>(x + p * L, n - p * L));
  }
  join<O, C * P>(a);
  return across<O, T>(a[0]);
}

// A row of any length.
template <class O, class T>
inline T fold_long_row(int64_t n, const T* x) {
  T y = fold_row<O>(n < kRowBlock ? n : kRowBlock, x);
  for (int64_t i = kRowBlock; i < n; i += kRowBlock)
    y = O::of(y, fold_row<O>(n - i < kRowBlock ? n - i : kRowBlock, x + i));
  return y;
}

template <class O, class T>
void rows(int64_t rows, int64_t n, int64_t stride, const T* x, T* y) {
  for (int64_t r = 0; r < rows; ++r) y[r] = fold_row<O>(n, x + r * stride);
}

// One vector of columns, of which `lanes` exist: a = fold of a and of rows `from` to `to`.
template <class O, class T>
inline V<T> fold_columns(V<T> a, int64_t from, int64_t to, int64_t stride, const T* x, int lanes) {
  if (lanes == kLanes<T>) {
#pragma GCC unroll 8
    for (int64_t i = from; i < to; ++i) a = O::of(a, load<T>(x + i * stride));
  } else {
#pragma GCC unroll 8
    for (int64_t i = from; i < to; ++i) a = O::of(a, load_part(x + i * stride, lanes));
  }
  return a;
}

// Eight rows at a time: y is read and written once for all of them, and every row is a stream that the CPU prefetches.
template <class O, class T>
void columns(int64_t n, int64_t columns, int64_t stride, const T* x, T* y) {
  constexpr int L = kLanes<T>;
  const int64_t whole = columns / L * L;
  const int rest = static_cast<int>(columns - whole);
  if (whole) __builtin_memcpy(y, x, static_cast<size_t>(whole) * sizeof(T));
  for (int64_t i = 1; i < n; i += 8) {
    const int64_t end = i + 8 < n ? i + 8 : n;
    if (end == i + 8)
      for (int64_t c = 0; c < whole; c += L)
        matmul::store<T>(y + c, fold_columns<O>(load<T>(y + c), i, i + 8, stride, x + c, L));
    else
      for (int64_t c = 0; c < whole; c += L)
        matmul::store<T>(y + c, fold_columns<O>(load<T>(y + c), i, end, stride, x + c, L));
  }
  if (rest)
    matmul::store_part(y + whole, fold_columns<O>(load_part(x + whole, rest), 1, n, stride, x + whole, rest), rest);
}

template <class T>
inline void exp_all(int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = exp(x[i]);
}

// What is subtracted before exp in logsumexp: the maximum, but 0 for an infinite one, where x - max would be NaN.
template <class T>
inline T finite_or_zero(T m) {
  return abs_(m) <= kMax<T> ? m : T(0);
}

// s[r] = sum over i of exp(x[r * stride + i] - m[r]). Short rows share a buffer, so that exp runs over full vectors.
template <class T>
inline void exp_sums(int64_t rows, int64_t n, int64_t stride, const T* x, const T* m, T* s) {
  alignas(64) T z[kPiece];
  if (n > kPiece) {
    for (int64_t r = 0; r < rows; ++r, x += stride) {
      T sum = 0;
      for (int64_t done = 0; done < n; done += kPiece) {
        const int64_t k = n - done < kPiece ? n - done : kPiece;
        for (int64_t i = 0; i < k; ++i) z[i] = exp(x[done + i] - m[r]);
        sum += fold_row<Add>(k, z);
      }
      s[r] = sum;
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) z[r * n + i] = x[r * stride + i] - m[r];
  exp_all(rows * n, z);
  for (int64_t r = 0; r < rows; ++r) s[r] = fold_row<Add>(n, z + r * n);
}

// Rows of n elements that share one buffer.
inline int64_t rows_together(int64_t n, int64_t left) {
  const int64_t fit = n >= kPiece ? 1 : kPiece / n;
  return fit < left ? fit : left;
}

template <class T>
void logsumexp_rows(int64_t rows, int64_t n, int64_t stride, const T* x, T* y) {
  T m[kPiece], s[kPiece];
  for (int64_t k; rows > 0; rows -= k, x += k * stride, y += k) {
    k = rows_together(n, rows);
    for (int64_t r = 0; r < k; ++r) m[r] = finite_or_zero(fold_long_row<Max>(n, x + r * stride));
    exp_sums(k, n, stride, x, m, s);
    for (int64_t r = 0; r < k; ++r) y[r] = log(s[r]) + m[r];
  }
}

template <class T>
void softmax_rows(int64_t rows, int64_t n, const T* x, T* y) {
  for (int64_t k; rows > 0; rows -= k, x += k * n, y += k * n) {
    k = rows_together(n, rows);
    for (int64_t r = 0; r < k; ++r) {
      const T m = fold_long_row<Max>(n, x + r * n);
      for (int64_t i = 0; i < n; ++i) y[r * n + i] = x[r * n + i] - m;
    }
    exp_all(k * n, y);
    for (int64_t r = 0; r < k; ++r) {
      const T s = fold_long_row<Add>(n, y + r * n);
      for (int64_t i = 0; i < n; ++i) y[r * n + i] /= s;
    }
  }
}

template <class T>
void log_softmax_rows(int64_t rows, int64_t n, const T* x, T* y) {
  T m[kPiece], s[kPiece];
  for (int64_t k; rows > 0; rows -= k, x += k * n, y += k * n) {
    k = rows_together(n, rows);
    for (int64_t r = 0; r < k; ++r) m[r] = fold_long_row<Max>(n, x + r * n);
    exp_sums(k, n, n, x, m, s);
    for (int64_t r = 0; r < k; ++r) s[r] = log(s[r]);
    for (int64_t r = 0; r < k; ++r)
      for (int64_t i = 0; i < n; ++i) y[r * n + i] = (x[r * n + i] - m[r]) - s[r];
  }
}

// m[c] = maximum of a column, for at most kPanel columns.
template <class T>
inline void column_maxima(int64_t n, int64_t columns, int64_t stride, const T* x, T* m) {
  for (int64_t c = 0; c < columns; ++c) m[c] = x[c];
  for (int64_t i = 1; i < n; ++i)
    for (int64_t c = 0; c < columns; ++c) m[c] = Max::of(m[c], x[i * stride + c]);
}

template <class T>
void logsumexp_columns(int64_t n, int64_t columns, int64_t stride, const T* x, T* y) {
  T m[kPanel], s[kPanel];
  for (int64_t k; columns > 0; columns -= k, x += k, y += k) {
    k = columns < kPanel ? columns : kPanel;
    column_maxima(n, k, stride, x, m);
    for (int64_t c = 0; c < k; ++c) m[c] = finite_or_zero(m[c]), s[c] = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < k; ++c) s[c] += exp(x[i * stride + c] - m[c]);
    for (int64_t c = 0; c < k; ++c) y[c] = log(s[c]) + m[c];
  }
}

template <class T, bool logarithm>
void softmax_columns(int64_t n, int64_t columns, int64_t stride, const T* __restrict x, T* __restrict y) {
  T m[kPanel], s[kPanel];
  for (int64_t k; columns > 0; columns -= k, x += k, y += k) {
    k = columns < kPanel ? columns : kPanel;
    column_maxima(n, k, stride, x, m);
    for (int64_t c = 0; c < k; ++c) s[c] = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < k; ++c) {
        const T d = x[i * stride + c] - m[c], e = exp(d);
        y[i * stride + c] = logarithm ? d : e;
        s[c] += e;
      }
    if (logarithm)
      for (int64_t c = 0; c < k; ++c) s[c] = log(s[c]);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = 0; c < k; ++c) {
        const T v = y[i * stride + c];
        y[i * stride + c] = logarithm ? v - s[c] : v / s[c];
      }
  }
}

template <class T>
ReduceKernels<T> table() {
  return {{&rows<Add, T>, &rows<Multiply, T>, &rows<Max, T>, &rows<Min, T>, &logsumexp_rows<T>},
          {&columns<Add, T>, &columns<Multiply, T>, &columns<Max, T>, &columns<Min, T>, &logsumexp_columns<T>},
          {&softmax_rows<T>, &log_softmax_rows<T>},
          {&softmax_columns<T, false>, &softmax_columns<T, true>}};
}

}  // namespace reduce
