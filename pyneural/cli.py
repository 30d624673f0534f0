"""The `pyneural` command: the main job, the experiments, their report, the data sets, benchmarks and facts about the
machine.

Exit codes: 0 all well, 1 something failed, 2 wrong usage, 130 interrupted (what was finished stays). Each command
imports what it needs when it runs, so that `pyneural list` and `pyneural --help` answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
RESULTS = "pyneural-results"
PIPE_WIDTH = 140  # columns where the output is not a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: those of the process) and return the exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not a traceback
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("pyneural: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from .environment import version

        print(f"pyneural {version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pyneural", description="Neural networks that train fast and explain themselves."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    def add_out(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--out", default=RESULTS, metavar="DIR", help=f"folder for the results (default: {RESULTS})")

    def add_machine(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--threads", type=_positive, metavar="N", help="threads to use (default: as the machine has cores)"
        )
        sub.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the random generator (default: 0)")

    demo = add(
        "demo", _demo, "the main job: classify, compress and cluster images of digits, and write a page about it"
    )
    demo.add_argument(
        "--data",
        metavar="DIR|mnist",
        help="real MNIST: a folder with the IDX files, or `mnist` to look in the usual places",
    )
    add_out(demo)
    add_machine(demo)

    listing = add("list", _list, "the experiments")
    listing.add_argument("--json", action="store_true", help="as JSON: id, title, source, kind, needs")

    run = add("run", _run, "run experiments and print expected beside measured")
    run.add_argument("ids", nargs="+", metavar="ID", help="ids of `pyneural list`, or `all`")
    run.add_argument("--profile", choices=("quick", "full"), default="quick", help="sizes of the run (default: quick)")
    run.add_argument(
        "--again", action="store_true", help="with `all`: also those that passed with the same code and settings"
    )
    run.add_argument(
        "--eager", action="store_true", help="run recorded steps as ordinary code: slower, the same numbers and hash"
    )
    run.add_argument("--data", metavar="DIR", help="folder of data sets (default: $PYNEURAL_DATA, then the cache)")
    add_out(run)
    add_machine(run)

    add_out(add("report", _report, "a static HTML gallery of the experiments that were run"))

    data = add("data", _data, "data sets: which there are, download one, where they lie")
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the data sets, and whether they are on this machine")
    get = actions.add_parser("get", help="download a data set into the cache, checked by its checksum")
    get.add_argument("name", metavar="NAME")
    actions.add_parser("path", help="the folder of the cache")

    bench = add("bench", _bench, "time pyneural beside other libraries, in one run")
    bench.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks: CASE or CASE/JOB (default: all)")
    bench.add_argument(
        "--peers", default="", metavar="LIST", help="libraries to compare with, e.g. torch,jax (default: all installed)"
    )
    bench.add_argument("--threads", type=_positive, metavar="N", help="threads for every library (default: the cores)")
    bench.add_argument("--quick", action="store_true", help="short measurements and fewer jobs: a try, not a result")
    add_out(bench)

    info = add("info", _info, "version, instruction set in use, threads, optional parts")
    info.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _complain(text: object) -> None:
    print(f"pyneural: {text}", file=sys.stderr)


# Output


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def _print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    right: Iterable[int] = (),
) -> None:
    """A table of values; `right` are the columns whose cells are numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pyneural.experiments._judge import show

    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    numbers = set(right)
    for i, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if i in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(_short(show(cell))) for cell in row))
    console.print(table)
    console.print()


def _short(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _verdict(passed: bool) -> Any:
    from rich.text import Text

    return Text("pass", style="green") if passed else Text("FAIL", style="bold red")


def _listener(console: Console) -> Any:
    """What shows the progress of a run on a terminal: one line per loop, gone when the run is over."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Bars:
        def __init__(self) -> None:
            self.progress = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
            )  # fmt: skip

        def track(self, steps: Iterable[T], text: str, total: int | None) -> Iterable[T]:
            task = self.progress.add_task(text, total=total)
            try:
                for step in steps:
                    yield step
                    self.progress.advance(task)
            finally:
                self.progress.remove_task(task)

        def status(self, text: str) -> None:
            if console.is_terminal:
                self.progress.console.print(text, style="dim", markup=False)

    return Bars()


# Commands


def _demo(options: argparse.Namespace) -> int:
    from pyneural.experiments import demo

    console = _console()
    bars = _listener(console)
    try:
        with bars.progress:
            result = demo.run(
                data=options.data, out=options.out, threads=options.threads, seed=options.seed, listener=bars
            )
    except demo.DataMissing as missing:
        _complain(missing)
        return 1
    for name, table in result["tables"].items():
        _print_table(console, table["columns"], table["rows"], title=name, right=range(1, len(table["columns"])))
    console.print(
        f"{result['seconds']:.1f} s. The page with all pictures: {result['page']}", markup=False, soft_wrap=True
    )
    return 0


def _list(options: argparse.Namespace) -> int:
    from pyneural.experiments import load_all

    found = load_all()
    if options.json:
        facts = [
            {"id": x.id, "title": x.title, "source": x.source, "kind": x.kind, "topic": x.topic, "needs": list(x.needs)}
            for x in found
        ]
        print(json.dumps(facts, indent=1))
        return 0
    _print_table(_console(), ["id", "kind", "title", "source"], [[x.id, x.kind, x.title, x.source] for x in found])
    return 0


def _run(options: argparse.Namespace) -> int:
    from pyneural.experiments import UnknownExperiment, find, load_all
    from pyneural.experiments.frame import DataMissing, execute, finished

    try:
        wanted = load_all() if "all" in options.ids else [find(i) for i in dict.fromkeys(options.ids)]
    except UnknownExperiment as unknown:
        _complain(unknown)
        return 2
    console = _console()
    summary: list[list[Any]] = []
    told: set[str] = set()
    failed = 0
    settings = {name: getattr(options, name) for name in ("profile", "threads", "seed", "eager")}
    try:
        for i, x in enumerate(wanted):
            if "all" in options.ids and not options.again:
                before = finished(x, out=options.out, **settings)
                if before is not None:
                    summary.append(_summary_row(before, "was done"))
                    continue
            place = f"{i + 1} of {len(wanted)} · " if len(wanted) > 1 else ""
            console.rule(
                f"{place}{x.id} · {x.title} · {options.profile}".replace("[", r"\["), align="left", style="dim"
            )
            bars = _listener(console)
            try:
                with bars.progress:
                    result = execute(x, out=options.out, data=options.data, listener=bars, **settings)
            except DataMissing as missing:
                # How to get the data takes many lines: once is enough.
                _complain(f"{x.id}: {missing if str(missing) not in told else 'the same data is missing'}")
                told.add(str(missing))
                summary.append([x.id, "", "", _verdict(False), "data missing"])
                failed += 1
                continue
            _print_result(console, result, os.path.join(options.out, x.id))
            summary.append(_summary_row(result, "stopped by an error" if "error" in result else ""))
            failed += not result["passed"]
    finally:  # also after Ctrl-C: what was finished is shown
        if len(wanted) > 1 and summary:
            _print_table(console, ["experiment", "checks", "seconds", "", ""], summary, title="summary", right=(1, 2))
    if len(wanted) > 1:
        console.print(f"{len(wanted) - failed} of {len(wanted)} experiments passed")
    return 1 if failed else 0


def _summary_row(result: dict[str, Any], remark: str) -> list[Any]:
    good = sum(c["passed"] for c in result["checks"])
    checks = f"{good} of {len(result['checks'])}"
    return [result["id"], checks, f"{result['seconds']:.1f}", _verdict(result["passed"]), remark]


def _print_result(console: Console, result: dict[str, Any], folder: str) -> None:
    from pyneural.experiments._judge import sides

    checks = result["checks"]
    if checks:
        printed = any("printed" in c for c in checks)
        _print_table(
            console,
            ["", "check", "measured", "expected", *(["source prints"] if printed else [])],
            [
                [
                    _verdict(c["passed"]),
                    c["name"],
                    *sides(c),
                    *([c.get("printed")] if printed else []),
                ]
                for c in checks
            ],
        )
    if result["reports"]:
        _print_table(
            console,
            ["reported, not asserted", "measured", "source prints", ""],
            [[r["name"], r["measured"], r.get("printed"), r.get("note")] for r in result["reports"]],
        )
    for name, table in result["tables"].items():
        _print_table(console, table["columns"], table["rows"], title=name, right=range(1, len(table["columns"])))
    if "error" in result:
        console.print(result["error"], style="red", markup=False, soft_wrap=True)
    good = sum(c["passed"] for c in checks)
    console.print(
        f"{good} of {len(checks)} checks passed, {len(result['figures'])} pictures, "
        f"{result['seconds']:.1f} s, in {folder}",
        markup=False,
        soft_wrap=True,
    )


def _report(options: argparse.Namespace) -> int:
    from pyneural import report

    try:
        page = report.build(options.out)
    except report.NothingToReport as nothing:
        _complain(nothing)
        return 1
    print(page)
    return 0


def _data(options: argparse.Namespace) -> int:
    from pyneural import data
    from pyneural.data.datasets import PUBLISHED

    if options.action == "path":
        print(data.cache_folder())
        return 0
    if options.action == "get":
        try:
            print(data.download(options.name))
        except (data.DownloadError, data.DatasetError, ValueError) as problem:
            _complain(problem)
            return 1
        return 0
    rows = [["digits", "ready", "28x28 grey digits in 10 classes, drawn by the package", ""]]
    for known in PUBLISHED.values():
        folder = data.find(known.name)
        state = str(folder) if folder else f"missing: pyneural data get {known.name}"
        rows.append([known.name, state, known.title.split(": ", 1)[-1], known.licence])
    _print_table(_console(), ["data set", "where", "what", "licence"], rows)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from pyneural import benchmarking

    peers = [name for name in options.peers.split(",") if name]
    return benchmarking.main(options.names, peers, options.out, threads=options.threads, quick=options.quick)


def _info(options: argparse.Namespace) -> int:
    from pyneural import environment

    facts = environment.facts() | {
        "isa available": environment.available_isas(),
        "optional": environment.optional_parts(),
    }
    if options.json:
        print(json.dumps(facts, indent=1))
        return 0
    rows = [
        [key, ", ".join(value) if isinstance(value, list) else value]
        for key, value in facts.items()
        if key != "optional"
    ]
    console = _console()
    _print_table(console, ["pyneural", ""], rows)
    parts = environment.OPTIONAL_PARTS
    _print_table(
        console,
        ["optional part", "version", "used for"],
        [[name, version or "not installed", parts[name]] for name, version in facts["optional"].items()],
    )
    return 0
