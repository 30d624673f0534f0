// Ops on rows that are grouped by a number each (segments), and on the edges of a graph, grouped by the node that they
// lead to or come from.
//
// `groups`, made once per list of numbers by segment_groups, says which rows each segment owns: an int64 vector of the
// segments' starts (one more than there are segments) followed by the row numbers, those of one segment in rising
// order; rows in no segment leave places at the end that hold -1. Threads share out the segments, never the rows of
// one, so the bits do not depend on them.
//
// segment_groups refuses a number that is out of range; the other ops leave out what does not fit.
#include <algorithm>
#include <cstring>
#include <memory>

#include "core/cpu.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/index.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kTask = int64_t{1} << 16;  // numbers per task

// ---- segment_groups(index, skip): attribute num; rows where skip (a bool vector, or absent) is true are left out ----

void infer_segment_groups(OpCall& call) {
  const Array& index = *call.in[0];
  const Array* skip = call.in[1];
  const int64_t segments = call.attributes.ints[0];
  if (index.dtype != DType::Int64 || index.ndim != 1)
    fail<ValueError>("segment_groups: index must be an int64 vector, got ", dtype_name(index.dtype), " of shape ",
                     shape_text(index));
  if (skip && (skip->dtype != DType::Bool || !skip->same_shape(index)))
    fail<ValueError>("segment_groups: skip must be bool of shape ", shape_text(index), ", got ",
                     dtype_name(skip->dtype), " of shape ", shape_text(*skip));
  if (segments < 0) fail<ValueError>("segment_groups: the number of segments is ", segments, ", at least 0 is wanted");
  check_range(call, index, 0, segments, "segments from ", 0);
  const int64_t size = segments + 1 + index.shape[0];
  call.out[0].describe(DType::Int64, 1, &size);
}

void run_segment_groups(const OpCall& call) {
  const Array index = as_contiguous(*call.in[0]), skip = call.in[1] ? as_contiguous(*call.in[1]) : Array();
  const int64_t n = call.attributes.ints[0], rows = index.size();
  const int64_t* segment = index.ptr<int64_t>();
  int64_t *start = call.out[0].ptr<int64_t>(), *order = start + n + 1;
  std::memset(start, 0, static_cast<size_t>(n + 1) * sizeof(int64_t));
  const auto counts = [&](int64_t e) {
    return static_cast<uint64_t>(segment[e]) < static_cast<uint64_t>(n) && !(skip.data && skip.ptr<bool>()[e]);
  };
  for (int64_t e = 0; e < rows; ++e)
    if (counts(e)) ++start[segment[e] + 1];
  for (int64_t v = 0; v < n; ++v) start[v + 1] += start[v];
  // start[v] is where the next row of v goes, which in the end is where v + 1 starts.
  for (int64_t e = 0; e < rows; ++e)
    if (counts(e)) order[start[segment[e]]++] = e;
  for (int64_t j = n ? start[n - 1] : 0; j < rows; ++j) order[j] = -1;  // as many as were left out
  if (n) std::memmove(start + 1, start, static_cast<size_t>(n) * sizeof(int64_t));
  start[0] = 0;
}

// ---- what the other ops share ----

// The number of segments of groups for so many rows.
int64_t segments_of(const OpCall& call, int input, int64_t rows) {
  const Array& groups = *call.in[input];
  if (groups.dtype != DType::Int64 || groups.ndim != 1 || groups.shape[0] < rows + 1)
    fail<ValueError>(call.op->name, ": groups must be what segment_groups makes of ", rows, " numbers, got ",
                     dtype_name(groups.dtype), " of shape ", shape_text(groups));
  return groups.shape[0] - rows - 1;
}

void require_numbers(const OpCall& call, int input, int64_t rows) {
  const Array& index = *call.in[input];
  if (index.dtype != DType::Int64 || index.ndim != 1 || index.shape[0] != rows)
    fail<ValueError>(call.op->name, ": the numbers of ", rows, " rows must be an int64 vector of that length, got ",
                     dtype_name(index.dtype), " of shape ", shape_text(index));
}

// Calls f(segments) on ranges of segments of about kTask numbers, `width` for each row or segment.
template <class F>
void over_segments(const Array& groups, int64_t rows, int64_t width, const F& f) {
  const int64_t n = groups.shape[0] - rows - 1;
  const int64_t* start = groups.ptr<int64_t>();
  const int64_t places = std::max<int64_t>(1, kTask / std::max<int64_t>(1, width));
  const int64_t tasks = (rows + n) / places + 1;
  // A segment counts as one row more, so that many empty ones are shared out as well.
  const auto first = [&](int64_t t) {
    int64_t low = 0, high = n;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      start[middle] + middle < t* places ? low = middle + 1 : high = middle;
    }
    return low;
  };
  parallel_for(tasks, [&](int64_t t) {
    const int64_t low = first(t), high = t + 1 < tasks ? first(t + 1) : n;
    if (low < high) f(Segments{low, high, rows, start, start + n + 1});
  });
}

template <void (*f32)(const OpCall&), void (*f64)(const OpCall&)>
void by_type(const OpCall& call) {
  if (call.out[0].size()) call.out[0].dtype == DType::Float64 ? f64(call) : f32(call);
}

// ---- segment_sum, segment_max, segment_softmax, segment_take (x, groups) ----

int64_t width_of(const Array& x) {
  int64_t n = 1;
  for (int d = 1; d < x.ndim; ++d) n *= x.shape[d];
  return n;
}

void require_rows(const OpCall& call) {
  require_float(call, 0, "x");
  if (call.in[0]->ndim == 0) fail<ValueError>(call.op->name, ": x has no dimensions, but rows are wanted");
}

// Describes the output: as x, with so many rows.
void describe_rows(OpCall& call, int64_t rows) {
  Array like = *call.in[0];
  like.shape[0] = rows;
  call.out[0].describe(like.dtype, like.ndim, like.shape);
}

// Zeros, if there are rows in no segment, which nothing else writes.
template <class T>
void clear_unowned(const Array& y, const Array& groups, int64_t segments) {
  if (groups.ptr<int64_t>()[segments] < y.shape[0]) std::memset(y.data, 0, static_cast<size_t>(y.size()) * sizeof(T));
}

void infer_segment_fold(OpCall& call) {
  require_rows(call);
  describe_rows(call, segments_of(call, 1, call.in[0]->shape[0]));
}

template <class T, int which>
void run_segment_fold(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]), groups = as_contiguous(*call.in[1]);
  const int64_t width = width_of(x);
  over_segments(groups, x.shape[0], width, [&](const Segments& s) {
    kernels().of<T>().segments.fold[which](s, width, x.ptr<T>(), call.out[0].ptr<T>());
  });
}

void infer_segment_softmax(OpCall& call) {
  require_rows(call);
  segments_of(call, 1, call.in[0]->shape[0]);
  describe_rows(call, call.in[0]->shape[0]);
}

template <class T>
void run_segment_softmax(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]), groups = as_contiguous(*call.in[1]);
  const int64_t width = width_of(x);
  clear_unowned<T>(call.out[0], groups, groups.shape[0] - x.shape[0] - 1);
  const std::unique_ptr<T[]> work(new T[static_cast<size_t>(x.size())]);
  over_segments(groups, x.shape[0], 8 * width, [&](const Segments& s) {  // an exponential costs as much as 8 additions
    T few[64];
    const std::unique_ptr<T[]> many(width > 32 ? new T[static_cast<size_t>(2 * width)] : nullptr);
    kernels().of<T>().segments.softmax(s, width, x.ptr<T>(), call.out[0].ptr<T>(), work.get(), many ? many.get() : few);
  });
}

// The adjoint of segment_sum: each row of a segment is x's row for it; 0 for rows in no segment.
void infer_segment_take(OpCall& call) {
  require_rows(call);
  const Array &x = *call.in[0], &groups = *call.in[1];
  if (groups.dtype != DType::Int64 || groups.ndim != 1 || groups.shape[0] < x.shape[0] + 1)
    fail<ValueError>("segment_take: groups must be what segment_groups makes for ", x.shape[0], " segments, got ",
                     dtype_name(groups.dtype), " of shape ", shape_text(groups));
  describe_rows(call, groups.shape[0] - x.shape[0] - 1);
}

template <class T>
void run_segment_take(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]), groups = as_contiguous(*call.in[1]);
  const Array& y = call.out[0];
  const int64_t width = width_of(x);
  clear_unowned<T>(y, groups, x.shape[0]);
  over_segments(groups, y.shape[0], width,
                [&](const Segments& s) { kernels().of<T>().segments.take(s, width, x.ptr<T>(), y.ptr<T>()); });
}

// ---- edge_sum(weight, x, source, target, incoming, outgoing), edge_dot(a, b, target, source, incoming, outgoing) ----
// incoming: the edges grouped by target; outgoing: by source, which the gradients need.

void check_edges(const OpCall& call, int64_t edges) {
  require_numbers(call, 2, edges);
  require_numbers(call, 3, edges);
}

void require_nodes(const OpCall& call, int input, const char* name, int64_t rows) {
  const Array& x = *call.in[input];
  require_float(call, input, name);
  if (x.ndim != 3 || x.shape[0] != rows || x.dtype != call.in[0]->dtype)
    fail<ValueError>(call.op->name, ": ", name, " must be ", dtype_name(call.in[0]->dtype), " of shape (", rows,
                     ", heads, depth), got ", dtype_name(x.dtype), " of shape ", shape_text(x));
}

void infer_edge_sum(OpCall& call) {
  const Array &weight = *call.in[0], &x = *call.in[1];
  require_float(call, 0, "weight");
  if (weight.ndim != 2) fail<ValueError>("edge_sum: weight must be (edges, heads), got ", shape_text(weight));
  const int64_t edges = weight.shape[0];
  check_edges(call, edges);
  require_nodes(call, 1, "x", segments_of(call, 5, edges));
  if (x.shape[1] != weight.shape[1])
    fail<ValueError>("edge_sum: weight of shape ", shape_text(weight), " and x of shape ", shape_text(x),
                     " differ in the number of heads");
  const int64_t shape[3] = {segments_of(call, 4, edges), x.shape[1], x.shape[2]};
  call.out[0].describe(x.dtype, 3, shape);
}

void infer_edge_dot(OpCall& call) {
  const Array &a = *call.in[0], &b = *call.in[1];
  const int64_t edges = call.in[2]->ndim ? call.in[2]->shape[0] : 0;
  check_edges(call, edges);
  require_nodes(call, 0, "a", segments_of(call, 4, edges));
  require_nodes(call, 1, "b", segments_of(call, 5, edges));
  if (a.shape[1] != b.shape[1] || a.shape[2] != b.shape[2])
    fail<ValueError>("edge_dot: a of shape ", shape_text(a), " and b of shape ", shape_text(b),
                     " differ in heads or depth");
  const int64_t shape[2] = {edges, a.shape[1]};
  call.out[0].describe(a.dtype, 2, shape);
}

template <class T>
void run_edge_sum(const OpCall& call) {
  const Array weight = as_contiguous(*call.in[0]), x = as_contiguous(*call.in[1]), source = as_contiguous(*call.in[2]);
  const Array groups = as_contiguous(*call.in[4]);
  over_segments(groups, weight.shape[0], x.shape[1] * x.shape[2], [&](const Segments& s) {
    const EdgeWork<T> work{s, source.ptr<int64_t>(), x.shape[0], x.shape[1], x.shape[2]};
    kernels().of<T>().segments.edge_sum(work, weight.ptr<T>(), x.ptr<T>(), call.out[0].ptr<T>());
  });
}

template <class T>
void run_edge_dot(const OpCall& call) {
  const Array a = as_contiguous(*call.in[0]), b = as_contiguous(*call.in[1]), source = as_contiguous(*call.in[3]);
  const Array groups = as_contiguous(*call.in[4]);
  clear_unowned<T>(call.out[0], groups, a.shape[0]);
  over_segments(groups, source.size(), a.shape[1] * a.shape[2], [&](const Segments& s) {
    const EdgeWork<T> work{s, source.ptr<int64_t>(), b.shape[0], b.shape[1], b.shape[2]};
    kernels().of<T>().segments.edge_dot(work, a.ptr<T>(), b.ptr<T>(), call.out[0].ptr<T>());
  });
}

double operations(const OpCall& call) {
  const Array& nodes = *call.in[1];
  return 2.0 * static_cast<double>(call.in[2]->size() * nodes.shape[1] * nodes.shape[2]);
}

}  // namespace

const OpList& segment_ops() {
  static const OpList ops = {
      {"segment_groups", 2, 1, kAnyTypes | kChecksValues, infer_segment_groups, run_segment_groups},
      {"segment_sum", 2, 1, kAnyTypes, infer_segment_fold,
       by_type<run_segment_fold<float, 0>, run_segment_fold<double, 0>>},
      {"segment_max", 2, 1, kAnyTypes, infer_segment_fold,
       by_type<run_segment_fold<float, 1>, run_segment_fold<double, 1>>},
      {"segment_softmax", 2, 1, kAnyTypes, infer_segment_softmax,
       by_type<run_segment_softmax<float>, run_segment_softmax<double>>},
      {"segment_take", 2, 1, kAnyTypes, infer_segment_take, by_type<run_segment_take<float>, run_segment_take<double>>},
      {"edge_sum", 6, 1, kAnyTypes, infer_edge_sum, by_type<run_edge_sum<float>, run_edge_sum<double>>, 0, nullptr,
       nullptr, nullptr, operations},
      {"edge_dot", 6, 1, kAnyTypes, infer_edge_dot, by_type<run_edge_dot<float>, run_edge_dot<double>>, 0, nullptr,
       nullptr, nullptr, operations},
  };
  return ops;
}

}  // namespace pn
