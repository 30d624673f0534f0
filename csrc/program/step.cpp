#include "program/step.h"

#include "core/threads.h"

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

}  // namespace pn
