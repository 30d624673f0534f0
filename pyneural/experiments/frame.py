"""How an experiment is written and run.

An experiment is one function in a file of its own. The file's docstring says what is asked; the function gets a `Run`,
through which it reads its data, states what it expects beside what it measured, and hands over tables and pictures:

    @experiment("quadratic-gd", title="Gradient descent on a quadratic", source="homework 5, 1a-1c", kind="hand")
    def run(e: Run) -> None:
        e.check("optimum", w, (1, 3), tolerance=1e-12)

`execute` runs one and leaves OUT/ID/result.json, the pictures (PNG) and the arrays that they show (npz). Nothing here
draws or imports matplotlib, so listing the experiments stays fast.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pyneural.experiments import _judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
KINDS = ("hand", "train", "proof", "figure")
TOPICS = (
    "Calculations by hand",
    "Automatic differentiation",
    "Classifiers and optimisers",
    "Learning by imitation",
    "Autoencoders",
    "Variational autoencoders",
    "Convolutions",
    "Sequences and graphs",
    "Adversarial networks",
    "Clustering",
    "Support vector machines",
    "Losses and convexity",
    "Information and bounds",
)
PROFILES = ("quick", "full")
QUICK_TRAIN, QUICK_TEST = 10_000, 1_000


class DataMissing(RuntimeError):
    """The data that an experiment needs is not on this machine, or damaged; the message says how to get it."""


@dataclass(frozen=True)
class Experiment:
    """What `@experiment` leaves in a module: the facts about an experiment and its function."""

    id: str
    title: str
    source: str
    kind: str
    topic: str
    needs: tuple[str, ...]
    function: Callable[[Run], None]
    module: str

    @property
    def description(self) -> str:
        """What is asked: the docstring of the experiment's file."""
        return inspect.cleandoc(sys.modules[self.module].__doc__ or "")

    @property
    def code(self) -> str:
        """The text of the experiment's file."""
        return inspect.getsource(sys.modules[self.module])


def experiment(
    id: str, *, title: str, source: str, kind: str, topic: str, needs: Sequence[str] = ()
) -> Callable[[Callable[[Run], None]], Experiment]:
    """Declare the function below to be the experiment `id`.

    `source` is the document and exercise, `kind` one of hand, train, proof, figure, `topic` one of `TOPICS`; `needs`
    names the data sets without which it cannot run ("mnist", "fashion-mnist"): they are looked for before anything is
    computed. The file must be called as the id, with underscores. Raises ValueError for what breaks these rules.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        raise ValueError(f"experiment: the id {id!r} must be lower-case words joined by hyphens")
    if kind not in KINDS:
        raise ValueError(f"experiment {id}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if topic not in TOPICS:
        raise ValueError(f"experiment {id}: topic is {topic!r}, expected one of {', '.join(TOPICS)}")
    unknown = set(needs) - set(DATA_SETS)
    if unknown:
        raise ValueError(f"experiment {id}: needs names {sorted(unknown)}, known data sets are {', '.join(DATA_SETS)}")

    def declare(function: Callable[[Run], None]) -> Experiment:
        return Experiment(id, title, source, kind, topic, tuple(needs), function, function.__module__)

    return declare


@dataclass(frozen=True)
class Images:
    """Labelled images: `x_train` (N, 28, 28) uint8, `y_train` (N,) int64, and the same for the test set."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def first(self, train: int, test: int) -> Images:
        """The first `train` training and `test` test images (views)."""
        return Images(self.x_train[:train], self.y_train[:train], self.x_test[:test], self.y_test[:test])

    def flat(self, mean: float = 0.0, std: float = 1.0, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """(x_train, x_test) as rows of 784 numbers in `dtype`: (grey level in [0, 1] - mean) / std."""
        from pyneural.data import standardise

        rows = [standardise(x.reshape(len(x), -1), mean, std, dtype) for x in (self.x_train, self.x_test)]
        return rows[0], rows[1]


class Listener:
    """What a run tells while it is under way. This one stays silent; the command line has one that draws."""

    def track(self, steps: Iterable[T], text: str, total: int | None) -> Iterable[T]:
        """Pass `steps` through, showing how far they are."""
        return steps

    def status(self, text: str) -> None:
        """Say what is being done now."""


@dataclass
class Run:
    """One run of one experiment: what the experiment's function is given.

    `profile` is "quick" or "full", `seed` the generator seed, `threads` the number of threads in use. `rng` is a NumPy
    generator started from the seed, and pyneural's own generator has been seeded with it too.
    """

    experiment: Experiment
    profile: str
    seed: int
    threads: int
    folder: Path
    data: str | None = None
    listener: Listener = field(default_factory=Listener)
    checks: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self._digest = hashlib.sha256()

    @property
    def hash(self) -> str:
        """SHA-256 of what was checked and drawn so far, to the last bit: the result's "hash"."""
        return self._digest.hexdigest()

    def _hash(self, name: str, value: Any) -> None:
        array = np.asarray(value)
        content = repr(array.tolist()).encode() if array.dtype.kind in "OU" else np.ascontiguousarray(array).tobytes()
        kind = "text" if array.dtype.kind in "OU" else array.dtype.str
        self._digest.update(f"{name}\0{kind}\0{array.shape}\0{len(content)}\0".encode() + content)

    # Sizes

    @property
    def full(self) -> bool:
        """True in the full profile."""
        return self.profile == "full"

    def pick(self, *, quick: T, full: T) -> T:
        """The value for this run's profile."""
        return full if self.full else quick

    def epochs(self, n: int) -> int:
        """`n` in the full profile, a fifth of it (at least 1) in the quick one."""
        return n if self.full else max(1, round(n / 5))

    # Data

    def mnist(self) -> Images:
        """MNIST; the first 10,000 training and 1,000 test images in the quick profile. Raises DataMissing."""
        return self._images("mnist")

    def fashion_mnist(self) -> Images:
        """Fashion-MNIST, cut as `mnist` is. Raises DataMissing."""
        return self._images("fashion-mnist")

    def digits(self) -> Images:
        """The digits that the package draws itself: always there."""
        return self._images("digits")

    def _images(self, name: str) -> Images:
        images = load_images(name, self.data)
        return images if self.full else images.first(QUICK_TRAIN, QUICK_TEST)

    # What came out

    def check(
        self,
        name: str,
        measured: Any,
        expected: Any = True,
        tolerance: Any = 0.0,
        kind: str = "absolute",
        *,
        printed: Any = None,
        note: str = "",
        profile: str | None = None,
    ) -> bool:
        """Assert something, and go on either way; the run fails at its end if a check did. NaN passes under no kind.

        The kinds are "absolute" and "relative" (largest difference at most `tolerance`), "equal" (exactly, also text),
        "below" and "above" (strictly), "at most" and "at least", "between" (`expected` is (low, high), ends included)
        and "true". `measured` and `expected` are numbers or arrays of one shape (or a scalar `expected`); an array must
        pass everywhere. `printed` is what the source prints, where that is not `expected`. With `profile="full"` the
        quick profile reports the value without asserting it. Returns whether it passed (True if it was not asserted).
        """
        if profile not in (None, *PROFILES):
            raise ValueError(f"check {name!r}: profile is {profile!r}, expected quick, full or None")
        if profile is not None and profile != self.profile:
            text = f"asserted in the {profile} profile only: {_judge.wanted(expected, tolerance, kind)}"
            self.report(name, measured, printed=printed, note=f"{note}; {text}" if note else text)
            return True
        passed, difference = _judge.judge(name, measured, expected, tolerance, kind)
        self._hash(name, measured)
        record = {
            "name": name,
            "expected": _judge.plain(expected),
            "measured": _judge.plain(measured),
            "tolerance": _judge.plain(tolerance) if kind in _judge.WITH_TOLERANCE else None,
            "kind": kind,
            "difference": _judge.plain(difference),
            "passed": passed,
        }
        self.checks.append(record | _given(printed=_judge.plain(printed), note=note or None))
        return passed

    def report(self, name: str, measured: Any, *, printed: Any = None, note: str = "") -> None:
        """Show a value without asserting it, beside what the source prints."""
        record = {"name": name, "measured": _judge.plain(measured)}
        self.reports.append(record | _given(printed=_judge.plain(printed), note=note or None))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> None:
        """Keep a table. Cells are numbers, text or None (empty). Raises ValueError if a row lacks a cell."""
        cells = [[_judge.plain(cell) for cell in row] for row in rows]
        for i, row in enumerate(cells):
            if len(row) != len(columns):
                raise ValueError(f"table {name!r}: row {i} has {len(row)} cells, there are {len(columns)} columns")
        self.tables[name] = {"columns": [str(c) for c in columns], "rows": cells, "caption": caption}

    def figure(self, name: str, figure: Figure, caption: str, data: Mapping[str, Any]) -> None:
        """Save a picture as NAME.png and the arrays that it shows as NAME.npz. Name and data must not be empty."""
        path = self._new_picture(name, "png", data)
        figure.savefig(path, dpi=figure.dpi, metadata={"Software": None})
        self._keep_picture(name, path, caption, data)

    def animation(
        self,
        name: str,
        frames: Sequence[Figure],
        caption: str,
        data: Mapping[str, Any],
        *,
        seconds_per_frame: float = 0.2,
    ) -> None:
        """Save a moving picture as NAME.gif, one figure a frame, and the arrays that it shows as NAME.npz."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        path = self._new_picture(name, "gif", data)
        pictures = []
        for frame in frames:
            canvas = FigureCanvasAgg(frame)
            canvas.draw()
            pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(128))
        pictures[0].save(
            path,
            save_all=True,
            append_images=pictures[1:],
            duration=round(seconds_per_frame * 1000),
            loop=0,
            optimize=True,
        )
        self._keep_picture(name, path, caption, data)

    def _new_picture(self, name: str, suffix: str, data: Mapping[str, Any]) -> Path:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            raise ValueError(f"figure: the name {name!r} must be lower-case words joined by hyphens, as it names files")
        if not data:
            raise ValueError(f"figure {name!r}: data is empty; every picture is saved with the arrays that it shows")
        if any(Path(f["file"]).stem == name for f in self.figures):
            raise ValueError(f"figure: {name!r} was already drawn in this run")
        return self.folder / f"{name}.{suffix}"

    def _keep_picture(self, name: str, path: Path, caption: str, data: Mapping[str, Any]) -> None:
        arrays = {key: np.asarray(value) for key, value in data.items()}
        np.savez_compressed(self.folder / f"{name}.npz", allow_pickle=False, **arrays)
        for key, array in arrays.items():
            self._hash(f"{name}.{key}", array)
        self.figures.append({"file": path.name, "caption": caption, "data": f"{name}.npz"})

    def note(self, text: str) -> None:
        """Keep a remark for the page: what the source got wrong, what was left open and how it was settled."""
        self.notes.append(inspect.cleandoc(text))

    # What is going on

    def progress(self, steps: Iterable[T], text: str, total: int | None = None) -> Iterable[T]:
        """Loop over `steps` and show how far the loop is (nothing is shown where the output is not a terminal)."""
        if total is None and isinstance(steps, Sized):
            total = len(steps)
        return self.listener.track(steps, text, total)

    def watch(self, text: str, epochs: int) -> Callable[[Any, int, Any], None]:
        """A callback that shows the epochs: `fit(..., callbacks=[e.watch(text, epochs)], progress=False)`."""
        steps = iter(self.progress(range(epochs), text))
        next(steps, None)

        def epoch_done(trainer: Any, epoch: int, logs: Any) -> None:
            next(steps, None)

        return epoch_done

    def status(self, text: str) -> None:
        """Say what is being done now."""
        self.listener.status(text)


def _given(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


# Data sets

DATA_SETS = ("mnist", "fashion-mnist", "digits")
_loaded: dict[tuple[str, str | None], Images] = {}


def load_images(name: str, folder: str | None = None) -> Images:
    """The data set `name`, kept in memory for the next experiment. `folder` is what --data gave. Raises DataMissing."""
    from pyneural import data

    key = (name, folder)
    if key not in _loaded:
        try:
            train, test = (data.load(name, train=train, data_dir=folder) for train in (True, False))
        except (data.DatasetNotFoundError, data.DatasetError, data.IDXError) as problem:
            raise DataMissing(str(problem)) from problem
        _loaded[key] = Images(train.images, train.labels.astype(np.int64), test.images, test.labels.astype(np.int64))
    return _loaded[key]


# Running


def execute(
    experiment: Experiment,
    *,
    profile: str = "quick",
    out: str | os.PathLike[str] = "pyneural-results",
    data: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    eager: bool = False,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Run one experiment and return what it wrote to OUT/ID/result.json.

    ``eager`` runs recorded steps as ordinary code. That changes no "hash" of a result, and neither do ``threads``.

    The files appear only once the run is over, result.json last and in one piece, so that an interrupted run leaves an
    earlier result as it was. An exception in the experiment's function ends up in the result as "error". Raises
    DataMissing before anything is written, and ValueError for an unknown profile.
    """
    from pyneural import compiling, environment

    if profile not in PROFILES:
        raise ValueError(f"execute: profile is {profile!r}, expected quick or full")
    for name in experiment.needs:
        load_images(name, data)
    target = Path(out) / experiment.id
    target.mkdir(parents=True, exist_ok=True)
    error: str | None = None
    with (
        environment.running(threads=threads, seed=seed) as used_threads,
        compiling.eager(eager),
        tempfile.TemporaryDirectory(dir=target, prefix=".partial-") as partial,
    ):
        run = Run(experiment, profile, seed, used_threads, Path(partial), data, listener or Listener())
        start = time.perf_counter()
        try:
            experiment.function(run)
        except DataMissing:
            raise
        except Exception:
            error = traceback.format_exc()
        result: dict[str, Any] = {
            "id": experiment.id,
            "title": experiment.title,
            "source": experiment.source,
            "kind": experiment.kind,
            "topic": experiment.topic,
            "profile": profile,
            "seed": seed,
            "threads": used_threads,
            "eager": eager,
            "hash": run.hash,
            "seconds": round(time.perf_counter() - start, 3),
            "environment": environment.facts(),
            "code": environment.fingerprint(),
            "passed": error is None and bool(run.checks) and all(c["passed"] for c in run.checks),
            "checks": run.checks,
            "reports": run.reports,
            "tables": run.tables,
            "figures": run.figures,
            "notes": run.notes,
        } | _given(error=error)
        _publish(Path(partial), target, result)
    return result


def finished(
    experiment: Experiment, *, profile: str, out: str | os.PathLike[str], threads: int | None, seed: int, eager: bool
) -> dict[str, Any] | None:
    """The result under `out` that running again would only repeat: passed, with the same code, machine and settings.

    None if there is no such result.
    """
    from pyneural import environment

    try:
        result = json.loads((Path(out) / experiment.id / "result.json").read_text(encoding="utf-8"))
        with environment.running(threads=threads, seed=seed) as used_threads:
            wanted = {
                "passed": True,
                "profile": profile,
                "seed": seed,
                "threads": used_threads,
                "eager": eager,
                "environment": environment.facts(),
                "code": environment.fingerprint(),
            }
        return result if all(result[key] == value for key, value in wanted.items()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _publish(partial: Path, target: Path, result: dict[str, Any]) -> None:
    """Put a finished run in the place of the last one, result.json last, so that it never names a missing file."""
    old = target / "result.json"
    if old.exists():
        try:
            figures = json.loads(old.read_text(encoding="utf-8"))["figures"]
            stale = [Path(f[key]).name for f in figures for key in ("file", "data")]
        except (ValueError, KeyError, TypeError):
            stale = []
        for name in ["result.json", *stale]:
            (target / name).unlink(missing_ok=True)
    (partial / "result.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for path in sorted(partial.iterdir(), key=lambda p: p.name == "result.json"):
        os.replace(path, target / path.name)
