"""Pixels to channels and back, and windows as columns: pixel shuffle, channel shuffle, unfold and fold."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import integer
from .convolution import spatial_numbers, with_batch
from .gathering import _add_at, _take
from .rearrange import pad
from .record import composed
from .shape import permute, reshape

__all__ = ["channel_shuffle", "fold", "pixel_shuffle", "pixel_unshuffle", "unfold"]
METHODS = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor


def _factor(name: str, what: str, x: Tensor, value: Any) -> int:
    factor = integer(name, what, value)
    if factor < 1:
        raise ValueError(f"{name}: {what} is {value!r} but must be at least 1")
    if x.ndim < 3:
        raise ValueError(f"{name}: x must have at least 3 dimensions (channels, height, width), got shape {x.shape}")
    return factor


def _shuffle_reference(x: np.ndarray, r: int) -> np.ndarray:
    *rest, c, h, w = x.shape
    y = np.zeros((*rest, c // r**2, h * r, w * r), x.dtype)
    for i, j in np.ndindex(r, r):
        y[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
    return y


@composed(
    reference=_shuffle_reference,
    samples=lambda make: [(make(2, 12, 3, 5), 2), (make(9, 1, 4), 3), (make(3, 2, 2), 1), (make(2, 3, 4, 5, 7), 2),
                          (make(0, 4, 2, 2), 2)],
    errors=lambda make: [((make(2, 6, 3, 3), 2), ValueError, "pixel_shuffle: x has 6 channels but upscale_factor 2 needs a multiple of 4"),
                         ((make(4, 3, 3), 0), ValueError, "upscale_factor is 0 but must be at least 1"),
                         ((make(4, 3), 2), ValueError, "at least 3 dimensions")],
)  # fmt: skip
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels as pixels: (\\*, C r r, H, W) to (\\*, C, H r, W r) with r = upscale_factor (Shi et al. 2016,
    arXiv:1609.05158): pixel (h r + i, w r + j) of channel c is element (h, w) of channel c r r + i r + j.

    Raises:
        ValueError: x has fewer than 3 dimensions, or its channels are no multiple of r r.
    """
    x = as_tensor(x)
    r = _factor("pixel_shuffle", "upscale_factor", x, upscale_factor)
    *rest, c, h, w = x.shape
    if c % r**2:
        raise ValueError(
            f"pixel_shuffle: x has {c} channels but upscale_factor {r} needs a multiple of {r * r} (x is {x.shape})"
        )
    n = math.prod(rest)
    y = permute(reshape(x, (n, c // r**2, r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(y, (*rest, c // r**2, h * r, w * r))


def _unshuffle_reference(x: np.ndarray, r: int) -> np.ndarray:
    *rest, c, h, w = x.shape
    y = np.zeros((*rest, c * r**2, h // r, w // r), x.dtype)
    for i, j in np.ndindex(r, r):
        y[..., i * r + j :: r * r, :, :] = x[..., i::r, j::r]
    return y


@composed(
    reference=_unshuffle_reference,
    samples=lambda make: [(make(2, 3, 6, 10), 2), (make(1, 3, 12), 3), (make(3, 2, 2), 1), (make(0, 1, 4, 4), 2)],
    errors=lambda make: [((make(2, 1, 4, 5), 2), ValueError, "pixel_unshuffle: downscale_factor 2 must divide height and width, which are 4 and 5"),
                         ((make(4, 3, 3), -1), ValueError, "downscale_factor is -1")],
)  # fmt: skip
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of :func:`pixel_shuffle`: (\\*, C, H r, W r) to (\\*, C r r, H, W).

    Raises:
        ValueError: x has fewer than 3 dimensions, or r does not divide its last two.
    """
    x = as_tensor(x)
    r = _factor("pixel_unshuffle", "downscale_factor", x, downscale_factor)
    *rest, c, h, w = x.shape
    if h % r or w % r:
        raise ValueError(
            f"pixel_unshuffle: downscale_factor {r} must divide height and width, which are {h} and {w} (x is {x.shape})"
        )
    y = permute(reshape(x, (math.prod(rest), c, h // r, r, w // r, r)), (0, 1, 3, 5, 2, 4))
    return reshape(y, (*rest, c * r**2, h // r, w // r))


@composed(
    reference=lambda x, groups: x[:, np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)],
    samples=lambda make: [(make(2, 6, 3), 2), (make(1, 6, 2, 3), 3), (make(2, 4, 1, 2, 3), 1), (make(0, 4, 3), 2)],
    errors=lambda make: [((make(2, 5, 3), 2), ValueError, "channel_shuffle: groups is 2 but must divide the 5 channels"),
                         ((make(2, 5), 0), ValueError, "groups is 0")],
)  # fmt: skip
def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of x (N, C, ...) in another order: the first of each group, then the second of each, ... (Zhang et
    al. 2018, arXiv:1707.01083).

    Raises:
        ValueError: groups does not divide the channels, or x has no spatial dimension.
    """
    x = as_tensor(x)
    groups = _factor("channel_shuffle", "groups", x, groups)
    n, c, *rest = x.shape
    if c % groups:
        raise ValueError(f"channel_shuffle: groups is {groups} but must divide the {c} channels (x is {x.shape})")
    places = math.prod(rest)
    return reshape(permute(reshape(x, (n, groups, c // groups, places)), (0, 2, 1, 3)), x.shape)


# ---- windows as columns ----


@functools.lru_cache(64)
def _places(padded: tuple, kernel: tuple, blocks: tuple, dilation: tuple, stride: tuple) -> np.ndarray:
    """Where in a flattened padded image each place of the kernel lies, for every block: (places, blocks)."""
    rows, columns = (
        np.arange(k)[:, None] * d + np.arange(m) * s
        for k, m, d, s in zip(kernel, blocks, dilation, stride, strict=True)
    )
    return (rows[:, None, :, None] * padded[1] + columns[None, :, None, :]).reshape(
        math.prod(kernel), math.prod(blocks)
    )


def _geometry(name: str, size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> tuple:
    """Padding, kernel, and the table of places of images of that size.

    Raises:
        ValueError: No window fits.
    """
    kernel = spatial_numbers(name, "kernel_size", kernel_size, 2, 1)
    spread = spatial_numbers(name, "dilation", dilation, 2, 1)
    around = spatial_numbers(name, "padding", padding, 2, 0)
    steps = spatial_numbers(name, "stride", stride, 2, 1)
    padded = tuple([n + 2 * p for n, p in zip(size, around, strict=True)])
    blocks = tuple([(n - d * (k - 1) - 1) // s + 1 for n, k, d, s in zip(padded, kernel, spread, steps, strict=True)])
    if min(blocks) < 1:
        raise ValueError(f"{name}: the kernel {kernel} with dilation {spread} is larger than the padded image {padded}")
    return around, kernel, padded, _places(padded, kernel, blocks, spread, steps)


def _pair(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value, value)


def _unfold_reference(
    x: np.ndarray, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> np.ndarray:
    kernel, (d, e), (p, q), (s, t) = map(_pair, (kernel_size, dilation, padding, stride))
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p), (q, q)])
    h, w = (x.shape[-2] - d * (kernel[0] - 1) - 1) // s + 1, (x.shape[-1] - e * (kernel[1] - 1) - 1) // t + 1
    columns = [x[..., i * d :: s, j * e :: t][..., :h, :w] for i, j in np.ndindex(kernel)]
    return np.stack(columns, -3).reshape(*x.shape[:-3], x.shape[-3] * len(columns), h * w)


@composed(
    reference=_unfold_reference,
    samples=lambda make: [(make(2, 3, 5, 7), (2, 3)), (make(3, 6, 5), 3, 1, 1, 2), (make(1, 2, 7, 8), (2, 3), (3, 2), (1, 0), (2, 1)),
                          (make(0, 2, 4, 4), 2), (make(2, 1, 4, 4), 4)],
    errors=lambda make: [((make(2, 3, 4), 5), ValueError, r"unfold: the kernel \(5, 5\) .* larger than the padded image \(3, 4\)"),
                         ((make(3, 4), 2), ValueError, "unfold: x must have 4 dimensions"),
                         ((make(1, 3, 4), 2, 0), ValueError, "dilation is 0 but must be at least 1")],
)  # fmt: skip
def unfold(x: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images as columns, as ``torch.nn.functional.unfold`` (im2col).

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: Of the windows: one number, or one for each axis.
        dilation: Distance of neighbouring places of a window.
        padding: Zeros on both sides of each axis.
        stride: Steps of the windows.

    Returns:
        (N, C prod(kernel_size), L), or without N: column l is the l-th window, its channels one after the other.

    Raises:
        ValueError: No window fits, or a number is out of range.
    """
    x, alone = with_batch("unfold", x, 2)
    around, kernel, _, places = _geometry("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    y = _take(pad(x, (around[1], around[1], around[0], around[0])) if any(around) else x, places, 2, 2)
    y = reshape(y, (x.shape[0], x.shape[1] * math.prod(kernel), places.shape[1]))
    return y[0] if alone else y


def _fold_reference(
    x: np.ndarray, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> np.ndarray:
    h, w = _pair(output_size)
    c = x.shape[-2] // math.prod(_pair(kernel_size))
    # Which element of an image each entry of its columns is, and 0 for the padding's.
    number = np.arange(1.0, c * h * w + 1).reshape(c, h, w)
    owner = _unfold_reference(number, kernel_size, dilation, padding, stride).astype(int)
    flat = x.reshape(-1, *owner.shape)
    sums = np.zeros((len(flat), c * h * w + 1))
    for image, columns in zip(sums, flat, strict=True):
        np.add.at(image, owner, columns)
    return sums[:, 1:].reshape(*x.shape[:-2], c, h, w).astype(x.dtype)


@composed(
    reference=_fold_reference,
    samples=lambda make: [(make(2, 12, 12), (4, 5), 2), (make(18, 9), (5, 3), 3, 1, 1, (2, 1)),
                          (make(1, 12, 12), (7, 8), (2, 3), (3, 2), (1, 0), (2, 1)), (make(0, 4, 9), 4, 2)],
    errors=lambda make: [((make(2, 12, 11), (4, 5), 2), ValueError, "fold: x has 11 columns but output_size .* has 12 windows"),
                         ((make(2, 11, 12), (4, 5), 2), ValueError, "fold: x has 11 rows but must have a multiple of 4"),
                         ((make(2, 3, 12, 12), (4, 5), 2), ValueError, "fold: x must have 3 dimensions"),
                         ((make(2, 12, 12), (1, 5), 2), ValueError, "larger than the padded image")],
)  # fmt: skip
def fold(x: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Images from the sums of overlapping windows: the adjoint of :func:`unfold` (col2im).

    Args:
        x: (N, C prod(kernel_size), L) or without N.
        output_size: Height and width of the images: one number or two.
        kernel_size, dilation, padding, stride: Those of the windows.

    Returns:
        (N, C, \\*output_size), or without N.

    Raises:
        ValueError: x does not have as many rows or columns as there are places and windows.
    """
    x, alone = with_batch("fold", x, 1)
    size = spatial_numbers("fold", "output_size", output_size, 2, 1)
    around, kernel, padded, places = _geometry("fold", size, kernel_size, dilation, padding, stride)
    n, rows, columns = x.shape
    if rows % len(places):
        raise ValueError(
            f"fold: x has {rows} rows but must have a multiple of {len(places)}, the places of the kernel {kernel}"
        )
    if columns != places.shape[1]:
        raise ValueError(f"fold: x has {columns} columns but output_size {size} has {places.shape[1]} windows")
    c = rows // len(places)
    y = _add_at(reshape(x, (n, c, *places.shape)), places, (n, c, *padded), 2, 2)
    if any(around):
        y = pad(y, (-around[1], -around[1], -around[0], -around[0]))
    return y[0] if alone else y
