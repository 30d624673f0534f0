// Convolutions with vectors along the pixels. A task lays a few channels' planes out so that the window of one tap over
// all positions is one run of memory: zeros around the image, and, for a stride, the image split by the remainders of
// its coordinates. Rows follow each other with a few positions between them that nobody asked for.
//
// A zero times a weight that is not finite would be NaN where the tap lies outside the image: such weights, and sums of
// weights' gradients that are not finite, are left to the tables of conv_channels.cpp.
#include <algorithm>
#include <cstring>
#include <limits>

#include "core/array.h"
#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kTaskWork = 400000;             // multiply-adds of a task, at least
constexpr int64_t kTasks = 16;                    // enough for many threads
constexpr int64_t kHeld = int64_t{3} << 14;       // elements of the source that a task holds: they stay in L2
constexpr int64_t kUnit = 16;                     // runs are multiples of it: whole vectors on every CPU
constexpr int64_t kSlack = 2 * kUnit;             // behind the last run
constexpr int64_t kParts = 8;                     // of a batch, whose sums are made apart
constexpr int64_t kBlockSums = int64_t{1} << 13;  // sums of a weight's gradient, of all lanes, that stay in L2

int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -pieces_of(-a, b); }

// The source of a pass as a task holds it: for each channel a plane per combination of remainders.
class Held {
 public:
  int cut = 2;        // the axis of which a task does a band of positions
  int64_t band = 0;   // how many
  int64_t count[3];   // positions along each axis, of a band
  int64_t most[3];    // of all bands
  int64_t length[3];  // of a plane's axes: the positions and what their taps reach beyond
  int64_t plane = 0;  // elements of a channel
  Held(const std::vector<ConvAxis>* axes, const int64_t* size) : size_(size) {
    for (int d = 0; d < 3; ++d) {
      Axis& a = axis_[d];
      a.advance = axes[d][0].advance;
      most[d] = 0;
      a.low = INT64_MAX, a.high = INT64_MIN;
      for (const ConvAxis& axis : axes[d]) {
        most[d] = std::max(most[d], axis.count);
        for (const int64_t base : axis.base) {
          const int64_t q = floor_of(base, a.advance), rest = base - q * a.advance;
          a.low = std::min(a.low, q), a.high = std::max(a.high, q);
          if (std::find(a.rest.begin(), a.rest.end(), rest) == a.rest.end()) a.rest.push_back(rest);
        }
      }
      if (d == 2) {  // rows are taken apart by all remainders at once
        a.rest.clear();
        for (int64_t rest = 0; rest < a.advance; ++rest) a.rest.push_back(rest);
      }
      count[d] = most[d];
    }
    for (cut = 0; cut < 2 && most[cut] == 1;) ++cut;
    set_band(most[cut]);
  }

  void set_band(int64_t positions) {
    band = count[cut] = positions;
    int64_t parts = 1;
    for (int d = 0; d < 3; ++d) {
      length[d] = count[d] + axis_[d].high - axis_[d].low;
      parts *= static_cast<int64_t>(axis_[d].rest.size());
    }
    part_ = length[0] * length[1] * length[2] + kUnit;  // so many zeros may follow the last row
    plane = parts * part_;
    if (plane % 256 == 0) plane += kUnit;  // channels would crowd the same sets of the cache
  }
  int64_t bands() const { return pieces_of(most[cut], band); }

  // Elements of a run over counts[0] x counts[1] x counts[2] positions, in whole vectors.
  int64_t run(const int64_t* counts) const {
    return pieces_of(((counts[0] - 1) * length[1] + counts[1] - 1) * length[2] + counts[2], kUnit) * kUnit;
  }

  // Where in a plane the tap of these bases has its run.
  int64_t place(int64_t b0, int64_t b1, int64_t b2) const {
    const int64_t base[3] = {b0, b1, b2};
    int64_t part = 0, at = 0;
    for (int d = 0; d < 3; ++d) {
      const Axis& a = axis_[d];
      const int64_t q = floor_of(base[d], a.advance);
      const auto rest = std::find(a.rest.begin(), a.rest.end(), base[d] - q * a.advance);
      part = part * static_cast<int64_t>(a.rest.size()) + (rest - a.rest.begin());
      at = at * length[d] + q - a.low;
    }
    return part * part_ + at;
  }

  // Fills the planes of some channels with an image's, for the band from position `first` on. What lies outside of the
  // image was set to 0 beforehand.
  template <class T>
  void fill(const T* image, int64_t channels, int64_t first, T* to) const {
    const Axis& last = axis_[2];
    const int64_t start2 = last.low + (cut == 2 ? first : 0);
    const int64_t begin = std::max<int64_t>(0, start2 * last.advance);
    const int64_t end = std::min(size_[2], (start2 + length[2]) * last.advance);
    for (const int64_t r0 : axis_[0].rest)
      for (const int64_t r1 : axis_[1].rest) {
        const int64_t rest[2] = {r0, r1};
        int64_t low[2], high[2], at[2];  // entries of the plane inside the image; the place of the first one there
        for (int d = 0; d < 2; ++d) {
          const Axis& a = axis_[d];
          const int64_t start = a.low + (d == cut ? first : 0);
          low[d] = std::max<int64_t>(0, -floor_of(rest[d], a.advance) - start);
          high[d] = std::min(length[d], floor_of(size_[d] - 1 - rest[d], a.advance) + 1 - start);
          at[d] = (start + low[d]) * a.advance + rest[d];
        }
        RowCopy<T> rows{channels,
                        high[1] - low[1],
                        end - begin,
                        last.advance,
                        nullptr,
                        size_[0] * size_[1] * size_[2],
                        axis_[1].advance * size_[2],
                        nullptr,
                        plane,
                        length[2],
                        part_};
        for (int64_t u = low[0]; u < high[0] && rows.rows > 0 && rows.n > 0; ++u) {
          rows.from = image + ((at[0] + (u - low[0]) * axis_[0].advance) * size_[1] + at[1]) * size_[2] + begin;
          rows.to = to + (u * length[1] + low[1]) * length[2] + begin / last.advance - start2;
          kernels().of<T>().conv.take(rows);
        }
        to += last.advance * part_;
      }
  }

 private:
  struct Axis {
    int64_t advance, low, high;  // quotients of the taps' places by the advance
    std::vector<int64_t> rest;   // their remainders
  };
  Axis axis_[3];
  const int64_t* size_;
  int64_t part_ = 0;
};

// The taps of one channel, as product() walks them, and the weights beside them.
template <class T>
struct Pass {
  const ConvAxis* axis[3];
  std::vector<Tap> taps;
  Array weight;
};

template <class T>
Pass<T> make_pass(const ConvShape& s, bool up, const Held& held, const ConvAxis& a0, const ConvAxis& a1,
                  const ConvAxis& a2, const T* weight) {
  Pass<T> pass{{&a0, &a1, &a2}, {}, {}};
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  for (const int64_t b0 : a0.base)
    for (const int64_t b1 : a1.base)
      for (const int64_t b2 : a2.base)
        pass.taps.push_back({static_cast<int64_t>(pass.taps.size()) * channels, held.place(b0, b1, b2)});
  pass.weight = memory<T>(s.groups * sources * static_cast<int64_t>(pass.taps.size()) * channels);
  pack_weight(s, up, pass.axis, weight, channels, pass.weight.template ptr<T>());
  return pass;
}

}  // namespace

double conv_pixel_fill(const ConvShape& s, bool up) {
  std::vector<ConvAxis> axes[3];
  for (int d = 0; d < 3; ++d) axes[d] = conv_axes(s, d, up);
  const int64_t* source = up ? s.out : s.in;
  for (const auto& axis : axes)
    if (std::all_of(axis.begin(), axis.end(), [](const ConvAxis& a) { return a.k.empty(); })) return 0;
  const Held held(axes, source);
  const double positions = static_cast<double>(held.most[0] * held.most[1] * held.most[2]);
  return positions / static_cast<double>(held.run(held.most));
}

template <class T>
void produce_by_pixel(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out;
  const int64_t from_plane = from[0] * from[1] * from[2], to_plane = to[0] * to[1] * to[2], images = s.n * s.groups;
  std::vector<ConvAxis> axes[3];
  for (int d = 0; d < 3; ++d) axes[d] = conv_axes(s, d, up);
  Held held(axes, from);
  const int64_t work = sources * channels * s.out_size() * s.kernel_size();  // of an image
  const int64_t cuts =
      std::max(pieces_of(sources * held.plane, kHeld), std::min(pieces_of(kTasks, images), pieces_of(work, kTaskWork)));
  held.set_band(pieces_of(held.most[held.cut], std::min(cuts, held.most[held.cut])));
  const int64_t bands = held.bands(),
                together = std::clamp<int64_t>(std::max(kTaskWork * bands / (work + 1), images * bands / (4 * kTasks)),
                                               1, images);

  std::vector<Pass<T>> passes;
  for (const ConvAxis& a0 : axes[0])
    for (const ConvAxis& a1 : axes[1])
      for (const ConvAxis& a2 : axes[2]) passes.push_back(make_pass(s, up, held, a0, a1, a2, weight));
  const int64_t parts = static_cast<int64_t>(axes[2].size()), step = axes[2][0].step;
  int64_t c_row = held.run(held.count);
  if (c_row % 256 == 0) c_row += kUnit;
  const int64_t part = channels * c_row, holding = pieces_of(sources * held.plane + kSlack, kUnit) * kUnit;

  const int64_t chunks = pieces_of(images, together);
  parallel_for(bands * chunks, [&](int64_t task) {
    const int64_t first = task / chunks * held.band, chunk = task % chunks;
    T *const x = scratch<T>(holding + parts * part + kSlack), *const sums = x + holding;
    std::memset(x, 0, static_cast<size_t>(holding) * sizeof(T));
    for (int64_t image = chunk * together; image < std::min(images, (chunk + 1) * together); ++image) {
      const int64_t g = image % s.groups;
      held.fill(source + image * sources * from_plane, sources, first, x);
      TapProduct<T> p{};
      p.rows = channels;
      p.a_row = 1;
      p.b = x;
      p.c_row = c_row;
      p.row_bias = bias ? bias + g * channels : nullptr;
      for (size_t i = 0; i < passes.size(); ++i) {
        const Pass<T>& pass = passes[i];
        int64_t count[3], start[3];
        for (int d = 0; d < 3; ++d) {
          start[d] = d == held.cut ? first : 0;
          count[d] = std::min(held.count[d], pass.axis[d]->count - start[d]);
        }
        const int64_t which = static_cast<int64_t>(i) % parts;
        p.taps = static_cast<int64_t>(pass.taps.size());
        p.tap = pass.taps.data();
        p.repeats = sources;
        p.a_repeat = p.taps * channels;
        p.b_repeat = held.plane;
        p.a = pass.weight.template ptr<T>() + g * sources * p.a_repeat;
        p.c = sums + which * part;
        p.columns = std::min(count[0], std::min(count[1], count[2])) > 0 ? held.run(count) : 0;
        kernel.product(p);
        if (which + 1 < parts) continue;
        const int64_t begin = start[2] * step, end = std::min(to[2], (start[2] + held.count[2]) * step);
        const ConvAxis &a0 = *pass.axis[0], &a1 = *pass.axis[1];
        T* const y = produced + image * channels * to_plane + begin;
        for (int64_t j = 0; j < count[0]; ++j)
          kernel.put({channels, count[1], end - begin, step, sums + j * held.length[1] * held.length[2], c_row,
                      held.length[2],
                      y + ((a0.start + (start[0] + j) * a0.step) * to[1] + a1.start + start[1] * a1.step) * to[2],
                      to_plane, a1.step * to[2], part});
      }
    }
  });
}

template <class T>
bool weigh_by_pixel(const ConvShape& s, const T* x_given, const T* y_given, T* dw) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  std::vector<ConvAxis> axes[3];
  for (int d = 0; d < 3; ++d) axes[d] = conv_axes(s, d, false);
  Held held(axes, s.in);
  const int64_t in = s.in_size(), out = s.out_size(), columns = s.ci * s.kernel_size();
  const int64_t cuts = pieces_of((s.ci + std::min<int64_t>(s.co, kUnit)) * held.plane, kHeld);
  held.set_band(pieces_of(held.most[held.cut], std::min(cuts, held.most[held.cut])));
  const int64_t bands = held.bands(), y_row = held.run(held.count) + kUnit;
  std::vector<int64_t> places;
  for (int64_t c = 0; c < s.ci; ++c)
    for (const int64_t b0 : axes[0][0].base)
      for (const int64_t b1 : axes[1][0].base)
        for (const int64_t b2 : axes[2][0].base) places.push_back(c * held.plane + held.place(b0, b1, b2));

  // A task: some output channels (a block) over some images (a part), a few of them (`together`) at a time.
  const int64_t blocks = pieces_of(s.co, std::max({int64_t{5}, kBlockSums / columns, 256 / s.kernel_size()}));
  const int64_t x_image = pieces_of(s.ci * held.plane + kSlack, kUnit) * kUnit;
  const int64_t y_image = pieces_of(s.co, blocks) * y_row;
  const int64_t together = std::clamp<int64_t>(kHeld / (x_image + y_image), 1, s.n);
  const int64_t parts = std::min(pieces_of(s.n, together), pieces_of(kParts, blocks * s.groups));
  const int64_t all = s.groups * s.co * columns, lane_sums = pieces_of(s.co, blocks) * columns * kBatchLanes;
  const Array partial = memory<T>(parts * all);
  parallel_for(parts * s.groups * blocks, [&](int64_t task) {
    const int64_t part = task / blocks / s.groups, g = task / blocks % s.groups, block = task % blocks;
    const int64_t low = s.co * block / blocks, rows = s.co * (block + 1) / blocks - low;
    T *const sums = scratch<T>(lane_sums + together * (x_image + y_image)), *const x = sums + lane_sums;
    T* const y = x + together * x_image;
    LaneProduct<T> p{};
    p.rows = rows;
    p.columns = columns;
    p.a = y;
    p.a_row = y_row;
    p.a_image = rows * y_row;
    p.b = x;
    p.b_image = x_image;
    p.place = places.data();
    p.sums = sums;
    std::memset(sums, 0, static_cast<size_t>(rows * columns * kBatchLanes) * sizeof(T));
    for (int64_t b = 0; b < bands; ++b) {
      std::memset(x, 0, static_cast<size_t>(together * (x_image + y_image)) * sizeof(T));
      int64_t count[3], start[3];
      for (int d = 0; d < 3; ++d) {
        start[d] = d == held.cut ? b * held.band : 0;
        count[d] = std::min(held.count[d], held.most[d] - start[d]);
      }
      p.steps = held.run(count) / kBatchLanes;
      const int64_t begin = s.n * part / parts, end = s.n * (part + 1) / parts;
      for (int64_t n = begin; n < end; n += p.images) {
        p.images = std::min(together, end - n);
        for (int64_t i = 0; i < p.images; ++i) {
          const int64_t image = (n + i) * s.groups + g;
          held.fill(x_given + image * s.ci * in, s.ci, start[held.cut], x + i * x_image);
          for (int64_t j = 0; j < count[0]; ++j)
            kernel.take(
                {rows, count[1], count[2], 1,
                 y_given + (image * s.co + low) * out + ((start[0] + j) * s.out[1] + start[1]) * s.out[2] + start[2],
                 out, s.out[2], y + i * p.a_image + j * held.length[1] * held.length[2], y_row, held.length[2], 0});
        }
        kernel.lane_product(p);
      }
    }
    kernel.add_lanes(rows * columns, sums, partial.ptr<T>() + part * all + (g * s.co + low) * columns);
  });
  add_parts(all, parts, all, partial.ptr<T>(), dw);
  return kernel.within(all, dw, std::numeric_limits<T>::max());
}

template void produce_by_pixel(const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_by_pixel(const ConvShape&, bool, const double*, const double*, const double*, double*);
template bool weigh_by_pixel(const ConvShape&, const float*, const float*, float*);
template bool weigh_by_pixel(const ConvShape&, const double*, const double*, double*);

}  // namespace pn
