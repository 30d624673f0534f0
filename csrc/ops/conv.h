// What the files of the convolution family share: the geometry of a convolution and its three kinds of sums.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/conv.h"

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

// A kernel's weights as a pass over some taps reads them: [group][source channel][tap 0][tap 1][tap 2][width], where
// the produced channels stand together, `width` of them, the last ones 0. The memory holds all that.
template <class T>
void pack_weight(const ConvShape& s, bool up, const ConvAxis* const* axes, const T* weight, int64_t width, T* packed);

// y from x (or, `up`, x from y) and dw from x and y, all dense. By channel: vectors run along channels. By batch:
// along the batch, whose size must be a multiple of kBatchLanes.
template <class T>
void produce_by_channel(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced);
template <class T>
void weigh_by_channel(const ConvShape& s, const T* x, const T* y, T* dw);
template <class T>
void produce_by_batch(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced);
template <class T>
void weigh_by_batch(const ConvShape& s, const T* x, const T* y, T* dw);

}  // namespace pn
