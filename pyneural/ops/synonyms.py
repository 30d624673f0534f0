"""PyTorch's names for what other ops do already: products with fixed numbers of dimensions, closeness, long names."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from .elementwise import abs, clip, div, exp, mul, neg, relu, sigmoid, sqrt, sub, tanh, where
from .elementwise import pow as _pow
from .gathering import masked_fill
from .linalg import matmul
from .reduction import all
from .shape import reshape

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


def _of_dims(name: str, a: Any, a_ndim: int, b: Any, b_ndim: int) -> tuple[Tensor, Tensor]:
    a, b = as_tensor(a, name), as_tensor(b, name)
    if a.ndim != a_ndim or b.ndim != b_ndim:
        raise ValueError(f"{name}: the arguments need {a_ndim} and {b_ndim} dimensions, but the shapes are {a.shape} and "
                         f"{b.shape}; use matmul")  # fmt: skip
    return a, b


def mm(a: Any, b: Any) -> Tensor:
    """The product of two matrices, (n, k) and (k, m).

    Raises:
        ValueError: The arguments are no matrices, or the shapes do not fit.
    """
    return matmul(*_of_dims("mm", a, 2, b, 2))


def bmm(a: Any, b: Any) -> Tensor:
    """The products of two batches of matrices, (batch, n, k) and (batch, k, m); the batch is not broadcast.

    Raises:
        ValueError: The arguments do not have 3 dimensions, or the shapes do not fit.
    """
    a, b = _of_dims("bmm", a, 3, b, 3)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"bmm: the batches of {a.shape} and {b.shape} differ; matmul broadcasts them")
    return matmul(a, b)


def mv(a: Any, b: Any) -> Tensor:
    """The product of a matrix (n, k) and a vector (k,).

    Raises:
        ValueError: The arguments are no matrix and vector, or the shapes do not fit.
    """
    return matmul(*_of_dims("mv", a, 2, b, 1))


def dot(a: Any, b: Any) -> Tensor:
    """The sum of the products of two vectors' elements.

    Raises:
        ValueError: The arguments are no vectors of one length.
    """
    return matmul(*_of_dims("dot", a, 1, b, 1))


def outer(a: Any, b: Any) -> Tensor:
    """All products of an element of one vector and one of another: (n,) and (m,) give (n, m).

    Raises:
        ValueError: The arguments are no vectors.
    """
    a, b = _of_dims("outer", a, 1, b, 1)
    return mul(reshape(a, (-1, 1)), b)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2), input broadcast to the product's shape; beta 0 ignores input, NaN or not.

    Raises:
        ValueError: mat1 and mat2 are no matrices, or the shapes do not fit.
    """
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    input = as_tensor(input)
    return (input if beta == 1 else input * beta) + product


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """abs(a - b) <= atol + rtol * abs(b), elementwise with broadcasting; equal infinities are close."""
    a, b = as_tensor(a), as_tensor(b)
    with np.errstate(all="ignore"):
        return as_tensor(np.isclose(a.numpy(), b.numpy(), rtol=rtol, atol=atol, equal_nan=equal_nan))


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Are all elements close? See :func:`isclose`."""
    return bool(all(isclose(a, b, rtol, atol, equal_nan)))


def equal(a: Any, b: Any) -> bool:
    """Do a and b have the same shape and the same elements (NaN equals nothing)?"""
    a, b = as_tensor(a), as_tensor(b)
    return a.shape == b.shape and bool(all(a == b))


absolute, negative, multiply, divide, true_divide, subtract = abs, neg, mul, div, div, sub


def _where_method(self: Tensor, condition: Any, other: Any) -> Tensor:
    """self where condition is true, else other, with broadcasting."""
    return where(condition, self, other)


def _in_place(name: str, function: Any) -> Any:
    def method(self: Tensor, *args: Any, **named: Any) -> Tensor:
        return self._update(name, function(self.detach(), *args, **named))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{name[:-1]} in place; see :func:`pyneural.{name[:-1]}`."
    return method


__all__ = [
    "absolute", "addmm", "allclose", "bmm", "divide", "dot", "equal", "isclose", "mm", "multiply", "mv", "negative",
    "outer", "subtract", "true_divide",
]  # fmt: skip
METHODS = tuple(__all__)
#: Methods that are no functions of the surface.
IN_PLACE = {name: _in_place(name, function) for name, function in (
    ("abs_", abs), ("clip_", clip), ("exp_", exp), ("masked_fill_", masked_fill), ("neg_", neg), ("pow_", _pow),
    ("relu_", relu), ("sigmoid_", sigmoid), ("sqrt_", sqrt), ("tanh_", tanh))}  # fmt: skip
ONLY_METHODS = {"where": _where_method, **IN_PLACE}
