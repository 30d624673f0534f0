"""Pooling over one to three spatial axes: maxima and means over windows, by size or adaptive, and max-unpooling.

The primitives are told the size of their result. Without a kernel size their windows are adaptive: output j of n over
an axis of m elements spans ``[floor(j m / n), ceil((j + 1) m / n))``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer, integers
from .convolution import spatial_numbers, with_batch
from .gathering import gather, index_tensor
from .record import op
from .shape import reshape

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d",
]  # fmt: skip
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

# ---- references: a loop over the windows ----


def _windows(
    large: Sequence[int], size: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any
) -> Iterator[Any]:
    """Every output's NumPy index, the places of its window along each axis, and its number of places with the padding."""
    for out in np.ndindex(*size):
        places, count = [], 1
        for i, (j, n, m) in enumerate(zip(out, large, size, strict=True)):
            if kernel:
                start = j * stride[i] - padding[i]
                at = start + dilation[i] * np.arange(kernel[i])
                count *= min(start + kernel[i], n + padding[i]) - start
                places.append(at[(at >= 0) & (at < n)])
            else:
                places.append(np.arange(j * n // m, -(-(j + 1) * n // m)))
                count *= len(places[-1])
        yield (..., *out), tuple(places), count


def _max_reference(x: np.ndarray, size: Any, *windows: Any) -> tuple:
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    place, most = _no_places(y.shape, x.shape[2:], *windows)
    for out, places, _ in _windows(x.shape[2:], size, *windows):
        lengths = [len(p) for p in places]
        grid: Any = (..., *np.ix_(*places))
        part = x[grid].reshape(*x.shape[:2], math.prod(lengths))
        nan = np.isnan(part)
        last_nan = part.shape[-1] - 1 - np.argmax(nan[..., ::-1], axis=-1)
        best = np.where(nan.any(-1), last_nan, np.argmax(part, axis=-1))
        y[out] = np.take_along_axis(part, best[..., None], -1)[..., 0]
        place[out] = np.ravel_multi_index(np.unravel_index(best, lengths), most)
    return y, place


def _no_places(shape: Sequence[int], large: Sequence[int], *windows: Any) -> tuple[np.ndarray, list[int]]:
    """Zeros of a shape (N, C, ...) in the type of its places, and the sizes of the largest window, which they count in:
    element (i0, i1, ...) of a window, not counting padding, is their ravelled index."""
    every = [[len(p) for p in places] for _, places, _ in _windows(large, shape[2:], *windows)]
    most = [max(lengths) for lengths in zip(*every, strict=True)]
    return np.zeros(shape, np.uint8 if math.prod(most) <= 256 else np.int32), most


def _indices_reference(place: np.ndarray, size: Any, *windows: Any) -> np.ndarray:
    index = np.zeros(place.shape, np.int64)
    _, most = _no_places(place.shape, size, *windows)
    for out, places, _ in _windows(size, place.shape[2:], *windows):
        at = np.unravel_index(place[out], most)
        index[out] = np.ravel_multi_index(tuple(p[i] for p, i in zip(places, at, strict=True)), size)
    return index


def _scatter_reference(x: np.ndarray, indices: np.ndarray, size: Any, add: bool) -> np.ndarray:
    y = np.zeros((*x.shape[:2], math.prod(size)), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        if add:
            np.add.at(y[n, c], indices[n, c].reshape(-1), x[n, c].reshape(-1))
        else:
            y[n, c][indices[n, c].reshape(-1)] = x[n, c].reshape(-1)
    return y.reshape(*x.shape[:2], *size)


def _divisor(places: tuple, count: int, with_padding: bool, divisor: int | None) -> int:
    return divisor or (count if with_padding else math.prod([len(p) for p in places]))


def _avg_reference(
    x: np.ndarray, size: Any, kernel: Any, stride: Any, padding: Any, with_padding: bool, divisor: int | None
) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    ones = (1,) * len(size)
    for out, places, count in _windows(x.shape[2:], size, kernel, stride, padding, ones):
        grid: Any = (..., *np.ix_(*places))
        part = x[grid]
        total = part.sum(tuple(range(2, x.ndim)), dtype=np.float64)
        y[out] = total / _divisor(places, count, with_padding, divisor)
    return y


def _avg_backward_reference(
    x: np.ndarray, size: Any, kernel: Any, stride: Any, padding: Any, with_padding: bool, divisor: int | None
) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *size))
    ones = (1,) * len(size)
    for out, places, count in _windows(size, x.shape[2:], kernel, stride, padding, ones):
        share = x[out] / _divisor(places, count, with_padding, divisor)
        grid: Any = (..., *np.ix_(*places))
        y[grid] += share.reshape(*x.shape[:2], *ones)
    return y.astype(x.dtype)


# ---- samples: shape, size of the result, kernel, stride, padding (, dilation) ----

_MAXIMA = (
    ((2, 3, 6, 8), (3, 4), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((1, 2, 7), (3,), (3,), (2,), (0,), (1,)),
    ((2, 1, 7), (4,), (3,), (2,), (1,), (1,)),
    ((2, 2, 5, 9), (3, 5), (2, 3), (2, 2), (1, 1), (1, 1)),
    ((1, 2, 9, 7), (5, 5), (3, 2), (1, 1), (0, 0), (2, 2)),
    ((1, 1, 9, 37), (4, 36), (3, 2), (2, 1), (0, 0), (1, 1)),
    ((1, 2, 5, 61), (3, 20), (1, 3), (2, 3), (0, 0), (1, 1)),
    ((2, 1, 4, 5, 6), (2, 3, 3), (2, 3, 2), (2, 1, 2), (0, 0, 0), (1, 1, 1)),
    ((0, 2, 4, 4), (2, 2), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((2, 3, 7, 5), (3, 2), (), (), (), ()),
    ((1, 2, 4), (6,), (), (), (), ()),
    ((3, 9, 40, 40), (20, 20), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((2, 3, 7, 11), (3, 5), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((1, 2, 16, 17), (1, 2), (16, 16), (1, 1), (0, 0), (1, 1)),
    ((2, 9, 17, 17), (1, 2), (17, 16), (1, 1), (0, 0), (1, 1)),
    ((1, 2, 7, 9, 7), (2, 2, 2), (7, 7, 7), (2, 2, 2), (3, 2, 2), (1, 1, 1)),
    ((2, 3, 56, 56), (1, 1), (), (), (), ()),
)
_MEANS = (
    ((2, 3, 6, 8), (3, 4), (2, 2), (2, 2), (0, 0), True, None),
    ((1, 2, 7), (3,), (3,), (2,), (0,), True, None),
    ((2, 1, 7), (4,), (3,), (2,), (1,), True, None),
    ((2, 1, 8), (5,), (3,), (2,), (1,), False, None),
    ((2, 2, 5, 9), (3, 5), (2, 3), (2, 2), (1, 1), True, None),
    ((2, 2, 5, 9), (3, 5), (2, 3), (2, 2), (1, 1), True, 5),
    ((1, 2, 6, 7), (6, 4), (1, 3), (1, 2), (0, 1), False, None),
    ((2, 1, 4, 5, 6), (2, 3, 3), (2, 3, 2), (2, 1, 2), (0, 0, 0), True, -3),
    ((0, 2, 4, 4), (2, 2), (2, 2), (2, 2), (0, 0), True, None),
    ((2, 3, 7, 5), (3, 2), (), (), (), True, None),
    ((1, 2, 4), (6,), (), (), (), True, None),
    ((3, 9, 40, 40), (20, 20), (2, 2), (2, 2), (0, 0), True, None),
)


def _places(make: Any) -> list[tuple]:
    samples = []
    for n, c, small, large in ((2, 3, (2, 3), (5, 4)), (1, 2, (3,), (7,)), (2, 1, (1, 2, 2), (2, 3, 2)), (0, 2, (2,), (5,)),
                               (3, 7, (20, 20), (40, 40))):  # fmt: skip
        count, places = math.prod(small), math.prod(large)
        rows = [make.rng.permutation(places)[:count] for _ in range(n * c)]
        indices = np.array(rows, np.int64).reshape(n, c, count)
        samples.append((make(n, c, *small), indices.reshape(n, c, *small), large))
    return samples


def _at(g: Tensor, indices: Tensor) -> Tensor:
    """g (N, C, ...) at places of its flattened spatial axes; in the shape of the indices."""
    n, c = g.shape[:2]
    flat = reshape(g, (n, c, math.prod(g.shape[2:])))
    return reshape(gather(flat, 2, reshape(indices, (n, c, math.prod(indices.shape[2:])))), indices.shape)


def _pair_errors(make: Any, what: str, dtype: Any) -> list[tuple]:
    name = np.dtype(dtype).name
    return [
        ((make(2, 3, 4), np.zeros((2, 3, 5), dtype), (9,)), ValueError, f"x .* and {what} .* must have one shape"),
        ((make(2, 3, 4), make(2, 3, 4), (9,)), TypeError, f"{what} are float64 but must be {name}"),
        ((make(2, 3, 4), np.zeros((2, 3, 4), dtype), (9, 9)), ValueError, "size has 2 entries"),
    ]


def _placed(make: Any) -> list[tuple]:
    """Places of maxima, the sizes of what was pooled, and the windows."""
    return [
        (_max_reference(make.distinct(*shape), size, *windows)[1], shape[2:], *windows)
        for shape, size, *windows in _MAXIMA
    ]


#: ``max_pool(x, size, kernel_size, stride, padding, dilation)``: the maxima, and which element of its window each is
#: (`_no_places`): uint8, or int32 if a window has more than 256.
_max_pool: Any = op(
    "max_pool",
    "x",
    attributes="size kernel_size stride padding dilation",
    reference=_max_reference,
    gradient={
        "x": lambda g0, y1, x_shape, kernel_size, stride, padding, dilation: _max_pool_backward(
            g0, y1, x_shape[2:], kernel_size, stride, padding, dilation
        )
    },
    formula={"x": r"g \text{ at the place of each maximum}"},
    samples=lambda make: [(make.distinct(*shape), *rest) for shape, *rest in _MAXIMA],
    errors=lambda make: [
        ((make(2, 3), (3,), (1,), (1,), (0,), (1,)), ValueError, "must have a batch and a channel dimension"),
        ((make(2, 3, 4), (3,), (2, 2), (1,), (0,), (1,)), ValueError, "max_pool1d: kernel_size has 2 entries"),
        ((make(2, 3, 4), (9,), (2,), (1,), (0,), (1,)), ValueError, "window of output 4 .* holds no element of x"),
        ((make(2, 3, 4), (3,), (2,), (0,), (0,), (1,)), ValueError, "stride .* at least 1"),
    ],
)

#: ``max_pool_backward(x, places, size, kernel_size, stride, padding, dilation)``: zeros of the spatial sizes with x's
#: elements added at their places, as ``max_pool`` gave them.
_max_pool_backward: Any = op(
    "max_pool_backward",
    "x places",
    attributes="size kernel_size stride padding dilation",
    reference=lambda x, places, *rest: _scatter_reference(x, _indices_reference(places, *rest), rest[0], True),
    gradient={
        "x": lambda g, places, size, kernel_size, stride, padding, dilation: _at(
            g, _max_pool_indices(places, size, kernel_size, stride, padding, dilation)
        )
    },
    formula={"x": r"g \text{ at the places}"},
    samples=lambda make: [(make(*places.shape), places, *rest) for places, *rest in _placed(make)],
    errors=lambda make: [
        ((*given, (1,), (1,), (0,), (1,)), *rest) for given, *rest in _pair_errors(make, "places", np.uint8)
    ],
)

#: ``max_pool_indices(places, size, kernel_size, stride, padding, dilation)``: where the maxima are among the flattened
#: spatial axes of what was pooled, whose sizes size gives; int64.
_max_pool_indices: Any = op(
    "max_pool_indices",
    "places",
    attributes="size kernel_size stride padding dilation",
    reference=_indices_reference,
    samples=_placed,
    errors=lambda make: [
        (
            (make.integers(0, 2, (2, 3, 4)), (8,), (2,), (2,), (0,), (1,)),
            TypeError,
            "places are int64 but must be uint8",
        ),
        ((np.zeros((1, 1, 1), np.uint8), (257,), (), (), (), ()), TypeError, "places are uint8 but must be int32"),
    ],
)

_max_unpool: Any = op(
    "max_unpool",
    "x indices",
    attributes="size",
    reference=lambda x, indices, size: _scatter_reference(x, indices, size, False),
    gradient={"x": lambda g, indices: _at(g, indices)},
    formula={"x": r"g \text{ at the indices}"},
    samples=_places,
    errors=lambda make: [
        *_pair_errors(make, "indices", np.int64),
        ((make(1, 1, 2), np.array([[[0, 9]]]), (9,)), IndexError, "index 9 is out of range"),
        ((make(1, 1, 2), np.array([[[0, -1]]]), (9,)), IndexError, "index -1 is out of range"),
    ],
)

_avg_pool: Any = op(
    "avg_pool",
    "x",
    attributes="size kernel_size stride padding count_include_pad divisor_override",
    reference=_avg_reference,
    gradient={
        "x": lambda g, x_shape, kernel_size, stride, padding, count_include_pad, divisor_override: _avg_pool_backward(
            g, x_shape[2:], kernel_size, stride, padding, count_include_pad, divisor_override
        )
    },
    formula={"x": r"g / n \text{ at every place of the window}"},
    samples=lambda make: [(make(*shape), *rest) for shape, *rest in _MEANS],
    errors=lambda make: [
        ((make(2, 3), (3,), (1,), (1,), (0,), True, None), ValueError, "must have a batch and a channel dimension"),
        ((make(2, 3, 4), (3,), (2,), (1,), (0,), True, 0), ValueError, "divisor_override must not be 0"),
        ((make(2, 3, 4), (9,), (2,), (1,), (0,), True, None), ValueError, "holds no element of x"),
    ],
    tolerance=8,
)

#: ``avg_pool_backward(x, size, ...)``: the adjoint of ``avg_pool``; size is that of the result.
_avg_pool_backward: Any = op(
    "avg_pool_backward",
    "x",
    attributes="size kernel_size stride padding count_include_pad divisor_override",
    reference=_avg_backward_reference,
    gradient={
        "x": lambda g, x_shape, kernel_size, stride, padding, count_include_pad, divisor_override: _avg_pool(
            g, x_shape[2:], kernel_size, stride, padding, count_include_pad, divisor_override
        )
    },
    formula={"x": r"\text{mean of } g \text{ over the window}"},
    samples=lambda make: [(make(*shape[:2], *size), shape[2:], *rest) for shape, size, *rest in _MEANS],
    errors=lambda make: [((make(2, 3, 4), (3, 3), (2,), (1,), (0,), True, None), ValueError, "size has 2 entries")],
    tolerance=8,
)


# ---- public ----


def _pooled_sizes(
    name: str, x: Tensor, spatial: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[tuple[int, ...], ...]:
    """The primitives' attributes: size, kernel, stride, padding, dilation."""
    kernel = spatial_numbers(name, "kernel_size", kernel_size, spatial, 1)
    # PyTorch's stride=() stands for the default too.
    steps = kernel if stride is None or stride == () else spatial_numbers(name, "stride", stride, spatial, 1)
    before = spatial_numbers(name, "padding", padding, spatial, 0)
    spread = spatial_numbers(name, "dilation", dilation, spatial, 1)
    size = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, steps, before, spread, strict=True):
        reach = d * (k - 1) + 1
        if 2 * p > reach:
            raise ValueError(
                f"{name}: padding is {padding!r} but must be at most half of the window: 0 to {reach // 2}"
            )
        room = n + 2 * p - reach
        m = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (m - 1) * s >= n + p:
            m -= 1  # no window starts in the padding at the end
        if (room < 0 and m < 1) or n == 0:
            raise ValueError(
                f"{name}: the window reaches over {reach} elements, more than the padded input, which has {n + 2 * p} "
                f"(x is {x.shape}, kernel_size {kernel}, padding {before}, dilation {spread})"
            )
        size.append(m)
    return tuple(size), kernel, steps, before, spread


def _adaptive_sizes(name: str, x: Tensor, output_size: Any, spatial: int) -> tuple[int, ...]:
    """output_size with the sizes of x in place of None.

    Raises:
        ValueError: A size is negative, their number is wrong, or x is empty along a spatial axis.
        TypeError: A size is no integer.
    """
    wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * spatial
    if len(wanted) != spatial:
        raise ValueError(f"{name}: output_size is {output_size!r} but must be one integer or {spatial} of them")
    sizes = tuple(
        [n if m is None else integer(name, "output_size", m) for m, n in zip(wanted, x.shape[2:], strict=True)]
    )
    if min(sizes) < 0:
        raise ValueError(f"{name}: output_size is {output_size!r} but must not be negative")
    if 0 in x.shape[2:]:
        raise ValueError(f"{name}: x of shape {x.shape} has nothing to pool along a spatial dimension")
    return sizes


def _alone(y: Tensor, alone: bool) -> Tensor:
    return y[0] if alone else y


def _maxima(x: Tensor, alone: bool, return_indices: bool, size: Any, *windows: Any) -> Any:
    y, places = _max_pool(x, size, *windows)
    if not return_indices:
        return _alone(y, alone)
    return _alone(y, alone), _alone(_max_pool_indices(places, x.shape[2:], *windows), alone)


def _max(spatial: int, x: Any, return_indices: bool, kernel_size: Any, *rest: Any) -> Any:
    name = f"max_pool{spatial}d"
    x, alone = with_batch(name, x, spatial)
    return _maxima(x, alone, return_indices, *_pooled_sizes(name, x, spatial, kernel_size, *rest))


def _avg(
    spatial: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    name = f"avg_pool{spatial}d"
    x, alone = with_batch(name, x, spatial)
    sizes = _pooled_sizes(name, x, spatial, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and integer(name, "divisor_override", divisor_override) == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    return _alone(_avg_pool(x, *sizes[:4], bool(count_include_pad), divisor_override), alone)


def _adaptive_avg(spatial: int, x: Any, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{spatial}d"
    x, alone = with_batch(name, x, spatial)
    return _alone(_avg_pool(x, _adaptive_sizes(name, x, output_size, spatial), (), (), (), True, None), alone)


def _adaptive_max(spatial: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{spatial}d"
    x, alone = with_batch(name, x, spatial)
    return _maxima(x, alone, return_indices, _adaptive_sizes(name, x, output_size, spatial), (), (), (), ())


def _unpool(
    spatial: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{spatial}d"
    x, alone = with_batch(name, x, spatial)
    indices, _ = with_batch(name, index_tensor(name, indices), spatial)
    kernel = spatial_numbers(name, "kernel_size", kernel_size, spatial, 1)
    steps = kernel if stride is None or stride == () else spatial_numbers(name, "stride", stride, spatial, 1)
    before = spatial_numbers(name, "padding", padding, spatial, 0)
    usual = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[2:], steps, before, kernel, strict=True)]
    size = tuple(usual)
    if output_size is not None:
        size = integers(name, "output_size", tuple(output_size))
        size = size[2:] if len(size) == spatial + 2 else size
        if len(size) != spatial:
            raise ValueError(f"{name}: output_size is {tuple(output_size)} but must have {spatial} entries")
        for m, u, s in zip(size, usual, steps, strict=True):
            if not u - s < m < u + s:
                raise ValueError(
                    f"{name}: output_size {tuple(output_size)} is impossible; {m} must lie between {u - s + 1} and {u + s - 1}"
                )
    if min(size) < 1:
        raise ValueError(f"{name}: nothing is left of the output, whose sizes would be {size} (x is {x.shape})")
    return _alone(_max_unpool(x, indices, size), alone)


def _lp(spatial: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    from .elementwise import where

    name = f"lp_pool{spatial}d"
    if not norm_type > 0:
        raise ValueError(f"{name}: norm_type is {norm_type!r} but must be positive")
    places = math.prod(spatial_numbers(name, "kernel_size", kernel_size, spatial, 1))
    x, alone = with_batch(name, x, spatial)
    powers = x ** float(norm_type)
    sizes = _pooled_sizes(name, x, spatial, kernel_size, stride, 0, 1, ceil_mode)
    total = _avg_pool(powers, *sizes[:4], True, None) * float(places)
    # The root has no derivative at 0, where PyTorch's documentation promises 0.
    nothing = total == 0
    return _alone(where(nothing, 0.0, where(nothing, 1.0, total) ** (1.0 / norm_type)), alone)


def lp_pool1d(x: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Power means over windows of x (N, C, L) or (C, L); see :func:`lp_pool2d`."""
    return _lp(1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(x: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x^p)^(1/p) over windows of an image with p = norm_type, as ``torch.nn.functional.lp_pool2d``.

    Args:
        x: (N, C, H, W) or (C, H, W).
        norm_type: The power, positive; powers that are not whole numbers need elements that are not negative.
        kernel_size, stride, ceil_mode: As for :func:`avg_pool2d`. A window that reaches over the end counts as if it
            went on with the mean of its powers.

    Raises:
        ValueError: The windows do not fit into x, or norm_type is not positive.
    """
    return _lp(2, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(x: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """Power means over windows of x (N, C, D, H, W) or (C, D, H, W); see :func:`lp_pool2d`."""
    return _lp(3, x, norm_type, kernel_size, stride, ceil_mode)


def max_pool1d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Maxima over windows of x (N, C, L) or (C, L); see :func:`max_pool2d`."""
    return _max(1, x, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Maxima over windows of an image, as ``torch.nn.functional.max_pool2d``.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: Size of the windows: one number, or one for each axis.
        stride: Their steps; by default their size.
        padding: Places that hold no maximum on both sides of each axis; at most half of the window.
        dilation: Distance of neighbouring places of a window.
        ceil_mode: Also windows that reach over the end, as long as they start before it.
        return_indices: Also give the places of the maxima in the flattened spatial axes, int64.

    Returns:
        (N, C, H', W') with H' = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1, or the pair of it
        and its indices. The first of equal maxima counts, and gets the gradient; NaN is larger than everything.

    Raises:
        ValueError: The windows do not fit into x, or padding is too large.
    """
    return _max(2, x, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """Maxima over windows of x (N, C, D, H, W) or (C, D, H, W); see :func:`max_pool2d`."""
    return _max(3, x, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Means over windows of x (N, C, L) or (C, L); see :func:`avg_pool2d`."""
    return _avg(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Means over windows of an image, as ``torch.nn.functional.avg_pool2d``.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: Size of the windows: one number, or one for each axis.
        stride: Their steps; by default their size.
        padding: Zeros on both sides of each axis; at most half of the window.
        ceil_mode: Also windows that reach over the end, as long as they start before it.
        count_include_pad: Whether the padding's zeros count among the elements of a window.
        divisor_override: What every window's sum is divided by instead of its number of elements.

    Returns:
        (N, C, H', W') with H' = floor((H + 2 padding - kernel_size) / stride) + 1.

    Raises:
        ValueError: The windows do not fit into x, padding is too large, or divisor_override is 0.
    """
    return _avg(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """Means over windows of x (N, C, D, H, W) or (C, D, H, W); see :func:`avg_pool2d`."""
    return _avg(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(x: Tensor, output_size: Any) -> Tensor:
    """x (N, C, L) or (C, L) averaged to a given size; see :func:`adaptive_avg_pool2d`."""
    return _adaptive_avg(1, x, output_size)


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """x (N, C, H, W) or (C, H, W) averaged to a given size: output j of n over m elements is the mean of
    ``[floor(j m / n), ceil((j + 1) m / n))``.

    Args:
        x: The images.
        output_size: One number, or one for each spatial axis; None keeps the axis as it is.

    Raises:
        ValueError: output_size is negative or has another number of entries, or x is empty.
    """
    return _adaptive_avg(2, x, output_size)


def adaptive_avg_pool3d(x: Tensor, output_size: Any) -> Tensor:
    """x (N, C, D, H, W) or (C, D, H, W) averaged to a given size; see :func:`adaptive_avg_pool2d`."""
    return _adaptive_avg(3, x, output_size)


def adaptive_max_pool1d(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of x (N, C, L) or (C, L) over as many windows as wanted; see :func:`adaptive_max_pool2d`."""
    return _adaptive_max(1, x, output_size, return_indices)


def adaptive_max_pool2d(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of x (N, C, H, W) or (C, H, W) over the windows of :func:`adaptive_avg_pool2d`.

    Args:
        x: The images.
        output_size: One number, or one for each spatial axis; None keeps the axis as it is.
        return_indices: Also give the places of the maxima in the flattened spatial axes, int64.

    Raises:
        ValueError: output_size is negative or has another number of entries, or x is empty.
    """
    return _adaptive_max(2, x, output_size, return_indices)


def adaptive_max_pool3d(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of x (N, C, D, H, W) or (C, D, H, W) over as many windows as wanted; see :func:`adaptive_max_pool2d`."""
    return _adaptive_max(3, x, output_size, return_indices)


def max_unpool1d(
    x: Tensor, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The partial inverse of :func:`max_pool1d`; see :func:`max_unpool2d`."""
    return _unpool(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Tensor, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The partial inverse of :func:`max_pool2d`: zeros, but for x's elements at the places they came from.

    Args:
        x: (N, C, H, W) or (C, H, W): the maxima.
        indices: Of the same shape: what ``return_indices`` gave.
        kernel_size, stride, padding: Those of the pooling; they give the size of the result.
        output_size: The size where pooling made one size of several: the spatial sizes, or the whole shape.

    Returns:
        (N, C, H', W') with H' = (H - 1) stride - 2 padding + kernel_size. Of several elements for one place the last
        stays.

    Raises:
        ValueError: The shapes differ, or output_size is impossible.
        IndexError: An index is outside the result.
    """
    return _unpool(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Tensor, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The partial inverse of :func:`max_pool3d`; see :func:`max_unpool2d`."""
    return _unpool(3, x, indices, kernel_size, stride, padding, output_size)
