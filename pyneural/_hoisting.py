"""What need not be computed anew at every point of a slice: all that does not move, and products with what moves.

Along a slice the parameters are ``w + s u + t v``, so that a layer on constant inputs gives ``x w' + s x u' + t x v'``:
three products once, instead of one at every point. The loss's calls are listened to at one point; the calls are then
made again with those replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _engine
from .ops import linear
from .tensor import zeros_like

#: A product with fewer columns is as fast as the sum that would replace it.
_COLUMNS = 64


class _Listener:
    """Keeps every call, with its tensors."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple, tuple, tuple]] = []

    def called(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> None:
        self.calls.append((op, inputs, attributes, outputs))

    def walk_begins(self, *_: Any) -> None:
        """A walk back is made of calls like any others."""

    walked = walk_ends = walk_begins


def hoisted(
    value: Callable[[Sequence[Any]], Any],
    moved: Callable[[Any], Sequence[Any]],
    coefficients: Sequence[Sequence[Any]],
    at: Any,
) -> Callable[[Any], Any] | None:
    """A function of the steps (1, k) that gives ``value(moved(steps))`` up to rounding, or None where that fails.

    Args:
        value: The loss as a function of tensors.
        moved: The tensors at the given steps.
        coefficients: For each tensor where it starts and its directions, None for one that does not move it.
        at: Steps at which the loss is listened to.

    It fails where a call cannot be made again elsewhere (it draws random numbers, or changes a tensor in place), or
    where something reaches the loss past the calls (``detach()``).
    """
    tensors = moved(at)
    affine = {id(x): c for x, c in zip(tensors, coefficients, strict=True) if any(d is not None for d in c[1:])}
    listener = _Listener()
    before = _engine.listen(listener)
    try:
        result = value(tensors)
    finally:
        _engine.listen(before)
    moving = [x for x in tensors if id(x) in affine]
    known = {id(x) for x in moving}
    still = {id(x) for x in tensors} - known
    kept: list[tuple[Any, tuple, tuple, tuple]] = []
    products: list[tuple[Any, list[Any]]] = []  # an output, and what it is made of
    for op, inputs, attributes, outputs in listener.calls:
        if op.writes or op.flags & {"draws", "in_place"}:
            return None
        for x in inputs:
            if x is not None and id(x) not in known and id(x) not in still and x._shares_with(moving) is not None:
                return None
        if not any(id(x) in known for x in inputs):
            still.update(map(id, outputs))
            continue
        known.update(map(id, outputs))
        moving += outputs
        x, w, b = inputs if op.name == "linear" else (None, None, None)
        fits = w is not None and id(x) not in known and id(w) in affine and w.shape[1] >= _COLUMNS
        if fits and (b is None or id(b) in affine or id(b) not in known):
            weights, biases = affine[id(w)], affine.get(id(b), [b] + [None] * (len(coefficients[0]) - 1))
            parts: list[Any] = [linear(x, weights[0], biases[0])]
            for d, e in zip(weights[1:], biases[1:], strict=True):
                parts.append(None if d is e is None else linear(x, zeros_like(w) if d is None else d, e))
            products.append((outputs[0], parts))
        else:
            kept.append((op, inputs, attributes, outputs))
    if id(result) not in known or (not products and len(kept) == len(listener.calls)):
        return None

    def program(steps: Any) -> Any:
        now = {id(old): new for old, new in zip(tensors, moved(steps), strict=True)}
        for old, (start, *directions) in products:
            for k, d in enumerate(directions):
                if d is not None:
                    start = start + steps[0, k] * d
            now[id(old)] = start
        for op, inputs, attributes, outputs in kept:
            given = [None if x is None else now.get(id(x), x) for x in inputs]
            made = op(given, *attributes) if op.variadic else op(*given, *attributes)
            now |= dict(zip(map(id, outputs), made if len(outputs) > 1 else (made,), strict=True))
        return now[id(result)]

    return program


def agree(found: np.ndarray, wanted: np.ndarray, eps: float) -> bool:
    """Whether two ways of computing the same loss differ by rounding only."""
    return bool(np.all(np.abs(found - wanted) <= eps**0.75 * np.abs(wanted).max(initial=0.0)))
