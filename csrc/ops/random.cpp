// Random ops. Each reads a key, int64[2] = (seed, number of the first block), that a generator has handed out; what it
// draws depends on nothing else.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "core/cpu.h"
#include "core/error.h"
#include "core/philox.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/random.h"

namespace pn {

void check_key(const OpCall& call, int input) {
  const Array& key = *call.in[input];
  if (key.dtype != DType::Int64 || key.ndim != 1 || key.shape[0] != 2)
    fail<TypeError>(call.op->name,
                    ": key must be int64 of shape (2,), seed and position, as Generator.draw gives it; got ",
                    dtype_name(key.dtype), " of shape ", shape_text(key));
}

Stream stream_of(const Array& key) {
  const int64_t* p = key.ptr<int64_t>();
  return {static_cast<uint64_t>(p[0]), static_cast<uint64_t>(p[key.strides[0]])};
}

void check_drop(const OpCall& call, double p) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>(call.op->name, ": p is ", p, ", but a probability lies between 0 and 1");
}

uint32_t drop_below(double p) {
  const double wanted = std::nearbyint(p * 0x1p32);
  return wanted < 0x1p32 ? static_cast<uint32_t>(wanted) : UINT32_MAX;
}

namespace {

constexpr int64_t kTask = 1 << 15;  // numbers per task: whole groups for draws of 4 and of 8 bytes

// f(stream, first, n) for tasks of whole groups; `bytes`: of one draw.
template <class F>
void draw_tasks(const Array& key, int64_t n, int64_t bytes, const F& f) {
  const Stream s = stream_of(key);
  const int64_t blocks_per_task = kTask / group_draws(bytes) * kGroupBlocks;
  const auto task = [&](int64_t t) {
    f(Stream{s.seed, s.block + static_cast<uint64_t>(t * blocks_per_task)}, t * kTask,
      n - t * kTask < kTask ? n - t * kTask : kTask);
  };
  const int64_t tasks = (n + kTask - 1) / kTask;
  if (tasks == 1) return task(0);
  parallel_for(tasks, task);
}

template <class F>
void visit_float(DType type, const F& f) {
  type == DType::Float64 ? f(double{}) : f(float{});
}

// Attributes of the fillers begin with the shape; then a dtype (for floats) and two numbers.
struct Fill {
  AttributeReader::List shape;
  DType dtype;
};

Fill fill_of(const OpCall& call, AttributeReader& attributes) {
  const AttributeReader::List shape = attributes.list();
  const DType dtype = static_cast<DType>(attributes.integer());
  if (!is_float(dtype))
    fail<TypeError>(call.op->name, ": dtype is ", dtype_name(dtype), " but must be float32 or float64");
  return {shape, dtype};
}

void describe_fill(OpCall& call, DType dtype, AttributeReader::List shape) {
  for (int d = 0; d < shape.count; ++d)
    if (shape.values[d] < 0)
      fail<ValueError>(call.op->name, ": ", shape_text(shape.count, shape.values),
                       " is no shape; sizes are at least 0");
  call.out[0].describe(dtype, shape.count, shape.values);
}

void infer_uniform(OpCall& call) {
  check_key(call, 0);
  AttributeReader attributes(call.attributes);
  const Fill fill = fill_of(call, attributes);
  const double low = attributes.real(), high = attributes.real();
  if (!(low <= high) || !std::isfinite(high - low))
    fail<ValueError>("uniform: low is ", low, " and high is ", high, "; both must be finite and low not above high");
  describe_fill(call, fill.dtype, fill.shape);
}

void run_uniform(const OpCall& call) {
  const Array& y = call.out[0];
  visit_float(y.dtype, [&](auto v) {
    using T = decltype(v);
    const T low = static_cast<T>(call.attributes.reals[0]), high = static_cast<T>(call.attributes.reals[1]);
    const T range = high - low, top = low < high ? std::nextafter(high, low) : low;
    draw_tasks(*call.in[0], y.size(), sizeof(T), [&](Stream s, int64_t first, int64_t n) {
      kernels().of<T>().random.uniform(s, n, low, range, top, y.ptr<T>() + first);
    });
  });
}

void infer_normal(OpCall& call) {
  check_key(call, 0);
  AttributeReader attributes(call.attributes);
  const Fill fill = fill_of(call, attributes);
  const double mean = attributes.real(), std = attributes.real();
  if (!(std >= 0) || !std::isfinite(std) || !std::isfinite(mean))
    fail<ValueError>("normal: mean is ", mean, " and std is ", std, "; both must be finite and std at least 0");
  describe_fill(call, fill.dtype, fill.shape);
}

void run_normal(const OpCall& call) {
  const Array& y = call.out[0];
  visit_float(y.dtype, [&](auto v) {
    using T = decltype(v);
    draw_tasks(*call.in[0], y.size(), sizeof(T), [&](Stream s, int64_t first, int64_t n) {
      kernels().of<T>().random.normal(s, n, static_cast<T>(call.attributes.reals[0]),
                                      static_cast<T>(call.attributes.reals[1]), y.ptr<T>() + first);
    });
  });
}

void infer_bernoulli(OpCall& call) {
  check_key(call, 0);
  require_float(call, 1, "p");
  const Array p = as_contiguous(*call.in[1]);
  visit_float(p.dtype, [&](auto v) {
    using T = decltype(v);
    for (int64_t i = 0; i < p.size(); ++i)
      if (!(p.ptr<T>()[i] >= 0 && p.ptr<T>()[i] <= 1))
        fail<ValueError>("bernoulli: p holds ", p.ptr<T>()[i], ", but a probability lies between 0 and 1");
  });
  call.out[0].describe(p.dtype, p.ndim, p.shape);
}

void run_bernoulli(const OpCall& call) {
  const Array& y = call.out[0];
  const Array p = as_contiguous(*call.in[1]);
  visit_float(y.dtype, [&](auto v) {
    using T = decltype(v);
    draw_tasks(*call.in[0], y.size(), 4, [&](Stream s, int64_t first, int64_t n) {
      kernels().of<T>().random.bernoulli(s, n, p.ptr<T>() + first, y.ptr<T>() + first);
    });
  });
}

// A bit for each of `count` elements, the lowest of a byte first: 1 with probability 1 - p. Of whole groups, and 8
// bytes of zeros, so that a kernel may read on. Attributes: count, p; in blocks of the batch also the number of images.
constexpr int64_t kBehind = 8;

int64_t mask_groups(int64_t count) { return (count + kGroupWords - 1) / kGroupWords; }
int64_t mask_bytes(int64_t count) { return mask_groups(count) * (kGroupWords / 8) + kBehind; }

void infer_dropout_mask(OpCall& call) {
  check_key(call, 0);
  const int64_t count = call.attributes.ints[0];
  if (count < 0) fail<ValueError>("dropout_mask: count is ", count, " but must be at least 0");
  check_drop(call, call.attributes.reals[0]);
  const int64_t bytes = mask_bytes(count);
  call.out[0].describe(DType::UInt8, 1, &bytes);
}

void run_dropout_mask(const OpCall& call) {
  const Array& y = call.out[0];
  const int64_t count = call.attributes.ints[0], groups = mask_groups(count);
  const double p = call.attributes.reals[0];
  uint8_t* bits = y.ptr<uint8_t>();
  std::memset(bits + groups * (kGroupWords / 8), 0, kBehind);
  if (p == 1) {
    std::memset(bits, 0, static_cast<size_t>(groups) * (kGroupWords / 8));
    return;
  }
  const uint32_t below = drop_below(p);
  uint8_t* const drawn = call.blocked ? scratch<uint8_t>(y.size()) : bits;
  draw_tasks(*call.in[0], groups * kGroupWords, 4, [&](Stream s, int64_t first, int64_t n) {
    kernels().f32.random.mask(s, n / kGroupWords, below, drawn + first / 8);
  });
  if (!call.blocked) return;
  constexpr int64_t kEach = 4096;  // bits of each image in a task
  const int64_t size = count / call.attributes.ints[1], pieces = pieces_of(size, kEach);
  std::memset(bits + count / 8, 0, static_cast<size_t>(y.size() - count / 8));
  parallel_for(count / (size * kBatchLanes) * pieces, [&](int64_t task) {
    const int64_t first = task / pieces * size, low = task % pieces * kEach, n = std::min(kEach, size - low);
    kernels().f32.random.turn_mask(n, drawn, first * kBatchLanes + low, size, bits + (first + low) * (kBatchLanes / 8));
  });
}

unsigned mask_blocks(const OpCall&) { return kOutputBit; }

// y = (kept ? x : low) scale + shift, elementwise. Attributes: each, the number of neighbours that share a bit; low,
// scale, shift.
void infer_dropout(OpCall& call) {
  const Array &x = *call.in[0], &mask = *call.in[1];
  require_float(call, 0, "x");
  const int64_t each = call.attributes.ints[0];
  if (each < 1 || x.size() % each != 0)
    fail<ValueError>("dropout: each is ", each, " but must be at least 1 and divide the ", x.size(), " elements of x");
  const int64_t bytes = mask_bytes(x.size() / each);
  if (mask.dtype != DType::UInt8 || mask.ndim != 1 || mask.shape[0] != bytes)
    fail<ValueError>("dropout: mask must be uint8 of shape (", bytes, ",), as dropout_mask makes it for ",
                     x.size() / each, " elements; got ", dtype_name(mask.dtype), " of shape ", shape_text(mask));
  call.out[0].describe(x.dtype, x.ndim, x.shape);
}

unsigned dropout_blocks(const OpCall& call) { return call.attributes.ints[0] == 1 ? 1u | 2u | kOutputBit : 0; }

template <class T>
void bind_dropout_type(const Attributes& a, BoundKernel& k) {
  struct Context {
    decltype(RandomKernels<T>::dropout) kernel;
    Dropout<T> how;
  };
  const Context context{
      kernels().of<T>().random.dropout,
      {a.ints[0], static_cast<T>(a.reals[0]), static_cast<T>(a.reals[1]), static_cast<T>(a.reals[2])}};
  static_assert(sizeof context <= sizeof k.context);
  std::memcpy(k.context, &context, sizeof context);
  k.piece = [](const void* c, int64_t at, int64_t n, char* const* p) {
    const auto& with = *static_cast<const Context*>(c);
    with.kernel(with.how, at, n, reinterpret_cast<const T*>(p[1]), reinterpret_cast<const uint8_t*>(p[2]),
                reinterpret_cast<T*>(p[0]));
  };
}

void bind_dropout(const OpCall& call, BoundKernel& k) {
  call.in[0]->dtype == DType::Float64 ? bind_dropout_type<double>(call.attributes, k)
                                      : bind_dropout_type<float>(call.attributes, k);
}

void run_dropout(const OpCall& call) {
  BoundKernel k;
  bind_dropout(call, k);
  const Array x = as_contiguous(*call.in[0]), mask = as_contiguous(*call.in[1]);
  const int64_t item = static_cast<int64_t>(item_size(x.dtype));
  parallel_ranges(x.size(), 1, [&](int64_t low, int64_t high) {
    char* const p[] = {call.out[0].data + low * item, x.data + low * item, mask.data};
    k.piece(k.context, low, high - low, p);
  });
}

// f(i, draw) for n draws of 64 bits.
template <class F>
void wide_draws(Stream s, int64_t n, const F& f) {
  constexpr int64_t kEach = group_draws(8), kBatch = 8;  // groups at a time
  uint32_t w[kBatch * kGroupWords];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = i % (kBatch * kEach);
    if (k == 0) {
      const int64_t left = (n - i + kEach - 1) / kEach;
      kernels().f32.random.words(s, left < kBatch ? left : kBatch, w);
      s.block += kBatch * kGroupBlocks;
    }
    const uint32_t* row = w + k / kGroupBlocks * 2 * kGroupBlocks + k % kGroupBlocks;
    f(i, static_cast<uint64_t>(row[0]) << 32 | row[kGroupBlocks]);
  }
}

// A draw as an integer in [0, range): the high half of the product. The bias is below range / 2^64.
uint64_t scaled(uint64_t draw, uint64_t range) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(static_cast<Wide>(draw) * range >> 64);
}

void infer_integers(OpCall& call) {
  check_key(call, 0);
  AttributeReader attributes(call.attributes);
  const AttributeReader::List shape = attributes.list();
  const int64_t low = attributes.integer(), high = attributes.integer();
  if (low >= high) fail<ValueError>("integers: low is ", low, " and high is ", high, "; low must be less than high");
  describe_fill(call, DType::Int64, shape);
}

void run_integers(const OpCall& call) {
  const Array& y = call.out[0];
  AttributeReader attributes(call.attributes);
  attributes.list();
  const uint64_t low = static_cast<uint64_t>(attributes.integer()),
                 range = static_cast<uint64_t>(attributes.integer()) - low;
  draw_tasks(*call.in[0], y.size(), 8, [&](Stream s, int64_t first, int64_t n) {
    int64_t* out = y.ptr<int64_t>() + first;
    wide_draws(s, n, [&](int64_t i, uint64_t draw) { out[i] = static_cast<int64_t>(low + scaled(draw, range)); });
  });
}

void infer_permutation(OpCall& call) {
  check_key(call, 0);
  const int64_t n = call.attributes.ints[0];
  if (n < 0) fail<ValueError>("permutation: n is ", n, " but must be at least 0");
  call.out[0].describe(DType::Int64, 1, &n);
}

// The key of the next draw, taken from a generator's state, which moves on. The state is read and moved when the op
// runs, so a replayed step draws new numbers each time.
void infer_draw(OpCall& call) {
  check_key(call, 0);
  const int64_t two = 2;
  call.out[0].describe(DType::Int64, 1, &two);
}

void run_draw(const OpCall& call) {
  int64_t* state = call.in[0]->ptr<int64_t>();
  int64_t* key = call.out[0].ptr<int64_t>();
  key[0] = state[0], key[1] = state[call.in[0]->strides[0]];
  state[call.in[0]->strides[0]] =
      static_cast<int64_t>(static_cast<uint64_t>(key[1]) + static_cast<uint64_t>(call.attributes.ints[0]));
}

// Fisher and Yates, from the end: draw i picks the partner of place n - 1 - i.
void run_permutation(const OpCall& call) {
  const int64_t n = call.out[0].shape[0];
  int64_t* y = call.out[0].ptr<int64_t>();
  std::iota(y, y + n, int64_t{0});
  wide_draws(stream_of(*call.in[0]), n - 1, [&](int64_t i, uint64_t draw) {
    const int64_t last = n - 1 - i;
    std::swap(y[last], y[scaled(draw, static_cast<uint64_t>(last) + 1)]);
  });
}

}  // namespace

const OpList& random_ops() {
  static const OpList ops = {
      {"draw", 1, 1, kDraws | kAnyTypes, infer_draw, run_draw, 1},
      {"uniform", 1, 1, kDraws | kAnyTypes, infer_uniform, run_uniform},
      {"normal", 1, 1, kDraws | kAnyTypes, infer_normal, run_normal},
      {"bernoulli", 2, 1, kDraws | kAnyTypes | kChecksValues, infer_bernoulli, run_bernoulli},
      {"integers", 1, 1, kDraws | kAnyTypes, infer_integers, run_integers},
      {"permutation", 1, 1, kDraws | kAnyTypes, infer_permutation, run_permutation},
      {"dropout_mask", 1, 1, kDraws | kAnyTypes, infer_dropout_mask, run_dropout_mask, 0, nullptr, nullptr, nullptr,
       nullptr, mask_blocks},
      {"dropout", 2, 1, kAnyTypes | kSecondIsWhole, infer_dropout, run_dropout, 0, bind_dropout, nullptr, nullptr,
       nullptr, dropout_blocks},
  };
  return ops;
}

}  // namespace pn
