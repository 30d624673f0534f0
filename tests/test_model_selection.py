"""Folds, grid search and measures of classification: exact, the same for any number of workers, robust to failures."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pyneural as pn
from pyneural import metrics, models, nn, optim
from pyneural.callbacks import EarlyStopping
from pyneural.model_selection import GridSearch, k_fold

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
GRID = {"solver": ["Adam", "SGD"], "lr": [1e-2, 1e-4], "batch_size": [8, 16]}


def make(solver="Adam", lr=1e-2, dropout=0.2):
    model = models.MLP((6, 8, 3), dropout=dropout)
    return pn.Trainer(model, nn.CrossEntropyLoss(), getattr(optim, solver)(model.parameters(), lr=lr))


@pytest.fixture
def two_threads():
    before = pn.get_num_threads()
    pn.set_num_threads(2)
    yield
    pn.set_num_threads(before)


# ---- folds ----


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("stratified", [True, False])
def test_every_row_is_tested_once_and_sizes_are_even(k, stratified):
    folds = k_fold(Y if stratified else 90, k, stratified=stratified)
    assert len(folds) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(90))
    for train, test in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(90))
        assert abs(len(test) - 90 / k) < 1
        if stratified:
            counts = np.bincount(Y[test], minlength=3)
            assert np.all(np.abs(counts - np.bincount(Y) / k) < 1)


def test_folds_follow_their_seed_and_no_other():
    pn.manual_seed(1)
    first = k_fold(Y, 3, seed=5)
    pn.manual_seed(2)
    again, other = k_fold(Y, 3, seed=5), k_fold(Y, 3, seed=6)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert not np.array_equal(first[0][1], other[0][1])
    np.testing.assert_array_equal(k_fold(6, 2, stratified=False, shuffle=False)[0][1], [0, 2, 4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: k_fold(Y, 1), "got 1 folds for 90 rows"),
        (lambda: k_fold(np.zeros(3, int), 4), "got 4 folds for 3 rows"),
        (lambda: k_fold(90, 3), "stratified folds need the classes"),
        (lambda: k_fold(X, 3), r"got \(90, 6\)"),
    ],
)
def test_folds_that_cannot_be_made(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- search ----


@pytest.mark.usefixtures("two_threads")
def test_results_do_not_depend_on_the_number_of_workers():
    def search(jobs):
        pn.manual_seed(jobs)  # which the search must not use, nor change
        found = GridSearch(make, GRID, cv=3, n_jobs=jobs, seed=4).fit(X, Y, epochs=(2, 5), progress=False)
        assert pn.random.get_rng_state().tolist() == [jobs, 0]
        return found

    one, two = search(1), search(2)
    assert pn.get_num_threads() == 2
    for name in one.results:
        if name != "mean_fit_time":
            np.testing.assert_array_equal(one.results[name], two.results[name], err_msg=name)
    assert [[dict(h) for h in row] for row in one.histories] == [[dict(h) for h in row] for row in two.histories]
    assert one.best_params == two.best_params
    for p, q in zip(one.best_model.parameters(), two.best_model.parameters(), strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))


@pytest.mark.usefixtures("two_threads")
def test_table_and_best_cell():
    search = GridSearch(make, GRID, cv=3, seed=1).fit(X, Y, epochs=(3, 12), validation=(X, Y), progress=False)
    r = search.results
    assert len(r["params"]) == 8
    assert r["param_solver"] == ["Adam"] * 4 + ["SGD"] * 4
    scores = np.stack([r[f"split{i}_test_score"] for i in range(3)])
    np.testing.assert_allclose(r["mean_test_score"], scores.mean(axis=0))
    np.testing.assert_allclose(r["std_test_score"], scores.std(axis=0))
    assert search.best_index == int(np.argmax(r["mean_test_score"]))
    assert r["rank_test_score"][search.best_index] == 1
    assert search.best_params["solver"] == "Adam"
    assert search.best_params["lr"] == 1e-2
    assert search.best_score > 0.8
    assert np.any(r["mean_test_score_after_3"] != r["mean_test_score"])
    assert search.best_history.epochs == 12
    assert "val_loss" in search.best_history
    assert len(search.histories) == 8
    assert search.histories[0][2].epochs == 12
    columns, rows = search.table()
    assert columns == ["rank", "solver", "lr", "batch_size", "mean", "std", "mean_test_score_after_3", "mean_fit_time",
                       "error"]  # fmt: skip
    assert [row[0] for row in rows] == sorted(r["rank_test_score"].tolist())
    assert rows[0][1:4] == list(search.best_params.values())
    lines = str(search).splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("rank  solver  lr")
    accuracy = np.mean(search.best_trainer.predict(X).argmax(axis=1) == Y)
    assert accuracy > 0.9


def test_scores_after_fewer_epochs_are_those_of_a_shorter_training():
    long = GridSearch(make, {"lr": [1e-2]}, cv=3, refit=False).fit(X, Y, epochs=(2, 6), progress=False)
    short = GridSearch(make, {"lr": [1e-2]}, cv=3, refit=False).fit(X, Y, epochs=2, progress=False)
    np.testing.assert_array_equal(long.results["mean_test_score_after_2"], short.results["mean_test_score"])
    assert long.best_model is None


@pytest.mark.usefixtures("two_threads")
def test_a_failing_cell_leaves_its_error_and_the_others():
    def sometimes(lr, broken):
        if broken:
            raise RuntimeError("no such luck")
        return make(lr=lr)

    grid = [{"lr": [1e-2], "broken": [True, False]}, {"lr": [1e38], "broken": [False]}]
    search = GridSearch(sometimes, grid, cv=2, n_jobs=2).fit(X * 1e3, Y, epochs=3, progress=False)
    broken, fine, diverged = search.results["error"]
    assert broken == "RuntimeError: no such luck"
    assert fine is None
    assert diverged.startswith("NonFiniteLoss: the loss is ")
    assert np.isnan(search.results["mean_test_score"]).tolist() == [True, False, True]
    assert search.results["rank_test_score"].tolist() == [2, 1, 2]
    assert search.best_params == {"lr": 1e-2, "broken": False}
    assert search.histories[0] == [None, None]
    assert "no such luck" in str(search)


def test_make_is_told_the_batch_size_if_it_asks():
    told = []

    def asking(lr, batch_size):
        told.append(batch_size)
        return make(lr=lr)

    search = GridSearch(asking, {"lr": [1e-2], "batch_size": [30, 15]}, cv=2, refit=False)
    search.fit(X, Y, epochs=1, progress=False)
    assert sorted(told) == [15, 15, 30, 30]
    assert [row[0].steps for row in search.histories] == [2, 3]


def test_all_cells_failing_is_an_error_with_its_cause():
    search = GridSearch(make, {"learning_rate": [1.0, 2.0]}, cv=2)
    with pytest.raises(ValueError, match=r"all 2 cells failed; the first: .*learning_rate") as caught:
        search.fit(X, Y, progress=False)
    assert isinstance(caught.value.__cause__, TypeError)
    assert search.results["error"][1].startswith("TypeError")


@pytest.mark.usefixtures("two_threads")
def test_two_cells_are_trained_at_a_time_each_with_its_share():
    meeting = threading.Barrier(2, timeout=30)  # passed only if two threads wait at it
    shares = []

    def together(lr):
        meeting.wait()
        shares.append(pn.get_num_threads())
        return make(lr=lr)

    GridSearch(together, {"lr": [1e-2, 1e-3]}, cv=2, refit=False).fit(X, Y, epochs=1, progress=False)
    assert shares == [1] * 4
    shares.clear()
    meeting = threading.Barrier(1)
    GridSearch(together, {"lr": [1e-2]}, cv=2, refit=False, n_jobs=1).fit(X, Y, epochs=1, progress=False)
    assert shares == [2] * 2


@pytest.mark.usefixtures("two_threads")
def test_interrupting_ends_the_workers_soon():
    def interrupt(done, total):
        raise KeyboardInterrupt

    search = GridSearch(make, {"lr": [1e-2] * 20}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, Y, epochs=200, progress=interrupt)
    assert not [t for t in threading.enumerate() if t.name.startswith("grid search")]
    assert pn.get_num_threads() == 2
    assert not hasattr(search, "results")


def test_callbacks_scores_and_folds_of_ones_own():
    counts = []
    search = GridSearch(
        make,
        {"lr": [1e-2]},
        cv=[(np.arange(60), np.arange(60, 90))],
        scoring=lambda trainer, x, y: float(len(x)),
        refit=False,
    )
    search.fit(
        X,
        Y,
        epochs=50,
        progress=lambda done, total: counts.append((done, total)),
        callbacks=lambda trainer: [EarlyStopping("loss", patience=1, min_delta=10.0)],
    )
    assert search.results["mean_test_score"].tolist() == [30]
    assert search.histories[0][0].epochs == 2
    assert counts == [(1, 1)]


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", "neg_loss"])
def test_scores_by_name(scoring):
    folds = k_fold(Y, 2)
    search = GridSearch(lambda dropout: make(dropout=dropout), {"dropout": [0.0]}, cv=folds, scoring=scoring).fit(
        X, Y, epochs=2, progress=False
    )
    predicted = search.best_trainer.predict(X).argmax(axis=1)
    expected = {
        "accuracy": np.mean(predicted == Y),
        "f1_macro": metrics.classification_scores(Y, predicted)["f1"],
        "neg_loss": -search.best_trainer.evaluate(X, Y)["loss"],
    }[scoring]
    assert search._score(search.best_trainer, X, Y, "unit") == pytest.approx(expected, rel=1e-6)
    assert search.best_score == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GridSearch(make, {"lr": []}), ValueError, "holds no combination"),
        (lambda: GridSearch(make, {"solver": "Adam"}), TypeError, "values of 'solver' must be a list, got 'Adam'"),
        (lambda: GridSearch(make, GRID, scoring="f2"), ValueError, "unknown scoring 'f2'; known are accuracy"),
        (lambda: GridSearch(make, GRID, n_jobs=0), ValueError, "n_jobs must be at least 1"),
        (lambda: GridSearch(make(), GRID), TypeError, "make must be a function"),
        (lambda: GridSearch(make, GRID).fit(X, Y[:5]), ValueError, r"x \(90, 6\) and y \(5,\)"),
        (lambda: GridSearch(make, GRID).fit(X, Y, epochs=(5, 2)), ValueError, "in rising order"),
        (lambda: GridSearch(make, GRID).fit(X, Y, callbacks=[1]), TypeError, "each training needs its own"),
        (lambda: GridSearch(make, GRID, cv=91).fit(X, Y), ValueError, "got 91 folds for 90 rows"),
        (lambda: GridSearch(lambda lr: 3, {"lr": [1]}, cv=2).fit(X, Y), ValueError, "make must give a Trainer"),
    ],
)
def test_what_cannot_be_searched_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- a thread's own stream ----


def test_a_thread_draws_from_the_generator_that_it_uses():
    pn.manual_seed(7)
    expected = pn.rand(3, generator=pn.Generator(1)).tolist()
    other = []

    def elsewhere():
        other.append(pn.random.initial_seed())

    with pn.random.using(pn.Generator(1)):
        assert pn.random.initial_seed() == 1
        assert pn.rand(3).tolist() == expected
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        pn.manual_seed(1)
        assert pn.rand(3).tolist() == expected
    assert other == [7]
    assert pn.random.get_rng_state().tolist() == [7, 0]


def test_replays_draw_from_the_generator_in_use():
    step = pn.compile(lambda x: x + pn.randn(3))
    zero = pn.zeros(3)
    with pn.random.using(pn.Generator(1)):
        for _ in range(4):
            step(zero)
    pn.manual_seed(3)
    expected = [pn.randn(3).tolist() for _ in range(5)]
    pn.manual_seed(3)
    assert [step(zero).tolist() for _ in range(5)] == expected
    assert sum(r.replays for r in step.programs) >= 3


def test_the_best_trainer_goes_on_from_seeds_as_any_other():
    search = GridSearch(make, {"lr": [1e-2]}, cv=2).fit(X, Y, epochs=2, progress=False)
    state = {name: np.array(value) for name, value in search.best_model.state_dict().items()}
    losses = []
    for _ in range(2):
        search.best_model.load_state_dict(state)
        optimizer = optim.SGD(search.best_model.parameters(), lr=0.1)
        search.best_trainer.optimizer = optimizer
        losses.append(search.best_trainer.fit(X, Y, epochs=3, seed=8, progress=False)["loss"])
    assert losses[0] == losses[1]


# ---- measures ----


def test_measures_are_those_of_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    truth, guess = RNG.integers(0, 5, 200), RNG.integers(0, 4, 200)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(truth, guess), sklearn_metrics.confusion_matrix(truth, guess)
    )
    found = metrics.classification_scores(truth, guess)
    p, r, f, _ = sklearn_metrics.precision_recall_fscore_support(truth, guess, zero_division=0)
    for name, values in (("precision", p), ("recall", r), ("f1", f)):
        np.testing.assert_allclose(found["per_class"][name], values, rtol=1e-13)
        assert found[name] == pytest.approx(values.mean())
    assert found["accuracy"] == pytest.approx(np.mean(truth == guess))


def test_measures_by_hand():
    counts = metrics.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 0, 0]])
    found = metrics.classification_scores([0, 0, 1, 1], [0, 1, 1, 1], 3)
    np.testing.assert_allclose(found["per_class"]["precision"], [1, 2 / 3, 0])
    np.testing.assert_allclose(found["per_class"]["recall"], [0.5, 1, 0])
    np.testing.assert_allclose(found["per_class"]["f1"], [2 / 3, 4 / 5, 0])
    assert found["accuracy"] == 0.75
    for arguments, message in [
        (([0, 3], [0, 1], 3), "classes are 0 to 2"),
        (([0.5], [0], None), "needs two integer vectors"),
        (([0, -1], [0, 0], 2), "negative number"),
        (([0, 1], [0], None), "of one length"),
    ]:
        with pytest.raises(ValueError, match=message):
            metrics.confusion_matrix(*arguments)
