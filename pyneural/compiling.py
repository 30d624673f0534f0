"""Capture and replay: a training step recorded once from ordinary eager code, then replayed in C++ with the same bits.

``pn.compile(step)`` runs the step as it is for its first two calls and records every op. If both recordings are the
same program, later calls with arguments of the same kind replay it without Python. Nothing falls back silently: what
cannot be recorded raises :class:`CaptureError`, which names the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _engine
from ._engine import CaptureError
from .autodiff import is_grad_enabled
from .tensor import Tensor, from_numpy

#: Recordings of one kind of call that may differ before it is given up; the first ones set up state (optimisers'
#: buffers).
_TRIES = 4


class Compiled:
    """A step that is recorded and replayed; made by :func:`compile`.

    Attributes:
        programs: One entry per recorded program: the arguments that it is for, and how often it was replayed.
    """

    def __init__(self, step: Callable[..., Any], passes: dict[str, bool]) -> None:
        self.step = step
        self._passes = passes
        self._programs: dict[Any, list[_Recording]] = {}
        self._candidates: dict[Any, _Candidate] = {}
        self.misses: list[str] = []
        self.since = 0  # steps of epoch() that were whole when one raised, since on_progress was last called

    @property
    def programs(self) -> list[_Recording]:
        return [r for recordings in self._programs.values() for r in recordings]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        structure = _flatten((args, kwargs), tensors)
        key = (structure, _kind(tensors), is_grad_enabled())
        recording = self._find(key)
        if recording is None:
            return self._record(key, args, kwargs, tensors)
        return recording.replay(tensors)

    def _find(self, key: Any) -> _Recording | None:
        reason = None
        for recording in self._programs.get(key, ()):
            reason = recording.program.miss()
            if reason is None:
                return recording
        if reason is not None and (not self.misses or self.misses[-1] != reason):
            self.misses.append(reason)
        return None

    def _record(self, key: Any, args: tuple, kwargs: dict, tensors: list[Tensor]) -> Any:
        # NumPy arrays among the arguments have become tensors; the step is called with those.
        args, kwargs = _unflatten(key[0], iter(tensors))
        capture = _engine.Capture(tensors)
        capture.enter()
        try:
            result = self.step(*args, **kwargs)
        finally:
            capture.leave()
        results: list[Tensor] = []
        shape = _flatten(result, results, what="the step returns")
        before = self._candidates.get(key)
        if before is None or key in self._programs:
            tries, why = (1, "") if before is None else (before.tries + 1, before.capture.difference(capture))
        else:
            tries, why = before.tries + 1, before.capture.difference(capture)
        if before is None or why:
            if tries >= _TRIES:
                del self._candidates[key]
                error = CaptureError(f"{_where(self.step)}: {tries} runs of the step recorded different programs, so "
                                   f"none can be replayed. The last two differ: {why}. Pass what changes as an "
                                   "argument, keep it in a tensor, or leave this step uncompiled")  # fmt: skip
                error.numbers = [r.item() for r in results if r.numel() == 1]
                raise error
            self._candidates[key] = _Candidate(capture, tries)
        else:
            del self._candidates[key]
            program = capture.finish(results, **self._passes)
            recordings = self._programs.setdefault(key, [])
            recordings.insert(0, _Recording(program, shape, tensors))
            del recordings[4:]
        return _unflatten(shape, iter([r.detach() for r in results]))

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
        lookups = (
            [None] * len(sources)
            if tables is None
            else [None if t is None else from_numpy(np.ascontiguousarray(t)) for t in tables]
        )
        full, count = len(rows) // batch_size, -(-len(rows) // batch_size)
        values = np.zeros((count, 0))
        done = self.since = 0
        while done < count:
            part = rows[done * batch_size : (done + 1) * batch_size]
            recording = None
            if done < full:
                recording = self._find(self._key_of_rows(sources, lookups, batch_size))
            if recording is not None and not recording.program.after and recording.program.values() >= 0:
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
        return structure, tuple(kinds), is_grad_enabled()

    def __repr__(self) -> str:
        return f"<compiled {_where(self.step)}: {len(self.programs)} programs>"


class _Candidate:
    def __init__(self, capture: Any, tries: int) -> None:
        self.capture, self.tries = capture, tries


class _Recording:
    """One program and how its results are put together."""

    def __init__(self, program: Any, shape: Any, tensors: list[Tensor]) -> None:
        self.program, self.shape = program, shape
        self.arguments = [f"{t.dtype}{t.shape}" for t in tensors]
        self.replays = 0

    def replay(self, tensors: list[Tensor]) -> Any:
        results = self.program.run(tensors)
        self.replays += 1
        return _unflatten(self.shape, iter(results))

    def __repr__(self) -> str:
        captured, arena = self.program.bytes()
        return (f"<program for ({', '.join(self.arguments)}): {self.program.calls()} calls in {self.program.steps()} "
                f"steps, {arena:,} bytes of temporaries ({captured:,} when captured), {self.replays} "
                "replays>")  # fmt: skip


def compile(
    step: Callable[..., Any] | None = None, *, drop_unread: bool = True, fuse: bool = True, share_memory: bool = True
) -> Any:
    """A function that does what ``step`` does, recorded once and then replayed in C++ with the same bits.

    Also a decorator. The step is ordinary code: forward, loss, ``backward()``, ``optimizer.step()``. Its arguments are
    tensors, arrays, numbers and nested containers of them; so are its results. The first two calls for arguments of one
    kind (shapes, dtypes, strides, numbers) run eagerly and are recorded, later ones replay.

    Read anew at every replay: parameters, the optimiser's state, step size, decay and step count, random streams.
    Checked at every call, and recorded anew if changed: which parameters there are and which are frozen, each module's
    mode and numbers, the optimiser's groups, the kind of arguments.

    Args:
        step: The function.
        drop_unread, fuse, share_memory: Optimisations, to switch off in tests; none changes a bit of the results.

    Raises:
        CaptureError: (when called) the step reads a value that it computes, has a shape that depends on values, or does
            something else in each call.
    """
    passes = {"drop_unread": drop_unread, "fuse": fuse, "share_memory": share_memory}
    if step is None:
        return lambda f: Compiled(f, passes)
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
    return (None, type(value), value)


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
        return structure[2]
    if kind is dict:
        return {k: _unflatten(v, tensors) for k, v in structure[1]}
    values = [_unflatten(v, tensors) for v in structure[1]]
    return values if kind is list else (tuple(values) if kind is tuple else kind(*values))


def _kind(tensors: list[Tensor]) -> tuple:
    """What a program relies on of its arguments: shapes, dtypes, strides, which share memory, which are variables."""
    return tuple((t.shape, t._dtype_code, t.strides, t._shares_with(tensors[:i]), id(t) if t.requires_grad else 0)
                 for i, t in enumerate(tensors))  # fmt: skip


__all__ = ["CaptureError", "Compiled", "compile"]
