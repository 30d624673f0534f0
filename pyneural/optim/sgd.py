"""Stochastic gradient descent and the rules that scale it by past gradients without a mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..ops import optim as updates
from ..tensor import Tensor
from .optimizer import Optimizer, absent, check_range, counter, sign, zeros_like


class SGD(Optimizer):
    """Stochastic gradient descent.

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w::

        momentum = 0:  w <- w - lr g
        momentum > 0:  b <- momentum b + (1 - dampening) g,  b = g in the first step
                       w <- w - lr b,  or with ``nesterov``  w <- w - lr (g + momentum b)

    Args:
        params: Tensors, or dicts with ``params`` and settings of their own.
        lr: Step size.
        momentum, dampening, weight_decay, nesterov, maximize: see the formulas.

    Raises:
        ValueError: A setting is out of range; ``nesterov`` without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_range("SGD", "momentum", group["momentum"])
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            sign(group),
            group["momentum"],
            group["dampening"],
            group["nesterov"],
        )

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        if group["momentum"] == 0:
            return {}
        return {"momentum_buffer": zeros_like(parameter), "step": counter()}

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        if group["momentum"] == 0:
            updates.sgd_(w, g, hyper)
            return
        if not state:  # the momentum was raised from 0 on the way
            state.update(self._new_state(w, group))
        updates.momentum_(w, g, state["momentum_buffer"], state["step"], hyper)

    def _complete(self, state: dict[str, np.ndarray]) -> None:
        # PyTorch tells the first step by the buffer's absence; a buffer that exists has seen one.
        state.setdefault("step", np.array(1.0))


class RMSprop(Optimizer):
    """Gradient descent scaled by a running root mean square of the gradient (Hinton, lecture 6 of his 2012 course).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w::

        v <- alpha v + (1 - alpha) g^2
        centered:      a <- alpha a + (1 - alpha) g,  and v - a^2 in place of v below
        momentum = 0:  w <- w - lr g / (sqrt(v) + eps)
        momentum > 0:  b <- momentum b + g / (sqrt(v) + eps),  w <- w - lr b

    As in PyTorch ``eps`` is added to the root; TensorFlow has it inside.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in ("alpha", "eps", "momentum"):
            check_range("RMSprop", name, group[name])

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], group["weight_decay"], sign(group), group["alpha"], group["eps"], group["momentum"]

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state = {"square_avg": zeros_like(parameter)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = zeros_like(parameter)
        return state

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        if group["momentum"] > 0 and "momentum_buffer" not in state:  # raised from 0 on the way
            state["momentum_buffer"] = zeros_like(w)
        mean = state["grad_avg"] if group["centered"] else absent(w)
        buffer = state["momentum_buffer"] if group["momentum"] > 0 else absent(w)
        updates.rmsprop_(w, g, state["square_avg"], mean, buffer, hyper)


class Adagrad(Optimizer):
    """Gradient descent scaled by the root of the sum of all squared gradients (Duchi, Hazan and Singer 2011).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w, in step t = 1, 2, ...::

        s <- s + g^2,  s = initial_accumulator_value at the start
        w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            check_range("Adagrad", name, group[name])

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], group["weight_decay"], sign(group), group["lr_decay"], group["eps"]

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        total = zeros_like(parameter)
        total.fill_(group["initial_accumulator_value"])
        return {"sum": total, "step": counter()}

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        updates.adagrad_(w, g, state["sum"], state["step"], hyper)


class Adadelta(Optimizer):
    """Gradient descent whose step size is the ratio of two running root mean squares (Zeiler 2012, arXiv:1212.5701).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w::

        v <- rho v + (1 - rho) g^2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u <- rho u + (1 - rho) d^2
        w <- w - lr d

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        check_range("Adadelta", "rho", group["rho"], 0.0, float(np.nextafter(1.0, 2.0)))
        check_range("Adadelta", "eps", group["eps"])

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], group["weight_decay"], sign(group), group["rho"], group["eps"]

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"square_avg": zeros_like(parameter), "acc_delta": zeros_like(parameter)}

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        updates.adadelta_(w, g, state["square_avg"], state["acc_delta"], hyper)
