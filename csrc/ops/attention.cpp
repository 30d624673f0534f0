// Scaled dot-product attention and its adjoint, on the tiles of kernels/cpu/attention.inl: the matrix of scores is
// never whole in memory.
//
// Inputs query (.., L, .., E), key (.., S, .., E), value (.., S, .., F): the sequence lies along dimension `dim` (not
// the last), all dimensions but it and the last are a batch of heads. mask broadcasts to (batch.., L, S): float is
// added to the scores, a bool one says what is seen. Attributes: dim, causal, p (of dropped weights), scale.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/cpu.h"
#include "core/philox.h"
#include "core/scratch.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"
#include "ops/random.h"

namespace pn {
namespace {

constexpr int64_t kTaskWork = 400000;   // multiply-adds of a task, about
constexpr int64_t kGradientTasks = 16;  // tasks of a gradient, if there are long sequences enough
constexpr int64_t kLeastKeys = 256;     // keys of such a task at least: each has a gradient of all queries of its own

enum Input { kQuery, kKey, kValue, kMask, kStream, kInputs };

// The arguments of a call. The gradient's follow three others.
struct Arguments {
  const Array* const* in;
  int dim;
  bool causal;
  double p, scale;
  Arguments(const OpCall& call, int first) : in(call.in + first) {
    AttributeReader attributes(call.attributes);
    dim = static_cast<int>(attributes.integer());
    causal = attributes.flag();
    p = attributes.real(), scale = attributes.real();
  }
  int ndim() const { return in[kQuery]->ndim; }
  int64_t queries() const { return in[kQuery]->shape[dim]; }
  int64_t keys() const { return in[kKey]->shape[dim]; }
  int64_t width(Input i) const { return in[i]->shape[ndim() - 1]; }
  int64_t heads() const {
    int64_t n = 1;
    for (int d = 0; d < ndim() - 1; ++d)
      if (d != dim) n *= in[kQuery]->shape[d];
    return n;
  }
  // The shape of the scores: the batch, queries, keys.
  int scores(int64_t* shape) const {
    int n = 0;
    for (int d = 0; d < ndim() - 1; ++d)
      if (d != dim) shape[n++] = in[kQuery]->shape[d];
    shape[n++] = queries(), shape[n++] = keys();
    return n;
  }
};

void check(const OpCall& call, int first) {
  const Arguments a(call, first);
  const Array &q = *a.in[kQuery], &k = *a.in[kKey], &v = *a.in[kValue];
  require_float(call, first, "query");
  const auto shapes = [&] {
    return "query is " + shape_text(q) + ", key " + shape_text(k) + ", value " + shape_text(v);
  };
  if (k.dtype != q.dtype || v.dtype != q.dtype)
    fail<TypeError>(call.op->name, ": query is ", dtype_name(q.dtype), ", key ", dtype_name(k.dtype), ", value ",
                    dtype_name(v.dtype), "; they must have one dtype");
  if (q.ndim < 2 || k.ndim != q.ndim || v.ndim != q.ndim)
    fail<ValueError>(call.op->name, ": ", shapes(), "; they need as many dimensions each, at least 2");
  if (a.dim < 0 || a.dim > q.ndim - 2) fail<IndexError>(call.op->name, ": dim ", a.dim, " is out of range; ", shapes());
  for (int d = 0; d < q.ndim - 1; ++d)
    if (d == a.dim ? k.shape[d] != v.shape[d] : k.shape[d] != q.shape[d] || v.shape[d] != q.shape[d])
      fail<ValueError>(call.op->name, ": ", shapes(), "; ", d == a.dim ? "key and value" : "all three",
                       " must agree in dimension ", d);
  if (k.shape[q.ndim - 1] != q.shape[q.ndim - 1])
    fail<ValueError>(call.op->name, ": ", shapes(), "; query and key must have one last size");
  check_drop(call, a.p);
  if (a.p > 0) {
    if (!a.in[kStream]) fail<ValueError>(call.op->name, ": p is ", a.p, " but there is no stream to draw from");
    check_key(call, first + kStream);
  }
  if (!a.in[kMask]) return;
  const Array& mask = *a.in[kMask];
  if (mask.dtype != q.dtype && mask.dtype != DType::Bool)
    fail<TypeError>(call.op->name, ": mask is ", dtype_name(mask.dtype), " but must be bool or, as query is, ",
                    dtype_name(q.dtype));
  int64_t wanted[kMaxDims], shape[kMaxDims];
  int dims;
  const int n = a.scores(wanted);
  if (!broadcast_shapes(mask.ndim, mask.shape, n, wanted, &dims, shape) || dims != n ||
      !std::equal(shape, shape + n, wanted))
    fail<ValueError>(call.op->name, ": mask is ", shape_text(mask), " but must broadcast to the scores, ",
                     shape_text(n, wanted));
}

// A matrix of every head, with rows of neighbours; copied if it lies otherwise.
struct Matrices {
  Array a;
  int dim;
  Matrices(const Array& given, int sequence) : a(given), dim(sequence) {
    if (a.shape[a.ndim - 1] > 1 && a.strides[a.ndim - 1] != 1) a = contiguous_copy(a);
  }
  int64_t row() const { return a.strides[dim]; }
  int64_t place(int64_t head, int last = 1) const {
    int64_t at = 0;
    for (int d = a.ndim - 1 - last; d >= 0; --d) {
      if (d == dim) continue;
      at += head % a.shape[d] * a.strides[d];
      head /= a.shape[d];
    }
    return at;
  }
  template <class T>
  T* head(int64_t h) const {
    return a.ptr<T>() + place(h);
  }
};

// What all heads of a call share.
template <class T>
struct Heads {
  Arguments args;
  Matrices q, k, v;
  Array mask;
  Stream stream{};
  AttentionHead<T> all{};
  Heads(const OpCall& call, int first)
      : args(call, first), q(*args.in[kQuery], args.dim), k(*args.in[kKey], args.dim), v(*args.in[kValue], args.dim) {
    all.queries = args.queries(), all.keys = args.keys();
    all.width = args.width(kQuery), all.value_width = args.width(kValue);
    all.q_row = q.row(), all.k_row = k.row(), all.v_row = v.row();
    all.scale = static_cast<T>(args.scale), all.causal = args.causal;
    all.drops = args.p > 0, all.below = drop_below(args.p);
    all.kept = args.p < 1 ? static_cast<T>(1 / (1 - args.p)) : T(0);
    if (all.drops) stream = stream_of(*args.in[kStream]);
    if (!args.in[kMask]) return;
    int64_t shape[kMaxDims];
    const int n = args.scores(shape);
    mask = expanded(*args.in[kMask], n, shape);
    all.mask_row = mask.strides[n - 2], all.mask_column = mask.strides[n - 1];
  }
  AttentionHead<T> head(int64_t i) const {
    AttentionHead<T> h = all;
    h.q = q.template head<T>(i), h.k = k.template head<T>(i), h.v = v.template head<T>(i);
    const int64_t groups = pieces_of(h.queries, kQueryTile) * h.keys;
    h.stream = Stream{stream.seed, stream.block + static_cast<uint64_t>(i * groups * kGroupBlocks)};
    if (args.in[kMask]) {
      int64_t at = 0, rest = i;
      for (int d = mask.ndim - 3; d >= 0; --d) {
        at += rest % mask.shape[d] * mask.strides[d];
        rest /= mask.shape[d];
      }
      if (mask.dtype == DType::Bool)
        h.visible = mask.ptr<bool>() + at;
      else
        h.bias = mask.ptr<T>() + at;
    }
    return h;
  }
};

// f(i) for i < n, several to a task if each is little work.
template <class F>
void over(int64_t n, int64_t work, const F& f) {
  const int64_t together = 1 + kTaskWork / (work + 1), tasks = pieces_of(n, together);
  const auto task = [&](int64_t t) {
    for (int64_t i = t * together; i < n && i < (t + 1) * together; ++i) f(i);
  };
  if (tasks < 2) return n > 0 ? task(0) : void();
  parallel_for(tasks, task);
}

// ---- attention(query, key, value, mask?, stream?) -> y, lse ----

void infer_attention(OpCall& call) {
  check(call, 0);
  const Arguments a(call, 0);
  const Array& q = *a.in[kQuery];
  int64_t shape[kMaxDims];
  std::copy(q.shape, q.shape + q.ndim, shape);
  shape[q.ndim - 1] = a.width(kValue);
  call.out[0].describe(q.dtype, q.ndim, shape);
  call.out[1].describe(q.dtype, q.ndim - 1, shape);
}

template <class T>
void attend(const OpCall& call) {
  const Heads<T> heads(call, 0);
  const AttentionHead<T>& all = heads.all;
  const AttentionKernels<T>& kernel = kernels().of<T>().attention;
  const Matrices y(call.out[0], heads.args.dim), lse(call.out[1], heads.args.dim);
  const int64_t tiles = pieces_of(all.queries, kQueryTile), memory = kernel.memory(all);
  const int64_t work = std::min(all.queries, kQueryTile) * all.keys * (all.width + all.value_width);
  over(heads.args.heads() * tiles, work, [&](int64_t t) {
    const int64_t i = t / tiles, low = t % tiles * kQueryTile;
    kernel.forward(heads.head(i), low, std::min(low + kQueryTile, all.queries), scratch<T>(memory), y.head<T>(i),
                   y.row(), lse.a.ptr<T>() + lse.place(i, 0), lse.row());
  });
}

void run_attention(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? attend<double>(call) : attend<float>(call);
}

// ---- attention_backward(dy, lse, delta, query, key, value, mask?, stream?) -> dq, dk, dv ----
// With p = exp(scores - lse) and m the dropped weights' 0 or the others' factor: dv = (p m)^T dy,
// ds = p (m dy v^T - delta), dq = scale ds k, dk = scale ds^T q.

constexpr int kBefore = 3;

void infer_backward(OpCall& call) {
  check(call, kBefore);
  const Arguments a(call, kBefore);
  const Array &q = *a.in[kQuery], &dy = *call.in[0];
  int64_t shape[kMaxDims];
  std::copy(q.shape, q.shape + q.ndim, shape);
  shape[q.ndim - 1] = a.width(kValue);
  const auto wrong = [&](int i, int ndim) {
    return call.in[i]->dtype != q.dtype || call.in[i]->ndim != ndim ||
           !std::equal(shape, shape + ndim, call.in[i]->shape);
  };
  if (wrong(0, q.ndim))
    fail<ValueError>(call.op->name, ": the output is ", dtype_name(q.dtype), " of shape ", shape_text(q.ndim, shape),
                     ", so its gradient is, too; got ", dtype_name(dy.dtype), " of shape ", shape_text(dy));
  if (wrong(1, q.ndim - 1) || wrong(2, q.ndim - 1))
    fail<ValueError>(call.op->name, ": lse and delta must be ", dtype_name(q.dtype), " of shape ",
                     shape_text(q.ndim - 1, shape), ", got ", shape_text(*call.in[1]), " and ",
                     shape_text(*call.in[2]));
  for (int i = 0; i < 3; ++i) call.out[i].describe(q.dtype, q.ndim, a.in[i]->shape);
}

template <class T>
void attend_backward(const OpCall& call) {
  const Heads<T> heads(call, kBefore);
  const AttentionHead<T>& all = heads.all;
  const AttentionKernels<T>& kernel = kernels().of<T>().attention;
  const int dim = heads.args.dim;
  const Matrices dy(*call.in[0], dim);
  const Array lse = as_contiguous(*call.in[1]), delta = as_contiguous(*call.in[2]);
  const Matrices rows(lse, dim), dq(call.out[0], dim), dk(call.out[1], dim), dv(call.out[2], dim);
  // Few heads of many keys are cut, by their sizes alone; each part sums into a gradient of the queries of its own.
  const int64_t n = heads.args.heads(), parts = std::clamp(kGradientTasks / std::max(n, int64_t{1}), int64_t{1},
                                                           std::max(all.keys / kLeastKeys, int64_t{1}));
  const int64_t part = pieces_of(pieces_of(all.keys, kKeyTile), parts) * kKeyTile, size = call.out[0].size();
  std::vector<Array> sums;
  for (int64_t i = 1; i < parts; ++i) sums.push_back(Array::empty(call.out[0].dtype, 1, &size));
  const int64_t memory = kernel.memory(all);
  const int64_t work = all.queries * std::min(all.keys, part) * (3 * all.width + 2 * all.value_width);
  over(n * parts, work, [&](int64_t t) {
    const int64_t i = t / parts, p = t % parts, low = std::min(p * part, all.keys);
    T* const to = p == 0 ? call.out[0].ptr<T>() : sums[static_cast<size_t>(p - 1)].template ptr<T>();
    const int64_t at = rows.place(i, 0);
    kernel.backward(heads.head(i), low, std::min(low + part, all.keys), scratch<T>(memory),
                    {dy.head<T>(i), dy.row(), lse.ptr<T>() + at, delta.ptr<T>() + at, rows.row(), to + dq.place(i),
                     dk.head<T>(i), dv.head<T>(i), dq.row(), dk.row(), dv.row()});
  });
  const auto add = kernels().of<T>().elementwise.binary[static_cast<int>(Binary::add)];
  T* const y = call.out[0].ptr<T>();
  constexpr int64_t kPiece = 1 << 13;
  over(pieces_of(size, kPiece), parts * kPiece, [&](int64_t t) {
    const int64_t first = t * kPiece, count = std::min(kPiece, size - first);
    for (const Array& sum : sums) add(count, y + first, sum.ptr<T>() + first, y + first);
  });
}

void run_backward(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? attend_backward<double>(call) : attend_backward<float>(call);
}

double products(const Arguments& a, double widths) {
  return 2.0 * static_cast<double>(a.heads() * a.queries()) * static_cast<double>(a.keys()) * widths;
}
double operations(const OpCall& call) {
  const Arguments a(call, 0);
  return products(a, static_cast<double>(a.width(kQuery) + a.width(kValue)));
}
double operations_backward(const OpCall& call) {
  const Arguments a(call, kBefore);
  return products(a, static_cast<double>(3 * a.width(kQuery) + 2 * a.width(kValue)));
}

}  // namespace

const OpList& attention_ops() {
  static const OpList ops = {
      {"attention", kInputs, 2, kAnyTypes, infer_attention, run_attention, 0, nullptr, nullptr, nullptr, operations},
      {"attention_backward", kBefore + kInputs, 3, kAnyTypes, infer_backward, run_backward, 0, nullptr, nullptr,
       nullptr, operations_backward},
  };
  return ops;
}

}  // namespace pn
