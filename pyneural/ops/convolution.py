"""Convolutions over one to three spatial axes, and their transposes.

``conv`` is one op for all of them; ``conv_transpose`` is its adjoint in x and ``conv_weight`` its adjoint in the weight,
and each of the three is a gradient of the other two. They are told the size of their result, so that every padding,
also one that differs between the two ends, and every output padding is the same op.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import _engine
from .record import op

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

# ---- references: a loop over the positions of the kernel ----


def _taps(
    kernel: Sequence[int], large: Sequence[int], small: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[Any]:  # fmt: skip
    """NumPy indices: a position in the kernel, and the slices of the small and the large side that meet there."""
    for k in np.ndindex(*kernel):
        here, there = [], []
        for i, n, m, s, p, d in zip(k, large, small, stride, padding, dilation, strict=True):
            first = max(0, -((i * d - p) // s))  # the first output whose place o s + i d - p is not negative
            count = max(0, min(m, (n - 1 - i * d + p) // s + 1) - first)
            start = first * s + i * d - p
            here.append(slice(first, first + count))
            there.append(slice(start, start + count * s, s) if count else slice(0, 0))
        yield (..., *k), (..., *here), (..., *there)


def _grouped(x: np.ndarray, groups: int, axis: int) -> np.ndarray:
    """float64, with an axis of channels split into groups and channels."""
    shape = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    return x.astype(np.float64).reshape(shape)


def _with_bias(y: np.ndarray, x: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    y = y.reshape(y.shape[0], y.shape[1] * y.shape[2], *y.shape[3:])
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * (y.ndim - 2))
    return y.astype(x.dtype)


def _conv_reference(
    x: np.ndarray, weight: np.ndarray, bias: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    xs, ws = _grouped(x, groups, 1), _grouped(weight, groups, 0)
    y = np.zeros((x.shape[0], groups, ws.shape[1], *size))
    for k, here, there in _taps(weight.shape[2:], x.shape[2:], size, stride, padding, dilation):
        y[here] += np.einsum("ngc...,goc->ngo...", xs[there], ws[k])
    return _with_bias(y, x, bias)


def _conv_transpose_reference(
    x: np.ndarray, weight: np.ndarray, bias: Any, size: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    xs, ws = _grouped(x, groups, 1), _grouped(weight, groups, 0)
    y = np.zeros((x.shape[0], groups, weight.shape[1], *size))
    for k, here, there in _taps(weight.shape[2:], size, x.shape[2:], stride, padding, dilation):
        y[there] += np.einsum("ngo...,goc->ngc...", xs[here], ws[k])
    return _with_bias(y, x, bias)


def _conv_weight_reference(
    x: np.ndarray, dy: np.ndarray, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int, sums: int | None
) -> tuple[np.ndarray, np.ndarray]:
    xs, gs = _grouped(x, groups, 1), _grouped(dy, groups, 1)
    w = np.zeros((groups, gs.shape[2], xs.shape[2], *kernel))
    for k, here, there in _taps(kernel, x.shape[2:], dy.shape[2:], stride, padding, dilation):
        a, b = xs[there], gs[here]
        places = math.prod(a.shape[3:])
        w[k] = np.einsum("ngcp,ngop->goc", a.reshape(*a.shape[:3], places), b.reshape(*b.shape[:3], places))
    total = np.zeros(0) if sums is None else (x, dy)[sums].sum((0, *range(2, dy.ndim)), dtype=np.float64)
    return w.reshape(dy.shape[1], *w.shape[2:]).astype(x.dtype), total.astype(x.dtype)


# ---- samples: (batch, in channels, out channels, groups), in sizes, kernel, stride, padding, dilation ----

_GEOMETRIES = (
    ((2, 3, 4, 1), (5, 6), (3, 2), (1, 1), (0, 0), (1, 1)),
    ((1, 1, 1, 1), (1,), (1,), (1,), (0,), (1,)),
    ((2, 3, 5, 1), (7,), (3,), (2,), (1,), (1,)),
    ((3, 4, 6, 2), (9,), (3,), (1,), (2,), (2,)),
    ((0, 2, 3, 1), (5,), (3,), (1,), (1,), (1,)),
    ((1, 3, 18, 1), (6, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((2, 5, 7, 1), (8, 5), (4, 3), (2, 3), (3, 1), (1, 1)),
    ((2, 4, 4, 4), (6, 5), (3, 3), (1, 2), (1, 1), (2, 1)),
    ((1, 6, 4, 2), (7, 9), (2, 3), (3, 2), (0, 2), (3, 2)),
    ((2, 2, 3, 1), (4, 3, 5), (2, 3, 2), (1, 2, 3), (1, 1, 0), (2, 1, 1)),
    ((2, 2, 2, 1), (3, 3), (5, 4), (1, 1), (2, 3), (1, 1)),
    ((2, 3, 3, 1), (9, 8), (1, 1), (3, 3), (0, 0), (1, 1)),
    ((16, 3, 5, 1), (5, 6), (3, 2), (1, 2), (1, 1), (1, 1)),
    ((32, 2, 2, 2), (5, 4), (2, 4), (2, 1), (1, 2), (2, 1)),
    ((16, 1, 7, 1), (6,), (4,), (1,), (1,), (1,)),
    ((32, 20, 20, 1), (7, 7), (4, 4), (2, 2), (0, 0), (1, 1)),
    ((3, 33, 40, 1), (12, 11), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((14, 2, 3, 1), (4, 3, 5), (2, 3, 2), (1, 2, 3), (1, 1, 0), (2, 1, 1)),
    ((4, 2, 17, 1), (10, 70), (3, 5), (1, 1), (1, 2), (1, 1)),
    ((3, 2, 8, 1), (17, 12), (3, 5), (1, 1), (1, 2), (2, 1)),
    ((16, 16, 4, 2), (13, 15), (3, 3), (1, 1), (4, 1), (1, 2)),
    ((17, 1, 9, 1), (12, 14), (4, 4), (1, 1), (1, 1), (1, 1)),
    ((2, 10, 1, 1), (140,), (5,), (1,), (6,), (3,)),
)  # fmt: skip


def _sizes(large: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """What a convolution makes of the sizes of x."""
    sizes = zip(large, kernel, stride, padding, dilation, strict=True)
    return tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes])


def _samples(make: Any, transposed: bool) -> list[tuple]:
    samples = []
    for i, ((n, a, b, groups), large, kernel, *rest) in enumerate(_GEOMETRIES):
        small = _sizes(large, kernel, *rest)
        weight = make(b, a // groups, *kernel, low=-1.0, high=1.0)
        if transposed:
            x, size, channels = make(n, b, *small, low=-1.0, high=1.0), large, a
        else:
            x, size, channels = make(n, a, *large, low=-1.0, high=1.0), small, b
        samples.append((x, weight, make(channels) if i % 3 else None, size, *rest, groups))
    return samples


def _weight_samples(make: Any) -> list[tuple]:
    samples = []
    for i, ((n, a, b, groups), large, kernel, *rest) in enumerate(_GEOMETRIES):
        x = make(n, a, *large, low=-1.0, high=1.0)
        dy = make(n, b, *_sizes(large, kernel, *rest), low=-1.0, high=1.0)
        samples.append((x, dy, kernel, *rest, groups, (None, 1, 0)[i % 3]))
    return samples


_ONES = ((1, 1), (0, 0), (1, 1), 1)


#: ``conv(x, weight, bias, size, stride, padding, dilation, groups)`` for x (N, C, ...): spatial sizes ``size``.
_conv: Any = op(
    "conv",
    "x weight bias?",
    attributes="size stride padding dilation groups",
    reference=_conv_reference,
    gradient={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _conv_transpose(
            g, weight, None, x_shape[2:], stride, padding, dilation, groups
        ),
        "weight bias": lambda g, x, weight_shape, bias_shape, stride, padding, dilation, groups: _conv_weight(
            x, g, weight_shape[2:], stride, padding, dilation, groups, None if bias_shape is None else 1
        ),
    },
    formula={"x": r"W^{T} \star g", "weight": r"x \star g", "bias": r"\sum_{n,o} g_{n,o}"},
    samples=lambda make: _samples(make, False),
    errors=lambda make: [
        ((make(2, 3, 5, 5), make(4, 2, 3, 3), None, (3, 3), *_ONES), ValueError, r"conv2d: x has 3 channels but weight with groups=1 expects 2"),
        ((make(2, 3, 5, 5), make(4, 3, 3, 3), make(3), (3, 3), *_ONES), ValueError, r"conv2d: bias has shape \(3,\).*needs \(4,\)"),
        ((make(2, 3, 5), make(4, 3, 3, 3), None, (3, 3), *_ONES), ValueError, "must both have 2 dimensions"),
        ((make(2, 4, 5), make(3, 2, 3), None, (3,), (1,), (0,), (1,), 2), ValueError, "conv1d: groups is 2 but does not divide the 3 output"),
        ((make(2, 4, 5), make(3, 4, 3), None, (3,), (0,), (0,), (1,), 1), ValueError, "conv1d: stride .* at least 1"),
    ],
    tolerance=128,
)  # fmt: skip

#: ``conv_transpose(x, weight, bias, size, ...)``: the adjoint of ``conv`` in its x, plus a bias.
_conv_transpose: Any = op(
    "conv_transpose",
    "x weight bias?",
    attributes="size stride padding dilation groups",
    reference=_conv_transpose_reference,
    gradient={
        "x": lambda g, weight, x_shape, stride, padding, dilation, groups: _conv(
            g, weight, None, x_shape[2:], stride, padding, dilation, groups
        ),
        "weight bias": lambda g, x, weight_shape, bias_shape, stride, padding, dilation, groups: _conv_weight(
            g, x, weight_shape[2:], stride, padding, dilation, groups, None if bias_shape is None else 0
        ),
    },
    formula={"x": r"W \star g", "weight": r"g \star x", "bias": r"\sum_{n,i} g_{n,i}"},
    samples=lambda make: _samples(make, True),
    errors=lambda make: [
        ((make(2, 3, 5, 5), make(4, 3, 3, 3), None, (3, 3), *_ONES), ValueError, "conv_transpose2d: x has 3 channels but weight expects 4"),
        ((make(2, 3, 5, 5), make(3, 4, 3, 3), make(3), (7, 7), *_ONES), ValueError, r"conv_transpose2d: bias has shape \(3,\)"),
        ((make(2, 3, 5), make(3, 4, 3), None, (7,), (1,), (0,), (1,), 2), ValueError, "groups is 2 but does not divide the 3 input"),
        ((make(2, 3, 5), make(3, 4, 3), None, (7, 7), (1,), (0,), (1,), 1), ValueError, "size has 2 entries"),
    ],
    tolerance=128,
)  # fmt: skip

#: ``conv_weight(x, dy, kernel_size, ..., groups, sums)``: the adjoint of ``conv`` in its weight, and the sums over each
#: channel of input number ``sums``, which are the adjoint in the bias of ``conv`` (1) or ``conv_transpose`` (0), or, of
#: None, an empty tensor.
_conv_weight: Any = op(
    "conv_weight",
    "x dy",
    attributes="kernel_size stride padding dilation groups sums",
    reference=_conv_weight_reference,
    gradient={
        "x": lambda g0, dy, x_shape, stride, padding, dilation, groups, sums, g1=None: _conv_transpose(
            dy, g0, g1 if sums == 0 else None, x_shape[2:], stride, padding, dilation, groups
        ),
        "dy": lambda g0, x, dy_shape, stride, padding, dilation, groups, sums, g1=None: _conv(
            x, g0, g1 if sums == 1 else None, dy_shape[2:], stride, padding, dilation, groups
        ),
    },
    formula={"x": r"g^{T} \star \dot{y} + g_b", "dy": r"g \star x + g_b"},
    samples=_weight_samples,
    errors=lambda make: [
        ((make(2, 3, 5, 5), make(3, 4, 3, 3), (3, 3), *_ONES, 1), ValueError, "differ in the batch dimension"),
        ((make(2, 3, 5), make(2, 4, 3), (3,), (1,), (0,), (1,), 2, None), ValueError, "groups is 2 but does not divide"),
        ((make(2, 3, 5), make(2, 4, 3), (3,), (1,), (0,), (1,), 1, 2), ValueError, r"conv_weight1d: sums is 2 but must be 0"),
    ],
    tolerance=128,
)  # fmt: skip


# ---- public ----


def spatial_numbers(name: str, what: str, value: Any, spatial: int, least: int) -> tuple[int, ...]:
    """One number for every spatial axis, from a number or a sequence of them.

    Raises:
        ValueError: A sequence of another length, or a number below ``least``.
        TypeError: Something else than integers.
    """
    try:
        if isinstance(value, (tuple, list)):
            numbers = tuple([operator.index(v) for v in value])
            if len(numbers) == 1:
                numbers *= spatial
        else:
            numbers = (operator.index(value),) * spatial
    except TypeError:
        raise TypeError(f"{name}: {what} is {value!r} but must be an integer or {spatial} of them") from None
    if len(numbers) != spatial:
        raise ValueError(f"{name}: {what} is {value!r} but must be one integer or {spatial} of them")
    if min(numbers) < least:
        raise ValueError(f"{name}: {what} is {value!r} but must be at least {least}")
    return numbers


def with_batch(name: str, x: Any, spatial: int) -> tuple[Tensor, bool]:
    """x (N, C, ...), and whether it came as (C, ...) without a batch dimension.

    Raises:
        ValueError: x has another number of dimensions.
    """
    x = as_tensor(x, name)
    if x.ndim == spatial + 2:
        return x, False
    if x.ndim != spatial + 1:
        raise ValueError(
            f"{name}: x must have {spatial + 2} dimensions (batch, channels and {spatial} spatial), or {spatial + 1} "
            f"without a batch, but its shape is {x.shape}"
        )
    from .shape import unsqueeze

    return unsqueeze(x, 0), True


def _check_weight(name: str, weight: Any, spatial: int, groups: int, inputs_first: bool) -> Tensor:
    weight = as_tensor(weight, name)
    if weight.ndim != spatial + 2:
        order = "in, out / groups" if inputs_first else "out, in / groups"
        raise ValueError(
            f"{name}: weight must have {spatial + 2} dimensions ({order} and {spatial} of the kernel), but its shape is "
            f"{weight.shape}"
        )
    if isinstance(groups, bool) or groups < 1:
        raise ValueError(f"{name}: groups is {groups!r} but must be an integer of at least 1")
    if 0 in weight.shape[2:]:
        raise ValueError(f"{name}: the kernel is empty; weight has shape {weight.shape}")
    return weight


def _convolve(
    spatial: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    name = f"conv{spatial}d"
    x, alone = with_batch(name, x, spatial)
    weight = _check_weight(name, weight, spatial, groups, False)
    steps = spatial_numbers(name, "stride", stride, spatial, 1)
    spread = spatial_numbers(name, "dilation", dilation, spatial, 1)
    kernel, sizes = weight.shape[2:], x.shape[2:]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"{name}: padding is {padding!r} but must be 'same', 'valid', an integer or {spatial} of them"
            )
        if padding == "same" and max(steps) > 1:
            raise ValueError(f"{name}: padding 'same' needs stride 1, but stride is {stride!r}")
        same = padding == "same"
        before = tuple([d * (k - 1) // 2 if same else 0 for k, d in zip(kernel, spread, strict=True)])
        size = sizes if same else _sizes(sizes, kernel, steps, before, spread)
    else:
        before = spatial_numbers(name, "padding", padding, spatial, 0)
        size = _sizes(sizes, kernel, steps, before, spread)
    if min(size) < 1:
        reach = tuple([d * (k - 1) + 1 for k, d in zip(kernel, spread, strict=True)])
        padded = tuple([n + 2 * p for n, p in zip(sizes, before, strict=True)])
        raise ValueError(
            f"{name}: the kernel {kernel} reaches over {reach} (dilation {spread}), more than the padded input {padded} "
            f"(x is {x.shape}, padding {before}); take a kernel of at most that, or more padding"
        )
    y = _conv(x, weight, bias, size, steps, before, spread, groups)
    return y[0] if alone else y


def _convolve_transposed(
    spatial: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any,
) -> Tensor:  # fmt: skip
    name = f"conv_transpose{spatial}d"
    x, alone = with_batch(name, x, spatial)
    weight = _check_weight(name, weight, spatial, groups, True)
    steps = spatial_numbers(name, "stride", stride, spatial, 1)
    before = spatial_numbers(name, "padding", padding, spatial, 0)
    extra = spatial_numbers(name, "output_padding", output_padding, spatial, 0)
    spread = spatial_numbers(name, "dilation", dilation, spatial, 1)
    for e, s, d in zip(extra, steps, spread, strict=True):
        if e >= max(s, d):
            raise ValueError(
                f"{name}: output_padding is {output_padding!r} but must be smaller than the stride or the dilation: "
                f"0 to {max(s, d) - 1} for stride {s} and dilation {d}"
            )
    size = transposed_sizes(x.shape[2:], weight.shape[2:], steps, before, extra, spread)
    if min(size) < 1:
        raise ValueError(
            f"{name}: nothing is left of the output, whose sizes would be {size} (x is {x.shape}, weight is "
            f"{weight.shape}); padding {before} takes off too much"
        )
    y = _conv_transpose(x, weight, bias, size, steps, before, spread, groups)
    return y[0] if alone else y


def transposed_sizes(
    small: Sequence[int], kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[int, ...]:
    """What a transposed convolution makes of the sizes of x."""
    sizes = zip(small, kernel, stride, padding, output_padding, dilation, strict=True)
    return tuple([(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in sizes])


def conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution (cross-correlation) over one spatial axis; see :func:`conv2d`.

    Args:
        x: (N, C, L) or (C, L).
        weight: (O, C / groups, K).
        bias, stride, padding, dilation, groups: As for :func:`conv2d`.
    """
    return _convolve(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution (cross-correlation) of images, as ``torch.nn.functional.conv2d``.

    ``y[n, o, i, j] = bias[o] + sum over c, k, l of weight[o, c, k, l] x[n, c, i s - p + k d, j s - p + l d]`` with stride s,
    padding p and dilation d; places outside the image take no part. Windows of 3x3 with stride 1 between at least 48
    channels of wide images, and the gradient of x there, take Winograd's F(2x2, 3x3) (Lavin and Gray, 2016), which has
    less than half the products and an error of the same size.

    Args:
        x: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, K, L).
        bias: (O,) or None.
        stride: Steps of the window: one number, or one for each axis.
        padding: Zeros on both sides of each axis; "valid" for none; "same" for as many as keep the size, one more behind
            than before if they are odd in number (stride 1 only).
        dilation: Distance of neighbouring kernel entries.
        groups: Parts that input and output channels are divided into; each output channel sees its own part only.

    Returns:
        (N, O, H', W') with H' = floor((H + 2 p - d (K - 1) - 1) / s) + 1.

    Raises:
        ValueError: The shapes do not fit, the kernel is larger than the padded input, or groups does not divide the
            channels.
    """
    return _convolve(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution (cross-correlation) over three spatial axes; see :func:`conv2d`.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        weight: (O, C / groups, J, K, L).
        bias, stride, padding, dilation, groups: As for :func:`conv2d`.
    """
    return _convolve(3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution over one spatial axis; see :func:`conv_transpose2d`.

    Args:
        x: (N, C, L) or (C, L).
        weight: (C, O / groups, K).
        bias, stride, padding, output_padding, groups, dilation: As for :func:`conv_transpose2d`.
    """
    return _convolve_transposed(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution of images, as ``torch.nn.functional.conv_transpose2d``: the adjoint of
    :func:`conv2d` with the same weight, stride, padding, dilation and groups.

    Args:
        x: (N, C, H, W) or (C, H, W).
        weight: (C, O / groups, K, L).
        bias: (O,) or None.
        stride: Distance in the output of neighbouring inputs: one number, or one for each axis.
        padding: Rows and columns taken off the output on both sides of each axis.
        output_padding: Rows and columns added at the end of each axis, smaller than the stride or the dilation: a
            convolution with a stride makes one size of several, and this chooses among them.
        groups: Parts that input and output channels are divided into.
        dilation: Distance of neighbouring kernel entries.

    Returns:
        (N, O, H', W') with H' = (H - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises:
        ValueError: The shapes do not fit, groups does not divide the channels, or output_padding is too large.
    """
    return _convolve_transposed(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution over three spatial axes; see :func:`conv_transpose2d`.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        weight: (C, O / groups, J, K, L).
        bias, stride, padding, output_padding, groups, dilation: As for :func:`conv_transpose2d`.
    """
    return _convolve_transposed(3, x, weight, bias, stride, padding, output_padding, groups, dilation)
