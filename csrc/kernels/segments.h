// The border of the segment kernels (cpu/segments.inl).
#pragma once
#include <cstdint>

namespace pn {

// Segments [low, high): segment v owns the places start[v] to start[v + 1] of order, and order holds row numbers. A
// number that is out of range, because memory changed after it was checked, is left out and never followed.
struct Segments {
  int64_t low, high, rows;
  const int64_t *start, *order;
};

// The edges of those segments: edge e leads from node other[e] < nodes; heads * depth numbers per node, heads per edge.
template <class T>
struct EdgeWork {
  Segments segments;
  const int64_t* other;
  int64_t nodes, heads, depth;
};

template <class T>
struct SegmentKernels {
  // y[v] = sum [0] or maximum [1] of the rows of segment v, of `columns` numbers each, in order; 0 without rows.
  void (*fold[2])(const Segments&, int64_t columns, const T* x, T* y);
  // y[row] = x[v] for the rows of segment v.
  void (*take)(const Segments&, int64_t columns, const T* x, T* y);
  // y[row] = softmax over the rows of a segment, column by column. `work`: as many elements as x has, which the
  // segments share out by their places; `two`: 2 * columns elements.
  void (*softmax)(const Segments&, int64_t columns, const T* x, T* y, T* work, T* two);
  // y[v, h, :] = sum over the edges e of segment v of weight[e, h] * x[other[e], h, :], in order.
  void (*edge_sum)(const EdgeWork<T>&, const T* weight, const T* x, T* y);
  // y[e, h] = dot product of a[v, h, :] and b[other[e], h, :] for the edges e of segment v.
  void (*edge_dot)(const EdgeWork<T>&, const T* a, const T* b, T* y);
};

}  // namespace pn
