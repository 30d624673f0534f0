"""The course of a training that Trainer and AdversarialTrainer share: epochs, callbacks, history, checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import random
from ._arguments import integer
from ._interrupts import soft_interrupt
from ._nonfinite import NonFiniteLoss
from ._progress import progress as _progress
from .callbacks import Callback
from .checkpoints import Checkpoint, Session
from .data.batches import Batches
from .nn.module import Module
from .optim.optimizer import Optimizer


class History(Mapping[str, list[float]]):
    """What a training recorded: name -> one number per epoch ("loss", "val_loss", the metrics, "val_" + metrics).

    Attributes:
        seconds: How long each epoch took, validation included.
        lr: The step size of the first parameter group in each epoch.
        steps: How many steps were taken.
        interrupted: True if the training was ended from the keyboard. An epoch that was cut off leaves no entry.
    """

    def __init__(self) -> None:
        self._series: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.lr: list[float] = []
        self.steps = 0
        self.interrupted = False

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._series:
            raise KeyError(f"{name!r}; recorded were {', '.join(map(repr, self._series)) or 'no epochs'}")
        return self._series[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    @property
    def epochs(self) -> int:
        """The number of whole epochs."""
        return len(self.seconds)

    def record(self, logs: Mapping[str, float], seconds: float, lr: float) -> None:
        """Adds an epoch."""
        for name, value in logs.items():
            series = self._series.setdefault(name, [math.nan] * self.epochs)
            series.append(float(value))
        self.seconds.append(seconds)
        self.lr.append(lr)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        series = {name: np.array(values) for name, values in self._series.items()}
        return {"series": series, "seconds": np.array(self.seconds), "lr": np.array(self.lr)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave. Raises ValueError if the lengths differ."""
        columns = {**state["series"], "": state["seconds"], " ": state["lr"]}
        lists = {name: np.asarray(values, np.float64).tolist() for name, values in columns.items()}
        if len({len(values) for values in lists.values()}) != 1:
            raise ValueError(f"History: series of different lengths, {[len(v) for v in lists.values()]}")
        self.seconds, self.lr = lists.pop(""), lists.pop(" ")
        self._series = lists

    def plot(self, names: Iterable[str] | None = None, **options: Any) -> Any:
        """Draws the named series (default: the losses) over the epochs; returns matplotlib's figure."""
        from .plots import learning_curves

        chosen = [n for n in self if n.endswith("loss")] if names is None else list(names)
        return learning_curves({n: self[n] for n in chosen}, **options)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={series[-1]:.4g}" for name, series in self.items() if series)
        return f"History({self.epochs} epochs{', interrupted' if self.interrupted else ''}{'; ' if last else ''}{last})"


class BaseTrainer:
    """What Trainer and AdversarialTrainer are made from: they say what is trained, and what an epoch does.

    Attributes:
        model: The module that callbacks see.
        history: Of the latest fit.
        stopping: A callback sets it to end the training after the epoch.
    """

    model: Module
    _on_nan: tuple[str, ...] = ("raise", "warn", "ignore")

    def __init__(self) -> None:
        self.history = History()
        self.stopping = False

    def _parts(self) -> dict[str, Module | Optimizer]:
        """What a checkpoint holds the state of; the step size of the first optimiser is the history's."""
        raise NotImplementedError

    def _columns(self) -> int:
        """How many numbers a checkpoint holds of each batch."""
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        """What must be the same in a training that goes on from a checkpoint."""
        raise NotImplementedError

    def _session(
        self,
        epochs: int,
        on_nan: str,
        seed: int | None,
        generator: random.Generator | None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None,
        resume: bool | str | os.PathLike[str],
    ) -> Session:
        """The first thing that fit does: it checks what every fit takes, and sets the generators."""
        if on_nan not in self._on_nan:
            *others, last = map(repr, self._on_nan)
            raise ValueError(f"fit: on_nan must be {', '.join(others)} or {last}, got {on_nan!r}")
        if integer("fit", "epochs", epochs) < 0:
            raise ValueError(f"fit: epochs must be at least 0, got {epochs}")
        session = Session(self, checkpoint, resume, generator)
        if seed is not None and not session.resumes:
            random.manual_seed(seed)
        session.begin()
        return session

    def _run(
        self: Any,
        session: Session,
        feed: Batches,
        epochs: int,
        listeners: list[Callback],
        progress: bool | None,
        pass_through: Callable[[int, list[int], Any], dict[str, float] | None],
    ) -> History:
        """The epochs.

        ``pass_through`` (epoch, interrupt, bar) goes once through the data, or through what is left of it, and gives
        the epoch's entries of the history; None if it was interrupted before its last step.
        """
        session.attach(feed, listeners)
        self.history, self.stopping = History(), False
        with (
            modes_kept(self.model),
            soft_interrupt(session.writes) as interrupt,
            _progress(progress, epochs, len(feed), session.steps) as bar,
        ):
            self.model.train()
            for c in listeners:
                c.on_train_begin(self)
            try:
                session.start(interrupt)
                for epoch in session.epochs(epochs):
                    for c in listeners:
                        c.on_epoch_begin(self, epoch)
                    bar.epoch(epoch)
                    session.enter()
                    logs = pass_through(epoch, interrupt, bar)
                    if logs is None:
                        self.history.interrupted = True
                        break
                    for c in listeners:
                        c.on_epoch_end(self, epoch, logs)
                    self.history.record(logs, session.seconds(), session.lr)
                    bar.done(logs)
                    self.history.interrupted = bool(interrupt)
                    last = bool(self.stopping or interrupt or epoch == epochs - 1)
                    session.leave(last)
                    if last:
                        break
            except NonFiniteLoss as error:
                error.history = self.history
                raise
            finally:
                for c in listeners:
                    c.on_train_end(self)
        return self.history


class _AtEpochEnd(Callback):
    def __init__(self, function: Callable[[Any, int, dict[str, float]], Any]) -> None:
        if not callable(function):
            raise TypeError(f"fit: a callback must be a Callback or a function, got {type(function).__name__}")
        self._function = function

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        self._function(trainer, epoch, logs)


def as_callbacks(given: Iterable[Callback | Callable[[Any, int, dict[str, float]], Any]]) -> list[Callback]:
    """Callbacks, and functions that are called at the end of each epoch."""
    return [c if isinstance(c, Callback) else _AtEpochEnd(c) for c in given]


def float_type(model: Module) -> np.dtype[Any]:
    """The type of the model's first parameter of floats; float32 if it has none."""
    return next((p.dtype for p in model.parameters() if p.dtype.kind == "f"), np.dtype(np.float32))


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Gives every module its training flag back: a layer that was set to eval() on purpose stays so."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training
