"""What an explanation consists of: nodes, leaves, messages, the walks back, and the updates of a training step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .values import Value


@dataclass(eq=False, repr=False)
class Check:
    """Central differences beside autodiff, computed in float64 by running the recorded calls again.

    Attributes:
        direction: False: one difference per element. True: too many for that; both are along one random direction.
        estimate: By differences: an array of the tensor's shape, or one number.
        exact: What autodiff says, in the same form.
        error: The largest distance, divided by the larger of 1 and the largest absolute value of `exact`.
    """

    direction: bool
    estimate: np.ndarray
    exact: np.ndarray
    error: float


@dataclass(eq=False, repr=False)
class Vertex:
    """What nodes and leaves have in common."""

    @property
    def label(self) -> str:
        """``f(3)`` or a leaf's name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.label}>"


@dataclass(eq=False, repr=False)
class Message:
    """What one call sends back to one of its inputs.

    Attributes:
        sender: The node whose rule made it; None for the gradient that a walk starts with.
        argument: The name of the input in the op's record.
        receiver, output: The node or leaf that it goes to, and which output of the node.
        result: The numbers.
        rule: The local derivative rule of the op's record, LaTeX without dollars.
        formula: The rule with the names of this graph put in.
    """

    sender: Node | None
    argument: str
    receiver: Node | Leaf
    output: int
    result: Value
    rule: str = ""
    formula: str = ""

    @property
    def value(self) -> np.ndarray | None:
        """The numbers as an array."""
        return self.result.array

    def __repr__(self) -> str:
        return f"<message {self.label} to {self.receiver.label}: {self.result.line()}>"

    @property
    def label(self) -> str:
        """Where it comes from: ``f(4)`` or ``f(4).a``."""
        if self.sender is None:
            return "start"
        alone = sum(1 for s in self.sender.inputs if s is not None and s.vertex is self.receiver) < 2
        return self.sender.label if alone else f"{self.sender.label}.{self.argument}"


@dataclass(eq=False, repr=False)
class Source:
    """Where an input of a call comes from. `differentiable`: a message goes back."""

    vertex: Node | Leaf
    output: int
    argument: str
    differentiable: bool


@dataclass(eq=False, repr=False)
class Leaf(Vertex):
    """A tensor that the computation found: a parameter, an input, a constant.

    Attributes:
        name: Variable, path in a module, or the number itself.
        kind: "parameter", "input", "constant", "detached" (made by a node, but off the tape) or "unknown" (a constant
            that the tape has not kept).
        before: Its numbers when it was first used.
        requires_grad: Whether a gradient is collected.
        collected: For each walk back its gradient, None where the walk did not reach it.
        received: For each walk the messages, in the order in which they were added up.
    """

    name: str
    kind: str
    before: Value
    requires_grad: bool
    index: int = 0
    origin: Source | None = None
    collected: list[Value | None] = field(default_factory=list)
    received: list[list[Message]] = field(default_factory=list)
    check: Check | None = None

    @property
    def label(self) -> str:
        return self.name

    @property
    def value(self) -> np.ndarray | None:
        """The numbers as an array."""
        return self.before.array

    @property
    def messages(self) -> list[Message]:
        """The messages of the last walk that reached the leaf."""
        return next((m for m in reversed(self.received) if m), [])

    @property
    def gradient(self) -> np.ndarray | None:
        """The gradient that the last walk has collected, or None."""
        found = next((c for c in reversed(self.collected) if c is not None), None)
        return None if found is None else found.array


@dataclass(eq=False, repr=False)
class Node(Vertex):
    """One call of an op: f(k) in the forward schedule.

    Attributes:
        k: Its number, from 1.
        op: The op's name.
        name: The variable that its result was bound to, or "".
        module: The dotted path of the module whose forward made the call, or "".
        inputs: For each input of the op where it comes from, None where it was left out.
        attributes: The other arguments by name.
        outputs: What it gave.
        role: In the graph of a gradient: what it is there, as ``t(3)`` or ``dW``; else "".
        rule_of: In the graph of a gradient: the node whose rule made the call, else None.
    """

    k: int
    op: str
    name: str = ""
    module: str = ""
    inputs: list[Source | None] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: list[Value] = field(default_factory=list)
    role: str = ""
    rule_of: Node | None = None
    visits: list[Visit] = field(default_factory=list)
    check: Check | None = None

    @property
    def label(self) -> str:
        return f"f({self.k})"

    @property
    def sources(self) -> list[Source]:
        """The inputs that are there."""
        return [s for s in self.inputs if s is not None]

    @property
    def value(self) -> np.ndarray | None:
        """The (first) result as an array; None if the tape has not kept it."""
        return self.outputs[0].array

    @property
    def visit(self) -> Visit | None:
        """Its place in the last walk that reached it."""
        return self.visits[-1] if self.visits else None

    @property
    def t(self) -> np.ndarray | None:
        """t(k): the sum of the messages to its (first) result, as an array; None if no walk came by."""
        if not self.visits or self.visits[-1].sums[0] is None:
            return None
        return self.visits[-1].sums[0].array

    @property
    def messages(self) -> list[Message]:
        """The messages that it receives in the last walk, in the order in which they were added up."""
        return self.visits[-1].received if self.visits else []

    @property
    def sent(self) -> list[Message]:
        """The messages that it sends to its inputs in the last walk."""
        return self.visits[-1].sent if self.visits else []


@dataclass(eq=False, repr=False)
class Visit:
    """One step of a reverse schedule: the messages that came to a node, their sum t(k), and what it sends on.

    `sums` has one entry per output of the node, None where nothing came.
    """

    node: Node
    sums: list[Value | None]
    received: list[Message] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Walk:
    """One walk back: its visits in order, and the leaves that got a gradient."""

    visits: list[Visit] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class Update:
    """A write in place, as an optimiser's: the op, the leaf, and its numbers afterwards."""

    op: str
    leaf: Leaf
    after: Value


@dataclass(eq=False, repr=False)
class Graph:
    """All of it, in order. `loss` is where the last walk starts."""

    title: str
    nodes: list[Node]
    leaves: list[Leaf]
    walks: list[Walk]
    updates: list[Update]
    loss: Source | None

    def messages(self) -> Iterator[Message]:
        """Every message of the last walk, in order."""
        for visit in self.walks[-1].visits if self.walks else ():
            yield from visit.sent


__all__ = ["Check", "Graph", "Leaf", "Message", "Node", "Source", "Update", "Visit", "Walk"]
