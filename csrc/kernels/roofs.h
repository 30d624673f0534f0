// What the benchmarks hold results against: the limits of the machine, for one floating type and one instruction set.
#pragma once
#include <cstdint>

namespace pn {

template <class T>
struct RoofKernels {
  // Does `rounds` rounds of multiply-adds in registers alone and returns how many those were. One number that depends
  // on all of them goes to `sink`.
  int64_t (*multiply_adds)(int64_t rounds, T* sink);
  // Reads n elements; their sum goes to `sink`.
  void (*read)(int64_t n, const T* x, T* sink);
  // y = x, n elements.
  void (*copy)(int64_t n, const T* x, T* y);
};

}  // namespace pn
