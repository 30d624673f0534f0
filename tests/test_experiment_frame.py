"""The experiments' frame: what passes and what does not, what a result file holds, and what a run leaves behind."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import pyneural as pn
from pyneural import data, experiments, plots
from pyneural.experiments import _judge, frame
from pyneural.experiments.frame import DataMissing, Experiment, Images, Run, execute, experiment

NAN = float("nan")


def declare(function, **changes):
    """An experiment around `function` that lives in this test file."""
    facts = {"title": "A test", "source": "doc.txt, 1", "kind": "hand", "topic": "Clustering"} | changes
    return experiment("a-test", **facts)(function)


def run_once(function, tmp_path, **options):
    """The result of running `function` as an experiment."""
    return execute(declare(function), out=tmp_path, **options)


# Checks


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance", "kind"),
    [
        (1.0, 1.0, 0.0, "absolute"),
        (0.7271, 0.7271 + 0.0199, 0.02, "absolute"),
        (np.float32(0.5), 0.5, 0.0, "absolute"),
        ([1, 2], (1, 3), 1, "absolute"),
        (np.ones((2, 3)), 1, 0, "absolute"),
        (1e150, 1.0001e150, 1e-3, "relative"),
        (0.0, 0.0, 1e-6, "relative"),
        (np.array([1, 2]), [1, 2], None, "equal"),
        ("conv", "conv", None, "equal"),
        (float("inf"), float("inf"), None, "equal"),
        (0.1, 0.2, None, "below"),
        ([0.1, 0.19], 0.2, None, "below"),
        (0.3, 0.2, None, "above"),
        (0.2, 0.2, None, "at most"),
        (0.2, 0.2, None, "at least"),
        (0.2, (0.2, 0.3), None, "between"),
        (True, True, None, "true"),
        (np.array([True, True]), True, None, "true"),
    ],
)
def test_passes(measured, expected, tolerance, kind):
    assert _judge.judge("name", measured, expected, tolerance, kind)[0] is True


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance", "kind"),
    [
        (1.0, 1.0 + 1e-15, 0.0, "absolute"),
        (0.7271, 0.7271 + 0.0201, 0.02, "absolute"),
        ([1, 2], (1, 4), 1, "absolute"),
        (1e150, 1.01e150, 1e-3, "relative"),
        (1e-300, 0.0, 1e-6, "relative"),
        (np.array([1, 2]), [1, 3], None, "equal"),
        ("conv", "pool", None, "equal"),
        (0.2, 0.2, None, "below"),
        ([0.1, 0.21], 0.2, None, "below"),
        (0.2, 0.2, None, "above"),
        (0.31, (0.2, 0.3), None, "between"),
        (False, True, None, "true"),
        (np.array([True, False]), True, None, "true"),
        (np.array([]), True, None, "true"),
        (0.5, True, None, "true"),
        (float("inf"), float("inf"), 1.0, "absolute"),
    ],
)
def test_fails(measured, expected, tolerance, kind):
    assert _judge.judge("name", measured, expected, tolerance, kind)[0] is False


@pytest.mark.parametrize("kind", _judge.KINDS)
@pytest.mark.parametrize("measured", [NAN, [0.5, NAN], np.float32(NAN)])
def test_nan_never_passes(measured, kind):
    expected = {"between": (-10, 10), "below": 10, "at most": 10, "above": -10, "at least": -10, "true": True}
    assert _judge.judge("name", measured, expected.get(kind, measured), 1e9, kind)[0] is False


@pytest.mark.parametrize(
    ("expected", "tolerance", "kind"), [(NAN, 1, "absolute"), (0, NAN, "absolute"), (NAN, 1, "below")]
)
def test_nan_in_what_is_expected_never_passes(expected, tolerance, kind):
    assert _judge.judge("name", 0.0, expected, tolerance, kind)[0] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1, 0, "close"), "kind is 'close', expected one of absolute"),
        (([1, 2], [1, 2, 3], 0, "absolute"), r"measured has shape \(2,\) but expected has shape \(3,\)"),
        (([], 0, 0, "absolute"), r"measured is empty \(shape \(0,\)\)"),
        (("text", 1, 0, "absolute"), "measured is .*'text'.*kind='equal'"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"check 'loss': {message}"):
        _judge.judge("loss", *arguments)


def test_difference_is_the_largest():
    assert _judge.judge("n", [1.0, 2.0], [1.5, 2.0], 1, "absolute") == (True, 0.5)
    assert _judge.judge("n", [1.0, 2.0], [2.0, 2.0], 1, "relative") == (True, 0.5)


def test_values_become_json():
    values = {"n": np.float32(0.5), "i": np.int64(3), "l": [1, NAN], "inf": -np.inf, "t": (1, None, "x"), "b": np.True_}
    assert json.loads(json.dumps(_judge.plain(values), allow_nan=False)) == {
        "n": 0.5,
        "i": 3,
        "l": [1.0, "nan"],
        "inf": "-inf",
        "t": [1, None, "x"],
        "b": True,
    }
    assert _judge.plain(np.arange(50).reshape(5, 10)) == "5 x 10 values, 0 to 49"


def test_what_is_wanted_is_said_briefly():
    assert _judge.wanted(0.5, 0.01, "absolute") == "0.5 ± 0.01"
    assert _judge.wanted(0.5, 0.01, "relative") == "0.5 ± 0.01 relative"
    assert _judge.wanted(0.2, 0, "below") == "< 0.2"
    assert _judge.wanted((0, 1), 0, "between") == "in [0, 1]"
    assert _judge.wanted((1, 3), 0, "equal") == "(1, 3)"


# Declaring and finding


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Bad_Id"}, "the id 'Bad_Id' must be lower-case"),
        ({"kind": "toy"}, "kind is 'toy', expected one of hand, train, proof, figure"),
        ({"topic": "Magic"}, "topic is 'Magic', expected one of Calculations by hand, "),
        ({"needs": ("cifar",)}, r"needs names \['cifar'\]"),
    ],
)
def test_a_wrong_declaration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        experiment(**{"id": "a-test", "title": "t", "source": "s", "kind": "hand", "topic": "Clustering"} | changes)


def test_what_a_run_refuses(tmp_path):
    def refusing(run):
        data = {"x": np.ones(2)}
        run.figure("a", plots.learning_curves({"loss": [1.0]}), "", data)
        for call, message in (
            (lambda: run.check("a", 1.0, 1.0, profile="slow"), "check 'a': profile is 'slow', expected quick, full or"),
            (lambda: run.table("t", ["a", "b"], [[1, 2], [3]]), "table 't': row 1 has 1 cells, there are 2 columns"),
            (
                lambda: run.figure("A b", None, "", data),
                "figure: the name 'A b' must be lower-case words joined by hyph",
            ),
            (
                lambda: run.figure("b", None, "", {}),
                "figure 'b': data is empty; every picture is saved with the arrays",
            ),
            (lambda: run.figure("a", None, "", data), "figure: 'a' was already drawn in this run"),
        ):
            with pytest.raises(ValueError, match=message):
                call()
        run.check("done", 1, 1)

    assert run_once(refusing, tmp_path)["passed"]


def test_a_file_must_define_its_experiment(monkeypatch):
    monkeypatch.setattr(experiments.importlib, "import_module", lambda name: SimpleNamespace(__name__="other"))
    with pytest.raises(
        TypeError, match="other: the file must define exactly the experiment 'quadratic-gd', it defines"
    ):
        experiments.find("quadratic-gd")


def test_every_file_defines_the_experiment_that_it_is_named_after():
    found = {x.id: x for x in experiments.load_all()}
    assert list(found)
    assert set(found) == set(experiments.ids())
    for x in found.values():
        assert isinstance(x, Experiment)
        assert len(x.description) > 40, f"{x.id}: the docstring of the file must say what is asked"
        known = re.match(r"(\d{3}_[0-9a-f]{16}\.txt), |(beyond) the source documents", x.source)
        assert known, f"{x.id}: source names the document and the exercise, or says that it goes beyond them"
        assert (known[1] or known[2]) in experiments.DOCUMENTS
        assert "def run(" in x.code


def test_an_unknown_id_names_close_ones():
    with pytest.raises(experiments.UnknownExperiment, match="did you mean quadratic-gd"):
        experiments.find("quadratc-gd")
    with pytest.raises(experiments.UnknownExperiment, match="pyneural list"):
        experiments.find("zzzzzz")
    for name in ("frame", "demo", "_judge"):
        with pytest.raises(experiments.UnknownExperiment):
            experiments.find(name)


# Running


def everything(e: Run) -> None:
    e.check("sum", 1 + 1, 2, kind="equal")
    e.check("seed's slip", 0.517, 0.517, 1e-3, printed=0.5117, note="digits swapped")
    e.check("accuracy", 0.5, 0.9, kind="above", profile="full")
    e.report("share", 0.3, printed=0.31)
    e.table("numbers", ["n", "square"], [[1, 1], [2, np.float64(4)], ["inf", np.inf]], "Squares.")
    e.note("A **remark**.")
    e.figure("line", plots.lines([0, 1], {"y": [0, 1]}), "A line.", {"x": [0, 1], "y": np.array([0.0, 1.0])})
    e.animation("two", [plots.lines([0, 1], {"y": [0, i]}) for i in (0, 1)], "Moves.", {"y": [0, 1]})


def test_result_file(tmp_path):
    result = run_once(everything, tmp_path, seed=3)
    folder = tmp_path / "a-test"
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == result
    assert {k: result[k] for k in ("id", "title", "source", "profile", "seed", "passed")} == {
        "id": "a-test",
        "title": "A test",
        "source": "doc.txt, 1",
        "profile": "quick",
        "seed": 3,
        "passed": True,
    }
    assert result["seconds"] >= 0
    assert result["threads"] >= 1
    assert {"version", "python", "numpy", "cpu", "isa", "threads", "platform"} <= set(result["environment"])
    assert [set(c) >= {"name", "expected", "measured", "tolerance", "passed"} for c in result["checks"]] == [True, True]
    assert result["checks"][1]["printed"] == 0.5117
    assert [r["name"] for r in result["reports"]] == ["accuracy", "share"]
    assert "asserted in the full profile only: > 0.9" in result["reports"][0]["note"]
    assert result["tables"]["numbers"] == {
        "columns": ["n", "square"],
        "rows": [[1, 1], [2, 4.0], ["inf", "inf"]],
        "caption": "Squares.",
    }
    assert result["figures"] == [
        {"file": "line.png", "caption": "A line.", "data": "line.npz"},
        {"file": "two.gif", "caption": "Moves.", "data": "two.npz"},
    ]
    assert (folder / "line.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "two.gif").read_bytes().startswith(b"GIF89a")
    with np.load(folder / "line.npz", allow_pickle=False) as arrays:
        assert arrays["y"].tolist() == [0.0, 1.0]
    assert sorted(p.name for p in folder.iterdir()) == ["line.npz", "line.png", "result.json", "two.gif", "two.npz"]


def test_the_full_profile_asserts_what_the_quick_one_reports(tmp_path):
    result = run_once(everything, tmp_path, profile="full")
    assert result["passed"] is False
    assert [c["passed"] for c in result["checks"]] == [True, True, False]
    assert [r["name"] for r in result["reports"]] == ["share"]


def test_profiles_set_the_sizes(tmp_path):
    seen = {}

    def sizes(e: Run) -> None:
        seen[e.profile] = (e.full, e.pick(quick=1, full=2), e.epochs(15), e.epochs(2), len(e.digits().x_train))
        e.check("x", True, kind="true")

    for profile in frame.PROFILES:
        run_once(sizes, tmp_path, profile=profile)
    assert seen["quick"] == (False, 1, 3, 1, 10_000)
    assert seen["full"][:4] == (True, 2, 15, 2)
    with pytest.raises(ValueError, match="profile is 'long'"):
        run_once(sizes, tmp_path, profile="long")


def test_a_run_repeats_by_its_seed(tmp_path):
    drawn = []
    for seed in (0, 0, 1):
        run_once(lambda e: drawn.append(e.rng.random()), tmp_path, seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_hash_is_of_every_bit_that_was_checked_or_drawn(tmp_path):
    def make(number=0.5, drawn=2.0, name="n", text="a"):
        def fill(e: Run) -> None:
            e.check(name, [number] * 20, 0.5, 1)
            e.check("text", text, text, kind="equal")
            e.figure("line", plots.lines([0, 1], {"y": [0, 1]}), "A line.", {"y": np.array([0.0, drawn])})

        return run_once(fill, tmp_path)["hash"]

    first = make()
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert make() == first
    others = [make(np.nextafter(0.5, 1)), make(drawn=-2.0), make(np.float32(0.5)), make(name="m"), make(text="b")]
    assert len({first, *others}) == 6


def test_eager_runs_recorded_steps_as_they_stand(tmp_path):
    replayed, hashes = {}, {}
    for eager in (False, True):

        def fill(e: Run, eager=eager) -> None:
            step = pn.compile(lambda x: (x * 2).sum())
            e.check("sum", [step(pn.ones(3) * i).item() for i in range(6)], [6.0 * i for i in range(6)], kind="equal")
            replayed[eager] = len(step.programs)

        result = run_once(fill, tmp_path, eager=eager)
        assert result["eager"] is eager
        hashes[eager] = result["hash"]
    assert replayed == {False: 1, True: 0}
    assert hashes[True] == hashes[False]


def test_threads_are_set_for_the_run_only(tmp_path):
    import pyneural as pn

    before = pn.get_num_threads()
    inside = []
    result = run_once(lambda e: inside.append(pn.get_num_threads()), tmp_path, threads=before + 1)
    assert inside == [before + 1] == [result["threads"]]
    assert pn.get_num_threads() == before


def test_an_error_is_kept_and_fails_the_run(tmp_path):
    def broken(e: Run) -> None:
        e.check("fine", True, kind="true")
        raise RuntimeError("no convergence")

    result = run_once(broken, tmp_path)
    assert result["passed"] is False
    assert result["checks"][0]["passed"] is True
    assert "RuntimeError: no convergence" in result["error"]


def test_a_run_without_checks_does_not_pass(tmp_path):
    assert run_once(lambda e: None, tmp_path)["passed"] is False


def test_an_interrupted_run_leaves_the_last_result(tmp_path):
    before = run_once(everything, tmp_path)

    def interrupted(e: Run) -> None:
        e.figure("line", plots.lines([0, 1], {"y": [1, 0]}), "Other.", {"y": [1, 0]})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_once(interrupted, tmp_path)
    assert json.loads((tmp_path / "a-test" / "result.json").read_text(encoding="utf-8")) == before
    assert not list(tmp_path.glob("a-test/.partial*"))


def test_a_new_run_removes_the_pictures_of_the_last_one(tmp_path):
    run_once(everything, tmp_path)
    kept = tmp_path / "a-test" / "mine.txt"
    kept.write_text("not ours")
    run_once(lambda e: e.check("x", True, kind="true"), tmp_path)
    assert sorted(p.name for p in kept.parent.iterdir()) == ["mine.txt", "result.json"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.figure("Bad Name", None, "", {"x": [1]}), "'Bad Name' must be lower-case"),
        (lambda e: e.figure("name", None, "", {}), "data is empty"),
        (lambda e: [everything(e), e.figure("line", None, "", {"x": [1]})], "'line' was already drawn"),
        (lambda e: e.table("t", ["a", "b"], [[1, 2], [3]]), "table 't': row 1 has 1 cells, there are 2 columns"),
        (lambda e: e.check("c", 1, 1, profile="ful"), "check 'c': profile is 'ful'"),
    ],
)
def test_wrong_use_of_a_run_is_named(call, message, tmp_path):
    assert message in run_once(call, tmp_path)["error"]


# Data


def test_missing_data_is_said_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("PYNEURAL_DATA", raising=False)
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path / "empty"))
    ran = []
    with pytest.raises(DataMissing, match=r"pyneural data get mnist(.|\n)*PYNEURAL_DATA"):
        execute(
            declare(lambda e: ran.append(e), needs=("mnist",)), out=tmp_path / "out", data=str(tmp_path / "nowhere")
        )
    assert not ran
    assert not (tmp_path / "out").exists()


def test_images_are_cut_and_scaled(tmp_path, monkeypatch):
    train = data.digits(True, n=30)
    monkeypatch.setattr(data, "load", lambda name, train=True, data_dir=None: data.digits(train, n=30))
    monkeypatch.setattr(frame, "_loaded", {})
    monkeypatch.setattr(frame, "QUICK_TRAIN", 20)
    got: list[Images] = []
    run_once(lambda e: got.append(e.mnist()), tmp_path, data="somewhere")
    assert got[0].x_train.shape == (20, 28, 28)
    assert got[0].x_train.dtype == np.uint8
    assert got[0].y_train.dtype == np.int64
    rows, test_rows = got[0].flat(mean=0.5, std=2.0, dtype=np.float64)
    assert rows.shape == (20, 784)
    assert len(test_rows) == 30
    np.testing.assert_allclose(rows[3], (train.images[3].ravel() / 255 - 0.5) / 2)


def test_progress_passes_steps_through_and_watch_follows_epochs(tmp_path):
    class Log(frame.Listener):
        def __init__(self):
            self.seen = []

        def track(self, steps, text, total):
            for step in steps:
                self.seen.append((text, step, total))
                yield step

    log = Log()

    def loops(e: Run) -> None:
        assert list(e.progress([5, 6], "points")) == [5, 6]
        done = e.watch("training", 2)
        done(None, 0, {})
        done(None, 1, {})
        e.check("x", True, kind="true")

    assert run_once(loops, tmp_path, listener=log)["passed"]
    assert log.seen == [("points", 5, 2), ("points", 6, 2), ("training", 0, 2), ("training", 1, 2)]


def test_ctrl_c_in_a_training_ends_the_run(tmp_path):
    import signal

    def training(e: Run) -> None:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        signal.raise_signal(signal.SIGINT)
        e.check("never", True, kind="true")

    with pytest.raises(KeyboardInterrupt):
        run_once(training, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not list(tmp_path.glob("*/result.json"))
