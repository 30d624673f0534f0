"""What is drawn of a graph, placed: boxes for calls and leaves, edges with values and messages, modules folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from .formulas import describe
from .graph import Graph, Leaf, Message, Node, Source
from .layout import Item, Link, arrange
from .text import is_number
from .values import Value

#: More calls than this are folded by module.
MOST = 200
SIZE, LINE, LETTER = 11.0, 14.0, 6.82  # of the letters: height, distance of lines, width (monospaced)
_PAD = 7.0
_STRAIGHT = 200.0  # chains of calls are drawn straight, leaves stand aside
_MOST_RIGHT = 7  # layers of calls that are still drawn from left to right


@dataclass(eq=False)
class Box:
    """One call, several folded ones, or a leaf. x, y: its centre."""

    key: str
    lines: list[str]
    kind: str
    members: list[Node]
    leaf: Leaf | None = None
    sums: list[str] = field(default_factory=list)
    hidden: list[Leaf] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass(eq=False)
class Edge:
    """From a box to the box that uses its result, or to nowhere. The label lies at (x, y), width x height."""

    key: str
    source: Box
    target: Box | None
    output: int
    values: list[str]
    messages: list[str]
    sent: list[Message]
    points: list[tuple[float, float]] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def pieces(self, down: bool) -> list[list[tuple[float, float]]]:
        """The path behind its first point: one point is a straight line to it, three are a Bezier curve."""
        pieces = []
        for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(self.points)):
            if i % 2 == 1:  # aslant, between layers
                x, y = (x0 + x1) / 2, (y0 + y1) / 2
                pieces.append([(x0, y), (x1, y), (x1, y1)] if down else [(x, y0), (x, y1), (x1, y1)])
            elif (x0, y0) != (x1, y1):
                pieces.append([(x1, y1)])
        return pieces


@dataclass(eq=False)
class Scene:
    """Boxes and edges with their places. `down`: calls run from top to bottom, else from left to right."""

    boxes: list[Box]
    edges: list[Edge]
    width: float
    height: float
    down: bool


def scene(
    graph: Graph, *, values: bool = True, messages: bool = True, most: int = MOST, extra: dict[int, str] | None = None
) -> Scene:
    """Places a graph.

    Args:
        graph: What is drawn.
        values, messages: Whether the numbers are.
        most: More calls than this are folded.
        extra: For some k one more line in the box of f(k).
    """
    boxes, of = _boxes(graph, most, messages, extra or {})
    edges = _edges(graph, boxes, of, values, messages)
    return _placed(boxes, edges)


def _boxes(graph: Graph, most: int, messages: bool, extra: dict[int, str]) -> tuple[list[Box], dict[int, Box]]:
    of: dict[int, Box] = {}
    calls: list[Box] = []
    for members in folded(graph.nodes, most):
        node = members[0]
        if len(members) == 1:
            title = f"{node.label} {node.op}" + _numbers_of(node)
            lines = [
                title,
                *(x for x in (node.name or node.role, describe(node.attributes), extra.get(node.k, "")) if x),
            ]
            box = Box(f"f{node.k}", [_short(x) for x in lines], "call", members)
            if messages and node.visit is not None and len(node.visit.received) > 1 and len(node.outputs) == 1:
                box.sums = _lines(node.visit.sums[0], "t = ")
        else:
            last = members[-1]
            name = node.module if all(m.module.startswith(_common(members)) for m in members) else ""
            name = _common(members) or name
            box = Box(f"f{node.k}", [_short(name or "calls"), f"f({node.k}) to f({last.k})"], "fold", members)
        calls.append(box)
        of.update({id(m): box for m in members})
    users: dict[int, list[Box]] = {}
    for node in graph.nodes:
        for source in node.sources:
            if isinstance(source.vertex, Leaf):
                users.setdefault(id(source.vertex), []).append(of[id(node)])
    leaves: list[Box] = []
    for leaf in graph.leaves:
        by = {id(b): b for b in users.get(id(leaf), ())}
        if is_number(leaf) or (not by and not leaf.messages):
            continue
        only = next(iter(by.values())) if len(by) == 1 else None
        if only is not None and only.kind == "fold":
            only.hidden.append(leaf)
            continue
        box = Box(f"v{leaf.index}", [_short(leaf.name)], leaf.kind, [], leaf)
        if messages and len(leaf.messages) > 1:
            box.sums = _lines(next(c for c in reversed(leaf.collected) if c is not None), "sum = ")
        leaves.append(box)
        of[id(leaf)] = box
    for box in calls:
        if box.hidden:
            box.lines.append(f"{len(box.hidden)} leaves inside")
    return leaves + calls, of


def folded(nodes: list[Node], most: int) -> list[list[Node]]:
    """The calls one by one, or, if there are more than `most`, in runs of the same module, as deep as the limit allows.

    A run is without gaps, so edges between runs go forward. Calls outside of modules are folded into runs of equal
    length at last.
    """
    if len(nodes) <= most:
        return [[n] for n in nodes]
    deepest = max(n.module.count(".") + 1 for n in nodes)
    groups: list[list[Node]] = []
    for depth in range(deepest, 0, -1):
        groups = []
        for node in nodes:
            path = ".".join(node.module.split(".")[:depth])
            if groups and path and path == ".".join(groups[-1][0].module.split(".")[:depth]):
                groups[-1].append(node)
            else:
                groups.append([node])
        if len(groups) <= most:
            return groups
    flat = [n for g in groups for n in g]
    length = -(-len(flat) // most)
    return [flat[i : i + length] for i in range(0, len(flat), length)]


def _common(members: list[Node]) -> str:
    parts = [m.module.split(".") for m in members]
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def _numbers_of(node: Node) -> str:
    numbers = [s.vertex.name for s in node.sources if isinstance(s.vertex, Leaf) and is_number(s.vertex)]
    return f" ({', '.join(numbers)})" if numbers else ""


def _edges(graph: Graph, boxes: list[Box], of: dict[int, Box], values: bool, messages: bool) -> list[Edge]:
    found: dict[tuple[int, int, int], Edge] = {}
    labelled: set[tuple[int, int]] = set()

    def add(source: Source, target: Box | None, sent: list[Message]) -> None:
        start = of.get(id(source.vertex))
        if start is None or start is target:
            return
        key = (id(source.vertex), source.output, id(target))
        edge = found.get(key)
        if edge is None:
            first = (id(source.vertex), source.output) not in labelled
            labelled.add((id(source.vertex), source.output))
            shown = _lines(_value(source), "") if values and first else []
            name = f"{start.key}.{source.output}-{target.key if target else 'end'}"
            edge = found[key] = Edge(name, start, target, source.output, shown, [], [])
        edge.sent += sent

    for node in graph.nodes:
        for source in node.sources:
            add(source, of[id(node)], [m for m in node.sent if m.argument == source.argument])
    for leaf in graph.leaves:
        if leaf.origin is not None and id(leaf) in of:
            add(leaf.origin, of[id(leaf)], [])
    ends = {(id(e.source.members[-1]), e.output) for e in found.values() if e.source.members}
    for box in boxes:
        if box.members and (id(box.members[-1]), 0) not in ends:
            node = box.members[-1]
            add(Source(node, 0, "", True), None, [m for m in node.messages if m.sender is None])
    edges = list(found.values())
    if messages:
        for edge in edges:
            for m in edge.sent:
                edge.messages += _lines(m.result, "")
    return edges


def _value(source: Source) -> Value:
    vertex = source.vertex
    return vertex.before if isinstance(vertex, Leaf) else vertex.outputs[source.output]


def _lines(value: Value | None, prefix: str) -> list[str]:
    rows = [] if value is None else value.rows()
    return [f"{prefix if i == 0 else ' ' * len(prefix)}{row}" for i, row in enumerate(rows)]


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:14] + "\N{HORIZONTAL ELLIPSIS}" + text[-15:]


def _wide(lines: list[str]) -> float:
    return max(map(len, lines), default=0) * LETTER


def _placed(boxes: list[Box], edges: list[Edge]) -> Scene:
    for box in boxes:
        lines = box.lines + box.sums
        box.width, box.height = _wide(lines) + 2 * _PAD, LINE * len(lines) + 2 * _PAD - 3
    depth: dict[int, int] = {}
    for box in (b for b in boxes if b.members):
        depth[id(box)] = 1 + max((depth.get(id(e.source), 0) for e in edges if e.target is box), default=0)
    down = max(depth.values(), default=0) > _MOST_RIGHT
    for edge in edges:
        # Values and messages lie on both sides of the line; its end needs room for the arrow.
        end = 12.0 if edge.target is None else 0.0
        if down:
            side = max(_wide(edge.values), _wide(edge.messages)) + 5
            edge.width, edge.height = 2 * side, max(len(edge.values), len(edge.messages), 1) * LINE + 2 + end
        else:
            side = max(len(edge.values), len(edge.messages)) * LINE + 3
            edge.width, edge.height = max(_wide(edge.values), _wide(edge.messages), 24.0) + end, 2 * side
    items = {id(b): Item(b.height, b.width) if down else Item(b.width, b.height) for b in boxes}
    for box in boxes:
        items[id(box)].late = box.leaf is not None  # near what uses it
        items[id(box)].weight = 1.0 if box.leaf is not None else _STRAIGHT
    links = []
    for edge in edges:
        label = Item(edge.height, edge.width) if down else Item(edge.width, edge.height)
        label.weight = 1.0 if edge.source.leaf is not None else _STRAIGHT
        links.append(Link(items[id(edge.source)], None if edge.target is None else items[id(edge.target)], label))
    # A leaf stands before its first use, so that links go forward in the list.
    along, across = arrange(_forward(boxes, edges, items), links)
    out, into = _ports(links)
    for box in boxes:
        item = items[id(box)]
        a, c = item.start + item.along / 2, item.position
        box.x, box.y = (c, a) if down else (a, c)
    for edge, link in zip(edges, links, strict=True):
        a, c = link.label.start + link.label.along / 2, link.label.position
        edge.x, edge.y = (c, a) if down else (a, c)
        points = _route(link, out[id(link)], into.get(id(link), 0.0))
        edge.points = [(c, a) if down else (a, c) for a, c in points]
    return Scene(boxes, edges, across if down else along, along if down else across, down)


def _forward(boxes: list[Box], edges: list[Edge], items: dict[int, Item]) -> list[Item]:
    late = {id(e.target) for e in edges if e.target is not None and e.target.leaf is not None}
    first = [b for b in boxes if b.leaf is not None and id(b) not in late]
    rest = [b for b in boxes if b.leaf is None]
    ordered = [*first, *rest]
    for box in (b for b in boxes if id(b) in late):  # a detached leaf stands behind the call that it comes from
        origin = next(e.source for e in edges if e.target is box)
        ordered.insert(ordered.index(origin) + 1, box)
    return [items[id(b)] for b in ordered]


def _route(link: Link, out: float, into: float) -> list[tuple[float, float]]:
    """Points (along, across) of an edge, from `out` to `into`: straight through layers, aslant between them."""
    source, label = link.source, link.label
    points = [(source.start + source.along, out), (source.room[1], out)]
    points += [(edge, label.position) for edge in (label.start, label.room[1])]
    if link.target is None:
        return [*points[:-1], (label.start + label.along, label.position)]
    for passing in link.path[2:-1]:
        points += [(edge, passing.position) for edge in passing.room]
    return [*points, (link.target.room[0], into), (link.target.start, into)]


def _ports(links: list[Link]) -> tuple[dict[int, float], dict[int, float]]:
    """Where each link leaves its source and reaches its target, across: side by side, in the order of their paths."""
    out: dict[int, float] = {}
    into: dict[int, float] = {}
    for end, places, at in ((0, out, 1), (-1, into, -2)):
        groups: dict[int, list[Link]] = {}
        for link in links:
            if end == 0 or link.target is not None:
                groups.setdefault(id(link.path[end]), []).append(link)
        for group in groups.values():
            item = group[0].path[end]
            group.sort(key=lambda link: link.path[at].position)
            for i, link in enumerate(group):
                places[id(link)] = item.position + item.across * ((i + 0.5) / len(group) - 0.5) * 0.8
    return out, into


__all__ = ["MOST", "Box", "Edge", "Scene", "folded", "scene"]
