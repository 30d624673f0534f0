"""Support vector machines: classification one against one, and epsilon-insensitive regression.

The solver is sequential minimal optimisation with second-order choice of the pair (Fan, Chen and Lin, JMLR 6, 2005)
and shrinking, in C++. Kernel values are computed in float64 for float64 rows and in float32 for float32 rows (unless
float32 would lose their digits); the gradient is float64. The results have the same bits for any number of threads and
any size of the cache.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _kernels
from .._arguments import number

KERNELS = ("linear", "poly", "rbf", "sigmoid", "precomputed")
_CHUNK = 16384  # rows that are decided in one call, between which Ctrl-C is seen


@dataclass(frozen=True)
class Kernel:
    """A kernel: ``linear`` x.y, ``poly`` (gamma x.y + coef0)^degree, ``rbf`` exp(-gamma |x - y|^2), ``sigmoid``
    tanh(gamma x.y + coef0), ``precomputed``, or a function of two matrices that returns the matrix of values.

    ``gamma`` is a number, "scale" (1 / (columns * variance of all entries of x)) or "auto" (1 / columns).
    """

    name: str | Callable[[np.ndarray, np.ndarray], Any] = "rbf"
    degree: int = 3
    gamma: float | str = "scale"
    coef0: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.name) and self.name not in KERNELS:
            raise ValueError(f"Kernel: name must be one of {', '.join(KERNELS)} or a function, got {self.name!r}")
        if isinstance(self.gamma, str) and self.gamma not in ("scale", "auto"):
            raise ValueError(f'Kernel: gamma must be a number, "scale" or "auto", got {self.gamma!r}')

    def fixed(self, x: np.ndarray, weights: np.ndarray | None = None) -> Kernel:
        """The kernel with gamma as a number, for rows x; a row of weight 2 counts as if it stood there twice."""
        if not isinstance(self.gamma, str):
            return self
        gamma = 1.0
        if self.name in ("poly", "rbf", "sigmoid"):
            gamma = 1 / x.shape[1]
            if self.gamma == "scale":
                mean = float(np.average(x.mean(axis=1, dtype=np.float64), weights=weights))
                squares = np.einsum("ij,ij->i", x, x, dtype=np.float64) / x.shape[1]
                variance = float(np.average(squares, weights=weights)) - mean**2
                if not variance > 1e-7 * mean**2:  # the difference has lost its digits
                    variance = float(np.average(((x - mean) ** 2).mean(axis=1, dtype=np.float64), weights=weights))
                gamma = gamma / variance if variance > 0 else 1.0
        return Kernel(self.name, self.degree, gamma, self.coef0)

    def values(self, a: Any, b: Any) -> np.ndarray:
        """The matrix of kernel values (rows of a, rows of b); gamma must be a number."""
        if callable(self.name):
            found = np.asarray(self.name(a, b))
            if found.shape != (len(a), len(b)):
                raise ValueError(f"kernel: the function returned shape {found.shape} for {len(a)} and {len(b)} rows")
            return found if found.dtype in (np.float32, np.float64) else found.astype(np.float64)
        return _kernels.svm_kernel(np.asarray(a), np.asarray(b), self._plain())

    def _plain(self) -> tuple[str, int, float, float]:
        if callable(self.name) or self.name in ("precomputed", "linear"):
            return "linear" if self.name == "linear" else "precomputed", 0, 1.0, 0.0
        if isinstance(self.gamma, str):
            raise ValueError(f'kernel: gamma is "{self.gamma}"; fixed(x) makes it a number')
        return self.name, int(self.degree), float(self.gamma), float(self.coef0)

    @property
    def given(self) -> bool:
        """Whether the kernel's values, and not rows, are what the solver is given."""
        return callable(self.name) or self.name == "precomputed"


@dataclass(frozen=True)
class Limits:
    """How a fit runs.

    Attributes:
        tol: Largest violation of the optimality conditions that is left. Problems of up to 200 variables are solved
            as far as rounding allows.
        shrinking: Leave out variables that seem to stay at their bounds.
        cache_bytes: Memory for kernel values.
        max_iter: Steps of each problem; -1 for no limit.
        max_time: Seconds of the whole fit; None for no limit.
        progress: True draws a line on stderr; a function is called with a dict (problems_done, problems, iterations,
            gap, seconds) at most every 50 ms, and stops the fit by returning False.
    """

    tol: float = 1e-3
    shrinking: bool = True
    cache_bytes: int = 200 * 2**20
    max_iter: int = -1
    max_time: float | None = None
    progress: bool | Callable[[dict[str, Any]], Any] | None = None


@dataclass(frozen=True)
class Machines:
    """What :func:`svc` and :func:`svr` found: one machine for each pair of classes i < j (positive for i), or one.

    Attributes:
        kernel: With gamma as a number.
        classes: Labels in ascending order (k,); empty for a regression.
        support: Rows of the data that are support vectors (s,), by class.
        vectors: The support vectors (s, d); (0, 0) for a precomputed kernel.
        starts: Where each class begins in them, and the end (k + 1,).
        coefficients: (max(k - 1, 1), s) in libsvm's layout: for the pair (i, j), row j - 1 at the vectors of class i
            and row i at those of class j; y times the multiplier.
        rho: A machine's value is the sum of coefficients times kernel values minus rho; (pairs,).
        iterations, gaps, objectives: Of each pair; the gap is the largest violation of the optimality conditions.
        centre: Taken off rows before the kernel, (d,) or None.
        finished: False if a limit or the caller ended the fit before ``tol`` was reached.
    """

    kernel: Kernel
    classes: np.ndarray
    support: np.ndarray
    vectors: np.ndarray
    starts: np.ndarray
    coefficients: np.ndarray
    rho: np.ndarray
    iterations: np.ndarray
    gaps: np.ndarray
    objectives: np.ndarray
    centre: np.ndarray | None = None
    finished: bool = True
    _planes: list[np.ndarray] = field(default_factory=list, repr=False, compare=False)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        k = max(len(self.classes), 2)
        return [(i, j) for i in range(k) for j in range(i + 1, k)]

    @property
    def planes(self) -> np.ndarray:
        """Weights (pairs, d) of a linear kernel, float64: a machine's value is x.w - rho."""
        if self.kernel.name != "linear":
            raise AttributeError(f"weights exist for the linear kernel only, not for {self.kernel.name!r}")
        if not self._planes:
            vectors = self.vectors.astype(np.float64)
            parts = [slice(a, b) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
            if len(parts) == 1:
                self._planes.append(self.coefficients @ vectors)
            else:
                rows = [
                    self.coefficients[j - 1, parts[i]] @ vectors[parts[i]]
                    + self.coefficients[i, parts[j]] @ vectors[parts[j]]
                    for i, j in self.pairs
                ]
                self._planes.append(np.stack(rows))
        return self._planes[0]

    def decide(self, x: np.ndarray) -> np.ndarray:
        """The value of each machine (N, pairs), float64, for rows (N, d), or for the rows (N, n) of a precomputed
        kernel: values between new rows and the n rows of the fit."""
        parts = [self._decide(x[first : first + _CHUNK]) for first in range(0, max(len(x), 1), _CHUNK)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decide(self, x: np.ndarray) -> np.ndarray:
        if self.kernel.name == "linear":
            return _kernels.gemm(x.astype(np.float64), self.planes.T, -self.rho)
        if callable(self.kernel.name):
            x = self.kernel.values(x, self.vectors)
        elif self.kernel.name == "precomputed":
            x = x[:, self.support]
        else:
            x = x.astype(self.vectors.dtype, copy=False)
        return _kernels.svm_decide(
            x, self.vectors, self.kernel._plain(), self.centre, self.starts.tolist(), self.coefficients, self.rho
        )

    def votes(self, values: np.ndarray) -> np.ndarray:
        """Wins of each class (N, k) among the machines' values (N, pairs); 0 is a win of the later class."""
        won = np.zeros((len(values), len(self.classes)))
        for p, (i, j) in enumerate(self.pairs):
            won[:, i] += values[:, p] > 0
            won[:, j] += values[:, p] <= 0
        return won


def _check_cost(name: str, C: float) -> None:
    if not number(name, "C", C) > 0:
        raise ValueError(f"{name}: C must be above 0, got {C}")


def svc(
    x: np.ndarray,
    y: Any,
    *,
    C: float = 1.0,
    kernel: Kernel | None = None,
    class_weight: Any = None,
    sample_weight: np.ndarray | None = None,
    limits: Limits | None = None,
    name: str = "svc",
) -> Machines:
    """Support vector machines for every pair of classes.

    For each pair, with y = +1 for the earlier class: maximise sum a_i - 1/2 sum a_i a_j y_i y_j K_ij subject to
    sum a_i y_i = 0 and 0 <= a_i <= C * class_weight * sample_weight.

    Args:
        x: Rows (N, d), float32 or float64; or for a precomputed kernel its values (N, N).
        y: Labels (N,).
        C: Cost of a violated margin; infinity for a hard margin, where no violation is allowed.
        class_weight: None, "balanced" or a dict from label to weight.
        sample_weight: Weights (N,); rows of weight 0 are left out.

    Raises:
        ValueError: One class only, a class without weight, a kernel whose values are not finite, or C = infinity where
            the classes cannot be separated.
    Warns:
        ConvergenceWarning: A limit ended the fit; the gap that is left is said. UserWarning: slow because the features
            differ in scale.
    """
    from ..estimators import checks

    _check_cost(name, C)
    classes, codes = checks.check_classes(y, name, len(x))
    weights = checks.check_weights(sample_weight, name, len(x))
    labels = classes.tolist()
    if len(classes) < 2:
        raise ValueError(f"{name}: y holds one class only ({labels[0]!r}); a classifier needs at least 2 classes")
    upper = C * checks.class_weights(class_weight, classes, codes, name)[codes]
    if weights is not None:
        upper = np.where(weights > 0, upper, 0.0) if np.isinf(C) else upper * weights
    rows = [np.flatnonzero((codes == c) & (upper > 0)) for c in range(len(classes))]
    for c, found in enumerate(rows):
        if not len(found):
            raise ValueError(f"{name}: no row of class {labels[c]!r} has a positive weight; leave the class out")
    problems, pairs = [], []
    for i in range(len(classes)):
        for j in range(i + 1, len(classes)):
            row = np.concatenate([rows[i], rows[j]])
            sign = np.repeat([1.0, -1.0], [len(rows[i]), len(rows[j])])
            bound = sign * upper[row]
            problems.append((row, -sign, np.minimum(bound, 0.0), np.maximum(bound, 0.0)))
            pairs.append((i, j))
    kernel, centre, solved = _solve(x, kernel or Kernel(), weights, problems, limits or Limits(), name)
    for (i, j), result in zip(pairs, solved, strict=True):
        if result[5] == "unbounded":
            raise ValueError(
                f"{name}: C = inf asks for a hard margin, but this kernel does not separate the classes {labels[i]!r} "
                f"and {labels[j]!r} (or by less than 1e-5 of the largest row); take a finite C"
            )
    everywhere = np.zeros((len(classes) - 1, len(x)))
    for (i, j), (row, *_), result in zip(pairs, problems, solved, strict=True):
        everywhere[j - 1, row[: len(rows[i])]] = result[0][: len(rows[i])]
        everywhere[i, row[len(rows[i]) :]] = result[0][len(rows[i]) :]
    used = (everywhere != 0).any(axis=0)
    by_class = [found[used[found]] for found in rows]
    starts = np.cumsum([0, *map(len, by_class)])
    return _machines(x, kernel, centre, classes, np.concatenate(by_class), starts, everywhere, solved)


def svr(
    x: np.ndarray,
    y: Any,
    *,
    C: float = 1.0,
    epsilon: float = 0.1,
    kernel: Kernel | None = None,
    sample_weight: np.ndarray | None = None,
    limits: Limits | None = None,
    name: str = "svr",
) -> Machines:
    """Regression that ignores errors up to ``epsilon`` and counts C for each unit beyond.

    Arguments, errors and warnings as of :func:`svc`; y (N,) holds numbers.
    """
    from ..estimators import checks

    _check_cost(name, C)
    target = checks.check_target(y, name, len(x)).astype(np.float64)
    weights = checks.check_weights(sample_weight, name, len(x))
    upper = np.full(len(x), float(C)) if weights is None else np.where(weights > 0, C, 0.0)
    if weights is not None and np.isfinite(C):
        upper = C * weights
    row = np.flatnonzero(upper > 0)
    zero = np.zeros(len(row))
    problem = (
        np.concatenate([row, row]),
        np.concatenate([epsilon - target[row], -epsilon - target[row]]),
        np.concatenate([zero, -upper[row]]),
        np.concatenate([upper[row], zero]),
    )
    kernel, centre, solved = _solve(x, kernel or Kernel(), weights, [problem], limits or Limits(), name)
    if solved[0][5] == "unbounded":
        raise ValueError(f"{name}: C = inf, but no function of this kernel stays within epsilon = {epsilon:g} of y")
    everywhere = np.zeros((1, len(x)))
    everywhere[0, row] = solved[0][0][: len(row)] + solved[0][0][len(row) :]
    support = np.flatnonzero(everywhere[0])
    return _machines(x, kernel, centre, np.empty(0), support, np.array([0, len(support)]), everywhere, solved)


def _machines(
    x: np.ndarray,
    kernel: Kernel,
    centre: np.ndarray | None,
    classes: np.ndarray,
    support: np.ndarray,
    starts: np.ndarray,
    everywhere: np.ndarray,
    solved: list[Any],
) -> Machines:
    rho = np.array([r[1] for r in solved])
    vectors = np.empty((0, 0)) if kernel.name == "precomputed" else np.ascontiguousarray(x[support])
    if centre is not None and not _single(kernel, x, centre):
        vectors = vectors.astype(np.float64)
    found = Machines(
        kernel=kernel,
        classes=classes,
        support=support,
        vectors=vectors,
        starts=starts,
        coefficients=np.ascontiguousarray(everywhere[:, support]),
        rho=rho,
        iterations=np.array([r[4] for r in solved]),
        gaps=np.array([r[2] for r in solved]),
        objectives=np.array([r[3] for r in solved]),
        centre=centre,
        finished=all(r[5] == "converged" for r in solved),
    )
    if kernel.name == "linear" and centre is not None:  # solved for x - centre, decided for x
        rho += found.planes @ centre
    return found


def _single(kernel: Kernel, x: np.ndarray, centre: np.ndarray) -> bool:
    """Whether float32 is enough for the rows: the exponent of the Gaussian may not be off by more than 1e-4."""
    if x.dtype != np.float32:
        return False
    if kernel.name != "rbf":
        return True
    reach = np.maximum(np.abs(x.max(axis=0) - centre), np.abs(x.min(axis=0) - centre))
    return 4 * float(kernel.gamma) * float(reach @ reach) * 2.0**-23 < 1e-4


def _solve(
    x: np.ndarray,
    kernel: Kernel,
    weights: np.ndarray | None,
    problems: list[Any],
    limits: Limits,
    name: str,
) -> tuple[Kernel, np.ndarray | None, list[Any]]:
    """The fixed kernel, the centre and the solver's results for problems over rows x."""
    if not isinstance(kernel, Kernel):
        raise TypeError(f"{name}: kernel must be a Kernel, such as Kernel('rbf', gamma=0.1), got {kernel!r}")
    kernel = kernel.fixed(x, weights)
    centre = x.mean(axis=0, dtype=np.float64) if kernel.name in ("linear", "rbf") else None
    data = x
    if callable(kernel.name):
        data = kernel.values(x, x)
    elif centre is not None and not _single(kernel, x, centre):
        data = x.astype(np.float64, copy=False)
    if kernel.given:
        if data.shape[0] != data.shape[1]:
            raise ValueError(f"{name}: a precomputed kernel must be a square matrix, got shape {data.shape}")
        if not np.isfinite(data).all():
            raise ValueError(f"{name}: the kernel's values are not all finite")
    watch = _Watch(x, kernel, limits, name)
    try:
        solved = _kernels.svm_fit(
            data,
            kernel._plain(),
            centre,
            problems,
            float(limits.tol),
            bool(limits.shrinking),
            int(limits.cache_bytes),
            int(limits.max_iter),
            float(limits.max_time or 0.0),
            watch,
        )
    finally:
        watch.close()
    watch.judge(problems, solved)
    return kernel, centre, solved


class _Watch:
    """Reports from the solver: the progress line, and warnings."""

    SLOW = 2.0  # seconds after which unscaled features are worth a word
    MANY = 20  # iterations per variable that count as many
    SPREAD = 100.0  # ratio of standard deviations from which features are unscaled

    def __init__(self, x: np.ndarray, kernel: Kernel, limits: Limits, name: str) -> None:
        self.x, self.kernel, self.limits, self.name = x, kernel, limits, name
        self.warned = self.drawn = False
        self.start = time.perf_counter()

    def __call__(self, done: int, problems: int, iterations: int, gap: float, seconds: float) -> Any:
        if seconds > self.SLOW:
            self.warn_of_scales(f"after {seconds:.0f} s and {iterations} iterations")
        if callable(self.limits.progress):
            return self.limits.progress(
                {"problems_done": done, "problems": problems, "iterations": iterations, "gap": gap, "seconds": seconds}
            )
        if self.limits.progress:
            text = f"{self.name}: {done}/{problems} problems, {iterations} iterations, gap {gap:.3g}, {seconds:.1f} s"
            sys.stderr.write(f"\r{text:<78}")
            sys.stderr.flush()
            self.drawn = True
        return None

    def close(self) -> None:
        if self.drawn:
            sys.stderr.write("\n")

    def warn_of_scales(self, when: str) -> None:
        if self.warned or self.kernel.given:
            return
        self.warned = True
        spread = self.x.std(axis=0, dtype=np.float64)
        spread = spread[spread > 0]
        if len(spread) and spread.max() > self.SPREAD * spread.min():
            warnings.warn(
                f"{self.name}: the features are not scaled (standard deviations from {spread.min():.3g} to "
                f"{spread.max():.3g}) and convergence is slow ({when}); subtract the mean of each feature and divide "
                "by its standard deviation",
                UserWarning,
                stacklevel=6,
            )

    def judge(self, problems: list[Any], solved: list[Any]) -> None:
        from ..estimators import checks

        most = max(solved, key=lambda r: r[4])[4]
        size = max(len(p[0]) for p in problems)
        if size > 200 and most > self.MANY * size:
            self.warn_of_scales(f"{most} iterations for {size} variables")
        if callable(self.limits.progress):
            total = sum(r[4] for r in solved)
            gap = max(r[2] for r in solved)
            self(len(solved), len(solved), total, gap, time.perf_counter() - self.start)
        ended = {r[5] for r in solved} - {"converged", "unbounded"}
        if ended:
            left = [r for r in solved if r[5] in ended]
            why = {
                "time": f"max_time = {self.limits.max_time:g} s is over" if self.limits.max_time else "",
                "iterations": "the limit of iterations is reached",
                "stopped": "the caller stopped it",
            }
            warnings.warn(
                f"{self.name}: stopped early, as {' and '.join(why[e] for e in sorted(ended))}; in {len(left)} of "
                f"{len(solved)} problems the optimality gap is still up to {max(r[2] for r in left):.3g} "
                f"(tol = {self.limits.tol:g}). Scale the features, or raise max_iter or max_time",
                checks.known(checks.ConvergenceWarning),
                stacklevel=5,
            )
