// Convolutions of 3x3 windows, stride 1, between many channels by Winograd's F(2x2, 3x3), after Lavin and Gray, "Fast
// algorithms for convolutional neural networks" (CVPR 2016): 2x2 results come from 4x4 sources by 16 products where
// their definition has 36. With g a window, d a tile of the source and * place by place, they are
//   A^T [sum over channels of (G g G^T) * (B^T d B)] A,
// 16 matrix products, one for each place of a tile, between sums of a few neighbours. Vectors run along the tiles of a
// row. An image's results depend on nothing but that image, as by every other way.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/array.h"
#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kPoints = 16;       // places of a tile
constexpr int64_t kMostAcross = 4;    // groups of tiles that a task takes side by side: their sums stay in L2
constexpr int64_t kFewChannels = 48;  // with fewer, the sums of neighbours cost what the products save
constexpr double kFullEnough = 0.7;   // part of the tiles' lanes that are in the image
constexpr double kLargest = 0x1p50;   // of a source's and a weight's values: no sum of neighbours then overflows

int64_t groups_across(int64_t width) { return pieces_of(width, 2 * kBatchLanes); }

bool full_enough(int64_t width) {
  return static_cast<double>(width) >= kFullEnough * static_cast<double>(groups_across(width) * 2 * kBatchLanes);
}

// G g G^T of every window: [group][place][source channel][produced channel]. Turned by half, `up`, as the adjoint
// wants.
template <class T>
void transform_weight(const ConvShape& s, bool up, const T* weight, T* to) {
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co, each = sources * channels;
  parallel_for(s.groups * sources, [&](int64_t row) {
    const int64_t g = row / sources, c = row % sources;
    for (int64_t k = 0; k < channels; ++k) {
      const T* w = weight + 9 * (g * each + (up ? c * s.ci + k : k * s.ci + c));
      T half[4][3];
      for (int j = 0; j < 3; ++j) {
        const T a = w[up ? 8 - j : j], b = w[up ? 5 - j : 3 + j], d = w[up ? 2 - j : 6 + j], outer = a + d;
        half[0][j] = a, half[1][j] = (outer + b) / 2, half[2][j] = (outer - b) / 2, half[3][j] = d;
      }
      T* u = to + g * kPoints * each + c * channels + k;
      for (const T* h : half) {
        const T outer = h[0] + h[2];
        for (const T value : {h[0], (outer + h[1]) / 2, (outer - h[1]) / 2, h[2]}) *u = value, u += each;
      }
    }
  });
}

// n elements of a row of the source, from `first` on; zeros where it has none.
template <class T>
void copy_row(const T* row, int64_t size, int64_t first, int64_t n, T* to) {
  const int64_t low = row ? std::clamp<int64_t>(-first, 0, n) : n, high = std::clamp(size - first, low, n);
  std::fill(to, to + low, T(0));
  if (low < high) std::copy(row + first + low, row + first + high, to + low);
  std::fill(to + high, to + n, T(0));
}

}  // namespace

bool suits_winograd(const ConvShape& s) {
  const auto is = [&](const int64_t* a, int64_t first, int64_t rest) {
    return a[0] == first && a[1] == rest && a[2] == rest;
  };
  return is(s.kernel, 1, 3) && is(s.stride, 1, 1) && is(s.dilation, 1, 1) && s.pad[0] == 0 && s.in[0] == 1 &&
         s.out[0] == 1 && std::min(s.ci, s.co) >= kFewChannels && full_enough(s.in[2]) && full_enough(s.out[2]);
}

template <class T>
bool produce_by_winograd(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out;
  const int64_t from_plane = from[1] * from[2], to_plane = to[1] * to[2], from_image = s.groups * sources * from_plane;
  const int64_t pad1 = up ? 2 - s.pad[1] : s.pad[1], pad2 = up ? 2 - s.pad[2] : s.pad[2];
  const int64_t weights = s.groups * sources * channels;
  if (!kernel.within(9 * weights, weight, static_cast<T>(kLargest))) return false;
  std::vector<char> small(static_cast<size_t>(s.n));
  parallel_for(s.n, [&](int64_t image) {
    small[static_cast<size_t>(image)] =
        kernel.within(from_image, source + image * from_image, static_cast<T>(kLargest));
  });
  const Array u = memory<T>(kPoints * weights);
  transform_weight(s, up, weight, u.ptr<T>());
  std::vector<Tap> taps;

  // A task: some rows of tiles of an image's group, part by part of their length.
  const int64_t across = std::min(groups_across(to[2]), kMostAcross), down = across == 1 ? 2 : 1;
  const int64_t parts = pieces_of(groups_across(to[2]), across), bands = pieces_of(to[1], 2 * down);
  const int64_t tiles = across * kBatchLanes, columns = down * tiles, line = 2 * tiles + 2, lines = 2 * down + 2;
  // From one place of a tile to the next, with which they are not all in one set of the L1 cache.
  const int64_t v_point = sources * columns + kBatchLanes, m_point = channels * columns + kBatchLanes;
  for (int64_t c = 0; c < sources; ++c) taps.push_back({c * channels, c * columns});
  parallel_for(s.n * s.groups * bands, [&](int64_t task) {
    const int64_t image = task / bands / s.groups, g = task / bands % s.groups, top = task % bands * 2 * down;
    if (!small[static_cast<size_t>(image)]) return;
    const T* x = source + image * from_image + g * sources * from_plane;
    T* const y = produced + (image * s.groups + g) * channels * to_plane;
    T* const v = scratch<T>(kPoints * (v_point + m_point) + lines * line);
    T *const m = v + kPoints * v_point, *const held = m + kPoints * m_point;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t left = part * 2 * tiles, width = std::min(2 * tiles, to[2] - left);
      for (int64_t c = 0; c < sources; ++c) {
        for (int64_t i = 0; i < lines; ++i) {
          const int64_t row = top + i - pad1;
          copy_row(row >= 0 && row < from[1] ? x + c * from_plane + row * from[2] : nullptr, from[2], left - pad2, line,
                   held + i * line);
        }
        for (int64_t r = 0; r < down; ++r)
          kernel.winograd_source(tiles, held + 2 * r * line, line, v + c * columns + r * tiles, v_point);
      }
      TapProduct<T> p{};
      p.rows = channels, p.columns = columns, p.taps = sources, p.tap = taps.data();
      p.a_row = 1, p.c_row = columns;
      for (int64_t point = 0; point < kPoints; ++point) {
        p.a = u.ptr<T>() + (g * kPoints + point) * sources * channels;
        p.b = v + point * v_point;
        p.c = m + point * m_point;
        kernel.product(p);
      }
      for (int64_t k = 0; k < channels; ++k)
        for (int64_t r = 0; r < down; ++r) {
          kernel.winograd_result(tiles, m + k * columns + r * tiles, m_point, bias ? bias[g * channels + k] : T(0),
                                 bias != nullptr, held, line);
          for (int64_t i = 0; i < 2 && top + 2 * r + i < to[1]; ++i)
            std::copy(held + i * line, held + i * line + width, y + k * to_plane + (top + 2 * r + i) * to[2] + left);
        }
    }
  });
  ConvShape one = s;
  one.n = 1;
  for (int64_t image = 0; image < s.n; ++image)
    if (!small[static_cast<size_t>(image)])
      produce_by_channel(one, up, source + image * from_image, weight, bias,
                         produced + image * s.groups * channels * to_plane);
  return true;
}

template bool produce_by_winograd(const ConvShape&, bool, const float*, const float*, const float*, float*);
template bool produce_by_winograd(const ConvShape&, bool, const double*, const double*, const double*, double*);

}  // namespace pn
