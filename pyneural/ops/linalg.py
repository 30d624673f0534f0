"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from .record import composed, op


def _transposed(x: Any) -> Any:
    """The last two axes swapped."""
    from .shape import transpose

    return transpose(x, -2, -1)


def _matmul_samples(make: Any) -> list[tuple]:
    shapes = [((1, 1), (1, 1)), ((2, 3), (3, 4)), ((5, 0), (0, 3)), ((0, 4), (4, 2)), ((17, 33), (33, 9)), ((65, 31), (31, 65)),
              ((3, 4, 5), (5, 2)), ((3, 4, 5), (3, 5, 2)), ((2, 1, 4, 5), (3, 5, 2)), ((4, 5), (3, 5, 2)), ((130, 70), (70, 140))]  # fmt: skip
    return [(make(*a), make(*b)) for a, b in shapes]


_matmul = op("matmul", "a b", reference=np.matmul,
             gradient={"a": lambda g, b: _matmul(g, _transposed(b)), "b": lambda g, a: _matmul(_transposed(a), g)},
             formula={"a": r"g\,b^T", "b": r"a^T g"}, samples=_matmul_samples, tolerance=64,
             errors=lambda make: [
                 ((make(2, 3), make(2, 3)), ValueError, r"matmul: \(2, 3\) @ \(2, 3\): the first has 3 columns but the second has 2"),
                 ((make(2, 3, 4), make(3, 4, 5)), ValueError, "batch dimensions .* do not broadcast"),
                 ((make(3), make(3, 2)), ValueError, "at least 2 dimensions")])  # fmt: skip


@composed(
    name="matmul_vectors",
    reference=np.matmul,
    samples=lambda make: [(make(3), make(3)), (make(3), make(3, 2)), (make(4, 3), make(3)), (make(2, 4, 3), make(3))],
    errors=lambda make: [
        ((make(), make(3)), ValueError, "matmul"),
        ((make(4), make(3)), ValueError, r"matmul.*\(4,\)"),
    ],
    tolerance=64,
)
def matmul(a: Any, b: Any) -> Any:
    """The matrix product a @ b, batched over leading dimensions, which broadcast (``np.matmul``).

    Args:
        a: (..., m, k), or (k,) for a row.
        b: (..., k, n), or (k,) for a column.

    Returns:
        (..., m, n), without the m or n of a vector argument.

    Raises:
        ValueError: An argument is 0-d, the inner sizes differ, or the batch dimensions do not broadcast.
    """
    a, b = _engine.as_tensor(a, "matmul"), _engine.as_tensor(b, "matmul")
    if a.ndim >= 2 and b.ndim >= 2:
        return _matmul(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"matmul: arguments need at least 1 dimension, but the shapes are {a.shape} and {b.shape}; use a * b"
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: the inner sizes differ")
    from .shape import reshape, squeeze

    row = a.ndim == 1
    column = b.ndim == 1
    y = _matmul(reshape(a, (1, -1)) if row else a, reshape(b, (-1, 1)) if column else b)
    y = squeeze(y, -1) if column else y
    return squeeze(y, -1 if column else -2) if row else y


def _rows(x: Any) -> Any:
    """x with all leading axes as one."""
    from .shape import reshape

    return x if x.ndim == 2 else reshape(x, (int(np.prod(x.shape[:-1])), x.shape[-1]))


def _linear_samples(make: Any) -> list[tuple]:
    return [(make(3, 4), make(5, 4), make(5)), (make(3, 4), make(5, 4), None), (make(4), make(5, 4), make(5)),
            (make(2, 3, 4), make(5, 4), make(5)), (make(0, 4), make(5, 4), make(5)),
            (make(65, 33), make(17, 33), make(17)), (make(1, 70), make(70, 70), make(70))]  # fmt: skip


_linear = op("linear", "x weight bias?", reference=lambda x, weight, bias: x @ weight.T + (0 if bias is None else bias),
             gradient={"x": lambda g, weight: matmul(g, weight),
                       "weight": lambda g, x: _matmul(_transposed(_rows(g)), _rows(x)),
                       "bias": lambda g, bias_shape: _engine_sum(g, bias_shape)},
             formula={"x": r"g\,W", "weight": r"g^T x", "bias": r"\sum_n g_n"}, tolerance=64,
             samples=_linear_samples,
             errors=lambda make: [
                 ((make(2, 7), make(4, 8), make(4)), ValueError, r"linear: x has 7 columns but weight expects 8 .*\(4, 8\)"),
                 ((make(2, 8), make(4, 8), make(3)), ValueError, r"linear: bias has shape \(3,\)"),
                 ((make(2, 8), make(8), None), ValueError, "linear: weight must have 2 dimensions")])  # fmt: skip


def _engine_sum(g: Any, shape: tuple[int, ...]) -> Any:
    from .reduction import sum_to

    return sum_to(g, shape)


def bfloat16(x: Any) -> Any:
    """x rounded to the nearest bfloat16 (ties to even, subnormal numbers to 0), as an array of float32."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(np.shape(x))
    magnitude = u & np.uint32(0x7FFFFFFF)
    near = (u + np.uint32(0x7FFF) + (u >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    quiet = (u | np.uint32(0x00400000)) & np.uint32(0xFFFF0000)
    y = np.where(magnitude > 0x7F800000, quiet, near)
    return np.where(magnitude < 0x00800000, u & np.uint32(0x80000000), y).astype(np.uint32).view(np.float32)


def _narrow_times(g: Any, weight: Any) -> Any:
    from .shape import reshape

    return _matmul_bf16(g, weight) if g.ndim > 1 else reshape(_matmul_bf16(reshape(g, (1, -1)), weight), (-1,))


# What autocast puts in the place of the two: operands rounded to bfloat16, products and sums in float32. Their
# gradients are products of the same kind.
_matmul_bf16 = op(
    "matmul_bf16", "a b",
    reference=lambda a, b: np.matmul(bfloat16(a), bfloat16(b)),
    gradient={"a": lambda g, b: _matmul_bf16(g, _transposed(b)), "b": lambda g, a: _matmul_bf16(_transposed(a), g)},
    formula={"a": r"g\,b^T", "b": r"a^T g"}, samples=_matmul_samples, tolerance=64, dtypes="float32", differences=False,
    errors=lambda make: [
        ((make(2, 3), make(3, 4)), TypeError, "matmul_bf16: the operands are float64 but only float32 is rounded"),
        ((make(2, 3).astype(np.float32), make(2, 3).astype(np.float32)), ValueError, r"matmul_bf16: \(2, 3\) @ \(2, 3\)")],
)  # fmt: skip

_linear_bf16 = op(
    "linear_bf16", "x weight bias?",
    reference=lambda x, weight, bias: bfloat16(x) @ bfloat16(weight).T + (0 if bias is None else bias),
    gradient={"x": lambda g, weight: _narrow_times(g, weight),
              "weight": lambda g, x: _matmul_bf16(_transposed(_rows(g)), _rows(x)),
              "bias": lambda g, bias_shape: _engine_sum(g, bias_shape)},
    formula={"x": r"g\,W", "weight": r"g^T x", "bias": r"\sum_n g_n"}, tolerance=64, dtypes="float32",
    differences=False, samples=_linear_samples,
    errors=lambda make: [((make(2, 8), make(4, 8), None), TypeError, "linear_bf16: the operands are float64")],
)  # fmt: skip

_matmul.set_narrow(_matmul_bf16)
_linear.set_narrow(_linear_bf16)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight^T + bias.

    Args:
        x: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.

    Returns:
        (..., out_features).

    Raises:
        ValueError: The shapes do not fit.
    """
    return _linear(x, weight, bias)


__all__ = ["linear", "matmul"]
METHODS = ("matmul",)
