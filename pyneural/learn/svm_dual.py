"""The dual problem of a small support vector machine, solved densely and to rounding, with its optimality conditions.

An independent check of the iterative solver, and the tool for problems that are done by hand: a primal-dual
interior-point method (Mehrotra's predictor and corrector) on the whole kernel matrix, and a last exact solve on the
variables between their bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST = 2000  # rows; each of some twenty iterations solves a system of this size
_SMALLEST_MARGIN = 1e-5  # of the largest row; below, classes count as not separable


@dataclass(frozen=True)
class DualSolution:
    """The machine f(x) = sum_i a_i y_i k(x_i, x) + b.

    Attributes:
        multipliers: a (n,).
        b: The threshold.
        w: sum_i a_i y_i x_i (d,), if the rows were given.
        values: f at the rows (n,).
        norm: ||w|| in the space of the kernel. margin: 1 / norm.
        objective: Of the dual, sum a - ||w||^2 / 2.
        slack: max(0, 1 - y f) (n,).
        residuals: Largest violation of each optimality condition: ``stationarity`` and ``complementarity`` (as far as
            y f differs from 1 where 0 < a < C, is below it where a = 0, or above it where a = C), ``equality``
            (|sum a y|), ``bounds`` (a outside [0, C]), ``gap`` (primal less dual value).
    """

    multipliers: np.ndarray
    b: float
    w: np.ndarray | None
    values: np.ndarray
    norm: float
    objective: float
    slack: np.ndarray
    residuals: dict[str, float]

    @property
    def margin(self) -> float:
        return 1 / self.norm if self.norm > 0 else float("inf")

    @property
    def support(self) -> np.ndarray:
        """Rows with a positive multiplier."""
        return np.flatnonzero(self.multipliers > 0)


def solve_dual(gram: Any, y: Any, C: float = np.inf, *, x: Any = None) -> DualSolution:
    """Maximises sum a_i - 1/2 sum a_i a_j y_i y_j K_ij subject to sum a_i y_i = 0 and 0 <= a_i <= C.

    The multipliers need not be unique; those in the middle of all solutions are found.

    Args:
        gram: Kernel values (n, n), n <= 2000.
        y: Labels -1 and 1 (n,), both present.
        C: Cost of slack; infinity for a hard margin.
        x: The rows (n, d) of a linear kernel, for ``w``.

    Raises:
        ValueError: Other shapes or labels, or C = infinity where the kernel does not separate the labels.
    """
    k, sign = np.asarray(gram, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(sign)
    if sign.ndim != 1 or k.shape != (n, n) or not 2 <= n <= LARGEST:
        raise ValueError(
            f"solve_dual: gram {k.shape} and y {sign.shape}; expected (n, n) and (n,), 2 <= n <= {LARGEST}"
        )
    if not np.isfinite(k).all():
        raise ValueError("solve_dual: gram holds a NaN or an infinity")
    if set(np.unique(sign)) != {-1.0, 1.0}:
        raise ValueError(f"solve_dual: y must hold -1 and 1, both of them; got {np.unique(sign)}")
    if not C > 0:
        raise ValueError(f"solve_dual: C must be above 0, got {C}")
    q = k * np.outer(sign, sign)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # its last steps may go beyond rounding
        a, b = _interior_point(q, sign, C)
    a, b = _polish(q, sign, C, a, b)
    values = k @ (a * sign) + b
    norm = float(np.sqrt(max(a @ q @ a, 0.0)))
    return DualSolution(
        multipliers=a,
        b=b,
        w=None if x is None else (a * sign) @ np.asarray(x, dtype=np.float64),
        values=values,
        norm=norm,
        objective=float(a.sum() - norm**2 / 2),
        slack=np.maximum(0.0, 1 - sign * values),
        residuals=_residuals(q, sign, C, a, b),
    )


def _residuals(q: np.ndarray, y: np.ndarray, C: float, a: np.ndarray, b: float) -> dict[str, float]:
    short = 1 - q @ a - y * b  # of the margin
    at_lower, at_upper = a <= 0, a >= C
    off = np.where(at_lower, np.maximum(short, 0.0), np.where(at_upper, np.maximum(-short, 0.0), np.abs(short)))
    slack = np.maximum(short, 0.0)
    square = float(a @ q @ a)
    cost = C * float(slack.sum()) if np.isfinite(C) else 0.0
    return {
        "stationarity": float(off.max()),
        "complementarity": float(np.abs(np.where(at_upper, 0.0, a * short)).max()),
        "equality": float(abs(y @ a)),
        "bounds": float(max(0.0, -a.min(), (a - C).max())),
        "gap": square + cost - float(a.sum()),
    }


def _interior_point(q: np.ndarray, y: np.ndarray, C: float) -> tuple[np.ndarray, float]:
    n = len(y)
    largest = float(np.sqrt(max(np.diag(q).max(), 0.0)))
    soft = np.isfinite(C)
    a = np.full(n, C / 2 if soft else 1 / max(largest**2, 1e-300))
    b, z, s = 0.0, np.ones(n), np.ones(n) if soft else np.zeros(n)
    system = np.zeros((n + 1, n + 1))
    system[:n, n] = system[n, :n] = y

    def longest(values: np.ndarray, step: np.ndarray) -> float:
        down = step < 0
        return float(np.min(-values[down] / step[down])) if down.any() else np.inf

    t = C - a if soft else np.ones(n)  # kept apart from a: the difference would lose its digits
    for _ in range(200):
        dual, primal = q @ a - 1 + y * b - z + s, y @ a
        mu = float(a @ z + t @ s) / (n * (2 if soft else 1))
        if max(np.abs(dual).max(), abs(primal) / max(1.0, a.max()), mu) < 1e-14:
            break
        if not soft and np.sqrt(max(a @ q @ a, 0.0)) < _SMALLEST_MARGIN * largest * a.sum():
            raise ValueError("solve_dual: C = inf asks for a hard margin, but the kernel does not separate the labels")
        system[:n, :n] = q
        system[np.arange(n), np.arange(n)] += z / a + s / t
        da, dz, ds, aim = np.zeros(n), np.zeros(n), np.zeros(n), 0.0
        try:
            for corrector in (False, True):
                lower, upper = (aim - da * dz) / a - z, (aim + da * ds) / t - s if soft else np.zeros(n)
                found = np.linalg.solve(system, np.append(-dual + lower - upper, -primal))
                da, db = found[:n], float(found[n])
                dz, ds = lower - z / a * da, upper + s / t * da
                step = min(1.0, longest(a, da), longest(z, dz))
                if soft:
                    step = min(step, longest(t, -da), longest(s, ds))
                if not corrector:
                    after = float((a + step * da) @ (z + step * dz) + (t - soft * step * da) @ (s + step * ds))
                    aim = mu * (after / (mu * n * (2 if soft else 1))) ** 3
        except np.linalg.LinAlgError:
            break  # as far as rounding lets it
        step = min(1.0, 0.995 * step)
        if not np.isfinite(found).all() or step < 1e-12:
            break
        a, b, z, s, t = a + step * da, b + step * db, z + step * dz, s + step * ds, t - soft * step * da
    a = np.where(a < z, 0.0, np.where(soft & (t < s), C, a))  # each variable or its partner goes to 0
    return a, b


def _polish(q: np.ndarray, y: np.ndarray, C: float, a: np.ndarray, b: float) -> tuple[np.ndarray, float]:
    """The nearest exact solution with the same variables at their bounds, if that is better."""
    free = (a > 0) & (a < C)
    f = int(free.sum())
    if f == 0:  # any threshold between the two sides is optimal: take the middle, as the iterative solver does
        slope = y * (q @ a - 1)
        least, most = slope[np.where(y > 0, a < C, a > 0)].min(), slope[np.where(y > 0, a > 0, a < C)].max()
        return a, float(-(least + most) / 2)
    system = np.zeros((f + 1, f + 1))
    system[:f, :f] = q[np.ix_(free, free)]
    system[:f, f] = system[f, :f] = y[free]
    best = (a, b)
    for _ in range(3):
        right = np.append(1 - q[free] @ a - y[free] * b, -(y @ a))
        change = np.linalg.lstsq(system, right, rcond=1e-12)[0]
        a = a.copy()
        a[free] += change[:f]
        b += float(change[f])
        if not np.all((a >= 0) & (a <= C)):
            break
        if max(_residuals(q, y, C, a, b).values()) < max(_residuals(q, y, C, *best).values()):
            best = (a, b)
    return best
