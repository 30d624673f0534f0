"""The result of ``pn.explain`` and its forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .graph import Graph, Leaf, Message, Node, Update, Walk
from .values import FEW

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Explanation:
    """A computation graph and its reverse schedule.

    ``e[3]`` is the node f(3), ``e["W1"]`` the leaf or the node of that name. ``print(e)`` shows all of it.

    Attributes:
        graph: The data behind all forms.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @property
    def title(self) -> str:
        """What was explained."""
        return self.graph.title

    @property
    def nodes(self) -> list[Node]:
        """The calls f(1), f(2), ... in the order in which they ran."""
        return self.graph.nodes

    @property
    def leaves(self) -> list[Leaf]:
        """Parameters, inputs and constants, in the order of their first use."""
        return self.graph.leaves

    @property
    def walks(self) -> list[Walk]:
        """The walks back: one, or as many as a training step makes."""
        return self.graph.walks

    @property
    def updates(self) -> list[Update]:
        """What a training step has changed in place."""
        return self.graph.updates

    @property
    def messages(self) -> list[Message]:
        """Every message of the last walk, in the order in which they were sent."""
        return list(self.graph.messages())

    @property
    def schedule(self) -> list[str]:
        """Both schedules as labels: ``f(1), ..., f(n), t(n), ..., t(1)``."""
        return [n.label for n in self.nodes] + [f"t({v.node.k})" for w in self.walks for v in w.visits]

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            if not 1 <= key <= len(self.nodes):
                raise IndexError(f"there is no f({key}); the forward schedule has f(1) to f({len(self.nodes)})")
            return self.nodes[key - 1]
        found: list[Any] = [x for x in self.leaves if x.name == key] or [n for n in self.nodes if n.name == key]
        if not found:
            known = [x.name for x in self.leaves] + [n.name for n in self.nodes if n.name]
            raise KeyError(
                f"there is no leaf or node named {key!r}; there are {', '.join(map(repr, dict.fromkeys(known)))}"
            )
        return found[-1]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"<explanation of {self.title}: {len(self.nodes)} calls, {len(self.leaves)} leaves>"

    def __str__(self) -> str:
        return self.text()

    # ---- forms ----

    def text(self, digits: int = 5) -> str:
        """Both schedules for the terminal; numbers get so many digits."""
        from .text import text

        return text(self.graph, digits)

    def figure(
        self, *, values: bool = True, messages: bool = True, formulas: bool = False, title: str | None = None
    ) -> Figure:
        """The graph as a picture: values above the edges, messages below them; many nodes are folded by module.

        Args:
            values, messages: Whether the numbers are shown.
            formulas: Write each call's local rule below its box.
            title: Above the picture; default: what was explained.
        """
        from .picture import picture

        return picture(self.graph, values=values, messages=messages, formulas=formulas, title=title)

    def latex(self, *, document: bool = True) -> str:
        """Both schedules as tables in LaTeX; document=False: without preamble, to be put into one (needs longtable)."""
        from .latex import latex

        return latex(self.graph, document)

    def to_dict(self, limit: int = FEW) -> dict[str, Any]:
        """Everything as plain data; tensors of more than `limit` elements as statistics and a small picture."""
        from .portable import to_dict

        return to_dict(self.graph, limit)

    def to_json(self, limit: int = FEW) -> str:
        """Everything as JSON; see :meth:`to_dict`. Floats keep every bit."""
        return json.dumps(self.to_dict(limit), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """An explanation from what :meth:`to_json` has written; arrays beyond its limit are None.

        Raises:
            ValueError: The text is not such a file.
        """
        from .portable import from_dict

        return cls(from_dict(json.loads(text)))

    def html(self) -> str:
        """A page that needs nothing else, in which one steps forward and backward through the schedules."""
        from .page import page

        return page(self.graph)

    def save(self, path: Any) -> Path:
        """Writes the form that the suffix names: .html, .json, .txt, .tex, or a picture (.svg, .png, .pdf).

        Raises:
            ValueError: An unknown suffix.
        """
        file = Path(path)
        kind = file.suffix.lower()
        forms: dict[str, Any] = {".html": self.html, ".json": self.to_json, ".txt": self.text, ".tex": self.latex}
        if kind in forms:
            file.write_text(forms[kind](), encoding="utf-8")
        elif kind in (".svg", ".png", ".pdf"):
            self.figure().savefig(file)
        else:
            raise ValueError(
                f"save: {file.name} has no known suffix; .html, .json, .txt, .tex, .svg, .png and .pdf are"
            )
        return file


__all__ = ["Explanation"]
