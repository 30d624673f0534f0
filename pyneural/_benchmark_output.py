"""How benchmarks are shown: times, tables, the bar chart of ratios. Their records are made in ``benchmarking``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


def library(way: str) -> str:
    """The library that a way of a job needs: the first word of its name."""
    return way.split()[0]


def show_time(seconds: float) -> str:
    """A time with three digits, in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:  # what would be rounded to 1000 of the next unit
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def show_bytes(size: float) -> str:
    """A number of bytes with three digits, in the unit that fits."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


COLUMNS = ("job", "way", "min", "median", "spread", "rate", "of roof", "ratio", "goal", "check")


def rows(record: Mapping[str, Any]) -> list[list[str]]:
    """One job as lines of text under :data:`COLUMNS`, a line for each way, ours first."""
    show = show_time if record["unit"] == "s" else show_bytes
    goals = {"roof": "{:.0%}".format, "most": show}  # how they are shown; others are ratios
    lines = []
    for i, (way, w) in enumerate(record["ways"].items()):
        name = way if i else ("most" if "most" in record["goals"] else "roof")
        same = "same" if i and w.get("verified") else ""
        lines.append(
            [
                f"{record['job']}, per {record['step']}" if i == 0 else "",
                way,
                show(w["minimum"]) if "minimum" in w else "",
                show(w["median"]) if "median" in w else "",
                f"{w['spread']:.0%}" if "spread" in w else "",
                f"{w['rate']:.1f} {record['rate_unit']}" if "rate" in w else "",
                f"{w['of_roof']:.0%}" if "of_roof" in w else "",
                f"{record['ratios'][way]:.3g}x" if way in record["ratios"] else "",
                _show_goal(record["goals"].get(name), goals.get(name, "{:g}x".format)),
                w.get("error", w.get("unavailable", same)),
            ]
        )
    return lines


def table(name: str, records: Sequence[Mapping[str, Any]]) -> Table:
    """One case as a table for the terminal: a line for each way of each job."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(name, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in ("job", "way", "check") else "right", overflow="fold")
    for record in records:
        for line in rows(record):
            styles = dict.fromkeys(COLUMNS, "") | {
                "way": "bold" if line[0] else "",
                "goal": "green" if line[-2].endswith("met") else "yellow",
                "check": "red" if "error" in record["ways"][line[1]] else "",
            }
            shown.add_row(*(Text(cell, style=style) for cell, style in zip(line, styles.values(), strict=True)))
        shown.add_section()
    return shown


def _show_goal(goal: Mapping[str, Any] | None, show: Callable[[float], str]) -> str:
    if goal is None or "met" not in goal:
        return ""
    return f"{show(goal['goal'])} {'met' if goal['met'] else 'missed'}"


def _bars_of(record: Mapping[str, Any]) -> Iterator[tuple[bool, str, float]]:
    peers = [(way, ratio) for way, ratio in record["ratios"].items() if library(way) != "pyneural"]
    for i, (way, ratio) in enumerate(peers):
        yield i == 0, way, ratio


def chart(name: str, records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """A case's ratios as bars on a logarithmic axis, one colour per library; None if there is nothing to compare."""
    from . import plots

    bars = [
        (record["job"] if first else "", way, ratio) for record in records for first, way, ratio in _bars_of(record)
    ]
    if not bars:
        return None
    peers = list(dict.fromkeys(library(way) for _, way, _ in bars))
    colours = {peer: plots.LINES[i % len(plots.LINES)] for i, peer in enumerate(peers)}
    fig, ax = plots.new(width=8.5, height=1.2 + 0.21 * len(bars))
    with plots.style():
        for i, (_, way, ratio) in enumerate(bars):
            ax.barh(i, ratio - 1, left=1, color=colours[library(way)], height=0.75)
            ax.text(max(ratio, 1.0), i, f" {ratio:.3g} {way}", va="center", fontsize=7)
        ax.axvline(1.0, color=plots.INK, linewidth=1)
        ax.set_xscale("log")
        for axis_ticks in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
            axis_ticks("{x:.3g}")
        ax.set_yticks(range(len(bars)), [job for job, _, _ in bars], fontsize=7)
        ax.set_ylim(len(bars) - 0.4, -0.6)
        ax.margins(x=0.25)
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="time of the peer / time of pyneural (above 1: pyneural is faster)", title=name)
    return fig
