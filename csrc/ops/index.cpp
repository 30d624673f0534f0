// Ops that read or write at places given by index tensors. infer() refuses an index out of range before anything is
// written. run() leaves such an index out all the same: a replayed call does not pass through infer() again, and a
// wrong index must never become a wild write.
//
// Sums at repeated places are taken in index order. Threads share out the places (other axes), never the indices, so
// the bits do not depend on them.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/loop.h"
#include "core/threads.h"
#include "ops/index.h"
#include "ops/op.h"
#include "ops/shape.h"

namespace pn {
namespace {

constexpr int64_t kTask = int64_t{1} << 15;  // elements per task

// Calls f(T{}) with an unsigned integer of the item's size: copies need no more.
template <class F>
void visit_bits(DType type, F&& f) {
  switch (item_size(type)) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}

int64_t product(const int64_t* sizes, int from, int to) {
  int64_t n = 1;
  for (int d = from; d < to; ++d) n *= sizes[d];
  return n;
}

void require_index(const OpCall& call, int input) {
  const Array& index = *call.in[input];
  if (index.dtype != DType::Int64)
    fail<TypeError>(call.op->name, ": index is ", dtype_name(index.dtype), " but must be int64");
}

// ---- take, add_at, put_at: the axes [dim, dim + count) of x, seen as one, are indexed by a tensor ----

struct Indexed {
  int dim, count;
  int64_t before, places, after;  // elements of x before, in and after the indexed axes
};

Indexed indexed_axes(const OpCall& call, int ndim, const int64_t* shape, int64_t dim, int64_t count) {
  if (dim < 0 || count < 1 || dim + count > ndim)
    fail<IndexError>(call.op->name, ": ", count, " dimensions from ", dim, " on are not among those of shape ",
                     shape_text(ndim, shape));
  const int first = static_cast<int>(dim), last = static_cast<int>(dim + count);
  return {first, static_cast<int>(count), product(shape, 0, first), product(shape, first, last),
          product(shape, last, ndim)};
}

void check_places(const OpCall& call, const Indexed& s, int input) {
  require_index(call, input);
  check_range(call, *call.in[input], -s.places, s.places, s.count == 1 ? "dim " : "the dimensions from ", s.dim);
}

// Shape of take's result: the indexed axes give way to those of the index.
int taken_shape(const OpCall& call, int ndim, const int64_t* shape, const Indexed& s, const Array& index,
                int64_t* out) {
  if (ndim - s.count + index.ndim > kMaxDims)
    fail<ValueError>(call.op->name, ": the result would have ", ndim - s.count + index.ndim,
                     " dimensions; a tensor has at most ", kMaxDims);
  int n = 0;
  for (int d = 0; d < s.dim; ++d) out[n++] = shape[d];
  for (int d = 0; d < index.ndim; ++d) out[n++] = index.shape[d];
  for (int d = s.dim + s.count; d < ndim; ++d) out[n++] = shape[d];
  return n;
}

// The step from place to place if the indexed axes of x lie as one, else 0.
int64_t step_of(const Array& x, const Indexed& s) {
  for (int d = s.dim; d + 1 < s.dim + s.count; ++d)
    if (x.strides[d] != x.shape[d + 1] * x.strides[d + 1]) return 0;
  return x.strides[s.dim + s.count - 1];
}

// Where each index points, in elements of x from the start of the indexed axes; kNowhere if out of range.
constexpr int64_t kNowhere = INT64_MIN;

std::vector<int64_t> places_of(const Array& x, const Indexed& s, const Array& index_tensor) {
  const Array index = as_contiguous(index_tensor);
  const int64_t n = index.size(), step = step_of(x, s);
  std::vector<int64_t> places(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    int64_t i = index.ptr<int64_t>()[j];
    i = i < 0 ? i + s.places : i;
    if (i < 0 || i >= s.places) {
      places[j] = kNowhere;
      continue;
    }
    if (step) {
      places[j] = i * step;
      continue;
    }
    places[j] = 0;
    for (int d = s.dim + s.count - 1; d >= s.dim; --d) {
      places[j] += i % x.shape[d] * x.strides[d];
      i /= x.shape[d];
    }
  }
  return places;
}

// Offset of the b-th element over the axes before the indexed ones.
int64_t offset_before(const Array& x, const Indexed& s, int64_t b) {
  int64_t offset = 0;
  for (int d = s.dim - 1; d >= 0; --d) {
    offset += b % x.shape[d] * x.strides[d];
    b /= x.shape[d];
  }
  return offset;
}

// The axes of x after the indexed ones, as a window.
Array row_window(const Array& x, const Indexed& s) {
  Array row = x;
  row.ndim = x.ndim - s.dim - s.count;
  for (int d = 0; d < row.ndim; ++d) {
    row.shape[d] = x.shape[d + s.dim + s.count];
    row.strides[d] = x.strides[d + s.dim + s.count];
  }
  return row;
}

// Copies rows of any strides: at(to, from) moves one.
template <class T>
class RowCopy {
 public:
  RowCopy(const Array& to, const Array& from) : loop_(make(to, from)), size_(to.size()) {
    dense_ = loop_.ndim == 1 && (size_ == 1 || (loop_.strides[0][0] == 1 && loop_.strides[1][0] == 1));
  }
  void operator()(T* to, const T* from) {
    if (size_ == 1) {
      *to = *from;
    } else if (dense_) {
      std::memcpy(to, from, static_cast<size_t>(size_) * sizeof(T));
    } else {
      loop_.base[0] = reinterpret_cast<char*>(to);
      loop_.base[1] = reinterpret_cast<char*>(const_cast<T*>(from));
      loop_.rows([](int64_t n, char* const* at, const int64_t* stride) {
        T* y = reinterpret_cast<T*>(at[0]);
        const T* x = reinterpret_cast<const T*>(at[1]);
        for (int64_t i = 0; i < n; ++i) y[i * stride[0]] = x[i * stride[1]];
      });
    }
  }

 private:
  static Loop<2> make(const Array& to, const Array& from) {
    const Array* operands[2] = {&to, &from};
    return Loop<2>(to.ndim, to.shape, operands);
  }
  Loop<2> loop_;
  int64_t size_;
  bool dense_;
};

void infer_take(OpCall& call) {
  const Array& x = *call.in[0];
  const Indexed s = indexed_axes(call, x.ndim, x.shape, call.attributes.ints[0], call.attributes.ints[1]);
  check_places(call, s, 1);
  int64_t shape[kMaxDims];
  const int ndim = taken_shape(call, x.ndim, x.shape, s, *call.in[1], shape);
  call.out[0].describe(x.dtype, ndim, shape);
}

// take where no axis is left behind the indexed ones, `step` apart: single elements, with no list of their places.
template <class T>
void take_elements(const Array& x, const Indexed& s, int64_t step, const Array& index_tensor, T* y) {
  const Array index = as_contiguous(index_tensor);
  const int64_t n = index.size(), all = s.before * n;
  parallel_for((all + kTask - 1) / kTask, [&](int64_t t) {
    const int64_t end = std::min(all, (t + 1) * kTask);
    for (int64_t r = t * kTask; r < end;) {
      const T* base = x.ptr<T>() + offset_before(x, s, r / n);
      const int64_t* at = index.ptr<int64_t>() - r / n * n;
      for (const int64_t stop = std::min(end, (r / n + 1) * n); r < stop; ++r) {
        const int64_t i = at[r] < 0 ? at[r] + s.places : at[r];
        y[r] = i >= 0 && i < s.places ? base[i * step] : T{0};
      }
    }
  });
}

void take(const OpCall& call, int64_t dim, int64_t count) {
  const Array &x = *call.in[0], &y = call.out[0];
  if (y.size() == 0) return;
  const Indexed s = indexed_axes(call, x.ndim, x.shape, dim, count);
  if (const int64_t step = step_of(x, s); step && s.after == 1) {
    visit_bits(x.dtype,
               [&](auto bits) { take_elements<decltype(bits)>(x, s, step, *call.in[1], y.ptr<decltype(bits)>()); });
    return;
  }
  const std::vector<int64_t> places = places_of(x, s, *call.in[1]);
  const int64_t n = static_cast<int64_t>(places.size()), rows = s.before * n;
  visit_bits(x.dtype, [&](auto bits) {
    using T = decltype(bits);
    Array to = row_window(x, s);
    const Array from = to;
    to.describe(x.dtype, from.ndim, from.shape);
    const int64_t rows_per_task = std::max<int64_t>(1, kTask / s.after);
    parallel_for((rows + rows_per_task - 1) / rows_per_task, [&](int64_t t) {
      RowCopy<T> copy(to, from);
      const int64_t high = std::min(rows, (t + 1) * rows_per_task);
      int64_t b = t * rows_per_task / n, j = t * rows_per_task % n;
      const T* base = x.ptr<T>() + offset_before(x, s, b);
      for (int64_t r = t * rows_per_task; r < high; ++r) {
        T* out = y.ptr<T>() + r * s.after;
        if (places[j] == kNowhere)
          std::fill(out, out + s.after, T{0});
        else
          copy(out, base + places[j]);
        if (++j == n && r + 1 < high) j = 0, base = x.ptr<T>() + offset_before(x, s, ++b);
      }
    });
  });
}

void run_take(const OpCall& call) { take(call, call.attributes.ints[0], call.attributes.ints[1]); }

// Rows of a matrix; the attributes are for the gradient alone.
void infer_embedding(OpCall& call) {
  const Array &weight = *call.in[0], &index = *call.in[1];
  require_float(call, 0, "weight");
  if (weight.ndim != 2)
    fail<ValueError>("embedding: weight ", shape_text(weight), " must have 2 dimensions, embeddings and their entries");
  require_index(call, 1);
  check_range(call, index, 0, weight.shape[0], "dim ", 0);
  int64_t shape[kMaxDims];
  const int ndim = taken_shape(call, 2, weight.shape, indexed_axes(call, 2, weight.shape, 0, 1), index, shape);
  call.out[0].describe(weight.dtype, ndim, shape);
}
void run_embedding(const OpCall& call) { take(call, 0, 1); }

// Attributes: shape, dim, count. Zeros of that shape, with g's rows added at their places: the adjoint of take.
void infer_add_at(OpCall& call) {
  const Array& g = *call.in[0];
  AttributeReader attributes(call.attributes);
  const AttributeReader::List shape = attributes.list();
  const int64_t dim = attributes.integer(), count = attributes.integer();
  const Indexed s = indexed_axes(call, shape.count, shape.values, dim, count);
  check_places(call, s, 1);
  int64_t taken[kMaxDims];
  const int ndim = taken_shape(call, shape.count, shape.values, s, *call.in[1], taken);
  if (ndim != g.ndim || !std::equal(taken, taken + ndim, g.shape))
    fail<ValueError>("add_at: values have shape ", shape_text(g), " but index of shape ", shape_text(*call.in[1]),
                     " into shape ", shape_text(shape.count, shape.values), " needs ", shape_text(ndim, taken));
  call.out[0].describe(g.dtype, shape.count, shape.values);
}

template <class T>
T add(T a, T b) {
  if constexpr (std::is_same_v<T, bool>)
    return a || b;
  else
    return static_cast<T>(a + b);
}

void run_add_at(const OpCall& call) {
  const Array& y = call.out[0];
  const Array g = as_contiguous(*call.in[0]);
  AttributeReader attributes(call.attributes);
  attributes.list();
  const int64_t dim = attributes.integer(), count = attributes.integer();
  std::memset(y.data, 0, static_cast<size_t>(y.size()) * item_size(y.dtype));
  if (g.size() == 0) return;
  const Indexed s = indexed_axes(call, y.ndim, y.shape, dim, count);
  const std::vector<int64_t> places = places_of(y, s, *call.in[1]);
  const int64_t n = static_cast<int64_t>(places.size());
  constexpr int64_t kColumns = 512;
  const int64_t parts = (s.after + kColumns - 1) / kColumns;
  visit_dtype(y.dtype, [&](auto v) {
    using T = decltype(v);
    parallel_for(g.size() < 2 * kTask ? 1 : s.before * parts, [&](int64_t task) {
      const int64_t first = g.size() < 2 * kTask ? 0 : task;
      const int64_t last = g.size() < 2 * kTask ? s.before * parts : task + 1;
      for (int64_t t = first; t < last; ++t) {
        const int64_t b = t / parts, low = t % parts * kColumns, m = std::min(s.after - low, kColumns);
        T* out = y.ptr<T>() + b * s.places * s.after + low;
        const T* in = g.ptr<T>() + b * n * s.after + low;
        for (int64_t j = 0; j < n; ++j, in += s.after) {
          if (places[j] == kNowhere) continue;
          T* __restrict row = out + places[j];
          for (int64_t i = 0; i < m; ++i) row[i] = add(row[i], in[i]);
        }
      }
    });
  });
}

// x[..., index, ...] <- value; of several values for one place the last stays.
void infer_put_at(OpCall& call) {
  const Array &x = *call.in[0], &value = *call.in[2];
  const Indexed s = indexed_axes(call, x.ndim, x.shape, call.attributes.ints[0], call.attributes.ints[1]);
  check_places(call, s, 1);
  int64_t shape[kMaxDims], merged[kMaxDims];
  int dims;
  const int ndim = taken_shape(call, x.ndim, x.shape, s, *call.in[1], shape);
  if (!broadcast_shapes(ndim, shape, value.ndim, value.shape, &dims, merged) || dims != ndim ||
      !std::equal(shape, shape + ndim, merged))
    fail<ValueError>("setitem: a value of shape ", shape_text(value), " does not fit the places of shape ",
                     shape_text(ndim, shape));
}

void run_put_at(const OpCall& call) {
  const Array& x = *call.in[0];
  const Indexed s = indexed_axes(call, x.ndim, x.shape, call.attributes.ints[0], call.attributes.ints[1]);
  int64_t shape[kMaxDims];
  const int ndim = taken_shape(call, x.ndim, x.shape, s, *call.in[1], shape);
  const std::vector<int64_t> places = places_of(x, s, *call.in[1]);
  const int64_t n = static_cast<int64_t>(places.size());
  if (s.before * n * s.after == 0) return;
  Array value = *call.in[2];
  if (value.dtype != x.dtype || may_overlap(x, value)) {
    value = Array::empty(x.dtype, value.ndim, value.shape);
    copy_into(value, *call.in[2]);
  }
  if (value.size() < s.before * n * s.after || !value.contiguous())
    value = contiguous_copy(expanded(value, ndim, shape));
  visit_bits(x.dtype, [&](auto bits) {
    using T = decltype(bits);
    const Array to = row_window(x, s);
    Array from = to;
    from.describe(x.dtype, to.ndim, to.shape);
    RowCopy<T> copy(to, from);
    for (int64_t b = 0; b < s.before; ++b) {
      T* base = x.ptr<T>() + offset_before(x, s, b);
      const T* row = value.ptr<T>() + b * n * s.after;
      for (int64_t j = 0; j < n; ++j, row += s.after)
        if (places[j] != kNowhere) copy(base + places[j], row);
    }
  });
}

// Index tensors for several axes, broadcast to one tensor of flat indices. Attribute: the axes' sizes.
void infer_flat_index(OpCall& call) {
  AttributeReader attributes(call.attributes);
  const AttributeReader::List sizes = attributes.list();
  if (sizes.count != call.inputs)
    fail<ValueError>("flat_index: ", call.inputs, " index tensors but ", sizes.count, " sizes");
  int ndim = 0;
  int64_t shape[kMaxDims];
  for (int i = 0; i < call.inputs; ++i) {
    const Array& index = *call.in[i];
    require_index(call, i);
    int merged;
    int64_t out[kMaxDims];
    if (!broadcast_shapes(ndim, shape, index.ndim, index.shape, &merged, out))
      fail<IndexError>("getitem: index tensor ", i, " of shape ", shape_text(index),
                       " does not broadcast with those before it, of shape ", shape_text(ndim, shape));
    ndim = merged;
    std::copy(out, out + ndim, shape);
    check_range(call, index, -sizes.values[i], sizes.values[i], "indexed dimension ", i);
  }
  call.out[0].describe(DType::Int64, ndim, shape);
}

void run_flat_index(const OpCall& call) {
  const Array& y = call.out[0];
  const int64_t* sizes = call.attributes.ints + 1;
  std::memset(y.data, 0, static_cast<size_t>(y.size()) * sizeof(int64_t));
  for (int i = 0; i < call.inputs; ++i) {
    const Array index = expanded(*call.in[i], y.ndim, y.shape);
    const Array* operands[2] = {&y, &index};
    const Loop<2> loop(y.ndim, y.shape, operands);
    if (loop.total == 0) return;
    loop.rows([&](int64_t n, char* const* at, const int64_t* stride) {
      int64_t* flat = reinterpret_cast<int64_t*>(at[0]);
      const int64_t* own = reinterpret_cast<const int64_t*>(at[1]);
      for (int64_t k = 0; k < n; ++k) {
        const int64_t j = own[k * stride[1]];
        int64_t& f = flat[k * stride[0]];
        f = f * sizes[i] + (j < 0 ? j + sizes[i] : j);
      }
    });
  }
}

// ---- gather, scatter_add ----

// Both walk the index: its axis `dim` and its last other axis innermost, all other axes as lines.
struct Lines {
  int64_t lines, along, across;  // index elements: lines x along (dim) x across (the last axis, if it is not dim)
  int dim, inner;                // inner: the axis of `across`, or -1
};

Lines lines_of(const Array& index, int dim) {
  Lines l{1, 1, 1, dim, index.ndim - 1 == dim ? -1 : index.ndim - 1};
  for (int d = 0; d < index.ndim; ++d) (d == dim ? l.along : d == l.inner ? l.across : l.lines) *= index.shape[d];
  return l;
}

// The offsets of a line in three arrays, from line to line.
struct LineOffsets {
  int dims = 0;
  int64_t at[3] = {}, shape[kMaxDims], place[kMaxDims], stride[kMaxDims][3];

  LineOffsets(const Array* const (&arrays)[3], const Array& index, const Lines& l, int64_t line) {
    for (int d = index.ndim - 1; d >= 0; --d) {  // the innermost one first
      if (d == l.dim || d == l.inner) continue;
      shape[dims] = index.shape[d];
      place[dims] = line % index.shape[d];
      line /= index.shape[d];
      for (int k = 0; k < 3; ++k) {
        stride[dims][k] = arrays[k]->strides[d];
        at[k] += place[dims] * stride[dims][k];
      }
      ++dims;
    }
  }
  void next() {
    for (int d = 0; d < dims; ++d) {
      const bool wraps = ++place[d] == shape[d];
      for (int k = 0; k < 3; ++k) at[k] += wraps ? (1 - shape[d]) * stride[d][k] : stride[d][k];
      if (!wraps) return;
      place[d] = 0;
    }
  }
};

int gather_dim(const OpCall& call, const Array& x, const Array& index) {
  require_index(call, 1);
  if (x.ndim != index.ndim)
    fail<ValueError>(call.op->name, ": index of shape ", shape_text(*call.in[1]),
                     " must have as many dimensions as x, of shape ", shape_text(*call.in[0]));
  const int dim = static_cast<int>(checked_axis(call, call.attributes.ints[0], x.ndim));
  for (int d = 0; d < x.ndim; ++d)
    if (d != dim && index.shape[d] > x.shape[d])
      fail<ValueError>(call.op->name, ": index of shape ", shape_text(index), " is longer than x of shape ",
                       shape_text(x), " in dim ", d, "; only dim ", dim, " may differ");
  check_range(call, index, 0, x.shape[dim], "dim ", dim);
  return dim;
}

void infer_gather(OpCall& call) {
  gather_dim(call, at_least_1d(*call.in[0]), at_least_1d(*call.in[1]));
  call.out[0].describe(call.in[0]->dtype, call.in[1]->ndim, call.in[1]->shape);
}

// f(element of x, element of other) for each index that is within x.
template <class T, class F>
void walk_lines(const Array& x, const Array& index, const Array& other, int dim, const F& f) {
  if (index.size() == 0) return;
  const Lines l = lines_of(index, dim);
  const int64_t step_x = l.inner < 0 ? 0 : x.strides[l.inner], step_i = l.inner < 0 ? 0 : index.strides[l.inner],
                step_o = l.inner < 0 ? 0 : other.strides[l.inner];
  const int64_t size = x.shape[dim], stride = x.strides[dim], along_i = index.strides[dim],
                along_o = other.strides[dim];
  const Array* const arrays[3] = {&x, &index, &other};
  const auto one = [=](T* xs, int64_t place, T* o) {
    if (static_cast<uint64_t>(place) < static_cast<uint64_t>(size)) f(xs + place * stride, o);
  };
  const auto line = [&](const int64_t* at, int64_t low, int64_t high) {
    T *xs = x.ptr<T>() + at[0], *os = other.ptr<T>() + at[2];
    const int64_t* is = index.ptr<int64_t>() + at[1];
    if (l.inner < 0)
      for (int64_t i = 0; i < l.along; ++i) one(xs, is[i * along_i], os + i * along_o);
    else
      for (int64_t i = 0; i < l.along; ++i)
        for (int64_t j = low; j < high; ++j)
          one(xs + j * step_x, is[i * along_i + j * step_i], os + i * along_o + j * step_o);
  };
  if (l.lines == 1 && index.size() >= 2 * kTask && l.across >= 64) {  // one long line: share out its columns
    constexpr int64_t kColumns = 32;
    const LineOffsets first(arrays, index, l, 0);
    parallel_for((l.across + kColumns - 1) / kColumns,
                 [&](int64_t t) { line(first.at, t * kColumns, std::min(l.across, (t + 1) * kColumns)); });
    return;
  }
  const int64_t per_task = std::max<int64_t>(1, kTask / (l.along * l.across));
  parallel_for((l.lines + per_task - 1) / per_task, [&](int64_t t) {
    LineOffsets offsets(arrays, index, l, t * per_task);
    for (int64_t k = t * per_task; k < std::min(l.lines, (t + 1) * per_task); ++k, offsets.next())
      line(offsets.at, 0, l.across);
  });
}

void run_gather(const OpCall& call) {
  const Array x = at_least_1d(*call.in[0]), index = at_least_1d(*call.in[1]), y = at_least_1d(call.out[0]);
  const int64_t dim = call.attributes.ints[0];
  visit_bits(x.dtype, [&](auto bits) {
    using T = decltype(bits);
    walk_lines<T>(x, index, y, static_cast<int>(dim < 0 ? dim + x.ndim : dim),
                  [](const T* from, T* to) { *to = *from; });
  });
}

void infer_scatter_add(OpCall& call) {
  const Array x = at_least_1d(*call.in[0]), index = at_least_1d(*call.in[1]), source = at_least_1d(*call.in[2]);
  const int dim = gather_dim(call, x, index);
  if (source.dtype != x.dtype)
    fail<TypeError>("scatter_add: src is ", dtype_name(source.dtype), " but x is ", dtype_name(x.dtype));
  bool fits = source.ndim == index.ndim;
  for (int d = 0; d < index.ndim && fits; ++d) fits = index.shape[d] <= source.shape[d];
  if (!fits)
    fail<ValueError>("scatter_add: index of shape ", shape_text(index), " must not be longer than src of shape ",
                     shape_text(source), " in any dimension (dim is ", dim, ")");
  call.out[0].describe(x.dtype, call.in[0]->ndim, call.in[0]->shape);
}

void run_scatter_add(const OpCall& call) {
  copy_in_tasks(call.out[0], *call.in[0]);
  const Array y = at_least_1d(call.out[0]), index = at_least_1d(*call.in[1]), source = at_least_1d(*call.in[2]);
  const int64_t dim = call.attributes.ints[0];
  visit_dtype(y.dtype, [&](auto v) {
    using T = decltype(v);
    walk_lines<T>(y, index, source, static_cast<int>(dim < 0 ? dim + y.ndim : dim),
                  [](T* to, const T* from) { *to = add(*to, *from); });
  });
}

}  // namespace

const OpList& index_ops() {
  static const OpList ops = [] {
    OpList list = {
        {"take", 2, 1, kAnyTypes | kChecksValues, infer_take, run_take},
        {"embedding", 2, 1, kAnyTypes | kChecksValues, infer_embedding, run_embedding},
        {"add_at", 2, 1, kAnyTypes | kChecksValues, infer_add_at, run_add_at},
        {"put_at", 3, 0, kInPlace | kAnyTypes | kChecksValues, infer_put_at, run_put_at, 1},
        {"flat_index", -1, 1, kAnyTypes | kChecksValues, infer_flat_index, run_flat_index},
        {"gather", 2, 1, kAnyTypes | kChecksValues, infer_gather, run_gather},
        {"scatter_add", 3, 1, kAnyTypes | kChecksValues, infer_scatter_add, run_scatter_add},
    };
    const OpList found = search_ops();
    list.insert(list.end(), found.begin(), found.end());
    return list;
  }();
  return ops;
}

}  // namespace pn
