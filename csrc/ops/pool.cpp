// Pooling over one to three spatial axes: `max_pool` with its indices, `avg_pool`, their adjoints, and `max_unpool`.
// Output sizes are attributes. Without a kernel size the windows are adaptive: output j of n over an axis of `size`
// elements spans [floor(j size / n), ceil((j + 1) size / n)).
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/index.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kTaskWork = 30000;  // elements read by a task, about
constexpr int64_t kTile = 1 << 16;    // elements of 16 planes that are pooled in cache, about

// One window along one axis: the places begin, begin + step, ... below end; `count` places with the padding.
struct Window {
  int64_t begin, end, step, count;
};

struct PoolShape {
  int spatial;
  int64_t planes;         // batch times channels
  int64_t in[3], out[3];  // of one plane; axes in front have size 1
  std::vector<Window> windows[3];
  bool adaptive;
  int64_t stride;  // of the last axis

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
};

std::string name_of(const OpCall& call, int spatial) {
  return std::string(call.op->name) + std::to_string(spatial) + "d";
}

// Fills windows from the attributes kernel, stride, padding and, for maxima, dilation.
void read_windows(const OpCall& call, AttributeReader& attributes, bool dilates, PoolShape& s) {
  const AttributeReader::List kernel = attributes.list(), stride = attributes.list(), padding = attributes.list();
  const AttributeReader::List dilation = dilates ? attributes.list() : AttributeReader::List{0, nullptr};
  s.adaptive = kernel.count == 0;
  s.stride = 1;
  const auto check = [&](const char* what, const AttributeReader::List& list, int64_t least) {
    if (list.count != s.spatial)
      fail<ValueError>(name_of(call, s.spatial), ": ", what, " has ", list.count, " entries but there are ", s.spatial,
                       " spatial dimensions");
    for (int d = 0; d < s.spatial; ++d)
      if (list.values[d] < least)
        fail<ValueError>(name_of(call, s.spatial), ": ", what, " is ", shape_text(s.spatial, list.values),
                         " but its entries must be at least ", least);
  };
  if (!s.adaptive) {
    check("kernel_size", kernel, 1);
    check("stride", stride, 1);
    check("padding", padding, 0);
    if (dilates) check("dilation", dilation, 1);
  }
  for (int d = 0; d < 3; ++d) {
    const int i = d - (3 - s.spatial);
    for (int64_t j = 0; j < s.out[d]; ++j) {
      Window w{0, 1, 1, 1};
      if (i >= 0 && s.adaptive) {
        w.begin = j * s.in[d] / s.out[d];
        w.end = ((j + 1) * s.in[d] + s.out[d] - 1) / s.out[d];
        w.count = w.end - w.begin;
      } else if (i >= 0) {
        if (d == 2) s.stride = stride.values[i];
        const int64_t begin = j * stride.values[i] - padding.values[i];
        w.step = dilates ? dilation.values[i] : 1;
        const int64_t end = begin + (kernel.values[i] - 1) * w.step + 1;
        w.count = std::min(end, s.in[d] + padding.values[i]) - begin;
        w.begin = begin < 0 ? begin + (-begin + w.step - 1) / w.step * w.step : begin;
        w.end = std::min(end, s.in[d]);
      }
      if (w.begin >= w.end)
        fail<ValueError>(name_of(call, s.spatial), ": the window of output ", j, " along spatial dimension ", i,
                         " holds no element of x, which has size ", s.in[d],
                         " there; use less padding, or a smaller dilation or output");
      s.windows[d].push_back(w);
    }
  }
}

PoolShape read_shape(const OpCall& call) {
  const Array& x = *call.in[0];
  PoolShape s{};
  s.spatial = spatial_dims(call);
  s.planes = x.shape[0] * x.shape[1];
  for (int d = 0; d < 3; ++d) s.in[d] = s.out[d] = 1;
  return s;
}

// The attribute with sizes of the result, into the last entries of to[3].
void read_sizes(const OpCall& call, AttributeReader& attributes, int spatial, int64_t* to) {
  const AttributeReader::List sizes = attributes.list();
  if (sizes.count != spatial)
    fail<ValueError>(name_of(call, spatial), ": size has ", sizes.count, " entries but there are ", spatial,
                     " spatial dimensions");
  for (int d = 0; d < spatial; ++d) {
    if (sizes.values[d] < 0)
      fail<ValueError>(name_of(call, spatial), ": size is ", shape_text(spatial, sizes.values),
                       " but sizes are not negative");
    to[3 - spatial + d] = sizes.values[d];
  }
}

void copy_sizes(const Array& x, int spatial, int64_t* to) {
  for (int d = 0; d < spatial; ++d) to[3 - spatial + d] = x.shape[2 + d];
}

void describe(Array& out, const Array& x, DType type, int spatial, const int64_t* sizes) {
  int64_t shape[kMaxDims] = {x.shape[0], x.shape[1]};
  for (int d = 0; d < spatial; ++d) shape[2 + d] = sizes[3 - spatial + d];
  out.describe(type, spatial + 2, shape);
}

// Calls f(first, last) on ranges of [0, units), each about a task's work; a unit reads and writes so many elements.
template <class F>
void in_tasks(int64_t units, int64_t elements, const F& f) {
  const int64_t each = std::max<int64_t>(1, kTaskWork / (1 + elements));
  parallel_for((units + each - 1) / each, [&](int64_t task) { f(task * each, std::min(units, (task + 1) * each)); });
}

// Calls f(plane) for every plane.
template <class F>
void for_planes(const PoolShape& s, const F& f) {
  in_tasks(s.planes, s.in_size() + s.out_size(), [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) f(p);
  });
}

// ---- maxima ----

// Which planes are lanes from plane number `plane` on: neighbours, or, as soon as an operand lies in blocks of the
// batch, one channel's of a block of images. There the block and the channel are counted as the planes of neighbours
// are.
struct Lanes {
  int64_t first, step = 1;
  Lanes(const OpCall& call, int64_t plane) : first(plane) {
    if (!call.blocked) return;
    step = call.in[0]->shape[1];
    const int64_t group = plane / kBatchLanes;
    first = group / step * kBatchLanes * step + group % step;
  }
};

// Of max_pool, or of its gradient, whose first input has the shape of the maxima.
PoolShape max_pool_shape(const OpCall& call, bool backward = false) {
  PoolShape s = read_shape(call);
  copy_sizes(*call.in[0], s.spatial, backward ? s.out : s.in);
  AttributeReader attributes(call.attributes);
  read_sizes(call, attributes, s.spatial, backward ? s.in : s.out);
  read_windows(call, attributes, true, s);
  return s;
}

void infer_max_pool(OpCall& call) {
  const PoolShape s = max_pool_shape(call);
  if (s.in_size() > INT32_MAX)
    fail<ValueError>(name_of(call, s.spatial), ": the spatial dimensions of x ", shape_text(*call.in[0]),
                     " hold more than 2^31 - 1 elements");
  describe(call.out[0], *call.in[0], call.in[0]->dtype, s.spatial, s.out);
  describe(call.out[1], *call.in[0], DType::Int64, s.spatial, s.out);
}

struct Run {
  int64_t from, to;  // [from, to)
};

// The outputs along the last axis, in runs whose windows are equally long and evenly spaced.
std::vector<Run> runs_of(const PoolShape& s) {
  const std::vector<Window>& w = s.windows[2];
  std::vector<Run> runs;
  for (int64_t j = 0, k; j < s.out[2]; j = k) {
    const auto same = [&](int64_t i) {
      return !s.adaptive && w[i].end - w[i].begin == w[j].end - w[j].begin &&
             w[i].begin == w[j].begin + (i - j) * s.stride;
    };
    for (k = j + 1; k < s.out[2] && same(k);) ++k;
    runs.push_back({j, k});
  }
  return runs;
}

// The places of x that the first output of a run looks at.
void places_of(const PoolShape& s, int64_t j0, int64_t j1, const Run& run, std::vector<int64_t>& places) {
  const Window &a = s.windows[0][j0], &b = s.windows[1][j1], &c = s.windows[2][run.from];
  places.clear();
  for (int64_t i0 = a.begin; i0 < a.end; i0 += a.step)
    for (int64_t i1 = b.begin; i1 < b.end; i1 += b.step)
      for (int64_t i2 = c.begin; i2 < c.end; i2 += c.step) places.push_back((i0 * s.in[1] + i1) * s.in[2] + i2);
}

// Whether no place is in two windows; then also whether every place is in one.
bool apart(const PoolShape& s, bool* everywhere) {
  *everywhere = true;
  for (int d = 0; d < 3; ++d) {
    int64_t next = 0;
    for (const Window& w : s.windows[d]) {
      if (w.begin < next) return false;
      *everywhere = *everywhere && w.begin == next && w.step == 1;
      next = w.end;
    }
    *everywhere = *everywhere && next == s.in[d];
  }
  return true;
}

// Whether the windows are squares of 2 x 2 that lie side by side.
bool in_squares(const PoolShape& s) {
  bool all = s.in[0] == 1 && s.out[0] == 1;
  for (int d = 1; d < 3; ++d)
    for (int64_t j = 0; j < s.out[d]; ++j) {
      const Window& w = s.windows[d][static_cast<size_t>(j)];
      all = all && w.begin == 2 * j && w.end == w.begin + 2 && w.step == 1;
    }
  return all;
}

// Planes lie side by side as lanes: a band of x is turned so, its maxima are found, and they are turned back. A band is
// some of the output rows that have one place along the first axis. Of x in blocks of the batch, the planes of one
// channel lie so already.
template <class T>
void max_pool(const OpCall& call, const PoolShape& s) {
  using Place = typename PoolPlace<T>::type;
  const Array x = as_contiguous(*call.in[0]);
  const PoolKernels<T>& kernel = kernels().of<T>().pool;
  const bool x_blocked = (call.blocked & 1) != 0, y_blocked = (call.blocked & kOutputBit) != 0;
  const bool index_blocked = (call.blocked & kOutputBit << 1) != 0;
  if (in_squares(s) && !call.blocked)
    return for_planes(s, [&](int64_t plane) {
      const int64_t to = plane * s.out_size();
      kernel.max_of_squares({s.out[1], s.out[2], x.ptr<T>() + plane * s.in_size(), s.in[2], call.out[0].ptr<T>() + to,
                             call.out[1].ptr<int64_t>() + to});
    });
  const std::vector<Run> runs = runs_of(s);
  const std::vector<Window>& rows = s.windows[1];
  int64_t deepest = 1;
  for (const Window& a : s.windows[0]) deepest = std::max(deepest, (a.end - a.begin + a.step - 1) / a.step);
  // The rows of x that output rows [low, high) read.
  const auto rows_of = [&](int64_t low, int64_t high) {
    Run read{rows[low].begin, rows[low].end};
    for (int64_t j = low + 1; j < high; ++j)
      read = {std::min(read.from, rows[j].begin), std::max(read.to, rows[j].end)};
    return read;
  };
  const auto span_of = [&](int64_t band) {
    int64_t most = 0;
    for (int64_t j = 0; j < s.out[1]; j += band) {
      const Run read = rows_of(j, std::min(s.out[1], j + band));
      most = std::max(most, read.to - read.from);
    }
    return most;
  };
  int64_t band = s.out[1];
  while (band > 1 && deepest * span_of(band) * s.in[2] * kBatchLanes > kTile) band = (band + 1) / 2;
  const int64_t span = span_of(band), bands = (s.out[1] + band - 1) / band;
  const int64_t in_size = s.in_size(), out_size = s.out_size(), slice = span * s.in[2], plane_size = s.in[1] * s.in[2];
  const int64_t units = (s.planes + kBatchLanes - 1) / kBatchLanes * s.out[0] * bands;
  const auto unit = [&](int64_t u) {
    static thread_local std::vector<T> turned, maxima;
    static thread_local std::vector<Place> places;
    static thread_local std::vector<int64_t> tap, at;
    const int64_t low = u % bands * band, high = std::min(s.out[1], low + band), j0 = u / bands % s.out[0];
    const int64_t plane = u / bands / s.out[0] * kBatchLanes, lanes = std::min(kBatchLanes, s.planes - plane);
    const Run read = rows_of(low, high);
    const int64_t first = read.from, count = (read.to - first) * s.in[2];
    const int64_t made = (high - low) * s.out[2], within = (j0 * s.out[1] + low) * s.out[2];
    const Lanes planes(call, plane);
    if (!x_blocked) turned.resize(static_cast<size_t>(deepest * slice * lanes));
    if (!y_blocked) maxima.resize(static_cast<size_t>(made * lanes));
    places.resize(static_cast<size_t>(made * lanes));
    const Window& a = s.windows[0][j0];
    for (int64_t i0 = a.begin, k = 0; i0 < a.end && !x_blocked; i0 += a.step, ++k)
      kernels().of<T>().conv.transpose(x.ptr<T>() + planes.first * in_size + (i0 * s.in[1] + first) * s.in[2],
                                       planes.step * in_size, turned.data() + k * slice * lanes, lanes, lanes, count);
    const int64_t to = planes.first * out_size + within, to_block = plane * out_size + within * kBatchLanes;
    const T* const from = x_blocked ? x.ptr<T>() + plane * in_size : turned.data();
    T* const largest = y_blocked ? call.out[0].ptr<T>() + to_block : maxima.data();
    for (int64_t j1 = low; j1 < high; ++j1)
      for (const Run& run : runs) {
        places_of(s, j0, j1, run, at);
        tap = at;
        for (int64_t& t : tap) {
          const int64_t k = (t / plane_size - a.begin) / a.step;
          if (!x_blocked) t = k * slice + t % plane_size - first * s.in[2];
        }
        const int64_t y = ((j1 - low) * s.out[2] + run.from) * lanes;
        kernel.max_of_taps({run.to - run.from, s.stride, lanes, static_cast<int64_t>(tap.size()), tap.data(), at.data(),
                            from, largest + y, places.data() + y});
      }
    if (!y_blocked)
      kernels().of<T>().conv.transpose(largest, lanes, call.out[0].ptr<T>() + to, planes.step * out_size, made, lanes);
    int64_t* const index = call.out[1].ptr<int64_t>();
    if (index_blocked)
      kernel.spread_places(made, lanes, places.data(), index + to_block, 1, kBatchLanes);
    else
      kernel.spread_places(made, lanes, places.data(), index + to, planes.step * out_size, 1);
  };
  in_tasks(units, deepest * slice * kBatchLanes, [&](int64_t first, int64_t last) {
    for (int64_t u = first; u < last; ++u) unit(u);
  });
}

void run_max_pool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const PoolShape s = max_pool_shape(call);
  call.out[0].dtype == DType::Float32 ? max_pool<float>(call, s) : max_pool<double>(call, s);
}

// First attribute: size. Zeros of that spatial size with x's elements at the places that indices, of x's shape, name.
void infer_places(OpCall& call) {
  PoolShape s = read_shape(call);
  const Array &x = *call.in[0], &index = *call.in[1];
  require_float(call, 0, "x");
  if (index.dtype != DType::Int64)
    fail<TypeError>(name_of(call, s.spatial), ": indices are ", dtype_name(index.dtype), " but must be int64");
  if (!x.same_shape(index))
    fail<ValueError>(name_of(call, s.spatial), ": x ", shape_text(x), " and indices ", shape_text(index),
                     " must have one shape");
  AttributeReader attributes(call.attributes);
  read_sizes(call, attributes, s.spatial, s.in);
  describe(call.out[0], x, x.dtype, s.spatial, s.in);
}

void infer_max_unpool(OpCall& call) {
  infer_places(call);
  int64_t plane = 1;
  for (int d = 2; d < call.out[0].ndim; ++d) plane *= call.out[0].shape[d];
  check_range(call, *call.in[1], 0, plane, "the places of one channel of output dimension ", 2);
}

template <class T, bool Add>
void put(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]), index = as_contiguous(*call.in[1]);
  PoolShape s = read_shape(call);
  copy_sizes(x, s.spatial, s.out);
  copy_sizes(call.out[0], s.spatial, s.in);
  const int64_t places = s.in_size(), n = s.out_size(), lanes = call.blocked ? kBatchLanes : 1;
  // Elements from one plane to the next and from one place to the next, in blocks and out of them.
  struct Steps {
    int64_t start, lane, place;
  };
  const auto one = [&](int64_t plane) {
    const Lanes planes(call, plane);
    const auto steps = [&](unsigned bit, int64_t size) {
      return call.blocked & bit ? Steps{plane * size, 1, lanes} : Steps{planes.first * size, planes.step * size, 1};
    };
    const Steps f = steps(1, n), i = steps(2, n), t = steps(kOutputBit, places);
    const T* from = x.ptr<T>() + f.start;
    const int64_t* at = index.ptr<int64_t>() + i.start;
    T* const y = call.out[0].ptr<T>() + t.start;
    const int64_t dense = t.place == 1 ? places : places * lanes;
    for (int64_t l = 0; l < (t.place == 1 ? lanes : 1); ++l)
      std::memset(y + l * t.lane, 0, static_cast<size_t>(dense) * sizeof(T));
    const auto to = [&](T* place, T value) { *place = Add ? *place + value : value; };
    // A replayed call's indices were not checked.
    if (lanes == 1) {
      for (int64_t j = 0; j < n; ++j)
        if (at[j] >= 0 && at[j] < places) to(y + at[j], from[j]);
      return;
    }
    for (int64_t j = 0; j < n; ++j, from += f.place, at += i.place)
      for (int64_t l = 0; l < lanes; ++l)
        if (const int64_t place = at[l * i.lane]; place >= 0 && place < places)
          to(y + l * t.lane + place * t.place, from[l * f.lane]);
    for (int64_t l = 0; l < (t.place == 1 ? lanes : 1); ++l) {
      const int64_t low = t.start + l * t.lane;
      made(call, low, low + dense);
    }
  };
  in_tasks(s.planes / lanes, (places + n) * lanes, [&](int64_t first, int64_t last) {
    for (int64_t u = first; u < last; ++u) one(u * lanes);
    if (lanes == 1) made(call, first * places, last * places);
  });
}

// The gradient of maxima in blocks of the batch whose windows lie apart: each place compares itself with its window's
// index. The maxima's own gradient may lie in blocks or not. False if that is not how things lie.
template <class T>
bool choose(const OpCall& call) {
  const PoolShape s = max_pool_shape(call, true);
  bool everywhere;
  if ((call.blocked & 2) == 0 || (call.blocked & kOutputBit) == 0 || !apart(s, &everywhere)) return false;
  const std::vector<Run> runs = runs_of(s);
  const Array g = as_contiguous(*call.in[0]);
  const int64_t places = s.in_size(), n = s.out_size();
  const auto one = [&](int64_t group) {
    static thread_local std::vector<T> turned;
    static thread_local std::vector<int64_t> at;
    const int64_t plane = group * kBatchLanes;
    const T* dy = g.ptr<T>() + plane * n;
    if (!(call.blocked & 1)) {
      const Lanes planes(call, plane);
      turned.resize(static_cast<size_t>(n * kBatchLanes));
      kernels().of<T>().conv.transpose(g.ptr<T>() + planes.first * n, planes.step * n, turned.data(), kBatchLanes,
                                       kBatchLanes, n);
      dy = turned.data();
    }
    const int64_t* const index = call.in[1]->ptr<int64_t>() + plane * n;
    T* const dx = call.out[0].ptr<T>() + plane * places;
    if (!everywhere) std::memset(dx, 0, static_cast<size_t>(places * kBatchLanes) * sizeof(T));
    for (int64_t j0 = 0; j0 < s.out[0]; ++j0)
      for (int64_t j1 = 0; j1 < s.out[1]; ++j1)
        for (const Run& run : runs) {
          places_of(s, j0, j1, run, at);
          const int64_t j = ((j0 * s.out[1] + j1) * s.out[2] + run.from) * kBatchLanes;
          kernels().of<T>().pool.choose_places(
              {run.to - run.from, s.stride, static_cast<int64_t>(at.size()), at.data(), dy + j, index + j, dx});
        }
    made(call, plane * places, (plane + kBatchLanes) * places);
  };
  in_tasks(s.planes / kBatchLanes, (places + n) * kBatchLanes, [&](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; ++group) one(group);
  });
  return true;
}

void run_max_unpool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  call.out[0].dtype == DType::Float32 ? put<float, false>(call) : put<double, false>(call);
}
template <class T>
void max_pool_backward(const OpCall& call) {
  if (!call.blocked || !choose<T>(call)) put<T, true>(call);
}
void run_max_pool_backward(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  call.out[0].dtype == DType::Float32 ? max_pool_backward<float>(call) : max_pool_backward<double>(call);
}

unsigned max_pool_blocks(const OpCall&) { return 1 | kOutputBit | kOutputBit << 1; }
unsigned max_pool_backward_blocks(const OpCall&) { return 1 | 2 | kOutputBit; }

// ---- means ----

// Attributes of both: size (of the result; for the adjoint that of x), kernel_size, stride, padding,
// count_include_pad, divisor_override.
struct Mean {
  PoolShape s;
  bool with_padding;
  int64_t divisor;  // 0: the number of elements

  template <class T>
  T weight(const Window& a, const Window& b, const Window& c) const {
    const int64_t count =
        with_padding ? a.count * b.count * c.count : (a.end - a.begin) * (b.end - b.begin) * (c.end - c.begin);
    return static_cast<T>(divisor ? divisor : count);
  }
};

Mean mean_shape(const OpCall& call, bool backward) {
  Mean m{read_shape(call), false, 0};
  copy_sizes(*call.in[0], m.s.spatial, backward ? m.s.out : m.s.in);
  AttributeReader attributes(call.attributes);
  read_sizes(call, attributes, m.s.spatial, backward ? m.s.in : m.s.out);
  read_windows(call, attributes, false, m.s);
  m.with_padding = attributes.flag();
  const int64_t divisor = attributes.integer();
  m.divisor = divisor == kNone ? 0 : divisor;
  if (divisor == 0) fail<ValueError>(name_of(call, m.s.spatial), ": divisor_override must not be 0");
  return m;
}

void infer_avg_pool(OpCall& call) {
  const PoolShape s = mean_shape(call, false).s;
  describe(call.out[0], *call.in[0], call.in[0]->dtype, s.spatial, s.out);
}
void infer_avg_pool_backward(OpCall& call) {
  const PoolShape s = mean_shape(call, true).s;
  describe(call.out[0], *call.in[0], call.in[0]->dtype, s.spatial, s.in);
}

template <class T>
void avg_pool(const OpCall& call, const Mean& m) {
  const PoolShape& s = m.s;
  const Array x = as_contiguous(*call.in[0]);
  for_planes(s, [&](int64_t plane) {
    const T* from = x.ptr<T>() + plane * s.in_size();
    T* y = call.out[0].ptr<T>() + plane * s.out_size();
    for (const Window& a : s.windows[0])
      for (const Window& b : s.windows[1])
        for (const Window& c : s.windows[2]) {
          T sum = 0;
          for (int64_t i0 = a.begin; i0 < a.end; ++i0)
            for (int64_t i1 = b.begin; i1 < b.end; ++i1) {
              const T* row = from + (i0 * s.in[1] + i1) * s.in[2];
              for (int64_t i2 = c.begin; i2 < c.end; ++i2) sum += row[i2];
            }
          *y++ = sum / m.template weight<T>(a, b, c);
        }
  });
}

template <class T>
void avg_pool_backward(const OpCall& call, const Mean& m) {
  const PoolShape& s = m.s;
  const Array g = as_contiguous(*call.in[0]);
  for_planes(s, [&](int64_t plane) {
    const T* from = g.ptr<T>() + plane * s.out_size();
    T* dx = call.out[0].ptr<T>() + plane * s.in_size();
    std::memset(dx, 0, static_cast<size_t>(s.in_size()) * sizeof(T));
    for (const Window& a : s.windows[0])
      for (const Window& b : s.windows[1])
        for (const Window& c : s.windows[2]) {
          const T share = *from++ / m.template weight<T>(a, b, c);
          for (int64_t i0 = a.begin; i0 < a.end; ++i0)
            for (int64_t i1 = b.begin; i1 < b.end; ++i1) {
              T* row = dx + (i0 * s.in[1] + i1) * s.in[2];
              for (int64_t i2 = c.begin; i2 < c.end; ++i2) row[i2] += share;
            }
        }
  });
}

void run_avg_pool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const Mean m = mean_shape(call, false);
  call.out[0].dtype == DType::Float32 ? avg_pool<float>(call, m) : avg_pool<double>(call, m);
}
void run_avg_pool_backward(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const Mean m = mean_shape(call, true);
  call.out[0].dtype == DType::Float32 ? avg_pool_backward<float>(call, m) : avg_pool_backward<double>(call, m);
}

}  // namespace

const OpList& pool_ops() {
  static const OpList ops = {
      {"max_pool", 1, 2, kPlain, infer_max_pool, run_max_pool, 0, nullptr, nullptr, nullptr, nullptr, max_pool_blocks},
      {"max_pool_backward", 2, 1, kAnyTypes | kTakesEpilogue, infer_places, run_max_pool_backward, 0, nullptr, nullptr,
       nullptr, nullptr, max_pool_backward_blocks},
      {"max_unpool", 2, 1, kAnyTypes | kChecksValues, infer_max_unpool, run_max_unpool},
      {"avg_pool", 1, 1, kPlain, infer_avg_pool, run_avg_pool},
      {"avg_pool_backward", 1, 1, kPlain, infer_avg_pool_backward, run_avg_pool_backward},
  };
  return ops;
}

}  // namespace pn
