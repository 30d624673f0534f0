// Convolutions with vectors along the batch: kBatchLanes images side by side. A task turns a band of rows of so many
// images around, so that one position of all of them is one or a few vectors, and turns back what it makes. Every
// stride, padding and number of channels then fills the lanes.
#include <algorithm>
#include <cstring>

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
constexpr int64_t kRun = 256;                    // elements of a channel that are worth a pass of their own
constexpr int64_t kFewTasks = 4;                 // of a weight's gradient: each takes x anew
constexpr int64_t kParts = 8;                    // of a batch, whose sums of a weight's gradient are made apart
constexpr int64_t kManySums = int64_t{1} << 16;  // of all lanes: from there on half as many parts

// Elements that some rows of both sides of a group's channels take.
int64_t held_by(const ConvShape& s, int64_t rows) {
  const int64_t reach = (rows - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  const int64_t in_rows = (s.kernel[0] - 1) * s.dilation[0] * s.in[1] + reach;
  return (s.ci * in_rows * s.in[2] + s.co * rows * s.out[2]) * kLanes;
}

// The pass for one remainder of each axis.
template <class T>
struct Pass {
  const ConvAxis* axis[3];
  int64_t taps;
  std::vector<ConvSegment> segments;
  Array weight;
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
  std::vector<Pass<T>> passes;
  for (const ConvAxis& a0 : axes[0])
    for (const ConvAxis& a1 : axes[1])
      for (const ConvAxis& a2 : axes[2]) {
        Pass<T>& pass = passes.emplace_back();
        pass.axis[0] = &a0, pass.axis[1] = &a1, pass.axis[2] = &a2;
        pass.taps = static_cast<int64_t>(a0.k.size() * a1.k.size() * a2.k.size());
        pass.segments = conv_segments(a2, from[2]);
        pass.weight = memory<T>(s.groups * sources * pass.taps * channels);
        pack_weight(s, up, pass.axis, weight, channels, pass.weight.template ptr<T>());
      }

  const int64_t rows = to[0] * to[1], blocks = pieces_of(s.n, kLanes) * s.groups;
  int64_t band = rows;
  const int64_t work = s.n * s.groups * s.ci * s.co * s.out_size() * s.kernel_size();
  while (band > 1 && (held_by(s, up ? pieces_of(band, s.stride[1]) : band) > kHeld ||
                      blocks * pieces_of(rows, band) < std::min(kTasks, work / kTaskWork)))
    band = std::min(band - 1, pieces_of(rows, pieces_of(rows, band) + 1));
  const int64_t bands = pieces_of(rows, band);
  parallel_for(blocks * bands, [&](int64_t task) {
    const int64_t block = task / bands, g = block % s.groups, image = block / s.groups * kLanes;
    const int64_t first = task % bands * band, last = std::min(rows, first + band);
    const int64_t images = std::min(kLanes, s.n - image);
    const auto pass_of = [&](int64_t row, int64_t* j0, int64_t* j1) {
      const int64_t i0 = row / to[1], i1 = row % to[1];
      *j0 = i0 / parts0, *j1 = i1 / parts1;
      return ((i0 % parts0) * parts1 + i1 % parts1) * parts2;
    };
    // The rows of the source that the band sees.
    int64_t low = from[0] * from[1], high = 0;
    for (int64_t row = first; row < last; ++row) {
      int64_t j0, j1, low0, high0, low1, high1;
      const Pass<T>& pass = passes[static_cast<size_t>(pass_of(row, &j0, &j1))];
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
    const int64_t held = std::max<int64_t>(0, high - low) * from[2];
    T* const x = scratch<T>((sources * held + channels * band * to[2]) * kLanes);
    T* const sums = x + sources * held * kLanes;
    if (images < kLanes) std::memset(x, 0, static_cast<size_t>(sources * held * kLanes) * sizeof(T));
    const int64_t from_image = s.groups * sources * from_plane, to_image = s.groups * channels * to_plane;
    for (int64_t c = 0; c < sources; ++c)
      kernel.transpose(source + image * from_image + (g * sources + c) * from_plane + low * from[2], from_image,
                       x + c * held * kLanes, kLanes, images, held);

    TapProduct<T> p{};
    p.rows = channels;
    p.a_row = 1;
    p.repeats = sources;
    p.b_repeat = held * kLanes;
    p.c_row = (last - first) * to[2] * kLanes;
    p.row_bias = bias ? bias + g * channels : nullptr;
    for (int64_t part = 0; part < static_cast<int64_t>(passes.size()); ++part) {
      const Pass<T>& pass = passes[static_cast<size_t>(part)];
      const ConvAxis &a0 = *pass.axis[0], &a1 = *pass.axis[1], &a2 = *pass.axis[2];
      TapTable table(pass.axis, from, pass.segments);
      p.a_repeat = pass.taps * channels;
      p.a = pass.weight.template ptr<T>() + g * sources * p.a_repeat;
      const int64_t b_row = a1.advance * from[2] * kLanes, b_next = a2.advance * kLanes;
      const int64_t c_row = parts1 * to[2] * kLanes, c_next = a2.step * kLanes;
      for (int64_t row = first, done = first; row < last; ++row) {
        int64_t j0, j1;
        const int64_t begin = pass_of(row, &j0, &j1);
        if (row < done || part < begin || part >= begin + parts2) continue;
        p.tap = table.at(j0, j1, [&](int64_t place, int64_t number) { return Tap{number * channels, place * kLanes}; });
        // The rows of this pass that have the same taps. Where they are more than the positions of a segment (one, at
        // the image's edge), columns of a product go down the image.
        int64_t count = 1;
        while (row + count * parts1 < last && row % to[1] + count * parts1 < to[1] && table.holds(j0, j1 + count))
          ++count;
        done = row + (count - 1) * parts1 + 1;
        const T* at = x + ((j0 * a0.advance * from[1] + j1 * a1.advance) - low) * from[2] * kLanes;
        T* c = sums + ((row - first) * to[2] + a2.start) * kLanes;
        for (const ConvSegment& e : pass.segments) {
          const int64_t width = e.end - e.begin;
          const bool along = width >= count;
          p.columns = (along ? width : count) * kLanes;
          p.b_step = along ? b_next : b_row;
          p.c_step = along ? c_next : c_row;
          p.taps = table.count(e);
          for (int64_t i = 0; i < (along ? count : width); ++i) {
            p.b = at + e.begin * b_next + i * (along ? b_row : b_next);
            p.c = c + e.begin * c_next + i * (along ? c_row : c_next);
            kernel.product(p);
          }
          p.tap += p.taps;
        }
      }
    }
    // Neighbours in memory are handed on together: rows of a channel while they are in L1, or, of small images, all of
    // an image.
    const int64_t count = (last - first) * to[2], at = image * to_image + g * channels * to_plane + first * to[2];
    const bool together = bands == 1 && count < kRun;
    const auto hand_on = [&](int64_t low_at, int64_t n) {
      for (int64_t i = 0; i < images && call.epilogue; ++i)
        made(call, low_at + i * to_image, low_at + i * to_image + n);
    };
    for (int64_t c = 0; c < channels; ++c) {
      kernel.transpose(sums + c * p.c_row, kLanes, produced + at + c * to_plane, to_image, count, images);
      if (!together) hand_on(at + c * to_plane, count);
    }
    if (together) hand_on(at, channels * to_plane);
  });
}

template <class T>
bool weigh_by_batch(const ConvShape& s, const T* x_given, const T* y_given, T* dw) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t in = s.in_size(), out = s.out_size(), columns = s.ci * s.kernel_size();
  // x with zeros around it, as far as the taps of a band of rows reach: [channel][axis 0][row][axis 2][image]
  const int64_t reach0 = (s.kernel[0] - 1) * s.dilation[0] + 1, reach2 = (s.kernel[2] - 1) * s.dilation[2];
  const int64_t length2 = std::max(s.in[2] + s.pad[2], (s.out[2] - 1) * s.stride[2] + reach2 + 1);
  const auto rows_of = [&](int64_t positions) {
    return (positions - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  };
  int64_t band = s.out[1];
  while (band > 1 && held_by(s, band) > kHeld)
    band = std::min(band - 1, pieces_of(s.out[1], pieces_of(s.out[1], band) + 1));
  const int64_t bands = pieces_of(s.out[1], band);
  const int64_t length1 = rows_of(band), plane = reach0 * length1 * length2 * kLanes, y_row = band * s.out[2] * kLanes;
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
  const int64_t all = s.groups * s.co * columns, most = pieces_of(s.co, pieces), lane_sums = most * columns * kLanes;
  const Array partial = memory<T>(parts * all);
  parallel_for(parts * s.groups * pieces, [&](int64_t task) {
    const int64_t part = task / pieces / s.groups, g = task / pieces % s.groups, piece = task % pieces;
    const int64_t low = s.co * piece / pieces, rows = s.co * (piece + 1) / pieces - low;
    const int64_t held = lane_sums + s.ci * plane + most * y_row;
    T *const sums = scratch<T>(held), *const x = sums + lane_sums, *const y = x + s.ci * plane;
    // y is written whole, and so is x but for the zeros beside its rows.
    std::memset(sums, 0, static_cast<size_t>(length2 == s.in[2] ? lane_sums : held) * sizeof(T));
    LaneProduct<T> p{};
    p.rows = rows;
    p.columns = columns;
    p.steps = s.out[2];
    p.a = y;
    p.a_row = y_row;
    p.a_image = s.out[2] * kLanes;
    p.b = x;
    p.b_image = s.stride[1] * length2 * kLanes;
    p.place = places.data();
    p.sums = sums;
    p.b_step = s.stride[2] * kLanes;
    for (int64_t unit = units * part / parts; unit < units * (part + 1) / parts; ++unit) {
      const int64_t image = unit / bands * kLanes, images = std::min(kLanes, s.n - image), first = unit % bands * band;
      if (images < kLanes) std::memset(x, 0, static_cast<size_t>(held - lane_sums) * sizeof(T));
      const T* const x_image = x_given + (image * s.groups + g) * s.ci * in;
      const T* const y_image = y_given + (image * s.groups * s.co + g * s.co + low) * out;
      p.images = std::min(band, s.out[1] - first);
      // Rows [begin, end) of those that the band sees lie in the image; its first one is row `start` there.
      const int64_t start = first * s.stride[1] - s.pad[1], seen = rows_of(p.images);
      const int64_t begin = std::clamp<int64_t>(-start, 0, seen), end = std::clamp(s.in[1] - start, begin, seen);
      const auto clear = [&](T* row, int64_t count) {
        std::memset(row, 0, static_cast<size_t>(count * length2 * kLanes) * sizeof(T));
      };
      for (int64_t j0 = 0; j0 < s.out[0]; ++j0) {
        for (int64_t u = 0; u < s.ci * reach0; ++u) {
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
            kernel.transpose(x_image + c * in + (i0 * s.in[1] + start + r) * s.in[2], s.groups * s.ci * in,
                             to + (r * length2 + s.pad[2]) * kLanes, kLanes, images, joined * s.in[2]);
        }
        for (int64_t o = 0; o < rows; ++o)
          kernel.transpose(y_image + o * out + (j0 * s.out[1] + first) * s.out[2], s.groups * s.co * out, y + o * y_row,
                           kLanes, images, p.images * s.out[2]);
        kernel.lane_product(p);
      }
    }
    kernel.add_lanes(rows * columns, sums, partial.ptr<T>() + part * all + (g * s.co + low) * columns);
  });
  return add_parts(all, parts, partial.ptr<T>(), dw);
}

template void produce_by_batch(const OpCall&, const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_by_batch(const OpCall&, const ConvShape&, bool, const double*, const double*, const double*,
                               double*);
template bool weigh_by_batch(const ConvShape&, const float*, const float*, float*);
template bool weigh_by_batch(const ConvShape&, const double*, const double*, double*);

}  // namespace pn
