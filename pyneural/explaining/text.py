"""An explanation as text for the terminal."""

from __future__ import annotations

from .formulas import describe
from .graph import Check, Graph, Leaf, Node, Visit
from .values import Value, number

_ARROW = "\N{LEFTWARDS ARROW}"


def text(graph: Graph, digits: int = 5) -> str:
    """The leaves, the forward schedule, each reverse schedule, and the updates."""
    parts = [_heading(graph), *_leaves(graph, digits), *_forward(graph, digits)]
    for i, walk in enumerate(graph.walks, 1):
        which = f" {i}" if len(graph.walks) > 1 else ""
        parts += ["", f"reverse schedule{which}"]
        for visit in walk.visits:
            parts += _visit(visit, digits)
        if walk.leaves:
            parts += ["", f"collected gradients{which}"]
        for leaf in walk.leaves:
            parts += _collected(leaf, graph.walks.index(walk), digits)
    if graph.updates:
        parts += ["", "updates in place"]
        for u in graph.updates:
            parts.append(f"  {u.op}  {u.leaf.name} = {u.after.line(digits)}")
    return "\n".join(parts)


def _heading(graph: Graph) -> str:
    steps = sum(len(w.visits) for w in graph.walks)
    return f"{graph.title}: {len(graph.nodes)} calls forward, {steps} steps back"


def _leaves(graph: Graph, digits: int) -> list[str]:
    shown = [x for x in graph.leaves if not is_number(x)]
    if not shown:
        return []
    wide = max(len(x.name) for x in shown)
    return ["", "leaves", *(f"  {x.name:<{wide}}  {x.kind:<9}  {x.before.line(digits)}" for x in shown)]


def is_number(leaf: Leaf) -> bool:
    """A constant whose name says all there is to say."""
    return leaf.kind == "constant" and leaf.before.size == 1 and leaf.name == leaf.before.line()


def call_text(node: Node) -> str:
    """A call as code: ``linear(x, W, b)``."""
    inputs = []
    for s in node.inputs:
        inputs.append("None" if s is None else s.vertex.label + (f"[{s.output}]" if _several(s.vertex) else ""))
    attributes = describe(node.attributes)
    return f"{node.op}({', '.join(inputs)}{'; ' + attributes if attributes else ''})"


def _several(vertex: Node | Leaf) -> bool:
    return isinstance(vertex, Node) and len(vertex.outputs) > 1


def _forward(graph: Graph, digits: int) -> list[str]:
    lines = ["", "forward schedule"]
    module = ""
    calls = [call_text(n) for n in graph.nodes]
    wide = min(max(map(len, calls), default=0), 44)
    for node, call in zip(graph.nodes, calls, strict=True):
        if node.module != module:
            module = node.module
            lines.append(f"  {module or '(outside of modules)'}")
        of = "".join(f"  {w}" for w in (node.name and f"[{node.name}]", node.role and f"[{node.role}]") if w)
        rule = f"  (rule of {node.rule_of.label})" if node.rule_of is not None and not node.role else ""
        for i, value in enumerate(node.outputs):
            label = node.label if len(node.outputs) == 1 else f"{node.label}[{i}]"
            shown = f"{call:<{wide}}" if i == 0 else " " * wide
            lines.append(f"  {label:<6} {shown} = {value.line(digits)}{of}{rule if i == 0 else ''}")
    return lines


def _visit(visit: Visit, digits: int) -> list[str]:
    node, lines = visit.node, []
    for k, total in enumerate(visit.sums):
        received = [m for m in visit.received if m.output == k]
        label = f"t({node.k})" if len(visit.sums) == 1 else f"t({node.k})[{k}]"
        line = "none" if total is None else total.line(digits)
        name = f" [{node.name}]" if node.name else ""
        lines.append(f"  {label:<6} {node.op}{name} = {line}{_checked(node.check if k == 0 else None)}")
        if len(received) > 1:
            lines += [f"           + from {m.label}: {m.result.line(digits)}" for m in received]
    for m in visit.sent:
        lines.append(f"         {m.receiver.label} {_ARROW} {plain(m.formula)} = {m.result.line(digits)}")
    return lines


def _collected(leaf: Leaf, walk: int, digits: int) -> list[str]:
    value = leaf.collected[walk]
    lines = [f"  d{leaf.name} = {value.line(digits) if isinstance(value, Value) else 'none'}{_checked(leaf.check)}"]
    if len(leaf.received[walk]) > 1:
        lines += [f"           + from {m.label}: {m.result.line(digits)}" for m in leaf.received[walk]]
    return lines


def _checked(check: Check | None) -> str:
    if check is None:
        return ""
    way = "along one direction " if check.direction else ""
    return f"   differences {way}off by {number(check.error, 2)}"


def plain(latex: str) -> str:
    """A formula in plain characters, for the terminal: ``f(3)*(1 - f(3)) t(4)``."""
    import re

    s = re.sub(r"f_\{(\d+)(?:,(\d+))?\}", lambda m: f"f({m[1]})" + (f"[{int(m[2]) - 1}]" if m[2] else ""), latex)
    s = re.sub(r"t_\{(\d+)(?:,(\d+))?\}", lambda m: f"t({m[1]})" + (f"[{int(m[2]) - 1}]" if m[2] else ""), s)
    s = re.sub(r"\\(?:mathrm|text|mathbf|operatorname)\{([^{}]*)\}", r"\1", s)
    for _ in range(3):
        s = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", s)
        s = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", s)
        s = re.sub(r"([_^])\{([^{}]*)\}", lambda m: m[1] + (m[2] if len(m[2]) < 2 else f"({m[2]})"), s)
    s = re.sub(r"([A-Za-z])_(\d+)\b", r"\1\2", s)
    for word, sign in _PLAIN.items():
        s = re.sub(rf"\\{word}(?![a-zA-Z])", sign, s)
    s = re.sub(r"\\[,;:! ]", " ", s)
    s = re.sub(r"\\([#{}_%&$])", r"\1", s)
    return re.sub(r"\s+", " ", s.replace("\\", "").replace("{", "").replace("}", "")).strip()


_PLAIN = {"sum": "sum", "prod": "prod", "leq": "<=", "le": "<=", "geq": ">=", "ge": ">=", "neq": "!=", "ne": "!=",
          "neg": "not ", "sigma": "sigma", "cdot": "*", "times": "*", "lfloor": "floor(", "rfloor": ")",
          "left": "", "right": "", "odot": "*"}  # fmt: skip

__all__ = ["call_text", "is_number", "plain", "text"]
