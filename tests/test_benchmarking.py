"""The frame of `pyneural bench`: what it measures, compares, prints and writes. Nothing here is about speed."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

import pyneural as pn
from pyneural import _benchmark_output as output
from pyneural import _kernels
from pyneural import benchmarking as b

SHORT = b.Effort(job=0.02, sample=0.0005, settle=0.0, least=3, most=4)


def doubling(value: float = 2.0) -> b.Way:
    x = np.ones(8, np.float32)
    return b.Way(lambda: lambda: x * np.float32(value))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def only(monkeypatch):
    """Puts one case in the place of all."""

    def put(jobs):
        monkeypatch.setattr(b, "load_cases", lambda: {"small": lambda quick: iter(jobs)})

    monkeypatch.setattr(b, "QUICK", SHORT)
    return put


def printed(console: Console) -> str:
    return console.file.getvalue()


def test_a_run_writes_a_table_a_record_and_a_picture(only, console, tmp_path):
    ways = {"pyneural": doubling(), "numpy": doubling(), "numpy again": doubling()}
    only([b.Job("twice", ways, flops=8.0, goals={"numpy": 1e-9, "torch": 2.0, "roof": 2.0})])
    assert b.main(["small"], ["numpy"], tmp_path, quick=True, threads=1, console=console) == 0
    found = json.loads((tmp_path / "bench" / "small.json").read_text())
    facts = found["environment"]
    assert {"revision", "cpu", "isa", "threads", "compiler", "peers", "numpy", "python", "when"} <= set(facts)
    assert facts["threads"]["pyneural"] == 1
    assert facts["peers"] == {"numpy": np.__version__}
    (record,) = found["jobs"]
    ours, peer = record["ways"]["pyneural"], record["ways"]["numpy"]
    assert ours["verified"]
    assert peer["verified"]
    assert 0 < ours["minimum"] <= ours["median"]
    assert 3 <= ours["samples"] <= 4
    assert record["ratios"]["numpy"] == pytest.approx(peer["minimum"] / ours["minimum"])
    assert record["rate_unit"] == "GFLOP/s"
    assert ours["rate"] == pytest.approx(8.0 / ours["minimum"] / 1e9)
    assert ours["of_roof"] == pytest.approx(ours["rate"] * 1e9 / found["roofs"]["multiply-add float32"])
    assert record["goals"]["numpy"]["met"]
    assert record["goals"]["roof"]["met"] is False
    assert "met" not in record["goals"]["torch"]
    assert (tmp_path / "bench" / "small.png").read_bytes().startswith(b"\x89PNG")
    text = printed(console)
    assert "twice, per call" in text
    assert "200% missed" in text


def test_the_threads_are_put_back(only, tmp_path, console):
    before = pn.get_num_threads()
    only([b.Job("threads", {"pyneural": b.Way(lambda: lambda: np.array(pn.get_num_threads()))})])
    assert b.main([], ["none"], tmp_path, quick=True, threads=1, console=console) == 0
    assert pn.get_num_threads() == before


def test_a_wrong_result_and_an_error_are_said_and_fail_the_run(only, console, tmp_path):
    def broken():
        raise RuntimeError("no such kernel")

    only([b.Job("twice", {"pyneural": doubling(), "numpy": doubling(2.1), "numpy late": b.Way(broken)})])
    assert b.main([], ["numpy"], tmp_path, quick=True, console=console) == 1
    ways = json.loads((tmp_path / "bench" / "small.json").read_text())["jobs"][0]["ways"]
    assert ways["numpy"]["verified"] is False
    assert "differs by 5.0e-02" in ways["numpy"]["error"]
    assert ways["numpy late"] == {"verified": False, "error": "RuntimeError: no such kernel"}
    assert "no such kernel" in printed(console)


def test_a_way_that_cannot_be_done_here_is_said_and_fails_nothing(only, console, tmp_path):
    def without_compiler():
        raise b.Unavailable("no C++ compiler")

    only([b.Job("twice", {"pyneural": doubling(), "numpy": b.Way(without_compiler)}, goals={"numpy": 2.0})])
    assert b.main([], ["numpy"], tmp_path, quick=True, console=console) == 0
    record = json.loads((tmp_path / "bench" / "small.json").read_text())["jobs"][0]
    assert record["ways"]["numpy"] == {"unavailable": "no C++ compiler"}
    assert "met" not in record["goals"]["numpy"]
    assert "no C++ compiler" in printed(console)


def test_a_job_that_changes_state_is_compared_from_a_fresh_start(only, console, tmp_path):
    def counting():
        state = np.zeros(1)

        def run():
            state[0] += 1
            return state

        return run

    ways = {"pyneural": b.Way(counting, check=counting), "numpy": b.Way(lambda: lambda: np.ones(1))}
    only([b.Job("count", ways)])
    assert b.main([], ["numpy"], tmp_path, quick=True, console=console) == 0


def test_absent_peers_are_said_plainly(only, console, tmp_path, monkeypatch):
    monkeypatch.setitem(b.PEERS, "jax", "a_module_that_is_not_there")
    only([b.Job("twice", {"pyneural": doubling(), "jax scan": doubling(9.0)})])
    assert b.main([], ["jax"], tmp_path, quick=True, console=console) == 0
    assert "jax is not installed" in printed(console)
    found = json.loads((tmp_path / "bench" / "small.json").read_text())
    assert list(found["jobs"][0]["ways"]) == ["pyneural"]
    assert found["absent"]
    assert not (tmp_path / "bench" / "small.png").exists()


def test_unknown_names_are_refused(only, console, tmp_path):
    only([])
    assert b.main(["larg"], ["none"], tmp_path, console=console) == 2
    assert b.main(["small"], ["tensorflow"], tmp_path, console=console) == 2
    text = printed(console)
    assert "no benchmark is called larg; there are small" in text
    assert "no peer is called tensorflow; choose from numpy" in text
    with pytest.raises(ValueError, match="no benchmark is called larg; there are a, b"):
        b.select(["larg"], {"a": 0, "b": 0})
    with pytest.raises(ValueError, match="no peer is called tensorflow; choose from numpy"):
        b.choose_peers(["tensorflow"])


def test_jobs_are_chosen_by_the_beginning_of_their_name():
    assert b.select(["a/64x*dW", "a"], {"a": 0, "b": 0}) == {"a": ["64x*dW*", "*"]}
    assert list(b.select([], {"b": 0, "a": 0})) == ["a", "b"]


def test_only_what_was_asked_for_is_compared_with_torch_compile():
    names, lines = b.choose_peers([])
    assert "torch-compile" not in names
    assert any(line.startswith("torch-compile takes") for line in lines)
    assert b.choose_peers(["none"]) == ([], [])


def test_samples_are_taken_in_turn_and_ratios_are_of_the_fastest():
    order = []
    b.interleave({n: lambda n=n: order.append(n) for n in "ab"}, {"a": 1, "b": 1}, SHORT)
    sampled = [n for i, n in enumerate(order) if i == 0 or order[i - 1] != n]
    assert sampled[-6:] == ["a", "b"] * 3
    times = {"ours": {"minimum": 2.0}, "peer": {"minimum": 5.0}, "failed": {}}
    assert b.ratios(times) == {"peer": 2.5}
    assert b.ratios({"ours": {}, "peer": {"minimum": 5.0}}) == {}


def test_minimum_median_and_spread():
    timing = b.Timing([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (timing.minimum, timing.median) == (1.0, 3.0)
    assert timing.spread == pytest.approx(2.0 / 3.0)
    assert not timing.settled()
    assert b.Timing([1.0, 1.004, 1.009, 7.0]).settled()


def test_results_of_all_kinds_are_compared():
    assert b.difference(pn.ones(3), np.ones(3, np.float32), 0.0) == ""
    assert b.difference((np.ones(2), {"b": 1.0, "a": 2.0}), [np.ones(2), {"a": 2.0, "b": 1.0}], 0.0) == ""
    assert "shapes" in b.difference(np.ones(2), np.ones((2, 1)), 1.0)
    assert "differs" in b.difference(np.ones(2), np.array([1.0, math.nan]), 1.0)
    one_off = np.ones(10_000)
    one_off[7] = 1.5
    assert b.difference(np.ones(10_000), one_off, 1e-2)
    assert not b.difference(np.ones(10_000), one_off, 1e-2, overall=True)


def test_a_measured_quantity_is_not_timed(only, console, tmp_path):
    only([b.Job("size", {"pyneural": b.Way(lambda: lambda: 2e6), "numpy": b.Way(lambda: lambda: 5e6)}, measures="B")])
    assert b.main([], ["numpy"], tmp_path, quick=True, console=console) == 0
    text = printed(console)
    assert "2 MB" in text
    assert "2.5x" in text


@pytest.mark.parametrize(("most", "met"), [(2e-3, True), (1e-3, False)])
def test_a_measured_time_may_have_a_limit_and_results_to_compare(most, met, only, console, tmp_path):
    def way(value):
        return b.Way(lambda: lambda: 1.5e-3, check=lambda: lambda: np.full(2, value))

    ways = {"pyneural": way(1.0), "numpy": way(1.1), "numpy alone": b.Way(lambda: lambda: 3e-3)}
    only([b.Job("start", ways, measures="s", goals={"most": most})])
    assert b.main([], ["numpy"], tmp_path, quick=True, console=console) == 1
    record = json.loads((tmp_path / "bench" / "small.json").read_text())["jobs"][0]
    assert record["goals"]["most"] == {"goal": most, "measured": 1.5e-3, "met": met}
    assert record["ways"]["pyneural"]["verified"]
    assert "differs by 1.0e-01" in record["ways"]["numpy"]["error"]
    assert "verified" not in record["ways"]["numpy alone"]
    assert f"{most * 1e3:g} ms {'met' if met else 'missed'}" in printed(console)


def test_capture_is_timed_until_a_program_is_there():
    from pyneural.benchmarks import capture

    assert 0 < capture.capturing()() < 60
    assert 0 < capture.capturing(eager=True)() < 60


def test_products_in_bfloat16_are_within_their_tolerance_and_not_those_of_float32():
    from pyneural.benchmarks import bf16

    shape = (64, 128, 784)
    ours, exact = bf16.ours(shape, True)(), bf16.ours(shape, False)()
    assert not pn.is_autocast_enabled()
    assert b.difference(exact, ours, bf16.TOLERANCE) == ""
    assert "differs" in b.difference(exact, ours, 1e-5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1.5 s"), (0.0123, "12.3 ms"), (4.2e-5, "42 us"), (5e-8, "50 ns"), (0.9999, "1 s")]
)
def test_times_are_shown_with_three_digits(seconds, text):
    assert output.show_time(seconds) == text


def test_roofs_keep_the_best_and_the_kernels_do_what_they_say():
    roofs = b.Roofs(SHORT)
    roofs.best["multiply-add float64"] = 1e30
    assert roofs.best[roofs.multiply_add("float64")] == 1e30
    assert roofs.best[roofs.memory("read", 1e6)] > 0
    assert roofs.best[roofs.memory("copy", 1e6)] > 0
    x, y = np.arange(1003, dtype=np.float32), np.zeros(1003, np.float32)
    for threads in (1, 3):
        pn.set_num_threads(threads)
        y[:] = 0
        _kernels.copy_memory(x, y)
        np.testing.assert_array_equal(x, y)
        _kernels.read_memory(x)
        assert _kernels.multiply_adds("float32", 10) % (10 * threads) == 0
    with pytest.raises(ValueError, match="x has 1003 elements but y 2"):
        _kernels.copy_memory(x, y[:2])
    with pytest.raises(ValueError, match="float32 or float64, got int8"):
        _kernels.multiply_adds("int8", 1)


def test_every_case_yields_jobs_whose_first_way_is_ours():
    cases = b.load_cases()
    assert {"matmul", "bf16", "eager", "elementwise", "reductions", "step", "capture", "optimizer", "import"} <= set(
        cases
    )
    for name, generate in cases.items():
        jobs = list(generate(True))
        assert jobs, name
        for job in jobs:
            assert output.library(next(iter(job.ways))) == b.OURS
            assert {output.library(way) for way in job.ways} <= {b.OURS, *b.PEERS}
        assert len({job.name for job in jobs}) == len(jobs)
