"""k-means against its definition, its starts and its rules; competitive learning; principal components of many
features; the network that does k-means."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import models, plots
from pyneural._kernels import KMeansRows
from pyneural.estimators import PCA, KMeans, MiniBatchKMeans, MLPClassifier, MLPRegressor
from pyneural.experiments._kmeans import POINTS
from pyneural.experiments.competitive_learning_rounded import branches, clusters
from pyneural.experiments.kmeans_network import assignment
from pyneural.learn import CompetitiveLayer, MiniBatch, kmeans, pca, randomized_pca
from pyneural.learn.lloyd import Rows, nearest, starting_centers

SHAPES = [(1, 1, 1), (7, 3, 2), (100, 17, 10), (333, 33, 19), (500, 20, 40), (1000, 2, 7), (257, 784, 13), (64, 9, 64)]


def squares(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    return ((x.astype(np.float64)[:, None] - c) ** 2).sum(axis=2)


def data(n: int, d: int, k: int, dtype: Any, offset: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + d + k)
    x = (30 * rng.normal(size=(n, d)) + offset).clip(0, 255).astype(dtype)
    return x, x[rng.choice(n, k, replace=n < k)] + 0.1 * rng.normal(size=(k, d))


# ---- one pass ----


@pytest.mark.parametrize("isa", pn.available_isas())
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_pass_against_its_definition(isa: str, dtype: Any) -> None:
    pn.set_isa(isa)
    for n, d, k in SHAPES:
        x, c = data(n, d, k, dtype)
        for weights in (None, np.random.default_rng(0).random(n)):
            rows = KMeansRows(x, weights)
            labels, sums, held = np.full(n, -1, np.int32), np.empty((k, d)), np.empty(k)
            moved, inertia = rows.step(c, labels, sums, held)
            distances = squares(x, c)
            w = np.ones(n) if weights is None else weights
            expected = np.zeros((k, d))
            np.add.at(expected, distances.argmin(axis=1), w[:, None] * x)
            assert moved == n
            np.testing.assert_array_equal(labels, distances.argmin(axis=1))
            np.testing.assert_allclose(sums, expected, rtol=1e-12)
            np.testing.assert_allclose(held, np.bincount(labels, w, k), rtol=1e-12)
            np.testing.assert_allclose(inertia, w @ distances.min(axis=1), rtol=1e-9, atol=1e-6)
            again = np.empty(n, np.int32)
            least = rows.assign(c, again, True)
            np.testing.assert_array_equal(again, labels)
            np.testing.assert_allclose(least, distances.min(axis=1), rtol=1e-12)
            np.testing.assert_allclose(rows.distances(c), distances, rtol=1e-8 if dtype == np.float64 else 2e-4)


@pytest.mark.parametrize("k", [3, 40])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_labels_of_float32_rows_are_those_of_float64(k: int, offset: float) -> None:
    """Pairs of centres that differ by less than float32 can tell at this offset, and rows between them."""
    rng = np.random.default_rng(0)
    x = (offset + rng.normal(size=(500, 30))).astype(np.float32)
    c = offset + rng.normal(size=(k, 30))
    c[1] = c[0] + 1e-7 * rng.normal(size=30)
    x[:100] = c[0].astype(np.float32)
    labels = nearest(x, c)[0]
    distances = squares(x, c)
    np.testing.assert_array_equal(labels, distances.argmin(axis=1))
    assert len(np.unique(labels[:100])) >= 1


def test_of_equal_centres_the_first_wins() -> None:
    x = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    labels, _ = nearest(x, np.repeat(x[:2].astype(np.float64), 3, axis=0))
    assert set(labels.tolist()) <= {0, 3}
    np.testing.assert_array_equal(nearest(np.array([[0.0], [1.0]]), [[1.0], [-1.0]])[0], [0, 0])


def test_numbers_whose_squares_overflow_float32() -> None:
    x = np.array([[1e30, 0], [-1e30, 1], [1e30, 2]], np.float32)
    np.testing.assert_array_equal(nearest(x, [[1e30, 0], [-1e30, 0]])[0], [0, 1, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("k", [4, 30])
def test_bits_do_not_depend_on_threads(dtype: Any, k: int) -> None:
    x, _ = data(6000, 40, k, dtype)
    found = []
    for threads in (1, 4, 7):
        pn.set_num_threads(threads)
        r = kmeans(x, k, max_iter=8, generator=pn.Generator(0))
        found.append((r.centers.tobytes(), r.labels.tobytes(), r.inertia, [i[:3] for i in r.iterations]))
    assert found[0] == found[1] == found[2]


# ---- the iteration ----


def test_lloyd_step_by_step() -> None:
    x, c = data(400, 6, 5, np.float64)
    record: list[Any] = []
    found = kmeans(x, 5, init=c, tol=0, on_iteration=lambda n, i: record.append((n, i)))
    labels = None
    for number, step in record:
        new = squares(x, c).argmin(axis=1)
        assert step.moved == (len(x) if labels is None else int((new != labels).sum()))
        np.testing.assert_allclose(step.inertia, squares(x, c).min(axis=1).sum(), rtol=1e-9)
        assert number == record.index((number, step))
        labels = new
        c = np.array([x[labels == j].mean(axis=0) for j in range(5)])
    assert found.converged == "labels"
    np.testing.assert_allclose(found.centers, c, rtol=1e-12)
    np.testing.assert_array_equal(found.labels, squares(x, found.centers).argmin(axis=1))
    assert found.inertia == pytest.approx(squares(x, found.centers).min(axis=1).sum(), rel=1e-12)


def test_tolerance_and_limit() -> None:
    x, c = data(400, 6, 5, np.float64)
    loose = kmeans(x, 5, init=c, tol=0.5)
    assert loose.converged == "tolerance"
    np.testing.assert_array_equal(loose.labels, squares(x, loose.centers).argmin(axis=1))
    once = kmeans(x, 5, init=c, max_iter=1, tol=0)
    assert once.converged == ""
    assert len(once.iterations) == 1
    stopped = kmeans(x, 5, init=c, tol=0, on_iteration=lambda n, i: n == 2)
    assert len(stopped.iterations) == 3


def test_empty_clusters_take_the_farthest_rows() -> None:
    """Two far centres win nothing: they take the rows farthest from centre 0, which are 9 and 8."""
    x = np.arange(10.0)[:, None]
    found = kmeans(x, 3, init=[[0.0], [100.0], [200.0]], max_iter=1, tol=0)
    assert found.iterations[0].empty == 2
    np.testing.assert_allclose(found.centers[:, 0], [np.arange(8).mean(), 9.0, 8.0])
    end = kmeans(x, 3, init=[[0.0], [100.0], [200.0]])
    assert end.iterations[-1].empty == 0
    weights = np.ones(10)
    weights[9] = 0
    weighted = kmeans(x, 2, init=[[0.0], [100.0]], weights=weights, max_iter=1, tol=0)
    assert weighted.centers[1, 0] == 8.0  # row 9 counts nothing


def test_fewer_distinct_rows_than_clusters() -> None:
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 3, axis=0)
    with pytest.warns(UserWarning, match="the rows fall into 2 clusters, fewer than n_clusters=4"):
        e = KMeans(4, random_state=0).fit(x)
    assert e.inertia_ == 0
    assert len(set(e.labels_.tolist())) == 2


@pytest.mark.parametrize("x", [np.ones((1, 1)), np.ones((5, 3)), np.arange(6.0)[:, None], np.full((4, 2), 1e150)])
def test_small_and_constant_rows(x: np.ndarray) -> None:
    e = KMeans(1, random_state=0).fit(x)
    np.testing.assert_allclose(e.cluster_centers_, x.mean(axis=0, keepdims=True))
    assert e.labels_.tolist() == [0] * len(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clusters": 11}, "between 1 and the 10 rows"),
        ({"clusters": 0}, "between 1 and the 10 rows"),
        ({"clusters": 2, "init": "best"}, "init must be one of"),
        ({"clusters": 2, "init": np.ones((3, 2))}, r"init has shape \(3, 2\), expected \(2, 2\)"),
        ({"clusters": 2, "init": np.full((2, 2), np.nan)}, "init holds a NaN"),
        ({"clusters": 2, "weights": -np.ones(10)}, "not negative"),
        ({"clusters": 2, "weights": np.ones(9)}, r"weights must have shape \(10,\)"),
        ({"clusters": 2, "max_iter": 0}, "max_iter must be at least 1"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kmeans(np.random.default_rng(0).normal(size=(10, 2)), **arguments)


def test_bindings_refuse_what_does_not_fit() -> None:
    x = np.zeros((4, 3))
    for make, error, message in (
        (lambda: KMeansRows(x.T), ValueError, "KMeansRows: x must be a C-contiguous matrix with rows and columns"),
        (lambda: KMeansRows(x.astype(np.int16)), TypeError, "KMeansRows: x must be float32, float64 or uint8"),
        (lambda: KMeansRows(x, np.ones(3)), ValueError, "weights has a shape that does not fit the rows and centres"),
        (lambda: KMeansRows(x, np.ones(4, np.float32)), TypeError, "KMeansRows: weights must be contiguous float64"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kmeans: x must be rows of numbers, \(N, d\), got shape \(3,\)"):
        kmeans(np.zeros(3), 1)
    with pytest.raises(ValueError, match="holds a NaN, an infinity"):
        kmeans(np.array([[0.0], [np.nan]]), 1)


# ---- starts ----


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_starts_are_rows_and_repeat_themselves(init: str) -> None:
    x, _ = data(300, 4, 5, np.float64)
    rows = Rows(x)
    first = starting_centers(rows, 5, init, pn.Generator(1))
    np.testing.assert_array_equal(first, starting_centers(rows, 5, init, pn.Generator(1)))
    assert not np.array_equal(first, starting_centers(rows, 5, init, pn.Generator(2)))
    assert squares(first, x).min(axis=1).max() == 0
    assert len(np.unique(first, axis=0)) == 5


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_order_of_rows_does_not_matter(init: str) -> None:
    x, _ = data(300, 4, 5, np.float64)
    order = np.random.default_rng(0).permutation(300)
    a, b = (starting_centers(Rows(v), 5, init, pn.Generator(3)) for v in (x, x[order]))
    np.testing.assert_array_equal(a, b)


def test_a_weight_repeats_a_row() -> None:
    x, _ = data(60, 3, 4, np.float64)
    w = np.random.default_rng(0).integers(0, 4, 60)
    a = KMeans(4, random_state=0).fit(x, sample_weight=w)
    b = KMeans(4, random_state=0).fit(x.repeat(w, axis=0))
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-12)
    assert a.inertia_ == pytest.approx(b.inertia_)


def test_plus_plus_finds_clouds_that_random_rows_miss() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([c + 0.01 * rng.normal(size=(n, 2)) for c, n in (((0, 0), 500), ((9, 0), 5), ((0, 9), 5))])
    for init in ("k-means++", "k-means||"):
        for seed in range(5):
            assert kmeans(x, 3, init=init, generator=pn.Generator(seed)).inertia < 1.0


def test_function_as_start() -> None:
    x, _ = data(50, 3, 4, np.float64)
    found = kmeans(x, 4, init=lambda rows, k, generator: rows[:k], max_iter=1)
    np.testing.assert_array_equal(found.labels, kmeans(x, 4, init=x[:4], max_iter=1).labels)


# ---- small batches ----


def test_minibatch_is_a_running_mean() -> None:
    x = np.array([[0.0], [1.0], [10.0], [12.0]])
    m = MiniBatch([[0.5], [11.0]])
    m.step(x[[0, 2]])
    m.step(x[[1, 3]])
    np.testing.assert_allclose(m.centers[:, 0], [0.5, 11.0])
    np.testing.assert_array_equal(m.counts, [2, 2])


def test_minibatch_comes_close_to_all_rows() -> None:
    x, _ = data(3000, 5, 6, np.float32)
    full = KMeans(6, random_state=0, n_init=5).fit(x)
    part = MiniBatchKMeans(6, random_state=0, batch_size=256, n_init=3).fit(x)
    assert part.inertia_ < 1.06 * full.inertia_
    assert part.counts_.sum() >= 256
    piece = MiniBatchKMeans(6, random_state=0)
    for i in range(10):
        piece.partial_fit(x[300 * i : 300 * i + 300])
    assert -piece.score(x) < 1.1 * full.inertia_


# ---- competitive learning ----


def test_competitive_rules() -> None:
    layer = CompetitiveLayer([[1.0, 0.0], [0.0, 1.0]], 0.5)
    move = layer.step([2.0, 0.0])
    np.testing.assert_array_equal(move.moved, [2.0, 0.0])  # w + 0.5 * 2 * (x - w)
    standard = CompetitiveLayer([[1.0, 0.0], [0.0, 1.0]], 0.5, rule="standard", winner="distance")
    np.testing.assert_array_equal(standard.step([3.0, 0.0]).after, [2.0, 0.0])
    tie = CompetitiveLayer([[1.0, 0.0], [1.0, 0.0]], ties="last")
    assert tie.winners([[1.0, 5.0]]).tolist() == [1]
    unit = CompetitiveLayer([[3.0, 4.0]], 0.3, normalize=True)
    unit.fit([[1.0, 0.0]] * 3)
    assert np.hypot(*unit.weights[0]) == pytest.approx(1.0)
    rounded = CompetitiveLayer([[0.0, 1.0]], 0.5, rounding=True)
    np.testing.assert_array_equal(rounded.step([1.0, 1.0]).after, [0.0, 1.0])  # (1/2, 1), half to even


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1.0, 2.0]}, "a row for each neuron"),
        ({"weights": [[1.0]], "rule": "oja"}, "rule must be 'hebbian' or 'standard'"),
        ({"weights": [[0.0]], "normalize": True}, "no direction"),
    ],
)
def test_competitive_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompetitiveLayer(**arguments)
    with pytest.raises(ValueError, match=r"of shape \(1,\), got shape \(2,\)"):
        CompetitiveLayer([[1.0]]).step([1.0, 2.0])


def test_ways_to_break_ties() -> None:
    assert len(branches(neuron_ties=False)) == 6
    assert {clusters(w) for w in branches(neuron_ties=False)} == {"1: [1, 2]; 2: [3, 4]"}
    assert len({clusters(w) for w in branches(neuron_ties=True)}) > 1


# ---- the network ----


@pytest.mark.parametrize("constant", [True, False])
def test_network_gradient(constant: bool) -> None:
    rng = np.random.default_rng(0)
    c, x = rng.normal(size=(3, 4)), pn.as_tensor(rng.normal(size=(5, 4)))
    model = models.KMeansNetwork(c, 2.0, constant_shares=constant, dtype=np.float64)
    pn.square(model(x) - x).sum().backward()
    found = np.array(model.centers.grad)
    p = np.array(model.shares(x).detach())
    if constant:
        np.testing.assert_allclose(found, 2 * p.T @ (p @ c - np.array(x)), rtol=1e-12)
        return

    def loss(v: np.ndarray) -> float:
        s = 2.0 * (np.array(x) @ v.T - 0.5 * (v**2).sum(axis=1))
        q = np.exp(s - s.max(axis=1, keepdims=True))
        return float((((q / q.sum(axis=1, keepdims=True)) @ v - np.array(x)) ** 2).sum())

    step = 1e-6 * np.eye(c.size).reshape(c.size, *c.shape)
    differences = np.array([(loss(c + s) - loss(c - s)) / 2e-6 for s in step]).reshape(c.shape)
    np.testing.assert_allclose(found, differences, atol=1e-7)


def test_network_refusals() -> None:
    with pytest.raises(ValueError, match="sharpness must be above 0"):
        models.KMeansNetwork([[1.0]], 0.0)
    with pytest.raises(ValueError, match="centers must be rows"):
        models.KMeansNetwork([1.0])


def test_assignment_of_centres_to_digits() -> None:
    counts = np.array([[9, 8, 0], [8, 1, 0], [0, 0, 1]])
    assert assignment(counts).tolist() == [1, 0, 2]  # 8 + 8 + 1 beats 9 + 1 + 1


# ---- components of many features ----


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("rounds", [None, 12])
@pytest.mark.parametrize("shape", [(60, 200), (900, 100)])
def test_randomized_components(center: bool, shape: tuple[int, int], rounds: int | None) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) @ np.diag(0.9 ** np.arange(shape[1])) + 3.0
    a, b = pca(x, 5, center=center), randomized_pca(x, 5, center=center, rounds=rounds)
    np.testing.assert_allclose(a.variances, b.variances, rtol=1e-6)
    np.testing.assert_allclose(np.abs((a.components * b.components).sum(axis=1)), 1.0, atol=1e-4)
    assert a.total_variance == pytest.approx(b.total_variance)


@pytest.mark.parametrize("shape", [(120, 1100), (4500, 1100)])
def test_components_of_very_many_features(shape: tuple[int, int]) -> None:
    """A space of directions, from products with the rows and with the covariance; the reference is LAPACK's."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape) * 0.95 ** np.arange(shape[1]) + 1.0
    centred = x - x.mean(axis=0)
    truth = np.linalg.eigvalsh((centred @ centred.T if shape[0] < shape[1] else centred.T @ centred) / shape[0])
    found = randomized_pca(x, 6)
    np.testing.assert_allclose(found.variances, truth[::-1][:6], rtol=1e-10)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(6), atol=1e-12)
    single = randomized_pca(x.astype(np.float32), 6)
    np.testing.assert_allclose(single.variances, truth[::-1][:6], rtol=1e-4)


def test_float32_components_far_from_the_origin() -> None:
    """Sums of float32 squares around 0 would hold nothing of a variance of 1 beside a mean of 1000."""
    x = np.random.default_rng(2).normal(size=(3000, 90)) * np.geomspace(3, 0.1, 90)
    truth = np.linalg.eigvalsh(np.cov(x.T))[::-1][:4]
    for mean, tolerance in ((0.5, 1e-5), (1000.0, 1e-3)):
        found = randomized_pca((x + mean).astype(np.float32), 4, ddof=1)
        np.testing.assert_allclose(found.variances, truth, rtol=tolerance)
        np.testing.assert_allclose(found.mean, (x + mean).mean(axis=0), rtol=1e-6)


def test_components_where_there_are_fewer_directions() -> None:
    """Rank 2 among 1100 features: the space is filled up with directions without variance."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 1100))
    found = randomized_pca(x, 5)
    assert found.variances[1] > 1
    assert found.variances[2:].max() < 1e-12 * found.variances[0]
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(5), atol=1e-12)
    with pytest.raises(ValueError, match="holds a NaN"):
        randomized_pca(np.where(np.arange(1100) == 3, np.nan, x), 2)


def test_randomized_pca_refuses() -> None:
    for arguments, message in (
        ((np.ones(3), 1), r"x must be rows of numbers, \(N, d\), got shape \(3,\)"),
        ((np.ones((3, 2)), 3), r"components is 3, expected 1 to min\(N, d\) = 2"),
    ):
        with pytest.raises(ValueError, match=f"randomized_pca: {message}"):
            randomized_pca(*arguments)
    with pytest.raises(ValueError, match="randomized_pca: ddof is 3, which leaves nothing to divide by: x has 3 rows"):
        randomized_pca(np.ones((3, 2)), 1, ddof=3)


def test_whitening_and_back() -> None:
    x = np.random.default_rng(0).normal(size=(80, 4)) @ np.diag([5.0, 2.0, 1.0, 0.1]) + 7
    e = PCA(whiten=True).fit(x)
    codes = e.transform(x)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(4), atol=1e-10)
    np.testing.assert_allclose(e.inverse_transform(codes), x, atol=1e-10)
    assert PCA(0.9).fit(x).n_components_ < 4
    with pytest.raises(ValueError, match="must be at most min"):
        PCA(5).fit(x)
    constant = PCA(whiten=True).fit(np.ones((5, 2)))
    assert not constant.transform(np.ones((5, 2))).any()


# ---- perceptrons ----


def test_class_weights_and_validation() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(300) < 0.1).astype(int)
    x = rng.normal(size=(300, 2)) + 0.8 * y[:, None]
    settings: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.02, "tol": 0.0,
                                "n_iter_no_change": 1000, "random_state": 0}  # fmt: skip
    with pytest.warns(UserWarning, match="Maximum iterations"):
        plain = MLPClassifier(**settings).fit(x, y)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        balanced = MLPClassifier(class_weight="balanced", **settings).fit(x, y)
    assert balanced.predict(x)[y == 1].mean() > plain.predict(x)[y == 1].mean() + 0.2
    e = MLPClassifier((8,), learning_rate_init=0.05, dropout=0.2, activation=["tanh"], random_state=0)
    e.set_params(n_iter_no_change=3).fit(x.astype(np.float32), y, validation_data=(x[:50], y[:50]))
    assert e.coefs_[0].dtype == np.float32
    assert len(e.validation_loss_curve_) == len(e.loss_curve_) == e.n_iter_ == len(e.validation_scores_)
    with np.errstate(divide="ignore"):
        restored = -np.log(e.predict_proba(x[:50].astype(np.float32))[np.arange(50), y[:50]]).mean()
    assert restored == pytest.approx(min(e.validation_loss_curve_), rel=1e-4)


def test_early_stopping_and_several_outputs() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    y = np.column_stack([x[:, 0] * x[:, 1], x.sum(axis=1)])
    e = MLPRegressor(
        hidden_layer_sizes=(32,), early_stopping=True, learning_rate_init=0.01, max_iter=300, random_state=0
    ).fit(x, y)
    assert e.predict(x).shape == (200, 2)
    assert e.score(x, y) > 0.9
    with pytest.raises(ValueError, match="4 features"):
        MLPRegressor().fit(np.ones((3, 4)), np.ones(3), validation_data=(np.ones((2, 3)), np.ones(2)))


def test_a_copy_goes_on_with_the_same_weight_decay() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    e = MLPRegressor(hidden_layer_sizes=(4,), random_state=0, alpha=0.5).partial_fit(x, x[:, 0])
    copied = pickle.loads(pickle.dumps(e))
    decays = [[g["weight_decay"] for g in m._moments.param_groups] for m in (e, copied)]
    assert decays[0] == decays[1] == [0.01, 0.0]
    before = copied.predict(x)
    copied.partial_fit(x, x[:, 0])
    assert not np.array_equal(copied.predict(x), before)
    assert copied.n_iter_ == 2


# ---- pictures ----


def test_pictures_of_clusters() -> None:
    fig = plots.voronoi_cells(POINTS[:2], POINTS, title="cells")
    assert len(fig.axes) == 1
    assert len(plots.center_images(np.ones((3, 784)), [1, 20, 3000]).axes) == 3
    with pytest.raises(ValueError, match=r"centers must have shape \(k, 2\)"):
        plots.voronoi_cells(np.ones((2, 3)))
    with pytest.raises(ValueError, match="3 labels for 4 points"):
        plots.voronoi_cells(POINTS[:2], POINTS, [0, 1, 1])
