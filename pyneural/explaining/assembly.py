"""From what a recorder has heard to a graph: what counts is kept, numbered, named, and joined by messages."""

from __future__ import annotations

from typing import Any

from ..ops.record import RECORDS
from . import formulas
from .graph import Graph, Leaf, Message, Node, Source, Update, Visit, Walk
from .recorder import Call, Found, Heard, Recorder


def assemble(recorder: Recorder, results: list[Any], title: str) -> Graph:
    """The graph of everything that the walks' starts and the results depend on.

    Args:
        recorder: Has heard at least one walk back.
        results: Tensors that the computation gave.
        title: What is explained.
    """
    return _Assembly(recorder, results).graph(title)


class _Assembly:
    def __init__(self, recorder: Recorder, results: list[Any]) -> None:
        self.recorder = recorder
        self.nodes: dict[int, Node] = {}
        self.leaves: dict[int, Leaf] = {}
        self.by_tensor: dict[int, Leaf] = {}
        starts = [r for walk in recorder.walks for r in walk.roots]  # the last walk is never a recorded one
        starts += [made for made in map(recorder.made_by, results) if made is not None]
        self.calls = _needed(recorder.calls, starts)
        for k, call in enumerate(self.calls, 1):
            self.nodes[id(call)] = Node(k, call.op.name)
        for call in self.calls:
            self._fill(call)
        for root, _ in starts:
            if isinstance(root, Found):
                self._leaf(root)

    def graph(self, title: str) -> Graph:
        for heard in self.recorder.walks:
            if heard.recorded:  # its calls are nodes: what it has collected gives them their names
                self.by_tensor.update({id(t): self._leaf(self.recorder.source(t)[0]) for t, _ in heard.leaves})
        walks = [self._walk(heard) for heard in self.recorder.walks if not heard.recorded]
        self._roles()
        last = self.recorder.walks[-1].roots[0]
        loss = Source(self._vertex(last[0]), last[1], "", True)
        nodes = [self.nodes[id(c)] for c in self.calls]
        leaves = list(self.leaves.values())
        _name_apart(leaves)
        _put_names_in(nodes)
        updates = [
            Update(op, self.leaves[id(f)], after) for op, f, after in self.recorder.updates if id(f) in self.leaves
        ]
        return Graph(title, nodes, leaves, walks, updates, loss)

    def _fill(self, call: Call) -> None:
        node = self.nodes[id(call)]
        record = RECORDS[call.op.name]
        names = call.op.inputs
        node.name, node.module = call.name or self.recorder.variable(call), call.module
        node.attributes = dict(zip(record.attributes, call.attributes, strict=True))
        node.outputs = call.values
        node.rule_of = self.nodes.get(id(call.rule_of))
        goes_back = call.tape.sources if call.tape is not None else (None,) * len(call.sources)
        for i, (source, back) in enumerate(zip(call.sources, goes_back, strict=True)):
            if source is None:
                node.inputs.append(None)
                continue
            argument = f"{names[0]}[{i}]" if call.op.variadic else names[i]
            node.inputs.append(Source(self._vertex(source[0]), source[1], argument, back is not None))
            if isinstance(source[0], Found) and source[0].kind == "constant" and len(argument) > 2:
                self.leaves[id(source[0])].name = self.leaves[id(source[0])].name or argument  # a dropout's key

    def _vertex(self, thing: Call | Found) -> Node | Leaf:
        return self.nodes[id(thing)] if isinstance(thing, Call) else self._leaf(thing)

    def _leaf(self, found: Found) -> Leaf:
        leaf = self.leaves.get(id(found))
        if leaf is None:
            name = self.recorder.name_of(found)
            requires = found.tensor is not None and bool(found.tensor.requires_grad) and found.origin is None
            leaf = Leaf(name, found.kind, found.value, requires, len(self.leaves))
            self.leaves[id(found)] = leaf
            if found.origin is not None and id(found.origin[0]) in self.nodes:
                leaf.origin = Source(self.nodes[id(found.origin[0])], found.origin[1], "", False)
        return leaf

    def _walk(self, heard: Heard) -> Walk:
        walk = Walk()
        for leaf in self.leaves.values():
            leaf.received.append([])
            leaf.collected.append(None)
        waiting: dict[int, list[Message]] = {}
        for (root, output), start in zip(heard.roots, heard.starts, strict=True):
            receiver = self._vertex(root)
            self._deliver(Message(None, "", receiver, output, start), waiting)
        reached: dict[int, Leaf] = {}
        for call, sums, messages in heard.visits:
            node = self.nodes[id(call)]
            visit = Visit(node, sums, waiting.pop(id(node), []))
            walk.visits.append(visit)
            node.visits.append(visit)
            for source, tensor, message in zip(node.inputs, call.tape.sources, messages, strict=True):
                if source is None or tensor is None or message is None:
                    continue
                argument = source.argument.partition("[")[0]
                sent = Message(node, source.argument, source.vertex, source.output, message,
                               RECORDS[node.op].formula.get(argument, ""))  # fmt: skip
                visit.sent.append(sent)
                self._deliver(sent, waiting)
                if isinstance(source.vertex, Leaf):
                    reached.setdefault(id(tensor[0]), source.vertex)
        for tensor, gradient in heard.leaves:
            leaf = reached.get(id(tensor)) or self._leaf(self.recorder.source(tensor)[0])
            leaf.collected[-1] = gradient
            walk.leaves.append(leaf)
        return walk

    @staticmethod
    def _deliver(message: Message, waiting: dict[int, list[Message]]) -> None:
        if isinstance(message.receiver, Leaf):
            message.receiver.received[-1].append(message)
        else:
            waiting.setdefault(id(message.receiver), []).append(message)

    def _roles(self) -> None:
        """In the graph of a gradient: which node's sum, or which leaf's gradient, a call has computed."""
        for call in self.calls:
            words = []
            for kind, of in call.roles:
                if kind == "t":
                    words.append(f"t({self.nodes[id(of[0])].k})")
                elif id(of) in self.by_tensor:
                    words.append(f"d{self.by_tensor[id(of)].name}")
            self.nodes[id(call)].role = " = ".join(dict.fromkeys(words[:3]))


def _needed(calls: list[Call], starts: list[tuple[Any, int]]) -> list[Call]:
    """The calls behind the starts, in the order in which they were made."""
    todo = [s[0] for s in starts if isinstance(s[0], Call)]
    seen = {id(c) for c in todo}
    while todo:
        call = todo.pop()
        for source in call.sources:
            before = None if source is None else source[0]
            if isinstance(before, Found) and before.origin is not None:
                before = before.origin[0]
            if isinstance(before, Call) and id(before) not in seen:
                seen.add(id(before))
                todo.append(before)
    return [c for c in calls if id(c) in seen]


def _name_apart(leaves: list[Leaf]) -> None:
    """Gives every leaf a name, and every variable one of its own."""
    taken: dict[str, Leaf] = {}
    constants = 0
    for i, leaf in enumerate(leaves):
        leaf.index = i
        if not leaf.name and leaf.origin is not None:
            leaf.name = f"f({leaf.origin.vertex.k}) detached" if isinstance(leaf.origin.vertex, Node) else ""
        if not leaf.name:
            constants += 1
            leaf.name = f"c{constants}"
        if leaf.kind == "constant" and leaf.before.size == 1:
            continue
        while leaf.name in taken:
            leaf.name += "\N{PRIME}"
        taken[leaf.name] = leaf


def _put_names_in(nodes: list[Node]) -> None:
    for node in nodes:
        names = formulas.letters(node)
        for visit in node.visits:
            for message in visit.sent:
                own = names
                if message.argument.endswith("]"):
                    own = names | {
                        message.argument.partition("[")[0]: formulas.symbol(message.receiver, message.output)
                    }
                message.formula = formulas.filled(message.rule, own)


__all__ = ["assemble"]
