// Every CPU kernel, for one instruction set. CMake compiles this file once per row of isa.def, with PN_ISA_NAME set to
// the row's name and the row's flags. All code lies in the row's own namespace, so that the linker can never put a
// function built for one CPU in the place of the same function built for another; for the same reason kernels use no
// templates of the standard library.
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "core/aligned.h"
#include "core/philox.h"
#include "core/threads.h"
#include "kernels/kernels.h"

namespace pn::PN_ISA_NAME {
namespace {

#include "kernels/cpu/math.h"

#include "kernels/cpu/scalar.inl"

#include "kernels/cpu/matmul.inl"

#include "kernels/cpu/elementwise.inl"

#include "kernels/cpu/reduce.inl"

#include "kernels/cpu/conv.inl"

#include "kernels/cpu/bf16.inl"

#include "kernels/cpu/optim.inl"

#include "kernels/cpu/pool.inl"

#include "kernels/cpu/resample.inl"

#include "kernels/cpu/grid_sample.inl"

#include "kernels/cpu/row_product.inl"

#include "kernels/cpu/losses.inl"

#include "kernels/cpu/normalize.inl"

#include "kernels/cpu/random.inl"

#include "kernels/cpu/attention.inl"

#include "kernels/cpu/recurrent.inl"

#include "kernels/cpu/roofs.inl"

#include "kernels/cpu/kmeans.inl"

#include "kernels/cpu/segments.inl"

template <class T>
FloatKernels<T> float_kernels(void (*gemm)(const Gemm<T>&), void (*row_product)(const Gemm<T>&)) {
  FloatKernels<T> k{};
  k.elementwise = Elementwise<T>::table();
  k.gemm = gemm;
  k.row_product = row_product;
  k.attention = attention::table<T>();
  k.conv = conv::table<T>();
  k.optim = optim_kernels<T>();
  k.pool = pool::table<T>();
  k.reduce = reduce::table<T>();
  k.resample = {&resample::axis_sum<T>};
  k.grid_sample = grid_sample::table<T>();
  k.losses = losses::table<T>();
  k.normalize = normalize::table<T>();
  k.random = random::table<T>();
  k.recurrent = recurrent::table<T>();
  k.roofs = roofs::table<T>();
  k.kmeans = kmeans::table<T>();
  k.segments = segments::table<T>();
  return k;
}

}  // namespace

const Kernels& table() {
  static const Kernels kernels{float_kernels<float>(&gemm_f32, &row_product_f32),
                               float_kernels<double>(&gemm_f64, &row_product_f64), &gemm_bf16, bf16::has_instruction()};
  return kernels;
}

}  // namespace pn::PN_ISA_NAME
