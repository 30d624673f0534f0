// Convolutions with vectors along the batch: every lane is full for any number of channels, stride and padding. The
// images are re-laid with kBatchLanes, or two or four times as many of them, innermost, (chunk, channel, pixel, lane),
// and the result is laid back. A window that leaves the image has a shorter table of taps.
#include <algorithm>
#include <cstring>

#include "core/array.h"
#include "core/cpu.h"
#include "core/dtype.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kTaskWork = 400000;  // multiply-adds of a task, about
constexpr int64_t kTurned = 512;       // elements of an image that a task of a change of layout moves

int64_t pieces_of(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }

template <class T>
Array memory(int64_t n) {
  return Array::empty(dtype_of<T>::value, 1, &n);
}

// (n, each) as (n / lanes, each, lanes).
template <class T>
Array to_lanes(const T* x, int64_t n, int64_t each, int64_t lanes) {
  const Array turned = memory<T>(n * each);
  const int64_t pieces = pieces_of(each, kTurned);
  parallel_for(n / lanes * pieces, [&](int64_t task) {
    const int64_t chunk = task / pieces, i = task % pieces * kTurned;
    kernels().of<T>().conv.transpose(x + chunk * lanes * each + i, each, turned.ptr<T>() + (chunk * each + i) * lanes,
                                     lanes, lanes, std::min(kTurned, each - i));
  });
  return turned;
}

// The way back, into y.
template <class T>
void from_lanes(const T* turned, int64_t n, int64_t each, int64_t lanes, T* y) {
  const int64_t pieces = pieces_of(each, kTurned);
  parallel_for(n / lanes * pieces, [&](int64_t task) {
    const int64_t chunk = task / pieces, i = task % pieces * kTurned;
    kernels().of<T>().conv.transpose(turned + (chunk * each + i) * lanes, lanes, y + chunk * lanes * each + i, each,
                                     std::min(kTurned, each - i), lanes);
  });
}

}  // namespace

template <class T>
void produce_by_batch(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out;
  const int64_t from_plane = from[0] * from[1] * from[2], to_plane = to[0] * to[1] * to[2];
  int64_t lanes = channels == 1 ? 4 * kBatchLanes : 2 * kBatchLanes;  // one channel has only these to fill registers
  while (s.n % lanes != 0) lanes /= 2;
  const int64_t chunks = s.n / lanes;
  const Array x = to_lanes(source, s.n, s.groups * sources * from_plane, lanes);
  const Array y = memory<T>(s.n * s.groups * channels * to_plane);
  for (const ConvAxis& a0 : conv_axes(s, 0, up))
    for (const ConvAxis& a1 : conv_axes(s, 1, up))
      for (const ConvAxis& a2 : conv_axes(s, 2, up)) {
        const ConvAxis* const part[3] = {&a0, &a1, &a2};
        const int64_t t0 = static_cast<int64_t>(a0.k.size()), t1 = static_cast<int64_t>(a1.k.size());
        const int64_t t2 = static_cast<int64_t>(a2.k.size()), taps = sources * t0 * t1 * t2;
        const Array packed = memory<T>(s.groups * taps * channels);
        pack_weight(s, up, part, weight, channels, packed.ptr<T>());
        const int64_t rows = a0.count * a1.count;
        const int64_t band = std::clamp<int64_t>(kTaskWork / (1 + a2.count * lanes * channels * (1 + taps)), 1, rows);
        const int64_t bands = pieces_of(rows, band);
        const std::vector<ConvSegment> segments = conv_segments(a2, from[2]);
        parallel_for(chunks * s.groups * bands, [&](int64_t task) {
          const int64_t image = task / bands, g = image % s.groups;
          const int64_t first = task % bands * band;
          TapTable table(part, from, sources, segments);
          TapProduct<T> p{};
          p.rows = channels;
          p.columns = lanes;
          p.a = packed.ptr<T>() + g * taps * channels;
          p.a_row = 1;
          p.c_row = to_plane * lanes;
          p.row_bias = bias ? bias + g * channels : nullptr;
          for (int64_t r = first; r < std::min(rows, first + band); ++r) {
            const int64_t j0 = r / a1.count, j1 = r % a1.count;
            const int64_t row_at = ((a0.start + j0 * a0.step) * to[1] + a1.start + j1 * a1.step) * to[2] + a2.start;
            p.tap =
                table.at(j0, j1, [&](int64_t place, int64_t number) { return Tap{number * channels, place * lanes}; });
            for (const ConvSegment& e : segments) {
              p.taps = table.count(e);
              for (int64_t j2 = e.begin; j2 < e.end; ++j2) {
                p.b = x.ptr<T>() + (image * sources * from_plane +
                                    (j0 * a0.advance * from[1] + j1 * a1.advance) * from[2] + j2 * a2.advance) *
                                       lanes;
                p.c = y.ptr<T>() + (image * channels * to_plane + row_at + j2 * a2.step) * lanes;
                kernel.product(p);
              }
              p.tap += p.taps;
            }
          }
        });
      }
  from_lanes(y.ptr<T>(), s.n, s.groups * channels * to_plane, lanes, produced);
}

template <class T>
void weigh_by_batch(const ConvShape& s, const T* x_given, const T* y_given, T* dw) {
  constexpr int64_t kBand = 48;   // pixels whose sums go through registers together
  constexpr int64_t kBlock = 10;  // output channels of a task
  constexpr int64_t lanes = kBatchLanes;
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t in = s.in_size(), out = s.out_size(), kernel_size = s.kernel_size(), chunks = s.n / lanes;
  const Array x = to_lanes(x_given, s.n, s.groups * s.ci * in, lanes);
  const Array y = to_lanes(y_given, s.n, s.groups * s.co * out, lanes);
  const int64_t blocks = pieces_of(s.co, kBlock), out_rows = s.out[0] * s.out[1];
  const int64_t band = std::clamp<int64_t>(kBand / s.out[2], 1, out_rows);
  parallel_for(s.groups * blocks * s.kernel[0] * s.kernel[1], [&](int64_t task) {
    const int64_t k1 = task % s.kernel[1], k0 = task / s.kernel[1] % s.kernel[0];
    const int64_t block = task / s.kernel[1] / s.kernel[0] % blocks, g = task / s.kernel[1] / s.kernel[0] / blocks;
    const int64_t low = s.co * block / blocks, count = s.co * (block + 1) / blocks - low;
    static thread_local std::vector<T> sums, row;
    static thread_local std::vector<Tap> list;
    sums.assign(static_cast<size_t>(s.kernel[2] * count * s.ci * lanes), T(0));
    LaneProduct<T> p{};
    p.rows = count;
    p.columns = s.ci;
    p.a_row = out * lanes;
    p.b_row = in * lanes;
    std::vector<int64_t> begin(static_cast<size_t>(s.kernel[2]) + 1);  // of each k2's taps in the list
    for (int64_t first = 0; first < out_rows; first += band) {
      list.clear();
      for (int64_t k2 = 0; k2 < s.kernel[2]; ++k2) {
        begin[k2] = static_cast<int64_t>(list.size());
        for (int64_t r = first; r < std::min(out_rows, first + band); ++r) {
          const int64_t i0 = r / s.out[1] * s.stride[0] + k0 * s.dilation[0] - s.pad[0];
          const int64_t i1 = r % s.out[1] * s.stride[1] + k1 * s.dilation[1] - s.pad[1];
          if (i0 < 0 || i0 >= s.in[0] || i1 < 0 || i1 >= s.in[1]) continue;
          for (int64_t j = 0; j < s.out[2]; ++j) {
            const int64_t i2 = j * s.stride[2] + k2 * s.dilation[2] - s.pad[2];
            if (i2 < 0 || i2 >= s.in[2]) continue;
            list.push_back({(r * s.out[2] + j) * lanes, ((i0 * s.in[1] + i1) * s.in[2] + i2) * lanes});
          }
        }
      }
      begin[s.kernel[2]] = static_cast<int64_t>(list.size());
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t image = chunk * s.groups + g;
        p.a = y.ptr<T>() + (image * s.co + low) * out * lanes;
        p.b = x.ptr<T>() + image * s.ci * in * lanes;
        for (int64_t k2 = 0; k2 < s.kernel[2]; ++k2) {
          p.tap = list.data() + begin[k2];
          p.taps = begin[k2 + 1] - begin[k2];
          p.sums = sums.data() + k2 * count * s.ci * lanes;
          kernel.lane_product(p);
        }
      }
    }
    row.resize(static_cast<size_t>(count * s.ci));
    for (int64_t k2 = 0; k2 < s.kernel[2]; ++k2) {
      kernel.add_lanes(count * s.ci, sums.data() + k2 * count * s.ci * lanes, row.data());
      T* to = dw + (g * s.co + low) * s.ci * kernel_size + (k0 * s.kernel[1] + k1) * s.kernel[2] + k2;
      for (int64_t i = 0; i < count * s.ci; ++i) to[i * kernel_size] = row[static_cast<size_t>(i)];
    }
  });
}

template void produce_by_batch(const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_by_batch(const ConvShape&, bool, const double*, const double*, const double*, double*);
template void weigh_by_batch(const ConvShape&, const float*, const float*, float*);
template void weigh_by_batch(const ConvShape&, const double*, const double*, double*);

}  // namespace pn
