"""Step-size schedules, under the names and with the formulas of ``torch.optim.lr_scheduler``.

A schedule writes ``group["lr"]`` of each group when it is made and at each ``step()``, usually once per epoch. As in
PyTorch most of them multiply what they find, so that several can act on one optimiser (:class:`ChainedScheduler`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._arguments import integer
from ._plateau import ReduceLROnPlateau as ReduceLROnPlateau
from ._plateau import replayed, take_state
from .optimizer import Optimizer

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class. A subclass defines :meth:`get_lr`, the step sizes for ``last_epoch``, from the current ones.

    ``last_epoch`` -1 starts anew and notes each group's step size as its ``initial_lr``; another value goes on from
    there and needs that note.

    Raises:
        TypeError: ``optimizer`` is none.
        KeyError: ``last_epoch`` is given but a group has no ``initial_lr``.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = replayed(cls.step)  # type: ignore[method-assign]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: last_epoch is {last_epoch} but group {i} has no 'initial_lr'")
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @property
    def _now(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float]:
        """The step sizes of the groups for ``last_epoch``."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The step sizes that were set last."""
        return self._last_lr

    @replayed
    def step(self) -> None:
        """Goes on by one epoch and sets the step sizes."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, values: Sequence[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = value
        self._last_lr = list(values)

    def _restart(self) -> None:
        """Starts from epoch 0 and the initial step sizes; :class:`SequentialLR` does so at a milestone."""
        self._set(self.base_lrs)
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions, which :meth:`load_state_dict` takes back."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not _holds_function(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the schedule that gave ``state_dict`` stood. Raises ValueError if it is of another kind."""
        take_state(self, state_dict)


def _holds_function(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(callable(v) for v in value))


def _one_per_group(owner: str, name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * count
    if len(value) != count:
        raise ValueError(f"{owner}: {name} has {len(value)} entries for {count} parameter groups")
    return list(value)


def _functions(owner: str, lr_lambda: Any, optimizer: Optimizer) -> list[Callable[[int], float]]:
    found = _one_per_group(owner, "lr_lambda", lr_lambda, optimizer)
    if not all(callable(f) for f in found):
        raise TypeError(f"{owner}: lr_lambda is {lr_lambda!r} but must be a function of the epoch, or a list of them")
    return found


class LambdaLR(LRScheduler):
    """The initial step size times ``lr_lambda(epoch)``; one function, or one per group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(LRScheduler):
    """The current step size times ``lr_lambda(epoch)`` from epoch 1 on; one function, or one per group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("MultiplicativeLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._now
        return [lr * f(self.last_epoch) for lr, f in zip(self._now, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """Times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if integer("StepLR", "step_size", step_size) < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._now
        return [lr * self.gamma for lr in self._now]


class MultiStepLR(LRScheduler):
    """Times ``gamma`` at each epoch in ``milestones``."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = dict(Counter(milestones))
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma ** self.milestones.get(self.last_epoch, 0) for lr in self._now]


class ConstantLR(LRScheduler):
    """Times ``factor`` until epoch ``total_iters``."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"ConstantLR: factor must lie in (0, 1], got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._now]
        return [lr * (1.0 / self.factor) for lr in self._now] if self.last_epoch == self.total_iters else self._now


class LinearLR(LRScheduler):
    """Times a factor that goes straight from ``start_factor`` to ``end_factor`` over ``total_iters`` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: start_factor must lie in (0, 1] and end_factor in [0, 1], got {start_factor}, {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._now]
        if self.last_epoch > self.total_iters:
            return self._now
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [lr * (1.0 + rise / before) for lr in self._now]


class ExponentialLR(LRScheduler):
    """Times ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._now if self.last_epoch == 0 else [lr * self.gamma for lr in self._now]


class PolynomialLR(LRScheduler):
    """Times (1 - epoch / total_iters)^power, 0 from ``total_iters`` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, total = self.last_epoch, self.total_iters
        if t == 0 or t > total:
            return self._now
        factor = ((1.0 - t / total) / (1.0 - (t - 1) / total)) ** self.power
        return [lr * factor for lr in self._now]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial step size down to ``eta_min`` over ``T_max`` epochs, and back up after it.

    Loshchilov and Hutter 2017, arXiv:1608.03983, without the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, half, low = self.last_epoch, self.T_max, self.eta_min
        if t == 0:
            return self._now
        if (t - 1 - half) % (2 * half) == 0:  # the last one was eta_min, which no factor leads away from
            rise = (1.0 - math.cos(math.pi / half)) / 2
            return [lr + (base - low) * rise for lr, base in zip(self._now, self.base_lrs, strict=True)]
        factor = (1.0 + math.cos(math.pi * t / half)) / (1.0 + math.cos(math.pi * (t - 1) / half))
        return [factor * (lr - low) + low for lr in self._now]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to ``eta_min`` over ``T_0`` epochs, then again over ``T_mult`` times as many, and so on.

    Loshchilov and Hutter 2017, arXiv:1608.03983. ``step(epoch)`` sets a point in time, which may be a fraction.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 and T_mult must be at least 1, got {T_0} and {T_mult}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1.0 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Goes on by one epoch, or to ``epoch``. Raises ValueError for a negative one."""
        epoch = self.last_epoch + 1 if epoch is None else epoch
        if epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be at least 0, got {epoch}")
        start, length = 0, self.T_0
        if self.T_mult == 1:
            start = int(epoch // length) * length
        else:
            while epoch >= start + length:
                start, length = start + length, length * self.T_mult
        self.T_cur, self.T_i = epoch - start, length
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())


def _cycles(owner: str, optimizer: Optimizer) -> str:
    """Which setting holds the momentum: "momentum", or "betas", whose first entry it is."""
    for key in ("momentum", "betas"):
        if key in optimizer.defaults:
            return key
    raise ValueError(f"{owner}: {type(optimizer).__name__} has neither momentum nor betas; use cycle_momentum=False")


def _set_momentum(group: dict[str, Any], key: str, value: float) -> None:
    group[key] = (value, *group["betas"][1:]) if key == "betas" else value


class CyclicLR(LRScheduler):
    """Up from ``base_lr`` to ``max_lr`` and down again, again and again; a step is a batch (Smith, arXiv:1506.01186).

    ``mode``: "triangular" keeps the height, "triangular2" halves it each cycle, "exp_range" multiplies it by ``gamma``
    each batch; ``scale_fn`` of the cycle's number or the batch's (``scale_mode`` "cycle" or "iterations") replaces it.
    ``cycle_momentum`` moves the momentum the other way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"CyclicLR: mode must be triangular, triangular2 or exp_range, got {mode!r}")
        lows = _one_per_group("CyclicLR", "base_lr", base_lr, optimizer)
        self.max_lrs = _one_per_group("CyclicLR", "max_lr", max_lr, optimizer)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode if scale_fn else ("iterations" if mode == "exp_range" else "cycle")
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.momentum_key = _cycles("CyclicLR", optimizer)
            self.base_momentums = _one_per_group("CyclicLR", "base_momentum", base_momentum, optimizer)
            self.max_momentums = _one_per_group("CyclicLR", "max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows, strict=True):
                group["lr"] = group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def _scale(self, x: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(x)
        if self.mode == "triangular":
            return 1.0
        return 1.0 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        height *= self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            groups = self.optimizer.param_groups
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                _set_momentum(group, self.momentum_key, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]


class OneCycleLR(LRScheduler):
    """Up to ``max_lr``, then down to far below the start, once; a step is a batch (Smith and Topin 2017).

    Starts at max_lr / ``div_factor``, peaks after the share ``pct_start`` of ``total_steps`` (or ``epochs`` times
    ``steps_per_epoch``) and ends at max_lr / (div_factor ``final_div_factor``). ``three_phase`` comes back to the start
    symmetrically before the last descent. ``cycle_momentum`` moves the momentum the other way.

    Raises:
        ValueError: The number of steps is not given, a setting is out of range, or :meth:`step` goes past the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: there must be at least 1 step, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        peak = float(pct_start * total_steps) - 1
        end = total_steps - 1
        # (last step, lr from, lr to, momentum from, momentum to), by the names of what stands in _levels.
        if three_phase:
            back = float(2 * pct_start * total_steps) - 2
            self.phases = [
                (peak, "initial", "max", "max_m", "base_m"),
                (back, "max", "initial", "base_m", "max_m"),
                (end, "initial", "min", "max_m", "max_m"),
            ]
        else:
            self.phases = [(peak, "initial", "max", "max_m", "base_m"), (end, "max", "min", "base_m", "max_m")]
        highs = _one_per_group("OneCycleLR", "max_lr", max_lr, optimizer)
        lows = _one_per_group("OneCycleLR", "base_momentum", base_momentum, optimizer)
        tops = _one_per_group("OneCycleLR", "max_momentum", max_momentum, optimizer)
        if cycle_momentum:
            self.momentum_key = _cycles("OneCycleLR", optimizer)
        self.levels = []
        for group, high, low_m, max_m in zip(optimizer.param_groups, highs, lows, tops, strict=True):
            start = high / div_factor
            self.levels.append(
                {"initial": start, "max": high, "min": start / final_div_factor, "base_m": low_m, "max_m": max_m}
            )
            if last_epoch == -1:
                group["initial_lr"] = start
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} lies past the {self.total_steps} steps that were planned")
        begin = 0.0
        for number, phase in enumerate(self.phases):
            if step <= phase[0] or number == len(self.phases) - 1:
                break
            begin = phase[0]
        end, lr_from, lr_to, m_from, m_to = phase
        share = (step - begin) / (end - begin)
        if self.cycle_momentum:
            for group, level in zip(self.optimizer.param_groups, self.levels, strict=True):
                _set_momentum(group, self.momentum_key, self._between(level[m_from], level[m_to], share))
        return [self._between(level[lr_from], level[lr_to], share) for level in self.levels]


class SequentialLR(LRScheduler):
    """One schedule after the other: the next one starts, from its epoch 0, at each of ``milestones``.

    Raises:
        ValueError: There is not one milestone fewer than there are schedules, or they belong to different optimisers.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need one milestone fewer, got {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: every schedule must belong to the optimiser that is given")
        self.optimizer = optimizer
        self.schedulers = schedulers
        self.milestones = milestones
        self.last_epoch = last_epoch + 1
        # Making the schedules has let each of them act already; only the first one may have.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        schedulers[0]._restart()
        self._last_lr = schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        index = bisect_right(self.milestones, self.last_epoch)
        current = self.schedulers[index]
        if index > 0 and self.milestones[index - 1] == self.last_epoch:
            current._restart()
        else:
            current.step()
        self._last_lr = current.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**_own_state(self), "schedulers": [s.state_dict() for s in self.schedulers]}


class ChainedScheduler(LRScheduler):
    """Several schedules at once: each ``step()`` is a step of every one, in order."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: there must be at least one schedule")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        if any(s.optimizer is not self.optimizer for s in schedulers):
            raise ValueError("ChainedScheduler: all schedules must belong to one optimiser")
        self.schedulers = list(schedulers)
        self._last_lr = self._now

    def step(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()
        self._last_lr = self._now

    def state_dict(self) -> dict[str, Any]:
        return {**_own_state(self), "schedulers": [s.state_dict() for s in self.schedulers]}


def _own_state(scheduler: LRScheduler) -> dict[str, Any]:
    return {k: v for k, v in scheduler.__dict__.items() if k not in ("optimizer", "schedulers")}
