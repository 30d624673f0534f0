"""An explanation in LaTeX: leaves, the forward schedule and the reverse schedules as tables."""

from __future__ import annotations

from .formulas import describe, escaped, sum_symbol, symbol
from .graph import Graph, Leaf, Node
from .text import is_number
from .values import MINUS, Value, number

_HEAD = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,longtable,booktabs}
\usepackage[margin=2cm]{geometry}
\begin{document}
"""


def latex(graph: Graph, document: bool = True) -> str:
    """See :meth:`pyneural.explaining.Explanation.latex`."""
    rows = [rf"\section*{{{escaped(graph.title)}}}"]
    rows += _table("lll", ["leaf", "kind", "value"], [
        [f"${_symbol(x)}$", escaped(x.kind), _math(x.before)] for x in graph.leaves if not is_number(x)])  # fmt: skip
    rows += _table("lll", ["node", "call", "value"], [_call(n, i) for n in graph.nodes for i in range(len(n.outputs))])
    for i, walk in enumerate(graph.walks):
        reverse = []
        for visit in walk.visits:
            n = len(visit.sums)
            for k, total in enumerate(visit.sums):
                parts = [m.result for m in visit.received if m.output == k]
                formula = "" if len(parts) < 2 else " + ".join(_matrix(p) for p in parts) + " = "
                reverse.append([f"${sum_symbol(visit.node.k, k, n)}$", escaped(visit.node.op),
                                "none" if total is None else f"${formula}{_matrix(total)}$"])  # fmt: skip
            for m in visit.sent:
                reverse.append(
                    ["", rf"$\rightarrow {symbol(m.receiver, m.output)}$", f"${m.formula} = {_matrix(m.result)}$"]
                )
        rows += _table("lll", ["sum", "message to", "value"], reverse)
        collected = []
        for leaf in walk.leaves:
            value = leaf.collected[i]
            parts = [m.result for m in leaf.received[i]]
            formula = "" if len(parts) < 2 else " + ".join(_matrix(p) for p in parts) + " = "
            collected.append(
                [rf"$\partial L / \partial {_symbol(leaf)}$", f"${formula}{_matrix(value) if value else ''}$"]
            )
        rows += _table("ll", ["gradient", "value"], collected)
    body = "\n".join(rows) + "\n"
    return f"{_HEAD}{body}\\end{{document}}\n" if document else body


def _symbol(leaf: Leaf) -> str:
    return symbol(leaf)


def _call(node: Node, output: int) -> list[str]:
    inputs = [
        symbol(s.vertex, s.output, len(s.vertex.outputs) if isinstance(s.vertex, Node) else 1) for s in node.sources
    ]
    call = rf"$\mathrm{{{escaped(node.op)}}}({', '.join(inputs)})$"
    words = describe(node.attributes) if output == 0 else ""
    return [f"${symbol(node, output, len(node.outputs))}$", call + (f" {escaped(words)}" if words else ""),
            _math(node.outputs[output])]  # fmt: skip


def _table(columns: str, head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    lines = [rf"\begin{{longtable}}{{{columns}}}", r"\toprule", " & ".join(head) + r" \\ \midrule \endhead"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return [*lines, r"\bottomrule", r"\end{longtable}"]


def _math(value: Value) -> str:
    return f"${_matrix(value)}$"


def _matrix(value: Value) -> str:
    """Numbers as a matrix of at most 16 elements, else statistics."""
    a = value.array
    if a is not None and a.ndim <= 2 and 0 < a.size <= 16:
        if a.ndim == 0:
            return _number(a.item())
        rows = a.reshape(len(a), -1) if a.ndim == 2 else a.reshape(-1, 1)
        cells = r" \\ ".join(" & ".join(_number(x) for x in row) for row in rows.tolist())
        return rf"\begin{{pmatrix}} {cells} \end{{pmatrix}}"
    return rf"\text{{{escaped(value.line().replace(MINUS, '-'))}}}"


def _number(x: float | bool) -> str:
    if isinstance(x, bool):
        return rf"\mathrm{{{x}}}"
    text = number(x).replace(MINUS, "-")
    if text in ("inf", "-inf"):
        return text.replace("inf", r"\infty")
    if text == "nan":
        return r"\mathrm{NaN}"
    mantissa, e, power = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(power)}}}" if e else text


__all__ = ["latex"]
