"""L-BFGS: steps of a quasi-Newton method that remembers a few gradients instead of a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..autodiff import enable_grad, no_grad
from ..nn.module import as_array
from ..nn.utils import parameters_to_vector, vector_to_parameters
from ..tensor import Tensor, as_tensor, zeros
from .optimizer import Optimizer, check_range

_DECREASE, _CURVATURE = 1e-4, 0.9  # c1 and c2 of the strong Wolfe conditions
_TRIALS = 25  # evaluations of one line search


class _Point(NamedTuple):
    """A place on the line: how far, the loss, the gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS, as ``torch.optim.LBFGS``: for full batches of data, where the loss is a fixed function.

    Each iteration moves along d = -H g, where H is built from the last moves s and changes of the gradient y by the
    two-loop recursion (Nocedal and Wright, Numerical Optimization, algorithm 7.4), starting from (s.y / y.y) I. The
    step along d is ``lr`` (in the first iteration min(1, 1 / sum |g|) lr), or with ``line_search_fn="strong_wolfe"``
    one that meets the strong Wolfe conditions with 1e-4 and 0.9 (ibid., algorithms 3.5 and 3.6).

    Args:
        params: Tensors, in one group.
        lr: Step size, where a line search starts.
        max_iter: Iterations per call of :meth:`step`.
        max_eval: Evaluations of the loss per call; 1.25 max_iter if None.
        tolerance_grad: Ends when no entry of the gradient is larger.
        tolerance_change: Ends when no parameter moves by more, or the loss changes by less.
        history_size: How many pairs of s and y are kept.
        line_search_fn: None or "strong_wolfe".

    Attributes:
        n_iter, func_evals: Iterations and evaluations of all calls so far.
        done: Whether the last call was ended by a tolerance, not by a limit.

    Raises:
        ValueError: There are several groups, or a setting is out of range.

    Example::

        optimizer = pn.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        settings = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, settings)
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS: there can be one group of parameters, got {len(self.param_groups)}")
        self._parameters: list[Tensor] = self.param_groups[0]["params"]
        self._forget()

    def _check(self, group: dict[str, Any]) -> None:
        for name in ("lr", "max_iter", "tolerance_grad", "tolerance_change"):
            check_range("LBFGS", name, group[name])
        check_range("LBFGS", "history_size", group["history_size"], 1)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {group['line_search_fn']!r}")

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        return ()

    def _forget(self) -> None:
        self._moves: list[Tensor] = []  # s
        self._changes: list[Tensor] = []  # y
        self._direction: Tensor | None = None
        self._last: _Point | None = None  # where the last move began
        self._scale = 1.0
        self.n_iter = self.func_evals = 0
        self.done = False

    # ---- stepping ----

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` iterations. ``closure`` clears the gradients, computes the loss, calls ``backward`` and
        returns the loss; :func:`pyneural.compile` may have compiled it. Returns the loss at the start.

        Raises TypeError without a closure.
        """
        if closure is None:
            raise TypeError("LBFGS.step: needs a closure that computes the loss and its gradients, for it is called")
        losses = list(self.iterations(closure))
        return as_tensor(np.asarray(losses[0]))

    def iterations(self, closure: Callable[[], Any]) -> Iterator[float]:
        """The iterations of one :meth:`step`, one by one: yields the loss at the start, then after each."""
        group = self.param_groups[0]
        lr, evaluations = float(group["lr"]), self.func_evals
        loss, gradient = self._evaluate(closure)
        self.done = not _largest(gradient) > group["tolerance_grad"]
        yield loss
        for number in range(int(group["max_iter"])):
            if self.done or self.func_evals - evaluations >= group["max_eval"]:
                return
            direction = self._next_direction(gradient)
            slope = _dot(gradient, direction)
            t = lr if self.n_iter > 1 else min(1.0, 1.0 / float(ops.abs(gradient).sum().item())) * lr
            if slope > -group["tolerance_change"]:
                self.done = True
                return
            start = parameters_to_vector(self._parameters).detach()
            self._last = _Point(0.0, loss, gradient, slope)

            def at(t: float, start: Tensor = start, direction: Tensor = direction) -> _Point:
                self._move(start, direction, t)
                loss, gradient = self._evaluate(closure)
                return _Point(t, loss, gradient, _dot(gradient, direction))

            largest = _largest(direction)
            left = int(group["max_eval"]) - (self.func_evals - evaluations)
            if group["line_search_fn"] is None:
                self._move(start, direction, t)
                moved = t
                if left > 0 and number + 1 < group["max_iter"]:  # the next call begins with it
                    loss, gradient = self._evaluate(closure)
            else:
                found = _strong_wolfe(
                    at, self._last, t, min(_TRIALS, max(left, 1)), group["tolerance_change"] / largest
                )
                self._move(start, direction, found.t)
                moved, loss, gradient = found.t, found.loss, found.gradient
            self._step_size = moved
            self.done = (
                not _largest(gradient) > group["tolerance_grad"]
                or largest * moved <= group["tolerance_change"]
                or not abs(loss - self._last.loss) >= group["tolerance_change"]
            )
            yield loss

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[float, Tensor]:
        """The loss and its gradient as a vector."""
        with enable_grad():
            loss = float(closure())
        self.func_evals += 1
        parts = [zeros(p.shape, dtype=p.dtype) if p.grad is None else p.grad.detach() for p in self._parameters]
        with no_grad():
            return loss, parameters_to_vector(parts)

    def _move(self, start: Tensor, direction: Tensor, t: float) -> None:
        with no_grad():
            vector_to_parameters(start + t * direction, self._parameters)

    def _next_direction(self, gradient: Tensor) -> Tensor:
        """-H g, after the last move has been added to what H is made of."""
        self.n_iter += 1
        with no_grad():
            if self._direction is not None and self._last is not None:
                change, move = gradient - self._last.gradient, self._step_size * self._direction
                bend = _dot(change, move)
                if bend > 1e-10:
                    self._moves.append(move)
                    self._changes.append(change)
                    del self._moves[: -int(self.param_groups[0]["history_size"])], self._changes[: -len(self._moves)]
                    self._scale = bend / _dot(change, change)
            q, shares = -gradient, []
            for s, y in zip(reversed(self._moves), reversed(self._changes), strict=True):
                shares.append(_dot(s, q) / _dot(s, y))
                q = q - shares[-1] * y
            q = self._scale * q
            for s, y, share in zip(self._moves, self._changes, reversed(shares), strict=True):
                q = q + (share - _dot(y, q) / _dot(s, y)) * s
        self._direction = q
        return q

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """As for other optimisers; the state belongs to the first parameter and has PyTorch's names, with moves and
        changes as rows of a matrix."""
        group = {**self.param_groups[0], "params": list(range(len(self._parameters)))}
        if self._direction is None or self._last is None:
            return {"state": {}, "param_groups": [group]}
        state = {
            "d": self._direction,
            "prev_flat_grad": self._last.gradient,
            "t": as_tensor(np.float64(self._step_size)),
            "prev_loss": as_tensor(np.float64(self._last.loss)),
            "H_diag": as_tensor(np.float64(self._scale)),
            "n_iter": as_tensor(np.int64(self.n_iter)),
            "func_evals": as_tensor(np.int64(self.func_evals)),
        }
        if self._moves:
            state.update(old_stps=ops.stack(self._moves), old_dirs=ops.stack(self._changes))
        return {"state": {0: state}, "param_groups": [group]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over the state and settings of another L-BFGS, ours or PyTorch's.

        Raises ValueError, and changes nothing, if groups, names or shapes do not fit.
        """
        state = dict(state_dict["state"].get(0, {}))
        size = sum(p.numel() for p in self._parameters)
        vectors: dict[str, np.ndarray] = {}
        if state:
            dtype = self._parameters[0].dtype
            for name in ("d", "prev_flat_grad", "old_stps", "old_dirs"):
                given = state.get(name)
                if given is None and name.startswith("old"):
                    given = np.zeros((0, size))
                elif given is None:
                    raise ValueError(f"LBFGS.load_state_dict: the state lacks {name!r}")
                rows = [as_array(v) for v in given] if isinstance(given, (list, tuple)) else as_array(given)
                vectors[name] = (
                    np.array(rows, dtype=dtype).reshape(-1, size) if len(rows) else np.zeros((0, size), dtype)
                )
        super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
        self._parameters = self.param_groups[0]["params"]
        self._forget()
        if state:
            self._direction = as_tensor(vectors["d"][0])
            self._moves = [as_tensor(row) for row in vectors["old_stps"]]
            self._changes = [as_tensor(row) for row in vectors["old_dirs"]]
            self._step_size, self._scale = float(state["t"]), float(state["H_diag"])
            self._last = _Point(0.0, float(state["prev_loss"]), as_tensor(vectors["prev_flat_grad"][0]), 0.0)
            self.n_iter, self.func_evals = int(state["n_iter"]), int(state["func_evals"])


def _dot(a: Tensor, b: Tensor) -> float:
    with no_grad():
        return float((a * b).sum().item())


def _largest(a: Tensor) -> float:
    return float(ops.abs(a).max().item()) if a.numel() else 0.0


def _strong_wolfe(at: Callable[[float], _Point], start: _Point, t: float, trials: int, least: float) -> _Point:
    """A step that lowers the loss by at least c1 t slope and leaves at most c2 of the slope; the best one known if
    ``trials`` evaluations, or a bracket narrower than ``least``, do not bring one."""

    def too_high(p: _Point) -> bool:  # also where the loss is NaN
        return not p.loss <= start.loss + _DECREASE * p.t * start.slope

    before, here = start, at(t)
    used = 1
    while True:
        if too_high(here) or (used > 1 and here.loss >= before.loss):
            low, high = before, here
            break
        if abs(here.slope) <= -_CURVATURE * start.slope:
            return here
        if here.slope >= 0:
            low, high = here, before
            break
        if used == trials:
            return here
        wider = here.t + 0.01 * (here.t - before.t), 10 * here.t
        before, here = here, at(_cubic_minimum(before, here, *wider))
        used += 1
    while used < trials and abs(high.t - low.t) > least:
        ends = min(low.t, high.t), max(low.t, high.t)
        margin = 0.1 * (ends[1] - ends[0])
        here = at(_cubic_minimum(low, high, ends[0] + margin, ends[1] - margin))
        used += 1
        if too_high(here) or here.loss >= low.loss:
            high = here
            continue
        if abs(here.slope) <= -_CURVATURE * start.slope:
            return here
        if here.slope * (high.t - low.t) >= 0:
            high = low
        low = here
    return low


def _cubic_minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """Where the cubic through two points with these slopes is least (Nocedal and Wright, 3.59), kept within bounds; the
    middle of them if it has no minimum."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < math.inf:
        return (low + high) / 2
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    bottom = b.slope - a.slope + 2 * d2
    t = b.t - (b.t - a.t) * (b.slope + d2 - d1) / bottom if bottom else math.nan
    return min(max(t, low), high) if math.isfinite(t) else (low + high) / 2
