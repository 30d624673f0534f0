// The coefficients of the optimisers' update kernels (cpu/optim.inl, where the formulas stand). All double: a kernel
// rounds each of them to its type once per call.
#pragma once
#include <cstdint>

namespace pn {

struct SgdCoefficients {
  double lr, decay;
  double sign;  // -1 to maximise, else 1; the same in every rule
};

struct MomentumCoefficients {
  double lr, decay, sign, momentum;
  double keep, fresh;  // momentum and 1 - dampening; 0 and 1 in the first step
  bool nesterov;
};

struct RmspropCoefficients {
  double lr, decay, sign, alpha, eps, momentum;
};

struct AdamCoefficients {
  double lr, decay, sign, beta1, beta2, eps;
  double shrink;  // 1 - lr decay when weight decay is decoupled (then decay is 0), else 1
  double scale;   // 1 / sqrt(1 - beta2^step)
};

struct AdagradCoefficients {
  double lr, decay, sign, eps;
};

struct AdadeltaCoefficients {
  double lr, decay, sign, rho, eps;
};

struct AdamaxCoefficients {
  double lr, decay, sign, beta1, beta2, eps;
};

struct NadamCoefficients {
  double lr_now, lr_ahead;  // of the gradient itself and of its running mean
  double decay, sign, beta1, beta2, eps, shrink, scale;
};

// On n elements, dense; w is the parameter, g its gradient, the others are state. Those that may be null are named in
// optim.inl.
template <class T>
struct OptimKernels {
  void (*sgd)(int64_t n, T* w, const T* g, const SgdCoefficients&);
  void (*momentum)(int64_t n, T* w, const T* g, T* buffer, const MomentumCoefficients&);
  void (*rmsprop)(int64_t n, T* w, const T* g, T* square, T* mean, T* buffer, const RmspropCoefficients&);
  void (*adam)(int64_t n, T* w, const T* g, T* mean, T* square, T* top, const AdamCoefficients&);
  void (*adagrad)(int64_t n, T* w, const T* g, T* sum, const AdagradCoefficients&);
  void (*adadelta)(int64_t n, T* w, const T* g, T* square, T* moves, const AdadeltaCoefficients&);
  void (*adamax)(int64_t n, T* w, const T* g, T* mean, T* top, const AdamaxCoefficients&);
  void (*nadam)(int64_t n, T* w, const T* g, T* mean, T* square, const NadamCoefficients&);
};

}  // namespace pn
