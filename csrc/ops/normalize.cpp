// Normalisation by mean and variance: of each channel of x (N, C, ...) over the batch (`batch_norm`) or as they are
// given (`batch_norm_fixed`), or of groups of channels of each batch element (`group_norm`; layer normalisation is one
// group), their gradients, and the update of running statistics.
//
// Statistics are outputs, so that the gradients need no second pass for them, and have gradients of their own. Work is
// split by the shape alone: a channel is one task's, and so are the rows of a block.
#include <algorithm>
#include <limits>
#include <memory>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/normalize.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kTask = int64_t{1} << 13;  // elements per task
constexpr int64_t kRowBlocks = 64;           // partial sums of the gradients of weight and bias, at most

// x as (batch, channels, places): dimensions [begin, end) are the channels.
struct Sizes {
  int begin, end;
  int64_t n, c, s;
  explicit Sizes(const Array& x, int64_t from = 1, int64_t to = 2)
      : begin(static_cast<int>(from)),
        end(static_cast<int>(to)),
        n(product(x, 0, begin)),
        c(product(x, begin, end)),
        s(product(x, end, x.ndim)) {}
  int64_t all() const { return n * c * s; }

 private:
  static int64_t product(const Array& x, int low, int high) {
    int64_t size = 1;
    for (int d = low; d < high; ++d) size *= x.shape[d];
    return size;
  }
};

// Attributes of the group ops: begin, end, groups, centred, eps.
struct Groups {
  Sizes z;
  int64_t groups;
  bool centred;
  double eps;
  Groups(const Array& x, const Attributes& a)
      : z(x, a.ints[0], a.ints[1]), groups(a.ints[2]), centred(a.ints[3] != 0), eps(a.reals[0]) {}
  int64_t channels() const { return z.c / groups; }
  int64_t row() const { return channels() * z.s; }  // elements of a group
};

// f(low, high) on ranges of [0, units), by threads if there is enough work; an even number of ranges.
template <class F>
void over_units(int64_t units, int64_t elements_per_unit, const F& f) {
  const int64_t pairs = units * elements_per_unit / (2 * kTask);
  if (pairs == 0) return f(int64_t{0}, units);
  const int64_t per_task = (units + 2 * pairs - 1) / (2 * pairs);
  parallel_for((units + per_task - 1) / per_task, [&](int64_t t) {
    const int64_t low = t * per_task;
    f(low, low + per_task < units ? low + per_task : units);
  });
}

// How so many channels lie, in blocks of the batch or not.
Planes planes_of(const Sizes& z, int64_t channels, bool blocked) {
  const int64_t images = blocked ? kBatchLanes : 1;
  return {z.n / images, channels, z.s * images, z.c * z.s * images, blocked};
}

// f(first, planes) on channels that the kernels take together, all of [0, c).
template <class F>
void over_channels(const Sizes& z, bool blocked, const F& f) {
  const int64_t together = channels_together(z.s), panels = (z.c + together - 1) / together;
  over_units(panels, z.n * z.s * together, [&](int64_t low, int64_t high) {
    for (int64_t p = low; p < high; ++p) {
      const int64_t first = p * together;
      f(first, planes_of(z, first + together < z.c ? together : z.c - first, blocked));
    }
  });
}

// A vector of c values; the given one if there is no array.
template <class T>
struct Vector {
  Array given;
  std::unique_ptr<T[]> made;
  const T* p;
  Vector(const Array* a, int64_t c, T otherwise) {
    if (a) {
      given = as_contiguous(*a);
      p = given.ptr<T>();
      return;
    }
    made.reset(new T[static_cast<size_t>(c)]);
    for (int64_t i = 0; i < c; ++i) made[static_cast<size_t>(i)] = otherwise;
    p = made.get();
  }
};

template <class T>
void fill(const Array& a, T value) {
  for (int64_t i = 0; i < a.size(); ++i) a.ptr<T>()[i] = value;
}

// ---- checks ----

void check_x(const OpCall& call, int input) {
  require_float(call, input, "x");
  if (call.in[input]->ndim < 2)
    fail<ValueError>(call.op->name, ": x must be (N, C, ...), got ", shape_text(*call.in[input]));
}

void check_shape(const OpCall& call, int input, const char* what, const Array& x, int ndim, const int64_t* shape) {
  const Array* a = call.in[input];
  if (a && !(a->ndim == ndim && std::equal(shape, shape + ndim, a->shape)))
    fail<ValueError>(call.op->name, ": ", what, " has shape ", shape_text(*a), " but x, of shape ", shape_text(x),
                     ", needs ", shape_text(ndim, shape));
}

// The channels and groups of the call whose input `input` is x.
Groups checked_groups(const OpCall& call, int input) {
  require_float(call, input, "x");
  const Array& x = *call.in[input];
  const int64_t *a = call.attributes.ints, begin = a[0], end = a[1], groups = a[2];
  if (!(0 <= begin && begin <= end && end <= x.ndim))
    fail<ValueError>(call.op->name, ": the channels are dimensions ", begin, " to ", end, " but x is ", shape_text(x));
  const int64_t channels = Sizes(x, begin, end).c;
  if (groups < 1 || channels % groups)
    fail<ValueError>(call.op->name, ": groups is ", groups, " but must divide the ", channels, " channels");
  return Groups(x, call.attributes);
}

// The outputs y, mean, var of a forward op with `statistics` means.
void describe_normalized(OpCall& call, const Sizes& z, int64_t statistics) {
  const Array& x = *call.in[0];
  check_shape(call, 1, "weight", x, z.end - z.begin, x.shape + z.begin);
  check_shape(call, 2, "bias", x, z.end - z.begin, x.shape + z.begin);
  call.out[0].describe(x.dtype, x.ndim, x.shape);
  for (int i = 1; i < 3; ++i) call.out[i].describe(x.dtype, 1, &statistics);
}

// The outputs dx, dweight, dbias of a backward op: dy, x, weight, mean, var, dmean, dvar.
void describe_gradients(OpCall& call, const Sizes& z, int64_t statistics) {
  const Array &dy = *call.in[0], &x = *call.in[1];
  if (!dy.same_shape(x))
    fail<ValueError>(call.op->name, ": x is ", shape_text(x), ", so the gradient of y is, too; got ", shape_text(dy));
  const char* names[] = {"mean", "var", "dmean", "dvar"};
  check_shape(call, 2, "weight", x, z.end - z.begin, x.shape + z.begin);
  for (int i = 0; i < 4; ++i) check_shape(call, 3 + i, names[i], x, 1, &statistics);
  call.out[0].describe(x.dtype, x.ndim, x.shape);
  for (int i = 1; i < 3; ++i) call.out[i].describe(x.dtype, z.end - z.begin, x.shape + z.begin);
}

void infer_batch_norm(OpCall& call) {
  check_x(call, 0);
  describe_normalized(call, Sizes(*call.in[0]), call.in[0]->shape[1]);
}
void infer_batch_norm_fixed(OpCall& call) {
  check_x(call, 0);
  const Array& x = *call.in[0];
  const char* names[] = {"mean", "var", "weight", "bias"};
  for (int i = 0; i < 4; ++i) check_shape(call, 1 + i, names[i], x, 1, x.shape + 1);
  call.out[0].describe(x.dtype, x.ndim, x.shape);
}
void infer_batch_norm_backward(OpCall& call) {
  check_x(call, 1);
  describe_gradients(call, Sizes(*call.in[1]), call.in[1]->shape[1]);
}
void infer_group_norm(OpCall& call) {
  const Groups g = checked_groups(call, 0);
  describe_normalized(call, g.z, g.z.n * g.groups);
}
void infer_group_norm_backward(OpCall& call) {
  const Groups g = checked_groups(call, 1);
  describe_gradients(call, g.z, g.z.n * g.groups);
}

// ---- over the batch ----

// f(planes, offset) makes `planes` of the first output from element `low` + `offset` on: in one call, or row by row for
// a call with an epilogue, which takes each while it is in cache.
template <class F>
void make(const OpCall& call, Planes planes, int64_t low, const F& f) {
  if (!call.epilogue) return f(planes, int64_t{0});
  const int64_t rows = planes.rows, run = planes.channels * planes.places;
  planes.rows = 1;
  for (int64_t at = 0; at < rows * planes.stride; at += planes.stride) {
    f(planes, at);
    made(call, low + at, low + at + run);
  }
}

template <class T>
void batch_norm(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]);
  const Sizes z(x);
  const double eps = call.attributes.reals[0];
  const Vector<T> weight(call.in[1], z.c, 1), bias(call.in[2], z.c, 0);
  T *mean = call.out[1].ptr<T>(), *var = call.out[2].ptr<T>();
  if (z.n * z.s == 0) {
    for (int i = 1; i < 3; ++i) fill(call.out[i], std::numeric_limits<T>::quiet_NaN());
    return;
  }
  const NormKernels<T>& k = kernels().of<T>().normalize;
  over_channels(z, call.blocked != 0, [&](int64_t c, const Planes& planes) {
    const int64_t first = c * planes.places;
    k.moments(planes, x.ptr<T>() + first, true, mean + c, var + c);
    double inverse[kPlaneColumns];
    T factor[kPlaneColumns];
    k.inverse(planes.channels, var + c, eps, inverse);
    for (int64_t i = 0; i < planes.channels; ++i) factor[i] = static_cast<T>(inverse[i]);
    make(call, planes, first, [&](const Planes& part, int64_t at) {
      at += first;
      k.scale(part, x.ptr<T>() + at, mean + c, factor, weight.p + c, bias.p + c, call.out[0].ptr<T>() + at);
    });
  });
}

// Calls f(channel, channels, planes) for the channels of one group, in pieces that the kernels take together.
template <class F>
void over_group(int64_t channels, int64_t places, const F& f) {
  const int64_t together = places < kLongPlaces ? channels_together(places) : kPlaneColumns;
  for (int64_t c = 0; c < channels; c += together) {
    const int64_t n = c + together < channels ? together : channels - c;
    f(c, n, Planes{1, n, places, 0});
  }
}

// By given statistics: batch elements are tasks of their own.
template <class T>
void batch_norm_fixed(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]);
  const Sizes z(x);
  if (z.all() == 0) return;
  const Vector<T> mean(call.in[1], 0, 0), var(call.in[2], 0, 0), weight(call.in[3], z.c, 1), bias(call.in[4], z.c, 0);
  const NormKernels<T>& k = kernels().of<T>().normalize;
  std::unique_ptr<double[]> inverse(new double[static_cast<size_t>(z.c)]);
  k.inverse(z.c, var.p, call.attributes.reals[0], inverse.get());
  std::unique_ptr<T[]> factor(new T[static_cast<size_t>(z.c)]);
  for (size_t c = 0; c < static_cast<size_t>(z.c); ++c) factor[c] = static_cast<T>(inverse[c]);
  const Planes whole = planes_of(z, z.c, call.blocked != 0);
  over_units(whole.rows, whole.stride, [&](int64_t low, int64_t high) {
    over_group(z.c, whole.places, [&](int64_t c, int64_t channels, Planes planes) {
      const int64_t at = low * whole.stride + c * whole.places;
      planes = {high - low, channels, whole.places, whole.stride};
      k.scale(planes, x.ptr<T>() + at, mean.p + c, factor.get() + c, weight.p + c, bias.p + c,
              call.out[0].ptr<T>() + at);
    });
  });
}

// Operands of a backward op, dense.
template <class T>
struct Backward {
  Sizes z;
  Vector<T> dy, x, weight, mean, var, dmean, dvar;
  Backward(const OpCall& call, const Sizes& sizes)
      : z(sizes),
        dy(call.in[0], 0, 0),
        x(call.in[1], 0, 0),
        weight(call.in[2], z.c, 1),
        mean(call.in[3], 0, 0),
        var(call.in[4], 0, 0),
        dmean(call.in[5], statistics(call), 0),
        dvar(call.in[6], statistics(call), 0) {}

 private:
  static int64_t statistics(const OpCall& call) { return call.in[3]->shape[0]; }
};

template <class T>
void batch_norm_backward(const OpCall& call) {
  const Backward<T> b(call, Sizes(*call.in[1]));
  const Sizes& z = b.z;
  const double eps = call.attributes.reals[0], count = static_cast<double>(z.n * z.s);
  T *dweight = call.out[1].ptr<T>(), *dbias = call.out[2].ptr<T>();
  if (z.n * z.s == 0) {
    for (int i = 1; i < 3; ++i) fill(call.out[i], T(0));
    return;
  }
  const NormKernels<T>& k = kernels().of<T>().normalize;
  over_channels(z, call.blocked != 0, [&](int64_t c, const Planes& planes) {
    const int64_t first = c * planes.places;
    const T *dy = b.dy.p + first, *x = b.x.p + first;
    double sums[2 * kPlaneColumns];
    T kx[kPlaneColumns], kd[kPlaneColumns], k1[kPlaneColumns];
    k.sums(planes, dy, x, b.mean.p + c, sums);
    k.coefficients(planes.channels,
                   {count, eps, b.weight.p + c, b.var.p + c, b.dmean.p + c, b.dvar.p + c, dweight + c, dbias + c}, sums,
                   kd, kx, k1);
    make(call, planes, first, [&](const Planes& part, int64_t at) {
      k.back(part, dy + at, x + at, b.mean.p + c, kd, kx, k1, call.out[0].ptr<T>() + first + at);
    });
  });
}

// ---- over groups of channels of each row ----

// The first `channels` entries of `to`, as far as there are so many.
template <class T>
void spread(T value, int64_t channels, T (&to)[kPlaneColumns]) {
  for (int64_t i = 0; i < channels && i < kPlaneColumns; ++i) to[i] = value;
}

template <class T>
void group_norm(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]);
  const Groups g(x, call.attributes);
  const Sizes& z = g.z;
  const int64_t channels = g.channels(), row = g.row();
  const Vector<T> weight(call.in[1], z.c, 1), bias(call.in[2], z.c, 0);
  T *mean = call.out[1].ptr<T>(), *var = call.out[2].ptr<T>(), *y = call.out[0].ptr<T>();
  if (z.all() == 0) {
    for (int i = 1; i < 3; ++i) fill(call.out[i], std::numeric_limits<T>::quiet_NaN());
    return;
  }
  const NormKernels<T>& k = kernels().of<T>().normalize;
  over_units(z.n * g.groups, row, [&](int64_t low, int64_t high) {
    if (z.s == 1 && g.groups == 1)
      return k.rows({high - low, row, g.centred, g.eps, x.ptr<T>() + low * row, weight.p}, bias.p, y + low * row,
                    mean + low, var + low);
    if (z.s == 1) {
      for (int64_t r = low; r < high; ++r) {
        const int64_t first = r % g.groups * channels;
        k.rows({1, row, g.centred, g.eps, x.ptr<T>() + r * row, weight.p + first}, bias.p + first, y + r * row,
               mean + r, var + r);
      }
      return;
    }
    // Short rows have their statistics made together, so that the end of one sum overlaps with the next one.
    constexpr int64_t kMost = 8;
    const int64_t together = std::clamp(kTask / row, int64_t{1}, kMost);
    for (int64_t start = low; start < high; start += together) {
      const int64_t end = start + together < high ? start + together : high;
      double inverse[kMost];
      k.moments({1, end - start, row, 0}, x.ptr<T>() + start * row, g.centred, mean + start, var + start);
      k.inverse(end - start, var + start, g.eps, inverse);
      for (int64_t r = start; r < end; ++r) {
        const int64_t first = r % g.groups * channels;
        T means[kPlaneColumns], factors[kPlaneColumns];
        spread(mean[r], channels, means);
        spread(static_cast<T>(inverse[r - start]), channels, factors);
        over_group(channels, z.s, [&](int64_t c, int64_t, const Planes& planes) {
          const int64_t at = r * row + c * z.s;
          k.scale(planes, x.ptr<T>() + at, means, factors, weight.p + first + c, bias.p + first + c, y + at);
        });
      }
    }
  });
}

// One row (a group of a batch element) backward; adds to the gradients of its channels' weight and bias.
template <class T>
void group_back(const Backward<T>& b, const Groups& g, int64_t r, int64_t first, T* dx, T* dweight, T* dbias) {
  const NormKernels<T>& k = kernels().of<T>().normalize;
  const int64_t s = g.z.s, row = g.row(), channels = g.channels();
  const T *dy = b.dy.p + r * row, *x = b.x.p + r * row, *w = b.weight.p + first;
  double e = 0, ex = 0, factor, sums[2 * kPlaneColumns];
  k.inverse(1, b.var.p + r, g.eps, &factor);
  T mean[kPlaneColumns], kd[kPlaneColumns], kx[kPlaneColumns], k1[kPlaneColumns];
  spread(g.centred ? b.mean.p[r] : T(0), channels, mean);
  over_group(channels, s, [&](int64_t c, int64_t n, const Planes& planes) {
    k.sums(planes, dy + c * s, x + c * s, mean, sums);
    for (int64_t i = 0; i < n; ++i) {
      e += static_cast<double>(w[c + i]) * sums[i];
      ex += static_cast<double>(w[c + i]) * sums[n + i];
      dweight[c + i] += static_cast<T>(factor * sums[n + i]);
      dbias[c + i] += static_cast<T>(sums[i]);
    }
  });
  const double count = static_cast<double>(row);
  spread(static_cast<T>(norm_back_b(count, factor, ex, static_cast<double>(b.dvar.p[r]))), channels, kx);
  spread(static_cast<T>(g.centred ? norm_back_c(count, factor, e, static_cast<double>(b.dmean.p[r])) : 0.0), channels,
         k1);
  over_group(channels, s, [&](int64_t c, int64_t n, const Planes& planes) {
    for (int64_t i = 0; i < n; ++i) kd[i] = static_cast<T>(factor * static_cast<double>(w[c + i]));
    k.back(planes, dy + c * s, x + c * s, mean, kd, kx, k1, dx + r * row + c * s);
  });
}

template <class T>
void group_norm_backward(const OpCall& call) {
  const Groups g(*call.in[1], call.attributes);
  const Backward<T> b(call, g.z);
  const Sizes& z = g.z;
  const int64_t channels = g.channels(), row = g.row();
  if (z.all() == 0) {
    for (int i = 1; i < 3; ++i) fill(call.out[i], T(0));
    return;
  }
  const NormKernels<T>& k = kernels().of<T>().normalize;
  T* dx = call.out[0].ptr<T>();
  // Blocks of batch elements: each sums the gradients of weight and bias for itself. Large ones are done in parts,
  // which have groups of their own.
  const int64_t element = z.c * z.s, least = (z.n + kRowBlocks - 1) / kRowBlocks, wanted = kTask / element;
  const int64_t per_block = wanted > least ? wanted : least, blocks = (z.n + per_block - 1) / per_block;
  const int64_t parts = std::clamp(per_block * element / kTask, int64_t{1}, g.groups);
  std::unique_ptr<T[]> partial(new T[static_cast<size_t>(2 * z.c * blocks)]());
  const auto task = [&](int64_t t) {
    const int64_t block = t / parts, part = t % parts;
    T *dweight = partial.get() + z.c * block, *dbias = dweight + z.c * blocks;
    const int64_t low = block * per_block, high = low + per_block < z.n ? low + per_block : z.n;
    const auto rows = [&](int64_t r, int64_t count, int64_t first) {
      k.rows_back({count, row, g.centred, g.eps, b.x.p + r * row, b.weight.p + first}, b.dy.p + r * row, b.mean.p + r,
                  b.var.p + r, b.dmean.p + r, b.dvar.p + r, dx + r * row, dweight + first, dbias + first);
    };
    if (z.s == 1 && g.groups == 1) return rows(low, high - low, 0);
    for (int64_t n = low; n < high; ++n)
      for (int64_t group = g.groups * part / parts; group < g.groups * (part + 1) / parts; ++group) {
        const int64_t r = n * g.groups + group, first = group * channels;
        if (z.s == 1)
          rows(r, 1, first);
        else
          group_back(b, g, r, first, dx, dweight + first, dbias + first);
      }
  };
  if (z.all() < 2 * kTask)
    for (int64_t t = 0; t < blocks * parts; ++t) task(t);
  else
    parallel_for(blocks * parts, task);
  const auto total = kernels().of<T>().reduce.columns[static_cast<int>(Fold::sum)];
  for (int i = 0; i < 2; ++i) total(blocks, z.c, z.c, partial.get() + i * z.c * blocks, call.out[1 + i].ptr<T>());
}

// ---- running statistics: running_mean, running_var, batches, mean, var; attributes (count, cumulative, momentum) ----

void infer_update(OpCall& call) {
  const Array& running = *call.in[0];
  const char* names[] = {"running_mean", "running_var", "batches", "mean", "var"};
  require_float(call, 0, "running_mean");
  for (int i : {1, 3, 4})
    if (call.in[i]->dtype != running.dtype || !call.in[i]->same_shape(running))
      fail<ValueError>(call.op->name, ": ", names[i], " is ", dtype_name(call.in[i]->dtype), " ",
                       shape_text(*call.in[i]), " but running_mean is ", dtype_name(running.dtype), " ",
                       shape_text(running), "; they must agree");
  if (running.ndim != 1) fail<ValueError>(call.op->name, ": running_mean must be (C,), got ", shape_text(running));
  if (const Array* batches = call.in[2]; batches && (batches->dtype != DType::Int64 || batches->size() != 1))
    fail<ValueError>(call.op->name, ": the count of batches must be one int64, got ", dtype_name(batches->dtype), " ",
                     shape_text(*batches));
  if (call.attributes.ints[1] && !call.in[2])
    fail<ValueError>(call.op->name, ": a mean over all batches needs their count");
}

template <class T>
void move_towards(const Array& running, const Array& now, double factor, double share) {
  const NormKernels<T>& k = kernels().of<T>().normalize;
  T* to = running.ptr<T>();
  const T* from = now.ptr<T>();
  const int64_t n = running.shape[0], step = running.strides[0], from_step = now.strides[0];
  if (n <= 1 || (step == 1 && from_step == 1)) return k.approach(n, share, factor, from, to);
  for (int64_t c = 0; c < n; ++c) k.approach(1, share, factor, from + c * from_step, to + c * step);
}

template <class T>
void update(const OpCall& call) {
  double share = call.attributes.reals[0];
  if (call.in[2]) {
    const int64_t batches = ++*call.in[2]->ptr<int64_t>();
    if (call.attributes.ints[1]) share = 1 / static_cast<double>(batches);
  }
  const double count = static_cast<double>(call.attributes.ints[0]);
  move_towards<T>(*call.in[0], *call.in[3], 1, share);
  move_towards<T>(*call.in[1], *call.in[4], count / (count - 1), share);  // the unbiased variance
}

// x, the result and, of a gradient, dy lie in one order. Short planes have sums that go from image to image.
template <int x, int64_t shortest>
unsigned blocks(const OpCall& call) {
  const unsigned all = kOneOrder | kOutputBit | (x == 1 ? 1u | 2u : 1u);
  return Sizes(*call.in[x]).s >= shortest ? all : 0;
}

template <void (*f32)(const OpCall&), void (*f64)(const OpCall&), int input>
void by_type(const OpCall& call) {
  call.in[input]->dtype == DType::Float64 ? f64(call) : f32(call);
}

template <class T>
void sum_channels_of(const Array& x, bool blocked, const Array& sums) {
  const Sizes z(x);
  const NormKernels<T>& k = kernels().of<T>().normalize;
  over_channels(z, blocked, [&](int64_t c, const Planes& planes) {
    const T *from = x.ptr<T>() + c * planes.places, zero = 0;
    double both[2];
    k.sums(planes, from, from, &zero, both);
    sums.ptr<T>()[c] = static_cast<T>(both[0]);
  });
}

}  // namespace

void sum_channels(const Array& x, bool blocked, const Array& sums) {
  x.dtype == DType::Float64 ? sum_channels_of<double>(x, blocked, sums) : sum_channels_of<float>(x, blocked, sums);
}

const OpList& normalize_ops() {
  static const OpList ops = {
      {"batch_norm", 3, 3, kTakesEpilogue, infer_batch_norm, by_type<batch_norm<float>, batch_norm<double>, 0>, 0,
       nullptr, nullptr, nullptr, nullptr, blocks<0, kLongPlaces>},
      {"batch_norm_fixed", 5, 1, kPlain, infer_batch_norm_fixed,
       by_type<batch_norm_fixed<float>, batch_norm_fixed<double>, 0>, 0, nullptr, nullptr, nullptr, nullptr,
       blocks<0, 1>},
      {"batch_norm_backward", 7, 3, kTakesEpilogue, infer_batch_norm_backward,
       by_type<batch_norm_backward<float>, batch_norm_backward<double>, 1>, 0, nullptr, nullptr, nullptr, nullptr,
       blocks<1, kLongPlaces>},
      {"group_norm", 3, 3, kPlain, infer_group_norm, by_type<group_norm<float>, group_norm<double>, 0>},
      {"group_norm_backward", 7, 3, kPlain, infer_group_norm_backward,
       by_type<group_norm_backward<float>, group_norm_backward<double>, 1>},
      {"update_running_", 5, 0, kInPlace | kAnyTypes, infer_update, by_type<update<float>, update<double>, 0>, 7},
  };
  return ops;
}

}  // namespace pn
