// Convolutions over one to three spatial axes: `conv`, its adjoint in x `conv_transpose`, and its adjoint in the weight
// `conv_weight`. Output sizes are attributes, so that each can be the gradient of another for every padding.
#include "ops/conv.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/normalize.h"
#include "ops/op.h"

namespace pn {

void ConvAxis::valid(int64_t j, int64_t source_size, int64_t* low, int64_t* high) const {
  const auto inside = [&](int64_t i) {
    const int64_t place = j * advance + base[static_cast<size_t>(i)];
    return place >= 0 && place < source_size;
  };
  *low = 0;
  *high = static_cast<int64_t>(k.size());
  while (*low < *high && !inside(*low)) ++*low;
  while (*high > *low && !inside(*high - 1)) --*high;
}

std::vector<ConvSegment> conv_segments(const ConvAxis& axis, int64_t source_size) {
  std::vector<ConvSegment> segments;
  for (int64_t j = 0; j < axis.count; ++j) {
    int64_t low, high;
    axis.valid(j, source_size, &low, &high);
    if (segments.empty() || segments.back().low != low || segments.back().high != high)
      segments.push_back({j, j, low, high});
    ++segments.back().end;
  }
  return segments;
}

std::vector<ConvAxis> conv_axes(const ConvShape& s, int d, bool up) {
  std::vector<ConvAxis> axes;
  if (!up) {
    ConvAxis a{0, 1, s.out[d], s.stride[d], {}, {}};
    for (int64_t k = 0; k < s.kernel[d]; ++k) {
      a.k.push_back(k);
      a.base.push_back(k * s.dilation[d] - s.pad[d]);
    }
    axes.push_back(std::move(a));
    return axes;
  }
  for (int64_t r = 0; r < std::min(s.stride[d], s.in[d]); ++r) {
    ConvAxis a{r, s.stride[d], (s.in[d] - r + s.stride[d] - 1) / s.stride[d], 1, {}, {}};
    for (int64_t k = 0; k < s.kernel[d]; ++k) {
      const int64_t distance = r + s.pad[d] - k * s.dilation[d];
      if (distance % s.stride[d] != 0) continue;
      a.k.push_back(k);
      a.base.push_back(distance / s.stride[d]);
    }
    axes.push_back(std::move(a));
  }
  return axes;
}

template <class T>
void pack_weight(const ConvShape& s, bool up, const ConvAxis* const* axes, const T* weight, int64_t width, T* packed) {
  const int64_t kernel = s.kernel_size();
  const int64_t sources = up ? s.co : s.ci, produced = up ? s.ci : s.co;
  const int64_t source_step = up ? s.ci * kernel : kernel, produced_step = up ? kernel : s.ci * kernel;
  const int64_t taps = static_cast<int64_t>(axes[0]->k.size() * axes[1]->k.size() * axes[2]->k.size());
  const int64_t rows_per_task = 1 + 20000 / (1 + taps * width), rows = s.groups * sources;
  parallel_for((rows + rows_per_task - 1) / rows_per_task, [&](int64_t task) {
    for (int64_t row = task * rows_per_task; row < std::min(rows, (task + 1) * rows_per_task); ++row) {
      const T* from = weight + row / sources * s.co * s.ci * kernel + row % sources * source_step;
      T* to = packed + row * taps * width;
      for (const int64_t k0 : axes[0]->k)
        for (const int64_t k1 : axes[1]->k)
          for (const int64_t k2 : axes[2]->k) {
            const T* tap = from + (k0 * s.kernel[1] + k1) * s.kernel[2] + k2;
            for (int64_t c = 0; c < produced; ++c) to[c] = tap[c * produced_step];
            std::fill(to + produced, to + width, T(0));
            to += width;
          }
    }
  });
}
template void pack_weight(const ConvShape&, bool, const ConvAxis* const*, const float*, int64_t, float*);
template void pack_weight(const ConvShape&, bool, const ConvAxis* const*, const double*, int64_t, double*);

template <class T>
void add_parts(int64_t n, int64_t parts, int64_t part, const T* partial, T* sums) {
  constexpr int64_t kSummed = int64_t{1} << 13;  // elements that one task adds up
  parallel_for((n + kSummed - 1) / kSummed, [&](int64_t task) {
    const int64_t first = task * kSummed;
    kernels().of<T>().conv.add_parts(std::min(kSummed, n - first), parts, part, partial + first, sums + first);
  });
}
template void add_parts(int64_t, int64_t, int64_t, const float*, float*);
template void add_parts(int64_t, int64_t, int64_t, const double*, double*);

namespace {

// "conv2d", "conv_transpose1d": the op's name with the number of its spatial axes.
std::string name_of(const OpCall& call, int spatial) {
  return std::string(call.op->name) + std::to_string(spatial) + "d";
}

// The spatial sizes of one attribute in the last entries of to[3].
void spread(const OpCall& call, const char* what, const AttributeReader::List& list, int spatial, int64_t least,
            int64_t* to) {
  if (list.count != spatial)
    fail<ValueError>(name_of(call, spatial), ": ", what, " has ", list.count, " entries but there are ", spatial,
                     " spatial dimensions");
  for (int d = 0; d < spatial; ++d) {
    if (list.values[d] < least)
      fail<ValueError>(name_of(call, spatial), ": ", what, " is ", shape_text(spatial, list.values),
                       " but its entries must be at least ", least);
    to[3 - spatial + d] = list.values[d];
  }
}

struct Given {
  ConvShape s;
  int spatial;
  int64_t sizes[3];  // the first attribute: of the result, or of the kernel
};

Given read(const OpCall& call, const char* first, int64_t least) {
  const Array &x = *call.in[0], &w = *call.in[1];
  Given given{};
  ConvShape& s = given.s;
  const int spatial = given.spatial = x.ndim - 2;
  if (spatial < 1 || spatial > 3 || w.ndim != x.ndim)
    fail<ValueError>(
        call.op->name, ": ", shape_text(x), " and ", shape_text(w),
        " must both have 2 dimensions (batch or output channels, channels) and then 1, 2 or 3 spatial ones");
  for (int d = 0; d < 3; ++d) {
    s.in[d] = s.out[d] = s.kernel[d] = s.stride[d] = s.dilation[d] = 1;
    given.sizes[d] = 1;
  }
  AttributeReader attributes(call.attributes);
  spread(call, first, attributes.list(), spatial, least, given.sizes);
  spread(call, "stride", attributes.list(), spatial, 1, s.stride);
  spread(call, "padding", attributes.list(), spatial, 0, s.pad);
  spread(call, "dilation", attributes.list(), spatial, 1, s.dilation);
  s.groups = attributes.integer();
  if (s.groups < 1) fail<ValueError>(name_of(call, spatial), ": groups is ", s.groups, " but must be at least 1");
  s.n = x.shape[0];
  return given;
}

void copy_sizes(const Array& from, int spatial, int64_t* to) {
  for (int d = 0; d < spatial; ++d) to[3 - spatial + d] = from.shape[2 + d];
}

void check_bias(const OpCall& call, int spatial, int64_t channels) {
  if (call.in[2] && (call.in[2]->ndim != 1 || call.in[2]->shape[0] != channels))
    fail<ValueError>(name_of(call, spatial), ": bias has shape ", shape_text(*call.in[2]), " but weight ",
                     shape_text(*call.in[1]), " needs (", channels, ",)");
}

ConvShape conv_shape(const OpCall& call) {
  Given given = read(call, "size", 0);
  ConvShape& s = given.s;
  const Array &x = *call.in[0], &w = *call.in[1];
  if (w.shape[0] % s.groups != 0)
    fail<ValueError>(name_of(call, given.spatial), ": groups is ", s.groups, " but does not divide the ", w.shape[0],
                     " output channels of weight ", shape_text(w));
  s.co = w.shape[0] / s.groups;
  s.ci = w.shape[1];
  if (x.shape[1] != s.ci * s.groups)
    fail<ValueError>(name_of(call, given.spatial), ": x has ", x.shape[1],
                     " channels but weight with groups=", s.groups, " expects ", s.ci * s.groups, " (x is ",
                     shape_text(x), ", weight is ", shape_text(w), ")");
  copy_sizes(x, given.spatial, s.in);
  copy_sizes(w, given.spatial, s.kernel);
  std::copy(given.sizes, given.sizes + 3, s.out);
  check_bias(call, given.spatial, w.shape[0]);
  return s;
}

ConvShape conv_transpose_shape(const OpCall& call) {
  Given given = read(call, "size", 0);
  ConvShape& s = given.s;
  const Array &x = *call.in[0], &w = *call.in[1];
  if (x.shape[1] != w.shape[0])
    fail<ValueError>(name_of(call, given.spatial), ": x has ", x.shape[1], " channels but weight expects ", w.shape[0],
                     " (x is ", shape_text(x), ", weight is ", shape_text(w), ")");
  if (w.shape[0] % s.groups != 0)
    fail<ValueError>(name_of(call, given.spatial), ": groups is ", s.groups, " but does not divide the ", w.shape[0],
                     " input channels of weight ", shape_text(w));
  s.co = w.shape[0] / s.groups;
  s.ci = w.shape[1];
  copy_sizes(x, given.spatial, s.out);
  copy_sizes(w, given.spatial, s.kernel);
  std::copy(given.sizes, given.sizes + 3, s.in);
  check_bias(call, given.spatial, s.ci * s.groups);
  return s;
}

ConvShape conv_weight_shape(const OpCall& call) {
  Given given = read(call, "kernel_size", 1);
  ConvShape& s = given.s;
  const Array &x = *call.in[0], &g = *call.in[1];
  if (x.shape[0] != g.shape[0])
    fail<ValueError>(name_of(call, given.spatial), ": x ", shape_text(x), " and dy ", shape_text(g),
                     " differ in the batch dimension");
  if (x.shape[1] % s.groups != 0 || g.shape[1] % s.groups != 0)
    fail<ValueError>(name_of(call, given.spatial), ": groups is ", s.groups, " but does not divide the channels of x ",
                     shape_text(x), " and dy ", shape_text(g));
  s.ci = x.shape[1] / s.groups;
  s.co = g.shape[1] / s.groups;
  copy_sizes(x, given.spatial, s.in);
  copy_sizes(g, given.spatial, s.out);
  std::copy(given.sizes, given.sizes + 3, s.kernel);
  return s;
}

// The last attribute of conv_weight: which input's sums over all but the channels are wanted as well, if any.
int64_t summed(const OpCall& call) {
  const int64_t input = call.attributes.ints[call.attributes.int_count - 1];
  return input == kNone ? -1 : input;
}

void describe(OpCall& call, int64_t first, int64_t second, const int64_t* sizes) {
  const int spatial = call.in[0]->ndim - 2;
  int64_t shape[kMaxDims] = {first, second};
  for (int d = 0; d < spatial; ++d) shape[2 + d] = sizes[3 - spatial + d];
  call.out[0].describe(call.in[0]->dtype, spatial + 2, shape);
}

void infer_conv(OpCall& call) {
  const ConvShape s = conv_shape(call);
  describe(call, s.n, s.groups * s.co, s.out);
}
void infer_conv_transpose(OpCall& call) {
  const ConvShape s = conv_transpose_shape(call);
  describe(call, s.n, s.groups * s.ci, s.in);
}
void infer_conv_weight(OpCall& call) {
  const ConvShape s = conv_weight_shape(call);
  describe(call, s.groups * s.co, s.ci, s.kernel);
  const int64_t input = summed(call);
  if (input < -1 || input > 1)
    fail<ValueError>(name_of(call, call.in[0]->ndim - 2), ": sums is ", input, " but must be 0 (x), 1 (dy) or None");
  const int64_t channels = input < 0 ? 0 : call.in[input]->shape[1];
  call.out[1].describe(call.in[0]->dtype, 1, &channels);
}

// Whether vectors along the pixels, which are worth so much, are as full as along so many channels.
bool fill_by_pixel(const ConvShape& s, bool up, int64_t channels, double worth) {
  constexpr int64_t kFull = 16;
  const int64_t vectors = (channels + kFull - 1) / kFull;
  return worth * conv_pixel_fill(s, up) >= static_cast<double>(channels) / static_cast<double>(vectors * kFull);
}

constexpr int64_t kEpilogueTask = int64_t{1} << 15;  // elements

template <class T>
void produce(const OpCall& call, const ConvShape& s, bool up) {
  const Array& y = call.out[0];
  if (y.size() == 0) return;
  const Array x = as_contiguous(*call.in[0]), w = as_contiguous(*call.in[1]);
  const Array bias = call.in[2] ? as_contiguous(*call.in[2]) : Array();
  const bool by_winograd = suits_winograd(s) && x.size() > 0 &&
                           produce_by_winograd<T>(s, up, x.ptr<T>(), w.ptr<T>(), bias.ptr<T>(), y.ptr<T>());
  if (!by_winograd) {
    if (x.size() > 0 && suits_one_channel(s, up))
      return produce_one<T>(call, s, up, x.ptr<T>(), w.ptr<T>(), bias.ptr<T>(), y.ptr<T>());
    const auto finite = [&] {
      return kernels().of<T>().conv.within(w.size(), w.ptr<T>(), std::numeric_limits<T>::max());
    };
    if (x.size() > 0 && !call.blocked && suits_few_sources(s, up) && finite())
      return produce_from_few<T>(call, s, up, x.ptr<T>(), w.ptr<T>(), bias.ptr<T>(), y.ptr<T>());
    if (suits_batch(s)) return produce_by_batch<T>(call, s, up, x.ptr<T>(), w.ptr<T>(), bias.ptr<T>(), y.ptr<T>());
    const bool by_pixel = x.size() > 0 && fill_by_pixel(s, up, up ? s.ci : s.co, 1.25) && finite();
    const auto pass = by_pixel ? &produce_by_pixel<T> : &produce_by_channel<T>;
    pass(s, up, x.ptr<T>(), w.ptr<T>(), bias.ptr<T>(), y.ptr<T>());
  }
  if (!call.epilogue) return;
  const int64_t planes = s.n * s.groups * (up ? s.ci : s.co), plane = up ? s.in_size() : s.out_size();
  const int64_t each = 1 + kEpilogueTask / plane;
  parallel_for((planes + each - 1) / each,
               [&](int64_t task) { made(call, task * each * plane, std::min(planes, (task + 1) * each) * plane); });
}

void run_conv(const OpCall& call) {
  const ConvShape s = conv_shape(call);
  call.out[0].dtype == DType::Float32 ? produce<float>(call, s, false) : produce<double>(call, s, false);
}
void run_conv_transpose(const OpCall& call) {
  const ConvShape s = conv_transpose_shape(call);
  call.out[0].dtype == DType::Float32 ? produce<float>(call, s, true) : produce<double>(call, s, true);
}

// An operand of whole images in its usual order, if it lies in blocks.
template <class T>
Array out_of_blocks(const Array& a) {
  const Array plain = Array::empty(a.dtype, a.ndim, a.shape);
  const int64_t size = a.size() / a.shape[0];
  for (int64_t image = 0; image < a.shape[0]; image += kBatchLanes)
    kernels().of<T>().conv.transpose(a.ptr<T>() + image * size, kBatchLanes, plain.ptr<T>() + image * size, size, size,
                                     kBatchLanes);
  return plain;
}

// Whether the sums of x are made in an order that its blocks of the batch have, too.
bool sums_in_blocks(const ConvShape& s) {
  return s.n % kBatchLanes == 0 && s.n * s.in_size() > 0 && s.in_size() >= kLongPlaces;
}

// The sums of x (N, C, ...) over all but its channels.
void sum_to_channels(const Array& x, const Array& sums) {
  const Array* in[] = {&x};
  static const Op* const sum = find_op("sum");
  OpCall call;
  call.op = sum;
  call.inputs = 1;
  call.in = in;
  int64_t* to = call.attributes.ints;
  *to++ = x.ndim - 1;
  for (int d = 0; d < x.ndim; ++d)
    if (d != 1) *to++ = d;
  *to++ = 0;
  call.attributes.int_count = static_cast<int>(to - call.attributes.ints);
  call.out[0] = sums;
  call.op->run(call);
}

template <class T>
void weigh(const OpCall& call, const ConvShape& s) {
  const Array &dw = call.out[0], &db = call.out[1];
  Array x = as_contiguous(*call.in[0]), g = as_contiguous(*call.in[1]);
  const int64_t sums = summed(call);
  const bool some = x.size() > 0 && g.size() > 0, by_batch = some && suits_batch(s);
  // A batch kernel adds them up as it goes.
  const bool along = by_batch && (sums == 1 || (sums == 0 && s.flat()));
  if (!along && sums == 0 && sums_in_blocks(s))
    sum_channels(x, (call.blocked & 1) != 0, db);
  else if (!along && sums >= 0)
    sum_to_channels(sums == 0 ? x : g, db);
  if (!some) {
    std::memset(dw.data, 0, static_cast<size_t>(dw.size()) * sizeof(T));
    return;
  }
  if (by_batch) {
    T* const to = along ? db.ptr<T>() : nullptr;
    if (weigh_by_batch<T>(call, s, x.ptr<T>(), g.ptr<T>(), dw.ptr<T>(), static_cast<int>(sums), to)) return;
    if (call.blocked & 1) x = out_of_blocks<T>(x);
    if (call.blocked & 2) g = out_of_blocks<T>(g);
    return weigh_by_channel(s, x.ptr<T>(), g.ptr<T>(), dw.ptr<T>());
  }
  // One vector of channels leaves too few sums to keep the CPU busy; several are read with fewer instructions.
  const double worth = s.co <= kBatchLanes ? 1.25 : 0.75;
  if (fill_by_pixel(s, false, s.co, worth) && weigh_by_pixel(s, x.ptr<T>(), g.ptr<T>(), dw.ptr<T>())) return;
  weigh_by_channel(s, x.ptr<T>(), g.ptr<T>(), dw.ptr<T>());
}

void run_conv_weight(const OpCall& call) {
  const ConvShape s = conv_weight_shape(call);
  call.out[0].dtype == DType::Float32 ? weigh<float>(call, s) : weigh<double>(call, s);
}

// Of the taps inside and outside of the image alike.
template <ConvShape (*shape)(const OpCall&)>
double operations(const OpCall& call) {
  const ConvShape s = shape(call);
  return 2.0 * static_cast<double>(s.n * s.groups * s.ci * s.co) * static_cast<double>(s.out_size() * s.kernel_size());
}

template <ConvShape (*shape)(const OpCall&), unsigned operands>
unsigned blocks(const OpCall& call) {
  const ConvShape s = shape(call);
  return suits_batch(s) && !suits_winograd(s) ? operands : 0;
}
unsigned weight_blocks(const OpCall& call) {
  const ConvShape s = conv_weight_shape(call);
  return suits_batch(s) ? (summed(call) != 0 || s.flat() || sums_in_blocks(s) ? 1 | 2 : 2) : 0;
}

}  // namespace

const OpList& conv_ops() {
  static const OpList ops = {
      {"conv", 3, 1, kTakesEpilogue, infer_conv, run_conv, 0, nullptr, nullptr, nullptr, operations<conv_shape>,
       blocks<conv_shape, 1 | kOutputBit>},
      {"conv_transpose", 3, 1, kTakesEpilogue, infer_conv_transpose, run_conv_transpose, 0, nullptr, nullptr, nullptr,
       operations<conv_transpose_shape>, blocks<conv_transpose_shape, 1 | kOutputBit>},
      {"conv_weight", 2, 2, kPlain, infer_conv_weight, run_conv_weight, 0, nullptr, nullptr, nullptr,
       operations<conv_weight_shape>, weight_blocks},
  };
  return ops;
}

}  // namespace pn
