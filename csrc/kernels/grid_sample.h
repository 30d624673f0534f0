// Reading images and volumes at points of a grid: what the kernels are told.
#pragma once
#include <cstdint>

namespace pn {

struct GridSample {
  enum Mode { bilinear, nearest, bicubic };
  enum Padding { zeros, border, reflection };
  int spatial;  // dimensions of the image, 2 or 3
  int64_t size[3];
  Mode mode;
  Padding padding;
  bool align_corners;
};

inline constexpr int kGridPoints = 64;  // at most, for which the reads are made together
inline constexpr int kGridTaps = 16;    // of 4 x 4, or of 2 x 2 x 2

// What points read of one channel: tap t of point p is `place[t][p]`, -1 where it lies outside, with a weight and the
// weight's derivatives by the coordinates of each dimension of the image.
template <class T>
struct GridTaps {
  int count;
  int32_t place[kGridTaps][kGridPoints];
  T weight[kGridTaps][kGridPoints], slope[3][kGridTaps][kGridPoints];
};

template <class T>
struct GridSampleKernels {
  // For n points, the coordinates of each beside one another, the last dimension of the image first.
  void (*taps)(const GridSample&, int64_t n, const T* grid, bool slopes, GridTaps<T>& to);
  // y of n points from one channel x.
  void (*read)(int64_t n, const GridTaps<T>&, const T* x, T* y);
  // Adds dy times x times the slopes to the sums of each dimension.
  void (*slopes)(int spatial, int64_t n, const GridTaps<T>&, const T* x, const T* dy, T (*sums)[kGridPoints]);
};

}  // namespace pn
