"""An explanation as one HTML page: the graph, and a panel in which one steps forward and back through the schedules."""

from __future__ import annotations

import json
from typing import Any

from .formulas import mathml
from .graph import Check, Graph, Message, Node
from .portable import to_dict
from .scene import LINE, Box, Edge, Scene, scene
from .text import call_text, is_number
from .values import Value, number

_PAD = 10.0


def page(graph: Graph) -> str:
    """See :meth:`pyneural.explaining.Explanation.html`."""
    from .. import report

    placed = scene(graph)
    data = to_dict(graph)
    data["steps"] = _steps(graph)
    typeset: dict[str, str] = {}
    for message in data["messages"]:
        formula = message["formula"]
        if formula not in typeset:
            typeset[formula] = mathml(formula) if formula else ""
        message["math"] = typeset[formula]
    for node, d in zip(graph.nodes, data["nodes"], strict=True):
        d["call"] = call_text(node)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return report.render(
        "explain.html",
        graph=graph,
        style=report.style_sheet(),
        data=text.replace("<", "\\u003c"),
        picture=_picture(graph, placed),
        leaves=[(x.label, x.kind, x.before.line()) for x in graph.leaves if not is_number(x)],
        forward=[_forward(n) for n in graph.nodes],
        walks=[_reverse(graph, i, typeset) for i in range(len(graph.walks))],
        updates=[(u.op, u.leaf.name, u.after.line()) for u in graph.updates],
        checked=any(n.check is not None for n in graph.nodes),
    )


def _steps(graph: Graph) -> list[dict[str, Any]]:
    """The leaves, f(1), f(2), ..., for each walk its sums t(n), ..., t(1) and what it has collected, the updates."""
    steps: list[dict[str, Any]] = [{"kind": "leaves", "label": "leaves"}]
    steps += [{"kind": "forward", "k": n.k, "label": n.label} for n in graph.nodes]
    for i, walk in enumerate(graph.walks):
        steps += [{"kind": "back", "walk": i, "visit": j, "k": v.node.k, "label": f"t({v.node.k})"}
                  for j, v in enumerate(walk.visits)]  # fmt: skip
        if walk.leaves:
            steps.append({"kind": "collected", "walk": i, "label": "gradients"})
    if graph.updates:
        steps.append({"kind": "updates", "label": "updates"})
    return steps


# ---- the picture ----


def _picture(graph: Graph, placed: Scene) -> dict[str, Any]:
    visits = {id(m): (i, j) for i, w in enumerate(graph.walks) for j, v in enumerate(w.visits) for m in v.sent}
    return {
        "width": placed.width + 2 * _PAD,
        "height": placed.height + 2 * _PAD,
        "boxes": [_box(b) for b in placed.boxes],
        "edges": [_edge(e, placed.down, visits) for e in placed.edges],
    }


def _box(box: Box) -> dict[str, Any]:
    lines = [(t, "title" if i == 0 else "") for i, t in enumerate(box.lines)] + [(t, "back") for t in box.sums]
    top = box.y + _PAD - LINE * (len(lines) - 1) / 2
    return {
        "key": box.key, "kind": box.kind, "first": box.members[0].k if box.members else 0,
        "last": box.members[-1].k if box.members else 0, "x": round(box.x - box.width / 2 + _PAD, 1),
        "y": round(box.y - box.height / 2 + _PAD, 1), "width": round(box.width, 1), "height": round(box.height, 1),
        "round": 10 if box.leaf is not None else 3,
        "lines": [(t, c, round(box.x + _PAD, 1), round(top + i * LINE, 1)) for i, (t, c) in enumerate(lines)],
    }  # fmt: skip


def _edge(edge: Edge, down: bool, visits: dict[int, tuple[int, int]]) -> dict[str, Any]:
    x, y = edge.points[0]
    path = f"M{x + _PAD:.1f} {y + _PAD:.1f}"
    for piece in edge.pieces(down):
        path += "LxC"[len(piece) - 1] + " ".join(f"{x + _PAD:.1f} {y + _PAD:.1f}" for x, y in piece)
    x, y, texts = edge.x + _PAD, edge.y + _PAD, []
    for lines, kind in ((edge.values, "ahead"), (edge.messages, "back")):
        for i, line in enumerate(lines):
            if down:
                at, anchor = (x - 5, "end") if kind == "ahead" else (x + 5, "start")
                texts.append(
                    (line, kind, anchor, round(at, 1), round(y - edge.height / 2 + LINE / 2 + 1 + i * LINE, 1))
                )
            else:
                height = y - 3 - LINE * (len(lines) - i - 0.5) if kind == "ahead" else y + 3 + LINE * (i + 0.5)
                texts.append((line, kind, "middle", round(x, 1), round(height, 1)))
    sent = [visits[id(m)] for m in edge.sent if id(m) in visits]
    made = edge.source.members[-1].k if edge.source.members else 0
    return {"path": path, "texts": texts, "made": made, "sent": " ".join(f"{w}.{v}" for w, v in sent),
            "start": any(m.sender is None for m in edge.sent)}  # fmt: skip


# ---- the tables ----


def _forward(node: Node) -> dict[str, Any]:
    words = [node.name, node.role, node.module]
    if node.rule_of is not None and not node.role:
        words.append(f"rule of {node.rule_of.label}")
    return {"label": node.label, "call": call_text(node), "what": ", ".join(w for w in words if w),
            "values": [v.line() for v in node.outputs]}  # fmt: skip


def _reverse(graph: Graph, index: int, typeset: dict[str, str]) -> dict[str, Any]:
    walk, rows, collected = graph.walks[index], [], []
    for visit in walk.visits:
        for k, total in enumerate(visit.sums):
            several = len(visit.sums) > 1
            rows.append({
                "label": f"t({visit.node.k})" + (f"[{k}]" if several else ""), "op": visit.node.op,
                "sum": "none" if total is None else total.line(),
                "parts": _parts([m for m in visit.received if m.output == k]),
                "sent": [(m.receiver.label, typeset[m.formula], m.result.line()) for m in visit.sent] if k == 0 else [],
                "check": _checked(visit.node.check) if k == 0 else "",
            })  # fmt: skip
    for leaf in walk.leaves:
        value = leaf.collected[index]
        line = value.line() if isinstance(value, Value) else "none"
        collected.append((leaf.name, line, _parts(leaf.received[index]), _checked(leaf.check)))
    return {"rows": rows, "collected": collected}


def _parts(messages: list[Message]) -> list[tuple[str, str]]:
    """Where a sum comes from, if from several places."""
    return [(m.label, m.result.line()) for m in messages] if len(messages) > 1 else []


def _checked(check: Check | None) -> str:
    if check is None:
        return ""
    return f"off by {number(check.error, 2)}" + (" along one direction" if check.direction else "")


__all__ = ["page"]
