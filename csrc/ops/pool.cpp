// The windows of pooling over one to three spatial axes; means over them and their adjoint. Output sizes are
// attributes. Without a kernel size the windows are adaptive: output j of n over an axis of `size` elements spans
// [floor(j size / n), ceil((j + 1) size / n)).
#include "ops/pool.h"

#include <algorithm>
#include <cstring>

namespace pn {

std::string pool_name(const OpCall& call, int spatial) {
  return std::string(call.op->name) + std::to_string(spatial) + "d";
}

void read_windows(const OpCall& call, AttributeReader& attributes, bool dilates, PoolShape& s) {
  const AttributeReader::List kernel = attributes.list(), stride = attributes.list(), padding = attributes.list();
  const AttributeReader::List dilation = dilates ? attributes.list() : AttributeReader::List{0, nullptr};
  const bool adaptive = kernel.count == 0;
  const auto check = [&](const char* what, const AttributeReader::List& list, int64_t least) {
    if (list.count != s.spatial)
      fail<ValueError>(pool_name(call, s.spatial), ": ", what, " has ", list.count, " entries but there are ",
                       s.spatial, " spatial dimensions");
    for (int d = 0; d < s.spatial; ++d)
      if (list.values[d] < least)
        fail<ValueError>(pool_name(call, s.spatial), ": ", what, " is ", shape_text(s.spatial, list.values),
                         " but its entries must be at least ", least);
  };
  if (!adaptive) {
    check("kernel_size", kernel, 1);
    check("stride", stride, 1);
    check("padding", padding, 0);
    if (dilates) check("dilation", dilation, 1);
  }
  for (int d = 0; d < 3; ++d) {
    const int i = d - (3 - s.spatial);
    s.most[d] = s.step[d] = 1;
    s.windows[d].reserve(static_cast<size_t>(s.out[d]));
    for (int64_t j = 0; j < s.out[d]; ++j) {
      Window w{0, 1, 1, 1};
      if (i >= 0 && adaptive) {
        w.begin = j * s.in[d] / s.out[d];
        w.end = ((j + 1) * s.in[d] + s.out[d] - 1) / s.out[d];
        w.count = w.end - w.begin;
      } else if (i >= 0) {
        const int64_t begin = j * stride.values[i] - padding.values[i];
        w.step = dilates ? dilation.values[i] : 1;
        const int64_t end = begin + (kernel.values[i] - 1) * w.step + 1;
        w.count = std::min(end, s.in[d] + padding.values[i]) - begin;
        w.begin = begin < 0 ? begin + (-begin + w.step - 1) / w.step * w.step : begin;
        w.end = std::min(end, s.in[d]);
      }
      if (w.begin >= w.end)
        fail<ValueError>(pool_name(call, s.spatial), ": the window of output ", j, " along spatial dimension ", i,
                         " holds no element of x, which has size ", s.in[d],
                         " there; use less padding, or a smaller dilation or output");
      s.most[d] = std::max(s.most[d], w.elements());
      s.step[d] = w.step;
      s.windows[d].push_back(w);
    }
  }
}

PoolShape read_pool(const OpCall& call, AttributeReader& attributes, bool backward) {
  const Array& x = *call.in[0];
  PoolShape s{};
  s.spatial = spatial_dims(call);
  s.planes = x.shape[0] * x.shape[1];
  for (int d = 0; d < 3; ++d) s.in[d] = s.out[d] = 1;
  const AttributeReader::List sizes = attributes.list();
  if (sizes.count != s.spatial)
    fail<ValueError>(pool_name(call, s.spatial), ": size has ", sizes.count, " entries but there are ", s.spatial,
                     " spatial dimensions");
  for (int d = 0; d < s.spatial; ++d) {
    if (sizes.values[d] < 0)
      fail<ValueError>(pool_name(call, s.spatial), ": size is ", shape_text(s.spatial, sizes.values),
                       " but sizes are not negative");
    (backward ? s.out : s.in)[3 - s.spatial + d] = x.shape[2 + d];
    (backward ? s.in : s.out)[3 - s.spatial + d] = sizes.values[d];
  }
  return s;
}

void describe_pooled(OpCall& call, int output, DType type, const PoolShape& s, const int64_t* sizes) {
  const Array& x = *call.in[0];
  int64_t shape[kMaxDims] = {x.shape[0], x.shape[1]};
  for (int d = 0; d < s.spatial; ++d) shape[2 + d] = sizes[3 - s.spatial + d];
  call.out[output].describe(type, s.spatial + 2, shape);
}

namespace {

// Attributes of both: size (of the result; for the adjoint that of x), kernel_size, stride, padding,
// count_include_pad, divisor_override.
struct Mean {
  PoolShape s;
  bool with_padding;
  int64_t divisor;  // 0: the number of elements

  template <class T>
  T weight(const Window& a, const Window& b, const Window& c) const {
    const int64_t count =
        with_padding ? a.count * b.count * c.count : (a.end - a.begin) * (b.end - b.begin) * (c.end - c.begin);
    return static_cast<T>(divisor ? divisor : count);
  }
};

Mean mean_shape(const OpCall& call, bool backward) {
  AttributeReader attributes(call.attributes);
  Mean m{read_pool(call, attributes, backward), false, 0};
  read_windows(call, attributes, false, m.s);
  m.with_padding = attributes.flag();
  const int64_t divisor = attributes.integer();
  m.divisor = divisor == kNone ? 0 : divisor;
  if (divisor == 0) fail<ValueError>(pool_name(call, m.s.spatial), ": divisor_override must not be 0");
  return m;
}

void infer_avg_pool(OpCall& call) {
  const PoolShape s = mean_shape(call, false).s;
  describe_pooled(call, 0, call.in[0]->dtype, s, s.out);
}
void infer_avg_pool_backward(OpCall& call) {
  const PoolShape s = mean_shape(call, true).s;
  describe_pooled(call, 0, call.in[0]->dtype, s, s.in);
}

template <class T>
void avg_pool(const OpCall& call, const Mean& m) {
  const PoolShape& s = m.s;
  const Array x = as_contiguous(*call.in[0]);
  for_planes(s, [&](int64_t plane) {
    const T* from = x.ptr<T>() + plane * s.in_size();
    T* y = call.out[0].ptr<T>() + plane * s.out_size();
    for (const Window& a : s.windows[0])
      for (const Window& b : s.windows[1])
        for (const Window& c : s.windows[2]) {
          T sum = 0;
          for (int64_t i0 = a.begin; i0 < a.end; ++i0)
            for (int64_t i1 = b.begin; i1 < b.end; ++i1) {
              const T* row = from + (i0 * s.in[1] + i1) * s.in[2];
              for (int64_t i2 = c.begin; i2 < c.end; ++i2) sum += row[i2];
            }
          *y++ = sum / m.template weight<T>(a, b, c);
        }
  });
}

template <class T>
void avg_pool_backward(const OpCall& call, const Mean& m) {
  const PoolShape& s = m.s;
  const Array g = as_contiguous(*call.in[0]);
  for_planes(s, [&](int64_t plane) {
    const T* from = g.ptr<T>() + plane * s.out_size();
    T* dx = call.out[0].ptr<T>() + plane * s.in_size();
    std::memset(dx, 0, static_cast<size_t>(s.in_size()) * sizeof(T));
    for (const Window& a : s.windows[0])
      for (const Window& b : s.windows[1])
        for (const Window& c : s.windows[2]) {
          const T share = *from++ / m.template weight<T>(a, b, c);
          for (int64_t i0 = a.begin; i0 < a.end; ++i0)
            for (int64_t i1 = b.begin; i1 < b.end; ++i1) {
              T* row = dx + (i0 * s.in[1] + i1) * s.in[2];
              for (int64_t i2 = c.begin; i2 < c.end; ++i2) row[i2] += share;
            }
        }
  });
}

void run_avg_pool(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const Mean m = mean_shape(call, false);
  call.out[0].dtype == DType::Float32 ? avg_pool<float>(call, m) : avg_pool<double>(call, m);
}
void run_avg_pool_backward(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  const Mean m = mean_shape(call, true);
  call.out[0].dtype == DType::Float32 ? avg_pool_backward<float>(call, m) : avg_pool_backward<double>(call, m);
}

}  // namespace

const OpList& pool_ops() {
  static const OpList ops = {
      {"avg_pool", 1, 1, kPlain, infer_avg_pool, run_avg_pool},
      {"avg_pool_backward", 1, 1, kPlain, infer_avg_pool_backward, run_avg_pool_backward},
  };
  return ops;
}

}  // namespace pn
