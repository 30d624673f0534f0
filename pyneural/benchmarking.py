"""Benchmarks: the same job done by pyneural and by its peers, in one process, interleaved, and compared afterwards.

A case (``benchmarks/``, installed as ``pyneural.benchmarks``) is a generator of jobs. A :class:`Job` has several ways
of doing the same work on the same data. The first way is ours, and every ratio is a peer's time over that one's: above
1 we are faster. :func:`main` is ``pyneural bench``: it times each job with all ways in turn (A B A B ...), then checks
that they computed the same, and writes a table, a JSON file and a bar chart.

The machine's own limits are measured in the same run (:class:`Roofs`), so that a rate can be read as a fraction.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import math
import os
import pkgutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels, environment
from ._benchmark_output import chart, library, show_bytes, table

if TYPE_CHECKING:
    from rich.console import Console

Run = Callable[[], Any]

#: Libraries to compare with: the name in ``--peers``, and the module that it needs.
PEERS = {"numpy": "numpy", "torch": "torch", "torch-compile": "torch", "jax": "jax", "sklearn": "sklearn"}
#: Not compared with unless asked for by name: torch.compile takes many seconds for each job.
ON_REQUEST = ("torch-compile",)
OURS = "pyneural"


@dataclass
class Way:
    """One way of doing a job.

    Attributes:
        make: Prepares everything and returns ``run``; ``run()`` does the job and returns what it computed.
        steps: Steps of the job that one ``run()`` does; times are per step.
        check: For a job that changes state (a training): like ``make``, for a fresh start whose ``run()`` is what is
            compared with the other ways. None: the timed ``run`` is called once more.
    """

    make: Callable[[], Run]
    steps: int = 1
    check: Callable[[], Run] | None = None


@dataclass
class Job:
    """The same work done in several ways.

    Attributes:
        name: What is done.
        ways: By name; the first is ours. The first word of a name is the library ("torch fused" is torch's).
        step: What a time is for, in a word.
        flops, bytes: Arithmetic operations and bytes of memory traffic of one step, 0 if they say nothing.
        dtype: Whose multiply-add peak ``flops`` is held against; "" for none.
        roof: What ``bytes`` is held against: ``"copy"`` or ``"read"`` of as many bytes.
        tolerance: Largest difference between two ways, relative to the largest value of each array.
        goals: Wanted ratio by way; ``"roof"`` for our wanted fraction of the roof, ``"most"`` for the most that our
            fastest time (or what the job measures) may be.
        measures: If ``run()`` returns a measurement rather than a result, its unit: ``"s"`` or ``"B"``. Then
            results are compared where ways have a ``check``.
        agrees: A comparison of its own: ``agrees(ours, theirs)`` gives "" or what is wrong.
    """

    name: str
    ways: dict[str, Way]
    step: str = "call"
    flops: float = 0.0
    bytes: float = 0.0
    dtype: str = "float32"
    roof: str = "copy"
    tolerance: float = 1e-5
    goals: dict[str, float] = field(default_factory=dict)
    measures: str = ""
    agrees: Callable[[Any, Any], str] | None = None


class Unavailable(Exception):
    """Raised by a way that cannot be done on this machine: it is left out with this reason, and nothing has failed."""


#: The cases by name. A case is called with ``quick`` (fewer and smaller jobs) and yields jobs.
CASES: dict[str, Callable[[bool], Iterator[Job]]] = {}


def case(name: str) -> Callable[[Callable[[bool], Iterator[Job]]], Callable[[bool], Iterator[Job]]]:
    """Decorates a generator of jobs, so that ``pyneural bench NAME`` finds it."""

    def add(function: Callable[[bool], Iterator[Job]]) -> Callable[[bool], Iterator[Job]]:
        CASES[name] = function
        return function

    return add


def load_cases() -> dict[str, Callable[[bool], Iterator[Job]]]:
    """Imports every case of ``pyneural.benchmarks`` and returns them by name."""
    package = importlib.import_module("pyneural.benchmarks")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"pyneural.benchmarks.{module.name}")
    return CASES


# ---- measuring ----


@dataclass
class Effort:
    """How long to measure: seconds per job and per sample, and samples of each way (at least, at most)."""

    job: float = 4.0
    sample: float = 0.02
    settle: float = 0.008
    least: int = 5
    most: int = 60


QUICK = Effort(job=0.4, sample=0.004, settle=0.002, least=3, most=15)


@dataclass
class Timing:
    """The samples of one way, each in seconds (or what the job measures) per step."""

    samples: list[float] = field(default_factory=list)

    @property
    def minimum(self) -> float:
        return min(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """The middle half of the samples, relative to the median."""
        if len(self.samples) < 2 or self.median == 0:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    def settled(self, within: float = 0.01) -> bool:
        """Whether the three fastest samples agree: then the neighbours have left us alone often enough."""
        fastest = sorted(self.samples)[:3]
        return len(fastest) == 3 and fastest[2] <= fastest[0] * (1 + within)


#: Seconds of silence between two libraries. OpenBLAS's threads spin for some 100 ms after a call and keep a core from
#: whoever comes next, which halves the rate of a library whose own threads sleep soon.
REST = 0.15


def interleave(
    runs: Mapping[str, Run], steps: Mapping[str, int], effort: Effort, measures: bool = False
) -> dict[str, Timing]:
    """Times every run in turn, round after round, until the fastest samples of each agree or the time is used up.

    A sample is as many calls as last ``effort.sample``. Short samples are preceded by calls that are not timed, until
    the threads of the library before have gone to sleep and the caches hold this job's data.
    """
    clock = time.perf_counter
    calls = {name: 1 if measures else _calls(run, effort.sample) for name, run in runs.items()}
    timings = {name: Timing() for name in runs}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        end = clock() + effort.job
        for turn in range(effort.most):
            if turn >= effort.least and (clock() > end or all(t.settled() for t in timings.values())):
                break
            for name, run in runs.items():
                if measures:
                    timings[name].samples.append(float(run()) / steps[name])
                    continue
                time.sleep(REST)
                if not timings[name].samples or timings[name].minimum * steps[name] * calls[name] < 5 * effort.settle:
                    until = clock() + effort.settle
                    while clock() < until:
                        run()
                count = range(calls[name])
                start = clock()
                for _ in count:
                    run()
                timings[name].samples.append((clock() - start) / (calls[name] * steps[name]))
    finally:
        if collecting:
            gc.enable()
    return timings


def _calls(run: Run, seconds: float) -> int:
    """How many calls last that long. The first ones, which may compile or fill caches, do not count."""
    clock = time.perf_counter
    fastest = math.inf
    begin = clock()
    for i in range(6):
        start = clock()
        run()
        fastest = min(fastest, clock() - start)
        if i >= 3 and clock() - begin > 4 * seconds:
            break
    return max(1, math.ceil(seconds / max(fastest, 1e-9)))


class Roofs:
    """The limits of this machine with the threads in use: multiply-adds in registers alone, and memory read or copied.

    Each is measured again whenever it is asked for, and the best of all times is kept in ``best``: a busy neighbour
    can only make a machine look slower than it is.
    """

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self.best: dict[str, float] = {}

    def multiply_add(self, dtype: str) -> str:
        """Measures operations per second, two for each multiply-add; returns the name in ``best``."""
        return self._measure(f"multiply-add {dtype}", lambda: 2.0 * _kernels.multiply_adds(dtype, 20_000))

    def memory(self, way: str, size: float) -> str:
        """Measures bytes per second: ``size`` bytes read, or half as many copied; returns the name in ``best``."""
        size = 2.0 ** round(math.log2(max(size, 2.0**16)))  # jobs of nearly one size share a roof
        x = np.ones(int(size) // (4 if way == "read" else 8), np.float32)
        y = np.zeros_like(x)
        work = {"read": lambda: _kernels.read_memory(x), "copy": lambda: _kernels.copy_memory(x, y)}[way]

        def once() -> float:
            work()
            return size

        return self._measure(f"{way} {show_bytes(size)}", once)

    def _measure(self, name: str, once: Callable[[], float]) -> str:
        """Times `once`, which returns how much it did, for a fortieth of a job's time and at least 20 times."""
        clock = time.perf_counter
        best, tries, end = self.best.get(name, 0.0), 0, clock() + self._effort.job / 40
        while tries < 20 or clock() < end:
            start = clock()
            amount = once()
            best = max(best, amount / (clock() - start))
            tries += 1
        self.best[name] = best
        return name


# ---- comparing ----


def arrays(result: Any) -> list[np.ndarray]:
    """The NumPy arrays in a result of any library: a tensor, a number, or nested tuples, lists and dicts of them."""
    if isinstance(result, Mapping):
        return [a for key in sorted(result) for a in arrays(result[key])]
    if isinstance(result, list | tuple):
        return [a for part in result for a in arrays(part)]
    return [np.asarray(result.detach() if hasattr(result, "detach") else result)]


def difference(ours: Any, theirs: Any, tolerance: float, overall: bool = False) -> str:
    """What differs between two results, "" if nothing does by more than `tolerance` of the largest value of an array.

    With `overall` the root mean square of the differences is held against that of the values, array by array.
    """
    size = (lambda a: float(np.sqrt(np.mean(a * a)))) if overall else (lambda a: float(np.max(np.abs(a))))
    a, b = arrays(ours), arrays(theirs)
    if [x.shape for x in a] != [x.shape for x in b]:
        return f"shapes {[x.shape for x in a]} and {[x.shape for x in b]}"
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x.size:
            x64, y64 = x.astype(np.float64), y.astype(np.float64)
            found = size(x64 - y64) / max(size(x64), 1e-30)
            worst = max(worst, found) if found == found else math.inf
    return "" if worst <= tolerance else f"differs by {worst:.1e} (allowed {tolerance:.0e})"


def measure(job: Job, effort: Effort, roofs: Roofs) -> dict[str, Any]:
    """Times one job in all its ways, checks their results, and returns the record that goes into the JSON file.

    A way that raises an error is reported with it; the others are measured all the same. With :class:`Unavailable` its
    reason stands in the place of an error.
    """
    errors: dict[str, str] = {}
    reasons: dict[str, str] = {}
    runs: dict[str, Run] = {}
    for name, way in job.ways.items():
        try:
            runs[name] = way.make()
            if not job.measures:
                runs[name]()
        except Unavailable as reason:
            runs.pop(name, None)
            reasons[name] = str(reason)
        except Exception as error:
            runs.pop(name, None)
            errors[name] = f"{type(error).__name__}: {error}"
    timings = interleave(runs, {name: job.ways[name].steps for name in runs}, effort, bool(job.measures))
    verified = {name: run for name, run in runs.items() if not job.measures or job.ways[name].check}
    errors |= _verify(job, verified)
    amount, rate_unit, roof = job.flops or job.bytes, "", ""
    if job.flops:
        rate_unit, roof = "GFLOP/s", roofs.multiply_add(job.dtype) if job.dtype else ""
    elif job.bytes:
        rate_unit, roof = "GB/s", roofs.memory(job.roof, job.bytes)
    ways: dict[str, dict[str, Any]] = {}
    for name in job.ways:
        if name in timings:
            t = timings[name]
            ways[name] = {"minimum": t.minimum, "median": t.median, "spread": t.spread, "samples": len(t.samples)}
            if amount:
                ways[name]["rate"] = amount / t.minimum / 1e9
        else:
            ways[name] = {"unavailable": reasons[name]} if name in reasons else {}
        if name in verified or (name in errors and not job.measures):
            ways[name]["verified"] = name not in errors
        if name in errors:
            ways[name]["error"] = errors[name]
    return {
        "job": job.name,
        "step": job.step,
        "unit": job.measures or "s",
        "rate_unit": rate_unit,
        "roof": roof,
        "flops": job.flops,
        "bytes": job.bytes,
        "ways": ways,
        "ratios": ratios(ways),
        "goals": {name: {"goal": goal} for name, goal in job.goals.items()},
    }


def _verify(job: Job, runs: dict[str, Run]) -> dict[str, str]:
    """What is wrong with each way's result, compared with that of the first way that has one."""
    errors: dict[str, str] = {}
    first: Any = None
    for name, run in runs.items():
        try:
            check = job.ways[name].check
            result = (check() if check else run)()
            if first is None:
                first = result
            problem = job.agrees(first, result) if job.agrees else difference(first, result, job.tolerance)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            errors[name] = problem
    return errors


def ratios(ways: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Each other way's fastest time over that of the first way: above 1 the first way, ours, is faster."""
    ours, *others = ways
    if "minimum" not in ways[ours] or ways[ours]["minimum"] == 0:
        return {}
    return {name: ways[name]["minimum"] / ways[ours]["minimum"] for name in others if "minimum" in ways[name]}


def judge(record: dict[str, Any], roofs: Mapping[str, float]) -> None:
    """Fills in what depends on the roofs, which may rise until the last job: fractions of them, and the goals met.

    A goal against a way that was not measured has no ``measured`` and no ``met``.
    """
    for way in record["ways"].values():
        if record["roof"] and "rate" in way:
            way["of_roof"] = way["rate"] * 1e9 / roofs[record["roof"]]
    ours = next(iter(record["ways"].values()))
    measured = {**record["ratios"], "roof": ours.get("of_roof")}
    for name, goal in record["goals"].items():
        if name == "most":
            if "minimum" in ours:
                goal |= {"measured": ours["minimum"], "met": ours["minimum"] <= goal["goal"]}
        elif measured.get(name) is not None:
            goal |= {"measured": measured[name], "met": measured[name] >= goal["goal"]}


# ---- the surroundings ----


def choose_peers(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """(peers to compare with, one plain sentence for each that is absent).

    Raises:
        ValueError: A name is not known. ``none`` stands for no peer at all.
    """
    if unknown := sorted(set(wanted) - {*PEERS, "none"}):
        raise ValueError(f"no peer is called {', '.join(unknown)}; choose from {', '.join(PEERS)}, none")
    names = [n for n in (wanted or PEERS) if n != "none" and (wanted or n not in ON_REQUEST)]
    absent = [n for n in names if importlib.util.find_spec(PEERS[n]) is None]
    lines = [f"{n} is not installed: jobs run without it (pip install {_distribution(n)})" for n in absent]
    if not wanted:
        lines += [f"{n} takes many seconds for each job: compared with only if --peers names it" for n in ON_REQUEST]
    return [n for n in names if n not in absent], lines


def _distribution(peer: str) -> str:
    return {"sklearn": "scikit-learn", "torch-compile": "torch"}.get(peer, peer)


@contextlib.contextmanager
def same_threads(threads: int | None, peers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Gives every library the same number of threads for the block; yields how that was done for each.

    JAX has no such switch. It sees the cores that the process may run on, so those are restricted before it starts.
    """
    before = _kernels.num_threads()
    count = threads or before
    how: dict[str, Any] = {OURS: count}
    with contextlib.ExitStack() as stack:
        stack.callback(_kernels.set_num_threads, before)
        _kernels.set_num_threads(count)
        if hasattr(os, "sched_getaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            if count < len(cores):
                os.sched_setaffinity(0, cores[:count])
                stack.callback(os.sched_setaffinity, 0, cores)
            how["affinity"] = sorted(os.sched_getaffinity(0))
        if "torch" in peers or "torch-compile" in peers:
            torch = importlib.import_module("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(count)
            how["torch"] = torch.get_num_threads()
        if "numpy" in peers:
            try:
                pools = importlib.import_module("threadpoolctl")
                stack.enter_context(pools.threadpool_limits(count, user_api="blas"))
                how["numpy"] = count
            except ImportError:
                how["numpy"] = "its default (threadpoolctl, which sets it, is not installed)"
        if "jax" in peers:
            how["jax"] = "as many as the affinity has"
        yield how


def surroundings(peers: Sequence[str], how: Mapping[str, Any], quick: bool) -> dict[str, Any]:
    """What belongs beside the numbers: revision, CPU, instruction set, threads, versions, affinity, compiler, load."""
    import importlib.metadata as metadata

    names = dict.fromkeys(_distribution(p) for p in peers)
    facts = environment.facts() | {
        "revision": revision(),
        "compiler": _kernels.compiler,
        "threads": dict(how),
        "peers": {name: metadata.version(name) for name in names},
        "quick": quick,
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if hasattr(os, "getloadavg"):
        facts["load"] = os.getloadavg()[0]
    return facts


def busy(facts: Mapping[str, Any]) -> list[str]:
    """A warning if others are computing on this machine: threads that wait for each other then wait for them."""
    if facts.get("load", 0.0) < 0.5:
        return []
    return [f"the machine is busy (load {facts['load']:.1f} before the start): times of several threads will be noise"]


def revision() -> str | None:
    """The git revision of the checkout that is in use, with a + if files were changed; None for an installed wheel."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


# ---- the command ----


def select(names: Sequence[str], cases: Mapping[str, Any]) -> dict[str, list[str]]:
    """Which jobs of which cases: ``NAME`` is a case, ``NAME/TEXT`` those of its jobs that begin with TEXT (* allowed).

    Raises:
        ValueError: There is no such case.
    """
    wanted: dict[str, list[str]] = {}
    for name in names or sorted(cases):
        case_name, _, pattern = name.partition("/")
        if case_name not in cases:
            raise ValueError(f"no benchmark is called {case_name}; there are {', '.join(sorted(cases))}")
        wanted.setdefault(case_name, []).append(pattern + "*")
    return wanted


def main(
    names: Sequence[str] = (),
    peers: Sequence[str] = (),
    out: str | Path = "pyneural-results",
    *,
    threads: int | None = None,
    quick: bool = False,
    console: Console | None = None,
) -> int:
    """Runs benchmarks, prints their tables, and writes each case to ``OUT/bench/CASE.json`` and ``OUT/bench/CASE.png``.

    Args:
        names: Cases, see :func:`select`; none for all.
        peers: Names of :data:`PEERS`; none for all that are installed.
        out: Folder for the results.
        threads: For every library; by default as the machine has cores.
        quick: Fewer, smaller jobs and short measurements: to see that everything runs, not to quote.
        console: Where to print.

    Returns:
        0; 1 if a way failed or computed something else; 2 for a name that is not known.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)
    cases = load_cases()
    try:
        wanted = select(names, cases)
        present, absent = choose_peers(peers)
    except ValueError as unknown:
        console.print(f"pyneural: {unknown}", markup=False)
        return 2
    effort = QUICK if quick else Effort()
    with same_threads(threads, present) as how:
        facts = surroundings(present, how, quick)
        versions = ", ".join(f"{name} {version}" for name, version in facts["peers"].items()) or "no peers"
        console.print(f"{facts['cpu']}, {facts['isa']}, threads: {how[OURS]}; {versions}", markup=False)
        for line in [*absent, *busy(facts)]:
            console.print(line, markup=False)
        roofs = Roofs(effort)
        results: dict[str, list[dict[str, Any]]] = {}
        try:
            for name, patterns in wanted.items():
                records = results.setdefault(name, [])
                for job in cases[name](quick):
                    if not any(fnmatchcase(job.name, p) for p in patterns):
                        continue
                    job.ways = {w: x for w, x in job.ways.items() if library(w) in (OURS, *present)}
                    with console.status(f"{name}: {job.name}") if console.is_terminal else contextlib.nullcontext():
                        records.append(measure(job, effort, roofs))
                for record in records:
                    judge(record, roofs.best)
                if records:
                    console.print(table(name, records))
        finally:  # also after Ctrl-C: what was measured is kept
            _write(Path(out) / "bench", facts, roofs, results, absent, console)
    failed = any("error" in way for records in results.values() for r in records for way in r["ways"].values())
    return 1 if failed else 0


def _write(
    folder: Path,
    facts: Mapping[str, Any],
    roofs: Roofs,
    results: Mapping[str, Sequence[dict[str, Any]]],
    absent: Sequence[str],
    console: Console,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record in (r for records in results.values() for r in records):
        judge(record, roofs.best)
    limits = {name: f"{rate / 1e9:.0f} {'GFLOP/s' if 'add' in name else 'GB/s'}" for name, rate in roofs.best.items()}
    if limits:
        console.print("roofs, measured: " + ", ".join(f"{name} {rate}" for name, rate in limits.items()), markup=False)
    for name, records in results.items():
        content = {"case": name, "environment": facts, "absent": absent, "roofs": roofs.best, "jobs": records}
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        picture = chart(name, records)
        if picture is not None:
            picture.savefig(folder / f"{name}.png")
    console.print(f"written to {folder}", markup=False, soft_wrap=True)
