"""Reverse-mode differentiation: grad modes, ``backward``, functional derivatives, and a checker for gradient rules.

Gradient rules are functions over ops, so a walk back can itself be recorded and differentiated again, to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _engine
from .tensor import Tensor, as_tensor


class set_grad_enabled:
    """Switches recording on or off for this thread; also a context manager and a decorator."""

    def __init__(self, mode: bool) -> None:
        self.before = _engine.set_grad_mode(mode)
        self.mode = mode

    def __enter__(self) -> None:
        _engine.set_grad_mode(self.mode)

    def __exit__(self, *_: Any) -> None:
        _engine.set_grad_mode(self.before)


class _Mode:
    """A context manager and decorator with a fixed mode; unlike :class:`set_grad_enabled` it acts only when entered."""

    mode: bool

    def __init__(self, function: Callable | None = None) -> None:
        self.before: list[bool] = []

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        self.__init__()  # type: ignore[misc]
        return self(function)

    def __enter__(self) -> None:
        self.before.append(_engine.set_grad_mode(self.mode))

    def __exit__(self, *_: Any) -> None:
        _engine.set_grad_mode(self.before.pop())

    def __call__(self, function: Callable) -> Callable:
        from functools import wraps

        cls = type(self)

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with cls():
                return function(*args, **kwargs)

        return inside


class no_grad(_Mode):
    """Within it nothing is recorded (per thread). Also a decorator, with or without parentheses."""

    mode = False


class enable_grad(_Mode):
    """Within it recording is on, inside :class:`no_grad` too (per thread). Also a decorator."""

    mode = True


is_grad_enabled = _engine.is_grad_enabled


def _start(output: Any, gradient: Any, where: str) -> Tensor:
    if not output.requires_grad:
        raise RuntimeError(f"{where}: the tensor of shape {output.shape} does not depend on any tensor that "
                           "requires a gradient (was it computed under no_grad(), or from detached "
                           "tensors?)")  # fmt: skip
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(f"{where}: the tensor has shape {output.shape}; only one element has a gradient "
                               "without being told in which direction: reduce it (for example .sum()) or pass "
                               "gradient=")  # fmt: skip
        return _engine.tensor_from_array(np.ones(output.shape, output.dtype), False)
    g = as_tensor(gradient).to(output.dtype)
    if g.shape != output.shape:
        raise ValueError(f"{where}: gradient has shape {g.shape} but the tensor has {output.shape}")
    return g


def backward(
    output: Any, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Adds the gradient of output (or of ``(output * gradient).sum()``) to ``.grad`` of every leaf."""
    g = _start(output, gradient, "backward")
    _engine.run_backward([output], [g], create_graph if retain_graph is None else retain_graph, create_graph)


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs with respect to inputs, leaving every ``.grad`` alone (``torch.autograd.grad``).

    Args:
        outputs: A tensor or a sequence of them; their gradients are summed.
        inputs: A tensor or a sequence of them, leaves or not.
        grad_outputs: For each output the gradient to start from; needed where it has several elements.
        retain_graph: Keep the graph for another call; by default iff create_graph.
        create_graph: Record the walk, so that the results can be differentiated again.
        allow_unused: Give None for an input that no output depends on.
        materialize_grads: Give zeros for it.

    Raises:
        RuntimeError: An output does not require a gradient, or an input is unused and that was not allowed.
    """
    outs = [outputs] if isinstance(outputs, _engine.Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, _engine.Tensor) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outs)
    starts = [grad_outputs] if isinstance(grad_outputs, _engine.Tensor) else list(grad_outputs)
    begin = [_start(o, g, "gradients") for o, g in zip(outs, starts, strict=True)]
    found = _engine.run_backward(outs, begin, create_graph if retain_graph is None else retain_graph, create_graph, ins)
    for i, (x, g) in enumerate(zip(ins, found, strict=True)):
        if g is not None:
            continue
        if materialize_grads:
            found[i] = _engine.tensor_from_array(np.zeros(x.shape, x.dtype), False)
        elif not allow_unused:
            raise RuntimeError(f"gradients: no output depends on input {i} of shape {x.shape}; pass "
                               "allow_unused=True for None or materialize_grads=True for zeros")  # fmt: skip
    return tuple(found)


# ---- functional derivatives ----


def _as_leaves(args: Sequence[Any], argnums: Sequence[int], create_graph: bool) -> list[Any]:
    """The arguments with those that are differentiated as tensors on the tape.

    For a derivative of a derivative they stay connected to what they came from; the addition of nothing makes each of
    them a separate place on the tape, so that a tensor that is passed twice is two variables.
    """
    made = list(args)
    for i in argnums:
        x = as_tensor(args[i])
        if x.dtype.kind != "f":
            raise TypeError(f"argument {i} is {x.dtype}; only float tensors have derivatives")
        if create_graph and x.requires_grad:
            made[i] = x + 0.0
        else:
            made[i] = x.detach().requires_grad_()
    return made


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


def value_and_grad(f: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """A function that returns f's value and its gradient with respect to the given arguments.

    Args:
        f: A function of tensors with a value of one element.
        argnums: One position, or several (the gradient is then a tuple).

    The gradient can be differentiated again: apply it to arguments that require a gradient, or nest.

    Raises:
        TypeError: f is not a function, or argnums are no positions.
        RuntimeError: (when called) the value has several elements.
    """
    _check_function("value_and_grad", f, argnums)

    def function(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = _numbers(argnums, len(args))
        nested = _engine.is_grad_enabled() and any(isinstance(a, _engine.Tensor) and a.requires_grad for a in args)
        with enable_grad():
            made = _as_leaves(args, numbers, nested)
            value = f(*made, **kwargs)
            found = _gradients_or_zeros(value, [made[i] for i in numbers], None, nested)
        if not nested:
            value = value.detach()
        return value, found[0] if isinstance(argnums, int) else tuple(found)

    return function


def grad(f: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """The gradient of a function with a value of one element; see :func:`value_and_grad`."""
    _check_function("grad", f, argnums)
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def _gradients_or_zeros(value: Any, inputs: list, start: Any, create_graph: bool) -> list[Any]:
    if not value.requires_grad:  # does not depend on them
        return [_engine.tensor_from_array(np.zeros(x.shape, x.dtype), False) for x in inputs]
    return list(gradients(value, inputs, start, create_graph=create_graph, retain_graph=True, materialize_grads=True))


def vjp(f: Callable, *args: Any) -> tuple[Any, Callable]:
    """f's value and the function v -> v^T J, with J the Jacobian at the arguments.

    The second result takes a tensor of the value's shape and returns one tensor per argument (a single one for a single
    argument). It may be called several times.
    """
    nested = _engine.is_grad_enabled() and any(isinstance(a, _engine.Tensor) and a.requires_grad for a in args)
    numbers = range(len(args))
    with enable_grad():
        made = _as_leaves(args, numbers, nested)
        value = f(*made)

    def pull(v: Any) -> Any:
        with enable_grad():
            found = _gradients_or_zeros(
                value, made, as_tensor(v), nested or (isinstance(v, _engine.Tensor) and v.requires_grad)
            )
        return found[0] if len(found) == 1 else tuple(found)

    return (value if nested else value.detach()), pull


def jvp(f: Callable, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f's value and J t, the derivative along tangents, by differentiating v^T J with respect to v.

    Args:
        args: The arguments.
        tangents: For each argument a tensor of its shape.

    Raises:
        ValueError: Not one tangent per argument, or one of another shape.
    """
    if len(args) != len(tangents):
        raise ValueError(f"jvp: {len(args)} arguments but {len(tangents)} tangents")
    with enable_grad():
        made = _as_leaves(list(args), range(len(args)), True)
        made = [x if x.requires_grad else x.requires_grad_() for x in made]
        value = f(*made)
        v = _engine.tensor_from_array(np.zeros(value.shape, value.dtype), False).requires_grad_()
        pulled = _gradients_or_zeros(value, made, v, True)
        total = None
        for g, t, x in zip(pulled, tangents, made, strict=True):
            t = as_tensor(t).to(x.dtype)
            if t.shape != x.shape:
                raise ValueError(f"jvp: a tangent has shape {t.shape} but its argument {x.shape}")
            total = (g * t).sum() if total is None else total + (g * t).sum()
        if total is None or not total.requires_grad:
            return value.detach(), _engine.tensor_from_array(np.zeros(value.shape, value.dtype), False)
        (result,) = gradients(total, [v], materialize_grads=True, create_graph=any(
            isinstance(a, _engine.Tensor) and a.requires_grad for a in args))  # fmt: skip
    return value.detach(), result


def jacobian(f: Callable, argnums: int = 0) -> Callable:
    """The function of the same arguments that gives J[i..., j...] = d f[i...] / d x[j...], one row at a time."""
    _check_function("jacobian", f, argnums)

    def function(*args: Any) -> Any:
        (number,) = _numbers(argnums, len(args))
        nested = _engine.is_grad_enabled() and any(isinstance(a, _engine.Tensor) and a.requires_grad for a in args)
        with enable_grad():
            made = _as_leaves(args, (number,), nested)
            value = f(*made)
            rows = []
            for i in range(value.numel()):
                start = np.zeros(value.numel(), value.dtype)
                start[i] = 1
                row = _gradients_or_zeros(value, [made[number]], as_tensor(start.reshape(value.shape)), nested)[0]
                rows.append(row.reshape(-1))
            from .ops import stack

            shape = (*value.shape, *made[number].shape)
            if not rows:
                return _engine.tensor_from_array(np.zeros(shape, value.dtype), False)
            return stack(rows).reshape(shape)

    return function


def hessian(f: Callable, argnums: int = 0) -> Callable:
    """The matrix of second derivatives H[i..., j...] of a function with a value of one element."""
    _check_function("hessian", f, argnums)
    first = grad(f, argnums)

    def function(*args: Any) -> Any:
        (number,) = _numbers(argnums, len(args))
        made = list(args)
        made[number] = as_tensor(args[number]).detach().requires_grad_() if not _tracked(args[number]) else args[number]
        result = jacobian(lambda *a: first(*a), argnums)(*made)
        return result if any(_tracked(a) for a in args) else result.detach()

    return function


def _tracked(x: Any) -> bool:
    return isinstance(x, _engine.Tensor) and x.requires_grad


# ---- the checker ----


def gradcheck(
    f: Callable, inputs: Any, *, eps: float = 1e-5, atol: float = 1e-6, rtol: float = 1e-4, directions: int = 2,
    seed: int = 0, raise_exception: bool = True,
) -> bool:  # fmt: skip
    """Compares f's gradient rule with central differences, in float64, along random directions.

    For random u and d it compares u^T J d from the rules with ``(u.f(x + eps d) - u.f(x - eps d)) / (2 eps)``: two
    evaluations whatever the size. A direction that disagrees is searched element by element, so that the message says
    which input and element is off, and by how much.

    Args:
        f: A function of tensors; its result is a tensor or a tuple of them.
        inputs: A tensor or array, or a tuple of them; float ones are checked, as float64.
        eps, atol, rtol: Step and tolerances.
        directions: Number of random directions.
        raise_exception: False: return False instead of raising.

    Raises:
        AssertionError: The gradients disagree.
    """
    args = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    arrays = [np.array(np.asarray(a), np.float64) if _is_float(a) else a for a in args]
    checked = [i for i, a in enumerate(args) if _is_float(a)]
    rng = np.random.Generator(np.random.PCG64(seed))

    def outputs(values: list) -> list:
        result = f(*[as_tensor(v) if isinstance(v, np.ndarray) else v for v in values])
        return [r for r in (result if isinstance(result, (tuple, list)) else [result]) if r.dtype.kind == "f"]

    leaves = [as_tensor(a.copy()).requires_grad_() if i in checked else a for i, a in enumerate(arrays)]
    with enable_grad():
        results = outputs(leaves)
    weights = [np.asarray(rng.standard_normal(r.shape)) for r in results]

    def projected(values: list) -> float:
        with no_grad():
            results = [r.numpy().astype(np.float64) for r in outputs(values)]
            return float(np.sum([np.sum(w * r) for w, r in zip(weights, results, strict=True)]))

    live = [(r, w) for r, w in zip(results, weights, strict=True) if r.requires_grad]
    if live:
        analytic = gradients(
            [r for r, _ in live], [leaves[i] for i in checked], [as_tensor(w) for _, w in live], materialize_grads=True
        )
    else:
        analytic = tuple(as_tensor(np.zeros(arrays[i].shape)) for i in checked)
    slopes = {i: np.asarray(g, np.float64) for i, g in zip(checked, analytic, strict=True)}

    def difference(i: int, d: np.ndarray) -> float:
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[i] = np.asarray(arrays[i] + sign * eps * d)  # a 0-d array plus a number is no array any more
            ends.append(projected(moved))
        return (ends[0] - ends[1]) / (2 * eps)

    for i in checked:
        for _ in range(directions):
            d = np.asarray(rng.standard_normal(arrays[i].shape))
            rule, measured = float(np.sum(slopes[i] * d)), difference(i, d)
            # Written so that NaN fails.
            if not abs(rule - measured) <= atol + rtol * abs(measured):
                if not raise_exception:
                    return False
                raise AssertionError(_worst_element(i, arrays[i], slopes[i], difference, rule, measured))
    return True


def _worst_element(i: int, x: np.ndarray, slope: np.ndarray, difference: Callable, rule: float, measured: float) -> str:
    worst, text = -1.0, ""
    for index in list(np.ndindex(x.shape))[:1000]:
        d = np.zeros_like(x)
        d[index] = 1
        at = difference(i, d)
        off = abs(slope[index] - at)
        if not off <= worst:
            worst, text = off, f"element {index} (value {x[index]:.6g}): rule {slope[index]:.9g}, differences {at:.9g}"
    return (f"gradcheck: input {i} of shape {x.shape}: along a random direction the rule gives {rule:.9g}, "
            f"differences {measured:.9g}; worst {text}")  # fmt: skip


def gradgradcheck(f: Callable, inputs: Any, **options: Any) -> bool:
    """:func:`gradcheck` of the gradient of f: checks second derivatives. Takes the same arguments."""
    args = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    checked = [i for i, a in enumerate(args) if _is_float(a)]
    rng = np.random.Generator(np.random.PCG64(1))
    cache: dict[tuple, np.ndarray] = {}

    def first(*values: Any) -> tuple:
        values = tuple(v if not _is_float(v) or v.requires_grad else v.detach().requires_grad_() for v in values)
        with enable_grad():
            result = f(*values)
            results = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if r.requires_grad]
            for k, r in enumerate(results):
                if (k, r.shape) not in cache:
                    cache[k, r.shape] = np.asarray(rng.standard_normal(r.shape))
            starts = [as_tensor(cache[k, r.shape]) for k, r in enumerate(results)]
            return gradients(results, [values[i] for i in checked], starts, create_graph=True, materialize_grads=True)

    return gradcheck(first, args, **options)


def _is_float(a: Any) -> bool:
    return isinstance(a, (np.ndarray, _engine.Tensor)) and a.dtype.kind == "f"


__all__ = ["backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "gradients", "hessian", "is_grad_enabled",
           "jacobian", "jvp", "no_grad", "set_grad_enabled", "value_and_grad", "vjp"]  # fmt: skip
