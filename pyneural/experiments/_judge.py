"""Is what was measured what was expected? The rules behind `Run.check`, and the JSON form of the values.

Every comparison is written so that it holds only if it can be shown to hold: NaN compares false and so never passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

WITH_TOLERANCE = ("absolute", "relative")
KINDS = (*WITH_TOLERANCE, "equal", "below", "above", "at most", "at least", "between", "true")
LONGEST = 16  # arrays with more elements are described in the result file instead of being listed

_ORDER = {"below": np.less, "above": np.greater, "at most": np.less_equal, "at least": np.greater_equal}
_SIGNS = {"below": "<", "above": ">", "at most": "<=", "at least": ">="}


def judge(name: str, measured: Any, expected: Any, tolerance: Any, kind: str) -> tuple[bool, float | None]:
    """(passed, largest difference or None). Raises ValueError if the two cannot be compared at all."""
    if kind not in KINDS:
        raise ValueError(f"check {name!r}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    m = np.asarray(measured)
    if kind == "true":
        return bool(m.size and np.all(np.equal(m, True))), None
    if m.size == 0:
        raise ValueError(f"check {name!r}: measured is empty (shape {m.shape}), so nothing was checked")
    if kind == "between":
        low, high = (_number(name, "expected", x) for x in expected)
        m = _number(name, "measured", m)
        return bool(np.all((m >= low) & (m <= high))), None
    e = np.asarray(expected)
    if e.ndim and e.shape != m.shape:
        raise ValueError(f"check {name!r}: measured has shape {m.shape} but expected has shape {e.shape}")
    if kind == "equal":
        return bool(np.all(m == e)), None
    m, e = _number(name, "measured", m), _number(name, "expected", e)
    if kind in _ORDER:
        return bool(np.all(_ORDER[kind](m, e))), None
    tolerance = _number(name, "tolerance", tolerance)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(m - e)
        limit = tolerance * np.abs(e) if kind == "relative" else tolerance
        passed = bool(np.all(difference <= limit))
        if kind == "relative":
            difference = np.where(difference == 0, 0.0, difference / np.where(e == 0, np.nan, np.abs(e)))
    return passed, float(np.max(difference))


def _number(name: str, what: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"check {name!r}: {what} is {value!r}, a number is needed; compare text with kind='equal'")
    return array.astype(np.float64)


def wanted(expected: Any, tolerance: Any, kind: str) -> str:
    """What a check asks for, in a few characters: "0.5 ± 0.01", "< 0.2", "in [0, 1]"."""
    if kind == "true":
        return "true"
    if kind == "between":
        low, high = expected
        return f"in [{show(plain(low))}, {show(plain(high))}]"
    text = show(plain(expected))
    if kind in _SIGNS:
        return f"{_SIGNS[kind]} {text}"
    if kind == "equal" or not np.any(np.asarray(tolerance)):
        return text
    return f"{text} ± {show(plain(tolerance))}" + (" relative" if kind == "relative" else "")


def sides(check: Mapping[str, Any]) -> tuple[str, str]:
    """(measured, expected) of a check of a result file, as text; of two long arrays the largest difference."""
    expected = wanted(check["expected"], check["tolerance"], check["kind"])
    if isinstance(check["measured"], str) and check.get("difference") is not None:
        count = check["measured"].split(",")[0]
        if isinstance(check["expected"], str):
            expected = f"± {show(check['tolerance'])}" + (" relative" if check["kind"] == "relative" else "")
        return f"{count}, largest difference {_brief(check['difference'])}", expected
    return show(check["measured"]), expected


def _brief(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else show(value)


def plain(value: Any) -> Any:
    """`value` in the types that JSON has. NaN and infinities become text, long arrays a description."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(v, str | Mapping) or v is None for v in value):
        return [plain(v) for v in value]
    array = np.asarray(value)
    if array.size > LONGEST:
        count = " x ".join(str(n) for n in array.shape) + " values"
        return f"{count}, {array.min():.6g} to {array.max():.6g}" if array.dtype.kind in "iuf" else count
    return _finite(array.tolist())


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str):
        return value
    return str(value)


def show(value: Any) -> str:
    """A value of a result file as a reader wants to see it: seven digits, short lists in brackets."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10_000 else f"{value:,}"
    if isinstance(value, list):
        return "(" + ", ".join(show(v) for v in value) + ")"
    return str(value)
