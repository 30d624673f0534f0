// Reductions: which axes are folded in which passes, blocks, threads and the integer types around the kernels of
// kernels/cpu/reduce.inl.
//
// The input is made contiguous first and its axes are merged into groups that are folded or kept, so the plan, and with
// it the order of every sum, follows from the shape alone. The groups are folded one at a time, the innermost first.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kPanel = 512;  // columns per task

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- folds ----

// The two kernels of a fold that reads In and writes Out; see ReduceKernels.
template <class In, class Out>
struct FoldKernels {
  void (*rows)(int64_t rows, int64_t n, int64_t stride, const In* x, Out* y);
  void (*columns)(int64_t n, int64_t columns, int64_t stride, const In* x, Out* y);
};

// y (outer, inner) = fold of x (outer, n, inner) over the middle axis, n >= 1. `first` takes the elements, `rest` the
// results of blocks.
template <class In, class Out>
void fold_axis(FoldKernels<In, Out> first, FoldKernels<Out, Out> rest, const In* x, int64_t outer, int64_t n,
               int64_t inner, Out* y) {
  const int64_t block = inner == 1 ? kRowBlock : kColumnBlock;
  const int64_t blocks = ceil_div(n, block);
  const int64_t length = n < block ? n : block;
  std::unique_ptr<Out[]> partial(blocks > 1 ? new Out[static_cast<size_t>(outer * blocks * inner)] : nullptr);
  Out* to = blocks > 1 ? partial.get() : y;

  if (inner == 1 && blocks == 1) {
    parallel_ranges(outer, n, [&](int64_t low, int64_t high) { first.rows(high - low, n, n, x + low * n, to + low); });
  } else {
    const int64_t panels = ceil_div(inner, kPanel);
    parallel_ranges(
        outer * blocks * panels, length * (inner < kPanel ? inner : kPanel), [&](int64_t low, int64_t high) {
          for (int64_t u = low; u < high; ++u) {
            const int64_t panel = u % panels, slab = u / panels;  // slab = o * blocks + b
            const int64_t start = slab % blocks * block, rows = n - start < block ? n - start : block;
            const int64_t column = panel * kPanel, columns = inner - column < kPanel ? inner - column : kPanel;
            const In* from = x + (slab / blocks * n + start) * inner + column;
            if (inner == 1)
              first.rows(1, rows, rows, from, to + slab);
            else
              first.columns(rows, columns, inner, from, to + slab * inner + column);
          }
        });
  }
  if (blocks > 1) fold_axis(rest, rest, partial.get(), outer, blocks, inner, y);
}

// Which axes a call folds: attributes (dims or None, keepdim).
struct Axes {
  bool folded[kMaxDims] = {};
  bool keepdim = false;
};

Axes read_axes(const OpCall& call) {
  const Array& x = *call.in[0];
  Axes axes;
  AttributeReader attributes(call.attributes);
  if (call.attributes.ints[0] == kNone) {
    attributes.integer();
    for (int d = 0; d < x.ndim; ++d) axes.folded[d] = true;
  } else {
    const auto dims = attributes.list();
    for (int i = 0; i < dims.count; ++i) {
      // A 0-d tensor has a dim 0 (and -1) here, as in PyTorch.
      const int64_t d = checked_axis(call, dims.values[i], x.ndim ? x.ndim : 1);
      if (axes.folded[d])
        fail<ValueError>(call.op->name, ": dim ", d, " is given twice for shape ", shape_text(x),
                         "; name each dim once");
      axes.folded[d] = true;
    }
  }
  axes.keepdim = attributes.flag();
  return axes;
}

void describe_folded(OpCall& call, const Axes& axes, DType type) {
  const Array& x = *call.in[0];
  int64_t shape[kMaxDims];
  int dims = 0;
  for (int d = 0; d < x.ndim; ++d) {
    if (!axes.folded[d])
      shape[dims++] = x.shape[d];
    else if (axes.keepdim)
      shape[dims++] = 1;
  }
  call.out[0].describe(type, dims, shape);
}

// The whole reduction of call.in[0] by its axes into call.out[0]. With nothing to fold, an output gets the identity.
template <class In, class Out>
void fold_array(const Array& input, const Axes& axes, FoldKernels<In, Out> first, FoldKernels<Out, Out> rest,
                Out identity, Out* y, int64_t outputs) {
  if (outputs == 0) return;
  if (input.size() == 0) {
    for (int64_t i = 0; i < outputs; ++i) y[i] = identity;
    return;
  }
  const Array x = as_contiguous(input);

  struct Group {
    int64_t size;
    bool folded;
  } groups[kMaxDims];
  int count = 0;
  for (int d = 0; d < x.ndim; ++d) {
    if (x.shape[d] == 1) continue;
    if (count && groups[count - 1].folded == axes.folded[d])
      groups[count - 1].size *= x.shape[d];
    else
      groups[count++] = {x.shape[d], axes.folded[d]};
  }
  int folds = 0;
  int64_t outer = 1, inner = 1;  // sizes before and after the group at hand; those after it are kept groups
  for (int g = 0; g < count; ++g) {
    folds += groups[g].folded;
    outer *= groups[g].size;
  }
  if (folds == 0) return fold_axis(first, rest, x.ptr<In>(), 1, 1, outer, y);  // one element per output: converts it

  std::unique_ptr<Out[]> scratch;  // the result of the pass before
  for (int g = count - 1, pass = 0; pass < folds; --g) {
    const int64_t n = groups[g].size;
    outer /= n;
    if (!groups[g].folded) {
      inner *= n;
      continue;
    }
    std::unique_ptr<Out[]> next(pass + 1 < folds ? new Out[static_cast<size_t>(outer * inner)] : nullptr);
    Out* to = next ? next.get() : y;
    if (pass == 0)
      fold_axis(first, rest, x.ptr<In>(), outer, n, inner, to);
    else
      fold_axis(rest, rest, scratch.get(), outer, n, inner, to);
    scratch = std::move(next);
    ++pass;
  }
}

// ---- folds of integers and bools, to which the order does not matter: the same kernels for every CPU ----

// Sums and products of integers wrap on overflow.
struct AddWrapping {
  static constexpr bool kOnVectors = false;
  static int64_t take(int64_t x) { return x; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct MultiplyWrapping {
  static constexpr bool kOnVectors = false;
  static int64_t take(int64_t x) { return x; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct Larger {
  static constexpr bool kOnVectors = true;
  template <class T>
  static T take(T x) {
    return x;
  }
  template <class T>
  static T join(T a, T b) {
    return a > b ? a : b;
  }
};
struct Smaller {
  static constexpr bool kOnVectors = true;
  template <class T>
  static T take(T x) {
    return x;
  }
  template <class T>
  static T join(T a, T b) {
    return a < b ? a : b;
  }
};
struct Or {
  static constexpr bool kOnVectors = false;
  template <class T>
  static uint8_t take(T x) {
    return x != 0;
  }
  static uint8_t join(uint8_t a, uint8_t b) { return a | b; }
};
struct And {
  static constexpr bool kOnVectors = false;
  template <class T>
  static uint8_t take(T x) {
    return x != 0;
  }
  static uint8_t join(uint8_t a, uint8_t b) { return a & b; }
};

template <class F, class In, class Out>
struct PlainFold {
  typedef In V __attribute__((vector_size(16)));
  static constexpr int64_t L = sizeof(V) / sizeof(In);
  static constexpr bool kVectors = F::kOnVectors && sizeof(In) < 8;  // the baseline compares no 64-bit integers

  static V load(const In* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  static void rows(int64_t rows, int64_t n, int64_t stride, const In* x, Out* y) {
    for (int64_t r = 0; r < rows; ++r, x += stride) {
      Out a = F::take(x[0]);
      int64_t i = 1;
      if constexpr (kVectors) {
        if (n >= 2 * L) {
          V even = load(x), odd = load(x + L);
          for (i = 2 * L; i + 2 * L <= n; i += 2 * L) {
            even = F::join(even, load(x + i));
            odd = F::join(odd, load(x + i + L));
          }
          even = F::join(even, odd);
          for (int64_t l = 0; l < L; ++l) a = F::join(a, static_cast<Out>(even[l]));
        }
      }
      for (; i < n; ++i) a = F::join(a, static_cast<Out>(F::take(x[i])));
      y[r] = a;
    }
  }
  static void columns(int64_t n, int64_t columns, int64_t stride, const In* __restrict x, Out* __restrict y) {
    int64_t first = 0;
    if constexpr (kVectors) {
      for (; first + L <= columns; first += L) {
        V a = load(x + first);
        for (int64_t i = 1; i < n; ++i) a = F::join(a, load(x + i * stride + first));
        std::memcpy(y + first, &a, sizeof a);
      }
    }
    for (int64_t c = first; c < columns; ++c) y[c] = F::take(x[c]);
    for (int64_t i = 1; i < n; ++i)
      for (int64_t c = first; c < columns; ++c) y[c] = F::join(y[c], static_cast<Out>(F::take(x[i * stride + c])));
  }
  static constexpr FoldKernels<In, Out> kernels() { return {&rows, &columns}; }
};

template <class T>
FoldKernels<T, T> float_fold(Fold kind) {
  const ReduceKernels<T>& k = kernels().of<T>().reduce;
  return {k.rows[static_cast<int>(kind)], k.columns[static_cast<int>(kind)]};
}

// A bool is a byte that is 0 or 1.
template <class F>
void visit_bytes(DType t, F&& f) {
  visit_dtype(t == DType::Bool ? DType::UInt8 : t, [&](auto v) {
    if constexpr (!std::is_same_v<decltype(v), bool>) f(v);
  });
}

// ---- the ops ----

void infer_wide(OpCall& call) {  // sum, prod
  const DType t = call.in[0]->dtype;
  describe_folded(call, read_axes(call), is_float(t) ? t : DType::Int64);
}

void infer_same(OpCall& call) { describe_folded(call, read_axes(call), call.in[0]->dtype); }

void infer_bool(OpCall& call) { describe_folded(call, read_axes(call), DType::Bool); }

void infer_mean(OpCall& call) {
  if (!is_float(call.in[0]->dtype))
    fail<TypeError>("mean: x is ", dtype_name(call.in[0]->dtype),
                    " but must be float32 or float64; convert it first, or give dtype=np.float32");
  infer_same(call);
}

void refuse_empty(const OpCall& call, int dim) {
  fail<ValueError>(call.op->name, ": dim ", dim, " of shape ", shape_text(*call.in[0]),
                   " is empty, so there is no element to choose; reduce another dim or leave empty tensors out");
}

void infer_extremum(OpCall& call) {
  const Axes axes = read_axes(call);
  for (int d = 0; d < call.in[0]->ndim; ++d)
    if (axes.folded[d] && call.in[0]->shape[d] == 0) refuse_empty(call, d);
  describe_folded(call, axes, call.in[0]->dtype);
}

template <Fold kind>
void run_wide(const OpCall& call) {  // sum, prod
  const Array& x = *call.in[0];
  const Array& out = call.out[0];
  const Axes axes = read_axes(call);
  visit_bytes(x.dtype, [&](auto v) {
    using T = decltype(v);
    if constexpr (std::is_floating_point_v<T>) {
      const auto k = float_fold<T>(kind);
      fold_array<T, T>(x, axes, k, k, kind == Fold::sum ? T(0) : T(1), out.ptr<T>(), out.size());
    } else {
      using F = std::conditional_t<kind == Fold::sum, AddWrapping, MultiplyWrapping>;
      fold_array<T, int64_t>(x, axes, PlainFold<F, T, int64_t>::kernels(), PlainFold<F, int64_t, int64_t>::kernels(),
                             kind == Fold::sum ? 0 : 1, out.ptr<int64_t>(), out.size());
    }
  });
}

// The kernels of a fold that keeps the type: the largest or the smallest element.
template <Fold kind, class T>
FoldKernels<T, T> extremum() {
  if constexpr (std::is_floating_point_v<T>)
    return float_fold<T>(kind);
  else
    return PlainFold<std::conditional_t<kind == Fold::max, Larger, Smaller>, T, T>::kernels();
}

template <Fold kind>
void run_extremum(const OpCall& call) {
  const Axes axes = read_axes(call);
  visit_bytes(call.out[0].dtype, [&](auto v) {
    using T = decltype(v);
    const auto k = extremum<kind, T>();
    fold_array<T, T>(*call.in[0], axes, k, k, T{}, call.out[0].ptr<T>(), call.out[0].size());
  });
}

template <class T>
void run_mean_of(const OpCall& call) {
  const Array& x = *call.in[0];
  const Axes axes = read_axes(call);
  const auto k = float_fold<T>(Fold::sum);
  T* y = call.out[0].ptr<T>();
  const int64_t outputs = call.out[0].size();
  fold_array<T, T>(x, axes, k, k, T(0), y, outputs);
  int64_t count = 1;
  for (int d = 0; d < x.ndim; ++d)
    if (axes.folded[d]) count *= x.shape[d];
  for (int64_t i = 0; i < outputs; ++i) y[i] /= static_cast<T>(count);
}
void run_mean(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? run_mean_of<double>(call) : run_mean_of<float>(call);
}

// A sum or mean of floats in one pass, too small for threads: what run() would call, found beforehand.
template <class T, bool mean>
void go_sum(const Ready& r) {
  const auto k = float_fold<T>(Fold::sum);
  const T* x = reinterpret_cast<const T*>(*r.at[0]);
  T* y = reinterpret_cast<T*>(*r.at[1]);
  const int64_t outer = r.n[0], n = r.n[1], inner = r.n[2];
  if (inner == 1)
    k.rows(outer, n, n, x, y);
  else
    for (int64_t o = 0; o < outer; ++o) k.columns(n, inner, inner, x + o * n * inner, y + o * inner);
  if (mean)
    for (int64_t i = 0; i < outer * inner; ++i) y[i] /= static_cast<T>(r.n[3]);
}

template <bool mean>
bool prepare_sum(const OpCall& call, Ready& r) {
  const Array& x = *call.in[0];
  if (!is_float(x.dtype) || x.size() == 0 || x.size() >= 2 * kRangeTask || !x.contiguous()) return false;
  const Axes axes = read_axes(call);
  // The axis as (outer, n, inner); of all sizes, that of 1 is folded or kept with whatever stands beside it.
  int64_t size[3] = {1, 1, 1}, count = 1;
  int part = 0;
  for (int d = 0; d < x.ndim; ++d) {
    if (x.shape[d] == 1) continue;
    if (axes.folded[d] == (part == 1))
      size[part] *= x.shape[d];
    else if (axes.folded[d] && part == 0)
      part = 1, size[1] = x.shape[d];
    else if (!axes.folded[d] && part == 1)
      part = 2, size[2] = x.shape[d];
    else
      return false;  // several passes
    if (axes.folded[d]) count *= x.shape[d];
  }
  if (part == 0) size[2] = size[0], size[0] = 1;  // nothing is folded
  if (size[1] > (size[2] == 1 ? kRowBlock : kColumnBlock)) return false;
  for (int i = 0; i < 3; ++i) r.n[i] = size[i];
  r.n[3] = count;
  r.at[0] = &x.data, r.at[1] = &call.out[0].data;
  r.go = x.dtype == DType::Float32 ? go_sum<float, mean> : go_sum<double, mean>;
  return true;
}

template <class T>
void run_logsumexp_of(const OpCall& call) {
  const auto k = float_fold<T>(Fold::logsumexp);
  fold_array<T, T>(*call.in[0], read_axes(call), k, k, -std::numeric_limits<T>::infinity(), call.out[0].ptr<T>(),
                   call.out[0].size());
}
void run_logsumexp(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? run_logsumexp_of<double>(call) : run_logsumexp_of<float>(call);
}

template <class F>
void run_truth(const OpCall& call) {  // any, all
  const Axes axes = read_axes(call);
  visit_bytes(call.in[0]->dtype, [&](auto v) {
    using T = decltype(v);
    fold_array<T, uint8_t>(*call.in[0], axes, PlainFold<F, T, uint8_t>::kernels(),
                           PlainFold<F, uint8_t, uint8_t>::kernels(), std::is_same_v<F, And>,
                           call.out[0].ptr<uint8_t>(), call.out[0].size());
  });
}

// ---- argmax, argmin: attributes (dim or None, keepdim) ----

// The axis as (outer, n, inner); None is the flattened tensor.
struct Line {
  int64_t outer = 1, n = 1, inner = 1;
  int axis = -1;
};

Line read_line(const OpCall& call) {
  const Array& x = *call.in[0];
  Line line;
  const int64_t dim = call.attributes.ints[0];
  if (dim == kNone) {
    line.n = x.size();
    return line;
  }
  line.axis = static_cast<int>(checked_axis(call, dim, x.ndim ? x.ndim : 1));
  for (int d = 0; d < x.ndim; ++d) (d < line.axis ? line.outer : d == line.axis ? line.n : line.inner) *= x.shape[d];
  return line;
}

void infer_index(OpCall& call) {
  const Array& x = *call.in[0];
  const Line line = read_line(call);
  Axes axes;
  for (int d = 0; d < x.ndim; ++d) {
    axes.folded[d] = line.axis < 0 || d == line.axis;
    if (axes.folded[d] && x.shape[d] == 0) refuse_empty(call, d);
  }
  axes.keepdim = call.attributes.ints[1] != 0;
  describe_folded(call, axes, DType::Int64);
}

// The first i with x[i] equal to m, where NaN equals NaN. There is one.
template <class T>
int64_t find(int64_t n, const T* x, T m) {
  constexpr int64_t kChunk = 64;  // looked through without a branch
  const auto hit = [m](T v) { return (v == m) | ((v != v) & (m != m)); };
  int64_t i = 0;
  for (; i + kChunk <= n; i += kChunk) {
    bool any = false;
    for (int64_t k = 0; k < kChunk; ++k) any |= hit(x[i + k]);
    if (any) break;
  }
  while (!hit(x[i])) ++i;
  return i;
}

template <Fold kind>
void run_index(const OpCall& call) {
  const Line line = read_line(call);
  const int64_t outer = line.outer, n = line.n, inner = line.inner;
  int64_t* y = call.out[0].ptr<int64_t>();
  if (call.out[0].size() == 0) return;
  const Array x = as_contiguous(*call.in[0]);
  visit_bytes(x.dtype, [&](auto v) {
    using T = decltype(v);
    const T* from = x.ptr<T>();
    std::unique_ptr<T[]> best(new T[static_cast<size_t>(outer * inner)]);
    const auto k = extremum<kind, T>();
    fold_axis(k, k, from, outer, n, inner, best.get());
    parallel_ranges(outer, n * inner, [&](int64_t low, int64_t high) {
      for (int64_t o = low; o < high; ++o) {
        if (inner == 1) {
          y[o] = find(n, from + o * n, best[o]);
          continue;
        }
        const T* m = best.get() + o * inner;
        int64_t* to = y + o * inner;
        for (int64_t i = n; i-- > 0;) {  // from the back, so that the first one stays
          const T* row = from + (o * n + i) * inner;
          for (int64_t c = 0; c < inner; ++c)
            to[c] = (row[c] == m[c]) | ((row[c] != row[c]) & (m[c] != m[c])) ? i : to[c];
        }
      }
    });
  });
}

// ---- cumsum: attributes (dim, reverse) ----

void infer_cumsum(OpCall& call) {
  const Array& x = *call.in[0];
  read_line(call);
  call.out[0].describe(is_float(x.dtype) ? x.dtype : DType::Int64, x.ndim, x.shape);
}

// Sums of floats run in double, as in PyTorch: the error of a long running sum stays that of its last rounding.
template <class Out>
using RunningSum = std::conditional_t<std::is_floating_point_v<Out>, double, uint64_t>;

// `lines` sums next to each other, whose steps do not wait for one another; element i of line k is at i * step + k *
// apart.
template <int lines, class In, class Out>
void cumsum_lines(int64_t n, int64_t step, int64_t apart, const In* in, Out* out) {
  RunningSum<Out> sums[lines] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int k = 0; k < lines; ++k) {
      sums[k] += static_cast<RunningSum<Out>>(in[i * step + k * apart]);
      out[i * step + k * apart] = static_cast<Out>(sums[k]);
    }
}

template <class In, class Out>
void cumsum_of(const Array& x, const Line& line, bool reverse, Out* out) {
  constexpr int kLines = 8;
  const int64_t n = line.n, inner = line.inner, step = reverse ? -inner : inner;
  parallel_ranges(line.outer * inner, n, [&](int64_t low, int64_t high) {
    for (int64_t u = low; u < high;) {
      const int64_t column = u % inner;
      const int64_t start = u / inner * n * inner + column + (reverse ? (n - 1) * inner : 0);
      const In* from = x.ptr<In>() + start;
      if (inner == 1 && u + kLines <= high) {
        cumsum_lines<kLines>(n, step, n, from, out + start);
        u += kLines;
      } else if (inner - column >= kLines && u + kLines <= high) {
        cumsum_lines<kLines>(n, step, 1, from, out + start);
        u += kLines;
      } else {
        cumsum_lines<1>(n, step, 1, from, out + start);
        ++u;
      }
    }
  });
}

void run_cumsum(const OpCall& call) {
  const Line line = read_line(call);
  const bool reverse = call.attributes.ints[1] != 0;
  const Array x = as_contiguous(*call.in[0]);
  if (x.size() == 0) return;
  visit_bytes(x.dtype, [&](auto v) {
    using T = decltype(v);
    using Out = std::conditional_t<std::is_floating_point_v<T>, T, int64_t>;
    cumsum_of<T, Out>(x, line, reverse, call.out[0].ptr<Out>());
  });
}

// ---- softmax, log_softmax: attribute dim ----

void infer_softmax(OpCall& call) {
  const Array& x = *call.in[0];
  read_line(call);
  call.out[0].describe(x.dtype, x.ndim, x.shape);
}

template <class T>
void softmax_of(const OpCall& call, bool logarithm) {
  constexpr int64_t kCost = 8;  // an element costs as much as this many additions
  const Line line = read_line(call);
  const int64_t n = line.n, inner = line.inner;
  const ReduceKernels<T>& k = kernels().of<T>().reduce;
  const Array x = as_contiguous(*call.in[0]);
  if (x.size() == 0) return;
  const T* from = x.ptr<T>();
  T* to = call.out[0].ptr<T>();
  if (inner == 1) {
    parallel_ranges(line.outer, n * kCost, [&](int64_t low, int64_t high) {
      k.softmax_rows[logarithm](high - low, n, from + low * n, to + low * n);
    });
    return;
  }
  constexpr int64_t kColumns = 64;
  const int64_t panels = ceil_div(inner, kColumns);
  parallel_ranges(
      line.outer * panels, n * (inner < kColumns ? inner : kColumns) * kCost, [&](int64_t low, int64_t high) {
        for (int64_t u = low; u < high; ++u) {
          const int64_t column = u % panels * kColumns, columns = inner - column < kColumns ? inner - column : kColumns;
          const int64_t start = u / panels * n * inner + column;
          k.softmax_columns[logarithm](n, columns, inner, from + start, to + start);
        }
      });
}

template <bool logarithm>
void run_softmax(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? softmax_of<double>(call, logarithm) : softmax_of<float>(call, logarithm);
}

}  // namespace

const OpList& reduce_ops() {
  static const OpList ops = {
      {"sum", 1, 1, kTakesIntegers, infer_wide, run_wide<Fold::sum>, 0, nullptr, prepare_sum<false>},
      {"prod", 1, 1, kTakesIntegers, infer_wide, run_wide<Fold::prod>},
      // takes integers in order to refuse them by name
      {"mean", 1, 1, kTakesIntegers, infer_mean, run_mean, 0, nullptr, prepare_sum<true>},
      {"amax", 1, 1, kTakesIntegers, infer_extremum, run_extremum<Fold::max>},
      {"amin", 1, 1, kTakesIntegers, infer_extremum, run_extremum<Fold::min>},
      {"logsumexp", 1, 1, kPlain, infer_same, run_logsumexp},
      {"any", 1, 1, kTakesIntegers, infer_bool, run_truth<Or>},
      {"all", 1, 1, kTakesIntegers, infer_bool, run_truth<And>},
      {"argmax", 1, 1, kTakesIntegers, infer_index, run_index<Fold::max>},
      {"argmin", 1, 1, kTakesIntegers, infer_index, run_index<Fold::min>},
      {"cumsum", 1, 1, kTakesIntegers, infer_cumsum, run_cumsum},
      {"softmax", 1, 1, kPlain, infer_softmax, run_softmax<false>},
      {"log_softmax", 1, 1, kPlain, infer_softmax, run_softmax<true>},
  };
  return ops;
}

}  // namespace pn
