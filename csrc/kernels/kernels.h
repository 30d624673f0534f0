// The border between the library and its kernels: one struct of plain function pointers per instruction set.
// Only plain pointers, sizes and small structs of them cross it. The kernels behind it are built once per row of
// isa.def.
#pragma once
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/conv.h"
#include "kernels/elementwise_names.h"
#include "kernels/grid_sample.h"
#include "kernels/kmeans.h"
#include "kernels/losses.h"
#include "kernels/normalize.h"
#include "kernels/optim.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"
#include "kernels/resample.h"
#include "kernels/roofs.h"
#include "kernels/segments.h"

namespace pn {

// What is done to a block of c while it is in cache: rows [row, row + rows), columns [column, column + columns).
struct Epilogue {
  void (*apply)(const void* context, int64_t row, int64_t column, int64_t rows, int64_t columns);
  const void* context;
};

// One matrix product: c (m, n) = a (m, k) * b (k, n) [+ c] [+ bias per column]. Any strides for a and b, in elements;
// c has unit column stride. For gemm, each element of c is one chain of fused multiply-adds over k in sequence,
// whatever the tiling, so its bits do not depend on tile sizes, threads or the layout of a and b.
template <class T>
struct Gemm {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row;
  bool accumulate;                     // start the chain from c instead of 0
  const T* bias;                       // (n), added after the chain; or null
  const Epilogue* epilogue = nullptr;  // called once for each block, by the thread that has made it
};

// Products of one row and a chain of this length at least are summed in the order of cpu/row_product.inl. By the shape
// of the whole product alone: a part of a taller one is summed as the whole is.
constexpr bool has_row_order(int64_t rows, int64_t depth) { return rows == 1 && depth >= 64; }

// Elementwise kernels on n elements, all dense. y may be the same memory as an input, not a shifted part of it.
template <class T>
struct ElementwiseKernels {
  void (*unary[static_cast<int>(Unary::count)])(int64_t n, const T* x, T* y, const double* parameters);
  void (*binary[static_cast<int>(Binary::count)])(int64_t n, const T* a, const T* b, T* y);
  void (*ternary[static_cast<int>(Ternary::count)])(int64_t n, const T* a, const T* b, const T* c, T* y);
  void (*test[static_cast<int>(Test::count)])(int64_t n, const T* x, bool* y);
  void (*compare[static_cast<int>(Compare::count)])(int64_t n, const T* a, const T* b, bool* y);
  void (*where)(int64_t n, const bool* c, const T* a, const T* b, T* y);
};

// Everything for one floating type.
template <class T>
struct FloatKernels {
  ElementwiseKernels<T> elementwise;
  void (*gemm)(const Gemm<T>&);
  void (*row_product)(const Gemm<T>&);  // m = 1, accumulate = false: its own order, see cpu/row_product.inl

  // The product, in the order that its shape asks for.
  void product(const Gemm<T>& g) const { (has_row_order(g.m, g.k) ? row_product : gemm)(g); }
  AttentionKernels<T> attention;
  ConvKernels<T> conv;
  OptimKernels<T> optim;
  PoolKernels<T> pool;
  ReduceKernels<T> reduce;
  ResampleKernels<T> resample;
  GridSampleKernels<T> grid_sample;
  LossKernels<T> losses;
  NormKernels<T> normalize;
  RandomKernels<T> random;
  RecurrentKernels<T> recurrent;
  RoofKernels<T> roofs;
  KMeansKernels<T> kmeans;
  SegmentKernels<T> segments;
};

struct Kernels {
  FloatKernels<float> f32;
  FloatKernels<double> f64;
  void (*gemm_bf16)(const Gemm<float>&);  // operands rounded to bfloat16, see cpu/bf16.inl
  bool bf16_instruction;                  // and done by the CPU's own instruction

  template <class T>
  const FloatKernels<T>& of() const {
    if constexpr (sizeof(T) == 4)
      return f32;
    else
      return f64;
  }
};

}  // namespace pn
