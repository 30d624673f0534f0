// The border of the random kernels (cpu/random.inl). Each makes n numbers from the groups that start at `block`.
#pragma once
#include <cstdint>

namespace pn {

struct Stream {
  uint64_t seed, block;
};

template <class T>
struct RandomKernels {
  void (*words)(Stream s, int64_t groups, uint32_t* y);               // the raw words, group by group
  void (*uniform)(Stream s, int64_t n, T low, T range, T top, T* y);  // min(low + u range, top), u in [0, 1)
  void (*normal)(Stream s, int64_t n, T mean, T std, T* y);
  void (*bernoulli)(Stream s, int64_t n, const T* p, T* y);                         // 1 with probability p, else 0
  void (*dropout)(Stream s, int64_t n, const T* x, uint32_t below, T scale, T* y);  // word < below ? 0 : x scale
};

}  // namespace pn
