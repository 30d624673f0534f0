// The border of the random kernels (cpu/random.inl). Each makes n numbers from the groups that start at `block`.
#pragma once
#include <cstdint>

namespace pn {

struct Stream {
  uint64_t seed, block;
};

// y = (kept ? x : low) scale + shift; `each` neighbours share one bit of the mask.
template <class T>
struct Dropout {
  int64_t each;
  T low, scale, shift;
};

template <class T>
struct RandomKernels {
  void (*words)(Stream s, int64_t groups, uint32_t* y);               // the raw words, group by group
  void (*uniform)(Stream s, int64_t n, T low, T range, T top, T* y);  // min(low + u range, top), u in [0, 1)
  void (*normal)(Stream s, int64_t n, T mean, T std, T* y);
  void (*bernoulli)(Stream s, int64_t n, const T* p, T* y);            // 1 with probability p, else 0
  void (*mask)(Stream s, int64_t groups, uint32_t below, uint8_t* y);  // bits, the lowest first: word >= below
  // Puts the bits of 16 images, `step` bits apart from bit `first` on, side by side: y has bit i of all of them, i < n.
  // Up to 8 bytes of bits behind the last are read.
  void (*turn_mask)(int64_t n, const uint8_t* bits, int64_t first, int64_t step, uint8_t* y);
  // x and y: elements [at, at + n). Up to 8 bytes of bits behind the last are read.
  void (*dropout)(const Dropout<T>& d, int64_t at, int64_t n, const T* x, const uint8_t* bits, T* y);
};

}  // namespace pn
