"""A graph as plain data for JSON, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import Check, Graph, Leaf, Message, Node, Source, Update, Visit, Walk
from .values import FEW, Value

FORMAT = "pyneural explanation 1"


def to_dict(graph: Graph, limit: int = FEW) -> dict[str, Any]:
    """Nodes are ``f1``, ``f2``, ..., leaves ``v0``, ``v1``, ...; messages are referred to by their place in a list."""
    messages: list[Message] = []
    places: dict[int, int] = {}

    def place(message: Message) -> int:
        if id(message) not in places:
            places[id(message)] = len(messages)
            messages.append(message)
        return places[id(message)]

    walks = []
    for i, walk in enumerate(graph.walks):
        visits = [
            {
                "node": _name(v.node),
                "sums": [None if s is None else s.to_dict(limit) for s in v.sums],
                "received": [place(m) for m in v.received],
                "sent": [place(m) for m in v.sent],
            }
            for v in walk.visits
        ]
        leaves = []
        for leaf in walk.leaves:
            collected = leaf.collected[i]
            assert collected is not None
            received = [place(m) for m in leaf.received[i]]
            leaves.append({"leaf": _name(leaf), "gradient": collected.to_dict(limit), "received": received})
        walks.append({"visits": visits, "leaves": leaves})
    return {
        "format": FORMAT,
        "title": graph.title,
        "loss": _source(graph.loss),
        "nodes": [
            {
                "k": n.k, "op": n.op, "name": n.name, "module": n.module, "inputs": [_source(s) for s in n.inputs],
                "attributes": {k: _attribute(v) for k, v in n.attributes.items()},
                "outputs": [v.to_dict(limit) for v in n.outputs], "role": n.role,
                "rule_of": None if n.rule_of is None else _name(n.rule_of), "check": _check(n.check),
            }
            for n in graph.nodes
        ],
        "leaves": [
            {
                "name": x.name, "kind": x.kind, "value": x.before.to_dict(limit), "requires_grad": x.requires_grad,
                "origin": _source(x.origin), "check": _check(x.check),
            }
            for x in graph.leaves
        ],
        "messages": [
            {
                "sender": None if m.sender is None else _name(m.sender), "argument": m.argument,
                "receiver": _name(m.receiver), "output": m.output, "value": m.result.to_dict(limit), "rule": m.rule,
                "formula": m.formula,
            }
            for m in messages
        ],
        "walks": walks,
        "updates": [{"op": u.op, "leaf": _name(u.leaf), "after": u.after.to_dict(limit)} for u in graph.updates],
    }  # fmt: skip


def from_dict(d: Any) -> Graph:
    """The graph that `to_dict` has written; the arrays of large tensors are None.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(d, dict) or d.get("format") != FORMAT:
        found = d.get("format") if isinstance(d, dict) else type(d).__name__
        raise ValueError(f"not an explanation: expected the format {FORMAT!r}, found {found!r}")
    try:
        return _read(d)
    except (KeyError, IndexError, TypeError, AttributeError) as problem:
        raise ValueError(f"a damaged explanation: {type(problem).__name__} {problem}") from problem


def _read(d: dict[str, Any]) -> Graph:
    nodes = [Node(n["k"], n["op"], n["name"], n["module"], role=n["role"]) for n in d["nodes"]]
    leaves = [Leaf(x["name"], x["kind"], Value.from_dict(x["value"]), x["requires_grad"], i)
              for i, x in enumerate(d["leaves"])]  # fmt: skip
    known: dict[str, Any] = {_name(v): v for v in nodes} | {_name(v): v for v in leaves}

    def source(s: Any) -> Source | None:
        return None if s is None else Source(known[s["from"]], s["output"], s["argument"], s["differentiable"])

    for node, n in zip(nodes, d["nodes"], strict=True):
        node.inputs = [source(s) for s in n["inputs"]]
        node.attributes = {k: _attribute_from(v) for k, v in n["attributes"].items()}
        node.outputs = [Value.from_dict(v) for v in n["outputs"]]
        node.rule_of = None if n["rule_of"] is None else known[n["rule_of"]]
        node.check = _check_from(n["check"])
    for leaf, x in zip(leaves, d["leaves"], strict=True):
        leaf.origin, leaf.check = source(x["origin"]), _check_from(x["check"])
    known[""] = None
    messages = [Message(known[m["sender"] or ""], m["argument"], known[m["receiver"]], m["output"],
                        Value.from_dict(m["value"]), m["rule"], m["formula"]) for m in d["messages"]]  # fmt: skip
    walks = []
    for w in d["walks"]:
        walk = Walk()
        for leaf in leaves:
            leaf.collected.append(None)
            leaf.received.append([])
        for v in w["visits"]:
            sums = [None if s is None else Value.from_dict(s) for s in v["sums"]]
            visit = Visit(
                known[v["node"]], sums, [messages[i] for i in v["received"]], [messages[i] for i in v["sent"]]
            )
            walk.visits.append(visit)
            visit.node.visits.append(visit)
        for x in w["leaves"]:
            leaf = known[x["leaf"]]
            leaf.collected[-1] = Value.from_dict(x["gradient"])
            leaf.received[-1] = [messages[i] for i in x["received"]]
            walk.leaves.append(leaf)
        walks.append(walk)
    updates = [Update(u["op"], known[u["leaf"]], Value.from_dict(u["after"])) for u in d["updates"]]
    return Graph(d["title"], nodes, leaves, walks, updates, source(d["loss"]))


def _name(vertex: Node | Leaf) -> str:
    return f"f{vertex.k}" if isinstance(vertex, Node) else f"v{vertex.index}"


def _source(s: Source | None) -> dict[str, Any] | None:
    if s is None:
        return None
    return {"from": _name(s.vertex), "output": s.output, "argument": s.argument, "differentiable": s.differentiable}


def _attribute(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_attribute(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.item() if isinstance(value, np.generic) else str(value)


def _attribute_from(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_attribute_from(v) for v in value)
    return float(value["float"]) if isinstance(value, dict) else value


def _check(check: Check | None) -> dict[str, Any] | None:
    if check is None:
        return None
    estimate, exact = (Value(np.asarray(a)).to_dict(1 << 30) for a in (check.estimate, check.exact))
    return {"direction": check.direction, "estimate": estimate, "exact": exact, "error": _attribute(float(check.error))}


def _check_from(d: Any) -> Check | None:
    if d is None:
        return None
    estimate, exact = (Value.from_dict(d[k]).array for k in ("estimate", "exact"))
    assert estimate is not None
    assert exact is not None
    return Check(d["direction"], estimate, exact, _attribute_from(d["error"]))


__all__ = ["FORMAT", "from_dict", "to_dict"]
