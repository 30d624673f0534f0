"""Sphinx's settings, and two directives of our own for the reference: a module's public names, and the op records.

pip install ".[docs]" && python -m sphinx -W docs build/docs
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
import types
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective, SphinxRole

import pyneural as pn
from pyneural.explaining.formulas import mathml
from pyneural.ops.record import RECORDS, Record

project = "pyneural"
copyright = "the authors of pyneural"
version = release = pn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"pyneural {version}"
html_copy_source = False
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings say it, with shapes
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False


NAPOLEON = Config(napoleon_use_rtype=False, napoleon_preprocess_types=False)


def public_names(module: types.ModuleType) -> list[str]:
    """What a module offers: its ``__all__``, or the functions and classes that it has taken from the package."""
    if hasattr(module, "__all__"):
        return [n for n in module.__all__ if not isinstance(getattr(module, n), types.ModuleType)]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or callable(value))
        and str(getattr(value, "__module__", "")).startswith("pyneural")
    ]


class PublicNames(SphinxDirective):
    """``.. public-names:: pyneural.nn`` documents every public name of a module, those in the content excepted."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(self.arguments[0])
        without = set(" ".join(self.content).split())
        lines: list[str] = []
        for name in public_names(module):
            value = getattr(module, name)
            if name in without or not callable(value):
                continue
            kind = "autoclass" if inspect.isclass(value) else "autofunction"
            lines += [f".. {kind}:: {module.__name__}.{name}"]
            lines += ["   :members:", ""] if kind == "autoclass" else [""]
        return self.parse_text_to_nodes("\n".join(lines))


def describe(record: Record) -> str:
    """One op as reStructuredText: call, docstring, local gradient rules, and the reference that it is held to."""
    names = [f"{n[:-1]}=None" if n.endswith("?") else n for n in record.inputs]
    function: Any = getattr(pn, record.name, record.function)
    try:
        call = str(inspect.signature(function)).split(" -> ")[0]
        call = ", ".join(
            p.split(":")[0] + ("=" + p.split("=")[1].strip() if "=" in p else "") for p in split(call[1:-1])
        )
    except (TypeError, ValueError):
        call = ", ".join([*names, *record.attributes])
    text = [f".. py:function:: {record.name}({call})", "   :noindex:", ""]
    doc = GoogleDocstring(inspect.cleandoc(function.__doc__ or record.function.__doc__ or ""), NAPOLEON).lines()
    escape(doc)
    text += textwrap.indent("\n".join(doc), "   ").splitlines()
    for name, rule in record.formula.items():
        escaped = rule.replace("\\", "\\\\")  # a role's text has its own escapes
        text += ["", f"   Message to ``{name}``, from the gradient :mathml:`g` of the result: :mathml:`{escaped}`"]
    return "\n".join(text)


def split(arguments: str) -> list[str]:
    """The arguments of a signature's text, not cut inside brackets."""
    parts, depth, begin = [], 0, 0
    for i, c in enumerate(arguments):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(arguments[begin:i].strip())
            begin = i + 1
    return [*parts, arguments[begin:].strip()] if arguments.strip() else []


class MathML(SphinxRole):
    """A formula as MathML, which browsers draw by themselves: pages need nothing from the network."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.raw(self.text, mathml(self.text), format="html")], []


class Ops(SphinxDirective):
    """``.. op-records::`` documents every op that has a record, in alphabetical order."""

    def run(self) -> list[nodes.Node]:
        public = [RECORDS[name] for name in sorted(RECORDS) if name in pn.ops.__all__]
        return self.parse_text_to_nodes("\n\n".join(map(describe, public)))


LITERAL = re.compile(r"(^\s*:[^:`]+:|^\s*\.\. .*|``.+?``|:\w+:`.+?`|`.+?`)")  # and the names of fields
MARKUP = re.compile(r"(?<!\\)(\*|\||(?<=\w)_(?!\w))")


def escape(lines: list[str]) -> None:
    """The docstrings are plain text but for names in backticks: a star, a bar or a final underscore is itself."""
    for i, line in enumerate(lines):
        parts = LITERAL.split(line)
        parts[::2] = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
        lines[i] = "".join(parts)


def list_attributes(lines: list[str]) -> None:
    """A section of attributes as a list: napoleon takes several names for a name and its type."""
    if "Attributes:" not in lines:
        return
    begin = lines.index("Attributes:")
    end = begin + 1
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    made = ["", ":Attributes:", ""]
    for line in lines[begin + 1 : end]:
        names, colon, text = line.strip().partition(": ")
        if line.startswith("    ") and not line.startswith("     ") and colon:
            line = "    - " + ", ".join(f"``{name}``" for name in names.split(", ")) + ": " + text
        elif line:
            line = "      " + line.strip()
        made.append(line)
    lines[begin:end] = [*made, ""]


def setup(app: Sphinx) -> None:
    app.connect(
        "autodoc-process-docstring", lambda app, what, name, thing, options, lines: list_attributes(lines), priority=400
    )
    app.connect("autodoc-process-docstring", lambda app, what, name, thing, options, lines: escape(lines), priority=600)
    app.add_directive("public-names", PublicNames)
    app.add_directive("op-records", Ops)
    app.add_role("mathml", MathML())
