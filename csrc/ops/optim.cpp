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

// ---- the rules: the coefficients of one step, and the kernel that takes them ----

const double* settings(const OpCall& call) { return call.in[call.inputs - 1]->ptr<double>(); }

// The number of this step, from 1 on.
double count_step(const OpCall& call, int input) { return *call.in[input]->ptr<double>() += 1; }

// Our own, so that the bits do not depend on the C library.
double power(double x, double y) {
  double z;
  kernels().f64.elementwise.binary[static_cast<int>(Binary::pow)](1, &x, &y, &z);
  return z;
}

// Every vector of settings starts with these.
enum { kLr, kDecay, kSign, kOwn };

struct Sgd {
  static constexpr int kStates = 0;
  using Coefficients = SgdCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    return {h[kLr], h[kDecay], h[kSign]};
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.sgd(n, p[0], p[1], c);
  }
};

// settings: ..., momentum, dampening, nesterov
struct Momentum {
  static constexpr int kStates = 1;
  using Coefficients = MomentumCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    Coefficients c{h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn], 1.0 - h[kOwn + 1], h[kOwn + 2] != 0};
    if (count_step(call, 3) == 1) c.keep = 0, c.fresh = 1;
    return c;
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.momentum(n, p[0], p[1], p[2], c);
  }
};

// settings: ..., alpha, eps, momentum
struct Rmsprop {
  static constexpr int kStates = 3;
  using Coefficients = RmspropCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    return {h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn + 1], h[kOwn + 2]};
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.rmsprop(n, p[0], p[1], p[2], p[3], p[4], c);
  }
};

// settings: ..., beta1, beta2, eps, decoupled
struct Adam {
  static constexpr int kStates = 3;
  using Coefficients = AdamCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    const double step = count_step(call, 5), beta1 = h[kOwn], beta2 = h[kOwn + 1];
    const bool decoupled = h[kOwn + 3] != 0;
    Coefficients c{};
    c.lr = h[kLr] / (1.0 - power(beta1, step));
    c.decay = decoupled ? 0.0 : h[kDecay];
    c.sign = h[kSign];
    c.beta1 = beta1, c.beta2 = beta2, c.eps = h[kOwn + 2];
    c.shrink = decoupled ? 1.0 - h[kLr] * h[kDecay] : 1.0;
    c.scale = 1.0 / std::sqrt(1.0 - power(beta2, step));
    return c;
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.adam(n, p[0], p[1], p[2], p[3], p[4], c);
  }
};

// settings: ..., lr_decay, eps
struct Adagrad {
  static constexpr int kStates = 1;
  using Coefficients = AdagradCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    const double step = count_step(call, 3);
    return {h[kLr] / (1.0 + (step - 1.0) * h[kOwn]), h[kDecay], h[kSign], h[kOwn + 1]};
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.adagrad(n, p[0], p[1], p[2], c);
  }
};

// settings: ..., rho, eps
struct Adadelta {
  static constexpr int kStates = 2;
  using Coefficients = AdadeltaCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    return {h[kLr], h[kDecay], h[kSign], h[kOwn], h[kOwn + 1]};
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.adadelta(n, p[0], p[1], p[2], p[3], c);
  }
};

// settings: ..., beta1, beta2, eps
struct Adamax {
  static constexpr int kStates = 2;
  using Coefficients = AdamaxCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    const double step = count_step(call, 4);
    return {h[kLr] / (1.0 - power(h[kOwn], step)), h[kDecay], h[kSign], h[kOwn], h[kOwn + 1], h[kOwn + 2]};
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.adamax(n, p[0], p[1], p[2], p[3], c);
  }
};

// settings: ..., beta1, beta2, eps, momentum_decay, decoupled; before the counter the running product of the momenta
struct Nadam {
  static constexpr int kStates = 2;
  using Coefficients = NadamCoefficients;
  static Coefficients begin(const OpCall& call) {
    const double* h = settings(call);
    const double step = count_step(call, 5), beta1 = h[kOwn], beta2 = h[kOwn + 1], fade = h[kOwn + 3];
    const bool decoupled = h[kOwn + 4] != 0;
    const double mu = beta1 * (1.0 - 0.5 * power(0.96, step * fade));
    const double next = beta1 * (1.0 - 0.5 * power(0.96, (step + 1.0) * fade));
    const double product = *call.in[4]->ptr<double>() *= mu;
    Coefficients c{};
    c.lr_now = h[kLr] * (1.0 - mu) / (1.0 - product);
    c.lr_ahead = h[kLr] * next / (1.0 - product * next);
    c.decay = decoupled ? 0.0 : h[kDecay];
    c.sign = h[kSign];
    c.beta1 = beta1, c.beta2 = beta2, c.eps = h[kOwn + 2];
    c.shrink = decoupled ? 1.0 - h[kLr] * h[kDecay] : 1.0;
    c.scale = 1.0 / std::sqrt(1.0 - power(beta2, step));
    return c;
  }
  template <class K, class T>
  static void piece(const K& k, int64_t n, T* const* p, const Coefficients& c) {
    k.nadam(n, p[0], p[1], p[2], p[3], c);
  }
};

// ---- running ----

template <class Rule, class T>
void typed_piece(const OpCall& call, const typename Rule::Coefficients& c, int64_t low, int64_t n) {
  T* p[2 + Rule::kStates];  // of empty states: null
  for (int i = 0; i < 2 + Rule::kStates; ++i) p[i] = call.in[i]->size() ? call.in[i]->ptr<T>() + low : nullptr;
  Rule::piece(kernels().of<T>().optim, n, p, c);
}

template <class Rule>
const Update* update_of() {
  using C = typename Rule::Coefficients;
  static_assert(sizeof(C) <= Update::kCoefficientBytes);
  static const Update update = {2 + Rule::kStates,
                                [](const OpCall& call, void* c) { *static_cast<C*>(c) = Rule::begin(call); },
                                [](const OpCall& call, const void* c, int64_t low, int64_t n) {
                                  if (call.in[0]->dtype == DType::Float32)
                                    typed_piece<Rule, float>(call, *static_cast<const C*>(c), low, n);
                                  else
                                    typed_piece<Rule, double>(call, *static_cast<const C*>(c), low, n);
                                }};
  return &update;
}

// What is not contiguous is worked on in a copy.
void run_update(const OpCall& call) {
  constexpr int kMost = 5;
  const Update& update = *call.op->update;
  alignas(8) char coefficients[Update::kCoefficientBytes];
  update.begin(call, coefficients);
  Array dense[kMost];
  const Array* operands[kMost];
  for (int i = 0; i < update.operands; ++i) {
    dense[i] = as_contiguous(*call.in[i]);
    operands[i] = &dense[i];
  }
  OpCall on_dense;
  on_dense.op = call.op;
  on_dense.in = operands;
  const int64_t n = dense[0].size();
  parallel_for((n + kUpdateTask - 1) / kUpdateTask, [&](int64_t t) {
    const int64_t low = t * kUpdateTask;
    update.piece(on_dense, coefficients, low, low + kUpdateTask < n ? kUpdateTask : n - low);
  });
  for (int i = 0; i < update.operands; ++i)
    if (i != 1 && dense[i].storage != call.in[i]->storage) copy_into(*call.in[i], dense[i]);
}

}  // namespace

const OpList& optim_ops() {
  constexpr unsigned flags = kInPlace | kTakesIntegers | kAnyTypes;
  static const OpList ops = [] {
    const auto row = [](const char* name, int inputs, void (*infer)(OpCall&), unsigned writes, const Update* update) {
      return Op{name, inputs, 0, flags, infer, run_update, writes, nullptr, nullptr, update};
    };
    return OpList{
        row("sgd_", 3, infer_update<0, 0, 0, 3>, 0b001, update_of<Sgd>()),
        row("momentum_", 5, infer_update<1, 1, 1, 6>, 0b01101, update_of<Momentum>()),
        row("rmsprop_", 6, infer_update<3, 1, 0, 6>, 0b011101, update_of<Rmsprop>()),
        row("adam_", 7, infer_update<3, 2, 1, 7>, 0b0111101, update_of<Adam>()),
        row("adagrad_", 5, infer_update<1, 1, 1, 5>, 0b01101, update_of<Adagrad>()),
        row("adadelta_", 5, infer_update<2, 2, 0, 5>, 0b01101, update_of<Adadelta>()),
        row("adamax_", 6, infer_update<2, 2, 1, 6>, 0b011101, update_of<Adamax>()),
        row("nadam_", 7, infer_update<2, 2, 2, 8>, 0b0111101, update_of<Nadam>()),
    };
  }();
  return ops;
}

}  // namespace pn
