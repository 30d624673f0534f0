// x read at the points of a grid: `grid_sample`, its adjoint in x (`grid_sample_backward`), and its gradient for the
// points (`grid_sample_slopes`). A point is read as a few places of x with weights, those of its coordinates
// multiplied; they are made for a block of points and serve all channels.
#include <algorithm>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kChannels = 8;                   // of a task of the adjoint, which makes the taps for itself
constexpr int64_t kMostPlaces = int64_t{1} << 30;  // of a channel: places are of 32 bits
constexpr int64_t kSerial = int64_t{1} << 13;      // reads below which one thread does all

// Attributes: mode, padding, align_corners; before them, of the adjoint, the spatial sizes of x.
struct Shape : GridSample {
  int64_t batch, channels, points, places;
};

// f(task) for tasks of about `reads` reads in all.
template <class F>
void over_tasks(int64_t tasks, int64_t reads, const F& f) {
  if (reads >= kSerial) return parallel_for(tasks, f);
  for (int64_t t = 0; t < tasks; ++t) f(t);
}

// f(n, first, count, taps) for blocks of the points of the batch, as tasks.
template <class T, class F>
void over_blocks(const Shape& s, const T* grid, bool slopes, const F& f) {
  const int64_t blocks = (s.points + kGridPoints - 1) / kGridPoints;
  over_tasks(s.batch * blocks, s.batch * s.points * s.channels, [&](int64_t task) {
    const int64_t n = task / blocks, first = task % blocks * kGridPoints;
    const int64_t count = std::min<int64_t>(kGridPoints, s.points - first);
    GridTaps<T> taps;
    kernels().of<T>().grid_sample.taps(s, count, grid + (n * s.points + first) * s.spatial, slopes, taps);
    f(n, first, count, taps);
  });
}

template <class T>
void sample(const OpCall& call, const Shape& s) {
  const Array x = as_contiguous(*call.in[0]), grid = as_contiguous(*call.in[1]);
  const auto read = kernels().of<T>().grid_sample.read;
  over_blocks(s, grid.ptr<T>(), false, [&](int64_t n, int64_t first, int64_t count, const GridTaps<T>& taps) {
    for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c)
      read(count, taps, x.ptr<T>() + c * s.places, call.out[0].ptr<T>() + c * s.points + first);
  });
}

// Operands: the gradient of the result, and the grid. Points may share places, so that a channel is one task's.
template <class T>
void backward(const OpCall& call, const Shape& s) {
  const Array dy = as_contiguous(*call.in[0]), grid = as_contiguous(*call.in[1]);
  const int64_t groups = (s.channels + kChannels - 1) / kChannels;
  over_tasks(s.batch * groups, s.batch * s.points * s.channels, [&](int64_t task) {
    const int64_t n = task / groups, low = n * s.channels + task % groups * kChannels;
    const int64_t high = std::min(low + kChannels, (n + 1) * s.channels);
    T* dx = call.out[0].ptr<T>();
    std::fill(dx + low * s.places, dx + high * s.places, T{0});
    GridTaps<T> taps;
    for (int64_t first = 0; first < s.points; first += kGridPoints) {
      const int64_t count = std::min<int64_t>(kGridPoints, s.points - first);
      kernels().of<T>().grid_sample.taps(s, count, grid.ptr<T>() + (n * s.points + first) * s.spatial, false, taps);
      for (int64_t c = low; c < high; ++c) {
        const T* g = dy.ptr<T>() + c * s.points + first;
        for (int t = 0; t < taps.count; ++t)
          for (int64_t p = 0; p < count; ++p)
            if (taps.place[t][p] >= 0) dx[c * s.places + taps.place[t][p]] += taps.weight[t][p] * g[p];
      }
    }
  });
}

// Operands: the gradient of the result, x, and the grid.
template <class T>
void slopes(const OpCall& call, const Shape& s) {
  const Array dy = as_contiguous(*call.in[0]), x = as_contiguous(*call.in[1]), grid = as_contiguous(*call.in[2]);
  const auto add = kernels().of<T>().grid_sample.slopes;
  over_blocks(s, grid.ptr<T>(), true, [&](int64_t n, int64_t first, int64_t count, const GridTaps<T>& taps) {
    T sums[3][kGridPoints] = {};
    for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c)
      add(s.spatial, count, taps, x.ptr<T>() + c * s.places, dy.ptr<T>() + c * s.points + first, sums);
    T* to = call.out[0].ptr<T>() + (n * s.points + first) * s.spatial;
    for (int64_t p = 0; p < count; ++p)
      for (int d = s.spatial - 1; d >= 0; --d) *to++ = sums[d][p];
  });
}

// `image`: (N, C, ...), x or a gradient of its shape, whose spatial dimensions are `sizes` if they are not its own.
Shape read_shape(const OpCall& call, const Array& image, const Array& grid, const AttributeReader::List* sizes,
                 AttributeReader& attributes) {
  Shape s{};
  s.spatial = image.ndim - 2;
  if (s.spatial < 2 || s.spatial > 3)
    fail<ValueError>(call.op->name, ": x must be (N, C, H, W) or (N, C, D, H, W), got ", shape_text(image));
  if (grid.ndim != image.ndim || grid.shape[0] != image.shape[0] || grid.shape[grid.ndim - 1] != s.spatial)
    fail<ValueError>(call.op->name, ": grid ", shape_text(grid), " must be (N, ..., ", s.spatial,
                     ") with as many dimensions as ", shape_text(image), " and the same N");
  s.batch = image.shape[0], s.channels = image.shape[1], s.points = s.places = 1;
  for (int d = 0; d < s.spatial; ++d) {
    s.points *= grid.shape[1 + d];
    s.size[d] = sizes ? sizes->values[d] : image.shape[2 + d];
    if (s.size[d] < 1) fail<ValueError>(call.op->name, ": x has no elements to read");
    s.places *= s.size[d];
  }
  if (s.places > kMostPlaces)
    fail<ValueError>(call.op->name, ": a channel of x has ", s.places, " elements; at most ", kMostPlaces,
                     " can be read");
  s.mode = static_cast<GridSample::Mode>(attributes.integer());
  s.padding = static_cast<GridSample::Padding>(attributes.integer());
  s.align_corners = attributes.flag();
  if (s.mode == GridSample::bicubic && s.spatial == 3)
    fail<ValueError>(call.op->name, ": bicubic reading is for images only");
  return s;
}

Shape shape_of_sample(const OpCall& call) {
  AttributeReader attributes(call.attributes);
  return read_shape(call, *call.in[0], *call.in[1], nullptr, attributes);
}

// (N, C) of the image and the spatial sizes of the grid.
void result_shape(const Array& image, const Array& grid, int64_t* shape) {
  std::copy(image.shape, image.shape + 2, shape);
  std::copy(grid.shape + 1, grid.shape + grid.ndim - 1, shape + 2);
}

void check_gradient(const OpCall& call, const Array& dy, const int64_t* shape, int ndim) {
  if (dy.ndim != ndim || !std::equal(shape, shape + ndim, dy.shape))
    fail<ValueError>(call.op->name, ": the gradient is ", shape_text(dy), " but the result is ",
                     shape_text(ndim, shape));
}

void infer_sample(OpCall& call) {
  const Shape s = shape_of_sample(call);
  int64_t shape[kMaxDims];
  result_shape(*call.in[0], *call.in[1], shape);
  call.out[0].describe(call.in[0]->dtype, s.spatial + 2, shape);
}

Shape shape_of_backward(const OpCall& call) {
  AttributeReader attributes(call.attributes);
  const AttributeReader::List sizes = attributes.list();
  if (sizes.count != call.in[0]->ndim - 2)
    fail<ValueError>(call.op->name, ": ", sizes.count, " sizes for a gradient of shape ", shape_text(*call.in[0]));
  return read_shape(call, *call.in[0], *call.in[1], &sizes, attributes);
}

void infer_backward(OpCall& call) {
  const Shape s = shape_of_backward(call);
  int64_t shape[kMaxDims];
  result_shape(*call.in[0], *call.in[1], shape);
  check_gradient(call, *call.in[0], shape, s.spatial + 2);
  std::copy(s.size, s.size + s.spatial, shape + 2);
  call.out[0].describe(call.in[0]->dtype, s.spatial + 2, shape);
}

Shape shape_of_slopes(const OpCall& call) {
  AttributeReader attributes(call.attributes);
  return read_shape(call, *call.in[1], *call.in[2], nullptr, attributes);
}

void infer_slopes(OpCall& call) {
  const Shape s = shape_of_slopes(call);
  int64_t shape[kMaxDims];
  result_shape(*call.in[1], *call.in[2], shape);
  check_gradient(call, *call.in[0], shape, s.spatial + 2);
  call.out[0].describe(call.in[2]->dtype, call.in[2]->ndim, call.in[2]->shape);
}

template <Shape (*shape)(const OpCall&), void (*f32)(const OpCall&, const Shape&),
          void (*f64)(const OpCall&, const Shape&)>
void run(const OpCall& call) {
  const Shape s = shape(call);
  call.out[0].dtype == DType::Float32 ? f32(call, s) : f64(call, s);
}

}  // namespace

const OpList& grid_sample_ops() {
  static const OpList ops = {
      {"grid_sample", 2, 1, kPlain, infer_sample, run<shape_of_sample, sample<float>, sample<double>>},
      {"grid_sample_backward", 2, 1, kPlain, infer_backward, run<shape_of_backward, backward<float>, backward<double>>},
      {"grid_sample_slopes", 3, 1, kPlain, infer_slopes, run<shape_of_slopes, slopes<float>, slopes<double>>},
  };
  return ops;
}

}  // namespace pn
