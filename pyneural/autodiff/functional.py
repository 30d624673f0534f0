"""Derivatives of functions: ``grad``, ``vjp``, ``jvp``, ``jacobian``, ``hessian`` and ``hvp``, to any order.

Arguments and values are tensors or nested tuples, lists and dicts of them (``dict(model.named_parameters())`` with
:func:`pyneural.nn.functional_call`). Each tensor of an argument is a variable of its own, even where one tensor is
passed twice. Nothing is left in ``.grad``.

A result is itself differentiable where it depends on a tensor that requires a gradient, be it an argument or one that
the function uses from outside; under ``no_grad()`` none is. So these functions nest, and a gradient penalty on a
module's parameters works. Pass ``p.detach()``, or call under ``no_grad()``, where that is not wanted: it is the
cheaper way.

An argument that the value does not depend on has derivative zero, as in JAX and ``torch.func``; with ``strict=True``
(PyTorch's word) a RuntimeError names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import _engine
from ..ops import permute, stack
from ..tensor import Tensor, as_tensor
from .modes import enable_grad, is_grad_enabled
from .tape import gradients
from .trees import leaves, mapped, named_leaves, rebuild


def _tracked(x: Any) -> bool:
    return isinstance(x, _engine.Tensor) and x.requires_grad


def _zeros(like: Any) -> Tensor:
    return _engine.tensor_from_array(np.zeros(like.shape, like.dtype), False)


class _Evaluated:
    """f at arguments of which some are variables.

    Attributes:
        made: The variables, in order; places: their names in messages.
        value: What f has returned; outputs: its tensors; aux: what else it has returned.
        create_graph: Whether derivatives shall be differentiable themselves.
    """

    def __init__(
        self, name: str, f: Callable, args: Sequence[Any], kwargs: dict, numbers: Sequence[int], *,
        has_aux: bool = False, graph: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        outer = is_grad_enabled()
        self.create_graph = outer and any(map(_tracked, leaves([list(args), kwargs])))
        self.made: list[Any] = []
        self.places: list[str] = []
        given = list(args)
        with enable_grad():
            for i in dict.fromkeys(numbers):
                given[i] = self._variables(i, args[i])
            value = f(*given, **kwargs)
            self.aux = None
            if has_aux:
                if not isinstance(value, tuple) or len(value) != 2:
                    raise TypeError(
                        f"{name}: with has_aux=True the function must return (value, aux), got {type(value).__name__}"
                    )
                value, self.aux = value
        self.value, self.outputs = value, leaves(value)
        for place, y in named_leaves(value):
            if not isinstance(y, _engine.Tensor):
                raise TypeError(f"{name}: the function must return tensors, its value{place} is a "
                                f"{type(y).__name__} (float() and item() leave the tape; other results "
                                "go through has_aux=True)")  # fmt: skip
            if y.dtype.kind != "f":
                raise TypeError(
                    f"{name}: the function's value{place} is {y.dtype}; only float tensors have derivatives"
                )
        if outer and not self.create_graph:
            self.create_graph = _reaches_others(self.outputs, self.made)
        self.graph = graph or self.create_graph

    def _variables(self, number: int, tree: Any) -> Any:
        """The argument with its tensors as places of their own on the tape.

        For a derivative of a derivative they stay connected to what they came from, by a view of all of them.
        """
        made = []
        for place, leaf in named_leaves(tree, f"argument {number}"):
            x = as_tensor(leaf)
            if x.dtype.kind != "f":
                raise TypeError(f"{self.name}: {place} is {x.dtype}; only float tensors have derivatives")
            connected = self.create_graph and x.requires_grad
            made.append(permute(x, *range(x.ndim)) if connected else x.detach().requires_grad_())
            self.places.append(place)
        self.made += made
        return rebuild(tree, iter(made))

    def pull(self, starts: Sequence[Any], strict: bool, create_graph: bool | None = None) -> list[Tensor]:
        """The gradients of the outputs, from these starts, with respect to all variables."""
        graph = self.graph if create_graph is None else create_graph
        pairs = [(y, g) for y, g in zip(self.outputs, starts, strict=True) if y.requires_grad]
        found: Sequence[Any] = [None] * len(self.made)
        if pairs and self.made:
            found = gradients([y for y, _ in pairs], self.made, [g for _, g in pairs], create_graph=graph,
                              retain_graph=True, allow_unused=True)  # fmt: skip
        if strict and any(g is None for g in found):
            unused = [p for p, g in zip(self.places, found, strict=True) if g is None]
            raise RuntimeError(f"{self.name}: the value does not depend on {', '.join(unused)}; use it, leave it out, "
                               "or pass strict=False for a derivative of zero")  # fmt: skip
        return [_zeros(x) if g is None else g for x, g in zip(self.made, found, strict=True)]

    def scalar(self) -> Any:
        """The value, which must be one tensor of one element."""
        if not isinstance(self.value, _engine.Tensor) or self.value.numel() != 1:
            what = f"shape {self.value.shape}" if isinstance(self.value, _engine.Tensor) else "several tensors"
            raise RuntimeError(f"{self.name}: the function's value must have one element, it has {what}; reduce it "
                               "(for example .sum()), or use jacobian() or vjp()")  # fmt: skip
        return self.value

    def out(self, tree: Any) -> Any:
        """A result as it is handed out: off the tape unless it shall be differentiable."""
        if self.create_graph:
            return tree
        return mapped(lambda y: y.detach() if _tracked(y) else y, tree)


def _reaches_others(outputs: Sequence[Any], made: Sequence[Any]) -> bool:
    """Whether the outputs depend on a leaf that requires a gradient and is none of those made here."""
    known = {id(x) for x in made}
    todo: list[Any] = [y.grad_fn if y.grad_fn is not None else y for y in outputs if y.requires_grad]
    seen = set()
    while todo:
        at = todo.pop()
        if at in seen if isinstance(at, _engine.Node) else id(at) in known:
            continue
        if not isinstance(at, _engine.Node):
            return True
        seen.add(at)
        todo += [x for x in at.inputs if x is not None]
    return False


# ---- arguments ----


def _check_function(name: str, f: Any, argnums: Any) -> None:
    """Tells PyTorch's ``grad(outputs, inputs)`` and ``jacobian(f, inputs)`` from the functions here, which return
    functions."""
    if not callable(f):
        raise TypeError(f"{name}: takes a function and returns one, got {type(f).__name__}; for the gradient of a "
                        "tensor call backward(), or pyneural.autodiff.gradients(outputs, inputs)")  # fmt: skip
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not all(isinstance(i, int) for i in numbers):
        raise TypeError(f"{name}: argnums must be positions, got {type(argnums).__name__}; the function's arguments "
                        f"go to the result: {name}(f)(x)")  # fmt: skip


def _numbers(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -count <= i < count:
            raise ValueError(f"argnums: {i} is out of range for {count} arguments")
    return tuple(i % count for i in numbers)


def _trees(args: Sequence[Any], numbers: Sequence[int], argnums: int | Sequence[int], found: Iterable[Any]) -> Any:
    """Tensors, one for each variable, in the containers of the arguments that they belong to."""
    rest = iter(found)
    by_number = {i: rebuild(args[i], rest) for i in dict.fromkeys(numbers)}
    return by_number[numbers[0]] if isinstance(argnums, int) else tuple([by_number[i] for i in numbers])


def _matching(name: str, what: str, tree: Any, like: Any) -> list[Tensor]:
    """The leaves of tree as tensors, which must have the places, shapes and dtypes of those of like."""
    given, wanted = list(named_leaves(tree)), list(named_leaves(like))
    if [place for place, _ in given] != [place for place, _ in wanted]:
        raise ValueError(f"{name}: {what} must be nested like what it belongs to: that has {len(wanted)} tensors at "
                         f"{[p or 'the top' for p, _ in wanted]}, {what} has {len(given)} at "
                         f"{[p or 'the top' for p, _ in given]}")  # fmt: skip
    made = []
    for (place, leaf), (_, x) in zip(given, wanted, strict=True):
        x = as_tensor(x)
        t = as_tensor(leaf).to(x.dtype)
        if t.shape != x.shape:
            raise ValueError(f"{name}: {what}{place} has shape {t.shape}, what it belongs to has {x.shape}")
        made.append(t)
    return made


# ---- the functions ----


def value_and_grad(
    f: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *, strict: bool = False
) -> Callable:
    """A function of the same arguments that returns f's value and its gradient.

    Args:
        f: A function whose value is a tensor of one element.
        argnums: One position, or several (the gradient is then a tuple). Each of these arguments is a tensor, or a
            nested container of tensors; its gradient has the same containers.
        has_aux: f returns (value, aux), the result ((value, aux), gradient); aux is passed on, off the tape.
        strict: Raise for a tensor that the value does not depend on. False: its gradient is zeros.

    Raises:
        TypeError: f is not a function, argnums are no positions; (when called) an argument or the value is no float
            tensor.
        ValueError: (when called) There is no such argument.
        RuntimeError: (when called) The value has several elements, or strict=True and something is unused.
    """
    _check_function("value_and_grad", f, argnums)
    return _value_and_grad("value_and_grad", f, argnums, has_aux, strict)


def _value_and_grad(name: str, f: Callable, argnums: int | Sequence[int], has_aux: bool, strict: bool) -> Callable:
    def function(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = _numbers(argnums, len(args))
        at = _Evaluated(name, f, args, kwargs, numbers, has_aux=has_aux)
        value = at.out(at.scalar())
        found = _trees(args, numbers, argnums, at.pull([None], strict))
        return ((value, at.out(at.aux)) if has_aux else value), found

    return function


def grad(f: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *, strict: bool = False) -> Callable:
    """The gradient of a function with a value of one element; with has_aux=True (gradient, aux).

    Arguments and errors are those of :func:`value_and_grad`.
    """
    _check_function("grad", f, argnums)
    both = _value_and_grad("grad", f, argnums, has_aux, strict)

    def function(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return function


def vjp(f: Callable, *primals: Any, has_aux: bool = False, strict: bool = False) -> tuple[Any, ...]:
    """f's value and the function v -> v^T J, with J the Jacobian at the primals.

    The second result takes something like the value and returns a tuple with one entry per primal (for a single primal
    that entry itself). It may be called several times. With has_aux=True f returns (value, aux), and aux comes third.

    Raises:
        TypeError: A primal or the value holds something other than float tensors.
        ValueError: (when called) v is not nested or shaped like the value.
        RuntimeError: (when called) strict=True and the value does not depend on a primal.
    """
    numbers = range(len(primals))
    at = _Evaluated("vjp", f, primals, {}, numbers, has_aux=has_aux)

    def pull(v: Any) -> Any:
        starts = _matching("vjp", "v", v, at.value)
        again = at.graph or (is_grad_enabled() and any(map(_tracked, starts)))
        found = _trees(primals, numbers, list(numbers), at.pull(starts, strict, again))
        return found[0] if len(primals) == 1 else found

    return (at.out(at.value), pull, at.out(at.aux)) if has_aux else (at.out(at.value), pull)


def jvp(f: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False,
        strict: bool = False) -> tuple[Any, ...]:  # fmt: skip
    """f's value and J t, its derivative along tangents: v^T J differentiated with respect to v, where it is linear.

    Args:
        f: A function of the primals.
        primals: The arguments, tensors or nested containers of them.
        tangents: For each argument something like it.
        has_aux: f returns (value, aux), and aux comes third.
        strict: Raise for a primal that the value does not depend on.

    Raises:
        ValueError: Not one tangent per argument, or one that is nested or shaped differently.
    """
    directions = _tangents("jvp", primals, tangents)
    graph = is_grad_enabled() and any(map(_tracked, directions))
    at = _Evaluated("jvp", f, primals, {}, range(len(primals)), has_aux=has_aux, graph=True)
    at.create_graph = at.create_graph or graph
    with enable_grad():
        v = [_zeros(y).requires_grad_() for y in at.outputs]
        pulled = at.pull(v, strict)
        pairs = [(g, t) for g, t in zip(pulled, directions, strict=True) if g.requires_grad]
        if pairs:
            found = gradients([g for g, _ in pairs], v, [t for _, t in pairs], create_graph=at.create_graph,
                              materialize_grads=True)  # fmt: skip
        else:
            found = tuple([_zeros(y) for y in at.outputs])
    along = rebuild(at.value, iter(found))
    return (at.out(at.value), along, at.out(at.aux)) if has_aux else (at.out(at.value), along)


def _tangents(name: str, primals: Sequence[Any], tangents: Sequence[Any]) -> list[Tensor]:
    if len(primals) != len(tangents):
        raise ValueError(f"{name}: {len(primals)} arguments but {len(tangents)} tangents")
    return [
        t for k, (p, d) in enumerate(zip(primals, tangents, strict=True))
        for t in _matching(name, f"tangent {k}", d, p)
    ]  # fmt: skip


def hvp(f: Callable, primals: Sequence[Any], tangents: Sequence[Any], *, strict: bool = False) -> tuple[Any, Any]:
    """f's value and its Hessian times the tangents, without the Hessian: the gradient, differentiated along them.

    Costs about as much as two gradients, whatever the number of variables, and can be captured by ``pn.compile``.

    Args:
        f: A function of the primals whose value is a tensor of one element.
        primals: The arguments, tensors or nested containers of them.
        tangents: For each argument something like it.
        strict: Raise for a primal that the value does not depend on.

    Returns:
        (value, products): products is a tuple like primals; for a single primal its product alone.

    Raises:
        ValueError: Not one tangent per argument, or one that is nested or shaped differently.
        RuntimeError: The value has several elements.
    """
    directions = _tangents("hvp", primals, tangents)
    graph = is_grad_enabled() and any(map(_tracked, directions))
    numbers = range(len(primals))
    at = _Evaluated("hvp", f, primals, {}, numbers, graph=True)
    at.create_graph = at.create_graph or graph
    at.scalar()
    with enable_grad():
        pairs = [(g, t) for g, t in zip(at.pull([None], strict), directions, strict=True) if g.requires_grad]
        if pairs:
            products = gradients([g for g, _ in pairs], at.made, [t for _, t in pairs], create_graph=at.create_graph,
                                 materialize_grads=True)  # fmt: skip
        else:
            products = tuple([_zeros(x) for x in at.made])
    found = _trees(primals, numbers, list(numbers), products)
    return at.out(at.value), (found[0] if len(primals) == 1 else found)


def jacobian(f: Callable, argnums: int | Sequence[int] = 0, *, strict: bool = False) -> Callable:
    """The function of the same arguments that gives J[i..., j...] = d f[i...] / d x[j...], one row at a time.

    For several tensors the containers of the value hold those of the argument: ``jacobian(f)(p)["out"]["w"]``.

    Raises:
        TypeError: f is not a function, argnums are no positions; (when called) something is no float tensor.
        RuntimeError: (when called) strict=True and the value does not depend on an argument.
    """
    _check_function("jacobian", f, argnums)
    return _jacobian("jacobian", f, argnums, strict)


def _jacobian(name: str, f: Callable, argnums: int | Sequence[int], strict: bool) -> Callable:
    def function(*args: Any, **kwargs: Any) -> Any:
        numbers = _numbers(argnums, len(args))
        at = _Evaluated(name, f, args, kwargs, numbers)
        blocks = []
        for k, y in enumerate(at.outputs):
            rows: list[list[Tensor]] = []
            starts = [_zeros(other) for other in at.outputs]
            for i in range(y.numel()):
                start = np.zeros(y.shape, y.dtype)
                start[np.unravel_index(i, y.shape)] = 1
                starts[k] = as_tensor(start)
                rows.append(at.pull(starts, strict))
            columns = zip(*rows, strict=True) if rows else [()] * len(at.made)
            joined = []
            for x, column in zip(at.made, columns, strict=True):
                shape = (*y.shape, *x.shape)
                joined.append(stack(list(column)).reshape(shape) if rows else as_tensor(np.zeros(shape, y.dtype)))
            blocks.append(_trees(args, numbers, argnums, joined))
        return rebuild(at.value, iter(blocks))

    return function


def hessian(f: Callable, argnums: int | Sequence[int] = 0, *, strict: bool = False) -> Callable:
    """The second derivatives H[i..., j...] of a function with a value of one element, as the Jacobian of its gradient.

    For several tensors the containers of the argument hold those of the argument: ``hessian(f)(p)["w"]["b"]``.
    Raises what :func:`jacobian` does.
    """
    _check_function("hessian", f, argnums)
    first = _value_and_grad("hessian", f, argnums, False, strict)
    # Only a gradient may be independent of a variable without being suspicious: that of a linear function is.
    return _jacobian("hessian", lambda *args, **kwargs: first(*args, **kwargs)[1], argnums, False)
