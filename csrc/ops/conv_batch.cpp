// Convolutions with vectors along the batch: kBatchLanes images side by side. A task turns a band of rows of so many
// images around, so that one position of all of them is one or a few vectors, and turns back what it makes; of operands
// that lie in blocks of the batch, it need not. Every stride, padding and number of channels then fills the lanes.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>

#include "core/array.h"
#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kLanes = kBatchLanes;
constexpr int64_t kHeld = int64_t{3} << 16;      // elements that a task holds: they stay in L2, or nearly so
constexpr int64_t kHeldRow = int64_t{3} << 15;   // that one row may take: more is left to the other ways
constexpr int64_t kTasks = 8;                    // enough for some threads
constexpr int64_t kTaskWork = 3000000;           // multiply-adds that a task should have
constexpr int64_t kLoneShare = 8;                // of all positions, from which one in so many counts as much
constexpr int64_t kRun = 256;                    // elements of a channel that are worth a pass of their own
constexpr int64_t kFewTasks = 4;                 // of a weight's gradient: each takes x anew
constexpr int64_t kParts = 8;                    // of a batch, whose sums of a weight's gradient are made apart
constexpr int64_t kChains = 16;                  // of a channel's sum: short ones lose less, and need not wait
constexpr int64_t kManySums = int64_t{1} << 16;  // of all lanes: from there on half as many parts

// Elements that some rows of both sides of a group's channels take.
int64_t held_by(const ConvShape& s, int64_t rows) {
  const int64_t reach = (rows - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  const int64_t in_rows = (s.kernel[0] - 1) * s.dilation[0] * s.in[1] + reach;
  return (s.ci * in_rows * s.in[2] + s.co * rows * s.out[2]) * kLanes;
}

// The pass for one remainder of each axis.
struct Pass {
  const ConvAxis* axis[3];
  std::vector<ConvSegment> segments;
  std::vector<Tap> taps;
};

// A block of images of one operand, from one image on. Places in them are counted as in a single image.
template <class T>
struct Block {
  using Element = std::remove_const_t<T>;
  T* first;
  int64_t image;  // elements of each
  int64_t images;
  bool blocked;

  T* lanes(int64_t place) const { return first + place * kLanes; }  // if blocked
  // Copies n neighbouring places to lanes.
  void take(int64_t place, int64_t n, Element* to) const {
    if (blocked)
      std::memcpy(to, lanes(place), static_cast<size_t>(n * kLanes) * sizeof(T));
    else
      kernels().of<Element>().conv.transpose(first + place, image, to, kLanes, images, n);
  }
};

}  // namespace

bool suits_batch(const ConvShape& s) {
  return s.n * 4 >= pieces_of(s.n, kLanes) * kLanes * 3 && held_by(s, 1) <= kHeldRow;
}

template <class T>
void produce_by_batch(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                      T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out;
  const int64_t from_plane = from[0] * from[1] * from[2], to_plane = to[0] * to[1] * to[2];
  std::vector<ConvAxis> axes[3];
  for (int d = 0; d < 3; ++d) axes[d] = conv_axes(s, d, up);
  const int64_t parts0 = static_cast<int64_t>(axes[0].size()), parts1 = static_cast<int64_t>(axes[1].size()),
                parts2 = static_cast<int64_t>(axes[2].size());
  std::vector<Pass> passes;
  for (const ConvAxis& a0 : axes[0])
    for (const ConvAxis& a1 : axes[1])
      for (const ConvAxis& a2 : axes[2]) {
        Pass& pass = passes.emplace_back();
        pass.axis[0] = &a0, pass.axis[1] = &a1, pass.axis[2] = &a2;
        pass.segments = conv_segments(a2, from[2]);
        pass.taps = all_taps(s, pass.axis, from,
                             [](int64_t place, int64_t number, int64_t) { return Tap{number, place * kLanes}; });
      }

  // A task takes two blocks of images where much of the work is positions that have taps of their own: a vector of each
  // block makes two, whose sums need not wait for each other.
  const auto lone = [&](int d) {
    int64_t n = 0;
    for (const ConvSegment& e : conv_segments(axes[d][0], from[d])) n += e.end - e.begin == 1;
    return n;
  };
  const bool many = lone(1) * lone(2) * kLoneShare > axes[1][0].count * axes[2][0].count;
  const int64_t most = many && kernel.lanes == kLanes ? 2 : 1;

  const int64_t rows = to[0] * to[1], blocks = pieces_of(s.n, most * kLanes) * s.groups;
  int64_t band = rows;
  const int64_t work = s.n * s.groups * s.ci * s.co * s.out_size() * s.kernel_size();
  const int64_t wanted = std::min(kTasks, std::max(most * blocks, work / kTaskWork));
  while (band > 1 && (most * held_by(s, up ? pieces_of(band, s.stride[1]) : band) > kHeld ||
                      blocks * pieces_of(rows, band) < wanted))
    band = std::min(band - 1, pieces_of(rows, pieces_of(rows, band) + 1));
  const int64_t bands = pieces_of(rows, band);
  parallel_for(blocks * bands, [&](int64_t task) {
    const int64_t block = task / bands, g = block % s.groups, image = block / s.groups * most * kLanes;
    const int64_t first = task % bands * band, last = std::min(rows, first + band);
    const int64_t units = std::min(most, pieces_of(s.n - image, kLanes));
    const auto pass_of = [&](int64_t row, int64_t* j0, int64_t* j1) {
      const int64_t i0 = row / to[1], i1 = row % to[1];
      *j0 = i0 / parts0, *j1 = i1 / parts1;
      return ((i0 % parts0) * parts1 + i1 % parts1) * parts2;
    };
    // The rows of the source that the band sees.
    int64_t low = from[0] * from[1], high = 0;
    for (int64_t row = first; row < last; ++row) {
      int64_t j0, j1, low0, high0, low1, high1;
      const Pass& pass = passes[static_cast<size_t>(pass_of(row, &j0, &j1))];
      const ConvAxis &a0 = *pass.axis[0], &a1 = *pass.axis[1];
      a0.valid(j0, from[0], &low0, &high0);
      a1.valid(j1, from[1], &low1, &high1);
      if (low0 >= high0 || low1 >= high1) continue;
      for (const int64_t k0 : {low0, high0 - 1})
        for (const int64_t k1 : {low1, high1 - 1}) {
          const int64_t at = (j0 * a0.advance + a0.base[static_cast<size_t>(k0)]) * from[1] + j1 * a1.advance +
                             a1.base[static_cast<size_t>(k1)];
          low = std::min(low, at), high = std::max(high, at + 1);
        }
    }
    const int64_t held = std::max<int64_t>(0, high - low) * from[2], count = (last - first) * to[2];
    const int64_t from_image = s.groups * sources * from_plane, to_image = s.groups * channels * to_plane;
    const bool in_blocks = (call.blocked & 1) != 0, out_blocks = (call.blocked & kOutputBit) != 0;
    const int64_t in_place = g * sources * from_plane + low * from[2];
    const int64_t out_place = g * channels * to_plane + first * to[2];
    const auto block_of = [&](auto* first, int64_t size, int64_t unit, bool blocked) {
      const int64_t at = image + unit * kLanes;
      return Block<std::remove_pointer_t<decltype(first)>>{first + at * size, size, std::min(kLanes, s.n - at),
                                                           blocked};
    };
    const int64_t x_unit = (in_blocks ? from_image : sources * held) * kLanes;
    const int64_t sums_unit = (out_blocks ? to_image : channels * count) * kLanes;
    const int64_t turned = in_blocks ? 0 : units * x_unit;
    T* const own = scratch<T>(turned + (out_blocks ? 0 : units * sums_unit));
    for (int64_t u = 0; u < units && !in_blocks; ++u) {
      const Block<const T> in = block_of(source, from_image, u, false);
      if (in.images < kLanes) std::memset(own + u * x_unit, 0, static_cast<size_t>(x_unit) * sizeof(T));
      for (int64_t c = 0; c < sources; ++c)
        in.take(in_place + c * from_plane, held, own + u * x_unit + c * held * kLanes);
    }
    const T* const x = in_blocks ? block_of(source, from_image, 0, true).lanes(in_place) : own;
    T* const sums = out_blocks ? block_of(produced, to_image, 0, true).lanes(out_place) : own + turned;

    TapProduct<T> p{};
    p.rows = channels;
    p.a = weight + g * s.co * s.ci * s.kernel_size();
    p.a_row = (up ? 1 : s.ci) * s.kernel_size();
    p.a_repeat = (up ? s.ci : 1) * s.kernel_size();
    p.b_repeat = (in_blocks ? from_plane : held) * kLanes;
    p.c_row = (out_blocks ? to_plane : count) * kLanes;
    p.repeats = sources;
    p.row_bias = bias ? bias + g * channels : nullptr;
    for (int64_t part = 0; part < static_cast<int64_t>(passes.size()); ++part) {
      const Pass& pass = passes[static_cast<size_t>(part)];
      const ConvAxis &a0 = *pass.axis[0], &a1 = *pass.axis[1], &a2 = *pass.axis[2];
      TapTable table(pass.axis, from, pass.segments, pass.taps);
      const int64_t b_row = a1.advance * from[2] * kLanes, b_next = a2.advance * kLanes;
      const int64_t c_row = parts1 * to[2] * kLanes, c_next = a2.step * kLanes;
      for (int64_t row = first, done = first; row < last; ++row) {
        int64_t j0, j1;
        const int64_t begin = pass_of(row, &j0, &j1);
        if (row < done || part < begin || part >= begin + parts2) continue;
        table.move(j0, j1);
        p.tap = table.taps();
        // The rows of this pass that have the same taps.
        int64_t count = 1;
        while (row + count * parts1 < last && row % to[1] + count * parts1 < to[1] && table.holds(j0, j1 + count))
          ++count;
        done = row + (count - 1) * parts1 + 1;
        const T* at = x + ((j0 * a0.advance * from[1] + j1 * a1.advance) - low) * from[2] * kLanes;
        T* c = sums + ((row - first) * to[2] + a2.start) * kLanes;
        for (const ConvSegment& e : pass.segments) {
          // Columns of a product go along the row, down the image or from block to block, whichever are most: at the
          // image's edge, a segment is one position.
          struct Way {
            int64_t n, b, c;
          } ways[] = {{e.end - e.begin, b_next, c_next}, {count, b_row, c_row}, {units, x_unit, sums_unit}};
          for (Way& way : ways)
            if (way.n > ways[0].n) std::swap(way, ways[0]);
          p.columns = ways[0].n * kLanes;
          p.b_step = ways[0].b;
          p.c_step = ways[0].c;
          p.taps = table.count(e);
          for (int64_t i = 0; i < ways[1].n; ++i)
            for (int64_t k = 0; k < ways[2].n; ++k) {
              p.b = at + e.begin * b_next + i * ways[1].b + k * ways[2].b;
              p.c = c + e.begin * c_next + i * ways[1].c + k * ways[2].c;
              kernel.product(p);
            }
          p.tap += p.taps;
        }
      }
    }
    // Neighbours in memory are handed on together: a channel's rows while they are in L1, or, of small images, all of
    // an image.
    const bool together = bands == 1 && count < kRun;
    for (int64_t u = 0; u < units; ++u) {
      const Block<T> out = block_of(produced, to_image, u, out_blocks);
      const int64_t before = (image + u * kLanes) * to_image;
      const auto hand_on = [&](int64_t place, int64_t n) {
        for (int64_t i = 0; i < out.images && call.epilogue; ++i)
          made(call, before + i * to_image + place, before + i * to_image + place + n);
      };
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t place = out_place + c * to_plane;
        if (out_blocks) {
          made(call, before + place * kLanes, before + (place + count) * kLanes);
          continue;
        }
        kernel.transpose(sums + u * sums_unit + c * p.c_row, kLanes, out.first + place, to_image, count, out.images);
        if (!together) hand_on(place, count);
      }
      if (together && !out_blocks) hand_on(out_place, channels * to_plane);
    }
  });
}

template <class T>
bool weigh_by_batch(const OpCall& call, const ConvShape& s, const T* x_given, const T* y_given, T* dw, int sums_of,
                    T* db) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t in = s.in_size(), out = s.out_size(), columns = s.ci * s.kernel_size();
  const bool x_blocked = (call.blocked & 1) != 0, y_blocked = (call.blocked & 2) != 0;
  // x with zeros around it, as far as the taps of a band of rows reach: [channel][axis 0][row][axis 2][image]; or as it
  // lies, if the taps stay within it.
  bool direct = x_blocked;
  for (int d = 0; d < 3; ++d)
    direct = direct && s.pad[d] == 0 && (s.out[d] - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] < s.in[d];
  const int64_t reach0 = (s.kernel[0] - 1) * s.dilation[0] + 1, reach2 = (s.kernel[2] - 1) * s.dilation[2];
  const int64_t length2 = std::max(s.in[2] + s.pad[2], (s.out[2] - 1) * s.stride[2] + reach2 + 1);
  const auto rows_of = [&](int64_t positions) {
    return (positions - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  };
  int64_t band = s.out[1];
  while (band > 1 && held_by(s, band) > kHeld)
    band = std::min(band - 1, pieces_of(s.out[1], pieces_of(s.out[1], band) + 1));
  const int64_t bands = pieces_of(s.out[1], band);
  // Row of x that is the first one that a band sees; none lies behind that of the band after the last. The sums of x
  // are made with a band as far as the next one's first row, and what lies between is seen as well.
  const auto start_of = [&](int64_t b) { return b < bands ? b * band * s.stride[1] - s.pad[1] : s.in[1]; };
  const auto own_rows = [&](int64_t b) {
    return std::max<int64_t>(0, std::min(s.in[1], start_of(b + 1)) - start_of(b));
  };
  const bool sums_x = db && sums_of == 0, sums_y = db && sums_of == 1;
  const auto seen_of = [&](int64_t b, int64_t positions) {
    return std::max(rows_of(positions), sums_x ? own_rows(b) : 0);
  };
  const int64_t length1 = direct ? s.in[1] : std::max(seen_of(0, band), seen_of(bands - 1, band));
  const int64_t plane = (direct ? in : reach0 * length1 * length2) * kLanes, y_row = band * s.out[2] * kLanes;
  std::vector<int64_t> places;
  for (int64_t c = 0; c < s.ci; ++c)
    for (int64_t k0 = 0; k0 < s.kernel[0]; ++k0)
      for (int64_t k1 = 0; k1 < s.kernel[1]; ++k1)
        for (int64_t k2 = 0; k2 < s.kernel[2]; ++k2)
          places.push_back(c * plane +
                           ((k0 * s.dilation[0] * length1 + k1 * s.dilation[1]) * length2 + k2 * s.dilation[2]) *
                               kLanes);

  // A task: some output channels (a piece) over some bands of blocks of images (a part).
  const int64_t units = pieces_of(s.n, kLanes) * bands;
  const int64_t parts = std::min(units, s.co * columns * kLanes < kManySums ? kParts : kParts / 2);
  const int64_t pieces = std::clamp<int64_t>(kFewTasks / (parts * s.groups), 1, pieces_of(s.co, 5));
  const int64_t weights = s.groups * s.co * columns, summed = sums_x ? s.ci : sums_y ? s.co : 0;
  const int64_t all = weights + s.groups * summed;
  const int64_t width = columns + sums_y;  // sums of each output channel
  const int64_t most = pieces_of(s.co, pieces), y_sums = most * width * kLanes;
  const int64_t lane_sums = y_sums + (sums_x ? s.ci * kChains * kLanes : 0);
  const int64_t x_held = direct ? 0 : s.ci * plane, y_held = y_blocked ? 0 : most * y_row;
  const Array partial = memory<T>(parts * all);
  parallel_for(parts * s.groups * pieces, [&](int64_t task) {
    const int64_t part = task / pieces / s.groups, g = task / pieces % s.groups, piece = task % pieces;
    const int64_t low = s.co * piece / pieces, rows = s.co * (piece + 1) / pieces - low;
    T *const sums = scratch<T>(lane_sums + x_held + y_held), *const x = sums + lane_sums, *const y = x + x_held;
    // y is written whole, and so is x but for the zeros beside its rows.
    if (length2 != s.in[2]) std::memset(x, 0, static_cast<size_t>(x_held) * sizeof(T));
    LaneProduct<T> p{};
    p.rows = rows;
    p.columns = columns;
    p.steps = s.out[2];
    p.a_row = y_blocked ? out * kLanes : y_row;
    p.a_image = s.out[2] * kLanes;
    p.b_image = s.stride[1] * length2 * kLanes;
    p.place = places.data();
    p.sums = sums;
    p.b_step = s.stride[2] * kLanes;
    p.begin = true;
    p.ones = sums_y;
    const bool own_x = sums_x && piece == 0;
    // Adds up some places of a channel of x, which are in cache.
    const auto sum_of_x = [&](int64_t c, const T* places, int64_t count, bool begin) {
      LaneProduct<T> q{};
      q.rows = kChains;
      q.steps = count / kChains;
      q.images = 1;
      q.a = places;
      q.a_row = q.steps * kLanes;
      q.sums = sums + y_sums + c * kChains * kLanes;
      q.begin = begin;
      q.ones = true;
      kernel.lane_product(q);
      q.a += kChains * q.a_row;
      q.rows = 1;
      q.steps = count % kChains;
      q.begin = false;
      kernel.lane_product(q);
    };
    for (int64_t unit = units * part / parts; unit < units * (part + 1) / parts; ++unit) {
      const int64_t image = unit / bands * kLanes, images = std::min(kLanes, s.n - image), first = unit % bands * band;
      if (images < kLanes) std::memset(x, 0, static_cast<size_t>(x_held + y_held) * sizeof(T));
      const int64_t x_image = s.groups * s.ci * in, y_image = s.groups * s.co * out;
      const Block<const T> x_block{x_given + image * x_image, x_image, images, x_blocked};
      const Block<const T> y_block{y_given + image * y_image, y_image, images, y_blocked};
      p.images = std::min(band, s.out[1] - first);
      // Rows [begin, end) of those that the band sees lie in the image; its first one is row `start` there.
      const int64_t start = start_of(unit % bands), seen = seen_of(unit % bands, p.images);
      const int64_t begin = std::clamp<int64_t>(-start, 0, seen), end = std::clamp(s.in[1] - start, begin, seen);
      const auto clear = [&](T* row, int64_t count) {
        std::memset(row, 0, static_cast<size_t>(count * length2 * kLanes) * sizeof(T));
      };
      // Zeros around the image change no sum.
      const int64_t own_places = own_rows(unit % bands) * length2;
      for (int64_t j0 = 0; j0 < s.out[0]; ++j0) {
        for (int64_t u = 0; u < s.ci * reach0 && !direct; ++u) {
          const int64_t c = u / reach0, i0 = j0 * s.stride[0] + u % reach0 - s.pad[0];
          T* const to = x + c * plane + u % reach0 * length1 * length2 * kLanes;
          if (i0 < 0 || i0 >= s.in[0]) {
            clear(to, seen);
            continue;
          }
          clear(to, begin);
          clear(to + end * length2 * kLanes, seen - end);
          const int64_t joined = length2 == s.in[2] ? end - begin : 1;  // rows that are one run on both sides
          for (int64_t r = begin; r < end; r += joined)
            x_block.take((g * s.ci + c) * in + (i0 * s.in[1] + start + r) * s.in[2], joined * s.in[2],
                         to + (r * length2 + s.pad[2]) * kLanes);
          if (own_x) sum_of_x(c, to, own_places, p.begin);
        }
        const int64_t y_place = (g * s.co + low) * out + (j0 * s.out[1] + first) * s.out[2];
        const int64_t count = p.images * s.out[2];
        for (int64_t o = 0; o < rows && !y_blocked; ++o) y_block.take(y_place + o * out, count, y + o * y_row);
        p.a = y_blocked ? y_block.lanes(y_place) : y;
        p.b = direct ? x_block.lanes(g * s.ci * in + (j0 * s.stride[0] * s.in[1] + start) * s.in[2]) : x;
        for (int64_t c = 0; c < s.ci && direct && own_x; ++c) sum_of_x(c, p.b + c * plane, own_places, p.begin);
        kernel.lane_product(p);
        p.begin = false;
      }
    }
    T* const to = partial.ptr<T>() + part * all;
    if (own_x) {
      T *const chains = sums + y_sums, *const total = to + weights + g * s.ci;
      kernel.add_lanes(s.ci * kChains, chains, chains);
      for (int64_t c = 0; c < s.ci; ++c)
        total[c] = std::accumulate(chains + c * kChains, chains + (c + 1) * kChains, T(0));
    }
    kernel.add_lanes(rows * width, sums, sums);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t channel = g * s.co + low + r;
      std::copy_n(sums + r * width, columns, to + channel * columns);
      if (sums_y) to[weights + channel] = sums[r * width + columns];
    }
  });
  add_parts(weights, parts, all, partial.ptr<T>(), dw);
  if (db) add_parts(s.groups * summed, parts, all, partial.ptr<T>() + weights, db);
  return kernel.within(weights, dw, std::numeric_limits<T>::max());
}

template void produce_by_batch(const OpCall&, const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_by_batch(const OpCall&, const ConvShape&, bool, const double*, const double*, const double*,
                               double*);
template bool weigh_by_batch(const OpCall&, const ConvShape&, const float*, const float*, float*, int, float*);
template bool weigh_by_batch(const OpCall&, const ConvShape&, const double*, const double*, double*, int, double*);

}  // namespace pn
