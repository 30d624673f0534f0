"""What estimators ask of their parameters and their data, with messages that say what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from .. import random

# ---- parameters ----


@dataclass(frozen=True)
class Interval:
    """A number between two bounds; ``closed`` is "both", "left", "right" or "neither"."""

    kind: type
    low: float | None = None
    high: float | None = None
    closed: str = "both"

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, self.kind) or isinstance(value, (bool, np.bool_)):
            return False
        value = float(value)  # type: ignore[arg-type]
        above = self.low is None or value > self.low or (value == self.low and self.closed in ("both", "left"))
        below = self.high is None or value < self.high or (value == self.high and self.closed in ("both", "right"))
        return above and below

    def __str__(self) -> str:
        what = "an integer" if self.kind is Integral else "a number"
        if self.high is None:
            return (
                what
                if self.low is None
                else f"{what} {'from' if self.closed in ('both', 'left') else 'above'} {self.low}"
            )
        left, right = "[" if self.closed in ("both", "left") else "(", "]" if self.closed in ("both", "right") else ")"
        low = "-inf" if self.low is None else self.low
        return f"{what} in {left}{low}, {self.high}{right}"


@dataclass(frozen=True)
class OneOf:
    """One of these values."""

    values: tuple[Any, ...]

    def accepts(self, value: Any) -> bool:
        return any(value is v or (type(value) is type(v) and value == v) for v in self.values)

    def __str__(self) -> str:
        return " or ".join(map(repr, self.values))


@dataclass(frozen=True)
class Kind:
    """An instance of one of these types, or anything that can be called for ``callable``; ``name`` is for people."""

    types: tuple[type, ...]
    name: str

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.types)

    def __str__(self) -> str:
        return self.name


class _Callable:
    def accepts(self, value: Any) -> bool:
        return callable(value)

    def __str__(self) -> str:
        return "a function"


class _Array:
    def accepts(self, value: Any) -> bool:
        return not isinstance(value, (str, bytes)) and (hasattr(value, "__array__") or isinstance(value, Sequence))

    def __str__(self) -> str:
        return "an array"


class _Boolean:
    def accepts(self, value: Any) -> bool:
        return isinstance(value, (bool, np.bool_))

    def __str__(self) -> str:
        return "True or False"


class _Seed:
    def accepts(self, value: Any) -> bool:
        generators = (random.Generator, np.random.Generator, np.random.RandomState)
        return value is None or isinstance(value, generators) or COUNT.accepts(value)

    def __str__(self) -> str:
        return "None, an integer from 0 or a random generator"


#: What a parameter may be: any of a tuple of these.
COUNT = Interval(Integral, 0)
POSITIVE_COUNT = Interval(Integral, 1)
POSITIVE = Interval(Real, 0, None, "neither")
NOT_NEGATIVE = Interval(Real, 0)
SHARE = Interval(Real, 0, 1, "neither")
CALLABLE, ARRAY, BOOLEAN, SEED = _Callable(), _Array(), _Boolean(), _Seed()


def check_parameters(name: str, values: dict[str, Any], constraints: dict[str, tuple[Any, ...]]) -> None:
    """ValueError for the first value that none of its constraints accepts; parameters without constraints pass."""
    for parameter, allowed in constraints.items():
        value = values[parameter]
        if not any(a.accepts(value) for a in allowed):
            raise ValueError(f"{name}: {parameter} must be {', or '.join(map(str, allowed))}, got {value!r}")


def generator_of(random_state: Any) -> random.Generator:
    """A stream of its own: of the seed; of a seed drawn from a given generator; for None of one drawn from pyneural's
    default generator, so that a program repeats itself unless it seeds that one from entropy."""
    if isinstance(random_state, Integral):
        return random.Generator(int(random_state))
    if isinstance(random_state, np.random.Generator):
        return random.Generator(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return random.Generator(int(random_state.randint(2**31 - 1)))
    return random.Generator(int(random.randint(0, 2**62, (1,), generator=random_state).item()))


# ---- what scikit-learn's users catch ----


class NotFittedError(ValueError, AttributeError):
    """The estimator was not fitted. Where scikit-learn is loaded, what is raised is also its error of this name."""


class ConvergenceWarning(UserWarning):
    """The iteration limit was reached before the tolerance; as for :class:`NotFittedError`, also scikit-learn's."""


class DataConversionWarning(UserWarning):
    """Data were given in another form than expected; as for :class:`NotFittedError`, also scikit-learn's."""


_joined: dict[type, type] = {}


def known(ours: type[Any]) -> type[Any]:
    """The class to raise: ours, or if scikit-learn is loaded one that is also scikit-learn's class of this name."""
    theirs = sys.modules.get("sklearn.exceptions")
    if theirs is None:
        return ours
    if ours not in _joined:
        _joined[ours] = type(ours.__name__, (ours, getattr(theirs, ours.__name__)), {"__module__": ours.__module__})
    return _joined[ours]


# ---- data ----


def _refuse_sparse(x: Any, name: str) -> None:
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(f"{name}: sparse data are not taken; pass X.toarray()")


def check_rows(x: Any, name: str, dtypes: tuple[Any, ...] = (np.float64, np.float32)) -> np.ndarray:
    """X as an array (N, d) of one of ``dtypes``: as it is if it has one, else converted to the first.

    Raises:
        TypeError: X is sparse or holds what is no number.
        ValueError: X is complex, is no matrix, has no rows or no columns, or holds a NaN or an infinity.
    """
    _refuse_sparse(x, name)
    rows = np.asarray(x)
    if rows.dtype.kind == "c":
        raise ValueError(f"{name}: Complex data not supported; pass real and imaginary parts as columns")
    if rows.dtype not in [np.dtype(d) for d in dtypes]:
        rows = rows.astype(dtypes[0])
    if rows.ndim != 2:
        raise ValueError(
            f"{name}: Expected 2D array, got {rows.ndim}D array instead, of shape {rows.shape}. Reshape your data "
            "using X.reshape(-1, 1) if it has a single feature or X.reshape(1, -1) if it is a single row"
        )
    n, d = rows.shape
    if n < 1:
        raise ValueError(f"{name}: Found array with 0 sample(s) (shape={rows.shape}) while a minimum of 1 is required.")
    if d < 1:
        raise ValueError(
            f"{name}: Found array with 0 feature(s) (shape={rows.shape}) while a minimum of 1 is required."
        )
    require_finite(rows, name, "X")
    return rows


def require_finite(values: np.ndarray, name: str, argument: str) -> None:
    """ValueError if there is a NaN or an infinity; where the first one is, is said."""
    if values.dtype.kind != "f":
        return
    # A sum is finite only if its terms are; if it is not, it may have overflowed, and each element is looked at. In the
    # dtype of the values: a wider one would be converted to, which takes four times as long.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        found = "NaN" if np.isnan(values[where]) else "infinity"
        raise ValueError(
            f"{name}: Input {argument} contains NaN or infinity ({int(bad.sum())} in all, the first is {found} at "
            f"{list(where)}); drop such rows or fill them first"
        )


def check_target(y: Any, name: str, rows: int, *, several: bool = False) -> np.ndarray:
    """y as an array (N,), or (N, outputs) if ``several``; a column is flattened with a DataConversionWarning.

    Raises:
        ValueError: y is None, has another length than X, another number of dimensions, or a NaN or an infinity.
    """
    if y is None:
        raise ValueError(f"{name}: requires y to be passed, but the target y is None")
    _refuse_sparse(y, name)
    target = np.asarray(y)
    if target.ndim == 2 and target.shape[1] == 1 and not several:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel().",
            known(DataConversionWarning),
            stacklevel=4,
        )
        target = target.ravel()
    if target.ndim != 1 and not (several and target.ndim == 2):
        raise ValueError(f"{name}: y should be a 1d array, got an array of shape {target.shape} instead.")
    if len(target) != rows:
        raise ValueError(f"{name}: X has {rows} rows but y has {len(target)}")
    if target.dtype.kind == "c":
        raise ValueError(f"{name}: Complex data not supported in y")
    if target.dtype == object:
        for i, value in enumerate(target.ravel()):
            if value is None or (isinstance(value, Real) and value != value):
                raise ValueError(f"{name}: Input y contains NaN or None, the first at {i}")
    require_finite(target, name, "y")
    return target


def check_classes(y: Any, name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels of y in ascending order (classes,), and the number of each row's label (N,), int64.

    Raises:
        ValueError: As :func:`check_target`; or y holds fractions, which are no labels.
    """
    target = check_target(y, name, rows)
    if target.dtype.kind == "f" and np.any(target != np.floor(target)):
        raise ValueError(f"{name}: Unknown label type: continuous. y holds fractions; a regressor predicts those")
    try:
        classes, codes = np.unique(target, return_inverse=True)
    except TypeError:
        raise ValueError(f"{name}: Unknown label type: y mixes types that have no order") from None
    return classes, codes.astype(np.int64)


def check_weights(sample_weight: Any, name: str, rows: int) -> np.ndarray | None:
    """The weights as float64 (N,), or None; a single number counts for all rows.

    Raises:
        ValueError: Another shape, a negative weight, a NaN or infinity, or no weight above zero.
    """
    if sample_weight is None:
        return None
    weights = np.array(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(rows, float(weights))
    if weights.shape != (rows,):
        raise ValueError(f"{name}: sample_weight has shape {weights.shape} but X has {rows} rows; expected ({rows},)")
    require_finite(weights, name, "sample_weight")
    if weights.min() < 0:
        raise ValueError(f"{name}: sample_weight holds {weights.min():g}; weights must not be negative")
    if not weights.any():
        raise ValueError(f"{name}: Sample weights must contain at least one non-zero number.")
    return weights


def class_weights(class_weight: Any, classes: np.ndarray, codes: np.ndarray, name: str) -> np.ndarray:
    """A weight for each class (classes,), float64: ones for None, N / (classes * count) for "balanced", or of a dict
    from label to weight, 1 where it is silent.

    Raises:
        ValueError: A label of the dict does not occur, or a weight is negative.
    """
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"{name}: class_weight must be None, 'balanced' or a dict, got {class_weight!r}")
        counts = np.bincount(codes, minlength=len(classes))
        return len(codes) / (len(classes) * np.maximum(counts, 1.0))
    known_labels = {label: i for i, label in enumerate(classes.tolist())}
    weights = np.ones(len(classes))
    for label, weight in dict(class_weight).items():
        if label not in known_labels:
            raise ValueError(
                f"{name}: class_weight names the class {label!r}, which y does not hold: {classes.tolist()}"
            )
        if not weight >= 0:
            raise ValueError(f"{name}: class_weight of {label!r} is {weight}; weights must not be negative")
        weights[known_labels[label]] = weight
    return weights
