"""Clusterers: k-means on all rows or on small batches, and competitive learning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from .. import random
from ..learn import lloyd as learn
from ..learn.competitive import CompetitiveLayer
from ..learn.minibatch import MiniBatch
from .base import ClustererMixin, TransformerMixin
from .checks import (
    ARRAY,
    BOOLEAN,
    CALLABLE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SEED,
    ConvergenceWarning,
    Interval,
    OneOf,
    generator_of,
    known,
)

_STARTS = (OneOf(learn.STARTS), CALLABLE, ARRAY)
_AUTO = OneOf(("auto",))


class _Centers(TransformerMixin, ClustererMixin):
    """What clusterers with centres do after fitting."""

    _kind = "clusterer"
    _dtypes: tuple[Any, ...] = (np.float64, np.float32, np.uint8)

    cluster_centers_: np.ndarray
    inertia_: float

    @property
    def _outputs(self) -> int:
        return len(self.cluster_centers_)

    def predict(self, X: Any) -> np.ndarray:
        """The number of the nearest centre (N,), int32; the first of equally near ones."""
        return learn.nearest(self._rows(X), self.cluster_centers_)[0]

    def _transform(self, X: Any) -> np.ndarray:
        """Distances to the centres, (N, n_clusters)."""
        rows = self._rows(X)
        distances = np.sqrt(learn.squared_distances(rows, self.cluster_centers_))
        return distances.astype(rows.dtype if rows.dtype.kind == "f" else np.float64, copy=False)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the weighted sum of squared distances to the nearest centre."""
        rows = self._rows(X)
        weights = self._weights(sample_weight, len(rows))
        distances = learn.nearest(rows, self.cluster_centers_)[1]
        return -float(distances.sum() if weights is None else weights @ distances)

    def _require_rows(self, rows: np.ndarray, clusters: int) -> None:
        if len(rows) < clusters:
            raise ValueError(
                f"{type(self).__name__}: n_samples={len(rows)} should be >= n_clusters={clusters}; take fewer clusters"
            )

    def _warn_of_few(self, clusters: int) -> None:
        distinct = len(np.unique(self.labels_))
        if distinct < clusters:
            warnings.warn(
                f"{type(self).__name__}: the rows fall into {distinct} clusters, fewer than n_clusters={clusters}; "
                "there may be duplicate rows",
                known(ConvergenceWarning),
                stacklevel=3,
            )


class KMeans(_Centers):
    """k-means by Lloyd's iteration (:func:`pyneural.learn.kmeans`): exact labels, sums in float64, the same bits for
    any number of threads. float32 rows and bytes are clustered without a copy.

    The start does not depend on the order of the rows, and an integer weight is the same as repeating a row.

    Args:
        n_clusters: How many clusters.
        init: "k-means++", "k-means||", "random", centres (n_clusters, d), or a function (X, n_clusters, generator).
        n_init: Starts, of which the one with the least inertia is kept; "auto" is 1 for k-means++, k-means|| and given
            centres, 10 for random rows and functions.
        max_iter: Passes over the rows in each start.
        tol: Bound of the summed squares of the centres' moves, in units of the mean variance of a feature.
        verbose: 1 prints each pass.
        random_state: Seed or generator of the starts.
        copy_x: For scikit-learn's programs: X is never written to.
        algorithm: "lloyd" or "elkan", for scikit-learn's programs: both lead to the same bits, and which rows' products
            are spared by Elkan's bounds is decided in each pass by what that saves.

    Attributes:
        cluster_centers_: (n_clusters, d) float64.
        labels_: (N,) int32.
        inertia_: Weighted sum of squared distances to the nearest centre.
        n_iter_: Passes of the start that was kept.
        iterations_: Their records: inertia, rows that moved, empty clusters, seconds.
        n_features_in_, feature_names_in_: The columns that were fitted, and their names if they have any.

    Example::

        KMeans(10, random_state=0).fit(images).labels_
    """

    n_iter_: int
    iterations_: tuple[learn.Iteration, ...]

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        "n_clusters": (POSITIVE_COUNT,),
        "init": _STARTS,
        "n_init": (_AUTO, POSITIVE_COUNT),
        "max_iter": (POSITIVE_COUNT,),
        "tol": (NOT_NEGATIVE,),
        "verbose": (COUNT, BOOLEAN),
        "random_state": (SEED,),
        "copy_x": (BOOLEAN,),
        "algorithm": (OneOf(("lloyd", "elkan")),),
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Clusters the rows of X (N, d), each of which counts ``sample_weight`` (N,). Returns self.

        Raises:
            ValueError: Parameters or data are not as said, or there are fewer rows than clusters.
        """
        values = self._start(X)
        weights = self._weights(sample_weight, len(values))
        self._require_rows(values, self.n_clusters)
        rows = learn.Rows(values, weights)
        generator = generator_of(self.random_state)
        starts = _starts(self.init, self.n_init, 10)
        best: learn.KMeansResult | None = None
        for _ in range(starts):
            found = learn.kmeans(
                rows,
                self.n_clusters,
                init=self.init,
                max_iter=self.max_iter,
                tol=self.tol,
                generator=generator,
                on_iteration=_print if self.verbose else None,
            )
            if best is None or found.inertia < best.inertia:
                best = found
        assert best is not None
        self.cluster_centers_ = best.centers
        self.labels_ = best.labels
        self.inertia_ = best.inertia
        self.iterations_ = best.iterations
        self.n_iter_ = len(best.iterations)
        self._warn_of_few(self.n_clusters)
        return self


def _starts(init: Any, n_init: int | str, many: int) -> int:
    if not isinstance(init, str) and not callable(init):
        return 1  # given centres lead to the same end each time
    if n_init == "auto":
        return many if callable(init) or init == "random" else 1
    return int(n_init)


def _print(number: int, record: learn.Iteration) -> None:
    print(f"pass {number}: inertia {record.inertia:.6g}, {record.moved} rows moved, {record.empty} clusters empty")


class MiniBatchKMeans(_Centers):
    """k-means from small batches of rows (:class:`pyneural.learn.MiniBatch`): for data that are too many, or that come
    bit by bit (``partial_fit``).

    A batch is drawn with replacement, in proportion to the weights; each centre is the mean of the rows that it has won
    so far. It ends when the smoothed inertia of the batches has not improved for ``max_no_improvement`` batches.

    Args:
        n_clusters, init, verbose, random_state: As for :class:`KMeans`.
        max_iter: Times that as many rows as there are, or a batch where they are fewer, may be drawn.
        batch_size: Rows in a batch.
        compute_labels: Assign all rows at the end.
        tol: Ends when the smoothed squared move of the centres falls below this many mean variances; 0 for never.
        max_no_improvement: Batches without improvement that are borne; None for any number.
        init_size: Rows from which the start is made; 3 batches, and at least 3 per cluster, if None.
        n_init: Starts, of which the best on another draw of rows is taken; "auto" is 1, or 3 for random rows.
        reassignment_ratio: Centres whose count is below this share of the largest are moved to rows of the batch.

    Attributes:
        cluster_centers_: (n_clusters, d) float64.
        counts_: Rows that each centre has won.
        labels_: (N,) int32, and inertia_, if they are computed.
        n_iter_: Times that as many rows as there are were drawn, rounded up.
        n_steps_: Batches.
    """

    counts_: np.ndarray
    n_iter_: int
    n_steps_: int

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        "n_clusters": (POSITIVE_COUNT,),
        "init": _STARTS,
        "max_iter": (POSITIVE_COUNT,),
        "batch_size": (POSITIVE_COUNT,),
        "verbose": (COUNT, BOOLEAN),
        "compute_labels": (BOOLEAN,),
        "random_state": (SEED,),
        "tol": (NOT_NEGATIVE,),
        "max_no_improvement": (OneOf((None,)), COUNT),
        "init_size": (OneOf((None,)), POSITIVE_COUNT),
        "n_init": (_AUTO, POSITIVE_COUNT),
        "reassignment_ratio": (NOT_NEGATIVE,),
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | str = "auto",
        reassignment_ratio: float = 0.01,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Clusters the rows of X (N, d), drawn in proportion to ``sample_weight`` (N,). Returns self.

        Raises:
            ValueError: Parameters or data are not as said, or there are fewer rows than clusters.
        """
        values = self._start(X)
        weights = self._weights(sample_weight, len(values))
        self._require_rows(values, self.n_clusters)
        rows = learn.Rows(values, weights)
        generator = generator_of(self.random_state)
        order = rows.order()
        shares = np.ones(len(rows)) if rows.weights is None else rows.weights
        self._batches = self._begin(rows, generator, lambda count: rows.drawn(shares, order, count, generator))
        steps = self._run(rows, lambda count: rows.drawn(shares, order, count, generator))
        self.n_steps_ = steps
        self.n_iter_ = -(-steps * self.batch_size // len(rows))
        self._finish(rows if self.compute_labels else None)
        if self.compute_labels:
            self._warn_of_few(self.n_clusters)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """One step on the rows of X (n, d) as they are; the first call also makes the start from them. Returns self.

        Raises:
            ValueError: As ``fit``; or X has other columns than the first call's.
        """
        first = not hasattr(self, "_batches")
        values = self._start(X, reset=first)
        weights = self._weights(sample_weight, len(values))
        if first:
            self._require_rows(values, self.n_clusters)
            self._generator = generator_of(self.random_state)
            rows = learn.Rows(values, weights)
            centers = learn.starting_centers(rows, self.n_clusters, self.init, self._generator)
            self._batches = MiniBatch(centers, self.reassignment_ratio)
            self.n_steps_ = 0
        spare = np.asarray(random.randperm(len(values), generator=self._generator))
        self._batches.step(values, weights, spare)
        self.n_steps_ += 1
        self.n_iter_ = self.n_steps_
        self._finish(learn.Rows(values, weights) if self.compute_labels else None)
        return self

    def _begin(self, rows: learn.Rows, generator: random.Generator, draw: Callable[[int], np.ndarray]) -> MiniBatch:
        size = self.init_size or max(3 * self.batch_size, 3 * self.n_clusters)
        starts = _starts(self.init, self.n_init, 3)
        best, least = None, np.inf
        for _ in range(starts):
            # All rows where they are fewer: a start that repeats them would only be a worse one.
            some = rows if size >= len(rows) else learn.Rows(rows.x[draw(size)])
            centers = learn.starting_centers(some, self.n_clusters, self.init, generator)
            inertia = float(learn.nearest(rows.x[draw(size)], centers)[1].sum()) if starts > 1 else 0.0
            if best is None or inertia < least:
                best, least = centers, inertia
        self._generator = generator
        return MiniBatch(best, self.reassignment_ratio)

    def _run(self, rows: learn.Rows, draw: Callable[[int], np.ndarray]) -> int:
        """Steps until nothing improves; their number."""
        n = len(rows)
        size = self.batch_size
        fade = min(2.0 * size / (n + 1), 1.0)
        limit = self.max_iter * max(n // size, 1)
        variance = rows.kernel.spread / rows.total / rows.x.shape[1]
        smooth: float | None = None
        smooth_move = 0.0
        least, worse, steps = np.inf, 0, 0
        for steps in range(1, limit + 1):
            before = self._batches.centers.copy()
            # Draws are independent, so the batch's own order serves for replacing centres.
            inertia = self._batches.step(rows.x[draw(size)], None, np.arange(size))
            move = float(((self._batches.centers - before) ** 2).sum())
            if steps == 1:
                continue  # its inertia is that of the start
            smooth = inertia if smooth is None else (1 - fade) * smooth + fade * inertia
            smooth_move = move if steps == 2 else (1 - fade) * smooth_move + fade * move
            if self.verbose:
                print(f"batch {steps}: mean squared distance {inertia:.6g}, smoothed {smooth:.6g}")
            if self.tol > 0 and smooth_move <= self.tol * variance:
                break
            least, worse = (smooth, 0) if smooth < least else (least, worse + 1)
            if self.max_no_improvement is not None and worse >= self.max_no_improvement:
                break
        return steps

    def _finish(self, rows: learn.Rows | None) -> None:
        self.cluster_centers_ = self._batches.centers.copy()
        self.counts_ = self._batches.counts.copy()
        if rows is not None:
            self.labels_ = np.empty(len(rows), np.int32)
            distances = rows.kernel.assign(self.cluster_centers_, self.labels_, True)
            self.inertia_ = float(rows.weighted(distances).sum())


class CompetitiveLearning(_Centers):
    """Winner-take-all learning as a clusterer (:class:`pyneural.learn.CompetitiveLayer`): the neuron that a row excites
    most moves towards it.

    Args:
        n_clusters: Neurons.
        init: As for :class:`KMeans`: where the weights start.
        step_size: eta of the first step.
        decay: The step size falls as eta / (1 + decay * t / N) after t rows.
        max_iter: Times that all rows are shown.
        rule: "standard", w <- w + eta (x - w); or "hebbian", w <- w + eta y (x - w) with the activity y = w . x.
        winner: "distance": the nearest neuron; "product": the one with the largest w . x.
        rounding: Round the winner's weights to integers after each step.
        normalize: Keep the weights at length 1.
        shuffle: Show the rows in a new order each time.
        random_state: Seed or generator of start and orders.

    Attributes:
        cluster_centers_: The weights, (n_clusters, d) float64.
        labels_: The winner for each row after learning, (N,) int32.
        inertia_: Sum of squared distances of the rows to their winners.
        n_iter_: Times that all rows were shown.
    """

    _dtypes = (np.float64, np.float32)
    n_iter_: int

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        "n_clusters": (POSITIVE_COUNT,),
        "init": _STARTS,
        "step_size": (POSITIVE,),
        "decay": (NOT_NEGATIVE,),
        "max_iter": (Interval(Integral, 1),),
        "rule": (OneOf(("standard", "hebbian")),),
        "winner": (OneOf(("distance", "product")),),
        "rounding": (BOOLEAN,),
        "normalize": (BOOLEAN,),
        "shuffle": (BOOLEAN,),
        "random_state": (SEED,),
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        step_size: float = 0.1,
        decay: float = 1.0,
        max_iter: int = 20,
        rule: str = "standard",
        winner: str = "distance",
        rounding: bool = False,
        normalize: bool = False,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.step_size = step_size
        self.decay = decay
        self.max_iter = max_iter
        self.rule = rule
        self.winner = winner
        self.rounding = rounding
        self.normalize = normalize
        self.shuffle = shuffle
        self.random_state = random_state

    def _layer(self, weights: np.ndarray, step_size: float | Callable[[int], float] = 0.0) -> CompetitiveLayer:
        return CompetitiveLayer(
            weights,
            step_size,
            rule=self.rule,
            winner=self.winner,
            rounding=self.rounding,
            normalize=self.normalize,
        )

    def fit(self, X: Any, y: Any = None) -> CompetitiveLearning:
        """Shows the rows of X (N, d) to the neurons. Returns self.

        Raises:
            ValueError: Parameters or data are not as said, there are fewer rows than clusters, or weights diverge.
        """
        values = self._start(X)
        self._require_rows(values, self.n_clusters)
        generator = generator_of(self.random_state)
        start = learn.starting_centers(learn.Rows(values), self.n_clusters, self.init, generator)
        n = len(values)
        layer = self._layer(start, lambda step: self.step_size / (1.0 + self.decay * step / n))
        rows = values.astype(np.float64)
        for _ in range(self.max_iter):
            order = np.asarray(random.randperm(n, generator=generator)) if self.shuffle else np.arange(n)
            for i in order:
                layer.step(rows[i])
            if not np.isfinite(layer.weights).all():
                raise ValueError(
                    f"{type(self).__name__}: the weights diverged; take a smaller step_size, or scaled inputs for the "
                    "Hebbian rule, whose step grows with the activity"
                )
        self.cluster_centers_ = layer.weights
        self.n_iter_ = self.max_iter
        self.labels_ = layer.winners(rows).astype(np.int32)
        self.inertia_ = float(((rows - layer.weights[self.labels_]) ** 2).sum())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The winner for each row (N,), int32."""
        rows = self._rows(X)
        layer = self._layer(self.cluster_centers_)
        return layer.winners(rows).astype(np.int32)
