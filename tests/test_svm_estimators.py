"""SVC and SVR under scikit-learn's own checks, in its tools, beside its SVC and SVR, and by themselves."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pyneural.estimators import SVC, SVR, NotFittedError

RNG = np.random.default_rng(0)


def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.exp(-0.3 * ((a[:, None] - b) ** 2).sum(-1))


def clouds(n: int = 120, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(n, 4)) + 1.4 * np.eye(4)[y], y


# ---- without scikit-learn ----


def test_scikit_learn_is_not_imported() -> None:
    code = """
import sys
import numpy as np
from pyneural.estimators import SVC, SVR
x = np.random.default_rng(0).normal(size=(40, 3)); y = np.arange(40) % 2
SVC(probability=True, random_state=0).fit(x, y).predict_proba(x)
SVR().fit(x, x[:, 0]).score(x, x[:, 0])
print([m for m in sys.modules if m.split('.')[0] in ('sklearn', 'scipy', 'joblib')])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [SVC, SVR])
def test_every_parameter_has_a_constraint_that_is_kept(kind: type[Any]) -> None:
    x, y = clouds()
    for name in kind._parameter_names():
        with pytest.raises(ValueError, match=f"{kind.__name__}: {name} must be"):
            kind().set_params(**{name: object()}).fit(x, y)
    with pytest.raises(NotFittedError):
        kind().predict(x)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", reference], ids=str)
def test_values_are_what_the_attributes_say(kernel: Any) -> None:
    x, y = clouds()
    machine = SVC(kernel=kernel, gamma=0.2, coef0=0.1, decision_function_shape="ovo").fit(x, y)
    values = machine._machines.kernel.values(x, machine.support_vectors_)
    ends = np.cumsum([0, *machine.n_support_])
    parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
    expected = [
        values[:, parts[i]] @ machine.dual_coef_[j - 1, parts[i]]
        + values[:, parts[j]] @ machine.dual_coef_[i, parts[j]]
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    shown = machine.decision_function(x)
    np.testing.assert_allclose(shown, np.stack(expected, 1) + machine.intercept_, atol=1e-9)
    np.testing.assert_array_equal(machine.support_vectors_, x[machine.support_])
    assert (y[machine.support_] == np.repeat([0, 1, 2], machine.n_support_)).all()
    if kernel == "linear":
        np.testing.assert_allclose(shown, x @ machine.coef_.T + machine.intercept_, atol=1e-9)
    else:
        with pytest.raises(AttributeError, match="linear kernel only"):
            _ = machine.coef_


def test_one_against_rest_and_votes_agree_where_nothing_is_tied() -> None:
    x, y = clouds(300)
    machine = SVC().fit(x, y)
    values = machine.decision_function(x)
    assert values.shape == (300, 3)
    np.testing.assert_array_equal(SVC(break_ties=True).fit(x, y).predict(x), values.argmax(1))
    pairs = SVC(decision_function_shape="ovo").fit(x, y).decision_function(x)
    wins = np.stack([(pairs[:, 0] > 0) * 1 + (pairs[:, 1] > 0), (pairs[:, 0] <= 0) * 1 + (pairs[:, 2] > 0),
                     (pairs[:, 1] <= 0) * 1 + (pairs[:, 2] <= 0)], axis=1)  # fmt: skip
    np.testing.assert_array_equal(machine.predict(x), wins.argmax(1))
    with pytest.raises(ValueError, match="break_ties must be False"):
        SVC(break_ties=True, decision_function_shape="ovo").fit(x, y).predict(x)


def test_labels_may_be_texts_and_the_binary_sign_is_that_of_the_later_class() -> None:
    x, y = clouds(80, 2)
    names = np.array(["no", "yes"])[y]
    machine = SVC(kernel="linear").fit(x, names)
    assert machine.classes_.tolist() == ["no", "yes"]
    values = machine.decision_function(x)
    np.testing.assert_array_equal(machine.predict(x), np.where(values > 0, "yes", "no"))
    np.testing.assert_allclose(x @ machine.coef_[0] + machine.intercept_[0], values, atol=1e-10)
    weighted = SVC(class_weight={"yes": 9.0}).fit(x, names)
    assert weighted.class_weight_.tolist() == [1, 9]
    assert (weighted.predict(x) == "yes").sum() > (SVC().fit(x, names).predict(x) == "yes").sum()


@pytest.mark.parametrize("kernel", ["rbf", "precomputed", reference], ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities(kernel: Any, classes: int) -> None:
    x, y = clouds(240, classes)
    test, truth = clouds(3000, classes, seed=1)
    if kernel == "precomputed":
        x, test = reference(x, x), reference(test, x)
    machine = SVC(kernel=kernel, probability=True, random_state=0).fit(x, y)
    p = machine.predict_proba(test)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(machine.predict(test), machine.classes_[p.argmax(1)])
    np.testing.assert_allclose(machine.predict_log_proba(test), np.log(p))
    for low in (0.2, 0.5, 0.8):  # of rows that are given about this chance, about as many are of the class
        near = np.abs(p[:, 0] - low) < 0.1
        assert abs((truth[near] == 0).mean() - p[near, 0].mean()) < 0.15
    again = SVC(kernel=kernel, probability=True, random_state=0).fit(x, y).predict_proba(test)
    assert again.tobytes() == p.tobytes()
    other = SVC(kernel=kernel, probability=True, random_state=1).fit(x, y).predict_proba(test)
    assert other.tobytes() != p.tobytes()


def test_probabilities_are_there_on_request_only() -> None:
    x, y = clouds()
    machine = SVC().fit(x, y)
    assert not hasattr(machine, "predict_proba")
    with pytest.raises(AttributeError, match=r"needs SVC\(probability=True\)"):
        _ = machine.predict_log_proba
    with pytest.raises(AttributeError, match=r"predict_proba needs SVC\(probability=True\)"):
        _ = machine.predict_proba
    with pytest.raises(NotFittedError, match="fitted with probability=False"):
        machine.set_params(probability=True).predict_proba(x)


def test_a_class_of_one_row_has_probabilities() -> None:
    x, y = clouds(41, 2)
    y[-1] = 5
    p = SVC(probability=True, random_state=0).fit(x, y).predict_proba(x)
    assert np.isfinite(p).all()
    weights = np.ones(41)
    weights[:5] = 0
    assert SVC(probability=True, random_state=0).fit(x, y, weights).predict_proba(x).shape == (41, 3)


@pytest.mark.parametrize("machine", [SVC(), SVR()], ids=repr)
def test_awkward_data(machine: Any) -> None:
    x, y = clouds(20, 2)
    for data, message in (
        (np.where(np.arange(80).reshape(20, 4) == 7, np.nan, x), r"contains NaN or infinity .* at \[1, 3\]"),
        (x[:0], "0 sample"),
        (x[0], "Expected 2D array"),
        (x[:, :0], r"Found array with 0 feature\(s\) .* while a minimum of 1 is required"),
    ):
        with pytest.raises(ValueError, match=message):
            machine.fit(data, y[: len(data)])
    assert len(machine.fit(x[:, :1], y).predict(x[:, :1])) == 20
    assert len(machine.fit(np.ones((4, 3)), [0, 1, 0, 1]).predict(np.ones((1, 3)))) == 1
    if isinstance(machine, SVC):
        for labels in ([0], [3, 3, 3]):
            with pytest.raises(ValueError, match="one class only"):
                machine.fit(x[: len(labels)], labels)
    else:
        assert machine.fit(x[:1], [4.0]).predict(x[:2]).tolist() == [4.0, 4.0]


# ---- with scikit-learn ----


#: Scikit-learn's bundled data sets, as (name, estimator's settings).
BUNDLED = [(name, settings) for name in ("iris", "wine", "breast_cancer", "digits")
           for settings in ({}, {"kernel": "linear"}, {"kernel": "poly"})]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), BUNDLED, ids=str)
def test_svc_beside_scikit_learn(name: str, settings: dict[str, Any]) -> None:
    pytest.importorskip("sklearn")
    from sklearn import datasets, svm
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, first = np.unique(
        x, axis=0, return_index=True
    )  # rows that stand there twice share their multiplier as they like
    y = y[first]
    x, test, y, truth = train_test_split(StandardScaler().fit_transform(x), y, test_size=0.3, random_state=0)
    ours = SVC(**settings, tol=1e-8, decision_function_shape="ovo").fit(x, y)
    theirs = svm.SVC(**settings, tol=1e-8, decision_function_shape="ovo").fit(x, y)
    np.testing.assert_array_equal(ours.support_, theirs.support_)
    np.testing.assert_array_equal(ours.n_support_, theirs.n_support_)
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(test), theirs.decision_function(test), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(test), theirs.predict(test))
    assert ours.score(test, truth) == theirs.score(test, truth)
    if settings.get("kernel") != "linear":
        assert ours.gamma_ == pytest.approx(theirs._gamma, rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"kernel": "linear"}, {"C": 100.0, "epsilon": 10.0}], ids=str)
def test_svr_beside_scikit_learn(settings: dict[str, Any]) -> None:
    pytest.importorskip("sklearn")
    from sklearn import datasets, svm

    x, y = datasets.load_diabetes(return_X_y=True)
    x = x / x.std(axis=0)
    ours, theirs = SVR(**settings, tol=1e-6).fit(x, y), svm.SVR(**settings, tol=1e-6).fit(x, y)
    np.testing.assert_array_equal(ours.support_, theirs.support_)
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=1e-4 * settings.get("C", 1))
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-4)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y), abs=1e-6)


def test_same_parameters_and_defaults_as_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sklearn import svm

    for ours, theirs in ((SVC(), svm.SVC()), (SVR(), svm.SVR())):
        defaults = theirs.get_params()
        own = ours.get_params()
        assert set(own) - set(defaults) == {"max_time", "progress"}
        # "deprecated" is scikit-learn's way to say that probability is on its way out.
        assert {k: own[k] for k in defaults if k != "probability"} == {
            k: v for k, v in defaults.items() if k != "probability"
        }


def test_in_scikit_learns_tools() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = clouds(150)
    pipeline = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(pipeline, {"svc__C": [0.1, 1.0, 10.0]}, n_jobs=2, cv=3).fit(x, y)
    assert search.best_score_ > 0.6
    assert set(search.best_params_) == {"svc__C"}
    assert cross_val_score(SVC(kernel="precomputed"), x @ x.T, y, cv=3).mean() > 0.6
    copy = clone(SVC(C=3.0, kernel=reference))
    assert copy.get_params() == SVC(C=3.0, kernel=reference).get_params()


@pytest.mark.parametrize(
    "machine", [SVC(), SVC(kernel=reference), SVC(probability=True, random_state=0), SVR(kernel="linear")], ids=repr
)
def test_pickle_and_joblib(machine: Any, tmp_path: Any) -> None:
    x, y = clouds()
    machine.fit(x, y)
    again = pickle.loads(pickle.dumps(machine))
    assert again.predict(x).tobytes() == machine.predict(x).tobytes()
    joblib = pytest.importorskip("joblib")
    joblib.dump(machine, tmp_path / "machine")
    assert joblib.load(tmp_path / "machine").predict(x).tobytes() == machine.predict(x).tobytes()
