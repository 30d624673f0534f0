// Shape ops. Views are windows on their input's memory: infer() makes the window and nothing runs. The others copy
// whole blocks, in tasks of whole rows.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/threads.h"
#include "ops/op.h"
#include "ops/shape.h"

namespace pn {

bool view_strides(const Array& x, int ndim, const int64_t* shape, int64_t* strides) {
  int64_t size = 1;
  for (int d = 0; d < ndim; ++d) size *= shape[d];
  if (size == 0 || x.ndim == 0) {
    int64_t stride = 1;
    for (int d = ndim - 1; d >= 0; --d) strides[d] = stride, stride *= shape[d];
    return true;
  }
  // Axes of x that lie one after the other without a gap form a run; the new axes must divide each run exactly.
  int v = ndim - 1;
  int64_t base = x.strides[x.ndim - 1], old_run = 1, new_run = 1;
  for (int d = x.ndim - 1; d >= 0; --d) {
    old_run *= x.shape[d];
    const bool run_ends = d == 0 || (x.shape[d - 1] != 1 && x.strides[d - 1] != old_run * base);
    if (!run_ends) continue;
    for (; v >= 0 && (new_run < old_run || shape[v] == 1); --v) {
      strides[v] = new_run * base;
      new_run *= shape[v];
    }
    if (new_run != old_run) return false;
    if (d > 0) base = x.strides[d - 1], old_run = new_run = 1;
  }
  return v == -1;
}

void copy_in_tasks(const Array& dst, const Array& src) {
  constexpr int64_t kTask = int64_t{1} << 16;  // elements
  const int64_t size = dst.size();
  int axis = -1;  // the first long axis, else the longest
  for (int d = 0; d < dst.ndim && (axis < 0 || dst.shape[axis] < 16); ++d)
    if (axis < 0 || dst.shape[d] > dst.shape[axis]) axis = d;
  if (size < 2 * kTask || axis < 0 || may_overlap(dst, src)) return copy_into(dst, src);
  const int64_t length = dst.shape[axis];
  const int64_t step = std::max<int64_t>(1, kTask / std::max<int64_t>(1, size / length));
  parallel_for((length + step - 1) / step, [&](int64_t t) {
    const auto part = [&](const Array& whole) {
      Array window = whole;
      window.data += t * step * window.strides[axis] * static_cast<int64_t>(item_size(window.dtype));
      window.shape[axis] = std::min(step, length - t * step);
      return window;
    };
    copy_into(part(dst), part(src));
  });
}

namespace {

using List = AttributeReader::List;

std::string list_text(List list) { return shape_text(list.count, list.values); }

void check_rank(const OpCall& call, int ndim) {
  if (ndim > kMaxDims) fail<ValueError>(call.op->name, ": a tensor has at most ", kMaxDims, " dimensions, not ", ndim);
}

// ---- reshape, permute, expand ----

void infer_reshape(OpCall& call) {
  const Array& x = *call.in[0];
  AttributeReader attributes(call.attributes);
  const List wanted = attributes.list();
  check_rank(call, wanted.count);
  int64_t shape[kMaxDims];
  int64_t known = 1;
  int open = -1;
  for (int d = 0; d < wanted.count; ++d) {
    shape[d] = wanted.values[d];
    if (shape[d] == -1 && open < 0) {
      open = d;
      continue;
    }
    if (shape[d] < 0)
      fail<ValueError>("reshape: ", list_text(wanted), " is no shape; one size may be -1, the others are at least 0");
    if (__builtin_mul_overflow(known, shape[d], &known)) known = -1;
  }
  const int64_t size = x.size();
  if (open >= 0 && known > 0 && size % known == 0) shape[open] = size / known, known = size;
  if (known != size || (open >= 0 && shape[open] == -1))
    fail<ValueError>("reshape: x of shape ", shape_text(x), " has ", size, " elements and cannot take the shape ",
                     list_text(wanted));
  int64_t strides[kMaxDims];
  if (!view_strides(x, wanted.count, shape, strides))
    fail<ValueError>("view: x of shape ", shape_text(x), " is strided in memory such that no view of shape ",
                     list_text(wanted), " exists; use reshape, which copies");
  Array& y = call.out[0] = x;
  y.ndim = wanted.count;
  for (int d = 0; d < y.ndim; ++d) y.shape[d] = shape[d], y.strides[d] = strides[d];
}

void infer_permute(OpCall& call) {
  const Array& x = *call.in[0];
  AttributeReader attributes(call.attributes);
  const List dims = attributes.list();
  bool right = dims.count == x.ndim;
  unsigned seen = 0;
  Array y = x;
  for (int d = 0; d < dims.count && right; ++d) {
    const int64_t from = checked_axis(call, dims.values[d], x.ndim);
    right = !(seen >> from & 1);
    seen |= 1u << from;
    y.shape[d] = x.shape[from];
    y.strides[d] = x.strides[from];
  }
  if (!right)
    fail<ValueError>("permute: dims ", list_text(dims), " must name each of the ", x.ndim,
                     " dimensions of x, of shape ", shape_text(x), ", once");
  call.out[0] = std::move(y);
}

void infer_expand(OpCall& call) {
  const Array& x = *call.in[0];
  AttributeReader attributes(call.attributes);
  const List wanted = attributes.list();
  check_rank(call, wanted.count);
  const int added = wanted.count - x.ndim;
  bool right = added >= 0;
  int64_t shape[kMaxDims];
  for (int d = 0; d < wanted.count && right; ++d) {
    const int64_t old = d < added ? 1 : x.shape[d - added];
    shape[d] = wanted.values[d] == -1 && d >= added ? old : wanted.values[d];
    right = shape[d] >= 0 && (old == 1 || old == shape[d]);
  }
  if (!right)
    fail<ValueError>("expand: x of shape ", shape_text(x), " does not expand to ", list_text(wanted),
                     "; aligned from the right, each size of x must be 1 or the wanted one (-1 keeps it)");
  // The number of elements must stay countable: everything behind relies on it.
  int64_t elements = 1;
  for (int d = 0; d < wanted.count; ++d)
    if (shape[d] > 0 && __builtin_mul_overflow(elements, shape[d], &elements))
      fail<ValueError>("expand: ", list_text(wanted), " has more elements than can be counted");
  call.out[0] = expanded(x, wanted.count, shape);
}

// ---- slice and its adjoint ----

// A basic index: per axis the first index, the number of indices and the step between them. The length kOne takes the
// single index and drops the axis.
constexpr int64_t kOne = -1;

struct Slice {
  List starts, lengths, steps;
  explicit Slice(AttributeReader& attributes)
      : starts(attributes.list()), lengths(attributes.list()), steps(attributes.list()) {}
};

// The window of x that the index selects.
Array window_of(const OpCall& call, const Array& x, const Slice& s) {
  if (s.starts.count != x.ndim || s.lengths.count != x.ndim || s.steps.count != x.ndim)
    fail<ValueError>(call.op->name, ": starts, lengths and steps need one entry for each of the ", x.ndim,
                     " dimensions of shape ", shape_text(x));
  Array y = x;
  y.ndim = 0;
  for (int d = 0; d < x.ndim; ++d) {
    const int64_t start = s.starts.values[d], step = s.steps.values[d];
    const int64_t length = s.lengths.values[d] == kOne ? 1 : s.lengths.values[d];
    const int64_t last = length > 0 ? start + (length - 1) * step : start;
    if (length < 0 || (length > 1 && step == 0) ||
        (length > 0 && (start < 0 || start >= x.shape[d] || last < 0 || last >= x.shape[d])))
      fail<IndexError>(call.op->name, ": ", length, " indices from ", start, " by steps of ", step, " leave dimension ",
                       d, " of shape ", shape_text(x));
    if (length > 0 && y.data) y.data += start * x.strides[d] * static_cast<int64_t>(item_size(x.dtype));
    if (s.lengths.values[d] == kOne) continue;
    y.shape[y.ndim] = length;
    y.strides[y.ndim++] = x.strides[d] * step;
  }
  return y;
}

void infer_slice(OpCall& call) {
  AttributeReader attributes(call.attributes);
  const Slice s(attributes);
  call.out[0] = window_of(call, *call.in[0], s);
}

// A tensor of the given shape, filled with `value`, with x written where the slice lies.
void infer_embed_slice(OpCall& call) {
  const Array& x = *call.in[0];
  AttributeReader attributes(call.attributes);
  const List shape = attributes.list();
  const Slice s(attributes);
  check_rank(call, shape.count);
  call.out[0].describe(x.dtype, shape.count, shape.values);
  Array whole;  // no memory yet: the addresses of the window are not used
  whole.describe(x.dtype, shape.count, shape.values);
  const Array window = window_of(call, whole, s);
  if (!window.same_shape(x))
    fail<ValueError>("embed_slice: x of shape ", shape_text(x), " does not fit the slice of shape ",
                     shape_text(window));
}

void run_embed_slice(const OpCall& call) {
  const Array& y = call.out[0];
  AttributeReader attributes(call.attributes);
  attributes.list();
  const Slice s(attributes);
  const double value = attributes.real();
  const int64_t size = y.size();
  constexpr int64_t kTask = int64_t{1} << 17;
  const int64_t tasks = call.in[0]->size() < size ? (size + kTask - 1) / kTask : 0;
  if (value == 0 && !std::signbit(value)) {  // memset is several times as fast as a loop here
    const int64_t item = static_cast<int64_t>(item_size(y.dtype));
    parallel_for(tasks, [&](int64_t t) {
      const int64_t n = std::min(kTask, size - t * kTask);
      std::memset(y.data + t * kTask * item, 0, static_cast<size_t>(n * item));
    });
  } else {
    visit_dtype(y.dtype, [&](auto v) {
      using T = decltype(v);
      const T fill = static_cast<T>(value);
      parallel_for(tasks, [&](int64_t t) {
        std::fill(y.ptr<T>() + t * kTask, y.ptr<T>() + std::min(size, (t + 1) * kTask), fill);
      });
    });
  }
  copy_in_tasks(window_of(call, y, s), *call.in[0]);
}

// ---- copies ----

void infer_contiguous(OpCall& call) {
  const Array& x = *call.in[0];
  call.out[0].describe(x.dtype, x.ndim, x.shape);
}
void run_contiguous(const OpCall& call) { copy_in_tasks(call.out[0], *call.in[0]); }

void infer_concatenate(OpCall& call) {
  const Array& first = *call.in[0];
  if (first.ndim == 0) fail<ValueError>("concatenate: tensors without dimensions cannot be joined; use stack");
  AttributeReader attributes(call.attributes);
  const int64_t axis = checked_axis(call, attributes.integer(), first.ndim);
  int64_t shape[kMaxDims];
  std::copy(first.shape, first.shape + first.ndim, shape);
  for (int i = 1; i < call.inputs; ++i) {
    const Array& x = *call.in[i];
    bool fits = x.ndim == first.ndim;
    for (int d = 0; d < first.ndim && fits; ++d) fits = d == axis || x.shape[d] == first.shape[d];
    if (!fits)
      fail<ValueError>("concatenate: tensor ", i, " of shape ", shape_text(x), " does not fit tensor 0 of shape ",
                       shape_text(first), "; all sizes but that of dim ", axis, " must be equal");
    shape[axis] += x.shape[axis];
  }
  call.out[0].describe(first.dtype, first.ndim, shape);
}

void run_concatenate(const OpCall& call) {
  const Array& y = call.out[0];
  const int64_t dim = call.attributes.ints[0];
  const int64_t axis = dim < 0 ? dim + y.ndim : dim;
  Array window = y;
  for (int i = 0; i < call.inputs; ++i) {
    window.shape[axis] = call.in[i]->shape[axis];
    if (call.in[i]->size() > 0) copy_in_tasks(window, *call.in[i]);
    window.data += window.shape[axis] * y.strides[axis] * static_cast<int64_t>(item_size(y.dtype));
  }
}

// x <- y, broadcast and converted.
void infer_assign(OpCall& call) {
  const Array &x = *call.in[0], &y = *call.in[1];
  int ndim;
  int64_t shape[kMaxDims];
  const bool fits = broadcast_shapes(x.ndim, x.shape, y.ndim, y.shape, &ndim, shape) && ndim == x.ndim &&
                    std::equal(shape, shape + ndim, x.shape);
  if (!fits)
    fail<ValueError>("assign: a value of shape ", shape_text(y), " does not fit the place of shape ", shape_text(x),
                     "; aligned from the right, each of its sizes must be 1 or the place's");
}
void run_assign(const OpCall& call) {
  const Array& x = *call.in[0];
  copy_in_tasks(x, expanded(*call.in[1], x.ndim, x.shape));
}

void no_run(const OpCall&) {}

}  // namespace

const OpList& shape_ops() {
  static const OpList ops = {
      {"reshape", 1, 1, kView | kAnyTypes, infer_reshape, no_run},
      {"permute", 1, 1, kView | kAnyTypes, infer_permute, no_run},
      {"expand", 1, 1, kView | kAnyTypes | kBroadcasts, infer_expand, no_run},
      {"slice", 1, 1, kView | kAnyTypes, infer_slice, no_run},
      {"embed_slice", 1, 1, kAnyTypes, infer_embed_slice, run_embed_slice},
      {"contiguous", 1, 1, kAnyTypes, infer_contiguous, run_contiguous},
      {"concatenate", -1, 1, kTakesIntegers, infer_concatenate, run_concatenate},
      {"assign", 2, 0, kInPlace | kAnyTypes, infer_assign, run_assign, 1},
  };
  return ops;
}

}  // namespace pn
