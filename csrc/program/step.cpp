#include "program/step.h"

#include <algorithm>
#include <cstring>

#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"

namespace pn {

// Where each link finds its operands, and an address for each buffer: a chain of one tile then runs without a look at
// shapes.
void ChainStep::prepare() {
  dense_ = links.size() == 1;
  for (int k = 0; dense_ && k < links[0].count; ++k) dense_ = links[0].places[k].kind == Place::kDense;
  if (total > kTile) return;
  const int64_t room = (total * 8 + 63) / 64 * 64, size = room * buffers;
  memory_ = Array::empty(DType::UInt8, 1, &size);
  for (int i = 0; i < buffers; ++i) buffer_of_.push_back(memory_.data + i * room);
  for (const Link& link : links) {
    SmallLink small{link.kernel.piece, link.kernel.context, {}, link.count};
    for (int k = 0; k < link.count; ++k) {
      const Place& place = link.places[k];
      small.at[k] = place.kind == Place::kDense ? &place.array->data : &buffer_of_[static_cast<size_t>(place.buffer)];
      if (place.kind != Place::kSpread) continue;
      SmallSpread spread{place.array, {}, place.item, buffer_of_[static_cast<size_t>(place.buffer)]};
      Array window = place.stretched;
      char origin;  // offsets are counted from it
      window.data = &origin;
      const Array* operands[1] = {&window};
      const Loop<1> loop(window.ndim, window.shape, operands);
      loop.rows([&](int64_t n, char* const* at, const int64_t* stride) {
        for (int64_t i = 0; i < n; ++i)
          spread.offsets.push_back(at[0] - &origin + i * stride[0] * static_cast<int64_t>(place.item));
      });
      if (place.constant)
        lay_out(spread);
      else
        spreads_.push_back(std::move(spread));
    }
    small_.push_back(small);
  }
}

void ChainStep::lay_out(const SmallSpread& s) const {
  const char* from = s.array->data;
  const auto all = [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < s.offsets.size(); ++i) std::memcpy(s.to + i * sizeof(T), from + s.offsets[i], sizeof(T));
  };
  switch (s.item) {
    case 1: return all(uint8_t{});
    case 2: return all(uint16_t{});
    case 4: return all(uint32_t{});
    default: return all(uint64_t{});
  }
}

void ChainStep::run() {
  if (!small_.empty()) {
    for (const SmallSpread& s : spreads_) lay_out(s);
    for (const SmallLink& link : small_) {
      char* p[4];
      for (int k = 0; k < 4; ++k)
        if (k < link.count) p[k] = *link.at[k];
      link.piece(link.context, 0, total, p);
    }
    return;
  }
  static_assert(kRangeTask % kTile == 0);
  parallel_ranges(total, 1, [&](int64_t low, int64_t high) { range(low, high); });
}

void ChainStep::range(int64_t low, int64_t high) const {
  if (dense_) {
    const Link& only = links[0];
    char* p[4];
    for (int k = 0; k < only.count; ++k)
      p[k] = only.places[k].array->data + low * static_cast<int64_t>(only.places[k].item);
    return only.kernel.piece(only.kernel.context, low, high - low, p);
  }
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
      link.kernel.piece(link.kernel.context, start, n, p);
    }
  }
}

void ProductStep::prepare() {
  epilogue_.context = this;
  epilogue_.apply = [](const void* context, int64_t row, int64_t column, int64_t rows, int64_t columns) {
    const ProductStep& s = *static_cast<const ProductStep*>(context);
    const Array& c = s.product.call.out[0];
    const int64_t width = c.shape[c.ndim - 1];
    if (columns == width) return s.chain.range(row * width, (row + rows) * width);
    for (int64_t i = row; i < row + rows; ++i) s.chain.range(i * width + column, i * width + column + columns);
  };
  product.ready.epilogue = product.call.epilogue = &epilogue_;
}

void UpdatesStep::prepare() {
  // Equal shares for some threads, of whole cache lines, through the calls' parameters as if they were one.
  constexpr int64_t kTasks = 4, kLeast = int64_t{1} << 13, kUnit = int64_t{1} << 10;
  int64_t all = 0, filled = 0;
  for (const Call& c : calls) all += c.inputs[0]->size();
  const int64_t each = std::clamp(pieces_of(all, kTasks * kUnit) * kUnit, kLeast, kUpdateTask);
  tasks_.push_back(0);
  for (Call& c : calls)
    for (int64_t low = 0, size = c.inputs[0]->size(), n; low < size; low += n) {
      if (filled == each) tasks_.push_back(pieces_.size()), filled = 0;
      n = std::min(each - filled, size - low);
      filled += n;
      pieces_.push_back({&c, low, n});
    }
  tasks_.push_back(pieces_.size());
}

void UpdatesStep::run() {
  for (Call& c : calls) c.call.op->update->begin(c.call, c.coefficients);
  const auto task = [&](int64_t t) {
    for (size_t i = tasks_[static_cast<size_t>(t)]; i < tasks_[static_cast<size_t>(t) + 1]; ++i) {
      const Piece& p = pieces_[i];
      p.call->call.op->update->piece(p.call->call, p.call->coefficients, p.low, p.n);
    }
  };
  parallel_for(static_cast<int64_t>(tasks_.size()) - 1, task);
}

void UpdateStep::prepare() {
  constexpr int64_t kBlockBytes = int64_t{1} << 17;  // of gradient at a time: within L2 beside what the product reads
  constexpr int64_t kTileRows = 8;                   // whole register tiles of the product
  const int64_t m = w->shape[0], n = w->shape[1];
  rows_ = kBlockBytes / (n * static_cast<int64_t>(item_size(w->dtype)) + 1) / kTileRows * kTileRows;
  if (rows_ < kTileRows) rows_ = kTileRows;
  if (m > rows_) return;
  const int64_t size = m * n;
  block_ = Array::empty(w->dtype, 1, &size);
}

void UpdateStep::run() { w->dtype == DType::Float32 ? run_as<float>() : run_as<double>(); }

template <class T>
void UpdateStep::run_as() {
  const int64_t m = w->shape[0], n = w->shape[1], k = a->shape[1];
  const FloatKernels<T>& kernel = kernels().of<T>();
  const double* h = settings->ptr<double>();
  const SgdCoefficients coefficients{h[0], h[1], h[2]};
  const auto rows = [&](int64_t first, int64_t count, T* gradient) {
    const auto product = has_row_order(m, k) ? kernel.row_product : kernel.gemm;
    product({count, n, k, a->ptr<T>() + first * a->strides[0], a->strides[0], a->strides[1], b->ptr<T>(), b->strides[0],
             b->strides[1], gradient, n, false, nullptr});
    kernel.optim.sgd(count * n, w->ptr<T>() + first * n, gradient, coefficients);
  };
  if (block_.data) return rows(0, m, block_.ptr<T>());
  // An argument may lie on the memory of the parameter: then the whole gradient comes first, as it was recorded.
  const int64_t together = may_overlap(*w, *a) || may_overlap(*w, *b) ? m : rows_;
  const auto block = [&](int64_t t) {
    const int64_t first = t * together, count = first + together < m ? together : m - first;
    const int64_t size = count * n;
    Array gradient;  // the pool hands the same block out again and again
    gradient.describe(w->dtype, 1, &size);
    gradient.allocate();
    rows(first, count, gradient.ptr<T>());
  };
  const int64_t blocks = (m + together - 1) / together;
  const double work = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  constexpr double kWorthAThread = 1e6;
  if (work < kWorthAThread)
    for (int64_t t = 0; t < blocks; ++t) block(t);
  else
    parallel_for(blocks, block);
}

}  // namespace pn
