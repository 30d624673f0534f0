"""k-means: Lloyd's iteration and the ways to start it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from .. import _kernels, random
from ..random import Generator, generator_or_default

#: Names of the ways to start; centres may also be given.
STARTS = ("k-means++", "k-means||", "random")

_ROUNDS = 5  # of k-means||
_OVERSAMPLING = 2  # candidates per round and cluster


class Iteration(NamedTuple):
    """One pass of :func:`kmeans`: the inertia of the centres it began with, how many rows changed their cluster, how
    many clusters were empty, and the time it took."""

    inertia: float
    moved: int
    empty: int
    seconds: float


@dataclass(frozen=True)
class KMeansResult:
    """What :func:`kmeans` found.

    Attributes:
        centers: (k, d) float64.
        labels: The nearest centre of each row, (N,) int32; they are those of ``centers``.
        inertia: Weighted sum of squared distances to the nearest centre.
        iterations: A record of each pass.
        converged: "labels" if a pass changed none, "tolerance" if the centres moved less than asked, "" if neither
            happened within the limit.
    """

    centers: np.ndarray
    labels: np.ndarray
    inertia: float
    iterations: tuple[Iteration, ...]
    converged: str


class Rows:
    """Rows with weights, ready for k-means; arrays that fit are not copied.

    Args:
        x: (N, d), finite; float32, float64 and uint8 as they are, other numbers as float64.
        weights: (N,), none negative, not all zero; None for ones.

    Raises:
        ValueError: x is no matrix, is empty, or holds a NaN or an infinity; or the weights are not as said.
    """

    def __init__(self, x: Any, weights: Any = None, mean: np.ndarray | None = None) -> None:
        values = np.asarray(x)
        if values.ndim != 2 or 0 in values.shape:
            raise ValueError(f"kmeans: x must be rows of numbers, (N, d), got shape {values.shape}")
        if values.dtype not in (np.float32, np.float64, np.uint8):
            values = values.astype(np.float64)
        self.x = np.ascontiguousarray(values)
        self.weights = None
        if weights is not None:
            w = np.ascontiguousarray(weights, dtype=np.float64)
            if w.shape != (len(self.x),):
                raise ValueError(f"kmeans: weights must have shape ({len(self.x)},), got {w.shape}")
            if not np.isfinite(w).all() or w.min() < 0 or not w.any():
                raise ValueError("kmeans: weights must be finite, not negative, and not all zero")
            self.weights = w
        self.kernel = _kernels.KMeansRows(self.x, self.weights, mean)
        if not math.isfinite(self.kernel.spread):
            raise ValueError("kmeans: x holds a NaN, an infinity, or numbers whose squares overflow")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(len(self) if self.weights is None else self.weights.sum())

    def weighted(self, values: np.ndarray) -> np.ndarray:
        """values (N, ...) times the weights."""
        if self.weights is None:
            return values
        return values * self.weights.reshape(-1, *[1] * (values.ndim - 1))

    def order(self) -> np.ndarray:
        """An order of the rows, (N,), that follows from what they hold: equal rows stand together. Draws go through
        the rows in this order, so that a start depends neither on how rows are sorted nor on whether equal ones are
        repeated or weighted."""
        d = self.x.shape[1]
        far = np.asarray(random.normal(0.0, 1.0, (1, d), generator=Generator(0)), dtype=np.float64)
        far *= math.sqrt(self.kernel.spread / self.total / d) or 1.0
        return np.argsort(self.kernel.distances(self.kernel.mean + far)[:, 0], kind="stable")

    def drawn(self, shares: np.ndarray, order: np.ndarray, count: int, generator: Generator) -> np.ndarray:
        """Numbers of rows (count,), each with probability in proportion to its share (N,)."""
        sums = np.cumsum(shares[order])
        spots = _uniform(count, generator) * sums[-1]
        return order[np.minimum(np.searchsorted(sums, spots, side="right"), len(order) - 1)]

    def centers_of(self, which: np.ndarray) -> np.ndarray:
        return self.x[which].astype(np.float64)


def _uniform(count: int, generator: Generator) -> np.ndarray:
    return np.asarray(random.rand(count, generator=generator, dtype=np.float64))


# ---- starts ----


def kmeans_plus_plus(rows: Rows, clusters: int, generator: Generator, trials: int | None = None) -> np.ndarray:
    """Numbers of rows to start from, (clusters,): each next one is drawn with probability in proportion to its weight
    and its squared distance to the nearest one so far, and of several such draws the one is kept that leaves the least
    inertia (Arthur and Vassilvitskii, "k-means++", 2007, with the greedy trials of their section 4).

    Args:
        trials: Draws per centre; 2 + ln(clusters) if None.
    """
    trials = trials or 2 + int(math.log(clusters))
    order = rows.order()
    ones = np.ones(len(rows)) if rows.weights is None else rows.weights
    chosen = [int(rows.drawn(ones, order, 1, generator)[0])]
    closest = rows.kernel.distances(rows.centers_of(np.array(chosen)))[:, 0]
    for _ in range(1, clusters):
        shares = rows.weighted(closest)
        # Where every row has a centre already, further ones can only repeat some.
        tries = rows.drawn(shares if shares.any() else ones, order, trials, generator)
        distances = rows.kernel.distances(rows.centers_of(tries), np.ascontiguousarray(closest))
        best = int(np.argmin(rows.weighted(distances).sum(axis=0)))
        chosen.append(int(tries[best]))
        closest = distances[:, best]
    return np.array(chosen)


def kmeans_parallel(rows: Rows, clusters: int, generator: Generator) -> np.ndarray:
    """Centres to start from, (clusters, d): in each of five rounds about two candidates per cluster are drawn at once,
    with probability in proportion to weight and squared distance to the nearest candidate; the candidates, weighted by
    the rows nearest to them, are then thinned out by :func:`kmeans_plus_plus` (Bahmani et al., "Scalable k-means++",
    2012). Few passes over the rows, so for many clusters it is sooner done than k-means++.
    """
    order = rows.order()
    ones = np.ones(len(rows)) if rows.weights is None else rows.weights
    chosen = rows.drawn(ones, order, 1, generator)
    labels = np.empty(len(rows), np.int32)
    closest = rows.kernel.distances(rows.centers_of(chosen))[:, 0]
    for _ in range(_ROUNDS):
        shares = rows.weighted(closest)
        total = shares.sum()
        if total == 0:
            break
        wanted = _uniform(len(rows), generator) * total < _OVERSAMPLING * clusters * shares[order]
        new = order[wanted]
        if len(new):
            chosen = np.concatenate([chosen, new])
            nearer = rows.kernel.assign(rows.centers_of(new), labels, True)
            closest = np.minimum(closest, nearer)
    if len(chosen) < clusters:
        return rows.centers_of(kmeans_plus_plus(rows, clusters, generator))
    rows.kernel.assign(rows.centers_of(chosen), labels)
    held = np.bincount(labels, weights=rows.weights, minlength=len(chosen)).astype(np.float64)
    candidates = Rows(rows.x[chosen], held)
    return candidates.centers_of(kmeans_plus_plus(candidates, clusters, generator))


def random_rows(rows: Rows, clusters: int, generator: Generator) -> np.ndarray:
    """Numbers of different rows, (clusters,), drawn one after the other in proportion to their weights."""
    order = rows.order()
    with np.errstate(divide="ignore"):
        keys = -np.log1p(-_uniform(len(rows), generator))
        if rows.weights is not None:
            keys = keys / rows.weights[order]
    return order[np.argsort(keys, kind="stable")[:clusters]]


def starting_centers(
    rows: Rows, clusters: int, init: Any = "k-means++", generator: Generator | None = None
) -> np.ndarray:
    """Centres to start from, (clusters, d) float64.

    Args:
        rows: The rows.
        clusters: How many, at most as many as rows.
        init: One of :data:`STARTS`, an array of centres (clusters, d), or a function
            ``(x, clusters, generator) -> centres``.

    Raises:
        ValueError: The name is unknown, or the centres have another shape or hold a NaN or an infinity.
    """
    generator = generator_or_default(generator)
    if isinstance(init, str):
        if init == "k-means++":
            return rows.centers_of(kmeans_plus_plus(rows, clusters, generator))
        if init == "k-means||":
            return kmeans_parallel(rows, clusters, generator)
        if init == "random":
            return rows.centers_of(random_rows(rows, clusters, generator))
        raise ValueError(f"kmeans: init must be one of {', '.join(STARTS)}, an array or a function, got {init!r}")
    given = init(rows.x, clusters, generator) if callable(init) else init
    centers = np.array(given, dtype=np.float64, order="C")
    expected = (clusters, rows.x.shape[1])
    if centers.shape != expected:
        raise ValueError(f"kmeans: init has shape {centers.shape}, expected {expected}: a centre for each cluster")
    if not np.isfinite(centers).all():
        raise ValueError("kmeans: init holds a NaN or an infinity")
    return centers


# ---- iteration ----


def refill(
    rows: Rows, centers: np.ndarray, labels: np.ndarray, sums: np.ndarray, held: np.ndarray
) -> list[tuple[int, int]]:
    """Gives each empty cluster the row that lies farthest from the centre it was assigned to (of equal ones the first),
    and takes it from its cluster; no row is taken twice, none that is alone in its cluster, and none that lies on its
    centre. A cluster for which no row is left stays empty.

    Changes ``sums`` and ``held`` and returns pairs of cluster and row.
    """
    distances = rows.kernel.assign(centers, labels.copy(), True)
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    distances = np.where(weights > 0, distances, 0.0)
    taken: list[tuple[int, int]] = []
    farthest = iter(np.argsort(-distances, kind="stable"))
    members = np.bincount(labels[weights > 0], minlength=len(centers))
    for cluster in np.flatnonzero(held == 0):
        for row in farthest:
            if distances[row] == 0:
                return taken
            owner = labels[row]
            if members[owner] > 1:
                part = weights[row] * rows.x[row].astype(np.float64)
                members[owner] -= 1
                sums[owner] -= part
                held[owner] -= weights[row]
                sums[cluster], held[cluster] = part, weights[row]
                taken.append((int(cluster), int(row)))
                break
    return taken


def kmeans(
    x: Any,
    clusters: int,
    *,
    init: Any = "k-means++",
    weights: Any = None,
    max_iter: int = 300,
    tol: float = 1e-4,
    generator: Generator | None = None,
    on_iteration: Callable[[int, Iteration], Any] | None = None,
) -> KMeansResult:
    """Clusters rows by Lloyd's iteration: each row joins its nearest centre, each centre moves to the mean of its rows
    (Lloyd, "Least squares quantization in PCM", 1957).

    A label is that of the nearest centre as distances in float64 tell, the first of equal ones, also for float32 rows
    and bytes; sums are taken in float64 in a fixed order, so the result is the same to the last bit for any number of
    threads. Bounds on distances spare products that cannot change a label (Elkan, "Using the triangle inequality to
    accelerate k-means", 2003) where that is sooner done; they change no bit. It ends when no label changes, or when the
    centres have moved by no more than ``tol``; then the rows are assigned once more, so that labels and centres belong
    together. An empty cluster takes the row that is farthest from its own centre (:func:`refill`).

    Args:
        x: Rows (N, d): float32, float64 or uint8 in place, other numbers as float64; or :class:`Rows`.
        clusters: How many, 1 to N.
        init: "k-means++", "k-means||", "random", centres (clusters, d), or a function
            ``(x, clusters, generator) -> centres``.
        weights: What each row counts, (N,).
        max_iter: Passes over the rows at most.
        tol: Bound of the summed squares of the centres' moves, in units of the mean variance of a feature.
        generator: Of random starts; pyneural's default generator if None.
        on_iteration: Called with number and record of each pass; what it returns true for ends the iteration.

    Raises:
        ValueError: The rows, weights or centres are not as said, or there are fewer rows than clusters.

    Example::

        result = pn.learn.kmeans(images, 10, generator=pn.Generator(0))
        result.centers, result.labels, result.inertia
    """
    rows = x if isinstance(x, Rows) else Rows(x, weights)
    if not isinstance(clusters, Integral) or not 1 <= clusters <= len(rows):
        raise ValueError(f"kmeans: clusters is {clusters!r}, expected a number between 1 and the {len(rows)} rows")
    if max_iter < 1 or tol < 0:
        raise ValueError(f"kmeans: max_iter must be at least 1 and tol at least 0, got {max_iter} and {tol}")
    clusters = int(clusters)
    centers = starting_centers(rows, clusters, init, generator)
    bound = tol * rows.kernel.spread / rows.total / rows.x.shape[1]
    labels = np.full(len(rows), -1, np.int32)
    sums, held = np.empty_like(centers), np.empty(clusters)
    record: list[Iteration] = []
    converged = ""
    for number in range(max_iter):
        began = time.perf_counter()
        moved, inertia = rows.kernel.step(centers, labels, sums, held)
        empty = int(np.count_nonzero(held == 0))
        refilled = refill(rows, centers, labels, sums, held) if empty else []
        settled = moved == 0 and not refilled
        if not settled:
            means = np.where(held[:, None] > 0, sums / np.where(held > 0, held, 1.0)[:, None], centers)
            shift = float(((means - centers) ** 2).sum())
            centers = means
        record.append(Iteration(inertia, moved, empty, time.perf_counter() - began))
        stopped = on_iteration is not None and on_iteration(number, record[-1])
        if settled or (tol > 0 and shift <= bound):
            converged = "labels" if settled else "tolerance"
            break
        if stopped:
            break
    distances = rows.kernel.assign(centers, labels, True)
    return KMeansResult(centers, labels, float(rows.weighted(distances).sum()), tuple(record), converged)


def nearest(x: Any, centers: Any) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre (N,) int32 of rows (N, d), the first of equal ones, and the squared distance to it (N,)."""
    points = np.array(centers, dtype=np.float64, order="C")
    rows = Rows(x, mean=points.mean(axis=0))
    labels = np.empty(len(rows), np.int32)
    return labels, rows.kernel.assign(points, labels, True)


def squared_distances(x: Any, centers: Any) -> np.ndarray:
    """Squared distances of rows (N, d) to centres (k, d): (N, k) float64."""
    points = np.array(centers, dtype=np.float64, order="C")
    return Rows(x, mean=points.mean(axis=0)).kernel.distances(points)
