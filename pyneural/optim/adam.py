"""Adam and its kin: a running mean of the gradient over a running root mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ops import optim as updates
from ..tensor import Tensor
from .optimizer import Optimizer, absent, check_range, counter, sign, zeros_like


def _check_betas(owner: str, group: dict[str, Any]) -> None:
    betas = group["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{owner}: betas must be two numbers, got {betas!r}")
    for i, beta in enumerate(betas):
        check_range(owner, f"betas[{i}]", beta, 0.0, 1.0)
    check_range(owner, "eps", group["eps"])


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w, in step t = 1, 2, ...::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    ``amsgrad`` takes the largest v so far in the last line (Reddi, Kale and Kumar 2018, arXiv:1904.09237).
    ``decoupled_weight_decay`` leaves w out of g and shrinks it by 1 - lr weight_decay first, which is :class:`AdamW`.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        _check_betas(type(self).__name__, group)

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        decoupled = group["decoupled_weight_decay"]
        return group["lr"], group["weight_decay"], sign(group), beta1, beta2, group["eps"], decoupled

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state = {"step": counter(), "exp_avg": zeros_like(parameter), "exp_avg_sq": zeros_like(parameter)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(parameter)
        return state

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        if not group["amsgrad"]:
            top = absent(w)
        else:
            if "max_exp_avg_sq" not in state:  # switched on on the way
                state["max_exp_avg_sq"] = zeros_like(w)
            top = state["max_exp_avg_sq"]
        updates.adam_(w, g, state["exp_avg"], state["exp_avg_sq"], top, state["step"], hyper)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    First w <- (1 - lr weight_decay) w, then the step of :class:`Adam` with a gradient that knows nothing of the decay.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square (section 7 of arXiv:1412.6980).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w, in step t = 1, 2, ...::

        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, abs(g) + eps)
        w <- w - lr / (1 - beta1^t) m / u

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        _check_betas("Adamax", group)

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        return group["lr"], group["weight_decay"], sign(group), beta1, beta2, group["eps"]

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"step": counter(), "exp_avg": zeros_like(parameter), "exp_inf": zeros_like(parameter)}

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        updates.adamax_(w, g, state["exp_avg"], state["exp_inf"], state["step"], hyper)


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead and a momentum that grows (Dozat 2016).

    With g the gradient (negated if ``maximize``) plus ``weight_decay`` w, in step t = 1, 2, ...::

        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2),  M = mu_1 mu_2 ... mu_t
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        q = sqrt(v / (1 - beta2^t)) + eps
        w <- w - lr ((1 - mu_t) / (1 - M) g + mu_{t+1} / (1 - M mu_{t+1}) m) / q

    ``decoupled_weight_decay`` leaves w out of g and shrinks it by 1 - lr weight_decay first.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        _check_betas("NAdam", group)
        check_range("NAdam", "momentum_decay", group["momentum_decay"])

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        own = (beta1, beta2, group["eps"], group["momentum_decay"], group["decoupled_weight_decay"])
        return (group["lr"], group["weight_decay"], sign(group), *own)

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {
            "step": counter(),
            "mu_product": counter(1.0),
            "exp_avg": zeros_like(parameter),
            "exp_avg_sq": zeros_like(parameter),
        }

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        updates.nadam_(w, g, state["exp_avg"], state["exp_avg_sq"], state["mu_product"], state["step"], hyper)
