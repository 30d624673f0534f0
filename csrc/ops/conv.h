// What the files of the convolution family share: the geometry of a convolution and its three kinds of sums.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/conv.h"
#include "ops/op.h"

namespace pn {

// A convolution of x (n, groups * ci, in...) with a weight (groups * co, ci, kernel...) that gives y (n, groups * co,
// out...). Tap k of output position o lies at position o * stride + k * dilation - pad of x, and counts as 0 outside.
// Fewer than three spatial axes have axes of size 1 in front of them. A transposed convolution takes y and gives x.
struct ConvShape {
  int64_t n, groups, ci, co;
  int64_t in[3], out[3], kernel[3], stride[3], pad[3], dilation[3];

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  // Whether the first axis is none.
  bool flat() const { return in[0] == 1 && out[0] == 1 && kernel[0] == 1 && pad[0] == 0; }
};

// One spatial axis of a pass that produces one side of a convolution from the other: the positions start, start + step,
// ... (count of them) that meet the same taps. Tap i is number k[i] of the kernel; at the j-th position it reads
// j * advance + base[i] of the source.
struct ConvAxis {
  int64_t start, step, count, advance;
  std::vector<int64_t> k, base;

  // The taps whose place in the source exists at position j: [low, high).
  void valid(int64_t j, int64_t source_size, int64_t* low, int64_t* high) const;
};

// Positions [begin, end) along an axis whose valid taps are [low, high).
struct ConvSegment {
  int64_t begin, end, low, high;
};
std::vector<ConvSegment> conv_segments(const ConvAxis& axis, int64_t source_size);

// The axes of y from x (one), or of x from y (`up`; one for each remainder of the stride).
std::vector<ConvAxis> conv_axes(const ConvShape& s, int axis, bool up);

// The taps of one source channel at position 0, in order. tap(place in the channel, number in the kernel, number among
// the pass's own) says how a pass writes one down.
template <class F>
std::vector<Tap> all_taps(const ConvShape& s, const ConvAxis* const* axes, const int64_t* source_size, const F& tap) {
  const ConvAxis &a0 = *axes[0], &a1 = *axes[1], &a2 = *axes[2];
  std::vector<Tap> taps;
  taps.reserve(a0.k.size() * a1.k.size() * a2.k.size());
  for (size_t i0 = 0; i0 < a0.k.size(); ++i0)
    for (size_t i1 = 0; i1 < a1.k.size(); ++i1)
      for (size_t i2 = 0; i2 < a2.k.size(); ++i2)
        taps.push_back(tap((a0.base[i0] * source_size[1] + a1.base[i1]) * source_size[2] + a2.base[i2],
                           (a0.k[i0] * s.kernel[1] + a1.k[i1]) * s.kernel[2] + a2.k[i2],
                           static_cast<int64_t>(taps.size())));
  return taps;
}

// Those of them that are valid at a position (j0, j1) of the two outer axes, for each segment of the innermost axis.
class TapTable {
 public:
  TapTable(const ConvAxis* const* axes, const int64_t* source_size, const std::vector<ConvSegment>& segments,
           const std::vector<Tap>& all)
      : a0_(*axes[0]), a1_(*axes[1]), from_(source_size), segments_(segments), all_(all) {
    t1_ = static_cast<int64_t>(a1_.k.size()), t2_ = static_cast<int64_t>(axes[2]->k.size());
    list_.resize(segments.size() * all.size());
  }

  // Goes to (j0, j1); the table is made anew only if other taps are valid there than at the last position.
  void move(int64_t j0, int64_t j1) {
    if (holds(j0, j1)) return;
    a0_.valid(j0, from_[0], now_, now_ + 1);
    a1_.valid(j1, from_[1], now_ + 2, now_ + 3);
    Tap* to = list_.data();
    for (const ConvSegment& e : segments_)
      for (int64_t i0 = now_[0]; i0 < now_[1]; ++i0)
        for (int64_t i1 = now_[2]; i1 < now_[3]; ++i1)
          for (int64_t i2 = e.low; i2 < e.high; ++i2) *to++ = all_[static_cast<size_t>((i0 * t1_ + i1) * t2_ + i2)];
  }

  // Whether the last table holds at (j0, j1) as well.
  bool holds(int64_t j0, int64_t j1) const {
    int64_t wanted[4];
    a0_.valid(j0, from_[0], wanted, wanted + 1);
    a1_.valid(j1, from_[1], wanted + 2, wanted + 3);
    return std::equal(wanted, wanted + 4, now_);
  }

  // The taps of the first segment; those of the others follow.
  const Tap* taps() const { return list_.data(); }

  // How many of them belong to a segment.
  int64_t count(const ConvSegment& e) const { return (now_[1] - now_[0]) * (now_[3] - now_[2]) * (e.high - e.low); }

 private:
  const ConvAxis &a0_, &a1_;
  const int64_t* from_;
  const std::vector<ConvSegment>& segments_;
  const std::vector<Tap>& all_;
  int64_t t1_, t2_, now_[4] = {-1, -1, -1, -1};
  std::vector<Tap> list_;
};

// A kernel's weights as a pass over some taps reads them: [group][source channel][tap 0][tap 1][tap 2][width], where
// the produced channels stand together, `width` of them, the last ones 0. The memory holds all that.
template <class T>
void pack_weight(const ConvShape& s, bool up, const ConvAxis* const* axes, const T* weight, int64_t width, T* packed);

// sums, n elements, as the sum of `parts` arrays of which each is `part` elements behind the last.
template <class T>
void add_parts(int64_t n, int64_t parts, int64_t part, const T* partial, T* sums);

// y from x (or, `up`, x from y) and dw from x and y, all dense. By channel: vectors run along channels. By pixel: along
// the positions of the innermost axes. By batch: along images. All three produce the same bits; produce_by_pixel()
// needs finite weights. weigh_by_pixel() and weigh_by_batch() say whether their sums are finite (if not, they hold for
// nothing). By batch, operands may lie in blocks as the call says; produce_by_batch() calls made() for what it has
// made, and weigh_by_batch() sums the channels of x (sums_of 0; if flat()) or y (1) into db as well, if there is one.
template <class T>
void produce_by_channel(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced);
template <class T>
void weigh_by_channel(const ConvShape& s, const T* x, const T* y, T* dw);
template <class T>
void produce_by_pixel(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced);
template <class T>
bool weigh_by_pixel(const ConvShape& s, const T* x, const T* y, T* dw);
template <class T>
void produce_by_batch(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                      T* produced);
template <class T>
bool weigh_by_batch(const OpCall& call, const ConvShape& s, const T* x, const T* y, T* dw, int sums_of, T* db);

// Whether vectors along the batch are nearly full and a few rows of so many images stay in cache.
bool suits_batch(const ConvShape& s);

// The share of lanes that have something to do if vectors run along pixels; 0 if they cannot.
double conv_pixel_fill(const ConvShape& s, bool up);

// Whether a shape goes by Winograd's way, whatever the number of images.
bool suits_winograd(const ConvShape& s);
// By it: faster, with other roundings than the rest. False, and nothing is made, if the weights are too large for it.
template <class T>
bool produce_by_winograd(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced);

// Whether a pass goes from few channels, with the same bits as by channel, from finite weights...
bool suits_few_sources(const ConvShape& s, bool up);
template <class T>
void produce_from_few(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                      T* produced);
// ... or to one channel, whatever the number of images: with other roundings than the rest. Operands may lie in blocks.
bool suits_one_channel(const ConvShape& s, bool up);
template <class T>
void produce_one(const OpCall& call, const ConvShape& s, bool up, const T* source, const T* weight, const T* bias,
                 T* produced);

}  // namespace pn
