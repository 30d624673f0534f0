"""What is heard while a computation runs: calls, walks back, writes in place; and the same off an existing tape."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from .. import _engine
from ..autodiff import no_grad
from ..nn.parameter import Parameter
from .values import Value, number

_ROOT = str(Path(__file__).resolve().parents[1])
_EXPERIMENTS = str(Path(_ROOT, "experiments"))


class Found:
    """A tensor that no recorded call has made."""

    __slots__ = ("tensor", "value", "kind", "name", "origin", "version")

    def __init__(self, tensor: Any, value: Value, kind: str, name: str = "") -> None:
        self.tensor, self.value, self.kind, self.name = tensor, value, kind, name
        self.origin: tuple[Any, int] | None = None  # of a detached one: the call
        self.version = -1 if tensor is None else tensor._version


class Call:
    """One call of an op. `sources`: for each input (Call or Found, output), or None."""

    __slots__ = ("op", "sources", "attributes", "values", "tensors", "tape", "module", "name", "roles", "rule_of")

    def __init__(self, op: Any, sources: list, attributes: tuple, tape: Any) -> None:
        self.op, self.sources, self.attributes, self.tape = op, sources, attributes, tape
        self.values: list[Value] = []
        self.tensors: list[Any] = []
        self.module, self.name = "", ""
        self.roles: list[tuple[str, Any]] = []
        self.rule_of: Call | None = None


class Heard:
    """One walk back, as it happened: per node (call, sums, messages), then the leaves with their gradients.

    `recorded`: the walk was put on the tape, to be differentiated itself.
    """

    def __init__(self, roots: list, starts: list[Value], recorded: bool) -> None:
        self.roots, self.starts, self.recorded = roots, starts, recorded
        self.visits: list[tuple[Call, list[Value | None], list[Value | None]]] = []
        self.leaves: list[tuple[Any, Value]] = []


class Recorder:
    """Listens to this thread's calls and walks; see ``_engine.listen``.

    Args:
        names: Known tensors and their names.
        modules: Modules with their paths, which are noted while their forward runs.
        inputs: Tensors that the computation is called with.
    """

    def __init__(
        self, names: Iterable[tuple[Any, str]], modules: Iterable[tuple[Any, str]], inputs: Iterable[Any]
    ) -> None:
        self.calls: list[Call] = []
        self.found: list[Found] = []
        self.walks: list[Heard] = []
        self.updates: list[tuple[str, Found, Value]] = []
        self.stack: list[str] = []
        self._walk: Heard | None = None
        self._inner = 0  # walks within a walk
        self._rules = 0  # where in `calls` the current rule's calls begin
        self._graph = False  # is the walk itself recorded
        self._made: dict[int, tuple[Call, int, int]] = {}
        self._tape: dict[Any, Call] = {}
        self._leaves: dict[tuple[int, int], Found] = {}
        self._addresses: dict[tuple, Any] = {}
        self._names: dict[int, tuple[Any, str]] = {}
        self._frames: list[FrameType] = []
        self._held: list[Any] = []  # tensors that others have ids of
        self._inputs = {id(t): t for t in inputs}
        self._modules = list(modules)
        self._places: dict[tuple, Any] = {}  # where named leaves lie: the tape keeps tensors of its own on their memory
        for tensor, name in names:
            self._names.setdefault(id(tensor), (tensor, name))
            if tensor.grad_fn is None and tensor.numel():
                self._places.setdefault(_place(tensor), tensor)

    @contextmanager
    def listening(self) -> Any:
        """Within it this thread's calls are heard."""
        hooks = []
        thread = threading.get_ident()
        for module, path in self._modules:
            hooks.append(module.register_forward_pre_hook(self._enters(thread, path)))
            hooks.append(module.register_forward_hook(self._leaves_module(thread)))
        before = _engine.listen(self)
        try:
            yield self
        finally:
            _engine.listen(before)
            for hook in hooks:
                hook.remove()
            self._look_at_variables()
            self._frames.clear()

    def _enters(self, thread: int, path: str) -> Any:
        def enter(module: Any, args: tuple) -> None:
            if threading.get_ident() == thread:
                self.stack.append(path)

        return enter

    def _leaves_module(self, thread: int) -> Any:
        def leave(module: Any, args: tuple, out: Any) -> None:
            if threading.get_ident() == thread:
                self.stack.pop()

        return leave

    # ---- what the engine tells ----

    def called(self, op: Any, inputs: tuple, attributes: tuple, outputs: tuple) -> None:
        """After each call of an op."""
        if self._walk is not None and not self._graph:
            return
        self._note_variables()
        self._written(op, inputs)
        if not outputs:
            return
        sources = [None if t is None else self.source(t) for t in inputs]
        tape = next((t.grad_fn for t in outputs if t.grad_fn is not None), None)
        if tape is None and all(s is None or self._nameless(s[0]) for s in sources):
            return  # arithmetic on numbers: what it gives is a constant of the computation
        if tape is None and op.name == "cast" and isinstance(sources[0][0], Found):  # type: ignore[index]
            first = sources[0][0]  # type: ignore[index]
            twin = Found(outputs[0], Value.of(outputs[0]), first.kind, first.name)
            self._keep(twin)
            self._names.setdefault(id(outputs[0]), (outputs[0], self.name_of(first)))
            return
        call = Call(op, sources, attributes, tape)
        call.module = self.stack[-1] if self.stack else ""
        self._add(call, list(outputs))

    def walk_begins(self, roots: list, gradients: list, create_graph: bool) -> None:
        """Before the first node of a walk. One that a rule makes within another is part of that rule."""
        if self._walk is not None:
            self._inner += 1
            return
        self._walk = Heard([self.source(r) for r in roots], [Value.of(g) for g in gradients], create_graph)
        self._graph = create_graph
        self._rules = len(self.calls)

    def walked(self, tape: Any, arrived: list, messages: list) -> None:
        """After the rules of a node."""
        if self._inner:
            return
        walk = self._walk
        assert walk is not None
        call = self._tape[tape]
        if self._graph:
            for k, g in enumerate(arrived):
                if g is not None and id(g) in self._made:
                    self._made[id(g)][0].roles.append(("t", (call, k)))
            for made in self.calls[self._rules :]:
                made.rule_of = call
            self._rules = len(self.calls)
        sums = [None if g is None else Value.of(g) for g in arrived]
        walk.visits.append((call, sums, [None if m is None else Value.of(m) for m in messages]))

    def walk_ends(self, leaves: list) -> None:
        """After the last node."""
        if self._inner:
            self._inner -= 1
            return
        assert self._walk is not None
        for leaf, g in leaves:
            self._walk.leaves.append((leaf, Value.of(g)))
            if self._graph and id(g) in self._made:
                self._made[id(g)][0].roles.append(("d", leaf))
        self.walks.append(self._walk)
        self._walk = None

    # ---- where tensors come from ----

    def source(self, t: Any) -> tuple[Any, int]:
        """The call that has made a tensor and which output it is, or what was found."""
        made = self._made.get(id(t))
        if made is not None and (made[2] == t._version or t.grad_fn is not None):
            return made[:2]
        if t.grad_fn is not None:
            if t.grad_fn not in self._tape:
                self.read_tape(t)
            return self._tape[t.grad_fn], t.output_nr
        found = self._leaves.get((id(t), t._version))
        if found is None:
            named = None if t.requires_grad or made is not None else self._places.get(_place(t))
            if named is not None and named is not t and named.dtype == t.dtype and not named.requires_grad:
                return self.source(named)
            found = self._new_leaf(t, made)
        return found, 0

    def _new_leaf(self, t: Any, made: Any) -> Found:
        kind = (
            "input"
            if id(t) in self._inputs
            else "parameter"
            if isinstance(t, Parameter) or t.requires_grad
            else "constant"
        )
        found = Found(t, Value.of(t), kind)
        at = self._addresses.get(_place(t))
        if made is not None:
            found.kind, found.origin = "detached", made[:2]  # changed in place since
        elif isinstance(at, Found) and at.version == t._version and at.value.dtype == found.value.dtype:
            if not t.requires_grad:
                self._leaves[id(t), t._version] = at  # another tensor on the same memory
                self._held.append(t)
                return at
            found.name = self.name_of(at)
        elif at is not None and not isinstance(at, Found) and not t.requires_grad:
            found.kind, found.origin = "detached", at
        self._keep(found)
        return found

    def _keep(self, found: Found) -> None:
        t = found.tensor
        self.found.append(found)
        self._leaves[id(t), t._version] = found
        if t.numel():
            self._addresses.setdefault(_place(t), found)

    def _add(self, call: Call, outputs: list) -> None:
        call.tensors, call.values = outputs, [Value.of(t) for t in outputs]
        self.calls.append(call)
        if call.tape is not None:
            self._tape[call.tape] = call
        for k, t in enumerate(outputs):
            self._made[id(t)] = (call, k, t._version)
            if t.numel():
                self._addresses[_place(t)] = (call, k)

    def _written(self, op: Any, inputs: tuple) -> None:
        for i in op.writes:
            t = inputs[i]
            known = [f for (key, _), f in self._leaves.items() if key == id(t)]
            if known and (known[-1].kind in ("parameter", "input") or id(t) in self._names):
                self.updates.append((op.name, known[-1], Value.of(t)))

    def _nameless(self, source: Any) -> bool:
        return (
            isinstance(source, Found)
            and source.kind == "constant"
            and not (source.name or id(source.tensor) in self._names)
        )

    # ---- names ----

    def name_of(self, found: Found) -> str:
        """The variable or path of a found tensor, a small constant's number, or ""."""
        if found.name:
            return found.name
        if found.tensor is not None and id(found.tensor) in self._names:
            return self._names[id(found.tensor)][1]
        a = found.value.array
        if found.kind == "constant" and a is not None and a.size == 1:
            return number(a.item())
        return ""

    def variable(self, call: Call) -> str:
        """The variable that one of a call's results was bound to, or ""."""
        return next((self._names[id(t)][1] for t in call.tensors if id(t) in self._names), "")

    def _note_variables(self) -> None:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and _ours(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None:
            if frame not in self._frames:
                self._frames.append(frame)
            self.see_variables(frame.f_locals)

    def _look_at_variables(self) -> None:
        # What a function's last lines have bound is seen only now; a frame keeps its variables while it is held.
        for frame in self._frames:
            self.see_variables(frame.f_locals)

    def see_variables(self, variables: dict[str, Any]) -> None:
        """Takes names from variables that hold tensors, or lists and dicts of them."""
        for name, value in plain_first(variables.items()):
            for tensor, label in tensors_in(value, name):
                self._names.setdefault(id(tensor), (tensor, label))

    # ---- an existing tape ----

    def made_by(self, tensor: Any) -> tuple[Call, int] | None:
        """The heard call that gave this very tensor, and which output it is."""
        made = self._made.get(id(tensor))
        return None if made is None else made[:2]

    def read_tape(self, tensor: Any) -> None:
        """Adds the calls behind a tensor that were made before anybody listened, with the values that can be known.

        A call's result is known if a rule has kept it, or if all of the call's inputs are: then it is computed again,
        with the same bits.
        """
        nodes, todo = {tensor.grad_fn}, [tensor.grad_fn]
        while todo:
            for source in todo.pop().sources:
                if source is None or not isinstance(source[0], _engine.Node):
                    continue
                if source[0] not in nodes and source[0] not in self._tape:
                    nodes.add(source[0])
                    todo.append(source[0])
        order = sorted(nodes, key=lambda n: n.number)
        known: dict[tuple[Any, int], Any] = {(tensor.grad_fn, tensor.output_nr): tensor}
        for node in order:
            inputs, outputs = node.kept
            known.update({(node, k): t for k, t in enumerate(outputs) if t is not None})
            for source, t in zip(node.sources, inputs, strict=True):
                if source is not None and t is not None and isinstance(source[0], _engine.Node):
                    known.setdefault(source, t)
        for node in order:
            self._read_node(node, known)
        call, k = self._tape[tensor.grad_fn], tensor.output_nr
        self._made[id(tensor)] = (call, k, tensor._version)
        call.tensors[k] = tensor

    def _read_node(self, node: Any, known: dict) -> None:
        sources: list[Any] = []
        inputs: list[Any] = []
        complete = True
        for i, (source, kept) in enumerate(zip(node.sources, node.kept[0], strict=True)):
            if source is None and kept is None:
                complete = False
                sources.append(None if self._optional(node.op, i) else (self._unknown(), 0))
            elif source is None:
                sources.append(self.source(kept))
                inputs.append(kept)
            elif isinstance(source[0], _engine.Node):
                before = self._tape[source[0]]
                sources.append((before, source[1]))
                t = known.get(source)
                if t is None and before.values[source[1]].array is not None:
                    t = _engine.tensor_from_array(before.values[source[1]].array, False)
                complete = complete and t is not None
                inputs.append(t)
            else:
                sources.append(self.source(source[0]))
                inputs.append(source[0])
        call = Call(node.op, sources, node.attributes, node)
        count = len(node.kept[1])
        tensors = [known.get((node, k)) for k in range(count)]
        if complete and any(t is None for t in tensors):
            with no_grad():
                again = node.op(inputs, *node.attributes) if node.op.variadic else node.op(*inputs, *node.attributes)
            tensors = [
                a if t is None else t
                for a, t in zip(again if isinstance(again, tuple) else (again,), tensors, strict=True)
            ]
        call.tensors = tensors
        call.values = [Value() if t is None else Value.of(t) for t in tensors]
        self.calls.append(call)
        self._tape[node] = call
        for k, t in enumerate(tensors):
            if t is not None and t.numel():
                self._addresses[_place(t)] = (call, k)

    def name_results(self, variables: dict[str, Any]) -> None:
        """Names calls read off the tape after variables that hold their results."""
        for name, value in plain_first(variables.items()):
            for tensor, label in tensors_in(value, name):
                call = self._tape.get(tensor.grad_fn)
                if call is not None:
                    call.name = call.name or label

    @staticmethod
    def _optional(op: Any, i: int) -> bool:
        from ..ops.record import RECORDS

        return not op.variadic and RECORDS[op.name].inputs[i].endswith("?")

    def _unknown(self) -> Found:
        found = Found(None, Value(), "unknown")
        self.found.append(found)
        return found


def _place(t: Any) -> tuple:
    return t.detach().numpy().__array_interface__["data"][0], t.shape, t.strides


def _ours(file: str) -> bool:
    return file.startswith(_ROOT) and not file.startswith(_EXPERIMENTS)


def plain_first(variables: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Variables in the order in which they give names: tensors first, then what holds some, private names last."""
    known = [(n, v) for n, v in list(variables) if not n.startswith(".")]
    return sorted(known, key=lambda nv: (not isinstance(nv[1], _engine.Tensor), nv[0].startswith("_")))


def tensors_in(value: Any, name: str) -> Iterable[tuple[Any, str]]:
    """The tensors of a variable: itself, or the entries of a list, tuple or dict, with their names."""
    if isinstance(value, _engine.Tensor):
        yield value, name
    elif isinstance(value, (list, tuple)) and len(value) <= 256:
        for i, item in enumerate(value):
            if isinstance(item, _engine.Tensor):
                yield item, f"{name}[{i}]"
    elif isinstance(value, dict) and len(value) <= 256:
        for key, item in value.items():
            if isinstance(item, _engine.Tensor):
                yield item, f"{name}[{key}]"


__all__ = ["Call", "Found", "Heard", "Recorder", "plain_first", "tensors_in"]
