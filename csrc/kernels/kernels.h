// The border between the library and its kernels: one struct of plain function pointers per instruction set.
// Only plain pointers, sizes and small structs of them cross it. The kernels behind it are built once per row of isa.def.
#pragma once
#include <cstdint>

namespace pn {

// One matrix product: c (m, n) = a (m, k) * b (k, n) [+ c] [+ bias per column]. Any strides for a and b, in elements;
// c has unit column stride. Each element of c is one chain of fused multiply-adds over k in sequence, whatever the
// tiling, so its bits do not depend on tile sizes, threads or the layout of a and b.
template <class T>
struct Gemm {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row;
  bool accumulate;  // start the chain from c instead of 0
  const T* bias;    // (n), added after the chain; or null
};

}  // namespace pn
