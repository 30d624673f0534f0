// Convolutions over two axes, without strides, that have few channels on one side: there the sums are so short that
// turning the other side around, as vectors along the batch ask for, would cost nearly as much. Vectors run along all
// positions of an image as they lie in memory.
//
// From few channels: a copy of the source for each tap of a row, moved by as much as the tap, makes every tap's factors
// one run of memory for all rows together. A zero beside the image is then multiplied by a weight, which is therefore
// finite.
//
// To one channel: y[p] = sum over taps t of z[t][p's place], where z[t] = sum over channels c of w[c, t] x[c] is a
// matrix product that reads x in place and has as many rows as the window has taps, where the definition has one.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/array.h"
#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kLanes = kBatchLanes;
constexpr int64_t kWhole = 4 * kLanes;  // columns that a product writes in place; what is left goes by way of a copy
constexpr int64_t kCopies = 16;         // of an image, from few channels
constexpr int64_t kFewest = 128;        // positions that are worth the preparations
constexpr int64_t kSources = 8;         // channels from which the sums over taps cost little beside those over channels
constexpr int64_t kMostTaps = 64;       // whose z of some rows stay in cache
constexpr int64_t kTasks = 8;           // enough for many threads
constexpr int64_t kHeld = int64_t{3} << 15;  // elements of copies, or of z, that stay in L2

bool steps_by_one(const ConvShape& s) {
  return s.flat() && s.stride[1] == 1 && s.stride[2] == 1 && s.kernel_size() > 1;
}

// The offsets of a pass's taps along one axis, from the lowest place on, and the taps they belong to.
struct Reach {
  std::vector<int64_t> base, k;
  Reach(const ConvShape& s, int axis, bool up) : Reach(std::move(conv_axes(s, axis, up)[0]), up) {}
  Reach(ConvAxis a, bool down) : base(std::move(a.base)), k(std::move(a.k)) {
    if (down) std::reverse(base.begin(), base.end()), std::reverse(k.begin(), k.end());
  }
  int64_t low() const { return base.front(); }
  int64_t high() const { return base.back(); }
  int64_t count() const { return static_cast<int64_t>(base.size()); }
};

// A product a few columns at a time, between which the n elements from `next` on, which are needed then, come nearer:
// from beyond the caches they take a third of the time that the product does.
template <class T>
void product_and_fetch(const ConvKernels<T>& kernel, TapProduct<T> p, const T* next, int64_t n) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  const int64_t columns = p.columns;
  for (int64_t i = 0; i < columns; i += kWhole, p.b += kWhole, p.c += kWhole) {
    for (int64_t j = n * i / columns; j < n * (i + kWhole) / columns; j += kLine) __builtin_prefetch(next + j);
    p.columns = std::min(kWhole, columns - i);
    kernel.product(p);
  }
}

// Rows whose `row` elements each, and those of some rows around them, stay in cache; if they do not pay, some more.
int64_t rows_held(int64_t row, int64_t around) { return std::max({int64_t{1}, 4 * around, kHeld / row - around}); }

// Rows of what a task makes, at most so many.
int64_t band_of(int64_t rows, int64_t images, int64_t most) {
  return pieces_of(rows, std::min(rows, std::max(pieces_of(kTasks, images), pieces_of(rows, most))));
}

}  // namespace

bool suits_few_sources(const ConvShape& s, bool up) {
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  return steps_by_one(s) && sources * s.kernel[2] <= kCopies && channels >= kSources &&
         (up ? s.in_size() : s.out_size()) >= kFewest;
}

bool suits_one_channel(const ConvShape& s, bool up) {
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  return steps_by_one(s) && channels == 1 && sources >= kSources && s.kernel_size() <= kMostTaps;
}

template <class T>
void produce_from_few(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                      T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co, images = s.n * s.groups;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out, kernel_size = s.kernel_size();
  const int64_t to_plane = to[1] * to[2], width = to[2];
  const Reach down(s, 1, up), across(s, 2, up);
  const int64_t reach = down.high() - down.low(), copies = across.count();
  const int64_t band = band_of(to[1], images, rows_held(sources * copies * width, reach));
  const int64_t bands = pieces_of(to[1], band);
  const int64_t length = band + reach;  // rows of the source that a band sees
  const int64_t copy = length * width, held = sources * copies * copy + kWhole;
  // In the order of the definition, so that the sums have the same bits as by every other way.
  std::vector<Tap> taps(static_cast<size_t>(s.kernel[1] * s.kernel[2]));
  for (int64_t i = 0; i < down.count(); ++i)
    for (int64_t j = 0; j < copies; ++j) {
      const int64_t number = down.k[i] * s.kernel[2] + across.k[j];
      taps[number] = {number, j * copy + (down.base[i] - down.low()) * width};
    }

  parallel_for(images * bands, [&](int64_t task) {
    const int64_t image = task / bands, g = image % s.groups, first = task % bands * band;
    const int64_t count = std::min(band, to[1] - first) * width, whole = count / kWhole * kWhole;
    const int64_t start = first + down.low();  // row of the source that is the first one of a copy
    const int64_t low = std::clamp<int64_t>(-start, 0, length), high = std::clamp(from[1] - start, low, length);
    T *const x = scratch<T>(held + channels * kWhole), *const rest = x + held;
    std::memset(x, 0, static_cast<size_t>(held) * sizeof(T));
    for (int64_t c = 0; c < sources; ++c)
      for (int64_t j = 0; j < copies; ++j) {
        const int64_t left = std::clamp<int64_t>(-across.base[j], 0, width);
        const int64_t right = std::clamp(from[2] - across.base[j], left, width);
        if (left == right) continue;
        const T* const row = source + ((image * sources + c) * from[1] + start + low) * from[2] + across.base[j];
        kernel.take({1, high - low, right - left, 1, row + left, 0, from[2],
                     x + (c * copies + j) * copy + low * width + left, 0, width, 0});
      }
    TapProduct<T> p{};
    p.rows = channels;
    p.columns = whole;
    p.taps = static_cast<int64_t>(taps.size());
    p.tap = taps.data();
    p.a = weight + g * s.co * s.ci * kernel_size;
    p.a_row = (up ? 1 : s.ci) * kernel_size;
    p.a_repeat = (up ? s.ci : 1) * kernel_size;
    p.b = x;
    p.b_repeat = copies * copy;
    p.repeats = sources;
    const int64_t place = image * channels * to_plane + first * width;
    p.c = produced + place;
    p.c_row = to_plane;
    p.row_bias = bias ? bias + g * channels : nullptr;
    kernel.product(p);
    if (count > whole) {
      p.columns = pieces_of(count - whole, kLanes) * kLanes;
      p.b += whole;
      p.c = rest;
      p.c_row = kWhole;
      kernel.product(p);
      for (int64_t c = 0; c < channels; ++c)
        std::copy_n(rest + c * kWhole, count - whole, produced + place + c * to_plane + whole);
    }
    if (!call.epilogue) return;
    if (bands == 1) return made(call, place, place + channels * to_plane);
    for (int64_t c = 0; c < channels; ++c) made(call, place + c * to_plane, place + c * to_plane + count);
  });
}

namespace {

// What the tasks of a pass to one channel share.
template <class T>
struct ToOne {
  const OpCall& call;
  const ConvShape& s;
  int64_t sources, taps;  // taps of the window
  const int64_t *from, *to;
  Reach down, across;
  const T *source, *weight, *bias;
  T* produced;
  int64_t band;  // rows of what a task makes

  // The taps down [low, high) whose row of x exists for row r.
  void seen(int64_t r, int64_t* low, int64_t* high) const {
    *low = 0, *high = down.count();
    while (*low < *high && r + down.base[*low] < 0) ++*low;
    while (*low < *high && r + down.base[*high - 1] >= from[1]) --*high;
  }
  bool sees_as(int64_t r, int64_t low, int64_t high) const {
    int64_t a, b;
    seen(r, &a, &b);
    return a == low && b == high;
  }

  int64_t from_plane() const { return from[1] * from[2]; }
  int64_t to_plane() const { return to[1] * to[2]; }

  // The product that z is, of some columns.
  TapProduct<T> product(int64_t g, const T* x, int64_t x_channel, T* z, int64_t z_row) const {
    static constexpr Tap kOne{0, 0};
    TapProduct<T> p{};
    p.rows = taps;
    p.taps = 1;
    p.tap = &kOne;
    p.a = weight + g * sources * taps;
    p.a_row = 1;
    p.a_repeat = taps;
    p.b = x;
    p.b_repeat = x_channel;
    p.repeats = sources;
    p.c = z;
    p.c_row = z_row;
    return p;
  }
};

// Of images as they lie. `together` of them make a task; if they make a block, the results go there.
template <class T>
void to_one_plainly(const ToOne<T>& t) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const ConvShape& s = t.s;
  const bool blocked = (t.call.blocked & kOutputBit) != 0;
  const int64_t together = blocked ? kLanes : 1, bands = pieces_of(t.to[1], t.band), width = t.to[2], row = t.from[2];
  const int64_t each = t.across.count();
  const int64_t z_rows = std::min(t.from[1], t.band + t.down.high() - t.down.low());
  const int64_t z_row = pieces_of(z_rows * row, kWhole) * kWhole;
  // What vectors of a row's results reach before z, and behind it.
  const int64_t before = pieces_of(std::max<int64_t>(0, -t.across.low()), kLanes) * kLanes;
  const int64_t behind = std::max<int64_t>(0, t.across.high()) + width + kLanes;
  const int64_t z_held = pieces_of(before + t.taps * z_row + behind, kLanes) * kLanes;
  const int64_t rest_held = t.sources * kWhole, sums_held = blocked ? kLanes * t.band * width : 0;
  std::vector<Tap> taps;  // of a row's results: {column of x, place in z} of the first one
  for (int64_t i = 0; i < t.down.count(); ++i)
    for (int64_t j = 0; j < each; ++j) {
      const int64_t number = t.down.k[i] * s.kernel[2] + t.across.k[j];
      taps.push_back({t.across.base[j], number * z_row + t.down.base[i] * row + t.across.base[j]});
    }

  parallel_for(pieces_of(s.n, together) * s.groups * bands, [&](int64_t task) {
    const int64_t g = task / bands % s.groups, first = task % bands * t.band, last = std::min(t.to[1], first + t.band);
    const int64_t begin = task / bands / s.groups * together, images = std::min(together, s.n - begin);
    const int64_t low = std::clamp<int64_t>(first + t.down.low(), 0, t.from[1]);
    const int64_t high = std::clamp(last + t.down.high(), low, t.from[1]);
    const int64_t count = (high - low) * row, whole = count / kWhole * kWhole, made_here = (last - first) * width;
    T *const z = scratch<T>(z_held + rest_held + sums_held) + before, *const rest = z - before + z_held;
    T* const sums = rest + rest_held;
    for (int64_t i = 0; i < images; ++i) {
      const int64_t image = (begin + i) * s.groups + g, place = image * t.to_plane() + first * width;
      const T* const x = t.source + image * t.sources * t.from_plane() + low * row;
      TapProduct<T> p = t.product(g, x, t.from_plane(), z, z_row);
      p.columns = whole;
      const int64_t all = t.sources * t.from_plane();
      product_and_fetch(kernel, p, x + all, bands == 1 && image + 1 < s.n * s.groups ? all : 0);
      if (count > whole) {
        // Copies, because whole vectors of the last channel would reach beyond x.
        for (int64_t c = 0; c < t.sources; ++c)
          std::copy_n(x + c * t.from_plane() + whole, count - whole, rest + c * kWhole);
        p = t.product(g, rest, kWhole, z + whole, z_row);
        p.columns = pieces_of(count - whole, kLanes) * kLanes;
        kernel.product(p);
      }
      T* const y = blocked ? sums + i * t.band * width : t.produced + place;
      // Rows that see the same rows of x.
      for (int64_t r = first, n, below, above; r < last; r += n) {
        t.seen(r, &below, &above);
        for (n = 1; r + n < last && t.sees_as(r + n, below, above);) ++n;
        kernel.sum_taps({n, width, (above - below) * each, row, taps.data() + below * each, z + (r - low) * row, row,
                         t.bias ? t.bias[g] : T(0), y + (r - first) * width, width});
      }
      if (!blocked && t.call.epilogue) made(t.call, place, place + made_here);
    }
    if (!blocked) return;
    const int64_t image = s.groups * t.to_plane(), place = begin * image + (g * t.to_plane() + first * width) * kLanes;
    kernel.transpose(sums, t.band * width, t.produced + place, kLanes, kLanes, made_here);
    made(t.call, place, place + made_here * kLanes);
  });
}

// Of blocks of the batch. The rows of z that a row's results need go around in a ring; zeros beside them stand for the
// taps beside the image.
template <class T>
void to_one_in_blocks(const ToOne<T>& t) {
  static constexpr T kOne = 1;
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const ConvShape& s = t.s;
  const bool blocked = (t.call.blocked & kOutputBit) != 0;
  const int64_t bands = pieces_of(t.to[1], t.band), width = t.to[2], row = t.from[2], each = t.across.count();
  const int64_t before = std::max<int64_t>(0, -t.across.low());
  const int64_t pitch = std::max(before + row, before + width + t.across.high());
  const int64_t turns = t.down.high() - t.down.low() + 1, slot = t.taps * pitch * kLanes;
  const int64_t sums_held = blocked ? 0 : t.band * width * kLanes;
  parallel_for(s.n / kLanes * s.groups * bands, [&](int64_t task) {
    const int64_t g = task / bands % s.groups, first = task % bands * t.band, last = std::min(t.to[1], first + t.band);
    const int64_t begin = task / bands / s.groups * kLanes, made_here = (last - first) * width;
    const T* const x = t.source + (begin * s.groups + g * kLanes) * t.sources * t.from_plane();
    T *const ring = scratch<T>(turns * slot + sums_held), *const sums = ring + turns * slot;
    for (int64_t k = 0; k <= turns * t.taps; ++k) {
      const int64_t from = k == 0 ? 0 : (k - 1) * pitch + before + row,
                    to = std::min(k * pitch + before, turns * t.taps * pitch);
      std::memset(ring + from * kLanes, 0, static_cast<size_t>((to - from) * kLanes) * sizeof(T));
    }
    const int64_t place = g * t.to_plane() + first * width, image = s.groups * t.to_plane();
    T* const y = blocked ? t.produced + begin * image + place * kLanes : sums;
    std::vector<Tap> taps(static_cast<size_t>(t.taps));
    int64_t next = std::max<int64_t>(0, first + t.down.low());
    for (int64_t r = first; r < last; ++r) {
      for (; next < std::min(t.from[1], r + t.down.high() + 1); ++next) {
        // Only of the taps by which the band's rows see this one.
        int64_t least = t.taps, most = 0;
        for (int64_t i = 0; i < t.down.count(); ++i) {
          const int64_t for_row = next - t.down.base[i], number = t.down.k[i] * each;
          if (for_row >= first && for_row < last) least = std::min(least, number), most = std::max(most, number + each);
        }
        if (least >= most) continue;
        T* const z = ring + next % turns * slot + (least * pitch + before) * kLanes;
        TapProduct<T> p = t.product(g, x + next * row * kLanes, t.from_plane() * kLanes, z, pitch * kLanes);
        p.a += least;
        p.rows = most - least;
        p.columns = row * kLanes;
        kernel.product(p);
      }
      TapProduct<T> p{};
      int64_t below, above;
      t.seen(r, &below, &above);
      for (int64_t i = below; i < above; ++i)
        for (int64_t j = 0; j < each; ++j)
          taps[static_cast<size_t>(p.taps++)] = {
              0, (r + t.down.base[i]) % turns * slot +
                     ((t.down.k[i] * each + t.across.k[j]) * pitch + before + t.across.base[j]) * kLanes};
      p.rows = 1;
      p.columns = width * kLanes;
      p.tap = taps.data();
      p.a = &kOne;
      p.b = ring;
      p.c = y + (r - first) * width * kLanes;
      p.row_bias = t.bias ? t.bias + g : nullptr;
      kernel.product(p);
    }
    if (blocked) return made(t.call, begin * image + place * kLanes, begin * image + (place + made_here) * kLanes);
    kernel.transpose(sums, kLanes, t.produced + begin * image + place, image, made_here, kLanes);
    for (int64_t i = begin; i < begin + kLanes && t.call.epilogue; ++i)
      made(t.call, i * image + place, i * image + place + made_here);
  });
}

}  // namespace

template <class T>
void produce_one(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                 T* produced) {
  ToOne<T> t{call,
             s,
             up ? s.co : s.ci,
             s.kernel_size(),
             up ? s.out : s.in,
             up ? s.in : s.out,
             Reach(s, 1, up),
             Reach(s, 2, up),
             source,
             weight,
             bias,
             produced,
             0};
  const bool in_blocks = (call.blocked & 1) != 0;
  const int64_t tasks = pieces_of(s.n, call.blocked ? kLanes : 1) * s.groups;
  const int64_t most = in_blocks ? t.to[1] : rows_held(t.taps * t.from[2], t.down.high() - t.down.low());
  t.band = band_of(t.to[1], tasks, most);
  in_blocks ? to_one_in_blocks(t) : to_one_plainly(t);
}

template void produce_from_few(const OpCall&, const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_from_few(const OpCall&, const ConvShape&, bool, const double*, const double*, const double*,
                               double*);
template void produce_one(const OpCall&, const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_one(const OpCall&, const ConvShape&, bool, const double*, const double*, const double*, double*);

}  // namespace pn
