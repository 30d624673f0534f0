// The optimisers' updates: each op moves one parameter, and the state that belongs to it, by one step, in place.
//
// Inputs: the parameter w, its gradient g, the state tensors (an empty one stands for a state that the variant lacks),
// where the rule counts steps the counter (float64, one value, raised by the op itself), and `hyper`, a float64 vector
// of the group's settings. Settings and counter are read when the op runs and not when it is recorded, so a step size
// that a schedule changes is never baked into a replay. Formulas: kernels/cpu/optim.inl.
#include <cmath>
#include <string>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

constexpr int64_t kTask = int64_t{1} << 15;  // elements per task

// ---- checks ----

// Inputs 0 to 1 + states have w's type and shape (states from `optional` on may be empty); `doubles` float64 scalars
// follow, then hyper with `settings` entries.
template <int states, int optional, int doubles, int settings>
void infer_update(OpCall& call) {
  const Array& w = *call.in[0];
  require_float(call, 0, "w");
  for (int i = 1; i < 2 + states; ++i) {
    const Array& a = *call.in[i];
    const bool absent = i >= 2 + optional && a.size() == 0;
    if (a.dtype != w.dtype || !(absent || a.same_shape(w)))
      fail<ValueError>(call.op->name, ": ", i == 1 ? std::string("g") : "state " + std::to_string(i - 1), " is ",
                       dtype_name(a.dtype), " ", shape_text(a), " but w is ", dtype_name(w.dtype), " ", shape_text(w),
                       "; they must agree");
  }
  for (int i = 2 + states; i < 2 + states + doubles; ++i) {
    const Array& a = *call.in[i];
    if (a.dtype != DType::Float64 || a.size() != 1)
      fail<ValueError>(call.op->name, ": the counter must be one float64 value, got ", dtype_name(a.dtype), " ",
                       shape_text(a));
  }
  const Array& hyper = *call.in[2 + states + doubles];
  if (hyper.dtype != DType::Float64 || hyper.size() < settings || !hyper.contiguous())
    fail<ValueError>(call.op->name, ": hyper must be a contiguous float64 vector of at least ", settings,
                     " entries, got ", dtype_name(hyper.dtype), " ", shape_text(hyper));
}

// ---- running ----

// f(kernels, n, pointers) on pieces of w, g and the states; pointers of empty states are null. What is not contiguous
// is worked on in a copy.
template <int states, class F>
void update(const OpCall& call, const F& f) {
  Array dense[2 + states];
  for (int i = 0; i < 2 + states; ++i) dense[i] = as_contiguous(*call.in[i]);
  const int64_t n = dense[0].size();
  if (n == 0) return;
  const auto typed = [&](auto zero) {
    using T = decltype(zero);
    const OptimKernels<T>& k = kernels().of<T>().optim;
    parallel_for((n + kTask - 1) / kTask, [&](int64_t t) {
      const int64_t low = t * kTask;
      T* p[2 + states];
      for (int i = 0; i < 2 + states; ++i) p[i] = dense[i].size() ? dense[i].template ptr<T>() + low : nullptr;
      f(k, low + kTask < n ? kTask : n - low, p);
    });
  };
  if (dense[0].dtype == DType::Float32)
    typed(float{});
  else
    typed(double{});
  for (int i = 0; i < 2 + states; ++i)
    if (i != 1 && dense[i].storage != call.in[i]->storage) copy_into(*call.in[i], dense[i]);
}

const double* settings(const OpCall& call) { return call.in[call.inputs - 1]->ptr<double>(); }

// The number of this step, from 1 on.
double count_step(const OpCall& call, int input) { return *call.in[input]->ptr<double>() += 1; }

// Every vector of settings starts with these.
enum { kLr, kDecay, kSign, kOwn };

void run_sgd(const OpCall& call) {
  const double* h = settings(call);
  const SgdCoefficients c{h[kLr], h[kDecay], h[kSign]};
  update<0>(call, [&](const auto& k, int64_t n, auto* const* p) { k.sgd(n, p[0], p[1], c); });
}

// settings: ..., momentum, dampening, nesterov
void run_momentum(const OpCall& call) {
  const double* h = settings(call);
  const bool first = count_step(call, 3) == 1;
  MomentumCoefficients c{h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn], 1.0 - h[kOwn + 1], h[kOwn + 2] != 0};
  if (first) c.keep = 0, c.fresh = 1;
  update<1>(call, [&](const auto& k, int64_t n, auto* const* p) { k.momentum(n, p[0], p[1], p[2], c); });
}

// settings: ..., alpha, eps, momentum
void run_rmsprop(const OpCall& call) {
  const double* h = settings(call);
  const RmspropCoefficients c{h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn + 1], h[kOwn + 2]};
  update<3>(call, [&](const auto& k, int64_t n, auto* const* p) { k.rmsprop(n, p[0], p[1], p[2], p[3], p[4], c); });
}

// settings: ..., beta1, beta2, eps, decoupled
void run_adam(const OpCall& call) {
  const double* h = settings(call);
  const double step = count_step(call, 5), beta1 = h[kOwn], beta2 = h[kOwn + 1];
  const bool decoupled = h[kOwn + 3] != 0;
  AdamCoefficients c{};
  c.lr = h[kLr] / (1.0 - std::pow(beta1, step));
  c.decay = decoupled ? 0.0 : h[kDecay];
  c.sign = h[kSign];
  c.beta1 = beta1, c.beta2 = beta2, c.eps = h[kOwn + 2];
  c.shrink = decoupled ? 1.0 - h[kLr] * h[kDecay] : 1.0;
  c.scale = 1.0 / std::sqrt(1.0 - std::pow(beta2, step));
  update<3>(call, [&](const auto& k, int64_t n, auto* const* p) { k.adam(n, p[0], p[1], p[2], p[3], p[4], c); });
}

// settings: ..., lr_decay, eps
void run_adagrad(const OpCall& call) {
  const double* h = settings(call);
  const double step = count_step(call, 3);
  const AdagradCoefficients c{h[kLr] / (1.0 + (step - 1.0) * h[kOwn]), h[kDecay], h[kSign], h[kOwn + 1]};
  update<1>(call, [&](const auto& k, int64_t n, auto* const* p) { k.adagrad(n, p[0], p[1], p[2], c); });
}

// settings: ..., rho, eps
void run_adadelta(const OpCall& call) {
  const double* h = settings(call);
  const AdadeltaCoefficients c{h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn + 1]};
  update<2>(call, [&](const auto& k, int64_t n, auto* const* p) { k.adadelta(n, p[0], p[1], p[2], p[3], c); });
}

// settings: ..., beta1, beta2, eps
void run_adamax(const OpCall& call) {
  const double* h = settings(call);
  const double step = count_step(call, 4);
  const AdamaxCoefficients c{
      h[kLr] / (1.0 - std::pow(h[kOwn], step)), h[kDecay], h[kSign], h[kOwn], h[kOwn + 1], h[kOwn + 2]};
  update<2>(call, [&](const auto& k, int64_t n, auto* const* p) { k.adamax(n, p[0], p[1], p[2], p[3], c); });
}

// settings: ..., beta1, beta2, eps, momentum_decay, decoupled; before the counter the running product of the momenta
void run_nadam(const OpCall& call) {
  const double* h = settings(call);
  const double step = count_step(call, 5), beta1 = h[kOwn], beta2 = h[kOwn + 1], fade = h[kOwn + 3];
  const bool decoupled = h[kOwn + 4] != 0;
  const double mu = beta1 * (1.0 - 0.5 * std::pow(0.96, step * fade));
  const double next = beta1 * (1.0 - 0.5 * std::pow(0.96, (step + 1.0) * fade));
  const double product = *call.in[4]->ptr<double>() *= mu;
  NadamCoefficients c{};
  c.lr_now = h[kLr] * (1.0 - mu) / (1.0 - product);
  c.lr_ahead = h[kLr] * next / (1.0 - product * next);
  c.decay = decoupled ? 0.0 : h[kDecay];
  c.sign = h[kSign];
  c.beta1 = beta1, c.beta2 = beta2, c.eps = h[kOwn + 2];
  c.shrink = decoupled ? 1.0 - h[kLr] * h[kDecay] : 1.0;
  c.scale = 1.0 / std::sqrt(1.0 - std::pow(beta2, step));
  update<2>(call, [&](const auto& k, int64_t n, auto* const* p) { k.nadam(n, p[0], p[1], p[2], p[3], c); });
}

}  // namespace

const OpList& optim_ops() {
  constexpr unsigned flags = kInPlace | kTakesIntegers | kAnyTypes;
  static const OpList ops = {
      {"sgd_", 3, 0, flags, infer_update<0, 0, 0, 3>, run_sgd, 0b001},
      {"momentum_", 5, 0, flags, infer_update<1, 1, 1, 6>, run_momentum, 0b01101},
      {"rmsprop_", 6, 0, flags, infer_update<3, 1, 0, 6>, run_rmsprop, 0b011101},
      {"adam_", 7, 0, flags, infer_update<3, 2, 1, 7>, run_adam, 0b0111101},
      {"adagrad_", 5, 0, flags, infer_update<1, 1, 1, 5>, run_adagrad, 0b01101},
      {"adadelta_", 5, 0, flags, infer_update<2, 2, 0, 5>, run_adadelta, 0b01101},
      {"adamax_", 6, 0, flags, infer_update<2, 2, 1, 6>, run_adamax, 0b011101},
      {"nadam_", 7, 0, flags, infer_update<2, 2, 2, 8>, run_nadam, 0b0111101},
  };
  return ops;
}

}  // namespace pn
