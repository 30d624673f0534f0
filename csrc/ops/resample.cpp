// Resampling of one to three spatial axes to other sizes: `resample` (nearest, linear, cubic) and its adjoint. Each
// axis is a sparse linear map whose weights are made once per call; the adjoint applies the transposed maps. Axes are
// mapped one after the other, the first one first, so every element is a chain of sums whose order the sizes alone
// decide.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "ops/axis_map.h"
#include "ops/op.h"

namespace pn {
namespace {

enum Mode { kNearest, kNearestExact, kLinear, kCubic };

// Attributes of both ops: size (of the result; for the adjoint that of x), mode, align_corners, antialias, and for each
// axis its scale factor, or 0 where the sizes give it.
struct ResampleShape {
  int spatial;
  int64_t planes;  // batch times channels
  int64_t from[3], to[3];
  Mode mode;
  bool align_corners, antialias;
  double scale[3];
};

// Keys' cubic kernel (1981) at distance |x|.
double cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? a * (x - 1) * (x - 2) * (x - 2) : 0;
}

template <class T>
AxisMap<T> axis_map(const ResampleShape& s, int axis, int64_t n, int64_t m) {
  AxisMap<T> map;
  map.from = n, map.to = m;
  const double given = s.scale[axis];
  double step = given > 0 ? 1 / given : static_cast<double>(n) / static_cast<double>(m);  // in x, per output
  if (s.align_corners) step = m > 1 ? static_cast<double>(n - 1) / static_cast<double>(m - 1) : 0;
  const double reach = s.mode == kCubic ? 2 : 1, widened = std::max(step, 1.0);
  for (int64_t j = 0; j < m; ++j, map.end_output()) {
    if (s.mode <= kNearestExact) {
      // PyTorch's roundings, so that a place on the border of two elements falls to the same one.
      const T wide = static_cast<T>(step), half = T(0.5), number = static_cast<T>(j);
      const T at = s.mode == kNearest ? number * wide : std::max(std::fma(wide, number + half, -half), T(0)) + half;
      map.tap(std::min(static_cast<int64_t>(static_cast<float>(at)), n - 1), 1);
      continue;
    }
    if (s.antialias) {
      const double center = step * (static_cast<double>(j) + 0.5), half = reach * widened;
      const int64_t low = std::max<int64_t>(static_cast<int64_t>(center - half + 0.5), 0);
      const int64_t high = std::min(static_cast<int64_t>(center + half + 0.5), n);
      const auto weight = [&](int64_t i) {
        const double x = (static_cast<double>(i) - center + 0.5) / widened;
        return s.mode == kCubic ? cubic(x, -0.5) : std::max(0.0, 1 - std::fabs(x));
      };
      double total = 0;
      for (int64_t i = low; i < high; ++i) total += weight(i);
      for (int64_t i = low; i < high; ++i) map.tap(i, weight(i) / total);
      continue;
    }
    double at = s.align_corners ? step * static_cast<double>(j) : step * (static_cast<double>(j) + 0.5) - 0.5;
    if (s.mode == kLinear) at = n == m ? static_cast<double>(j) : std::max(at, 0.0);
    const int64_t first = std::min(static_cast<int64_t>(std::floor(at)), n - 1);
    const double past = std::min(at - static_cast<double>(first), 1.0);
    if (s.mode == kLinear) {
      map.tap(first, 1 - past);
      map.tap(std::min(first + 1, n - 1), past);
    } else {
      for (int64_t i = -1; i <= 2; ++i)
        map.tap(std::clamp<int64_t>(first + i, 0, n - 1), cubic(static_cast<double>(i) - past, -0.75));
    }
  }
  return map;
}

template <class T>
void run(const OpCall& call, const ResampleShape& s, bool backward) {
  const Array x = as_contiguous(*call.in[0]);
  std::vector<AxisMap<T>> maps;
  for (int d = 0; d < s.spatial; ++d)
    maps.push_back(backward ? transposed(axis_map<T>(s, d, s.to[d], s.from[d]))
                            : axis_map<T>(s, d, s.from[d], s.to[d]));
  apply_maps(call, maps, s.planes, x.ptr<T>());
}

ResampleShape read_shape(const OpCall& call) {
  const Array& x = *call.in[0];
  ResampleShape s{};
  s.spatial = spatial_dims(call);
  s.planes = x.shape[0] * x.shape[1];
  AttributeReader attributes(call.attributes);
  const AttributeReader::List size = attributes.list();
  if (size.count != s.spatial)
    fail<ValueError>(call.op->name, ": size has ", size.count, " entries but there are ", s.spatial,
                     " spatial dimensions");
  for (int d = 0; d < s.spatial; ++d) {
    s.from[d] = x.shape[2 + d], s.to[d] = size.values[d];
    if (s.from[d] < 1 || s.to[d] < 1)
      fail<ValueError>(call.op->name, ": sizes must be at least 1, but x is ", shape_text(x), " and size ",
                       shape_text(size.count, size.values));
  }
  s.mode = static_cast<Mode>(attributes.integer());
  s.align_corners = attributes.flag();
  s.antialias = attributes.flag();
  const int64_t scales = attributes.integer();
  if (scales != s.spatial)
    fail<ValueError>(call.op->name, ": there are ", scales, " scale factors but ", s.spatial, " spatial dimensions");
  for (int d = 0; d < s.spatial; ++d) s.scale[d] = attributes.real();
  return s;
}

void infer_resample(OpCall& call) {
  const ResampleShape s = read_shape(call);
  int64_t shape[kMaxDims] = {call.in[0]->shape[0], call.in[0]->shape[1]};
  std::copy(s.to, s.to + s.spatial, shape + 2);
  call.out[0].describe(call.in[0]->dtype, s.spatial + 2, shape);
}

template <bool Backward>
void run_resample(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const ResampleShape s = read_shape(call);
  call.out[0].dtype == DType::Float32 ? run<float>(call, s, Backward) : run<double>(call, s, Backward);
}

}  // namespace

const OpList& resample_ops() {
  static const OpList ops = {
      {"resample", 1, 1, kPlain, infer_resample, run_resample<false>, 0, nullptr, nullptr, nullptr, nullptr,
       map_blocks},
      {"resample_backward", 1, 1, kPlain, infer_resample, run_resample<true>, 0, nullptr, nullptr, nullptr, nullptr,
       map_blocks},
  };
  return ops;
}

}  // namespace pn
