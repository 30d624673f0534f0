"""The schedule that listens to a metric, and how schedules take part in captured steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from .. import _engine
from .optimizer import Optimizer


def replayed(step: Callable[..., None]) -> Callable[..., None]:
    """A schedule's ``step`` that a captured training step calls again at each replay."""

    @functools.wraps(step)
    def outer(self: Any, *args: Any) -> None:
        capture = _engine.capturing()
        if capture is None or not capture.schedule(self, functools.partial(outer, self, *args)):
            step(self, *args)
            return
        try:
            step(self, *args)
        finally:
            capture.scheduled_step()

    return outer


def take_state(scheduler: Any, state: Mapping[str, Any]) -> None:
    """A schedule's ``load_state_dict``: checks everything, then takes it over, but for PyTorch's private entries.

    Raises ValueError, with nothing changed, if the state is of another kind of schedule or of other parameter groups.
    """
    _check_state(scheduler, state)
    for key in scheduler.state_dict():
        if key == "schedulers":
            for part, own in zip(scheduler.schedulers, state[key], strict=True):
                take_state(part, own)
        else:
            scheduler.__dict__[key] = state[key]


def _check_state(scheduler: Any, state: Mapping[str, Any]) -> None:
    name, own = f"{type(scheduler).__name__}.load_state_dict", scheduler.state_dict()
    lacking = [k for k in own if k not in state]
    foreign = [k for k in state if k not in own and not k.startswith("_")]
    if lacking or foreign:
        raise ValueError(f"{name}: the state is of another schedule: it lacks {lacking} and has {foreign}")
    for key, mine in own.items():
        other = state[key]
        numbers = [isinstance(v, (int, float)) or v is None for v in (mine, other)]
        if numbers != [True, True] and not isinstance(other, type(mine)):
            raise ValueError(f"{name}: {key} is {other!r} where a {type(mine).__name__} is wanted")
        if isinstance(mine, list) and len(mine) != len(other):
            raise ValueError(f"{name}: {key} has {len(other)} entries in the state, {len(mine)} here")
        if key == "schedulers":
            for part, its in zip(scheduler.schedulers, other, strict=True):
                _check_state(part, its)


class ReduceLROnPlateau:
    """Times ``factor`` when the metric given to :meth:`step` has not improved for more than ``patience`` epochs.

    An improvement beats the best by ``threshold``: relative (``threshold_mode="rel"``) or absolute (``"abs"``). After a
    cut ``cooldown`` epochs pass before bad ones count again. No cut smaller than ``eps``, none below ``min_lr`` (one
    number, or one per group).

    Raises:
        ValueError: ``factor`` is not below 1, or a mode is unknown.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: mode is 'min' or 'max' and threshold_mode 'rel' or 'abs', got {mode!r} and "
                f"{threshold_mode!r}"
            )
        count = len(optimizer.param_groups)
        lows = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * count
        if len(lows) != count:
            raise ValueError(f"ReduceLROnPlateau: min_lr has {len(lows)} entries for {count} parameter groups")
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = lows
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _better(self, value: float) -> bool:
        down = self.mode == "min"
        if self.threshold_mode == "rel":
            return value < self.best * (1 - self.threshold) if down else value > self.best * (1 + self.threshold)
        return value < self.best - self.threshold if down else value > self.best + self.threshold

    @replayed
    def step(self, metrics: Any) -> None:
        """Takes note of the epoch's metric."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(group["lr"] * self.factor, low)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The step sizes that were set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the schedule that gave ``state_dict`` stood. Raises ValueError if it is of another kind."""
        take_state(self, state_dict)
