"""What can take part in :meth:`pyneural.Trainer.fit`: callbacks, early stopping, step-size schedules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arguments import integer, number

if TYPE_CHECKING:
    from .training import Trainer


class Callback:
    """Base class: every method does nothing. A callback may set ``trainer.stopping = True`` to end the training."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first step."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before the first step of an epoch; the first is number 0."""

    def on_batch_end(self, trainer: Trainer, step: int, loss: float) -> None:
        """After each step; ``step`` counts from 0 through the whole training, ``loss`` is the batch's."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch, with its entries of the history; entries that are added to ``logs`` are recorded too."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last step, also if the training was interrupted from the keyboard."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback: whatever :func:`pyneural.save` takes, or an empty dict."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the callback that gave ``state`` stood."""


def _value(owner: str, monitor: str, logs: dict[str, float]) -> float:
    if monitor not in logs:
        hint = "; give fit() validation data" if monitor.startswith("val_") else ""
        raise ValueError(f"{owner}: there is no {monitor!r} to watch, only {', '.join(sorted(logs))}{hint}")
    return logs[monitor]


class EarlyStopping(Callback):
    """Ends the training when ``monitor`` has not improved for ``patience`` epochs in a row.

    Args:
        monitor: An entry of the history.
        patience: How many epochs without improvement are borne.
        min_delta: What counts as an improvement must beat the best by more than this.
        mode: "min", "max", or "auto": "max" for what is called accuracy, else "min".
        restore_best: At the end, also of a training that was interrupted or ran to its last epoch, give the model the
            parameters and buffers of the best epoch back.

    After the training ``best`` and ``best_epoch`` say what was found. NaN is never an improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'auto', 'min' or 'max', got {mode!r}")
        if integer("EarlyStopping", "patience", patience) < 1 or number("EarlyStopping", "min_delta", min_delta) < 0:
            raise ValueError(
                f"EarlyStopping: patience must be at least 1 and min_delta at least 0, got {patience} and {min_delta}"
            )
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self._sign = -1.0 if mode == "max" or (mode == "auto" and "accuracy" in monitor) else 1.0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._weights: dict[str, np.ndarray] | None = None
        self._bad = 0  # epochs without improvement

    def on_train_begin(self, trainer: Trainer) -> None:
        self.best = self.best_epoch = self._weights = None
        self._bad = 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        value = float(_value("EarlyStopping", self.monitor, logs))
        better = self.best is None or self._sign * (self.best - value) > self.min_delta
        if better and not math.isnan(value):
            self.best, self.best_epoch, self._bad = value, epoch, 0
            if self.restore_best:
                self._weights = {k: np.array(v) for k, v in trainer.model.state_dict().items()}
            return
        self._bad += 1
        if self._bad >= self.patience:
            trainer.stopping = True

    def on_train_end(self, trainer: Trainer) -> None:
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)
            self._weights = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "bad": self._bad, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken. Raises ValueError, with nothing changed, if it is none."""
        best, epoch, bad, weights = (state.get(key) for key in self.state_dict())
        found = (type(best) is float and type(epoch) is int and epoch >= 0) or (best is None and epoch is None)
        held = list(weights.values()) if isinstance(weights, dict) else [] if weights is None else [weights]
        arrays = all(isinstance(array, np.ndarray) for array in held)
        if set(state) != set(self.state_dict()) or not found or not arrays or type(bad) is not int or bad < 0:
            raise ValueError(
                "EarlyStopping: the state must hold best and best_epoch (a float and an epoch, or None), bad (a count) "
                f"and weights (a dict of arrays, or None), got {state!r:.200}"
            )
        self.best, self.best_epoch, self._bad, self._weights = best, epoch, bad, weights


class Schedule(Callback):
    """Steps a schedule of :mod:`pyneural.optim.lr_scheduler` after each epoch, or after each batch.

    ``monitor`` is the entry of the history that a ``ReduceLROnPlateau`` is given (default: ``val_loss`` if there is
    one, else ``loss``); other schedules take none.
    """

    def __init__(self, scheduler: Any, every: str = "epoch", monitor: str | None = None) -> None:
        from .optim.lr_scheduler import ReduceLROnPlateau

        if every not in ("epoch", "batch"):
            raise ValueError(f"Schedule: every must be 'epoch' or 'batch', got {every!r}")
        self.scheduler = scheduler
        self.every = every
        self.monitor = monitor
        self._listens = isinstance(scheduler, ReduceLROnPlateau)
        if self._listens and every == "batch":
            raise ValueError("Schedule: ReduceLROnPlateau watches the history, which has one entry per epoch")

    def on_batch_end(self, trainer: Trainer, step: int, loss: float) -> None:
        if self.every == "batch":
            self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        if self.every == "batch":
            return
        if self._listens:
            monitor = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
            self.scheduler.step(_value("Schedule", monitor, logs))
        else:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {"scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
