#include "ops/axis_map.h"

#include <algorithm>

#include "core/array.h"
#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"

namespace pn {
namespace {

constexpr int64_t kLanes = 16;          // rows that go through a map side by side
constexpr int64_t kTile = 1 << 16;      // elements of 16 planes that are mapped in cache, at most
constexpr int64_t kTaskWork = 1 << 15;  // elements made by a task, about

// Outputs [low, high) of a map, from rows of n elements.
template <class T>
void apply(const AxisMap<T>& map, int64_t low, int64_t high, int64_t n, const T* x, T* y) {
  kernels().of<T>().resample.axis_sum(
      {high - low, map.begin.data() + low, map.place.data(), map.weight.data(), n, x, y + low * n});
}

// Maps the last axes of x, `rows` times all of them, 16 rows side by side: turned so that they lie innermost. As soon
// as x or y lies in blocks of the batch, these are the rows of one channel, else neighbours.
template <class T>
void map_rows(const OpCall& call, const std::vector<const AxisMap<T>*>& maps, int64_t rows, const T* x, T* y) {
  const bool x_blocked = (call.blocked & 1) != 0, y_blocked = (call.blocked & kOutputBit) != 0;
  const int64_t step = call.blocked ? call.in[0]->shape[1] : 1;
  int64_t from = 1, to = 1, most = 1;
  for (const AxisMap<T>* map : maps) from *= map->from, to *= map->to;
  int64_t size = most = from;
  for (const AxisMap<T>* map : maps) size = size / map->from * map->to, most = std::max(most, size);
  const int64_t tiles = (rows + kLanes - 1) / kLanes;
  const int64_t each = std::max<int64_t>(1, kTaskWork / (kLanes * (from + to)));
  parallel_for((tiles + each - 1) / each, [&](int64_t task) {
    static thread_local std::vector<T> memory;
    memory.resize(static_cast<size_t>(2 * most * kLanes));
    for (int64_t tile = task * each; tile < std::min(tiles, (task + 1) * each); ++tile) {
      T *room = memory.data(), *other = room + most * kLanes;
      const int64_t first = tile / step * kLanes * step + tile % step, lanes = std::min(kLanes, rows - first);
      const T* now = x_blocked ? x + tile * kLanes * from : other;
      if (!x_blocked) kernels().of<T>().conv.transpose(x + first * from, step * from, other, lanes, lanes, from);
      int64_t before = 1, after = from;
      for (const AxisMap<T>* map : maps) {
        T* const next = y_blocked && map == maps.back() ? y + tile * kLanes * to : room;
        after /= map->from;
        for (int64_t b = 0; b < before; ++b)
          apply(*map, 0, map->to, after * lanes, now + b * map->from * after * lanes,
                next + b * map->to * after * lanes);
        before *= map->to;
        now = next;
        std::swap(room, other);
      }
      if (!y_blocked) kernels().of<T>().conv.transpose(now, lanes, y + first * to, step * to, to, lanes);
    }
  });
}

// Maps the middle axis of x (before, from, after), where vectors can run along the last one.
template <class T>
void map_columns(const AxisMap<T>& map, int64_t before, int64_t after, const T* x, T* y) {
  const int64_t each = std::max<int64_t>(1, kTaskWork / after), pieces = (map.to + each - 1) / each;
  parallel_for(before * pieces, [&](int64_t task) {
    const int64_t b = task / pieces, low = task % pieces * each;
    apply(map, low, std::min(map.to, low + each), after, x + b * map.from * after, y + b * map.to * after);
  });
}

bool fits_tile(int64_t from, int64_t to) { return std::max(from, to) * kLanes <= kTile; }

}  // namespace

unsigned map_blocks(const OpCall& call) {
  const Array &x = *call.in[0], &y = call.out[0];
  const int64_t planes = x.shape[0] * x.shape[1];
  return planes > 0 && fits_tile(x.size() / planes, y.size() / planes) ? 1 | kOutputBit : 0;
}

template <class T>
AxisMap<T> transposed(const AxisMap<T>& map) {
  AxisMap<T> back;
  back.from = map.to, back.to = map.from;
  back.begin.assign(static_cast<size_t>(map.from) + 1, 0);
  back.place.resize(map.place.size());
  back.weight.resize(map.place.size());
  for (const int64_t i : map.place) ++back.begin[static_cast<size_t>(i) + 1];
  for (int64_t i = 0; i < map.from; ++i) back.begin[i + 1] += back.begin[i];
  std::vector<int64_t> next = back.begin;
  for (int64_t j = 0; j < map.to; ++j)
    for (int64_t t = map.begin[j]; t < map.begin[j + 1]; ++t) {
      const int64_t at = next[map.place[t]]++;
      back.place[at] = j;
      back.weight[at] = map.weight[t];
    }
  return back;
}

template <class T>
void apply_maps(const OpCall& call, const std::vector<AxisMap<T>>& maps, int64_t planes, const T* x) {
  T* const y = call.out[0].ptr<T>();
  int64_t from = 1, to = 1;
  std::vector<const AxisMap<T>*> all;
  for (const AxisMap<T>& map : maps) {
    from *= map.from, to *= map.to;
    all.push_back(&map);
  }
  if (fits_tile(from, to)) return map_rows(call, all, planes, x, y);  // each plane is a row
  Array memory;
  int64_t before = planes, after = from;
  for (size_t d = 0; d + 1 < maps.size(); ++d) {
    const AxisMap<T>& map = maps[d];
    after /= map.from;
    const int64_t size = before * map.to * after;
    const Array next = Array::empty(dtype_of<T>::value, 1, &size);
    map_columns(map, before, after, x, next.ptr<T>());
    before *= map.to;
    memory = next;
    x = memory.ptr<T>();
  }
  map_rows(call, {&maps.back()}, before, x, y);
}

template AxisMap<float> transposed(const AxisMap<float>&);
template AxisMap<double> transposed(const AxisMap<double>&);
template void apply_maps(const OpCall&, const std::vector<AxisMap<float>>&, int64_t, const float*);
template void apply_maps(const OpCall&, const std::vector<AxisMap<double>>&, int64_t, const double*);

}  // namespace pn
