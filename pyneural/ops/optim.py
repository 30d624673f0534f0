"""The optimisers' updates: one parameter and its state moved by one step, in place.

Arguments: the parameter ``w``, its gradient ``g``, the state (an empty tensor stands for one that the variant does
without), the step counter where the rule has one (float64, one value, raised by the op), and ``hyper``, a float64
vector of settings that all start with lr, weight decay and the sign (-1 to maximise, else 1).

The references below are the textbook formulas. They change nothing and return the new values of what the op would
write, in the order of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .record import op

Arrays = tuple[Any, ...]


def _gradient(w: Any, g: Any, hyper: Any) -> Any:
    return hyper[2] * g + hyper[1] * w


def sgd_reference(w: Any, g: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign; what follows is not read."""
    return (w - hyper[0] * _gradient(w, g, hyper),)


def momentum_reference(w: Any, g: Any, buffer: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, momentum, dampening, nesterov."""
    lr, _, _, momentum, dampening, nesterov = hyper
    g = _gradient(w, g, hyper)
    buffer = g if step == 0 else momentum * buffer + (1 - dampening) * g
    return w - lr * (g + momentum * buffer if nesterov else buffer), buffer, step + 1


def rmsprop_reference(w: Any, g: Any, square: Any, mean: Any, buffer: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, alpha, eps, momentum."""
    lr, _, _, alpha, eps, momentum = hyper
    g = _gradient(w, g, hyper)
    square = alpha * square + (1 - alpha) * g**2
    centered, heavy = np.shape(mean) == np.shape(w), np.shape(buffer) == np.shape(w)
    if centered:
        mean = alpha * mean + (1 - alpha) * g
    move = g / (np.sqrt(np.maximum(square - mean**2, 0) if centered else square) + eps)
    if heavy:
        buffer = move = momentum * buffer + move
    return w - lr * move, square, mean, buffer


def adam_reference(w: Any, g: Any, mean: Any, square: Any, top: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, beta1, beta2, eps, decoupled."""
    lr, decay, sign, beta1, beta2, eps, decoupled = hyper
    if decoupled:
        w, g = w - lr * decay * w, sign * g
    else:
        g = _gradient(w, g, hyper)
    step = step + 1
    mean = beta1 * mean + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * g**2
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
    square = rho * square + (1 - rho) * g**2
    move = np.sqrt(moves + eps) / np.sqrt(square + eps) * g
    return w - lr * move, square, rho * moves + (1 - rho) * move**2


def adamax_reference(w: Any, g: Any, mean: Any, top: Any, step: Any, hyper: Any) -> Arrays:
    """hyper: lr, weight_decay, sign, beta1, beta2, eps."""
    lr, _, _, beta1, beta2, eps = hyper
    g = _gradient(w, g, hyper)
    step = step + 1
    mean = beta1 * mean + (1 - beta1) * g
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
    mean = beta1 * mean + (1 - beta1) * g
    square = beta2 * square + (1 - beta2) * g**2
    root = np.sqrt(square / (1 - beta2**step)) + eps
    move = (1 - now) / (1 - product) * g / root + ahead / (1 - product * ahead) * mean / root
    return w - lr * move, mean, square, product, step


def _update(name: str, inputs: str, reference: Callable[..., Arrays]) -> Any:
    # No samples: the general op tests know functions, not updates in place; tests/test_optim.py runs these.
    return op(name, inputs, reference=reference, samples=lambda make: (), differences=False)


sgd_ = _update("sgd_", "w g hyper", sgd_reference)
momentum_ = _update("momentum_", "w g buffer step hyper", momentum_reference)
rmsprop_ = _update("rmsprop_", "w g square mean buffer hyper", rmsprop_reference)
adam_ = _update("adam_", "w g mean square top step hyper", adam_reference)
adagrad_ = _update("adagrad_", "w g total step hyper", adagrad_reference)
adadelta_ = _update("adadelta_", "w g square moves hyper", adadelta_reference)
adamax_ = _update("adamax_", "w g mean top step hyper", adamax_reference)
nadam_ = _update("nadam_", "w g mean square product step hyper", nadam_reference)
