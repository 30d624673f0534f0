"""The NumPy references of the op records as a backend: to step through a computation, and to check a whole program.

Outside of :func:`reference` and :func:`compare_with_reference` an op call looks at one number to see that nobody
watches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _engine
from .autodiff.modes import enable_grad
from .ops.record import RECORDS
from .tensor import Tensor


def _expected(op: Any, inputs: tuple, attributes: tuple) -> tuple[np.ndarray, ...]:
    """What the record's reference gives: the outputs, or of an op that works in place what it writes."""
    arrays = [None if x is None else np.asarray(x.detach()) for x in inputs]
    given = [arrays] if op.variadic else arrays
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # kernels do not warn of 1/0 either
        result = RECORDS[op.name].reference(*given, *attributes)
    return tuple([np.asarray(r) for r in (result if isinstance(result, (tuple, list)) else (result,))])


def _written(op: Any, inputs: tuple, outputs: tuple) -> list[Tensor]:
    """The tensors whose values the reference gives: the outputs, or of an op that works in place what it changes."""
    return list(outputs) or [inputs[i] for i in op.writes]


class _Backend:
    """Runs references in place of kernels."""

    def before(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> bool:
        if "view" in op.flags or not (outputs or op.writes):
            return True  # nothing is computed: another window on the same memory, or a check
        if outputs and op.writes:
            return True  # the key of a draw: a copy of a generator's state, which moves on beside the result
        for t, value in zip(_written(op, inputs, outputs), _expected(op, inputs, attributes), strict=True):
            np.copyto(t.detach().numpy(), value, casting="unsafe")
        return False

    def after(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> None:
        pass


class _Watching:
    """A context manager that shows this thread's op calls to a watcher, and puts back what watched before."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._earlier: list[Any] = []

    def __enter__(self) -> Any:
        self._earlier.append(_engine.watch_calls(self._watcher))
        return self._watcher

    def __exit__(self, *_: Any) -> None:
        _engine.watch_calls(self._earlier.pop())


def reference() -> Any:
    """A context manager within which every op of this thread runs on its NumPy reference instead of its kernel.

    Gradients, optimisers and random draws are ops and run on references too; a step made by ``pn.compile`` runs
    eagerly. Shapes and dtypes are checked as always. Results are those of the kernels up to rounding, and each
    reference can be stepped through in a debugger.

    Raises:
        CaptureError: A step is being captured.
    """
    return _Watching(_Backend())


@dataclass
class Mismatch:
    """A call whose kernel and reference disagree.

    Attributes:
        op: The op's name.
        number: Which call of the program it is, from 0.
        arguments: dtype and shape of each tensor, and each attribute, in words.
        place: "file:line" outside of pyneural that it comes from.
        output, index: The output (or written argument) and its element that are off most.
        kernel, reference: The two values there.
        difference: How far they are apart; inf where only one is NaN or infinite.
        relative: That, relative to the largest finite value of the reference's output.
        what: The whole in words.
    """

    op: str
    number: int
    arguments: list[str]
    place: str
    output: int
    index: tuple[int, ...]
    kernel: Any
    reference: Any
    difference: float
    relative: float

    @property
    def what(self) -> str:
        return (f"{self.op}({', '.join(self.arguments)}), call {self.number}, from {self.place}: output {self.output} "
                f"differs most at {list(self.index)}: the kernel gives {self.kernel!r}, the reference "
                f"{self.reference!r}, apart by {self.difference:.6g} "
                f"({self.relative:.3g} of the largest value)")  # fmt: skip


@dataclass
class Comparison:
    """What :func:`compare_with_reference` has found.

    Attributes:
        calls: Number of op calls.
        largest: For each op the largest difference, relative to the largest value of the result it is in.
        mismatch: The first call that differs by more than the tolerance, or None.
        result: What the function has returned.
    """

    calls: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    mismatch: Mismatch | None = None
    result: Any = None

    def __bool__(self) -> bool:
        return self.mismatch is None


class _Comparing:
    """Runs both, keeps the kernels' results, and notes the first call that differs."""

    def __init__(self, tolerance: float | None) -> None:
        self.tolerance = tolerance
        self.found = Comparison()
        self._expected: tuple[np.ndarray, ...] = ()

    def before(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> bool:
        # References change nothing, but may give windows on their arguments, which a call in place will change.
        self._expected = tuple([np.array(e) for e in _expected(op, inputs, attributes)]) if outputs or op.writes else ()
        return True

    def after(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> None:
        found = self.found
        for k, t in enumerate(_written(op, inputs, outputs)):
            if k >= len(self._expected):
                raise ValueError(f"{op.name}: the reference gives {len(self._expected)} results, the op more")
            kernel = t.detach().numpy()
            index, off, relative = _apart(kernel, self._expected[k])
            found.largest[op.name] = max(found.largest.get(op.name, 0.0), relative)
            allowed = self.tolerance
            if kernel.dtype.kind != "f":
                allowed = 0.0
            elif allowed is None:
                allowed = float(np.finfo(kernel.dtype).eps) ** 0.5
            if found.mismatch is None and not relative <= allowed:
                wanted = self._expected[k]
                alike = kernel.shape == wanted.shape
                mine, theirs = (kernel[index], wanted[index]) if alike else (kernel.shape, wanted.shape)
                words = _words(op, inputs, attributes)
                place = _engine.user_line()
                found.mismatch = Mismatch(op.name, found.calls, words, place, k, index, mine, theirs, off, relative)
        found.calls += 1


def _apart(kernel: np.ndarray, wanted: np.ndarray) -> tuple[tuple[int, ...], float, float]:
    """(element that is off most, by how much, relative to the largest finite value wanted)."""
    if kernel.shape != wanted.shape:
        return (0,) * kernel.ndim, np.inf, np.inf
    if kernel.size == 0:
        return (0,) * kernel.ndim, 0.0, 0.0
    with np.errstate(all="ignore"):
        a, b = kernel.astype(np.float64), wanted.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        off = np.where(same, 0.0, np.where(np.isfinite(a) & np.isfinite(b), np.abs(a - b), np.inf))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(off), off.shape))
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size else 0.0
    worst = float(off[index])
    return index, worst, 0.0 if worst == 0 else (worst / scale if scale > 0 else np.inf)


def _words(op: Any, inputs: tuple, attributes: tuple) -> list[str]:
    tensors = ["None" if x is None else f"{x.dtype}{x.shape}" for x in inputs]
    names = [f"{n} " for n in op.inputs] if not op.variadic else [""] * len(tensors)
    return [n + t for n, t in zip(names, tensors, strict=True)] + [
        f"{n}={a!r}" for n, a in zip(op.attributes, attributes, strict=True)
    ]


def compare_with_reference(
    function: Callable[..., Any], *inputs: Any, tolerance: float | None = None, raise_exception: bool = True
) -> Comparison:
    """Runs a whole program op by op with the kernels and with the references, and names the first op that differs.

    Both run on the same arguments in each call, so that differences do not add up; the program goes on with the
    kernels' results. A training step may be passed as it is, compiled or not: it is run eagerly, once, and its updates
    are made.

    Args:
        function: Called with the inputs, recording switched on.
        tolerance: Largest difference, relative to the largest value of the result that it is in. None: the square root
            of the unit of rounding, 3.5e-4 in float32 and 1.5e-8 in float64. Integers and bools must be equal.
        raise_exception: False: a difference is only reported.

    Returns:
        The number of calls, the largest difference of each op, the mismatch if any, and the function's result.

    Raises:
        AssertionError: An op differs; the message holds its name, arguments, line, and the largest difference.
        CaptureError: A step is being captured.
    """
    comparing = _Comparing(tolerance)
    with _Watching(comparing), enable_grad():
        comparing.found.result = function(*inputs)
    if comparing.found.mismatch is not None and raise_exception:
        raise AssertionError(f"compare_with_reference: {comparing.found.mismatch.what}")
    return comparing.found


__all__ = ["Comparison", "Mismatch", "compare_with_reference", "reference"]
