"""Gradient rules against differences, along random directions in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _engine
from ..tensor import as_tensor
from .modes import enable_grad, no_grad
from .tape import gradients
from .trees import leaves, named_leaves, rebuild

#: Inputs of up to this many elements are searched for the wrong one element by element; larger ones are halved first.
_SEARCHED = 256


def gradcheck(
    f: Callable, inputs: Any, *, eps: float = 1e-5, atol: float = 1e-6, rtol: float = 1e-4, directions: int = 2,
    seed: int = 0, raise_exception: bool = True,
) -> bool:  # fmt: skip
    """Compares f's gradient rule with central differences, in float64, along random directions.

    For random u and d it compares u^T J d from the rules with ``(u.f(x + eps d) - u.f(x - eps d)) / (2 eps)``: two
    evaluations whatever the size. A direction that disagrees is searched for the element that is off most, so that the
    message says which input and element it is, and by how much.

    Args:
        f: A function of tensors; its result is a tensor or nested tuples, lists and dicts of them.
        inputs: A tensor or array, or a tuple of the arguments, which may be nested; float ones are checked, as float64.
        eps, atol, rtol: Step and tolerances.
        directions: Number of random directions.
        raise_exception: False: return False instead of raising.

    Raises:
        AssertionError: The gradients disagree.
        ValueError: There is no float input, so nothing would be checked.
    """
    return _check("gradcheck", f, inputs, eps, atol, rtol, directions, seed, raise_exception)


def _check(
    name: str, f: Callable, inputs: Any, eps: float, atol: float, rtol: float, directions: int, seed: int, raises: bool
) -> bool:
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    places = [place[1:].replace("]", "", 1) for place, _ in named_leaves(args)]
    values = leaves(args)
    arrays = [np.array(np.asarray(a), np.float64) if _is_float(a) else a for a in values]
    checked = [i for i, a in enumerate(values) if _is_float(a)]
    if not checked:
        raise ValueError(
            f"{name}: none of the {len(values)} inputs is a float array or tensor, so there is no gradient to check"
        )
    rng = np.random.Generator(np.random.PCG64(seed))

    def outputs(flat: list) -> list:
        made = [as_tensor(v) if isinstance(v, np.ndarray) else v for v in flat]
        return [r for r in leaves(f(*rebuild(args, iter(made)))) if r.dtype.kind == "f"]

    variables = [as_tensor(a.copy()).requires_grad_() if i in checked else a for i, a in enumerate(arrays)]
    with enable_grad():
        results = outputs(variables)
    weights = [np.asarray(rng.standard_normal(r.shape)) for r in results]

    def projected(flat: list) -> float:
        with no_grad():
            return float(np.sum([np.sum(w * r.numpy()) for w, r in zip(weights, outputs(flat), strict=True)]))

    live = [(r, as_tensor(w)) for r, w in zip(results, weights, strict=True) if r.requires_grad]
    if live:
        found = gradients(
            [r for r, _ in live], [variables[i] for i in checked], [w for _, w in live], materialize_grads=True
        )
        slopes = {i: np.asarray(g) for i, g in zip(checked, found, strict=True)}
    else:
        slopes = {i: np.zeros(arrays[i].shape) for i in checked}

    def difference(i: int, d: np.ndarray) -> float:
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = np.asarray(arrays[i] + sign * eps * d)  # a 0-d array plus a number is no array any more
            ends.append(projected(moved))
        return (ends[0] - ends[1]) / (2 * eps)

    for i in checked:
        for _ in range(directions):
            d = np.asarray(rng.standard_normal(arrays[i].shape))
            rule, measured = float(np.sum(slopes[i] * d)), difference(i, d)
            # Written so that NaN fails.
            if not abs(rule - measured) <= atol + rtol * abs(measured):
                if not raises:
                    return False
                worst = _worst_element(arrays[i], slopes[i], d, lambda e, i=i: difference(i, e))
                raise AssertionError(
                    f"{name}: input {places[i]} of shape {arrays[i].shape}: along a random direction the rule gives "
                    f"{rule:.9g}, differences {measured:.9g}; {worst}"
                )
    return True


def _worst_element(x: np.ndarray, slope: np.ndarray, d: np.ndarray, difference: Callable) -> str:
    """The element where rule and differences are apart most, in words.

    Of a large input that half is taken, again and again, along which they are apart more.
    """
    candidates = np.arange(x.size)

    def off(part: np.ndarray) -> float:
        e = np.zeros(x.shape)
        e.flat[part] = d.flat[part]
        apart = abs(float(np.sum(slope * e)) - difference(e))
        return np.inf if np.isnan(apart) else apart

    while candidates.size > _SEARCHED:
        candidates = max(np.array_split(candidates, 2), key=off)
    worst, text = -1.0, ""
    for k in candidates:
        index = tuple(int(n) for n in np.unravel_index(k, x.shape))
        e = np.zeros(x.shape)
        e[index] = 1
        at = difference(e)
        apart = abs(slope[index] - at)
        if not apart <= worst:
            worst = np.inf if np.isnan(apart) else apart
            text = (f"worst at element {index} (value {x[index]:.6g}): rule {slope[index]:.9g}, differences {at:.9g}, "
                    f"apart by {apart:.3g}")  # fmt: skip
    return text


def gradgradcheck(
    f: Callable, inputs: Any, *, eps: float = 1e-5, atol: float = 1e-6, rtol: float = 1e-4, directions: int = 2,
    seed: int = 0, raise_exception: bool = True,
) -> bool:  # fmt: skip
    """:func:`gradcheck` of the gradient of f, along a random direction of its results: checks second derivatives.

    Takes the same arguments and raises the same.
    """
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [i for i, a in enumerate(leaves(args)) if _is_float(a)]
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    weights: dict[tuple, np.ndarray] = {}

    def first(*given: Any) -> tuple:
        flat = [v if not _is_float(v) or v.requires_grad else v.detach().requires_grad_() for v in leaves(given)]
        with enable_grad():
            results = [r for r in leaves(f(*rebuild(given, iter(flat)))) if r.requires_grad]
            for k, r in enumerate(results):
                if (k, r.shape) not in weights:
                    weights[k, r.shape] = np.asarray(rng.standard_normal(r.shape))
            starts = [as_tensor(weights[k, r.shape]) for k, r in enumerate(results)]
            return gradients(results, [flat[i] for i in checked], starts, create_graph=True, materialize_grads=True)

    return _check("gradgradcheck", first, args, eps, atol, rtol, directions, seed, raise_exception)


def _is_float(a: Any) -> bool:
    return isinstance(a, (np.ndarray, _engine.Tensor)) and a.dtype.kind == "f"
