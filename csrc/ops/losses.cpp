// Losses of class numbers: cross-entropy of logits (N, C) and the negative entry at the class, with their adjoints. The
// ops take an int64 target (N) and attributes (ignore_index, reduction): rows whose target is ignore_index count for
// nothing.
//
// infer() refuses a class number out of range, on replay as well (kChecksValues). run() never follows one all the same,
// for memory may change in between: the loss is NaN then, so that it shows, and the gradient 0.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kCost = 8;  // an element with its exponential costs as much as this many additions

enum class Reduction : int64_t { none, sum, mean };  // as pyneural/ops/losses.py numbers them

struct Settings {
  int64_t ignore;
  Reduction reduction;
};

Settings read_settings(AttributeReader attributes) {
  const int64_t ignore = attributes.integer();
  return {ignore, static_cast<Reduction>(attributes.integer())};
}

// "3" or "(0, 3)": where the i-th element of a row-major array lies.
std::string place_text(const Array& a, int64_t i) {
  if (a.ndim == 1) return std::to_string(i);
  int64_t place[kMaxDims];
  for (int d = a.ndim - 1; d >= 0; --d) {
    place[d] = i % a.shape[d];
    i /= a.shape[d];
  }
  return shape_text(a.ndim, place);
}

void check_classes(const OpCall& call, const Array& given, int64_t classes, int64_t ignore) {
  if (given.dtype != DType::Int64)
    fail<TypeError>(call.op->name, ": target is ", dtype_name(given.dtype), " but class numbers must be int64");
  const Array target = as_contiguous(given);
  const int64_t *t = target.ptr<int64_t>(), n = target.size();
  bool good = true;
  for (int64_t i = 0; i < n; ++i) good &= ((t[i] >= 0) & (t[i] < classes)) | (t[i] == ignore);
  if (good) return;
  int64_t i = 0;
  while ((t[i] >= 0 && t[i] < classes) || t[i] == ignore) ++i;
  fail<IndexError>(call.op->name, ": target ", t[i], " is out of range for ", classes, " classes",
                   target.ndim ? " (at " + place_text(target, i) + ")" : "");
}

void check_rows(const OpCall& call, const Array& x, const Array& target, int64_t ignore) {
  if (x.ndim != 2) fail<ValueError>(call.op->name, ": input must be (N, C), rows of classes, got ", shape_text(x));
  if (target.ndim != 1 || target.shape[0] != x.shape[0])
    fail<ValueError>(call.op->name, ": input is ", shape_text(x), ", so a target of class numbers must be ",
                     shape_text(1, x.shape), ", got ", shape_text(target));
  check_classes(call, target, x.shape[1], ignore);
}

void check_gradient(const OpCall& call, const Array& dy, int64_t rows, Reduction reduction) {
  const int ndim = reduction == Reduction::none;
  if (dy.ndim != ndim || (ndim == 1 && dy.shape[0] != rows))
    fail<ValueError>(call.op->name, ": the loss has shape ", shape_text(ndim, &rows),
                     ", so its gradient has, too; got ", shape_text(dy));
}

int64_t counted(const Array& target, int64_t ignore) {
  int64_t n = 0;
  for (int64_t i = 0; i < target.size(); ++i) n += target.ptr<int64_t>()[i] != ignore;
  return n;
}

// In the order in which the op sum adds.
template <class T>
T sum_of(const T* x, int64_t n) {
  if (n == 0) return 0;
  const auto rows = kernels().of<T>().reduce.rows[static_cast<int>(Fold::sum)];
  T y;
  if (n <= kRowBlock) {
    rows(1, n, n, x, &y);
    return y;
  }
  const int64_t whole = n / kRowBlock, rest = n % kRowBlock, blocks = whole + (rest > 0);
  std::unique_ptr<T[]> partial(new T[static_cast<size_t>(blocks)]);
  rows(whole, kRowBlock, kRowBlock, x, partial.get());
  if (rest) rows(1, rest, rest, x + whole * kRowBlock, partial.get() + whole);
  return sum_of(partial.get(), blocks);
}

// Fills the output with the losses that f(y) computes, or with their sum or mean.
template <class T, class F>
void reduced(const Array& out, const Array& target, Settings s, const F& f) {
  if (s.reduction == Reduction::none) return f(out.ptr<T>());
  const int64_t n = target.size();
  std::unique_ptr<T[]> y(new T[static_cast<size_t>(n)]);
  f(y.get());
  const T sum = sum_of(y.get(), n);
  *out.ptr<T>() = s.reduction == Reduction::sum ? sum : sum / static_cast<T>(counted(target, s.ignore));
}

// The gradient of each row's loss: g[r * step], from the gradient of the reduced loss.
template <class T>
struct RowGradient {
  Array dy;
  T all;
  const T* g;
  int64_t step;
  RowGradient(const Array& given, const Array& target, Settings s) : dy(as_contiguous(given)) {
    step = s.reduction == Reduction::none;
    g = dy.ptr<T>();
    if (step) return;
    all = s.reduction == Reduction::sum ? *g : *g / static_cast<T>(counted(target, s.ignore));
    g = &all;
  }
  RowGradient(const RowGradient&) = delete;
};

template <void (*f32)(const OpCall&), void (*f64)(const OpCall&)>
void by_type(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? f64(call) : f32(call);
}

// ---- cross_entropy(x, target), cross_entropy_backward(dy, x, target), nll_loss(x, target) ----

void infer_loss(OpCall& call) {
  const Array& x = *call.in[0];
  const Settings s = read_settings(AttributeReader(call.attributes));
  require_float(call, 0, "input");
  check_rows(call, x, *call.in[1], s.ignore);
  call.out[0].describe(x.dtype, s.reduction == Reduction::none, x.shape);
}

template <class T>
void run_cross_entropy(const OpCall& call) {
  const Array x = as_contiguous(*call.in[0]), target = as_contiguous(*call.in[1]);
  const Settings s = read_settings(AttributeReader(call.attributes));
  const int64_t n = x.shape[1];
  reduced<T>(call.out[0], target, s, [&](T* y) {
    if (n == 0)
      return static_cast<void>(std::memset(y, 0, static_cast<size_t>(x.shape[0]) * sizeof(T)));  // all ignored
    parallel_ranges(x.shape[0], n * kCost, [&](int64_t low, int64_t high) {
      kernels().of<T>().losses.cross_entropy(high - low, n, x.ptr<T>() + low * n, target.ptr<int64_t>() + low, s.ignore,
                                             y + low);
    });
  });
}

void infer_cross_entropy_backward(OpCall& call) {
  const Array &dy = *call.in[0], &x = *call.in[1];
  const Settings s = read_settings(AttributeReader(call.attributes));
  require_float(call, 1, "input");
  if (dy.dtype != x.dtype)
    fail<TypeError>(call.op->name, ": input is ", dtype_name(x.dtype), " but the gradient ", dtype_name(dy.dtype),
                    "; they must have one dtype");
  check_rows(call, x, *call.in[2], s.ignore);
  check_gradient(call, dy, x.shape[0], s.reduction);
  call.out[0].describe(x.dtype, 2, x.shape);
}

template <class T>
void run_cross_entropy_backward(const OpCall& call) {
  const Array x = as_contiguous(*call.in[1]), target = as_contiguous(*call.in[2]);
  if (x.size() == 0) return;
  const Settings s = read_settings(AttributeReader(call.attributes));
  const RowGradient<T> g(*call.in[0], target, s);
  const int64_t n = x.shape[1];
  parallel_ranges(x.shape[0], n * kCost, [&](int64_t low, int64_t high) {
    kernels().of<T>().losses.cross_entropy_backward(high - low, n, x.ptr<T>() + low * n, target.ptr<int64_t>() + low,
                                                    s.ignore, g.g + low * g.step, g.step,
                                                    call.out[0].ptr<T>() + low * n);
  });
}

template <class T>
void run_nll_loss(const OpCall& call) {
  const Array &x = *call.in[0], target = as_contiguous(*call.in[1]);
  const Settings s = read_settings(AttributeReader(call.attributes));
  reduced<T>(call.out[0], target, s, [&](T* y) {
    for (int64_t r = 0; r < x.shape[0]; ++r) {
      const int64_t t = target.ptr<int64_t>()[r];
      if (t == s.ignore)
        y[r] = 0;
      else if (t < 0 || t >= x.shape[1])
        y[r] = std::numeric_limits<T>::quiet_NaN();
      else
        y[r] = -x.ptr<T>()[r * x.strides[0] + t * x.strides[1]];
    }
  });
}

// ---- nll_loss_backward(dy, target): attributes (classes, ignore_index, reduction) ----

void infer_nll_loss_backward(OpCall& call) {
  AttributeReader attributes(call.attributes);
  const int64_t classes = attributes.integer();
  const Settings s = read_settings(attributes);
  const Array& target = *call.in[1];
  require_float(call, 0, "the gradient");
  if (target.ndim != 1) fail<ValueError>(call.op->name, ": target must be (N,), got ", shape_text(target));
  check_classes(call, target, classes, s.ignore);
  check_gradient(call, *call.in[0], target.shape[0], s.reduction);
  const int64_t shape[2] = {target.shape[0], classes};
  call.out[0].describe(call.in[0]->dtype, 2, shape);
}

template <class T>
void run_nll_loss_backward(const OpCall& call) {
  AttributeReader attributes(call.attributes);
  const int64_t classes = attributes.integer();
  const Settings s = read_settings(attributes);
  const Array target = as_contiguous(*call.in[1]);
  const RowGradient<T> g(*call.in[0], target, s);
  T* y = call.out[0].ptr<T>();
  if (call.out[0].size()) std::memset(y, 0, static_cast<size_t>(call.out[0].size()) * sizeof(T));
  for (int64_t r = 0; r < target.size(); ++r) {
    const int64_t t = target.ptr<int64_t>()[r];
    if (t != s.ignore && t >= 0 && t < classes) y[r * classes + t] = -g.g[r * g.step];
  }
}

// ---- class_numbers(target): attributes (classes, ignore_index); the target with 0 for what does not count, and the
// mask of what does ----

void infer_class_numbers(OpCall& call) {
  const Array& target = *call.in[0];
  check_classes(call, target, call.attributes.ints[0], call.attributes.ints[1]);
  call.out[0].describe(DType::Int64, target.ndim, target.shape);
  call.out[1].describe(DType::Bool, target.ndim, target.shape);
}

void run_class_numbers(const OpCall& call) {
  const Array target = as_contiguous(*call.in[0]);
  const int64_t classes = call.attributes.ints[0], ignore = call.attributes.ints[1];
  for (int64_t i = 0; i < target.size(); ++i) {
    const int64_t t = target.ptr<int64_t>()[i];
    const bool counts = (t >= 0) & (t < classes) & (t != ignore);
    call.out[0].ptr<int64_t>()[i] = counts ? t : 0;
    call.out[1].ptr<bool>()[i] = counts;
  }
}

// No outputs: it is there to stop the step, eager or replayed, before anything is updated with a loss that is NaN.
void infer_require_finite(OpCall& call) {
  require_float(call, 0, "x");
  const Array dense = as_contiguous(*call.in[0]);
  for (int64_t i = 0, n = dense.size(); i < n; ++i) {
    const double v =
        dense.dtype == DType::Float32 ? static_cast<double>(dense.ptr<float>()[i]) : dense.ptr<double>()[i];
    if (!std::isfinite(v)) fail<NotFinite>("require_finite: element ", i, " of ", n, " is ", v);
  }
}
void run_require_finite(const OpCall&) {}

}  // namespace

const OpList& loss_ops() {
  constexpr unsigned flags = kAnyTypes | kChecksValues;
  static const OpList ops = {
      {"require_finite", 1, 0, kAnyTypes | kChecksValues, infer_require_finite, run_require_finite},
      {"cross_entropy", 2, 1, flags, infer_loss, by_type<run_cross_entropy<float>, run_cross_entropy<double>>},
      {"cross_entropy_backward", 3, 1, flags, infer_cross_entropy_backward,
       by_type<run_cross_entropy_backward<float>, run_cross_entropy_backward<double>>},
      {"nll_loss", 2, 1, flags, infer_loss, by_type<run_nll_loss<float>, run_nll_loss<double>>},
      {"nll_loss_backward", 2, 1, flags, infer_nll_loss_backward,
       by_type<run_nll_loss_backward<float>, run_nll_loss_backward<double>>},
      {"class_numbers", 1, 2, flags, infer_class_numbers, run_class_numbers},
  };
  return ops;
}

}  // namespace pn
