// Maxima over the windows of pooling (pool.h): `max_pool`, its adjoint, and `max_unpool`.
//
// The second output of max_pool, the places, says which element of its window each maximum is: element (i0, i1, i2) has
// the number (i0 * most[1] + i1) * most[2] + i2. Elements in the padding do not count.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "core/cpu.h"
#include "kernels/kernels.h"
#include "ops/index.h"
#include "ops/pool.h"

namespace pn {
namespace {

constexpr int64_t kTile = 1 << 16;  // elements of 16 planes that are pooled in cache, about

// Of max_pool, or, if `backward`, of what takes its outputs and is told the sizes of its input.
PoolShape max_pool_shape(const OpCall& call, bool backward = false) {
  AttributeReader attributes(call.attributes);
  PoolShape s = read_pool(call, attributes, backward);
  read_windows(call, attributes, true, s);
  return s;
}

DType place_type(const PoolShape& s) { return s.most[0] * s.most[1] * s.most[2] <= 256 ? DType::UInt8 : DType::Int32; }

void infer_max_pool(OpCall& call) {
  const PoolShape s = max_pool_shape(call);
  if (s.in_size() > INT32_MAX)
    fail<ValueError>(pool_name(call, s.spatial), ": the spatial dimensions of x ", shape_text(*call.in[0]),
                     " hold more than 2^31 - 1 elements");
  describe_pooled(call, 0, call.in[0]->dtype, s, s.out);
  describe_pooled(call, 1, place_type(s), s, s.out);
}

void check_type(const OpCall& call, int input, const char* argument, DType type) {
  if (call.in[input]->dtype != type)
    fail<TypeError>(pool_name(call, spatial_dims(call)), ": ", argument, " are ", dtype_name(call.in[input]->dtype),
                    " but must be ", dtype_name(type));
}

// Of x and what says where its elements belong.
void check_pair(const OpCall& call, const char* argument, DType type) {
  require_float(call, 0, "x");
  check_type(call, 1, argument, type);
  const Array &x = *call.in[0], &places = *call.in[1];
  if (!x.same_shape(places))
    fail<ValueError>(pool_name(call, spatial_dims(call)), ": x ", shape_text(x), " and ", argument, " ",
                     shape_text(places), " must have one shape");
}

void infer_max_pool_backward(OpCall& call) {
  const PoolShape s = max_pool_shape(call, true);
  check_pair(call, "places", place_type(s));
  describe_pooled(call, 0, call.in[0]->dtype, s, s.in);
}

void infer_max_pool_indices(OpCall& call) {
  const PoolShape s = max_pool_shape(call, true);
  check_type(call, 0, "places", place_type(s));
  describe_pooled(call, 0, DType::Int64, s, s.out);
}

// First attribute: size. Zeros of that spatial size with x's elements at the places that indices, of x's shape, name.
void infer_max_unpool(OpCall& call) {
  check_pair(call, "indices", DType::Int64);
  AttributeReader attributes(call.attributes);
  const PoolShape s = read_pool(call, attributes, true);
  describe_pooled(call, 0, call.in[0]->dtype, s, s.in);
  check_range(call, *call.in[1], 0, s.in_size(), "the places of one channel of output dimension ", 2);
}

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

// Outputs along an axis.
struct Run {
  int64_t from, to;  // [from, to)
  int64_t step;      // from one window to the next
};

// All outputs along an axis, in runs whose windows are equally long and evenly spaced.
std::vector<Run> runs_of(const std::vector<Window>& w) {
  std::vector<Run> runs;
  for (size_t j = 0, k; j < w.size(); j = k) {
    const int64_t step = j + 1 < w.size() ? w[j + 1].begin - w[j].begin : 1;
    for (k = j + 1;
         k < w.size() && w[k].end - w[k].begin == w[j].end - w[j].begin && w[k].begin - w[k - 1].begin == step;)
      ++k;
    runs.push_back({static_cast<int64_t>(j), static_cast<int64_t>(k), step});
  }
  return runs;
}

// The elements of a window, in order: how far they lie behind its first one, and their numbers. x has `lanes` elements
// at each place, and `slice` places from one of a window to the next along the first axis.
struct Taps {
  std::vector<int64_t> offset;
  std::vector<int32_t> number;

  Taps(const PoolShape& s, const int64_t* sizes, int64_t slice, int64_t lanes) {
    for (int64_t i0 = 0; i0 < sizes[0]; ++i0)
      for (int64_t i1 = 0; i1 < sizes[1]; ++i1)
        for (int64_t i2 = 0; i2 < sizes[2]; ++i2) {
          offset.push_back((i0 * slice + i1 * s.step[1] * s.in[2] + i2 * s.step[2]) * lanes);
          number.push_back(static_cast<int32_t>((i0 * s.most[1] + i1) * s.most[2] + i2));
        }
  }
};

// All outputs, in parts whose windows are alike.
class Parts {
 public:
  Parts(const PoolShape& s, int64_t slice, int64_t lanes) : s_(s), lanes_(lanes) {
    for (int d = 0; d < 3; ++d) runs_[d] = runs_of(s.windows[d]);
    for (const Run& a : runs_[0]) {
      slices_.insert(slices_.end(), static_cast<size_t>(a.to - a.from), taps_.size());
      for (const Run& b : runs_[1])
        for (const Run& c : runs_[2]) {
          const Window* first[] = {&s.windows[0][a.from], &s.windows[1][b.from], &s.windows[2][c.from]};
          const int64_t sizes[] = {first[0]->elements(), first[1]->elements(), first[2]->elements()};
          taps_.emplace_back(s, sizes, slice, lanes);
        }
    }
  }

  // f(taps, x, y) for those of output rows [low, high) of slice j0: x and y are where their first elements stand,
  // counted from the first row and column of x and of the outputs.
  template <class F>
  void each(int64_t j0, int64_t low, int64_t high, const F& f) const {
    const Taps* taps = &taps_[slices_[static_cast<size_t>(j0)]];
    for (const Run& b : runs_[1])
      for (const Run& c : runs_[2]) {
        const Taps& t = *taps++;
        const int64_t from = std::max(low, b.from), to = std::min(high, b.to);
        if (from >= to) continue;
        const int64_t row = s_.windows[1][static_cast<size_t>(from)].begin;
        f(PoolTaps{to - from, c.to - c.from, b.step * s_.in[2] * lanes_, c.step * lanes_, s_.out[2] * lanes_,
                   static_cast<int64_t>(t.offset.size()), t.offset.data(), t.number.data(),
                   place_type(s_) != DType::UInt8},
          (row * s_.in[2] + s_.windows[2][static_cast<size_t>(c.from)].begin) * lanes_,
          (from * s_.out[2] + c.from) * lanes_);
      }
  }

 private:
  const PoolShape& s_;
  int64_t lanes_;
  std::vector<Run> runs_[3];
  std::vector<size_t> slices_;  // where the taps of slice j0 begin
  std::vector<Taps> taps_;
};

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
  const Array x = as_contiguous(*call.in[0]);
  const PoolKernels<T>& kernel = kernels().of<T>().pool;
  const Array& places = call.out[1];
  const bool x_blocked = (call.blocked & 1) != 0, y_blocked = (call.blocked & kOutputBit) != 0;
  const bool place_blocked = (call.blocked & kOutputBit << 1) != 0;
  if (in_squares(s) && !call.blocked)
    return for_planes(s, [&](int64_t plane) {
      const int64_t to = plane * s.out_size();
      kernel.max_of_squares({s.out[1], s.out[2], x.ptr<T>() + plane * s.in_size(), s.in[2], call.out[0].ptr<T>() + to,
                             places.ptr<uint8_t>() + to});
    });
  const std::vector<Window>& rows = s.windows[1];
  const int64_t deepest = s.most[0];
  // The rows of x that output rows [low, high) read.
  const auto rows_of = [&](int64_t low, int64_t high) {
    std::pair<int64_t, int64_t> read{rows[low].begin, rows[low].end};
    for (int64_t j = low + 1; j < high; ++j)
      read = {std::min(read.first, rows[j].begin), std::max(read.second, rows[j].end)};
    return read;
  };
  const auto span_of = [&](int64_t band) {
    int64_t most = 0;
    for (int64_t j = 0; j < s.out[1]; j += band) {
      const auto [top, end] = rows_of(j, std::min(s.out[1], j + band));
      most = std::max(most, end - top);
    }
    return most;
  };
  int64_t band = s.out[1];
  while (band > 1 && deepest * span_of(band) * s.in[2] * kBatchLanes > kTile) band = (band + 1) / 2;
  const int64_t span = span_of(band), bands = (s.out[1] + band - 1) / band;
  const int64_t in_size = s.in_size(), out_size = s.out_size(), slice = span * s.in[2];
  const int64_t units = (s.planes + kBatchLanes - 1) / kBatchLanes * s.out[0] * bands;
  const int64_t bytes = static_cast<int64_t>(item_size(places.dtype));
  const int64_t x_slice = x_blocked ? s.slice() : slice;
  const Parts whole(s, x_slice, kBatchLanes);
  std::optional<Parts> rest;
  if (s.planes % kBatchLanes) rest.emplace(s, x_slice, s.planes % kBatchLanes);
  const auto unit = [&](int64_t u) {
    static thread_local std::vector<T> turned, maxima;
    static thread_local std::vector<char> numbers;
    const int64_t low = u % bands * band, high = std::min(s.out[1], low + band), j0 = u / bands % s.out[0];
    const int64_t plane = u / bands / s.out[0] * kBatchLanes, lanes = std::min(kBatchLanes, s.planes - plane);
    const auto [top, end] = rows_of(low, high);
    const int64_t made = (high - low) * s.out[2], within = (j0 * s.out[1] + low) * s.out[2];
    const Lanes at(call, plane);
    const Window& a = s.windows[0][j0];
    if (!x_blocked) turned.resize(static_cast<size_t>(deepest * slice * lanes));
    if (!y_blocked) maxima.resize(static_cast<size_t>(made * lanes));
    if (!place_blocked) numbers.resize(static_cast<size_t>(made * lanes * bytes));
    for (int64_t k = 0; k < a.elements() && !x_blocked; ++k)
      kernels().of<T>().conv.transpose(
          x.ptr<T>() + at.first * in_size + ((a.begin + k * a.step) * s.in[1] + top) * s.in[2], at.step * in_size,
          turned.data() + k * slice * lanes, lanes, lanes, (end - top) * s.in[2]);
    const int64_t to = at.first * out_size + within, to_block = plane * out_size + within * kBatchLanes;
    const T* const origin =
        x_blocked ? x.ptr<T>() + plane * in_size + a.begin * s.in[1] * s.in[2] * lanes : turned.data();
    const int64_t skipped = x_blocked ? 0 : top * s.in[2] * lanes;
    T* const largest = y_blocked ? call.out[0].ptr<T>() + to_block : maxima.data();
    char* const number = place_blocked ? places.data + to_block * bytes : numbers.data();
    const Parts& parts = lanes == kBatchLanes ? whole : *rest;
    parts.each(j0, low, high, [&](const PoolTaps& taps, int64_t from, int64_t to) {
      const int64_t here = to - low * s.out[2] * lanes;
      kernel.max_of_taps(taps, lanes, origin + (from - skipped), largest + here, number + here * bytes);
    });
    if (!y_blocked)
      kernels().of<T>().conv.transpose(largest, lanes, call.out[0].ptr<T>() + to, at.step * out_size, made, lanes);
    if (!place_blocked)
      kernel.spread_places(bytes > 1, made, lanes, number, places.data + to * bytes, at.step * out_size);
  };
  for_units(units, deepest * slice * kBatchLanes, unit);
}

void run_max_pool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const PoolShape s = max_pool_shape(call);
  call.out[0].dtype == DType::Float32 ? max_pool<float>(call, s) : max_pool<double>(call, s);
}

// What places say, for planes of x that have `lanes` elements at each of theirs.
class PlaceMap {
 public:
  PlaceMap(const PoolShape& s, int64_t lanes) : taps_(s, s.most, s.slice(), lanes) {
    for (const Window& a : s.windows[0])
      for (const Window& b : s.windows[1]) rows_.push_back((a.begin * s.in[1] + b.begin) * s.in[2] * lanes);
    for (const Window& c : s.windows[2]) columns_.push_back(c.begin * lanes);
    view = {s.out[0] * s.out[1], s.out[2],        s.in_size(),         static_cast<int64_t>(taps_.offset.size()),
            rows_.data(),        columns_.data(), taps_.offset.data(), place_type(s) != DType::UInt8};
  }
  PoolPlaces view;

 private:
  std::vector<int64_t> rows_, columns_;
  Taps taps_;
};

template <class P>
void find(const PoolPlaces& s, const P* place, int64_t* index) {
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; ++j, ++place) {
      const bool known = static_cast<uint64_t>(*place) < static_cast<uint64_t>(s.taps);
      *index++ = s.row[r] + s.column[j] + s.offset[known ? *place : 0];
    }
}

void run_max_pool_indices(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const PoolShape s = max_pool_shape(call, true);
  const PlaceMap map(s, 1);
  const Array places = as_contiguous(*call.in[0]);
  for_planes(s, [&](int64_t plane) {
    const int64_t start = plane * s.out_size();
    int64_t* const index = call.out[0].ptr<int64_t>() + start;
    places.dtype == DType::UInt8 ? find(map.view, places.ptr<uint8_t>() + start, index)
                                 : find(map.view, places.ptr<int32_t>() + start, index);
  });
}

// The gradient of maxima: each is added at its place, in the order of the outputs.
template <class T>
void max_pool_backward(const OpCall& call, const PoolShape& s) {
  const Array g = as_contiguous(*call.in[0]), places = as_contiguous(*call.in[1]);
  const int64_t size = s.in_size(), n = s.out_size(), bytes = static_cast<int64_t>(item_size(places.dtype));
  const PlaceMap map(s, 1);
  in_tasks(s.planes, size + n, [&](int64_t first, int64_t last) {
    T* const dx = call.out[0].ptr<T>() + first * size;
    std::memset(dx, 0, static_cast<size_t>((last - first) * size) * sizeof(T));
    kernels().of<T>().pool.add_places(map.view, last - first, 1, g.ptr<T>() + first * n,
                                      places.data + first * n * bytes, dx);
    made(call, first * size, last * size);
  });
}

// The same where an operand lies in blocks of the batch: kBatchLanes planes go together, and what does not lie so is
// turned. If windows lie apart, each element compares its number with its window's place instead.
template <class T>
void max_pool_backward_in_blocks(const OpCall& call, const PoolShape& s) {
  const PoolKernels<T>& kernel = kernels().of<T>().pool;
  const auto transpose = kernels().of<T>().conv.transpose;
  const Array g = as_contiguous(*call.in[0]), places = as_contiguous(*call.in[1]);
  const int64_t size = s.in_size(), n = s.out_size(), bytes = static_cast<int64_t>(item_size(places.dtype));
  const int64_t lanes = kBatchLanes;
  const auto blocked = [&](unsigned bit) { return (call.blocked & bit) != 0; };
  bool everywhere;
  const bool choose = apart(s, &everywhere);
  std::optional<PlaceMap> map;
  std::optional<Parts> parts;
  if (choose)
    parts.emplace(s, s.slice(), lanes);
  else
    map.emplace(s, lanes);
  const auto group = [&](int64_t u) {
    static thread_local std::vector<T> turned, made_here;
    static thread_local std::vector<char> numbers;
    const int64_t plane = u * lanes;
    const Lanes at(call, plane);
    const T* dy = g.ptr<T>() + plane * n;
    const char* place = places.data + plane * n * bytes;
    T* dx = call.out[0].ptr<T>() + plane * size;
    if (!blocked(1)) {
      turned.resize(static_cast<size_t>(n * lanes));
      transpose(g.ptr<T>() + at.first * n, at.step * n, turned.data(), lanes, lanes, n);
      dy = turned.data();
    }
    if (!blocked(2)) {
      numbers.resize(static_cast<size_t>(n * lanes * bytes));
      for (int64_t i = 0; i < n * lanes; ++i)
        std::memcpy(&numbers[static_cast<size_t>(i * bytes)],
                    places.data + ((at.first + i % lanes * at.step) * n + i / lanes) * bytes,
                    static_cast<size_t>(bytes));
      place = numbers.data();
    }
    if (!blocked(kOutputBit)) {
      made_here.resize(static_cast<size_t>(size * lanes));
      dx = made_here.data();
    }
    if (!choose || !everywhere) std::memset(dx, 0, static_cast<size_t>(size * lanes) * sizeof(T));
    if (!choose) kernel.add_places(map->view, 1, lanes, dy, place, dx);
    for (int64_t j0 = 0; j0 < s.out[0] && choose; ++j0) {
      const int64_t x_slice = s.windows[0][j0].begin * s.in[1] * s.in[2] * lanes;
      const int64_t y_slice = j0 * s.out[1] * s.out[2] * lanes;
      parts->each(j0, 0, s.out[1], [&](const PoolTaps& taps, int64_t to, int64_t from) {
        kernel.choose_places(taps, dy + y_slice + from, place + (y_slice + from) * bytes, dx + x_slice + to);
      });
    }
    if (blocked(kOutputBit)) return made(call, plane * size, (plane + lanes) * size);
    transpose(dx, lanes, call.out[0].ptr<T>() + at.first * size, at.step * size, size, lanes);
    for (int64_t l = 0; l < lanes; ++l)
      made(call, (at.first + l * at.step) * size, (at.first + l * at.step + 1) * size);
  };
  for_units(s.planes / lanes, (size + n) * lanes, group);
}

void run_max_pool_backward(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const PoolShape s = max_pool_shape(call, true);
  const bool single = call.out[0].dtype == DType::Float32;
  if (call.blocked)
    single ? max_pool_backward_in_blocks<float>(call, s) : max_pool_backward_in_blocks<double>(call, s);
  else
    single ? max_pool_backward<float>(call, s) : max_pool_backward<double>(call, s);
}

template <class T>
void max_unpool(const OpCall& call, const PoolShape& s) {
  const Array x = as_contiguous(*call.in[0]), index = as_contiguous(*call.in[1]);
  const int64_t size = s.in_size(), n = s.out_size();
  for_planes(s, [&](int64_t plane) {
    const T* from = x.ptr<T>() + plane * n;
    const int64_t* at = index.ptr<int64_t>() + plane * n;
    T* const y = call.out[0].ptr<T>() + plane * size;
    std::memset(y, 0, static_cast<size_t>(size) * sizeof(T));
    for (int64_t j = 0; j < n; ++j) y[at[j]] = from[j];
  });
}
void run_max_unpool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  AttributeReader attributes(call.attributes);
  const PoolShape s = read_pool(call, attributes, true);
  call.out[0].dtype == DType::Float32 ? max_unpool<float>(call, s) : max_unpool<double>(call, s);
}

unsigned max_pool_blocks(const OpCall&) { return 1 | kOutputBit | kOutputBit << 1; }
unsigned max_pool_backward_blocks(const OpCall&) { return 1 | 2 | kOutputBit; }

}  // namespace

const OpList& max_pool_ops() {
  static const OpList ops = {
      {"max_pool", 1, 2, kPlain, infer_max_pool, run_max_pool, 0, nullptr, nullptr, nullptr, nullptr, max_pool_blocks},
      {"max_pool_backward", 2, 1, kAnyTypes | kTakesEpilogue, infer_max_pool_backward, run_max_pool_backward, 0,
       nullptr, nullptr, nullptr, nullptr, max_pool_backward_blocks},
      {"max_pool_indices", 1, 1, kAnyTypes, infer_max_pool_indices, run_max_pool_indices},
      {"max_unpool", 2, 1, kAnyTypes | kChecksValues, infer_max_unpool, run_max_unpool},
  };
  return ops;
}

}  // namespace pn
