"""Trainer: the training loop for everyone who does not want to write one."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from . import random
from ._fitting import BaseTrainer, History, as_callbacks, float_type, modes_kept
from ._nonfinite import NonFiniteLoss, explain
from .autodiff import no_grad
from .callbacks import Callback, EarlyStopping, Schedule
from .checkpoints import Checkpoint, Session
from .compiling import CaptureError, Compiled
from .data.batches import Batches, batches, train_validation_split
from .data.datasets import Dataset
from .nn.module import Module
from .ops.losses import require_finite
from .optim.optimizer import Optimizer
from .tensor import Tensor, as_tensor

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "NonFiniteLoss",
    "Schedule",
    "Trainer",
    "accuracy",
    "recordable",
]

M = TypeVar("M", bound=Callable[..., Any])


def recordable(metric: M) -> M:
    """Declares that a metric is made of tensor operations alone and reads no value, so that a Trainer may record it."""
    metric.recordable = True  # type: ignore[attr-defined]
    return metric


@recordable
def accuracy(output: Any, target: Any) -> Tensor:
    """The share of rows whose largest output (along dimension 1) is the target class; a float64 tensor of one element.

    A target of the output's shape counts as class probabilities. A single output per row is a logit: class 1 above 0.
    """
    guess, truth = as_tensor(output).detach(), as_tensor(target)
    if guess.ndim < 2 or guess.shape[1] == 1:
        right = (guess.reshape(-1) > 0) == (truth.reshape(-1) > 0.5)
    elif truth.shape == guess.shape:
        right = guess.argmax(1) == truth.argmax(1)
    else:
        right = guess.argmax(1) == truth
    return right.to(np.float64).mean()


_METRICS: dict[str, Callable[[Tensor, Tensor], Any]] = {"accuracy": accuracy}


class Trainer(BaseTrainer):
    """Trains a model on arrays in memory.

    Args:
        model: Called with a batch of ``x``.
        loss: Called with the model's output and the targets; gives a tensor of one element, the mean over the batch.
        optimizer: Of the model's parameters.
        metrics: None, or name -> function(output, target) giving a batch's mean. A list of strings names known
            ones ("accuracy"), which may also stand as values of the dict. A function of your own keeps the step from
            being recorded, unless it is declared :func:`pyneural.training.recordable`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A metric's name is unknown, or the optimiser holds none of the model's parameters.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        metrics: Mapping[str, str | Callable[[Any, Any], Any]] | Sequence[str] | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be a Module, got {type(model).__name__}")
        if not callable(loss) or isinstance(loss, type):
            what = f"the class {loss.__name__}; make one: {loss.__name__}()" if isinstance(loss, type) else repr(loss)
            raise TypeError(f"Trainer: loss must be a function of (output, target), got {what}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: optimizer must be an Optimizer, got {type(optimizer).__name__}")
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in held for p in model.parameters()):
            raise ValueError("Trainer: the optimizer holds none of the model's parameters; make it from this model")
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = _named_metrics(metrics)
        self._warned = False
        # Functions of the user's may look at values, which a recorded step must not.
        self._inside = all(getattr(m, "recordable", False) for m in self.metrics.values())
        self._steps: dict[tuple[str, str], Compiled] = {}

    # ---- training ----

    def fit(
        self,
        x: Any,
        y: Any = None,
        epochs: int = 10,
        batch_size: int = 64,
        *,
        validation: Any = None,
        callbacks: Iterable[Callback | Callable[[Trainer, int, dict[str, float]], Any]] = (),
        shuffle: bool = True,
        seed: int | None = None,
        generator: random.Generator | None = None,
        progress: bool | None = None,
        on_nan: str = "raise",
        scale: Any = "unit",
        compile: bool = True,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        resume: bool | str | os.PathLike[str] = False,
    ) -> History:
        """Trains for a number of epochs.

        Args:
            x: Array (N, ...), tensor, or :class:`pyneural.data.Dataset`, which brings its labels. Bytes stay bytes and
                become float32 in [0, 1] per batch; floats are converted to the model's dtype per batch.
            y: Targets, (N, ...); without them the target of each batch is the batch itself (an autoencoder). Integers
                are class numbers, int64.
            epochs: How often to go through the data.
            batch_size: Rows per step; the last step of an epoch takes what is left.
            validation: (x, y), x alone for an autoencoder, a Dataset, or the share of rows to set apart.
            callbacks: Of :class:`Callback`, or functions (trainer, epoch, logs), called at the end of each epoch.
            shuffle: A new order in each epoch.
            seed: Seeds pyneural's default generator, from which orders and dropout masks are drawn. The same seed, data
                and initial model give the same bits, for any number of threads.
            generator: Where orders are drawn from instead, so that models can be trained at the same time, in several
                Python threads, and each still gets its own orders.
            progress: Draw a progress line; None: if stderr is a terminal.
            on_nan: What to do when the loss is NaN or infinite: "raise" :class:`NonFiniteLoss` before the step is
                taken, "warn" once and go on, or "ignore".
            scale: How x is converted, as for :func:`pyneural.data.batches`.
            compile: Record the step and replay it (:func:`pyneural.compile`), where possible whole epochs at a time:
                the same bits, sooner. A step that cannot be recorded is run eagerly, with a warning that says why.
            checkpoint: A path, or a :class:`Checkpoint`: the state of the training is written there once a minute, and
                on Ctrl-C and SIGTERM, which then ends the process after the current step.
            resume: A checkpoint to go on from, to the bits of a training that was never interrupted; True: that of
                ``checkpoint``, if it is there. Everything else must be given as it was, but ``epochs`` may be larger.

        Returns:
            The history of this call, also in ``trainer.history``. Ctrl-C ends the training after the current step and
            returns as well, with ``history.interrupted`` set; a second Ctrl-C raises KeyboardInterrupt at once.

        Raises:
            ValueError: The data do not fit each other, or an argument is out of range.
            NonFiniteLoss: See ``on_nan``; the model is as it was before the step.
            FormatError: The checkpoint is damaged, of a newer version, or something else.
            ValueError: The checkpoint is of another model, optimiser or data; nothing has been changed.
        """
        session = self._session(epochs, on_nan, seed, generator, checkpoint, resume)
        x, y, held_out = _split(x, y, validation, generator)
        feed = batches(x, y, batch_size, shuffle=shuffle, generator=generator, scale=scale, tensors=False)
        check = None if held_out is None else batches(*held_out, batch_size, shuffle=False, scale=scale, tensors=False)
        listeners = as_callbacks(callbacks)
        self._warned = False

        def pass_through(epoch: int, interrupt: list[int], bar: Any) -> dict[str, float] | None:
            logs = self._epoch(feed, session, epoch, listeners, interrupt, bar, on_nan, compile)
            if logs is not None and check is not None:
                logs.update({f"val_{k}": v for k, v in self._measure(check, compile).items()})
            return logs

        return self._run(session, feed, epochs, listeners, progress, pass_through)

    def _parts(self) -> dict[str, Module | Optimizer]:
        return {"model": self.model, "optimizer": self.optimizer}

    def _columns(self) -> int:
        return 1 + len(self.metrics)

    def _settings(self) -> dict[str, Any]:
        return {"metrics": list(self.metrics)}

    def _epoch(
        self,
        feed: Batches,
        session: Session,
        epoch: int,
        listeners: list[Callback],
        interrupt: list[int],
        bar: Any,
        on_nan: str,
        compile: bool,
    ) -> dict[str, float] | None:
        """One pass through the data, or what is left of it; None if it was interrupted before its last step."""
        dtype = float_type(self.model)
        heard = any(type(c).on_batch_end is not Callback.on_batch_end for c in listeners)
        # "warn" looks at the model before the step that goes wrong, which a replay has then taken already.
        if compile and on_nan != "warn" and not heard and self._inside and feed.tables(dtype) is not None:
            first = session.done
            try:
                return self._replayed_epoch(feed, session, epoch, interrupt, bar, on_nan, dtype)
            except CaptureError as error:
                self._inside = False
                session.note(first, error.values)  # steps that were recorded before it turned out that they differ
                warnings.warn(
                    f"Trainer: the step is run eagerly, for it cannot be recorded: {error}",
                    RuntimeWarning,
                    stacklevel=5,
                )
        for batch in feed.from_order(session.order, session.done):
            x, target = _tensors(batch, dtype)
            output, loss = self._step(x, target, epoch, on_nan)
            measured = [loss, *(float(metric(output, target)) for metric in self.metrics.values())]
            for c in listeners:
                c.on_batch_end(self, session.steps, loss)
            session.note(session.done, np.array([measured]))
            bar.batch(loss)
            session.save_if_due()
            if interrupt and session.done < len(feed):
                return None
        return self._means(feed, session.values)

    def _replayed_epoch(
        self,
        feed: Batches,
        session: Session,
        epoch: int,
        interrupt: list[int],
        bar: Any,
        on_nan: str,
        dtype: np.dtype[Any],
    ) -> dict[str, float] | None:
        """The same in C++ from batch to batch."""
        step = self._compiled("train", on_nan)
        arrays, tables = feed.tables(dtype)  # type: ignore[misc]
        size, first = feed.batch_size, session.done

        def listen(done: int, values: np.ndarray) -> None:
            for loss in values[session.done - first : done, 0]:
                bar.batch(loss)
            session.note(first, values[:done])
            session.save_if_due()
            if interrupt and session.done < len(feed):
                raise _Interrupted

        try:
            step.epoch(
                *arrays,
                batch_size=size,
                order=session.order[first * size : feed.rows],
                tables=tables,
                on_progress=listen,
            )
        except _Interrupted:
            return None
        except FloatingPointError:
            number = session.done + step.since
            self.history.steps = session.steps + step.since
            x, target = _tensors(feed.gather(session.order[number * size : (number + 1) * size]), dtype)
            with random.preserved():
                value = self._scalar(self.loss(self.model(x), target))
            self._not_finite(value, x, target, epoch, on_nan)
            raise
        return self._means(feed, session.values)

    def _means(self, feed: Batches, values: np.ndarray) -> dict[str, float]:
        """Means over the rows from the values of the batches, (batches, 1 + metrics) or (batches,)."""
        values = values.reshape(len(feed), -1)
        sizes = [feed.batch_size] * (len(feed) - 1) + [feed.rows - feed.batch_size * (len(feed) - 1)]
        means = {}
        for name, column in zip(("loss", *self.metrics), values.T, strict=True):
            total = 0.0
            for value, n in zip(column.tolist(), sizes, strict=True):
                total += value * n
            means[name] = total / feed.rows
        return means

    def _compiled(self, kind: str, on_nan: str) -> Compiled:
        """The recorded training or measuring step; kept, so that a later fit finds its programs again."""
        found = self._steps.get((kind, on_nan))
        if found is None:

            def train(x: Tensor, target: Tensor | None = None) -> tuple[Tensor, ...]:
                target = x if target is None else target
                self.optimizer.zero_grad()
                output = self.model(x)
                loss = self._one_element(self.loss(output, target))
                if on_nan == "raise":
                    require_finite(loss)
                measured = [metric(output, target) for metric in self.metrics.values()]
                loss.backward()
                self.optimizer.step()
                return (loss, *measured)

            def measure(x: Tensor, target: Tensor | None = None) -> tuple[Tensor, ...]:
                target = x if target is None else target
                output = self.model(x)
                loss = self._one_element(self.loss(output, target))
                return (loss, *[metric(output, target) for metric in self.metrics.values()])

            found = self._steps[kind, on_nan] = Compiled(train if kind == "train" else measure, {})
        return found

    def _step(self, x: Tensor, target: Tensor, epoch: int, on_nan: str) -> tuple[Any, float]:
        """Forward, loss, backward, update: the batch's output and loss."""
        self.optimizer.zero_grad()
        output = self.model(x)
        loss = self.loss(output, target)
        value = self._scalar(loss)
        if on_nan != "ignore" and not math.isfinite(value):
            self._not_finite(value, x, target, epoch, on_nan)
        loss.backward()
        self.optimizer.step()
        return output, value

    @staticmethod
    def _one_element(loss: Any) -> Tensor:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"shape {loss.shape}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ValueError(f"Trainer: the loss must be a tensor of one element, got {what}; use its mean")
        return loss

    def _scalar(self, loss: Any) -> float:
        return float(self._one_element(loss).item())

    def _not_finite(self, value: float, x: Tensor, target: Tensor, epoch: int, on_nan: str) -> None:
        if on_nan == "warn" and self._warned:
            return
        step = self.history.steps
        # Dropout draws in the second pass as well; the stream is put back, so that looking changes no bits.
        with random.preserved():
            culprit, sentence = explain(self.model, self.loss, x, target)
        lr = self.optimizer.param_groups[0]["lr"]
        message = (
            f"the loss is {value} in step {step} (epoch {epoch}, counted from 0): {sentence}. Step size {lr:g}; try a "
            "smaller one, scaled inputs, or nn.utils.clip_grad_norm_"
        )
        if on_nan == "raise":
            raise NonFiniteLoss(message, step, epoch, culprit)
        self._warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=7)

    # ---- measuring ----

    def evaluate(self, x: Any, y: Any = None, batch_size: int = 256, *, scale: Any = "unit") -> dict[str, float]:
        """Loss and metrics in evaluation mode, as means over the rows; arguments as for :meth:`fit`."""
        return self._measure(batches(x, y, batch_size, shuffle=False, scale=scale, tensors=False))

    def _measure(self, feed: Batches, compile: bool = False) -> dict[str, float]:
        dtype = float_type(self.model)
        if compile and self._inside and feed.tables(dtype) is not None:
            arrays, tables = feed.tables(dtype)  # type: ignore[misc]
            with modes_kept(self.model), no_grad():
                self.model.eval()
                # What a training step can be recorded of, a measuring one can too, unless it does something else in
                # eval mode.
                with suppress(CaptureError):
                    step = self._compiled("measure", "")
                    return self._means(feed, step.epoch(*arrays, batch_size=feed.batch_size, tables=tables))
        rows = 0
        sums = dict.fromkeys(("loss", *self.metrics), 0.0)
        with modes_kept(self.model), no_grad():
            self.model.eval()
            for batch in feed:
                x, target = _tensors(batch, dtype)
                output = self.model(x)
                n = len(x)
                rows += n
                sums["loss"] += self._scalar(self.loss(output, target)) * n
                for name, metric in self.metrics.items():
                    sums[name] += float(metric(output, target)) * n
        return {name: s / rows for name, s in sums.items()}

    def predict(self, x: Any, batch_size: int = 256, *, scale: Any = "unit") -> Any:
        """The model's outputs for all rows of x, in evaluation mode, as a NumPy array (a tuple for several outputs)."""
        if isinstance(x, Dataset):
            x = x.images
        dtype = float_type(self.model)
        parts: list[Any] = []
        with modes_kept(self.model), no_grad():
            self.model.eval()
            for batch in batches(x, None, batch_size, shuffle=False, scale=scale, tensors=False):
                output = self.model(_tensors(batch, dtype)[0])
                parts.append(
                    tuple(map(np.asarray, output)) if isinstance(output, (tuple, list)) else np.asarray(output)
                )
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        return np.concatenate(parts)


class _Interrupted(Exception):
    """Ctrl-C was noticed between two steps of a replayed epoch."""


def _named_metrics(metrics: Any) -> dict[str, Callable[[Any, Any], Any]]:
    if metrics is None:
        return {}
    if isinstance(metrics, str):
        metrics = [metrics]
    pairs = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    for name, metric in pairs.items():
        if isinstance(metric, str):
            if metric not in _METRICS:
                raise ValueError(
                    f"Trainer: unknown metric {metric!r}; known are {', '.join(_METRICS)}, or give a function"
                )
            pairs[name] = _METRICS[metric]
        elif not callable(metric):
            raise TypeError(
                f"Trainer: metric {name!r} must be a function of (output, target), got {type(metric).__name__}"
            )
    return pairs


def _split(
    x: Any, y: Any, validation: Any, generator: random.Generator | None
) -> tuple[Any, Any, tuple[Any, Any] | None]:
    """(x, y, (x, y) for validation or None), as arrays."""
    if isinstance(x, Dataset):
        if y is not None:
            raise ValueError(
                "fit: x is a Dataset, which brings its own labels; leave y out, or pass dataset.images as x"
            )
        x, y = x.images, x.labels
    if validation is None:
        return x, y, None
    if isinstance(validation, Dataset):
        return x, y, (validation.images, validation.labels)
    if isinstance(validation, (float, np.floating)):
        if y is None:
            x, held = train_validation_split(np.asarray(x), None, float(validation), generator=generator)
            return x, None, (held, None)
        share = float(validation)
        x, held, y, held_y = train_validation_split(np.asarray(x), np.asarray(y), share, generator=generator)
        return x, y, (held, held_y)
    if isinstance(validation, (tuple, list)):
        if len(validation) != 2:
            raise ValueError(f"fit: validation must be (x, y), x, a Dataset or a share, got {len(validation)} entries")
        return x, y, (validation[0], validation[1])
    if y is not None:
        raise ValueError("fit: validation has no targets though the training data have; give (x, y)")
    return x, None, (validation, None)


def _tensors(batch: Any, dtype: np.dtype[Any]) -> tuple[Tensor, Tensor]:
    """Input and target of a batch: floats in the model's dtype, bools as its numbers; the input itself if no target."""
    if not isinstance(batch, tuple):
        x = _convert(batch, dtype)
        return x, x
    return _convert(batch[0], dtype), _convert(batch[1], dtype)


def _convert(array: np.ndarray, dtype: np.dtype[Any]) -> Tensor:
    return as_tensor(array.astype(dtype, copy=False) if array.dtype.kind in "fb" else array)
