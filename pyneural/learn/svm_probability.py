"""Probabilities from the values of support vector machines.

A sigmoid for each pair of classes (Platt 1999, in the form of Lin, Lin and Weng, Machine Learning 68, 2007) is fitted
to values of rows that the machines have not seen, and the pairs are joined as in Wu, Lin and Weng (JMLR 5, 2004,
second method).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .svm import Machines


def fit_sigmoid(values: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """(A, B) so that 1 / (1 + exp(A value + B)) is the probability that a row is positive, by maximum likelihood.

    The targets are (n + 1) / (n + 2) and 1 / (n + 2) instead of 1 and 0, which keeps A finite.

    Args:
        values: Of unseen rows (N,). positive: Which rows are positive (N,), bool. weights: What each counts (N,).
    """
    n, m = float(weights[positive].sum()), float(weights[~positive].sum())
    target = np.where(positive, (n + 1) / (n + 2), 1 / (m + 2))
    a, b = 0.0, float(np.log((m + 1) / (n + 1)))

    def loss(a: float, b: float) -> float:
        z = a * values + b
        return float(weights @ (target * z + np.logaddexp(0.0, -z)))

    now = loss(a, b)
    for _ in range(100):
        z = a * values + b
        p = np.exp(-np.logaddexp(0.0, z))
        slope = weights * (target - p)
        ga, gb = float(slope @ values), float(slope.sum())
        if max(abs(ga), abs(gb)) < 1e-10 * max(1.0, n + m):
            break
        curve = weights * p * (1 - p)
        haa, hab, hbb = float(curve @ values**2) + 1e-12, float(curve @ values), float(curve.sum()) + 1e-12
        determinant = haa * hbb - hab * hab
        da, db = -(hbb * ga - hab * gb) / determinant, -(haa * gb - hab * ga) / determinant
        step = 1.0
        while step > 1e-10:  # Newton's step, halved until it helps
            after = loss(a + step * da, b + step * db)
            if after < now + 1e-4 * step * (ga * da + gb * db):
                break
            step /= 2
        else:
            break
        a, b, now = a + step * da, b + step * db, after
    return a, b


def couple(pairwise: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (N, k) from those of each pair (N, pairs), where pair (i, j) holds P(i | i or j).

    Minimises the sum over i and j of (r_ji p_i - r_ij p_j)^2 subject to sum p = 1.
    """
    if classes == 2:
        return np.concatenate([pairwise, 1 - pairwise], axis=1)
    n = len(pairwise)
    r = np.clip(pairwise, 1e-7, 1 - 1e-7)
    system = np.zeros((n, classes + 1, classes + 1))
    pair = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            win, lose = r[:, pair], 1 - r[:, pair]
            system[:, i, i] += lose**2
            system[:, j, j] += win**2
            system[:, i, j] = system[:, j, i] = -win * lose
            pair += 1
    system[:, classes, :classes] = system[:, :classes, classes] = 1
    right = np.zeros((n, classes + 1, 1))
    right[:, classes] = 1
    found = np.linalg.solve(system, right)[:, :classes, 0]
    found = np.maximum(found, 0.0)  # rounding may leave -1e-17
    return found / found.sum(axis=1, keepdims=True)


def folds(codes: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """The fold (N,) of each row: each class shuffled and dealt out evenly."""
    fold = np.empty(len(codes), dtype=np.int64)
    for c in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == c))
        fold[rows] = np.arange(len(rows)) % parts
    return fold


def unseen_values(
    fit: Callable[[np.ndarray], Machines],
    decide: Callable[[Machines, np.ndarray, np.ndarray], np.ndarray],
    codes: np.ndarray,
    classes: int,
    rng: np.random.Generator,
    parts: int = 5,
) -> np.ndarray:
    """The machines' values (N, pairs) for each row, from a fit without the row's fold.

    ``fit(rows)`` fits on some rows, ``decide(machines, train, test)`` gives their values for others. A pair of which a
    class is missing in a fit has the value 0 there.
    """
    fold = folds(codes, parts, rng)
    values = np.zeros((len(codes), classes * (classes - 1) // 2))
    number = {pair: p for p, pair in enumerate((i, j) for i in range(classes) for j in range(i + 1, classes))}
    for f in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        present = np.unique(codes[train])
        if len(present) < 2:
            continue
        machines = fit(train)
        columns = np.array([number[int(present[i]), int(present[j])] for i, j in machines.pairs])
        values[np.ix_(test, columns)] = decide(machines, train, test)
    return values


def calibrate(values: np.ndarray, codes: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """A and B of each pair (pairs, 2), from values (N, pairs) of unseen rows, which count by their weights (N,)."""
    found: list[Any] = []
    for i in range(classes):
        for j in range(i + 1, classes):
            rows = (codes == i) | (codes == j)
            found.append(fit_sigmoid(values[rows, len(found)], codes[rows] == i, weights[rows]))
    return np.array(found)


def probabilities(values: np.ndarray, sigmoids: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (N, k) from the machines' values (N, pairs) and the pairs' sigmoids."""
    z = sigmoids[:, 0] * values + sigmoids[:, 1]
    return couple(np.exp(-np.logaddexp(0.0, z)), classes)
