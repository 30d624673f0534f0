"""Grid search with cross-validation, and the folds that it is made on.

Cells are trained side by side in threads: a replayed epoch runs in C++ without Python's lock, so that two threads of
Python with one core each train twice as much as one, where two cores for each product gain less or, with small batches,
lose. Every cell and fold has a random stream of its own, so that results do not depend on the number of workers.
"""

from __future__ import annotations

import inspect
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import pyneural as pn

from . import random
from ._progress import counted
from .callbacks import Callback
from .metrics import classification_scores
from .nn.module import Module
from .training import History, Trainer

__all__ = ["GridSearch", "k_fold"]

#: Parameters of a grid that are given to Trainer.fit; all others make the Trainer.
_OF_FIT = "batch_size"
Folds = list[tuple[np.ndarray, np.ndarray]]


def k_fold(y: Any, k: int = 5, *, stratified: bool = True, shuffle: bool = True, seed: int = 0) -> Folds:
    """Splits rows into k parts, each of which is the test set once: a list of k pairs (training rows, test rows).

    Args:
        y: Classes (N,), or the number of rows if ``stratified`` is False.
        k: Number of folds, at least 2.
        stratified: Each class has, up to one row, the same share in every fold.
        shuffle: Deal rows out in random order; otherwise as they lie.
        seed: Of the random order, which is drawn from a generator of its own.

    Returns:
        Row numbers int64, in rising order. Sizes of test sets differ by at most 1.

    Raises:
        ValueError: There are fewer rows than folds, or fewer than 2 folds.
    """
    labels = np.zeros(int(y), np.int64) if np.ndim(y) == 0 else np.asarray(y)
    if stratified and (np.ndim(y) == 0 or labels.ndim != 1):
        raise ValueError(f"k_fold: stratified folds need the classes (N,), got {np.shape(y)}; or use stratified=False")
    n = len(labels)
    if not 2 <= k <= n:
        raise ValueError(f"k_fold: k must be from 2 to the number of rows, got {k} folds for {n} rows")
    order = np.asarray(random.randperm(n, generator=random.Generator(seed))) if shuffle else np.arange(n)
    if stratified:  # class after class, and dealt out in turn
        order = order[np.argsort(labels[order], kind="stable")]
    part = np.empty(n, np.int64)
    part[order] = np.arange(n) % k
    return [(np.flatnonzero(part != i), np.flatnonzero(part == i)) for i in range(k)]


def _predicted(trainer: Trainer, x: Any, scale: Any) -> np.ndarray:
    output = np.asarray(trainer.predict(x, 1000, scale=scale))
    return (output.reshape(len(output)) > 0).astype(np.int64) if output.shape[1:] in ((), (1,)) else output.argmax(1)


_SCORES: dict[str, Callable[[Trainer, Any, Any, Any], float]] = {
    "accuracy": lambda t, x, y, scale: float(np.mean(_predicted(t, x, scale) == y)),
    "f1_macro": lambda t, x, y, scale: classification_scores(y, _predicted(t, x, scale))["f1"],
    "neg_loss": lambda t, x, y, scale: -t.evaluate(x, y, 1000, scale=scale)["loss"],
}


class GridSearch:
    """Tries every combination of settings by k-fold cross-validation, and trains the best one on all rows.

    ::

        def make(solver, lr):
            model = pn.models.MLP((784, 64, 10))
            return pn.Trainer(model, nn.CrossEntropyLoss(), getattr(optim, solver)(model.parameters(), lr=lr))

        grid = {"solver": ["Adam", "SGD"], "lr": [1e-3, 1e-4], "batch_size": [32, 64]}
        search = GridSearch(make, grid, cv=3, scoring="f1_macro").fit(x, y, epochs=30)
        print(search)
        search.best_params, search.best_score, search.best_model

    Args:
        make: Called with the parameters of a cell, as keywords, gives a new :class:`pyneural.Trainer`. ``batch_size``
            goes to ``Trainer.fit``, and to this function only if it has a parameter of that name.
        param_grid: Name -> values to try; or a list of such grids. Cells come in the order of ``itertools.product``.
        cv: Number of folds, or a list of pairs (training rows, test rows).
        stratified: Whether folds keep the shares of classes; None: if y holds integers, (N,).
        scoring: What decides, larger is better: "accuracy", "f1_macro" (the mean F1 of the classes), "neg_loss", or a
            function (trainer, x, y) -> float.
        n_jobs: Cells that are trained at a time; None or -1: as many as pyneural has threads, and no more than that.
            Each has its share of the threads. No result depends on it.
        refit: Whether to train the best cell on all rows.
        seed: Of folds, initial weights, orders and dropout.

    Attributes:
        results: After ``fit``, column -> one entry per cell: "params" and "param_NAME", "split0_test_score", ...,
            "mean_test_score", "std_test_score", "rank_test_score" (1 is the best), "mean_fit_time" (seconds), "error"
            (what went wrong, or None); "mean_test_score_after_30" and so on for other numbers of epochs.
        histories: [cell][fold] -> :class:`pyneural.History`, None where it failed.
        best_index, best_params, best_score: The best cell: its number, parameters, and mean score.
        best_trainer, best_model, best_history: The best cell, trained on all rows; None without ``refit``.

    Raises:
        ValueError: The grid is empty, ``cv`` or ``n_jobs`` is out of range, or the name of a score is unknown.
        TypeError: The values of a parameter are no list.
    """

    results: dict[str, Any]
    histories: list[list[History | None]]
    best_index: int
    best_params: dict[str, Any]
    best_score: float
    best_trainer: Trainer | None
    best_model: Module | None
    best_history: History | None

    def __init__(
        self,
        make: Callable[..., Trainer],
        param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
        *,
        cv: int | Iterable[tuple[Any, Any]] = 5,
        stratified: bool | None = None,
        scoring: str | Callable[[Trainer, Any, Any], float] = "accuracy",
        n_jobs: int | None = None,
        refit: bool = True,
        seed: int = 0,
    ) -> None:
        if not callable(make):
            raise TypeError(f"GridSearch: make must be a function that gives a Trainer, got {type(make).__name__}")
        if not callable(scoring) and scoring not in _SCORES:
            raise ValueError(f"GridSearch: unknown scoring {scoring!r}; known are {', '.join(_SCORES)}, or a function")
        if n_jobs is not None and n_jobs != -1 and n_jobs < 1:
            raise ValueError(f"GridSearch: n_jobs must be at least 1, or -1 for all threads, got {n_jobs}")
        self.make = make
        self._takes_batch = _OF_FIT in inspect.signature(make).parameters
        self.cells = _cells(param_grid)
        self.cv = cv if isinstance(cv, int) else [(np.asarray(a), np.asarray(b)) for a, b in cv]
        self.stratified = stratified
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.seed = seed

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int | Sequence[int] = 10,
        *,
        validation: Any = None,
        callbacks: Callable[[Trainer], Iterable[Callback]] | None = None,
        scale: Any = "unit",
        progress: bool | Callable[[int, int], Any] | None = None,
        **options: Any,
    ) -> GridSearch:
        """Trains and scores every cell on every fold, then the best on all rows; returns itself.

        Args:
            x: Array (N, ...).
            y: Targets, (N, ...).
            epochs: How long to train; or several numbers in rising order, after each of which a cell is scored in one
                and the same training. The last one decides.
            validation: (x, y) for the history of the last training, of the best cell.
            callbacks: Called with each new trainer, gives its callbacks.
            scale: How x is converted, as for :meth:`pyneural.Trainer.fit`.
            progress: Draw a bar; None: if stderr is a terminal. A function is called with (done, total).
            **options: More for ``Trainer.fit``: ``batch_size``, ``on_nan``, ``shuffle``, ``compile``.

        Raises:
            ValueError: Arguments do not fit, or every cell failed; then the first error is its cause.
        """
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim < 1 or y.shape[:1] != x.shape[:1]:
            raise ValueError(f"GridSearch: x {x.shape} and y {y.shape} must have the same number of rows")
        stages = [epochs] if isinstance(epochs, int | np.integer) else [int(n) for n in epochs]
        if not stages or stages[0] < 1 or sorted(set(stages)) != stages:
            raise ValueError(f"GridSearch: epochs must be at least 1 and in rising order, got {epochs}")
        if callbacks is not None and not callable(callbacks):
            raise TypeError("GridSearch: callbacks must be a function that makes them, for each training needs its own")
        folds = self.cv if isinstance(self.cv, list) else self._folds(y, self.cv)
        total = len(self.cells) * len(folds)
        seeds = np.asarray(random.randint(0, 2**62, (total + 1,), random.Generator(self.seed)))

        def train(params: dict[str, Any], rows: Any, seed: int, listeners: list[Callback], held: Any) -> Trainer:
            with random.using(random.Generator(int(seed))):
                trainer = self.make(**{k: v for k, v in params.items() if k != _OF_FIT or self._takes_batch})
                if not isinstance(trainer, Trainer):
                    raise TypeError(f"GridSearch: make must give a Trainer, got {type(trainer).__name__}")
                more = listeners + list(callbacks(trainer) if callbacks else ())
                of_fit = options | {k: v for k, v in params.items() if k == _OF_FIT}
                part = (x, y) if rows is None else (x[rows], y[rows])
                trainer.fit(
                    *part, stages[-1], validation=held, callbacks=more, scale=scale, progress=False, **of_fit
                )  # fmt: skip
            return trainer

        def task(number: int, stop: threading.Event) -> _Outcome:
            cell, fold = divmod(number, len(folds))
            learn, test = folds[fold]
            outcome = _Outcome(len(stages))
            score = _Scoring(lambda t: self._score(t, x[test], y[test], scale), stages, outcome.scores, stop)
            start = time.perf_counter()
            try:
                outcome.history = train(self.cells[cell], learn, seeds[number], [score], None).history
                score.finish()
            except _Stopped:
                raise
            except Exception as error:
                outcome.error, outcome.scores[-1] = error, math.nan
            outcome.seconds = time.perf_counter() - start
            return outcome

        outcomes = self._run(task, total, progress)
        self._collect(outcomes, len(folds), stages)
        self.best_trainer = self.best_model = self.best_history = None
        if self.refit:
            self.best_trainer = train(self.best_params, None, seeds[-1], [], validation)
            self.best_model, self.best_history = self.best_trainer.model, self.best_trainer.history
        return self

    def _folds(self, y: np.ndarray, k: int) -> Folds:
        classes = y.ndim == 1 and y.dtype.kind in "iub"
        stratified = classes if self.stratified is None else self.stratified
        return k_fold(y if stratified else len(y), k, stratified=stratified, seed=self.seed)

    def _score(self, trainer: Trainer, x: Any, y: Any, scale: Any) -> float:
        if callable(self.scoring):
            return float(self.scoring(trainer, x, y))
        return _SCORES[self.scoring](trainer, x, y, scale)

    def _run(self, task: Callable[[int, threading.Event], _Outcome], total: int, progress: Any) -> list[_Outcome]:
        """The outcomes of all tasks in their order, computed by threads that share the cores."""
        threads = pn.get_num_threads()
        jobs = min(threads if self.n_jobs in (None, -1) else self.n_jobs or 1, threads, total)
        todo, done = iter(range(total)), queue.SimpleQueue[tuple[int, Any]]()
        turn, stop = threading.Lock(), threading.Event()

        def work() -> None:
            while not stop.is_set():
                with turn:
                    number = next(todo, None)
                if number is None:
                    return
                try:
                    done.put((number, task(number, stop)))
                except BaseException as error:  # whatever it is, the waiting thread has to know
                    done.put((number, error))
                    return

        found: dict[int, _Outcome] = {}
        workers = [threading.Thread(target=work, name=f"grid search {i}", daemon=True) for i in range(jobs)]
        draw = False if callable(progress) else progress
        pn.set_num_threads(max(1, threads // jobs))
        try:
            with counted(draw, "grid search", total) as advance:
                for worker in workers:
                    worker.start()
                while len(found) < total:
                    number, outcome = done.get()
                    if isinstance(outcome, BaseException):
                        raise outcome
                    found[number] = outcome
                    advance(f"latest {outcome.scores[-1]:.4g}")
                    if callable(progress):
                        progress(len(found), total)
        finally:
            stop.set()  # after Ctrl-C or an error, the others end with their epoch
            for worker in workers:
                if worker.ident is not None:
                    worker.join()
            pn.set_num_threads(threads)
        return [found[i] for i in range(total)]

    def _collect(self, outcomes: list[_Outcome], folds: int, stages: list[int]) -> None:
        scores = np.array([o.scores for o in outcomes]).reshape(len(self.cells), folds, len(stages))
        grouped = [outcomes[i * folds : (i + 1) * folds] for i in range(len(self.cells))]
        self.histories = [[o.history for o in group] for group in grouped]
        errors = [next((o.error for o in group if o.error is not None), None) for group in grouped]
        names = dict.fromkeys(name for cell in self.cells for name in cell)
        final, mean = scores[:, :, -1], scores.mean(axis=1)
        self.results = {"params": self.cells}
        self.results |= {f"param_{name}": [cell.get(name) for cell in self.cells] for name in names}
        self.results |= {f"split{i}_test_score": final[:, i] for i in range(folds)}
        self.results |= {"mean_test_score": mean[:, -1], "std_test_score": final.std(axis=1)}
        for i, stage in enumerate(stages[:-1]):
            self.results[f"mean_test_score_after_{stage}"] = mean[:, i]
        better = mean[:, -1][None, :] > mean[:, -1][:, None]  # NaN is better than nothing and worse than everything
        rank = 1 + np.where(np.isnan(mean[:, -1]), np.sum(~np.isnan(mean[:, -1])), better.sum(axis=1))
        self.results |= {
            "rank_test_score": rank,
            "mean_fit_time": np.array([np.mean([o.seconds for o in group]) for group in grouped]),
            "error": [None if e is None else f"{type(e).__name__}: {e}" for e in errors],
        }
        if np.isnan(mean[:, -1]).all():
            cause = next((e for e in errors if e is not None), None)
            reason = cause if cause is not None else "every score is NaN"
            raise ValueError(f"GridSearch: all {len(self.cells)} cells failed; the first: {reason}") from cause
        self.best_index = int(np.nanargmax(mean[:, -1]))
        self.best_params = dict(self.cells[self.best_index])
        self.best_score = float(mean[self.best_index, -1])

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """The results as (columns, rows), best first: rank, parameters, mean and standard deviation, seconds, error."""
        r = self.results
        names = [key for key in r if key.startswith("param_")]
        after = [key for key in r if key.startswith("mean_test_score_")]
        shown = [
            "rank_test_score",
            *names,
            "mean_test_score",
            "std_test_score",
            *after,
            "mean_fit_time",
            "error",
        ]  # fmt: skip
        order = sorted(range(len(self.cells)), key=lambda i: (r["rank_test_score"][i], i))
        columns = [key.removeprefix("param_").removesuffix("_test_score") for key in shown]
        return columns, [[_plain(r[key][i]) for key in shown] for i in order]

    def __str__(self) -> str:
        if not hasattr(self, "results"):
            return f"GridSearch({len(self.cells)} cells, not fitted)"
        columns, rows = self.table()
        cells = [[_text(v) for v in row] for row in rows]
        widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
        lines = [columns, *cells]
        return "\n".join("  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines)


class _Outcome:
    """What became of one cell on one fold."""

    def __init__(self, stages: int) -> None:
        self.scores = [math.nan] * stages
        self.history: History | None = None
        self.error: Exception | None = None
        self.seconds = 0.0


class _Stopped(BaseException):
    """The search was interrupted; raised at the end of an epoch in its threads."""


class _Scoring(Callback):
    """Scores a training after some of its epochs, and ends it if the search was interrupted."""

    def __init__(
        self, score: Callable[[Trainer], float], stages: list[int], scores: list[float], stop: threading.Event
    ) -> None:
        self.score, self.stages, self.scores, self.stop = score, stages, scores, stop
        self.trainer: Trainer | None = None

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        self.trainer = trainer
        if self.stop.is_set():
            raise _Stopped
        if epoch + 1 in self.stages[:-1]:
            self.scores[self.stages.index(epoch + 1)] = self.score(trainer)

    def finish(self) -> None:
        """After the training, whose other callbacks may have ended it early or put weights back."""
        if self.trainer is not None:
            self.scores[-1] = self.score(self.trainer)


def _cells(grid: Any) -> list[dict[str, Any]]:
    """Every combination of the values, as name -> value."""
    cells: list[dict[str, Any]] = []
    for part in [grid] if isinstance(grid, Mapping) else grid:
        for name, values in part.items():
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise TypeError(f"GridSearch: the values of {name!r} must be a list, got {values!r}")
        cells += [dict(zip(part, values, strict=True)) for values in itertools.product(*part.values())]
    if not cells:
        raise ValueError("GridSearch: param_grid holds no combination; give each name at least one value")
    return cells


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
