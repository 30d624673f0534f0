"""The `pyneural` command, run as users run it: in a process of its own, its output in a pipe."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import pytest

from pyneural import cli, experiments
from pyneural.experiments import frame
from pyneural.experiments.frame import experiment

CLEAN = {k: v for k, v in os.environ.items() if k not in ("PYNEURAL_DATA", "PYNEURAL_CACHE")}


def pyneural(*arguments, cwd=None, **variables):
    command = [sys.executable, "-m", "pyneural", *map(str, arguments)]
    environment = CLEAN | {"PYTHONIOENCODING": "utf-8"} | variables
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd, env=environment, timeout=120)


def test_list_as_json():
    done = pyneural("list", "--json")
    assert done.returncode == 0
    listed = json.loads(done.stdout)
    assert [set(x) for x in listed] == [{"id", "title", "source", "kind", "topic", "needs"}] * len(listed)
    assert {"quadratic-gd", "activation-curves"} <= {x["id"] for x in listed}


def test_list_draws_nothing_and_needs_no_table_library_for_json():
    code = "import sys; from pyneural.cli import main; assert main(['list', '--json']) == 0; "
    code += "assert not {'matplotlib', 'rich', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_list_for_people():
    done = pyneural("list")
    assert done.returncode == 0
    assert "quadratic-gd" in done.stdout
    assert "\x1b" not in done.stdout


def test_run_prints_expected_beside_measured_and_report_follows(tmp_path):
    done = pyneural("run", "quadratic-gd", "--out", tmp_path, "--seed", "1", "--threads", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    line = next(line for line in done.stdout.splitlines() if "largest step size" in line)
    assert line.split()[0] == "pass"
    assert "0.06696563" in line
    assert "0.066966 ± 1e-06" in line
    result = json.loads((tmp_path / "quadratic-gd" / "result.json").read_text(encoding="utf-8"))
    assert (result["seed"], result["threads"], result["profile"]) == (1, 1, "quick")
    for figure in result["figures"]:
        assert (tmp_path / "quadratic-gd" / figure["file"]).exists()
        assert (tmp_path / "quadratic-gd" / figure["data"]).exists()
    done = pyneural("report", "--out", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "index.html"))
    assert (tmp_path / "quadratic-gd" / "index.html").exists()


def test_unknown_ids_are_refused_before_anything_runs(tmp_path):
    done = pyneural("run", "activation-curves", "quadratc-gd", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "pyneural: no experiment is called 'quadratc-gd': did you mean quadratic-gd?\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["run"], ["run", "x", "--profile", "long"], ["run", "x", "--threads", "0"]]
)
def test_wrong_usage(arguments):
    done = pyneural(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: pyneural")


def test_report_of_nothing(tmp_path):
    done = pyneural("report", "--out", tmp_path)
    assert done.returncode == 1
    assert "pyneural run ID" in done.stderr


def test_info():
    facts = json.loads(pyneural("info", "--json").stdout)
    assert facts["isa"] in facts["isa available"]
    assert facts["optional"].keys() >= {"torch", "scikit-learn", "onnx", "mpi4py"}
    text = pyneural("info").stdout
    assert facts["version"] in text
    assert facts["isa"] in text


def test_info_imports_no_optional_part():
    code = "import sys; from pyneural.cli import main; main(['info', '--json']); "
    code += "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_data(tmp_path):
    assert pyneural("data", "path", PYNEURAL_CACHE=str(tmp_path)).stdout.strip() == str(tmp_path)
    listed = pyneural("data", "list", PYNEURAL_CACHE=str(tmp_path)).stdout
    assert "missing: pyneural data get mnist" in listed
    assert "fashion-mnist" in listed
    done = pyneural("data", "get", "cifar", PYNEURAL_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("pyneural: ")
    assert "cifar" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_without_the_data_asked_for(tmp_path):
    done = pyneural("demo", "--data", tmp_path / "nowhere", "--out", tmp_path)
    assert done.returncode == 1
    assert "pyneural data get mnist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_causes_no_traceback():
    command = [sys.executable, "-m", "pyneural", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


# In this process, with experiments made for the test


@pytest.fixture
def with_experiments(monkeypatch):
    """Put experiments of the test in the place of the package's: {id: function}."""

    def put(functions, needs=()):
        made = {
            i: experiment(i, title=f"[{i}]", source="d", kind="hand", topic="Clustering", needs=needs)(f)
            for i, f in functions.items()
        }
        monkeypatch.setattr(experiments, "find", made.__getitem__)
        monkeypatch.setattr(experiments, "load_all", lambda: list(made.values()))

    return put


def passes(e):
    e.check("one", 1, 1)


def fails(e):
    e.check("two", 1, 2)
    e.report("share", 0.25, printed=0.3)


def interrupted(e):
    raise KeyboardInterrupt


def raises(e):
    raise RuntimeError("[bold]no[/bold] convergence")


def test_several_run_one_after_another_and_all_are_summed_up(with_experiments, tmp_path, capsys):
    with_experiments({"a": passes, "b": fails, "c": raises, "d": passes})
    assert cli.main(["run", "all", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    summary = out[out.index("summary") :]
    assert [" ".join(line.split()) for line in summary.splitlines() if line[:1] in tuple("abcd")] == [
        "a 1 of 1 0.0 pass",
        "b 0 of 1 0.0 FAIL",
        "c 0 of 0 0.0 FAIL stopped by an error",
        "d 1 of 1 0.0 pass",
    ]
    assert "2 of 4 experiments passed" in out
    assert "RuntimeError: [bold]no[/bold] convergence" in out
    assert "FAIL   two" in out
    assert "0.3" in out[out.index("reported, not asserted") :]
    assert cli.main(["run", "a", "d", "a", "--out", str(tmp_path)]) == 0


def test_all_goes_on_after_an_interruption_and_skips_what_is_done(with_experiments, tmp_path, capsys, monkeypatch):
    calls = []

    def counted(name, then=passes):
        def run(e):
            calls.append(name)
            then(e)

        return run

    with_experiments({"a": counted("a"), "b": counted("b", fails), "c": counted("c", interrupted), "d": counted("d")})
    command = ["run", "all", "--out", str(tmp_path)]
    assert cli.main(command) == 130
    with_experiments({i: counted(i) for i in "abcd"})
    capsys.readouterr()
    assert cli.main(command) == 0
    assert "".join(calls) == "abc" + "bcd"
    out = capsys.readouterr().out
    assert "3 of 4 · c" in out
    assert "was done" in out[out.index("summary") :]
    assert "4 of 4 experiments passed" in out
    assert cli.main(command) == 0
    assert len(calls) == 6
    for other in (["--seed", "1"], ["--again"], ["--profile", "full"]):
        assert cli.main([*command, *other]) == 0
        assert "".join(calls[-4:]) == "abcd"
    assert cli.main(["run", "a", "--profile", "full", "--out", str(tmp_path)]) == 0  # an id that is named is run
    assert calls.pop() == "a"
    monkeypatch.setattr("pyneural.environment.fingerprint", lambda: "other code")
    assert cli.main([*command, "--profile", "full"]) == 0
    assert "".join(calls[-4:]) == "abcd"
    (tmp_path / "b" / "result.json").write_text("{")  # cut off
    assert cli.main([*command, "--profile", "full"]) == 0
    assert calls[-1] == "b"


def test_ctrl_c_leaves_what_was_finished(with_experiments, tmp_path, capsys):
    with_experiments({"a": passes, "b": interrupted, "c": passes})
    assert cli.main(["run", "all", "--out", str(tmp_path)]) == 130
    captured = capsys.readouterr()
    assert captured.err == "pyneural: interrupted\n"
    assert "1 of 1" in captured.out[captured.out.index("summary") :]
    assert [p.parent.name for p in tmp_path.glob("*/result.json")] == ["a"]


def test_missing_data_fails_that_one_and_says_how_to_get_it(with_experiments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(frame, "_loaded", {})
    with_experiments({"a": passes, "b": passes}, needs=("mnist",))
    assert cli.main(["run", "a", "b", "--out", str(tmp_path), "--data", str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert "pyneural: a: mnist" in captured.err
    assert captured.err.count("pyneural data get mnist") == 1
    assert "pyneural: b: the same data is missing" in captured.err
    assert captured.out.count("data missing") == 2


def test_numbers_of_threads_are_positive():
    with pytest.raises(argparse.ArgumentTypeError, match="0 is not a positive number"):
        cli._positive("0")
