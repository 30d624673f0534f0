// Segments and edges. Included by isa_unit.cpp inside the namespace of one instruction set, after reduce.inl, whose
// vectors it uses. Rows are added one after the other, in the order in which the segment lists them, so that the bits
// depend neither on threads nor on the instruction set.
namespace segments {

using matmul::load;
using matmul::multiply_add;
using matmul::store;
using matmul::V;
using reduce::Add;
using reduce::kParts;
using reduce::load_rest;

// Calls f(segment, place, row) for every row of segments [low, high).
template <class F>
inline void each(const Segments& s, int64_t v, const F& f) {
  const int64_t end = s.start[v + 1] < s.rows ? s.start[v + 1] : s.rows;
  for (int64_t j = s.start[v] > 0 ? s.start[v] : 0; j < end; ++j)
    if (static_cast<uint64_t>(s.order[j]) < static_cast<uint64_t>(s.rows)) f(j, s.order[j]);
}

template <class O, class T>
void fold(const Segments& s, int64_t columns, const T* x, T* y) {
  for (int64_t v = s.low; v < s.high; ++v) {
    T* __restrict out = y + v * columns;
    bool first = true;
    each(s, v, [&](int64_t, int64_t row) {
      const T* in = x + row * columns;
      if (first)
        for (int64_t c = 0; c < columns; ++c) out[c] = in[c];
      else
        for (int64_t c = 0; c < columns; ++c) out[c] = O::of(out[c], in[c]);
      first = false;
    });
    if (first)
      for (int64_t c = 0; c < columns; ++c) out[c] = 0;
  }
}

template <class T>
void take(const Segments& s, int64_t columns, const T* x, T* y) {
  for (int64_t v = s.low; v < s.high; ++v)
    each(s, v, [&](int64_t, int64_t row) {
      for (int64_t c = 0; c < columns; ++c) y[row * columns + c] = x[v * columns + c];
    });
}

// The exponentials of many segments are taken together, over full vectors.
template <class T, int Columns>
void softmax_of(const Segments& s, int64_t columns, const T* x, T* y, T* work, T* two) {
  if (Columns) columns = Columns;
  T* __restrict top = two, * __restrict sum = two + columns;
  for (int64_t v = s.low; v < s.high; ++v) {
    for (int64_t c = 0; c < columns; ++c) top[c] = -Fp<T>::inf;
    each(s, v, [&](int64_t, int64_t row) {
      for (int64_t c = 0; c < columns; ++c) top[c] = reduce::Max::of(top[c], x[row * columns + c]);
    });
    each(s, v, [&](int64_t j, int64_t row) {
      for (int64_t c = 0; c < columns; ++c) work[j * columns + c] = x[row * columns + c] - top[c];
    });
  }
  const int64_t begin = s.start[s.low] > 0 ? s.start[s.low] : 0,
                end = s.start[s.high] < s.rows ? s.start[s.high] : s.rows;
  if (begin < end) reduce::exp_all((end - begin) * columns, work + begin * columns);
  for (int64_t v = s.low; v < s.high; ++v) {
    for (int64_t c = 0; c < columns; ++c) sum[c] = 0;
    each(s, v, [&](int64_t j, int64_t) {
      for (int64_t c = 0; c < columns; ++c) sum[c] += work[j * columns + c];
    });
    each(s, v, [&](int64_t j, int64_t row) {
      for (int64_t c = 0; c < columns; ++c) y[row * columns + c] = work[j * columns + c] / sum[c];
    });
  }
}

template <class T>
void softmax(const Segments& s, int64_t columns, const T* x, T* y, T* work, T* two) {
  (columns == 4   ? &softmax_of<T, 4>
   : columns == 1 ? &softmax_of<T, 1>
                  : &softmax_of<T, 0>)(s, columns, x, y, work, two);
}

// `Groups` times 16 columns of one segment, from column c on, with the sums in registers; each 16 lie in one head.
template <class T, int Groups>
inline void sum_columns(const EdgeWork<T>& g, int64_t v, int64_t c, const T* weight, const T* x, T* y) {
  constexpr int L = matmul::kLanes<T>, P = kParts<T>;
  V<T> a[Groups * P] = {};
  int64_t head[Groups];
  for (int k = 0; k < Groups; ++k) head[k] = (c + 16 * k) / g.depth;
  each(g.segments, v, [&](int64_t, int64_t e) {
    if (static_cast<uint64_t>(g.other[e]) >= static_cast<uint64_t>(g.nodes)) return;
    const T *row = x + g.other[e] * g.heads * g.depth + c, *w = weight + e * g.heads;
#pragma GCC unroll 16
    for (int p = 0; p < Groups * P; ++p) a[p] = multiply_add(w[head[p / P]] - V<T>{}, load<T>(row + p * L), a[p]);
  });
#pragma GCC unroll 16
  for (int p = 0; p < Groups * P; ++p) store<T>(y + v * g.heads * g.depth + c + p * L, a[p]);
}

template <class T>
void edge_sum(const EdgeWork<T>& g, const T* weight, const T* x, T* y) {
  const int64_t columns = g.heads * g.depth;
  for (int64_t v = g.segments.low; v < g.segments.high; ++v) {
    if (g.depth % 16 == 0) {
      int64_t c = 0;
      for (; c + 64 <= columns; c += 64) sum_columns<T, 4>(g, v, c, weight, x, y);
      for (; c < columns; c += 16) sum_columns<T, 1>(g, v, c, weight, x, y);
      continue;
    }
    T* __restrict out = y + v * columns;
    for (int64_t c = 0; c < columns; ++c) out[c] = 0;
    each(g.segments, v, [&](int64_t, int64_t e) {
      if (static_cast<uint64_t>(g.other[e]) >= static_cast<uint64_t>(g.nodes)) return;
      const T* row = x + g.other[e] * columns;
      for (int64_t h = 0; h < g.heads; ++h)
        for (int64_t c = h * g.depth; c < (h + 1) * g.depth; ++c)
          out[c] = multiply_add(weight[e * g.heads + h], row[c], out[c]);
    });
  }
}

// Element i goes to lane i % 16, one after the other; then the lanes 8 apart, 4 apart, 2 apart and neighbours are
// joined.
template <class T>
inline T dot(int64_t n, const T* p, const T* q) {
  constexpr int L = matmul::kLanes<T>, P = kParts<T>;
  V<T> a[P] = {};
  for (; n >= 16; n -= 16, p += 16, q += 16) {
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) a[i] = multiply_add(load<T>(p + i * L), load<T>(q + i * L), a[i]);
  }
  if (n > 0) {
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i)
      a[i] = multiply_add(load_rest<Add>(p + i * L, n - i * L), load_rest<Add>(q + i * L, n - i * L), a[i]);
  }
  reduce::join<Add, P>(a);
  return reduce::across<Add, T>(a[0]);
}

template <class T>
void edge_dot(const EdgeWork<T>& g, const T* a, const T* b, T* y) {
  const int64_t columns = g.heads * g.depth;
  for (int64_t v = g.segments.low; v < g.segments.high; ++v)
    each(g.segments, v, [&](int64_t, int64_t e) {
      if (static_cast<uint64_t>(g.other[e]) >= static_cast<uint64_t>(g.nodes)) return;
      const T *p = a + v * columns, *q = b + g.other[e] * columns;
      for (int64_t h = 0; h < g.heads; ++h) y[e * g.heads + h] = dot(g.depth, p + h * g.depth, q + h * g.depth);
    });
}

template <class T>
SegmentKernels<T> table() {
  return {{&fold<Add, T>, &fold<reduce::Max, T>}, &take<T>, &softmax<T>, &edge_sum<T>, &edge_dot<T>};
}

}  // namespace segments
