"""``pn.explain``: the computation graph and the reverse schedule of any computation, with every message and number."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _engine, autodiff
from ..compiling import Compiled
from ..nn.module import Module, iter_tensors
from ..tensor import from_numpy
from .assembly import assemble
from .explanation import Explanation
from .graph import Check, Graph, Leaf, Message, Node, Source, Update, Visit, Walk
from .recorder import Recorder, plain_first, tensors_in
from .values import Value


def explain(
    what: Any, *inputs: Any, gradient: Any = None, argnums: int | tuple[int, ...] | None = None, order: int = 1,
    direction: Any = None, differences: bool = False, seed: int = 0,
) -> Explanation:  # fmt: skip
    """The computation graph of a function or a loss, and its reverse schedule with every message and number.

    ::

        e = pn.explain(lambda x: ((W2 @ (W1 @ x).tanh()).sigmoid() - y).square().sum(), x)
        print(e)                     # the forward schedule f(1), f(2), ... and the reverse one, t(n), ..., t(1)
        e[3].value, e[3].t           # arrays: what f(3) gave, and the sum of the messages that came back to it
        e["W1"].gradient             # what a leaf has collected
        e["W1"].messages             # each path's contribution: sender, value, rule, formula
        e.figure()                   # a matplotlib picture; e.latex(), e.to_json(), e.html() are the other forms
        e.save("page.html")          # or .svg, .png, .pdf, .tex, .json, .txt

    A function is run once while every call is heard. If it walks back by itself (a training step), its walks are
    explained, and all that it does is done: a step that updates parameters has updated them, as any call of it would.
    Else the gradient of its (first) result is explained. A step made by ``pn.compile`` is run as it was written, with
    the same bits. A loss is explained from what the tape has kept, which stays as it is; values that no rule needs
    are computed again where possible, and no ``.grad`` changes.

    Args:
        what: A function of tensors, a module, a step made by ``pn.compile``; or a tensor that was computed from
            tensors that require a gradient.
        *inputs: What the function is called with; arrays become tensors.
        gradient: What the walk starts with, for a result of several elements.
        argnums: Positions of float inputs to differentiate with respect to, beside the tensors that require a gradient
            already. By default none, or all if the result would depend on nothing that requires one.
        order: 2: explain the derivative of the gradient along `direction`: forward f, then the calls that make up f's
            gradient (each with the node whose rule made it), and the reverse schedule of the product of the two.
        direction: For `order` 2: for each differentiated input or leaf, in the order in which gradients were
            collected, a tensor of its shape; default: ones.
        differences: Put central differences beside every sum and gradient: the recorded calls are run again in
            float64. Where a tensor has more than 64 elements, along one random direction.
        seed: Of those directions.

    Raises:
        TypeError: `what` is neither a function nor a tensor, or inputs were given for a tensor.
        RuntimeError: Nothing requires a gradient, the graph was walked back already, or the result has several
            elements and no `gradient` was given.
        ValueError: `order` is not 1 or 2, `argnums` are out of range, or shapes do not fit.
    """
    if order not in (1, 2):
        raise ValueError(f"explain: order is {order}; 1 (the gradient) and 2 (the gradient's gradient) are explained")
    if isinstance(what, _engine.Tensor):
        if inputs or argnums is not None:
            raise TypeError("explain: a tensor takes no inputs; to explain a function, pass the function itself: "
                            "pn.explain(f, x)")  # fmt: skip
        recorder, results, title = _of_tensor(what, gradient, order, direction, sys._getframe(1).f_locals)
    elif callable(what):
        recorder, results, title = _of_function(what, inputs, gradient, argnums, order, direction)
    else:
        raise TypeError(f"explain: takes a function and its inputs, or a tensor, got {type(what).__name__}")
    graph = assemble(recorder, results, title)
    if differences:
        from .differences import check

        check(graph, seed)
    return Explanation(graph)


def _of_tensor(loss: Any, gradient: Any, order: int, direction: Any, variables: dict[str, Any]) -> tuple:
    autodiff._start(loss, gradient, "explain")
    names, modules = _names(variables.items())
    recorder = Recorder(names, modules, ())
    with recorder.listening():
        recorder.source(loss)
        _walk(loss, gradient, order, direction)
    recorder.name_results(variables)
    return recorder, [loss], next((n for n, v in variables.items() if v is loss), "a loss")


def _walk(loss: Any, gradient: Any, order: int, direction: Any) -> None:
    """Walks back from a loss, leaving every ``.grad`` and the tape as they are."""
    with autodiff.enable_grad():
        start = autodiff._start(loss, gradient, "explain")
        leaves = _leaves_behind(loss)
        found = _engine.run_backward([loss], [start], True, order == 2, leaves)
        if order == 1:
            return
        directions = [None] * len(leaves) if direction is None else (
            [direction] if isinstance(direction, (_engine.Tensor, np.ndarray)) else list(direction))  # fmt: skip
        if len(directions) != len(leaves):
            raise ValueError(f"explain: {len(directions)} directions for {len(leaves)} leaves of shapes "
                             f"{[x.shape for x in leaves]}")  # fmt: skip
        product = None
        for g, v, x in zip(found, directions, leaves, strict=True):
            if g is None or not g.requires_grad:
                continue
            if v is not None:
                v = _engine.as_tensor(v, "explain")
                if v.shape != x.shape:
                    raise ValueError(f"explain: a direction has shape {v.shape} but its leaf {x.shape}")
                g = g * v.to(g.dtype)
            part = g.sum()
            product = part if product is None else product + part
        if product is None:
            raise RuntimeError("explain: the gradient does not depend on any tensor that requires a gradient, so all "
                               "second derivatives are 0")  # fmt: skip
        _engine.run_backward([product], [autodiff._start(product, None, "explain")], True, False, leaves)


def _leaves_behind(loss: Any) -> list[Any]:
    """The leaves that a loss depends on, in the order of their first use."""
    if loss.grad_fn is None:
        return [loss]
    nodes, todo = {loss.grad_fn}, [loss.grad_fn]
    leaves: dict[int, Any] = {}
    while todo:
        for source in todo.pop().sources:
            if source is not None and isinstance(source[0], _engine.Node) and source[0] not in nodes:
                nodes.add(source[0])
                todo.append(source[0])
    for node in sorted(nodes, key=lambda n: n.number):
        for source in node.sources:
            if source is not None and not isinstance(source[0], _engine.Node):
                leaves.setdefault(id(source[0]), source[0])
    return list(leaves.values())


def _of_function(
    what: Any, inputs: tuple, gradient: Any, argnums: Any, order: int, direction: Any
) -> tuple[Recorder, list[Any], str]:
    f = what.step if isinstance(what, Compiled) else what
    title = _title(f)
    arguments = [from_numpy(a) if isinstance(a, np.ndarray) else a for a in inputs]
    if argnums is not None:
        arguments = _as_variables(arguments, autodiff._numbers(argnums, len(arguments)))
    recorder, results = _run(f, arguments)
    if _walked_back(recorder, results):
        if gradient is not None or order != 1:
            raise ValueError(f"explain: {title} walks back by itself, so gradient= and order= have no place here; "
                             "explain the function that computes its loss")  # fmt: skip
        for walk in recorder.walks:
            walk.recorded = False
        return recorder, results, title
    if argnums is None and not any(t.requires_grad for t in results):
        floats = [i for i, a in enumerate(arguments) if isinstance(a, _engine.Tensor) and a.dtype.kind == "f"]
        if floats:
            arguments = _as_variables(arguments, floats)
            recorder, results = _run(f, arguments)
    loss = next((t for t in results if t.requires_grad), None)
    if loss is None:
        raise RuntimeError(f"explain: nothing that {title} returns depends on a tensor that requires a gradient (it "
                           f"returned {[t.shape for t in results] or 'no tensor'}); pass float inputs, or give "
                           "requires_grad to what it uses")  # fmt: skip
    with recorder.listening():
        _walk(loss, gradient, order, direction)
    return recorder, results, title


def _walked_back(recorder: Recorder, results: list[Any]) -> bool:
    """Has the function made the walk that is to be explained? Not if it has only computed with gradients that are on
    the tape themselves.
    """
    if any(not w.recorded for w in recorder.walks):
        return True
    return bool(recorder.walks) and not any(t.requires_grad for t in results)


def _run(f: Callable, arguments: list[Any]) -> tuple[Recorder, list[Any]]:
    labels = _parameter_names(f, len(arguments))
    passed = list(zip(labels, arguments, strict=True))
    names, modules = _names([*passed, *_around(f)])
    recorder = Recorder(names, modules, [a for a in arguments if isinstance(a, _engine.Tensor)])
    with autodiff.enable_grad(), recorder.listening():
        result = f(*arguments)
    return recorder, list(iter_tensors(result))


def _as_variables(arguments: list[Any], numbers: Any) -> list[Any]:
    made = list(arguments)
    for i in numbers:
        x = made[i]
        if not isinstance(x, _engine.Tensor) or x.dtype.kind != "f":
            kind = x.dtype if isinstance(x, _engine.Tensor) else type(x).__name__
            raise TypeError(f"explain: argument {i} is {kind}; only float tensors have derivatives")
        if not x.requires_grad:
            made[i] = x.detach().requires_grad_()
    return made


# ---- names ----


def _title(f: Any) -> str:
    name = type(f).__name__ if isinstance(f, Module) else getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" else name


def _parameter_names(f: Any, count: int) -> list[str]:
    try:
        signature = inspect.signature(f.forward if isinstance(f, Module) else f)
    except (TypeError, ValueError):  # a builtin without one
        return [f"x{i}" for i in range(count)]
    names: list[str] = []
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}[{i}]" for i in range(count - len(names))]
        elif p.kind is not p.KEYWORD_ONLY:
            names.append(p.name)
    return [*names, *(f"x{i}" for i in range(len(names), count))][:count]


def _around(f: Any) -> Iterator[tuple[str, Any]]:
    """Variables that a function's code can see: closures, globals that it names, defaults, its object."""
    if isinstance(f, functools.partial):
        yield from f.keywords.items()
        yield from ((f"argument {i}", a) for i, a in enumerate(f.args))
        f = f.func
    if isinstance(f, Compiled):
        f = f.step
    if isinstance(f, Module):
        yield "", f
        return
    if isinstance(f, types.MethodType):
        owner = f.__self__
        yield from (
            [("", owner)] if isinstance(owner, Module) else vars(owner).items() if hasattr(owner, "__dict__") else []
        )
        f = f.__func__
    if not isinstance(f, types.FunctionType):
        return
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        yield name, value
        if isinstance(value, types.FunctionType):
            yield from _around(value)
    for name in f.__code__.co_names:
        if name in f.__globals__:
            value = f.__globals__[name]
            yield name, value
            if isinstance(value, types.FunctionType) and value.__module__ == f.__module__ and value is not f:
                yield from ((n, v) for n, v in _shallow(value) if not isinstance(v, types.FunctionType))


def _shallow(f: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name in f.__code__.co_names:
        if name in f.__globals__:
            yield name, f.__globals__[name]


def _names(variables: Any) -> tuple[list[tuple[Any, str]], list[tuple[Any, str]]]:
    """(tensor, name) of all tensors, and (module, path) of all modules, that some variables hold."""
    names: list[tuple[Any, str]] = []
    modules: dict[int, tuple[Any, str]] = {}
    for name, value in plain_first(variables):
        if isinstance(value, Module):
            for path, part in value.named_modules(prefix=name):
                modules.setdefault(id(part), (part, path or type(part).__name__))
            names += [
                (t, path) for path, t in (*value.named_parameters(prefix=name), *value.named_buffers(prefix=name))
            ]
        elif isinstance(value, (list, tuple, dict)) and any(isinstance(v, Module) for v in (
                value.values() if isinstance(value, dict) else value)):  # fmt: skip
            items = value.items() if isinstance(value, dict) else enumerate(value)
            parts = _names((f"{name}[{k}]", v) for k, v in items if isinstance(v, Module))
            names += parts[0]
            modules = {id(m): (m, p) for m, p in parts[1]} | modules
        else:
            names += tensors_in(value, name)
    return names, list(modules.values())


__all__ = ["Check", "Explanation", "Graph", "Leaf", "Message", "Node", "Source", "Update", "Value", "Visit", "Walk",
           "explain"]  # fmt: skip
