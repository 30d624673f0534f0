#include "program/step.h"

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"

namespace pn {

namespace {
constexpr int64_t kTask = int64_t{1} << 15;  // elements per task: a multiple of the tile
}

void ChainStep::run() {
  if (total < 2 * kTask) return range(0, total);
  parallel_for((total + kTask - 1) / kTask, [&](int64_t t) {
    const int64_t low = t * kTask;
    range(low, low + kTask < total ? low + kTask : total);
  });
}

void ChainStep::range(int64_t low, int64_t high) const {
  alignas(64) char memory[kMaxBuffers][kTile * 8];
  for (int64_t start = low; start < high; start += kTile) {
    const int64_t n = start + kTile < high ? kTile : high - start;
    for (const Link& link : links) {
      char* p[4];
      for (int k = 0; k < link.count; ++k) {
        const Place& place = link.places[k];
        if (place.kind == Place::kDense) {
          p[k] = place.array->data + start * static_cast<int64_t>(place.item);
        } else {
          p[k] = memory[place.buffer];
          if (place.kind == Place::kBuffer || (place.one_value && start != low)) continue;
          if (place.one_value) {
            gather(n, place.array->data, 0, place.item, p[k]);
            continue;
          }
          Array window = place.stretched;
          window.data = place.array->data;
          const Array* operands[1] = {&window};
          const Loop<1> loop(window.ndim, window.shape, operands);
          char* to = p[k];
          loop.range(start, start + n, [&](int64_t m, char* const* at, const int64_t* stride) {
            gather(m, at[0], stride[0], place.item, to);
            to += m * static_cast<int64_t>(place.item);
          });
        }
      }
      link.kernel.piece(link.kernel.context, n, p);
    }
  }
}

void UpdateStep::run() { w->dtype == DType::Float32 ? run_as<float>() : run_as<double>(); }

template <class T>
void UpdateStep::run_as() {
  constexpr int64_t kBlockBytes = int64_t{1} << 17;  // of gradient at a time: within L2 beside what the product reads
  constexpr int64_t kTileRows = 8;                   // whole register tiles of the product
  const int64_t m = w->shape[0], n = w->shape[1], k = a->shape[1];
  int64_t rows = kBlockBytes / (n * static_cast<int64_t>(sizeof(T)) + 1) / kTileRows * kTileRows;
  if (rows < kTileRows) rows = kTileRows;
  // An argument may lie on the memory of the parameter: then the whole gradient comes first, as it was recorded.
  if (may_overlap(*w, *a) || may_overlap(*w, *b)) rows = m;
  const double* h = settings->ptr<double>();
  const SgdCoefficients coefficients{h[0], h[1], h[2]};
  const auto block = [&](int64_t t) {
    const int64_t first = t * rows, count = first + rows < m ? rows : m - first;
    const int64_t size = count * n;
    Array gradient;  // the pool hands the same block out again and again
    gradient.describe(w->dtype, 1, &size);
    gradient.allocate();
    const FloatKernels<T>& kernel = kernels().of<T>();
    kernel.gemm({count, n, k, a->ptr<T>() + first * a->strides[0], a->strides[0], a->strides[1], b->ptr<T>(),
                 b->strides[0], b->strides[1], gradient.ptr<T>(), n, false, nullptr});
    kernel.optim.sgd(size, w->ptr<T>() + first * n, gradient.ptr<T>(), coefficients);
  };
  const int64_t blocks = (m + rows - 1) / rows;
  const double work = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  constexpr double kWorthAThread = 1e6;
  if (work < kWorthAThread)
    for (int64_t t = 0; t < blocks; ++t) block(t);
  else
    parallel_for(blocks, block);
}

}  // namespace pn
