"""Local derivative rules as formulas: the record's LaTeX with a graph's names put in, and LaTeX as MathML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.entities import html5
from typing import Any

from .graph import Leaf, Node

_TOKEN = re.compile(
    r"\\(?:mathrm|text|mathbf|operatorname|dot)\{[^{}]*\}|(?<![a-zA-Z])dy(?![a-zA-Z])|\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|[a-zA-Z]|[\s~]+|.",
    re.DOTALL,
)
_SIMPLE = re.compile(r"([A-Za-z])_?(\d*)")

# What records call these inputs in their formulas.
_LETTERS = {"weight": "W"}


def symbol(vertex: Node | Leaf, output: int = 0, outputs: int = 1) -> str:
    """A vertex in LaTeX: f_{3}, W_{1}, or a name in upright letters."""
    if isinstance(vertex, Node):
        return f"f_{{{vertex.k}}}" if outputs < 2 else f"f_{{{vertex.k},{output + 1}}}"
    return named(vertex.name)


def named(name: str) -> str:
    """A name in LaTeX: one letter with an optional number as a symbol, anything else upright."""
    found = _SIMPLE.fullmatch(name)
    if found:
        return found[1] + (f"_{{{found[2]}}}" if found[2] else "")
    if re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", name):
        return name
    return rf"\mathrm{{{escaped(name)}}}"


def escaped(text: str) -> str:
    """Text for LaTeX: what has a meaning there, escaped."""
    text = text.replace("\\", "/").replace("{", "(").replace("}", ")").replace("~", "-").replace("^", " ")
    text = text.replace("\N{PRIME}", "'")
    return re.sub(r"([_%&#$])", r"\\\1", text)


def sum_symbol(k: int, output: int = 0, outputs: int = 1) -> str:
    """t(k) in LaTeX."""
    return f"t_{{{k}}}" if outputs < 2 else f"t_{{{k},{output + 1}}}"


def filled(rule: str, names: Mapping[str, str]) -> str:
    """A record's rule with some of its letters replaced; in words (``\\text``) and names nothing is."""
    parts: list[str] = []
    tokens = _TOKEN.findall(rule)
    for i, token in enumerate(tokens):
        new = names.get(token)
        if token == r"\dot{y}":  # the gradient that a backward op is given is not its y
            new = names.get("dy")
        if token.startswith("\\mathrm{"):
            new = names.get(token[8:-1])
        if new is None:
            parts.append(token)
            continue
        after = tokens[i + 1] if i + 1 < len(tokens) else ""
        before = tokens[i - 1] if i else ""
        if after == "_":
            new = f"({new})"
        elif before in ("^", "_"):
            new = f"{{{new}}}"
        if parts and new[0].isalpha():
            if re.search(r"\\[a-zA-Z]+$", parts[-1]):
                new = " " + new
            elif parts[-1][-1:].isdigit():
                new = r"\," + new
        parts.append(new)
    return "".join(parts)


def letters(node: Node) -> dict[str, str]:
    """The letters of a record's rules and what they stand for at a node."""
    n = len(node.outputs)
    names: dict[str, str] = {}
    for source in node.sources:
        letter = _LETTERS.get(source.argument, source.argument)
        outputs = len(source.vertex.outputs) if isinstance(source.vertex, Node) else 1
        names.setdefault(letter, symbol(source.vertex, source.output, outputs))
    if n == 1:
        names |= {"g": sum_symbol(node.k), "y": symbol(node)}
    else:
        for i in range(n):
            names |= {f"g{i}": sum_symbol(node.k, i, n), f"y{i}": symbol(node, i, n)}
    return names


# ---- MathML ----

# LaTeX's names of signs are HTML's names of characters, but for these.
_NAMES = {"cdot": "sdot", "neg": "not", "ldots": "hellip", "dots": "hellip", "to": "rarr", "infty": "infin",
          "partial": "part", "varepsilon": "epsilon", "phi": "phiv", "lVert": "Vert", "rVert": "Vert"}  # fmt: skip
_FUNCTIONS = ("log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min", "det", "arg", "ln")
_SPACES = {",": 0.17, ";": 0.28, ":": 0.22, " ": 0.33, "!": -0.17, "quad": 1.0, "qquad": 2.0}
_ACCENTS = {"hat": "^", "bar": "\N{MACRON}", "tilde": "~", "overline": "\N{MACRON}"}


class _Reader:
    """A recursive reader of the LaTeX that records use."""

    def __init__(self, text: str) -> None:
        self.tokens = [t for t in _TOKEN.findall(text) if not t.isspace()]
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def row(self, end: str = "") -> str:
        parts = []
        while self.peek() != end:
            if not self.peek():
                raise ValueError(f"{end} is missing")
            parts.append(self.scripted())
        self.at += bool(end)
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self) -> str:
        base, low, high = self.atom(), "", ""
        while self.peek() in ("_", "^"):
            if self.take() == "_":
                low = self.atom()
            else:
                high = self.atom()
        if low and high:
            return f"<msubsup>{base}{low}{high}</msubsup>"
        return f"<msub>{base}{low}</msub>" if low else f"<msup>{base}{high}</msup>" if high else base

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            return self.row("}")
        if token.startswith("\\") and token.endswith("}") and token != "\\}":
            kind, _, words = token[1:-1].partition("{")
            words = html.escape(re.sub(r"\\(.)", r"\1", words))
            if kind == "dot":
                return f'<mover accent="true"><mi>{words}</mi><mo>&#729;</mo></mover>'
            if kind == "text":
                return f"<mtext>{words.replace(' ', '&#160;')}</mtext>"
            return f'<mi mathvariant="normal">{words}</mi>'
        if not token.startswith("\\"):
            if token[:1].isdigit():
                return f"<mn>{token}</mn>"
            if token.isalpha():
                return f"<mi>{html.escape(token)}</mi>"
            if not token or token in "}^_":
                raise ValueError(f"{token or 'the end'} in the wrong place")
            stretch = ' stretchy="false"' if token in "()[]|" else ""
            return f"<mo{stretch}>{html.escape(token.replace('-', chr(0x2212)))}</mo>"
        return self.command(token[1:])

    def command(self, name: str) -> str:
        if name == "frac":
            return f"<mfrac>{self.atom()}{self.atom()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.atom()}</msqrt>"
        if name in _ACCENTS:
            return f'<mover accent="true">{self.atom()}<mo>{_ACCENTS[name]}</mo></mover>'
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}em"></mspace>'
        if name in _FUNCTIONS:
            return f'<mi mathvariant="normal">{name}</mi><mspace width="0.1em"></mspace>'
        if name in ("left", "right"):
            return ""
        sign = html5.get(_NAMES.get(name, name) + ";")
        if sign is not None:
            return f"<mi>{sign}</mi>" if sign.isalpha() else f'<mo stretchy="false">{html.escape(sign)}</mo>'
        if name in ("#", "{", "}", "_", "%", "&", "$"):
            return f'<mo stretchy="false">{html.escape(name)}</mo>'
        raise ValueError(f"\\{name} is not known")


def mathml(latex: str) -> str:
    """A formula as MathML, which browsers typeset by themselves.

    Raises:
        ValueError: It uses LaTeX that is not known here.
    """
    reader = _Reader(latex)
    try:
        return f"<math>{reader.row()}</math>"
    except ValueError as problem:
        raise ValueError(f"cannot typeset {latex!r}: {problem}") from None


def describe(attributes: Mapping[str, Any]) -> str:
    """The attributes of a call in words, without those that are None or False."""
    return ", ".join(f"{k}={_short(v)}" for k, v in attributes.items() if v is not None and v is not False)


def _short(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 1:
        return f"({_short(value[0])},)"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(_short(v) for v in value) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["describe", "escaped", "filled", "letters", "mathml", "named", "sum_symbol", "symbol"]
