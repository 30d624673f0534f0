// Convolutions with vectors along the channels of what is produced. The other factor is read in place, element by
// element, so that every stride and dilation costs the same. Positions whose windows leave the image in the same way
// share a table of taps, which holds only those inside.
#include <algorithm>
#include <cstring>

#include "core/array.h"
#include "core/cpu.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/conv.h"

namespace pn {
namespace {

constexpr int64_t kTaskWork = 400000;  // multiply-adds of a task, about

}  // namespace

template <class T>
void produce_by_channel(const ConvShape& s, bool up, const T* source, const T* weight, const T* bias, T* produced) {
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t sources = up ? s.co : s.ci, channels = up ? s.ci : s.co;
  const int64_t *from = up ? s.out : s.in, *to = up ? s.in : s.out;
  const int64_t width = pieces_of(channels, kernel.lanes) * kernel.lanes;
  const int64_t to_plane = to[0] * to[1] * to[2];
  std::vector<ConvAxis> axes[3];
  for (int d = 0; d < 3; ++d) axes[d] = conv_axes(s, d, up);
  const int64_t from_plane = from[0] * from[1] * from[2];
  for (const ConvAxis& a0 : axes[0])
    for (const ConvAxis& a1 : axes[1])
      for (const ConvAxis& a2 : axes[2]) {
        const ConvAxis* const part[3] = {&a0, &a1, &a2};
        const int64_t t0 = static_cast<int64_t>(a0.k.size()), t1 = static_cast<int64_t>(a1.k.size());
        const int64_t t2 = static_cast<int64_t>(a2.k.size()), taps = sources * t0 * t1 * t2;
        const Array packed = memory<T>(s.groups * taps * width);
        pack_weight(s, up, part, weight, width, packed.ptr<T>());
        const int64_t row_count = a0.count * a1.count;
        const int64_t band = std::clamp<int64_t>(kTaskWork / (1 + a2.count * width * (1 + taps)), 1, row_count);
        const int64_t bands = pieces_of(row_count, band);
        const std::vector<ConvSegment> segments = conv_segments(a2, from[2]);
        const std::vector<Tap> all =
            all_taps(s, part, from, [&](int64_t place, int64_t, int64_t number) { return Tap{place, number * width}; });
        parallel_for(s.n * s.groups * bands, [&](int64_t task) {
          const int64_t image = task / bands, g = image % s.groups;
          const int64_t first = task % bands * band, last = std::min(row_count, first + band);
          const T* const x = source + image * sources * from_plane;
          T* const sums = scratch<T>(band * a2.count * width);
          TapTable table(part, from, segments, all);
          TapProduct<T> p{};
          p.columns = width;
          p.a_row = a2.advance;
          p.b = packed.ptr<T>() + g * taps * width;
          p.c_row = width;
          p.repeats = sources;
          p.a_repeat = from_plane;
          p.b_repeat = t0 * t1 * t2 * width;
          p.add = bias != nullptr;  // the lanes behind the channels go nowhere
          for (int64_t i = 0; i < (last - first) * a2.count && bias; ++i)
            std::copy_n(bias + g * channels, channels, sums + i * width);
          for (int64_t r = first; r < last; ++r) {
            const int64_t j0 = r / a1.count, j1 = r % a1.count;
            const T* const row = x + (j0 * a0.advance * from[1] + j1 * a1.advance) * from[2];
            table.move(j0, j1);
            p.tap = table.taps();
            for (const ConvSegment& e : segments) {
              p.rows = e.end - e.begin;
              p.taps = table.count(e);
              p.a = row + e.begin * a2.advance;
              p.c = sums + ((r - first) * a2.count + e.begin) * width;
              kernel.product(p);
              p.tap += p.taps;
            }
          }
          T* const y = produced + image * channels * to_plane;
          if (a0.step == 1 && a1.step == 1 && a2.step == 1)
            return kernel.transpose(sums, width, y + first * to[2], to_plane, (last - first) * to[2], channels);
          for (int64_t r = first; r < last; ++r) {
            const int64_t i0 = a0.start + r / a1.count * a0.step, i1 = a1.start + r % a1.count * a1.step;
            const T* sum = sums + (r - first) * a2.count * width;
            for (int64_t c = 0; c < channels; ++c) {
              T* at = y + c * to_plane + (i0 * to[1] + i1) * to[2] + a2.start;
              for (int64_t j = 0; j < a2.count; ++j) at[j * a2.step] = sum[j * width + c];
            }
          }
        });
      }
}

template <class T>
void weigh_by_channel(const ConvShape& s, const T* x, const T* y, T* dw) {
  constexpr int64_t kBand = 512;  // pixels of one chain
  constexpr int64_t kBlock = 16;  // input channels of a task
  const ConvKernels<T>& kernel = kernels().of<T>().conv;
  const int64_t width = pieces_of(s.co, kernel.lanes) * kernel.lanes, out = s.out_size(), kernel_size = s.kernel_size();
  const int64_t plane = s.in_size(), images = s.n * s.groups;
  // y with its channels together: [image][group][pixel][width]
  const Array turned = memory<T>(images * out * width);
  parallel_for(images, [&](int64_t i) {
    T* to = turned.ptr<T>() + i * out * width;
    kernel.transpose(y + i * s.co * out, out, to, width, s.co, out);
    if (width > s.co)
      for (int64_t p = 0; p < out; ++p) std::fill(to + p * width + s.co, to + (p + 1) * width, T(0));
  });
  // Sums as [group][kernel position][input channel][width].
  const Array sums = memory<T>(s.groups * kernel_size * s.ci * width);
  std::memset(sums.data, 0, static_cast<size_t>(sums.size()) * sizeof(T));
  const int64_t blocks = pieces_of(s.ci, kBlock), out_rows = s.out[0] * s.out[1];
  const int64_t band = std::clamp<int64_t>(kBand / s.out[2], 1, out_rows);
  // The rows of a product are input channels, or, if there are few, kernel positions along the last axis: at the output
  // positions [inner_low, inner_high) there, for which all of these lie inside; the others follow one by one.
  const bool along_kernel = s.ci < 4 && s.kernel[2] > 1;
  const ConvAxis last = std::move(conv_axes(s, 2, false)[0]);
  int64_t inner_low = 0, inner_high = 0;
  for (const ConvSegment& e : conv_segments(last, s.in[2]))
    if (along_kernel && e.low == 0 && e.high == s.kernel[2]) inner_low = e.begin, inner_high = e.end;
  parallel_for(s.groups * blocks * s.kernel[0] * s.kernel[1], [&](int64_t task) {
    const int64_t k1 = task % s.kernel[1], k0 = task / s.kernel[1] % s.kernel[0];
    const int64_t block = task / s.kernel[1] / s.kernel[0] % blocks, g = task / s.kernel[1] / s.kernel[0] / blocks;
    const int64_t low = s.ci * block / blocks, high = s.ci * (block + 1) / blocks;
    T* const sum = sums.ptr<T>() + (g * kernel_size + (k0 * s.kernel[1] + k1) * s.kernel[2]) * s.ci * width;
    static thread_local std::vector<Tap> list;  // of the inner positions, then of each k2
    static thread_local std::vector<int64_t> begin;
    TapProduct<T> p{};
    p.columns = width;
    p.add = true;
    for (int64_t first = 0; first < out_rows; first += band) {
      list.clear();
      begin.clear();
      for (int64_t k2 = -1; k2 < s.kernel[2]; ++k2) {
        begin.push_back(static_cast<int64_t>(list.size()));
        for (int64_t r = first; r < std::min(out_rows, first + band); ++r) {
          const int64_t i0 = r / s.out[1] * s.stride[0] + k0 * s.dilation[0] - s.pad[0];
          const int64_t i1 = r % s.out[1] * s.stride[1] + k1 * s.dilation[1] - s.pad[1];
          if (i0 < 0 || i0 >= s.in[0] || i1 < 0 || i1 >= s.in[1]) continue;
          for (int64_t j = k2 < 0 ? inner_low : 0; j < (k2 < 0 ? inner_high : s.out[2]); ++j) {
            if (k2 >= 0 && j == inner_low) j = inner_high;
            if (j == s.out[2]) break;
            const int64_t i2 = j * s.stride[2] + std::max<int64_t>(k2, 0) * s.dilation[2] - s.pad[2];
            if (i2 < 0 || i2 >= s.in[2]) continue;
            list.push_back({(i0 * s.in[1] + i1) * s.in[2] + i2, (r * s.out[2] + j) * width});
          }
        }
      }
      begin.push_back(static_cast<int64_t>(list.size()));
      for (int64_t n = 0; n < s.n; ++n) {
        const int64_t image = n * s.groups + g;
        p.b = turned.ptr<T>() + image * out * width;
        for (int64_t c = low; along_kernel && c < high; ++c) {
          p.rows = s.kernel[2];
          p.a_row = s.dilation[2];
          p.c_row = s.ci * width;
          p.a = x + (image * s.ci + c) * plane;
          p.c = sum + c * width;
          p.tap = list.data();
          p.taps = begin[1];
          kernel.product(p);
        }
        p.rows = high - low;
        p.a_row = plane;
        p.c_row = width;
        p.a = x + (image * s.ci + low) * plane;
        for (int64_t k2 = 0; k2 < s.kernel[2]; ++k2) {
          p.c = sum + (k2 * s.ci + low) * width;
          p.tap = list.data() + begin[k2 + 1];
          p.taps = begin[k2 + 2] - begin[k2 + 1];
          if (p.taps > 0) kernel.product(p);
        }
      }
    }
  });
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t c = 0; c < s.ci; ++c)
      for (int64_t k = 0; k < kernel_size; ++k) {
        const T* sum = sums.ptr<T>() + ((g * kernel_size + k) * s.ci + c) * width;
        T* to = dw + (g * s.co * s.ci + c) * kernel_size + k;
        for (int64_t o = 0; o < s.co; ++o) to[o * s.ci * kernel_size] = sum[o];
      }
}

template void produce_by_channel(const ConvShape&, bool, const float*, const float*, const float*, float*);
template void produce_by_channel(const ConvShape&, bool, const double*, const double*, const double*, double*);
template void weigh_by_channel(const ConvShape&, const float*, const float*, float*);
template void weigh_by_channel(const ConvShape&, const double*, const double*, double*);

}  // namespace pn
