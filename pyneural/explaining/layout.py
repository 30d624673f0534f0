"""A layered layout: longest-path layers, crossings reduced by barycentres, positions by isotonic least squares.

Boxes and labels of edges are placed alike, so nothing can overlap. `along` is the direction of the calls, `across` the
other one; lengths are in pixels of a page.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

GAP_ALONG, GAP_ACROSS = 20.0, 14.0
_SWEEPS = 8


@dataclass(eq=False)
class Item:
    """Something that takes up room in a layer: a box, the label of an edge, or a place that an edge passes."""

    along: float
    across: float
    late: bool = False  # stands at the end of its layer, not at the beginning
    weight: float = 1.0  # how much a straight line through it counts
    layer: int = 0
    order: float = 0.0
    position: float = 0.0  # of its centre, across
    start: float = 0.0  # where it begins, along
    room: tuple[float, float] = (0.0, 0.0)  # where its layer begins and ends, along
    before: list[Item] = field(default_factory=list)
    after: list[Item] = field(default_factory=list)


@dataclass(eq=False)
class Link:
    """An edge: from an item to another one (or to nowhere), with a label behind its start."""

    source: Item
    target: Item | None
    label: Item
    path: list[Item] = field(default_factory=list)


def arrange(boxes: list[Item], links: list[Link]) -> tuple[float, float]:
    """Places boxes and labels; returns the size (along, across) of it all. Boxes lie before what they link to.

    `boxes` are in an order in which every link goes forward.
    """
    _layers(boxes, links)
    rows = _rows(boxes, links)
    _reduce_crossings(rows)
    _place(rows)
    at = 0.0
    for row in rows:
        thick = max((i.along for i in row), default=0.0)
        for item in row:
            item.start = at + thick - item.along if item.late else at
            item.room = (at, at + thick)
        if row:
            at += thick + GAP_ALONG
    return max(at - GAP_ALONG, 0.0), max((i.position + i.across / 2 for row in rows for i in row), default=0.0)


def _layers(boxes: list[Item], links: list[Link]) -> None:
    """Every box two layers behind its last source, between them the label; a box without sources near its first use."""
    into: dict[int, list[Item]] = {}
    out: dict[int, list[Item]] = {}
    for link in links:
        if link.target is not None:
            into.setdefault(id(link.target), []).append(link.source)
            out.setdefault(id(link.source), []).append(link.target)
    for box in boxes:
        box.layer = max((s.layer + 2 for s in into.get(id(box), ())), default=0)
    for box in reversed(boxes):
        if id(box) not in into and id(box) in out:
            box.layer = min(t.layer for t in out[id(box)]) - 2
    lowest = min((b.layer for b in boxes), default=0)
    for box in boxes:
        box.layer -= lowest


def _rows(boxes: list[Item], links: list[Link]) -> list[list[Item]]:
    count = max((b.layer for b in boxes), default=-1) + 2
    rows: list[list[Item]] = [[] for _ in range(count)]
    for box in boxes:
        rows[box.layer].append(box)
    for link in links:
        link.label.layer = link.source.layer + 1
        rows[link.label.layer].append(link.label)
        path = [link.source, link.label]
        if link.target is not None:
            for layer in range(link.source.layer + 2, link.target.layer):
                passing = Item(0.0, 6.0)
                rows[layer].append(passing)
                path.append(passing)
            path.append(link.target)
        link.path = path
        for a, b in pairwise(path):
            a.after.append(b)
            b.before.append(a)
    return rows


def _reduce_crossings(rows: list[list[Item]]) -> None:
    for row in rows:
        _number(row)
    best, kept = _crossings(rows), [list(r) for r in rows]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            for item in row:
                near = item.before if down else item.after
                if near:
                    item.order = sum(n.order for n in near) / len(near)
            row.sort(key=lambda i: i.order)
            _number(row)
        crossings = _crossings(rows)
        if crossings < best:
            best, kept = crossings, [list(r) for r in rows]
        if best == 0:
            break
    for row, order in zip(rows, kept, strict=True):
        row[:] = order
        _number(row)


def _number(row: list[Item]) -> None:
    for i, item in enumerate(row):
        item.order = (i + 0.5) / len(row)  # rows of different lengths compare by share


def _crossings(rows: list[list[Item]]) -> int:
    """How many pairs of neighbouring segments cross."""
    count = 0
    for row in rows:
        seen: list[float] = []
        for _, end in sorted((a.order, b.order) for a in row for b in a.after):
            at = bisect_right(seen, end)
            count += len(seen) - at
            seen.insert(at, end)
    return count


def _place(rows: list[list[Item]]) -> None:
    for row in rows:
        at = 0.0
        for item in row:
            item.position = at + item.across / 2
            at += item.across + GAP_ACROSS
    for sweep in range(_SWEEPS + 1):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted = []
            for item in row:
                near = (item.before if down else item.after) or item.before or item.after
                weight = sum(n.weight for n in near)
                wanted.append(sum(n.position * n.weight for n in near) / weight if near else item.position)
            _settle(row, wanted)
    left = min((i.position - i.across / 2 for row in rows for i in row), default=0.0)
    for row in rows:
        for item in row:
            item.position -= left


def _settle(row: list[Item], wanted: list[float]) -> None:
    """Positions nearest to the wanted ones, in weighted least squares, at which neighbours keep their distance."""
    offsets, at = [], 0.0
    for i, item in enumerate(row):
        if i:
            at += (row[i - 1].across + item.across) / 2 + GAP_ACROSS
        offsets.append(at)
    blocks: list[tuple[float, float, int]] = []  # sum, weight, count: pool adjacent violators
    for item, w, o in zip(row, wanted, offsets, strict=True):
        block = ((w - o) * item.weight, item.weight, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            total, weight, count = blocks.pop()
            block = (block[0] + total, block[1] + weight, block[2] + count)
        blocks.append(block)
    k = 0
    for total, weight, count in blocks:
        for _ in range(count):
            row[k].position = total / weight + offsets[k]
            k += 1


__all__ = ["Item", "Link", "arrange"]
