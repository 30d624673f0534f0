"""Perceptrons trained by L-BFGS, and by steps that shrink with the rows that were seen."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import ops
from pyneural.estimators import MLPClassifier, MLPRegressor


def clouds(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 4)) + 1.2 * np.eye(3, 4)[y], y


def gradient(e: MLPRegressor, x: np.ndarray, y: np.ndarray, alpha: float) -> float:
    """The largest entry of the gradient of half the mean squared error and the weights' decay."""
    weights = [p for p in e.model_.parameters() if p.ndim > 1]
    e.model_.zero_grad()
    loss = 0.5 * ops.square(e.model_(pn.as_tensor(x))[:, 0] - pn.as_tensor(y)).mean()
    for w in weights:
        loss = loss + 0.5 * alpha / len(x) * ops.square(w).sum()
    loss.backward()
    return max(float(np.abs(np.array(p.grad)).max()) for p in e.model_.parameters())


def test_it_ends_where_the_gradient_vanishes() -> None:
    x, y = clouds()
    target = np.sin(x[:, 0]) + 0.1 * y
    e = MLPRegressor(
        hidden_layer_sizes=(6,), activation="tanh", solver="lbfgs", alpha=0.1, tol=1e-4, max_iter=2000, random_state=0
    )
    e.fit(x, target)
    assert gradient(e, x, target, 0.1) <= 1e-4
    assert all(b <= a for a, b in itertools.pairwise(e.loss_curve_))
    assert len(e.loss_curve_) == e.n_iter_ < 2000
    again = MLPRegressor(**e.get_params()).fit(x, target)
    assert np.array_equal(again.predict(x), e.predict(x))
    assert np.array_equal(pickle.loads(pickle.dumps(e)).predict(x), e.predict(x))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_as_low_as_scikit_learns(weighted: bool) -> None:
    network = pytest.importorskip("sklearn.neural_network")
    x, y = clouds()
    weights = np.random.default_rng(1).integers(1, 4, len(x)).astype(float) if weighted else None
    settings: dict[str, Any] = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 1.0, "tol": 1e-7, "max_iter": 500}
    ours = MLPClassifier(**settings, random_state=0).fit(x, y, sample_weight=weights)
    theirs = network.MLPClassifier(**settings, random_state=0).fit(x, y, sample_weight=weights)
    # Without a hidden layer the loss is convex: both end at its minimum.
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=2e-4)
    assert ours.best_loss_ == pytest.approx(theirs.loss_, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_poisson_regression_is_scikit_learns(weighted: bool) -> None:
    network = pytest.importorskip("sklearn.neural_network")
    x, y = clouds()
    counts = np.random.default_rng(2).poisson(np.exp(0.5 * x[:, :2] + 0.3)).astype(float)
    weights = 1.0 + y if weighted else None
    settings: dict[str, Any] = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 1.0, "tol": 1e-7, "max_iter": 500}
    ours = MLPRegressor("poisson", **settings, random_state=0).fit(x, counts, sample_weight=weights)
    theirs = network.MLPRegressor("poisson", **settings, random_state=0).fit(x, counts, sample_weight=weights)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-3)
    assert ours.best_loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"


def test_poisson_regression_with_validation_data() -> None:
    x, _ = clouds(200)
    counts = np.random.default_rng(2).poisson(np.exp(x[:, 0])).astype(float)
    e = MLPRegressor("poisson", (8,), random_state=0, learning_rate_init=0.01).fit(
        x, counts, validation_data=(x[:50], counts[:50])
    )
    best = int(np.argmin(e.validation_loss_curve_))  # whose weights are restored
    assert e.validation_scores_[best] == pytest.approx(e.score(x[:50], counts[:50]))
    assert e.predict(x).min() > 0
    with pytest.raises(ValueError, match="MLPRegressor: loss='poisson' wants y >= 0, but y holds -1"):
        e.fit(x, counts - 1)
    with pytest.raises(ValueError, match="loss='poisson' wants y >= 0"):
        e.fit(x, counts, validation_data=(x, -1 - counts))


def test_early_stopping_and_limits() -> None:
    x, y = clouds(200)
    e = MLPClassifier((30,), solver="lbfgs", early_stopping=True, n_iter_no_change=4, random_state=0).fit(x, y)
    assert len(e.validation_loss_curve_) == len(e.validation_scores_) == e.n_iter_
    assert e.n_iter_ - 1 - int(np.argmin(e.validation_loss_curve_)) <= 5
    for limits in ({"max_iter": 3}, {"max_fun": 4, "max_iter": 50}):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            short = MLPClassifier((5,), solver="lbfgs", random_state=0, **limits).fit(x, y)
        assert short.n_iter_ <= 4
    going = MLPClassifier((5,), solver="lbfgs", random_state=0, max_iter=3, warm_start=True)
    for iterations in (3, 6):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            going.fit(x, y)
        assert going.n_iter_ == iterations
    assert going.loss_curve_[5] < going.loss_curve_[2]


def test_what_lbfgs_refuses() -> None:
    x, y = clouds(30)
    with pytest.raises(ValueError, match=r"needs a loss without chance, but dropout is 0\.5"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(x, y)
    with pytest.raises(AttributeError, match="partial_fit takes steps on batches"):
        MLPClassifier(solver="lbfgs").partial_fit(x, y)


def test_steps_shrink_with_the_rows_that_were_seen() -> None:
    x, y = clouds(60)
    e = MLPClassifier((5,), solver="sgd", learning_rate="invscaling", learning_rate_init=0.3, power_t=0.4, max_iter=3,
                      random_state=0)  # fmt: skip
    with pytest.warns(UserWarning, match="Maximum iterations"):
        e.fit(x, y)
    assert e._moments.param_groups[0]["lr"] == pytest.approx(0.3 / (3 * 60 + 1) ** 0.4)
    network = pytest.importorskip("sklearn.neural_network")
    theirs = network.MLPClassifier((5,), solver="sgd", learning_rate="invscaling", learning_rate_init=0.3, power_t=0.4,
                                   max_iter=3, random_state=0)  # fmt: skip
    with pytest.warns(UserWarning, match="Maximum iterations"):
        theirs.fit(x, y)
    assert theirs._optimizer.learning_rate == pytest.approx(e._moments.param_groups[0]["lr"])
