"""Checkpoints of a training: everything that the next step depends on, so that a resumed training has the same bits."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import random
from ._files import write_whole
from .autodiff import no_grad
from .callbacks import Callback, EarlyStopping
from .nn.module import Module
from .optim.optimizer import Optimizer
from .persistence import FormatError, from_bytes, load, to_bytes
from .tensor import Tensor

if TYPE_CHECKING:
    from ._fitting import BaseTrainer
    from .data.batches import Batches

__all__ = ["Checkpoint"]

_VERSION = 1
_KIND = "pyneural training"


class Checkpoint:
    """Where and how often :meth:`pyneural.Trainer.fit` writes the state of the training.

    Args:
        path: A file; it always holds the last checkpoint, whole.
        every: Seconds between two of them. There is one more before the first step, after the last one, and on Ctrl-C
            and SIGTERM.

    Raises:
        ValueError: every is negative.
    """

    def __init__(self, path: str | os.PathLike[str], every: float = 60.0) -> None:
        if not every >= 0:
            raise ValueError(f"Checkpoint: every must be a number of seconds, at least 0, got {every}")
        self.path = os.fspath(path)
        self.every = every

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, every={self.every})"


class Session:
    """One call of fit: where it stands, what its checkpoints hold, and how it is put where a checkpoint stood.

    Attributes:
        done: How many batches of the epoch are done.
        values: float64 (batches, columns): loss and other numbers of the epoch's batches; the first ``done`` count.
        order: The rows in the order of this epoch, int64.
        lr: The step size at the beginning of the epoch.
    """

    def __init__(
        self,
        trainer: BaseTrainer,
        checkpoint: Checkpoint | str | os.PathLike[str] | None,
        resume: bool | str | os.PathLike[str],
        generator: random.Generator | None,
    ) -> None:
        if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
            checkpoint = Checkpoint(checkpoint)
        if resume is True and checkpoint is None:
            raise ValueError("fit: resume=True goes on from the file of checkpoint=, which is not given; give it, or "
                             "the file itself as resume")  # fmt: skip
        self._trainer, self._checkpoint = trainer, checkpoint
        if resume is True and checkpoint is not None:
            resume = checkpoint.path if os.path.exists(checkpoint.path) else False
        self._from = "" if isinstance(resume, bool) else os.fspath(resume)
        self._saved = _read(self._from) if self._from else None
        self._parts = trainer._parts()
        self._modules = {name: part for name, part in self._parts.items() if isinstance(part, Module)}
        self._optimizers = {name: part for name, part in self._parts.items() if isinstance(part, Optimizer)}
        held = [v for part in self._modules.values() for m in part.modules() for v in vars(m).values()]
        found = [random.generator_or_default(None), generator, *held]
        # Each once, however many layers share it.
        self._generators = list({id(g): g for g in found if isinstance(g, random.Generator)}.values())
        self._listeners: list[Callback] = []
        self._interrupt: list[int] = []
        self._epoch = self.done = 0
        self._seconds = self.lr = 0.0
        self.values = np.zeros((0, 1))
        self.order = np.zeros(0, np.int64)

    # ---- the course of a fit ----

    @property
    def writes(self) -> bool:
        """Whether checkpoints are written."""
        return self._checkpoint is not None

    @property
    def resumes(self) -> bool:
        """Whether it goes on from a checkpoint."""
        return self._saved is not None

    @property
    def steps(self) -> int:
        """How many steps were taken, from the first epoch on."""
        return self._epoch * len(self._feed) + self.done

    def begin(self) -> None:
        """Before anything is drawn: puts the generators where they were then in the training that is resumed."""
        before = self._positions()
        if self._saved is not None:
            try:
                self._wind(self._saved["random"]["began"])
            except (ValueError, TypeError, KeyError) as error:
                self._wind(before)
                raise self._misfit(error) from error
        self._before, self._began = before, self._positions()

    def attach(self, feed: Batches, listeners: list[Callback]) -> None:
        """Takes what is trained on; puts everything where the checkpoint stood, or raises with nothing changed."""
        self._feed, self._listeners = feed, listeners
        self.values = np.zeros((len(feed), self._trainer._columns()))
        if self._checkpoint is None and self._saved is None:
            return
        self._facts = {
            "rows": len(feed.x),
            "batch_size": feed.batch_size,
            "shuffle": bool(feed.shuffle),
            **self._trainer._settings(),
            "contents": [_fingerprint(part) for part in (feed.x, feed.y) if part is not None],
        }
        if self._saved is None:
            return
        current = from_bytes(to_bytes(self._state()))
        try:
            self._check(self._saved)
            self._apply(self._saved)
        except Exception as error:
            self._apply(current)
            self._wind(self._before)
            if isinstance(error, (ValueError, TypeError, KeyError, IndexError, AttributeError)):
                raise self._misfit(error) from error
            raise
        saved = self._saved
        self._epoch, self.done, self.lr, self._seconds = (
            saved["epoch"],
            len(saved["values"]),
            saved["lr"],
            saved["seconds"],
        )
        self.values[: self.done] = saved["values"]
        self._order_from = saved["random"]["order"]

    def start(self, interrupt: list[int]) -> None:
        """Once the callbacks have begun; interrupt is filled by a signal."""
        self._interrupt, self._since = interrupt, time.perf_counter()
        if self._saved is not None:
            self._apply(self._saved)
            self._trainer.stopping = self._saved["stopping"]
            self._trainer.history.load_state_dict(self._saved["history"])
            self._trainer.history.steps = self.steps
        if self._checkpoint is not None:
            self._write()  # before the first step: whether it can be written shows at once

    def epochs(self, count: int) -> Iterator[int]:
        """The numbers of the epochs that are still to be done, from 0 on."""
        over = self._trainer.stopping and not self.done
        return iter(range(self._epoch, 0 if over else count))

    def enter(self) -> None:
        """At the beginning of an epoch, or where the checkpoint stood in it: draws its order."""
        saved, self._saved = self._saved, None
        if self.done and saved is not None:
            # What the callbacks have just done, at the beginning of the epoch, the checkpoint holds already.
            self._apply(saved)
            self._wind(saved["random"]["order"])
        else:
            saved = None
            self.lr = next(iter(self._optimizers.values())).param_groups[0]["lr"]
            self.values = np.zeros((len(self._feed), self._trainer._columns()))
        self._order_from = self._positions()
        self.order = self._feed.order()
        if saved is not None:
            self._wind(saved["random"]["now"])
        self._since = time.perf_counter()

    def note(self, first: int, values: np.ndarray) -> None:
        """Takes what steps gave, (steps, columns) or (steps,), from batch number ``first`` of the epoch on."""
        if len(values):
            self.done = first + len(values)
            self.values[first : self.done] = values.reshape(len(values), -1)
            self._trainer.history.steps = self.steps

    def save_if_due(self) -> None:
        """Between two steps: writes a checkpoint if it is time, or the training is about to be ended."""
        if self._checkpoint is not None and (self._interrupt or time.monotonic() >= self._due):
            self._write()

    def seconds(self) -> float:
        """How long this epoch has taken, before an interruption and after it."""
        return self._seconds + time.perf_counter() - self._since

    def leave(self, last: bool) -> None:
        """After an epoch is over and recorded; last: no other follows."""
        self._epoch, self.done, self._seconds = self._epoch + 1, 0, 0.0
        if last and self._checkpoint is not None:
            self._write()
        else:
            self.save_if_due()

    # ---- what a checkpoint holds ----

    def _state(self) -> dict[str, Any]:
        from .environment import version

        t, now = self._trainer, self._positions()
        return {
            "kind": _KIND,
            "version": _VERSION,
            "pyneural": version(),
            **{name: part.state_dict() for name, part in self._modules.items()},
            "transient": self._transient(),
            **{name: {"kind": type(o).__name__, **o.state_dict()} for name, o in self._optimizers.items()},
            "callbacks": [[type(c).__name__, c.state_dict()] for c in self._stateful()],
            "random": {"began": self._began, "order": self._order_from if self.done else now, "now": now},
            "data": self._facts,
            "epoch": self._epoch,
            "values": self.values[: self.done],
            "lr": float(self.lr),
            "seconds": self.seconds() if self.done else 0.0,
            "history": t.history.state_dict(),
            "stopping": bool(t.stopping),
        }

    def _write(self) -> None:
        assert self._checkpoint is not None
        write_whole(self._checkpoint.path, to_bytes(self._state()))
        self._due = time.monotonic() + self._checkpoint.every

    def _apply(self, saved: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(saved[name])
        with no_grad():
            for name, buffer in self._transient().items():
                buffer.copy_(saved["transient"][name])
        for listener, (_, state) in zip(self._stateful(), saved["callbacks"], strict=True):
            listener.load_state_dict(state)
        self._wind(saved["random"]["now"])

    def _check(self, saved: dict[str, Any]) -> None:
        """Raises ValueError unless the checkpoint is of this model, optimiser, data and callbacks."""
        ours, first = self._state(), next(iter(self._modules))
        for name in self._modules:
            _same_tensors(f"the {name}", ours[name], saved[name])
        _same_tensors("buffers", ours["transient"], saved["transient"])
        for name, mine in ours["data"].items():
            if saved["data"][name] != mine:
                what = f"{saved['data'][name]}, here it is {mine}" if name != "contents" else "other data, which differ"
                raise ValueError(f"{name.replace('_', ' ')} was {what}. To train on from its weights alone, load them: "
                                 f"{first}.load_state_dict(pn.load(file)[{first!r}])")  # fmt: skip
        for what, mine, theirs in (
            *((name.replace("_", " "), ours[name]["kind"], saved[name]["kind"]) for name in self._optimizers),
            ("callbacks with a state", [n for n, _ in ours["callbacks"]], [n for n, _ in saved["callbacks"]]),
        ):
            if mine != theirs:
                raise ValueError(f"its {what}: {theirs}; here: {mine}")
        for listener, (_, state) in zip(self._stateful(), saved["callbacks"], strict=True):
            if isinstance(listener, EarlyStopping) and isinstance(state.get("weights"), dict):
                _same_tensors("the weights of the best epoch", self._trainer.model.state_dict(), state["weights"])
        values, count = saved["values"], self._trainer._columns()
        whole = type(saved["epoch"]) is int and saved["epoch"] >= 0 and type(saved["stopping"]) is bool
        whole = whole and type(saved["lr"]) is float and type(saved["seconds"]) is float
        if not whole or values.dtype != np.float64 or values.shape[1:] != (count,) or len(values) > len(self._feed):
            raise ValueError("its position in the training makes no sense")
        type(self._trainer.history)().load_state_dict(saved["history"])
        self._wind(saved["random"]["order"])

    def _transient(self) -> dict[str, Tensor]:
        """The buffers that stay out of the modules' state dicts."""
        found: dict[str, Tensor] = {}
        for part, module in self._modules.items():
            persistent = module.state_dict()
            found |= {f"{part}.{n}": b.detach() for n, b in module.named_buffers() if n not in persistent}
        return found

    def _stateful(self) -> list[Callback]:
        return [c for c in self._listeners if c.state_dict()]

    def _positions(self) -> list[Tensor]:
        return [g.get_state() for g in self._generators]

    def _wind(self, positions: list[Tensor]) -> None:
        if len(positions) != len(self._generators):
            raise ValueError(f"it has {len(positions)} random generators, this training {len(self._generators)}")
        for generator, position in zip(self._generators, positions, strict=True):
            generator.set_state(position)

    def _misfit(self, error: Exception) -> ValueError:
        text = f"it lacks {error}" if isinstance(error, KeyError) else error
        return ValueError(f"fit: the checkpoint {self._from} does not fit this training: {text}")


def _read(path: str) -> dict[str, Any]:
    saved = load(path)
    if not isinstance(saved, dict) or saved.get("kind") != _KIND or type(saved.get("version")) is not int:
        raise FormatError(f"fit: {path} is not a checkpoint of a training")
    if saved["version"] > _VERSION:
        raise FormatError(f"fit: {path} is a checkpoint of a newer pyneural ({saved.get('pyneural')}), in version "
                          f"{saved['version']}; this one reads up to {_VERSION}")  # fmt: skip
    return saved


def _same_tensors(what: str, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    problems = [f"{name!r} is missing" for name in ours if name not in theirs]
    problems += [f"{name!r} is unexpected" for name in theirs if name not in ours]
    for name, tensor in ours.items():
        other = theirs.get(name)
        if other is not None and (other.shape, other.dtype) != (tensor.shape, tensor.dtype):
            problems.append(f"{name!r} is {other.dtype} {other.shape}, here {tensor.dtype} {tensor.shape}")
    if problems:
        raise ValueError(f"{what}: " + "; ".join(problems[:5]) + (" ..." if len(problems) > 5 else ""))


def _fingerprint(array: np.ndarray) -> list[Any]:
    """dtype, shape and CRC-32 of an array: whether a training goes on with the data that it began with."""
    content: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return [array.dtype.str, list(array.shape), zlib.crc32(content)]
