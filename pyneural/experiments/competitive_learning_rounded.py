"""Competitive learning by hand: four inputs (0, 1), (1, 1), (0, -1), (-1, -1) in this order, two epochs. The winner is
the neuron with the largest activity y = w . x; it learns by w <- w + eta y (x - w) with eta = 1/2, and its weights are
then rounded to the nearest integers. Start: w1 = (-1, 2), w2 = (2, -1). Which clusters come out, and does it matter how
ties are broken?
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import floor
from typing import Any

import numpy as np

from pyneural import plots
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import CompetitiveLayer, Move

DATA = ((0, 1), (1, 1), (0, -1), (-1, -1))
START = ((-1, 2), (2, -1))
Pair = tuple[Fraction, Fraction]

# Activities, winner (1 or 2), weights before and after rounding, what the source prints for them.
TABLE = (
    ((2, -1), 1, ("0", "1"), (0, 1), "factor (1 - 1/2), is (1 - 2/2) = 0"),
    ((1, 1), 1, ("1/2", "1"), (0, 1), "same"),
    ((-1, 1), 2, ("1", "-1"), (1, -1), "same"),
    ((-1, 0), 2, ("1", "-1"), (1, -1), "x as (-1, 1)"),
    ((1, -1), 1, ("0", "1"), (0, 1), "same"),
    ((1, 0), 1, ("1/2", "1"), (0, 1), "(1/2, 1/2)"),
    ((-1, 1), 2, ("1/2", "-1"), (0, -1), "(1/2, -1/2)"),
    ((-1, 1), 2, ("-1/2", "-1"), (0, -1), "x as (-1, 1), (1/2, -1/2)"),
)


def roundings(value: Fraction) -> list[Fraction]:
    """The nearest integers: two for a half."""
    low = Fraction(floor(value))
    rest = value - low
    if rest == Fraction(1, 2):
        return [low, low + 1]
    return [low if rest < Fraction(1, 2) else low + 1]


def branches(neuron_ties: bool) -> set[tuple[Pair, Pair]]:
    """Every pair of final weights that some way of breaking ties leads to, in exact arithmetic; ties between neurons go
    to the first unless ``neuron_ties``."""
    states: set[tuple[Pair, Pair]] = {tuple(tuple(map(Fraction, w)) for w in START)}  # type: ignore[arg-type]
    for x in DATA * 2:
        after = set()
        for weights in states:
            y = [w[0] * x[0] + w[1] * x[1] for w in weights]
            winners = [i for i in (0, 1) if y[i] == max(y)]
            for i in winners if neuron_ties else winners[:1]:
                moved = [w + Fraction(1, 2) * y[i] * (v - w) for w, v in zip(weights[i], x, strict=True)]
                for new in product(*map(roundings, moved)):
                    after.add(tuple(new if j == i else weights[j] for j in (0, 1)))
        states = after  # type: ignore[assignment]
    return states


def clusters(weights: tuple[Pair, Pair]) -> str:
    """Which points go to neuron 1, which to neuron 2, and which to either."""
    cells: dict[str, list[int]] = {"1": [], "2": [], "tied": []}
    for number, x in enumerate(DATA, 1):
        y = [w[0] * x[0] + w[1] * x[1] for w in weights]
        cells["tied" if y[0] == y[1] else "1" if y[0] > y[1] else "2"].append(number)
    return "; ".join(f"{k}: {v}" for k, v in cells.items() if v)


@experiment(
    "competitive-learning-rounded",
    title="Competitive learning with rounded weights, by hand",
    source="002_e3b0b6e208b34aec.txt, mock exam 2a-2b",
    kind="hand",
    topic="Clustering",
)
def run(e: Run) -> None:
    layer = CompetitiveLayer(START, 0.5, rounding=True)
    moves = layer.fit(DATA, 2)
    rows = []
    for number, (move, (y, winner, moved, after, prints)) in enumerate(zip(moves, TABLE, strict=True), 1):
        e.check(f"step {number}: activities", move.activities, y, kind="equal")
        e.check(f"step {number}: winner", move.winner + 1, winner, kind="equal")
        e.check(f"step {number}: before rounding", move.moved, [float(Fraction(v)) for v in moved], kind="equal")
        e.check(f"step {number}: after", move.after, after, kind="equal")
        rows.append(
            [number, list(DATA[(number - 1) % 4]), list(y), winner, f"({moved[0]}, {moved[1]})", list(after), prints]
        )
    e.table("steps", ["step", "x", "w1.x, w2.x", "winner", "before rounding", "after", "source prints"], rows,
            caption="Ties between neurons go to the first, halves are rounded to even.")  # fmt: skip
    e.check("final weights", layer.weights, [(0, 1), (0, -1)], kind="equal")
    e.check("clusters {1, 2} and {3, 4}", layer.winners(DATA), [0, 0, 1, 1], kind="equal")
    plain = CompetitiveLayer(START, 0.5)
    path = plain.fit(DATA, 2)
    e.check("weights without rounding", plain.weights, [[0.71875, 1.0], [0.125, -1.0]], 1e-15)

    rounded = branches(neuron_ties=False)
    e.check("weight pairs that rounding ties lead to", len(rounded), 6, kind="equal")
    e.check("clusters of all of them", {clusters(w) for w in rounded} == {"1: [1, 2]; 2: [3, 4]"})
    every = branches(neuron_ties=True)
    seen: dict[str, int] = {}
    for w in every:
        seen[clusters(w)] = seen.get(clusters(w), 0) + 1
    e.table("every way to break ties", ["clusters (points 1 to 4)", "weight pairs"],
            [[k, v] for k, v in sorted(seen.items(), key=lambda i: -i[1])])  # fmt: skip
    e.check("the tie between neurons at step 2 changes the clusters", len(seen) > 1)
    last = CompetitiveLayer(START, 0.5, rounding=True, ties="last")
    last.fit(DATA, 2)
    e.check("the tie at step 2 given to neuron 2: final weights", last.weights, [(0, 2), (2, 2)], kind="equal")
    ends = last.activities(DATA)
    e.check(
        "then points 1 and 3 are tied, 2 and 4 apart",
        (ends[:, 0] == ends[:, 1]).tolist(),
        [True, False, True, False],
        kind="equal",
    )
    unit = CompetitiveLayer(START, 0.5, normalize=True)
    around = unit.fit(DATA, 20)
    e.check("normalised weights: the same clusters", unit.winners(DATA), [0, 0, 1, 1], kind="equal")

    data = np.array(DATA, dtype=float)
    fig, axes = plots.new(1, 3, width=12.6, height=4.1)
    for ax, steps, final, title in (
        (axes[0], moves, layer, "rounded"),
        (axes[1], path, plain, "not rounded"),
        (axes[2], around, unit, "length 1, 20 epochs"),
    ):
        draw(ax, data, steps, final.weights, title, final is unit)
    e.figure(
        "paths",
        fig,
        "The weights' ways from their starts (rings) to their ends (crosses); the shade tells which neuron wins where.",
        {
            "data": data,
            "rounded": np.array([m.after for m in moves]),
            "plain": np.array([m.after for m in path]),
            "normalized": np.array([m.after for m in around]),
        },
    )
    e.note(
        """
        The source lets ties be broken either way. For the halves of rounding that is right: all six reachable pairs of
        weights give the same clusters. For the tie between the neurons at step 2 it is not: given to neuron 2, the
        weights end at (0, 2) and (2, 2), with points 2 and 4 apart and 1 and 3 tied.
        """
    )


def draw(ax: Any, data: np.ndarray, steps: list[Move], weights: np.ndarray, title: str, unit: bool) -> None:
    """Data, the ways of both weights, and the half planes that they win at the end."""
    span = np.linspace(-2.4, 2.4, 300)
    x, y = np.meshgrid(span, span)
    wins = (weights[1, 0] * x + weights[1, 1] * y) > (weights[0, 0] * x + weights[0, 1] * y)
    from matplotlib.colors import ListedColormap

    ax.imshow(wins, origin="lower", extent=(-2.4, 2.4, -2.4, 2.4), cmap=ListedColormap(plots.CLASSES[:2]), alpha=0.18)
    ax.scatter(data[:, 0], data[:, 1], s=26, color=plots.INK, zorder=3)
    for i, start in enumerate(START):
        begin = np.array(start, float) / (np.hypot(*start) if unit else 1.0)
        way = np.array([begin, *(m.after for m in steps if m.winner == i)])
        ax.plot(way[:, 0], way[:, 1], "-", color=plots.CLASSES[i], zorder=2)
        ax.scatter(*way[0], s=60, facecolors="none", edgecolors=plots.CLASSES[i], zorder=4)
        ax.scatter(*way[-1], s=70, marker="X", color=plots.CLASSES[i], edgecolors=plots.INK, zorder=5)
        ax.annotate(f"w{i + 1}", way[0], xytext=(6, 4), textcoords="offset points", fontsize=9)
    for number, at in enumerate(data, 1):
        ax.annotate(str(number), at, xytext=(5, -12), textcoords="offset points", fontsize=8)
    ax.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
    with plots.style():
        ax.set_title(title)
    ax.grid(False)
