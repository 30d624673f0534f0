"""Estimators under scikit-learn's own checks, in its tools, and by themselves."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import estimators
from pyneural.estimators import (
    PCA,
    Autoencoder,
    CompetitiveLearning,
    KMeans,
    MiniBatchKMeans,
    MLPClassifier,
    MLPRegressor,
    NotFittedError,
    VariationalAutoencoder,
    autoencoders,
    base,
    checks,
)
from pyneural.estimators.base import Estimator

OURS = [KMeans, MiniBatchKMeans, CompetitiveLearning, PCA, MLPClassifier, MLPRegressor, Autoencoder,
        VariationalAutoencoder]  # fmt: skip


def blobs(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points in the plane and their numbers."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])[y] + 0.3 * rng.normal(size=(n, 2)), y


# ---- without scikit-learn ----


def test_scikit_learn_is_not_imported() -> None:
    code = """
import sys
import numpy as np
from pyneural.estimators import *
from pyneural import estimators as e
x = np.random.default_rng(0).normal(size=(40, 3)); y = np.arange(40) % 2
e.KMeans(2).fit(x).predict(x); e.PCA(2).fit_transform(x); e.MLPClassifier((4,), max_iter=2, tol=0).fit(x, y).score(x, y)
print([m for m in sys.modules if m.split('.')[0] in ('sklearn', 'scipy', 'joblib')])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", OURS)
def test_parameters_are_stored_read_and_set(kind: type[Any]) -> None:
    e = kind()
    assert set(e.get_params()) == set(kind._parameter_names())
    assert repr(e) == f"{kind.__name__}()"
    assert e.set_params(random_state=3) is e
    assert repr(e) == f"{kind.__name__}(random_state=3)"
    with pytest.raises(ValueError, match="Invalid parameter 'wrong' for estimator"):
        e.set_params(wrong=1)
    with pytest.raises(NotFittedError, match="not fitted yet; call fit first"):
        (e.predict if hasattr(e, "predict") else e.transform)(np.ones((2, 2)))


@pytest.mark.parametrize("kind", OURS)
def test_every_parameter_has_a_constraint_that_is_kept(kind: type[Any]) -> None:
    x, y = blobs()
    for name in kind._parameter_names():
        assert name in kind._constraints, name
        with pytest.raises(ValueError, match=rf"{kind.__name__}: {name} must be"):
            kind().set_params(**{name: object()}).fit(x, y)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([[1.0, np.nan], [2.0, 3.0]]), r"contains NaN or infinity \(1 in all, the first is NaN at \[0, 1\]\)"),
        (np.ones(3), "Expected 2D array, got 1D array"),
        (np.ones((0, 2)), r"0 sample\(s\)"),
        (np.ones((4, 2)) * 1j, "Complex data not supported"),
    ],
)
def test_bad_rows_are_refused(kind: type[Any], bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind().fit(bad, np.zeros(len(bad)))


# ---- scikit-learn's checks ----


def test_check_estimator() -> None:
    """Every check on every estimator, and none skipped: in a process of its own, since SciPy reads the switch for array
    libraries when it is loaded. Where pandas or polars is not installed, what is left out is what needs them."""
    pytest.importorskip("sklearn")
    code = """
import json, sys, warnings
from sklearn.utils.estimator_checks import check_estimator
from pyneural import estimators as e
warnings.simplefilter("ignore")
found = {}
machines = [getattr(e, name)() for name in sys.argv[1:]]
for machine in machines + [e.SVC(kernel="linear"), e.SVC(kernel="precomputed"), e.SVR(kernel="precomputed")]:
    results = check_estimator(machine, on_fail=None, on_skip=None)
    found[repr(machine)] = len(results), [
        (r["check_name"], r["status"], str(r["exception"])) for r in results if r["status"] != "passed"
    ]
print(json.dumps(found))
"""
    names = [k.__name__ for k in OURS] + ["SVC", "SVR"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *names],
        capture_output=True, text=True, timeout=600, env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(found) == len(names) + 3
    absent = [m for m in ("pandas", "polars") if importlib.util.find_spec(m) is None]
    bad = {name: [b for b in rest if b[1] != "skipped" or not any(m in b[2] for m in absent)]
           for name, (_, rest) in found.items()}  # fmt: skip
    assert not {name: rest for name, rest in bad.items() if rest}
    assert min(count for count, _ in found.values()) > 40
    if absent:
        pytest.skip(f"passed, but without the checks that need {' and '.join(absent)}: pip install {' '.join(absent)}")


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, CompetitiveLearning])
def test_checks_of_clusterers(kind: type[Any]) -> None:
    """scikit-learn runs these only for heirs of its own class."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    for check in (checks.check_clustering, checks.check_clusterer_compute_labels_predict):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(kind.__name__, kind())


@pytest.mark.parametrize("kind", [KMeans, PCA, Autoencoder])
def test_names_of_outputs(kind: type[Any]) -> None:
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks.check_transformer_get_feature_names_out(kind.__name__, kind())


class Frame:
    """As much of a data frame as estimators look at."""

    def __init__(self, values: np.ndarray, columns: list[str]) -> None:
        self.values, self.columns = values, columns

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


def test_names_of_columns() -> None:
    x, _ = blobs()
    e = KMeans(3, random_state=0).fit(Frame(x, ["a", "b"]))
    assert e.feature_names_in_.tolist() == ["a", "b"]
    e.predict(Frame(x, ["a", "b"]))
    with pytest.raises(ValueError, match="must be in the same order"):
        e.predict(Frame(x, ["b", "a"]))
    with pytest.raises(ValueError, match="unseen at fit time:\n- c\nFeature names seen at fit time, yet"):
        e.predict(Frame(x, ["a", "c"]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        e.predict(x)
    with pytest.raises(TypeError, match="string names"):
        e.fit(Frame(x, ["a", 1]))  # type: ignore[list-item]
    e.fit(x)
    assert not hasattr(e, "feature_names_in_")
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        e.predict(Frame(x, ["a", "b"]))


# ---- scikit-learn's tools ----


def test_pipeline_search_and_validation() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone, is_classifier, is_clusterer
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    x, y = blobs()
    e = make_pipeline(PCA(2), MLPClassifier((8,), max_iter=30, learning_rate_init=0.02, tol=0, random_state=0))
    assert is_classifier(e)
    assert is_clusterer(KMeans())
    assert not is_classifier(KMeans())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*hasn't converged.*")
        assert cross_val_score(e, x, y, cv=3).min() > 0.9
        found = GridSearchCV(e, {"mlpclassifier__hidden_layer_sizes": [(2,), (8,)]}, cv=3, n_jobs=2).fit(x, y)
    assert found.best_score_ > 0.9
    assert clone(e).get_params()["mlpclassifier"].max_iter == 30
    assert "MLPClassifier" in e._repr_html_()


def test_set_output_makes_frames() -> None:
    pandas = pytest.importorskip("pandas")
    x, _ = blobs()
    frame = pandas.DataFrame(x, columns=["a", "b"], index=np.arange(len(x)) + 7)
    out = PCA(2).set_output(transform="pandas").fit_transform(frame)
    assert list(out.columns) == ["pca0", "pca1"]
    assert list(out.index) == list(frame.index)


def test_set_output_makes_frames_of_polars() -> None:
    polars = pytest.importorskip("polars")
    out = PCA(2).set_output(transform="polars").fit_transform(blobs()[0])
    assert isinstance(out, polars.DataFrame)
    assert out.columns == ["pca0", "pca1"]


def test_set_output_knows_three_containers() -> None:
    with pytest.raises(ValueError, match="'default', 'pandas' or 'polars'"):
        PCA().set_output(transform="lists")
    e = PCA().set_output(transform="default").set_output()
    assert isinstance(e.fit_transform(blobs()[0]), np.ndarray)


@pytest.mark.parametrize("kind", OURS)
def test_pickle_and_joblib(kind: type[Any], tmp_path: Any) -> None:
    x, y = blobs()
    e = kind(random_state=0)
    if "max_iter" in e.get_params() and hasattr(e, "solver"):
        e.set_params(max_iter=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(hasn't converged|fewer than n_clusters).*")
        e.fit(x, y)
    use = "predict" if hasattr(e, "predict") else "transform"
    expected = getattr(e, use)(x)
    copies = [pickle.loads(pickle.dumps(e))]
    if (joblib := pytest.importorskip("joblib")) is not None:
        joblib.dump(e, tmp_path / "e")
        copies.append(joblib.load(tmp_path / "e"))
    for copy in copies:
        np.testing.assert_array_equal(getattr(copy, use)(x), expected)


def test_beside_torch() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    code = """
import warnings; warnings.simplefilter("ignore")
import torch, numpy as np
torch.ones(300, 300) @ torch.ones(300, 300)
from sklearn.model_selection import GridSearchCV
from pyneural.estimators import KMeans, MLPClassifier
x = np.random.default_rng(0).normal(size=(60, 3)); y = (x[:, 0] > 0).astype(int)
g = GridSearchCV(MLPClassifier((4,), max_iter=5, random_state=0), {"alpha": [0.0, 0.1]}, cv=2, n_jobs=2).fit(x, y)
KMeans(3, random_state=0).fit(x); (torch.ones(300, 300) @ torch.ones(300, 300)).sum()
print("ok", len(g.cv_results_["params"]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "ok 2", done.stderr


def test_errors_are_scikit_learns_too() -> None:
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError) as caught:
        KMeans().predict(np.ones((2, 2)))
    assert isinstance(caught.value, NotFittedError)


def test_lazy_name() -> None:
    assert pn.estimators is estimators
    assert issubclass(KMeans, Estimator)


# ---- what is refused ----

X4, Y4 = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
MLP = MLPClassifier(max_iter=1)


class Sparse:
    """As SciPy's matrices show themselves."""

    nnz = 1

    def toarray(self) -> np.ndarray:
        return X4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MLP.fit(Sparse(), Y4), TypeError, "sparse data are not taken; pass X.toarray"),
        (lambda: MLP.fit(X4[:, :0], Y4), ValueError, r"Found array with 0 feature\(s\)"),
        (lambda: MLP.fit(X4, None), ValueError, "requires y to be passed, but the target y is None"),
        (lambda: MLP.fit(X4, X4), ValueError, r"y should be a 1d array, got an array of shape \(4, 2\) instead"),
        (lambda: MLP.fit(X4, Y4 * 1j), ValueError, "Complex data not supported in y"),
        (lambda: MLP.fit(X4, [0, 1, None, 1]), ValueError, "Input y contains NaN or None, the first at 2"),
        (lambda: MLP.fit(X4, Y4 + 0.5), ValueError, "Unknown label type: continuous. y holds fractions"),
        (lambda: MLP.fit(X4, np.array([1, "a", 1, "a"], object)), ValueError, "y mixes types that have no order"),
        (lambda: MLP.fit(X4, Y4, np.ones(3)), ValueError, r"sample_weight has shape \(3,\) but X has 4 rows"),
        (lambda: MLP.fit(X4, Y4, [1, -1, 1, 1]), ValueError, "sample_weight holds -1; weights must not be negative"),
        (lambda: MLP.fit(X4, Y4, np.zeros(4)), ValueError, "Sample weights must contain at least one non-zero number"),
        (lambda: MLPClassifier(class_weight="even").fit(X4, Y4), ValueError, "class_weight must be"),
        (
            lambda: checks.class_weights("even", Y4[:2], Y4, "A"),
            ValueError,
            "A: class_weight must be None, 'balanced' or",
        ),
        (
            lambda: MLPClassifier(class_weight={7: 1}).fit(X4, Y4),
            ValueError,
            "names the class 7, which y does not hold",
        ),
        (
            lambda: MLPClassifier(class_weight={1: -1}).fit(X4, Y4),
            ValueError,
            "class_weight of 1 is -1; weights must not",
        ),
        (lambda: MLP.fit(X4, Y4).predict(X4[:, :1]), ValueError, "X has 1 features, but MLPClassifier is expecting 2"),
        (lambda: KMeans(5).fit(X4), ValueError, "n_samples=4 should be >= n_clusters=5; take fewer clusters"),
        (
            lambda: CompetitiveLearning(2, step_size=0.9, rule="hebbian", max_iter=99).fit(X4 * 1e9),
            ValueError,
            "the weights diverged; take a smaller step_size",
        ),
        (
            lambda: MLPClassifier(early_stopping=True, validation_fraction=0.9).fit(X4[:1], Y4[:1]),
            ValueError,
            "early_stopping would set 1 of 1 rows apart; lower validation_fraction",
        ),
        (
            lambda: MLPClassifier(warm_start=True, max_iter=1).fit(X4, Y4).fit(X4, Y4 + 1),
            ValueError,
            r"warm_start goes on with classes \[0, 1\], but y holds \[1, 2\]",
        ),
        (
            lambda: MLPClassifier().partial_fit(X4, Y4).partial_fit(X4, Y4 + 1),
            ValueError,
            r"y holds \[2\], which are not among the classes \[0, 1\] of the first call",
        ),
        (
            lambda: MLP.fit(X4, Y4, validation_data=(X4, Y4 + 1)),
            ValueError,
            r"validation_data must have 2 features and labels among \[0, 1\]; got 2 and \[1, 2\]",
        ),
        (lambda: Autoencoder(loss="bce").fit(X4), ValueError, "loss='bce' compares numbers in .* X goes from 0 to 7"),
        (lambda: Autoencoder(max_iter=1).fit(X4, validation_data=X4[:, :1]), ValueError, "has 1 features, but X has 2"),
        (
            lambda: Autoencoder(early_stopping=True).fit(X4[:1]),
            ValueError,
            "early_stopping would set 1 of 1 rows apart; lower validation_fraction",
        ),
        (
            lambda: Autoencoder(n_components=1, max_iter=1).fit(X4).inverse_transform(X4),
            ValueError,
            "codes have 1 columns, but X has 2",
        ),
        (
            lambda: KMeans(2).fit(X4).get_feature_names_out(["a"]),
            ValueError,
            r"equal to number of features \(2\), got 1",
        ),
        (
            lambda: base.ClassifierMixin().predict(X4),
            NotImplementedError,
            "ClassifierMixin does not say how it predicts",
        ),
        (lambda: base.RegressorMixin().predict(X4), NotImplementedError, "RegressorMixin does not say how it predicts"),
        (lambda: base.TransformerMixin()._transform(X4), NotImplementedError, "does not say how it transforms"),
        (lambda: base.TransformerMixin()._outputs, NotImplementedError, "does not say how many outputs it has"),
        (
            lambda: autoencoders._Coder.score_samples(KMeans(), X4),
            NotImplementedError,
            "does not say how rows are scored",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*iterations.*", "ignore:overflow", "ignore:invalid value")
def test_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_names_of_features_must_be_those_of_fit() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    fitted = KMeans(2).fit(pandas.DataFrame(X4, columns=["a", "b"]))
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        fitted.get_feature_names_out(["a", "c"])
