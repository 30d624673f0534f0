"""Capture and replay: a training step recorded once from ordinary eager code, then replayed in C++ with the same bits.

``pn.compile(step)`` runs the step as it is for its first two calls and records every op. If both recordings are the
same program, later calls with arguments of the same kind replay it without Python. Nothing falls back silently: what
cannot be recorded raises :class:`CaptureError`, which names the line.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _engine
from ._engine import CaptureError
from ._surroundings import watch
from .autodiff import is_grad_enabled
from .nn.module import Module
from .precision import is_autocast_enabled
from .random import generator_or_default
from .tensor import Tensor, from_numpy

#: Recordings of one kind of call that may differ before it is given up; the first ones set up state (optimisers'
#: buffers).
_TRIES = 4
#: Recordings of one kind of call, or of any, without a replay in between, before that is called hopeless.
_FRUITLESS = 12
_KINDS_TRIED = 32
#: Programs for one kind of call (training and evaluation mode, say), and kinds of calls, that are kept.
_KEPT = 4
_KINDS_KEPT = 32
#: A recording that waits for an equal one holds all temporaries of its step; this much memory at most, or one kind.
_WAITING_BYTES = 1 << 28


_always_eager = False


@contextmanager
def eager(wanted: bool = True) -> Iterator[None]:
    """Within the block, in all threads, compiled steps run as ordinary code: to compare, and to look for a mistake."""
    global _always_eager
    before = _always_eager
    _always_eager = wanted or before
    try:
        yield
    finally:
        _always_eager = before


class Compiled:
    """A step that is recorded and replayed; made by :func:`compile`. Threads may share it: their calls take turns.

    Attributes:
        programs: The recorded programs, each with what it was recorded for (``why``), what it relies on (``guards``),
            and how often it was replayed.
        misses: Why calls found no program though there was one for arguments of their kind, in order.
    """

    def __init__(self, step: Callable[..., Any], passes: dict[str, bool]) -> None:
        self.step = step
        self._passes = passes
        self._kinds: dict[Any, _Kind] = {}
        self._lock = threading.RLock()
        self._fruitless = 0  # kinds of calls that were recorded since anything was replayed
        self._warned = False
        self.misses: list[str] = []
        self.since = 0  # steps of epoch() that were whole when one raised, since on_progress was last called

    @property
    def programs(self) -> list[Recording]:
        return [r for kind in self._kinds.values() for r in kind.recordings]

    def explain(self) -> str:
        """What each program does, instruction by instruction: kernel, shapes, bytes, operations, what was fused."""
        from ._listing import explain

        return explain(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        structure = _flatten((args, kwargs), tensors)
        if _always_eager or _engine.observed():
            # Or part of another step that is being recorded, explained or run on references: its ops are that one's.
            args, kwargs = _unflatten(structure, iter(tensors))
            results: list[Tensor] = []
            shape = _flatten(self.step(*args, **kwargs), results, what="the step returns")
            return _unflatten(shape, iter([_handed_out(r) for r in results]))
        key = (structure, _kind(tensors), _mode())
        with self._lock:
            recording = self._find(key)
            if recording is None:
                return self._record(key, tensors)
            return recording.replay(tensors)

    def _find(self, key: Any) -> Recording | None:
        kind = self._kinds.get(key)
        if kind is None:
            return None
        reason = None
        for recording in kind.recordings:
            missed = recording.program.miss()
            if missed is None:
                kind.fruitless = self._fruitless = 0
                return recording
            reason = reason or missed  # the latest program is the first
        if reason is not None:
            kind.reason = reason
            if not self.misses or self.misses[-1] != reason:
                self.misses.append(reason)
                del self.misses[:-100]
        return None

    def _record(self, key: Any, tensors: list[Tensor]) -> Any:
        kind = self._kinds.pop(key, None) or _Kind()
        self._kinds[key] = kind  # the latest kind is the last
        places, modules = watch(self.step)
        capture = _engine.Capture(tensors, places)
        for module in modules:
            capture.note(module, Module._facts)
        # NumPy arrays among the arguments have become tensors; the step is called with those.
        args, kwargs = _unflatten(key[0], iter(tensors))
        capture.enter()
        try:
            result = self.step(*args, **kwargs)
        finally:
            capture.leave()
        results: list[Tensor] = []
        shape = _flatten(result, results, what="the step returns")
        try:
            capture.end(results, shape)
            self._settle(kind, capture, tensors)
        except CaptureError as error:
            kind.candidates.clear()
            error.args = (f"{_where(self.step)}: {error}",)
            error.numbers = [r.item() for r in results if r.numel() == 1]
            raise
        self._keep_few(kind)
        return _unflatten(shape, iter([_handed_out(r) for r in results]))

    def _settle(self, kind: _Kind, capture: Any, tensors: list[Tensor]) -> None:
        """Makes a program if an earlier run has recorded the same; else keeps the recording for a later run."""
        why = ""
        for earlier in reversed(kind.candidates):
            what = earlier.difference(capture)
            if not what:
                kind.candidates.remove(earlier)
                names = [f"{t.dtype}{t.shape}" for t in tensors]
                program = capture.finish(earlier, **self._passes)
                kind.recordings.insert(0, Recording(program, capture.shape, names, kind.reason))
                del kind.recordings[_KEPT:]
                break
            why = why or what
        else:
            kind.candidates.append(capture)
            if len(kind.candidates) >= _TRIES:
                raise CaptureError(
                    f"{_TRIES} runs of the step recorded different programs, so none can be replayed. The last two "
                    f"differ: {why}. Pass what changes as an argument, keep it in a tensor, or leave this step "
                    "uncompiled"
                )
        kind.fruitless += 1
        if kind.fruitless >= _FRUITLESS:
            kind.fruitless = 0
            raise CaptureError(
                f"the step was recorded {_FRUITLESS} times without one replay, because something that it relies on "
                f"changes with every call: {kind.reason}. Pass it as an argument, keep it in a tensor that is changed "
                "in place, or leave this step uncompiled"
            )

    def _keep_few(self, kind: _Kind) -> None:
        self._fruitless += len(kind.candidates) == 1 and not kind.recordings
        if self._fruitless >= _KINDS_TRIED and not self._warned:
            self._warned = True
            warnings.warn(
                f"{_where(self.step)}: {self._fruitless} calls in a row had arguments of a kind that was not seen "
                "before (shape, dtype, strides, or a Python number), so all of them were run eagerly. Pass numbers "
                "that change as 0-d tensors, pad batches to few shapes, or leave this step uncompiled",
                RuntimeWarning,
                stacklevel=4,
            )
        for k in list(self._kinds)[:-_KINDS_KEPT]:
            del self._kinds[k]
        held = 0
        for k in reversed(self._kinds.values()):
            held += sum(c.bytes() for c in k.candidates)
            if held > _WAITING_BYTES and k is not kind:
                k.candidates.clear()

    def epoch(
        self,
        *data: Any,
        batch_size: int,
        order: Any = None,
        tables: Sequence[Any] | None = None,
        on_progress: Callable[[int, np.ndarray], Any] | None = None,
    ) -> np.ndarray:
        """Calls the step on every batch of some data, in C++ from batch to batch, and returns what the steps returned.

        Batch k holds the rows ``order[k * batch_size : (k + 1) * batch_size]`` of each array; the last one holds what
        is left. Rows are gathered just before their step; integers become int64 on the way.

        Args:
            *data: For each argument of the step an array or tensor (N, ...) in row-major order.
            batch_size: Rows per step.
            order: int64 row numbers, any number of them; None: every row as it lies.
            tables: For each argument None, or an array of 256 numbers that bytes are replaced with (their scaling).
            on_progress: Called with the number of batches done and the values so far, between steps, at most every
                50 ms. It may raise: the step before it is whole.

        Returns:
            float64 (batches,) if the step returns one number, else (batches, numbers).

        Raises:
            ValueError: The arrays do not fit each other, or a row number is out of range.
            CaptureError: The step cannot be recorded, or returns something other than single numbers.
        """
        if _engine.capturing() is not None:
            raise CaptureError("epoch() cannot be called in a step that is being recorded; call the step itself")
        with self._lock:
            return self._epoch(data, batch_size, order, tables, on_progress)

    def _epoch(
        self, data: tuple, batch_size: int, order: Any, tables: Sequence[Any] | None, on_progress: Callable | None
    ) -> np.ndarray:
        sources = [_contiguous(d) for d in data]
        if not sources or any(s.ndim == 0 or len(s) != len(sources[0]) for s in sources):
            raise ValueError(
                f"epoch: needs arrays with the same number of rows, got shapes {[s.shape for s in sources]}"
            )
        if batch_size < 1:
            raise ValueError(f"epoch: batch_size is {batch_size}, at least 1 is wanted")
        n = len(sources[0])
        rows = np.arange(n) if order is None else np.ascontiguousarray(order, np.int64)
        if rows.ndim != 1 or (rows.size and not 0 <= rows.min() <= rows.max() < n):
            raise ValueError(f"epoch: order must be a vector of row numbers from 0 to {n - 1}")
        lookups = [None if t is None else from_numpy(np.ascontiguousarray(t)) for t in tables or [None] * len(sources)]
        if len(lookups) != len(sources):
            raise ValueError(f"epoch: tables has {len(lookups)} entries for {len(sources)} arguments")
        for i, (s, t) in enumerate(zip(sources, lookups, strict=True)):
            if t is not None and (s.dtype.itemsize != 1 or t.shape != (256,) or t.dtype.kind != "f"):
                raise ValueError(
                    f"epoch: tables[{i}] is {t.dtype} of shape {t.shape} for {s.dtype} data; a table holds 256 floats, "
                    "one for each value of a byte"
                )
        full, count = len(rows) // batch_size, -(-len(rows) // batch_size)
        values = np.zeros((count, 0))
        done = self.since = 0
        while done < count:
            part = rows[done * batch_size : (done + 1) * batch_size]
            recording = None
            if done < full and not _always_eager and not _engine.observed():
                recording = self._find(self._key_of_rows(sources, lookups, batch_size))
            if recording is not None and not recording.program.single and recording.program.values() >= 0:
                if values.shape[1] == 0:
                    values = np.zeros((count, recording.program.values()))
                before = done
                try:
                    done = recording.program.run_rows(sources, lookups, rows, batch_size, done, full, values, 0.05)
                finally:
                    self.since = recording.program.reached - before
                    recording.replays += self.since
                self.since = 0
            else:
                refused = None
                try:
                    result = self(*[_engine.rows_of(s, t, part) for s, t in zip(sources, lookups, strict=True)])
                    numbers = _numbers(result)
                except CaptureError as error:
                    refused, numbers = error, error.numbers
                if numbers:
                    values = values if values.shape[1] else np.zeros((count, len(numbers)))
                    values[done] = numbers
                    done += 1
                if refused is not None:
                    refused.values = values[:done]
                    raise refused
            if on_progress is not None:
                on_progress(done, values[:done])
        return values[:, 0] if values.shape[1] == 1 else values

    def _key_of_rows(self, sources: list, lookups: list, batch_size: int) -> Any:
        """The key that a call with gathered batches has, without gathering one."""
        kinds = []
        for s, t in zip(sources, lookups, strict=True):
            shape = (batch_size, *s.shape[1:])
            dtype = t.dtype if t is not None else (np.int64 if s.dtype.kind in "iu" else s.dtype)
            kinds.append((shape, _engine.dtype_code(dtype), _dense_strides(shape), None, 0))
        structure = (tuple, ((tuple, (_LEAF,) * len(kinds)), (dict, ())))
        return structure, tuple(kinds), _mode()

    def __repr__(self) -> str:
        return f"<compiled {_where(self.step)}: {len(self.programs)} programs>"


class _Kind:
    """What is known about calls with arguments of one kind."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []  # latest first
        self.candidates: list[Any] = []  # captures that wait for a second one that is equal
        self.fruitless = 0
        self.reason = "a call with arguments of a new kind"


class Recording:
    """One program and how its results are put together.

    Attributes:
        why: Why it was recorded: the first call of its kind, or what had changed.
        arguments: dtype and shape of each tensor that it is called with.
        replays: How often it was replayed.
    """

    def __init__(self, program: Any, shape: Any, arguments: list[str], why: str) -> None:
        self.program, self.shape, self.arguments, self.why = program, shape, arguments, why
        self.replays = 0

    def replay(self, tensors: list[Tensor]) -> Any:
        results = self.program.run(tensors)
        self.replays += 1
        return _unflatten(self.shape, iter(results))

    @property
    def guards(self) -> list[str]:
        """What is checked before each replay, in words."""
        return self.program.guards()

    def __repr__(self) -> str:
        captured, arena = self.program.bytes()
        return (f"<program for ({', '.join(self.arguments)}): {self.program.calls()} calls in {self.program.steps()} "
                f"steps, {arena:,} bytes of temporaries ({captured:,} when captured), {self.replays} "
                f"replays; recorded for: {self.why}>")  # fmt: skip


def compile(
    step: Callable[..., Any] | None = None, *, drop_unread: bool = True, fuse: bool = True, share_memory: bool = True,
    block: bool = True,
) -> Any:  # fmt: skip
    """A function that does what ``step`` does, recorded once and then replayed in C++ with the same bits.

    Also a decorator. The step is ordinary code: forward, loss, ``backward()``, ``optimizer.step()``. Its arguments are
    tensors, arrays, numbers and nested containers of them; so are its results. The first two calls for arguments of one
    kind (shapes, dtypes, strides, numbers) run eagerly and are recorded, later ones replay.

    Read anew at every replay: parameters, the optimiser's state, step size, decay and step count, random streams.
    Checked at every call, and recorded anew if changed: which parameters there are and which are frozen, each module's
    mode and numbers, the optimiser's groups, the kind of arguments.

    Args:
        step: The function.
        drop_unread, fuse, share_memory, block: Optimisations, to switch off in tests; none changes a bit of the
            results. The last one keeps what passes between convolutions and pooling in blocks of the batch.

    Raises:
        CaptureError: (when called) the step reads a value that it computes, has a shape that depends on values, or does
            something else in each call.
    """
    passes = {"drop_unread": drop_unread, "fuse": fuse, "share_memory": share_memory, "block": block}
    if step is None:
        return lambda f: Compiled(f, passes)
    if not callable(step):
        raise TypeError(f"compile: takes a function, got {type(step).__name__}")
    return Compiled(step, passes)


def _where(f: Callable[..., Any]) -> str:
    code = getattr(f, "__code__", None)
    name = getattr(f, "__qualname__", repr(f))
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


class _Leaf:
    """Stands for a tensor in a flattened structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"


_LEAF = _Leaf()


def _flatten(value: Any, tensors: list[Tensor], what: str = "the step is called with") -> Any:
    """The structure of value, hashable, with its tensors (and arrays, as tensors) taken out in order."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _LEAF
    if isinstance(value, np.ndarray):
        tensors.append(from_numpy(value))
        return _LEAF
    if isinstance(value, (tuple, list)):
        return (type(value), tuple(_flatten(v, tensors, what) for v in value))
    if isinstance(value, dict):
        return (dict, tuple((k, _flatten(v, tensors, what)) for k, v in value.items()))
    try:
        hash(value)
    except TypeError:
        raise CaptureError(f"{what} a {type(value).__name__}; tensors, arrays, hashable values and tuples, lists and "
                           "dicts of them are understood") from None  # fmt: skip
    if type(value) is float and (value == 0.0 or value != value):
        return (None, repr(value), value if value == 0.0 else None)  # 0.0 is not -0.0, and NaN is NaN
    return (None, type(value), value)


def _handed_out(result: Tensor) -> Tensor:
    """A result of a recorded run: off the tape, as a replay would give it."""
    return result if result.is_leaf else result.detach()


def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * shape[d + 1]
    return tuple(strides)


def _contiguous(data: Any) -> Any:
    t = from_numpy(data) if isinstance(data, np.ndarray) else _engine.as_tensor(data, "epoch")
    return t if t.is_contiguous() else from_numpy(np.ascontiguousarray(t.numpy()))


def _numbers(result: Any) -> list[float]:
    """What a step has returned as a list of numbers."""
    found: list[Tensor] = []
    _flatten(result, found)
    if not found or any(t.numel() != 1 or t.dtype.kind != "f" for t in found):
        raise CaptureError("epoch: the step must return single float numbers (its loss, measures), got "
                           f"{[f'{t.dtype}{t.shape}' for t in found] or type(result).__name__}")  # fmt: skip
    return [t.item() for t in found]


def _unflatten(structure: Any, tensors: Any) -> Any:
    if structure is _LEAF:
        return next(tensors)
    kind = structure[0]
    if kind is None:
        return float("nan") if structure[1] == "nan" else structure[2]
    if kind is dict:
        return {k: _unflatten(v, tensors) for k, v in structure[1]}
    values = [_unflatten(v, tensors) for v in structure[1]]
    return values if kind is list else (tuple(values) if kind is tuple else kind(*values))


def _mode() -> tuple:
    """What a program relies on of the thread: whether gradients are recorded, how products are done, and which
    generator noise comes from."""
    return is_grad_enabled(), is_autocast_enabled(), generator_or_default(None)


def _kind(tensors: list[Tensor]) -> tuple:
    """What a program relies on of its arguments: shapes, dtypes, strides, which share memory, which are variables."""
    return tuple((t.shape, t._dtype_code, t.strides, t._shares_with(tensors[:i]), id(t) if t.requires_grad else 0)
                 for i, t in enumerate(tensors))  # fmt: skip


__all__ = ["CaptureError", "Compiled", "Recording", "compile", "eager"]
