"""The optimisers' updates: one parameter and its state moved by one step, in place.

Arguments: the parameter ``w``, its gradient ``g``, the state (an empty tensor stands for one that the variant does
without), the step counter where the rule has one (float64, one value, raised by the op), and ``hyper``, a float64
vector of settings that all start with lr, weight decay and the sign (-1 to maximise, else 1).

A running mean or square that is smaller than any normal number becomes 0: where gradients have become 0 it would stay
among the subnormal numbers, with which CPUs are many times slower.

The references below are the textbook formulas. They change nothing and return the new values of what the op would
write, in the order of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .record import op

Arrays = tuple[Any, ...]


def _gradient(w: Any, g: Any, hyper: Any) -> Any:
    return hyper[2] * g + hyper[1] * w


def _settled(x: Any, eps: float = 1.0) -> Any:
    """Without subnormal numbers; a square that nothing is added to before it is divided by (eps 0) keeps them."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, x.dtype.type(0), x) if eps > 0 else x


def sgd_reference(w: Any, g: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign; what follows is not read."""
    return (w - hyper[0] * _gradient(w, g, hyper),)


def momentum_reference(w: Any, g: Any, buffer: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, momentum, dampening, nesterov."""
    lr, _, _, momentum, dampening, nesterov = hyper
    g = _gradient(w, g, hyper)
    buffer = _settled(g if step == 0 else momentum * buffer + (1 - dampening) * g)
    return w - lr * (g + momentum * buffer if nesterov else buffer), buffer, step + 1


def rmsprop_reference(w: Any, g: Any, square: Any, mean: Any, buffer: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, alpha, eps, momentum."""
    lr, _, _, alpha, eps, momentum = hyper
    g = _gradient(w, g, hyper)
    square = _settled(alpha * square + (1 - alpha) * g**2, eps)
    centered, heavy = np.shape(mean) == np.shape(w), np.shape(buffer) == np.shape(w)
    if centered:
        mean = _settled(alpha * mean + (1 - alpha) * g)
    move = g / (np.sqrt(np.maximum(square - mean**2, 0) if centered else square) + eps)
    if heavy:
        buffer = move = _settled(momentum * buffer + move)
    return w - lr * move, square, mean, buffer


def adam_reference(w: Any, g: Any, mean: Any, square: Any, top: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, beta1, beta2, eps, decoupled."""
    lr, decay, sign, beta1, beta2, eps, decoupled = hyper
    if decoupled:
        w, g = w - lr * decay * w, sign * g
    else:
        g = _gradient(w, g, hyper)
    step = step + 1
    mean = _settled(beta1 * mean + (1 - beta1) * g)
    square = _settled(beta2 * square + (1 - beta2) * g**2, eps)
    amsgrad = np.shape(top) == np.shape(w)
    if amsgrad:
        top = np.maximum(top, square)
    root = np.sqrt((top if amsgrad else square) / (1 - beta2**step))
    return w - lr * (mean / (1 - beta1**step)) / (root + eps), mean, square, top, step


def adagrad_reference(w: Any, g: Any, total: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, lr_decay, eps."""
    lr, _, _, lr_decay, eps = hyper
    g = _gradient(w, g, hyper)
    total = total + g**2
    return w - lr / (1 + step * lr_decay) * g / (np.sqrt(total) + eps), total, step + 1


def adadelta_reference(w: Any, g: Any, square: Any, moves: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, rho, eps."""
    lr, _, _, rho, eps = hyper
    g = _gradient(w, g, hyper)
    square = _settled(rho * square + (1 - rho) * g**2, eps)
    move = np.sqrt(moves + eps) / np.sqrt(square + eps) * g
    return w - lr * move, square, _settled(rho * moves + (1 - rho) * move**2, eps)


def adamax_reference(w: Any, g: Any, mean: Any, top: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, beta1, beta2, eps."""
    lr, _, _, beta1, beta2, eps = hyper
    g = _gradient(w, g, hyper)
    step = step + 1
    mean = _settled(beta1 * mean + (1 - beta1) * g)
    top = np.maximum(beta2 * top, np.abs(g) + eps)
    return w - lr / (1 - beta1**step) * mean / top, mean, top, step


def nadam_reference(w: Any, g: Any, mean: Any, square: Any, product: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, beta1, beta2, eps, momentum_decay, decoupled."""
    lr, decay, sign, beta1, beta2, eps, fade, decoupled = hyper
    if decoupled:
        w, g = w - lr * decay * w, sign * g
    else:
        g = _gradient(w, g, hyper)
    step = step + 1
    now = beta1 * (1 - 0.96 ** (step * fade) / 2)
    ahead = beta1 * (1 - 0.96 ** ((step + 1) * fade) / 2)
    product = product * now
    mean = _settled(beta1 * mean + (1 - beta1) * g)
    square = _settled(beta2 * square + (1 - beta2) * g**2, eps)
    root = np.sqrt(square / (1 - beta2**step)) + eps
    move = (1 - now) / (1 - product) * g / root + ahead / (1 - product * ahead) * mean / root
    return w - lr * move, mean, square, product, step


def _update(
    name: str, inputs: str, reference: Callable[..., Arrays], *settings: tuple[float, ...], optional: str = ""
) -> Any:
    """The record of one update: ``settings`` are vectors to try, ``optional`` names the states that may be empty."""
    names = inputs.split()
    scalars = {"step": 2.0, "product": 0.7}

    def state(make: Any, name: str, shape: tuple[int, ...]) -> Any:
        # Second moments and their like are positive, and larger than the square of the mean by more than rounding.
        return make(*shape, low=-0.3, high=0.3) if name == "mean" else make.positive(*shape)

    def samples(make: Any) -> Iterator[tuple]:
        # A first step is the case that counters tell apart.
        for n, shape in enumerate([(0,), (1,), (7,), (33,), (4, 5), (1000,)]):
            for hyper in settings:
                absent = optional.split() if n % 2 else []
                states = [make(0) if a in absent else state(make, a, shape) for a in names[2:-1] if a not in scalars]
                counters = [make.fixed(0.0 if n == 3 and a == "step" else scalars[a]) for a in names if a in scalars]
                yield (
                    make(*shape),
                    make(*shape),
                    *states,
                    *counters,
                    make.fixed([0.1, 0.2, -1.0 if n == 4 else 1.0, *hyper]),
                )

    def errors(make: Any) -> Iterator[tuple]:
        good = next(iter(samples(make)))
        other = "g" if len(names) == 3 else names[2]
        wrong = "g" if other == "g" else "state 1"
        at = names.index(other)
        yield (
            (make(3), make(3), *[make(3) if a.size == 0 else a for a in good[2:-1]], make.fixed([0.1])),
            ValueError,
            "hyper must",
        )
        yield (
            (*good[:at], make(4), *good[at + 1 :]),
            ValueError,
            rf"{name}: {wrong} is float64 \(4,\) but w is float64 \(0,\)",
        )

    return op(name, inputs, reference=reference, samples=samples, errors=errors, differences=False)


sgd_ = _update("sgd_", "w g hyper", sgd_reference, ())
momentum_ = _update(
    "momentum_", "w g buffer step hyper", momentum_reference, (0.9, 0.0, 0.0), (0.9, 0.0, 1.0), (0.5, 0.3, 0.0)
)
rmsprop_ = _update(
    "rmsprop_",
    "w g square mean buffer hyper",
    rmsprop_reference,
    (0.9, 1e-3, 0.0),
    (0.99, 1e-2, 0.8),
    optional="mean buffer",
)
adam_ = _update(
    "adam_",
    "w g mean square top step hyper",
    adam_reference,
    (0.9, 0.99, 1e-3, 0.0),
    (0.5, 0.9, 1e-8, 1.0),
    optional="top",
)
adagrad_ = _update("adagrad_", "w g total step hyper", adagrad_reference, (0.0, 1e-3), (0.1, 1e-10))
adadelta_ = _update("adadelta_", "w g square moves hyper", adadelta_reference, (0.9, 1e-6), (0.5, 1e-2))
adamax_ = _update("adamax_", "w g mean top step hyper", adamax_reference, (0.9, 0.99, 1e-3), (0.5, 0.9, 1e-8))
nadam_ = _update(
    "nadam_",
    "w g mean square product step hyper",
    nadam_reference,
    (0.9, 0.99, 1e-3, 4e-3, 0.0),
    (0.5, 0.9, 1e-8, 0.1, 1.0),
)
