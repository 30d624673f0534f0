// The border of the normalisation kernels (cpu/normalize.inl).
#pragma once
#include <cstdint>

namespace pn {

// Channels of dense places, in rows that are `stride` elements apart: element (r, c, p) is at r * stride + c * places +
// p. Channels of few places are taken side by side, at most channels_together() of them in one call. A row is an image,
// or, if `blocked`, kBatchLanes of them, which take turns from one place to the next.
struct Planes {
  int64_t rows, channels, places, stride;
  bool blocked = false;
};
inline constexpr int64_t kLongPlaces = 16;
inline constexpr int64_t kPlaneColumns = 128;
constexpr int64_t channels_together(int64_t places) { return places < kLongPlaces ? kPlaneColumns / places : 1; }

// Dense rows of n elements, each normalised by itself. A weight or bias has n elements.
template <class T>
struct NormRows {
  int64_t rows, n;
  bool centred;  // else the mean counts as 0 and the variance is the mean square
  double eps;
  const T *x, *weight;
};

// What the gradients of channels of `count` elements are made from and go to.
template <class T>
struct NormChannels {
  double count, eps;
  const T *weight, *var, *dmean, *dvar;
  T *dweight, *dbias;
};

template <class T>
struct NormKernels {
  // mean[c] and the biased var[c] of each channel; mean 0 and the mean square unless centred.
  void (*moments)(const Planes&, const T* x, bool centred, T* mean, T* var);
  // out[i] = 1 / sqrt(var[i] + eps)
  void (*inverse)(int64_t n, const T* var, double eps, double* out);
  // y = (x - mean[c]) * scale[c] * weight[c] + bias[c]
  void (*scale)(const Planes&, const T* x, const T* mean, const T* scale, const T* weight, const T* bias, T* y);
  // sums[c] = sum of dy, sums[channels + c] = sum of dy * (x - mean[c])
  void (*sums)(const Planes&, const T* dy, const T* x, const T* mean, double* sums);
  // The coefficients a, b and c of back() from sums(), and the gradients of weight and bias.
  void (*coefficients)(int64_t channels, const NormChannels<T>&, const double* sums, T* a, T* b, T* c);
  // dx = a[c] * dy + b[c] * (x - mean[c]) + c[c]
  void (*back)(const Planes&, const T* dy, const T* x, const T* mean, const T* a, const T* b, const T* c, T* dx);
  // y = (x - mean[r]) / sqrt(var[r] + eps) * weight + bias, with the statistics of each row
  void (*rows)(const NormRows<T>&, const T* bias, T* y, T* mean, T* var);
  // The gradient of x for those of y, mean and var; those of weight and bias are added to dweight and dbias.
  void (*rows_back)(const NormRows<T>&, const T* dy, const T* mean, const T* var, const T* dmean, const T* dvar, T* dx,
                    T* dweight, T* dbias);
  // running = (1 - share) * running + share * factor * now
  void (*approach)(int64_t n, double share, double factor, const T* now, T* running);
};

// The coefficients b and c of back() for a channel (or row) of `count` elements, with 1 / sqrt(var + eps) as `scale`; e
// and ex: sums of e = dy * weight and of e * (x - mean). c is 0 where the mean counts as 0. Static, so that no
// instruction set's build of them stands in for another's.
static inline double norm_back_b(double count, double scale, double ex, double dvar) {
  return (2 * dvar - scale * scale * scale * ex) / count;
}
static inline double norm_back_c(double count, double scale, double e, double dmean) {
  return (dmean - scale * e) / count;
}

}  // namespace pn
