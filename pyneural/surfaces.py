"""Loss surfaces: slices along directions, tests of convexity, curvature, and the ends of the Hessian's spectrum.

Every function takes a loss and the point ``at`` where it is looked at::

    slice_2d(lambda p: F.mse_loss(nn.functional_call(model, p, x), y), parameters, u, v, steps)   # a function of `at`
    slice_2d(lambda: F.mse_loss(model(x), y), model, u, v, steps)                                 # `at` is a module

In the first form ``at`` is a tensor or a nested container of tensors, in the second the module's parameters are
replaced while the loss runs. Directions are like ``at``; those of a module are dicts by parameter name. Nothing at
``at`` is written to, so that it has the same bits afterwards, also when the loss raises. Modules stay in the mode in
which they are: call ``model.eval()`` first where there is dropout.

The loss is recorded once by ``pn.compile`` and replayed at every point; pass ``compiled=False`` where it cannot be.
What does not move along a slice is computed once, and a layer on constant inputs from its products with the directions,
so that values are those of the loss up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._hoisting import agree, hoisted
from ._lanczos import lanczos
from .autodiff import hvp, no_grad
from .autodiff.trees import leaves, mapped, named_leaves, rebuild
from .compiling import compile
from .nn.module import Module
from .nn.stateless import replaced
from .random import Generator, randn
from .tensor import Tensor, as_tensor, from_numpy, zeros_like


class _Problem:
    """A loss as a function of a list of tensors, and the point it is looked at.

    Attributes:
        tree: The point as nested containers; tensors: its tensors, off the tape; dtype: the widest of theirs.
        value: ``value(tensors)`` gives the loss there.
    """

    def __init__(self, name: str, loss: Callable[..., Any], at: Any) -> None:
        self.name = name
        self._module = at if isinstance(at, Module) else None
        self.tree = dict(at.named_parameters()) if isinstance(at, Module) else at
        self.tensors: list[Any] = [as_tensor(x).detach() for x in leaves(self.tree)]
        if not self.tensors or any(t.dtype.kind != "f" for t in self.tensors):
            raise TypeError(
                f"{name}: `at` must hold float tensors, it holds {[str(t.dtype) for t in self.tensors] or 'none'}"
            )
        self.dtype = np.result_type(*[t.dtype for t in self.tensors])
        self._loss = loss

    def value(self, tensors: Any) -> Tensor:
        tree = rebuild(self.tree, iter(tensors))
        if self._module is None:
            result = self._loss(tree)
        else:
            with replaced(self._module, tree):
                result = self._loss()
        if not isinstance(result, Tensor) or result.numel() != 1 or result.dtype.kind != "f":
            what = f"{result.dtype}{result.shape}" if isinstance(result, Tensor) else type(result).__name__
            raise TypeError(f"{self.name}: the loss must return a float tensor of one element, it returns {what}")
        return result.reshape(())

    def direction(self, what: str, tree: Any) -> list[Tensor | None]:
        """A direction's tensors; None where it does not move."""
        given, wanted = list(named_leaves(tree)), list(named_leaves(self.tree))
        if [p for p, _ in given] != [p for p, _ in wanted]:
            raise ValueError(f"{self.name}: {what} must be nested like `at`, with tensors at "
                             f"{[p or 'the top' for p, _ in wanted]}, but has them at "
                             f"{[p or 'the top' for p, _ in given]}")  # fmt: skip
        made: list[Tensor | None] = []
        for (place, d), x in zip(given, self.tensors, strict=True):
            t = as_tensor(d).detach().to(x.dtype)
            if t.shape != x.shape:
                raise ValueError(f"{self.name}: {what}{place} has shape {t.shape}, the point has {x.shape} there")
            made.append(t if np.any(t.numpy()) else None)
        return made

    def moved(self, steps: Any, directions: list[list[Tensor | None]]) -> list[Tensor]:
        """The point plus steps[0, k] times direction k."""
        found = []
        for i, x in enumerate(self.tensors):
            for k, direction in enumerate(directions):
                d = direction[i]
                if d is not None:
                    x = x + steps[0, k] * d
            found.append(x)
        return found

    def replay(self, step: Callable[..., Any], *data: np.ndarray, compiled: bool) -> np.ndarray:
        """step(row, ...) for each row of the data, float64 (rows,) or (rows, numbers that it returns)."""
        with no_grad():
            if compiled:
                return compile(step).epoch(*data, batch_size=1)
            found = []
            for i in range(len(data[0])):
                result = step(*[from_numpy(d[i : i + 1]) for d in data])
                found.append([r.item() for r in (result if isinstance(result, tuple) else (result,))])
            return np.squeeze(np.array(found, np.float64), axis=1) if found and len(found[0]) == 1 else np.array(found)


# ---- slices ----


def slice_1d(loss: Callable[..., Any], at: Any, direction: Any, steps: Any, *, compiled: bool = True) -> np.ndarray:
    """The loss at ``at + t * direction`` for each t of steps.

    Args:
        loss, at, compiled: See the module.
        direction: Like ``at``.
        steps: (n,) numbers.

    Returns:
        float64 (n,).

    Raises:
        ValueError: The direction is nested or shaped differently, or steps are no vector.
        TypeError: The loss does not return one float, or ``at`` holds no float tensors.
        CaptureError: The loss cannot be recorded; see ``compiled``.
    """
    p = _Problem("slice_1d", loss, at)
    return _on_points(p, [p.direction("direction", direction)], _vector(p, "steps", steps)[:, None], compiled)


def slice_2d(
    loss: Callable[..., Any], at: Any, first: Any, second: Any, steps: Any, second_steps: Any = None, *,
    compiled: bool = True,
) -> np.ndarray:  # fmt: skip
    """The loss at ``at + s * first + t * second`` for each s of steps and t of second_steps.

    Args:
        loss, at, compiled: See the module.
        first, second: Directions, like ``at``.
        steps, second_steps: (n,) and (m,) numbers; by default both the same.

    Returns:
        float64 (n, m); ``[i, j]`` belongs to steps[i] and second_steps[j].

    Raises:
        What :func:`slice_1d` raises.
    """
    p = _Problem("slice_2d", loss, at)
    directions = [p.direction("first", first), p.direction("second", second)]
    s = _vector(p, "steps", steps)
    t = s if second_steps is None else _vector(p, "second_steps", second_steps)
    points = np.stack(np.meshgrid(s, t, indexing="ij"), axis=-1).reshape(-1, 2)
    return _on_points(p, directions, points, compiled).reshape(len(s), len(t))


def _vector(p: _Problem, name: str, steps: Any) -> np.ndarray:
    found = np.asarray(steps, p.dtype)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"{p.name}: {name} must be a vector of numbers, got shape {found.shape}")
    return found


#: Points that are computed by the loss as it is, before what does not move is taken out of it.
_CHECKED = 5


def _on_points(p: _Problem, directions: list, points: np.ndarray, compiled: bool) -> np.ndarray:
    points = np.ascontiguousarray(points)

    def step(at: Any) -> Tensor:
        return p.value(p.moved(at, directions))

    if not compiled or len(points) <= 4 * _CHECKED:
        return p.replay(step, points, compiled=compiled)
    # The ends of the range and points in between tell whether the shorter program is the same function.
    chosen = np.linspace(0, len(points) - 1, _CHECKED).round().astype(int)
    wanted = p.replay(step, points[chosen], compiled=True)
    with no_grad():
        parts = [[x, *[d[i] for d in directions]] for i, x in enumerate(p.tensors)]
        shorter = hoisted(p.value, lambda at: p.moved(at, directions), parts, from_numpy(points[:1]))
    if shorter is not None:
        values = p.replay(shorter, points, compiled=True)
        if agree(values[chosen], wanted, float(np.finfo(p.dtype).eps)):
            return values
    return p.replay(step, points, compiled=True)


def random_direction(at: Any, *, normalise: str | None = None, generator: Generator | None = None) -> Any:
    """A normally distributed direction, like ``at``.

    Args:
        at: Tensors in nested containers, or a module.
        normalise: None: entries are N(0, 1). ``"filter"``: each row of a weight (all that leads to one unit, or one
            convolution filter) gets the norm of that row of ``at``, and vectors (biases) do not move (Li, Xu, Taylor,
            Studer and Goldstein, arXiv 1712.09913). ``"layer"``: each tensor gets the norm of that of ``at``.
        generator: Where the numbers come from; by default the process's.

    Raises:
        ValueError: There is no such normalisation.
    """
    if normalise not in (None, "filter", "layer"):
        raise ValueError(f"random_direction: normalise is {normalise!r}; it must be None, 'filter' or 'layer'")

    def drawn(x: Any) -> Tensor:
        x = as_tensor(x).detach()
        d = randn(*x.shape, dtype=x.dtype, generator=generator)
        if normalise is None:
            return d
        if normalise == "filter" and x.ndim < 2:
            return d * 0.0
        rows, like = (d.reshape(x.shape[0], -1), x.reshape(x.shape[0], -1)) if normalise == "filter" else (
            d.reshape(1, -1), x.reshape(1, -1))  # fmt: skip
        return (rows * (like.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True))).reshape(x.shape)

    with no_grad():
        return mapped(drawn, dict(at.named_parameters()) if isinstance(at, Module) else at)


# ---- convexity ----


@dataclass(frozen=True)
class MidpointTest:
    """What :func:`midpoint_violations` has found.

    Attributes:
        tested, violated: Numbers of midpoints.
        worst: The largest excess of a value over the mean of its two neighbours; negative if there is none.
        where: bool, of the grid's shape: the midpoints that are violated in at least one direction.
    """

    tested: int
    violated: int
    worst: float
    where: np.ndarray


def second_differences(values: Any) -> list[np.ndarray]:
    """f(a) - 2 f(mid) + f(b) for all neighbours of each inner point of an equally spaced slice.

    Args:
        values: (n,), or (n, m).

    Returns:
        One array for a line, (n - 2,); four for a grid: along the first axis, along the second, and along the two
        diagonals. A convex function has none below zero.

    Raises:
        ValueError: values have other than 1 or 2 dimensions.
    """
    return [np.asarray(v[mid] * -2 + v[a] + v[b]) for v, a, mid, b in _triples(values)]


def _triples(values: Any) -> Iterator[tuple[np.ndarray, Any, Any, Any]]:
    v = np.asarray(values, np.float64)
    if v.ndim not in (1, 2):
        raise ValueError(f"values must be a slice, (n,) or (n, m), got shape {v.shape}")
    low, mid, high, every = slice(None, -2), slice(1, -1), slice(2, None), slice(None)
    if v.ndim == 1:
        yield v, low, mid, high
        return
    yield v, (low, every), (mid, every), (high, every)
    yield v, (every, low), (every, mid), (every, high)
    yield v, (low, low), (mid, mid), (high, high)
    yield v, (low, high), (mid, mid), (high, low)


def midpoint_violations(values: Any, tolerance: float = 1e-12) -> MidpointTest:
    """Where a slice lies above the mean of two neighbours on opposite sides: there the loss is not convex.

    A violation disproves convexity; a slice without one proves nothing.

    Args:
        values: An equally spaced slice, (n,) or (n, m); the neighbours are those of :func:`second_differences`.
        tolerance: Excess that is taken as rounding, relative to the larger of the three values. The default is for
            float64; a float32 loss needs some 1e-6.

    Raises:
        ValueError: values have other than 1 or 2 dimensions.
    """
    where = np.zeros(np.shape(values), bool)
    tested = violated = 0
    worst = -np.inf
    for v, a, mid, b in _triples(values):
        excess = v[mid] - (v[a] + v[b]) / 2
        size = np.maximum(np.abs(v[mid]), np.maximum(np.abs(v[a]), np.abs(v[b])))
        bad = ~(excess <= tolerance * size)  # NaN is a violation
        where[mid] |= bad
        tested += bad.size
        violated += int(bad.sum())
        worst = max(worst, float(excess.max(initial=-np.inf)))
    return MidpointTest(tested, violated, worst, where)


def midpoint_gaps(loss: Callable[..., Any], first: Any, second: Any, *, compiled: bool = True) -> np.ndarray:
    """(f(a) + f(b)) / 2 - f((a + b) / 2) for pairs of points: a convex function has none below zero.

    Args:
        loss: A function of one tensor.
        first, second: Float arrays (n, ...): the points a and b, one per row.
        compiled: See the module.

    Returns:
        float64 (n,).

    Raises:
        ValueError: The arrays differ in shape.
        TypeError: The loss does not return one float.
    """
    a, b = (np.ascontiguousarray(np.asarray(x)) for x in (first, second))
    if a.shape != b.shape or a.ndim < 1:
        raise ValueError(
            f"midpoint_gaps: first and second must be points row by row, got shapes {a.shape} and {b.shape}"
        )
    p = _Problem("midpoint_gaps", loss, a[0])

    def step(u: Any, v: Any) -> Tensor:
        u, v = u.reshape(a.shape[1:]), v.reshape(a.shape[1:])
        return (p.value([u]) + p.value([v])) / 2 - p.value([(u + v) / 2])

    return p.replay(step, a, b, compiled=compiled)


# ---- curvature ----


def curvature_along(
    loss: Callable[..., Any], at: Any, direction: Any, steps: Any = (0.0,), *, compiled: bool = True
) -> np.ndarray:
    """d^T H d at ``at + t * direction`` for each t of steps: the second derivative of the slice along the direction d.

    Takes and raises what :func:`slice_1d` does. Returns float64 (n,).
    """
    p = _Problem("curvature_along", loss, at)
    moving = p.direction("direction", direction)
    d = [zeros_like(x) if t is None else t for x, t in zip(p.tensors, moving, strict=True)]

    def step(at: Any) -> Tensor:
        _, products = hvp(p.value, (p.moved(at, [moving]),), (d,))
        return sum(((h * t).sum() for h, t in zip(products, d, strict=True)), as_tensor(np.zeros((), p.dtype)))

    return p.replay(step, np.ascontiguousarray(_vector(p, "steps", steps)[:, None]), compiled=compiled)


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues at the ends of a Hessian's spectrum, the largest first.

    Attributes:
        values: float64 (k,).
        vectors: Unit eigenvectors, each nested like the point: directions for the slices.
        residuals: ``|H v - value v|`` (k,), which bounds each value's error.
        converged: bool (k,).
        products: Number of Hessian-vector products.
    """

    values: np.ndarray
    vectors: list[Any]
    residuals: np.ndarray
    converged: np.ndarray
    products: int


def extreme_eigenpairs(
    loss: Callable[..., Any], at: Any, largest: int = 5, smallest: int = 0, *, tolerance: float = 1e-4,
    max_products: int = 300, seed: int = 0, compiled: bool = True,
) -> Eigenpairs:  # fmt: skip
    """The algebraically largest and smallest eigenvalues of the loss's Hessian, with eigenvectors.

    Lanczos' method over Hessian-vector products, with full reorthogonalisation, so that no eigenvalue is found twice
    (of a repeated one, copies beyond the first are found when the space of the first is used up). It holds as many
    vectors of float64 as it takes products.

    Args:
        loss, at, compiled: See the module.
        largest, smallest: How many at either end.
        tolerance: Wanted residual, relative to the eigenvalue; the error of the value is smaller still. Values that
            are nothing but rounding noise of the largest one count as converged.
        max_products: Where to stop at the latest.
        seed: Of the first vector.

    Raises:
        ValueError: More eigenvalues are wanted than there are variables, or none.
        RuntimeError: (from NumPy) The Hessian is not finite.

    Warns:
        RuntimeWarning: Not all have converged; see ``converged``.
    """
    p = _Problem("extreme_eigenpairs", loss, at)
    sizes = [x.numel() for x in p.tensors]
    cuts = np.cumsum(sizes)[:-1]

    def tensors_of(flat: np.ndarray) -> list[Any]:
        parts = zip(np.split(flat, cuts), p.tensors, strict=True)
        return [from_numpy(np.ascontiguousarray(v.reshape(x.shape), x.dtype)) for v, x in parts]

    def product(v: Any) -> Any:
        return hvp(p.value, (p.tensors,), (v,))[1]

    step = compile(product) if compiled else product

    def times(flat: np.ndarray) -> np.ndarray:
        with no_grad():
            return np.concatenate([np.asarray(h, np.float64).reshape(-1) for h in step(tensors_of(flat))])

    found = lanczos(times, sum(sizes), largest, smallest, tolerance, max_products, float(np.finfo(p.dtype).eps), seed)
    vectors = [rebuild(p.tree, iter(tensors_of(v))) for v in found.vectors]
    return Eigenpairs(found.values, vectors, found.residuals, found.converged, found.products)


__all__ = ["Eigenpairs", "MidpointTest", "curvature_along", "extreme_eigenpairs", "midpoint_gaps",
           "midpoint_violations", "random_direction", "second_differences", "slice_1d", "slice_2d"]  # fmt: skip
