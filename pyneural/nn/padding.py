"""Padding layers: zeros, a constant, the image mirrored, its border, or its other end."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module


class _Pad(Module):
    _spatial: int
    _mode: str

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        count = 2 * self._spatial
        numbers: Any = padding if isinstance(padding, (tuple, list)) else (padding,) * count
        try:
            self.padding = tuple([operator.index(n) for n in numbers])
        except TypeError:
            raise TypeError(f"{self._get_name()}: padding is {padding!r} but must hold integers") from None
        if len(self.padding) != count:
            raise ValueError(
                f"{self._get_name()}: padding is {padding!r} but must be one integer or {count}: before and after each "
                "axis, the last axis first"
            )

    def forward(self, x: Tensor) -> Tensor:
        name, n = self._get_name(), self._spatial
        if x.ndim not in (n + 1, n + 2):
            raise ValueError(
                f"{name}: x must have {n + 2} dimensions, or {n + 1} without a batch, but its shape is {x.shape}"
            )
        for i, size in enumerate(x.shape[: -n - 1 : -1]):
            most = max(self.padding[2 * i : 2 * i + 2])
            limit = {"reflect": size - 1, "circular": size}.get(self._mode, most)
            if most > limit:
                raise ValueError(
                    f"{name}: padding {most} must be at most {limit} for an axis of size {size} (x is {x.shape}, "
                    f"padding {self.padding})"
                )
        return ops.pad(x, self.padding, self._mode, getattr(self, "value", None))

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    """(N, C, L) or (C, L) with ``value`` before and after the last axis. ``padding``: one integer, or (left, right)."""

    _spatial = 1
    _mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """(N, C, H, W) or (C, H, W) with ``value`` around it. ``padding``: one integer, or (left, right, top, bottom);
    negative ones take off."""

    _spatial = 2


class ConstantPad3d(ConstantPad1d):
    """(N, C, D, H, W) or (C, D, H, W) with ``value`` around it. ``padding``: one integer, or (left, right, top, bottom,
    front, back)."""

    _spatial = 3


class ZeroPad1d(_Pad):
    """:class:`ConstantPad1d` of zeros."""

    _spatial = 1
    _mode = "constant"


class ZeroPad2d(ZeroPad1d):
    """:class:`ConstantPad2d` of zeros."""

    _spatial = 2


class ZeroPad3d(ZeroPad1d):
    """:class:`ConstantPad3d` of zeros."""

    _spatial = 3


class ReflectionPad1d(_Pad):
    """(N, C, L) or (C, L) gone on with its mirror image, without the border itself: less than L entries."""

    _spatial = 1
    _mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """(N, C, H, W) or (C, H, W) gone on with its mirror image. ``padding``: one integer, or (left, right, top, bottom),
    each less than the size of its axis."""

    _spatial = 2


class ReflectionPad3d(ReflectionPad1d):
    """(N, C, D, H, W) or (C, D, H, W) gone on with its mirror image; see :class:`ReflectionPad2d`."""

    _spatial = 3


class ReplicationPad1d(_Pad):
    """(N, C, L) or (C, L) with its border entries repeated."""

    _spatial = 1
    _mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """(N, C, H, W) or (C, H, W) with its border repeated. ``padding``: one integer, or (left, right, top, bottom)."""

    _spatial = 2


class ReplicationPad3d(ReplicationPad1d):
    """(N, C, D, H, W) or (C, D, H, W) with its border repeated; see :class:`ReplicationPad2d`."""

    _spatial = 3


class CircularPad1d(_Pad):
    """(N, C, L) or (C, L) gone on at its other end: at most L entries."""

    _spatial = 1
    _mode = "circular"


class CircularPad2d(CircularPad1d):
    """(N, C, H, W) or (C, H, W) gone on at its other end. ``padding``: one integer, or (left, right, top, bottom), each
    at most the size of its axis."""

    _spatial = 2


class CircularPad3d(CircularPad1d):
    """(N, C, D, H, W) or (C, D, H, W) gone on at its other end; see :class:`CircularPad2d`."""

    _spatial = 3
