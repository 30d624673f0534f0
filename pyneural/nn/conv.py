"""Convolutions and transposed convolutions as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops.convolution import spatial_numbers
from ..tensor import Tensor, zeros
from . import init
from .module import Module
from .parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What all of them share: the parameters, their start, and the settings."""

    weight: Parameter
    bias: Parameter | None

    _spatial: int
    _transposed = False
    _fewest_inputs = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, n = self._get_name(), self._spatial
        counts = (
            ("in_channels", in_channels, self._fewest_inputs),
            ("out_channels", out_channels, 1),
            ("groups", groups, 1),
        )
        for what, value, least in counts:
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}: {what} must be an integer of at least {least}, got {value!r}")
        for what, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                fits = [str(n) for n in range(1, value + 1) if in_channels % n == 0 and out_channels % n == 0]
                raise ValueError(
                    f"{name}: groups is {groups} but must divide {what}, which is {value}; of {in_channels} and "
                    f"{out_channels} channels it can be {', '.join(fits)}"
                )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"{name}: padding_mode is {padding_mode!r} but must be one of {', '.join(_PADDING_MODES)}")
        self.in_channels, self.out_channels, self.groups = int(in_channels), int(out_channels), int(groups)
        self.kernel_size = spatial_numbers(name, "kernel_size", kernel_size, n, 1)
        self.stride = spatial_numbers(name, "stride", stride, n, 1)
        self.dilation = spatial_numbers(name, "dilation", dilation, n, 1)
        self.padding: tuple[int, ...] | str
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"{name}: padding is {padding!r} but must be 'same', 'valid' or integers")
            if padding == "same" and max(self.stride) > 1:
                raise ValueError(f"{name}: padding 'same' needs stride 1, but stride is {stride!r}")
            self.padding = padding
        else:
            self.padding = spatial_numbers(name, "padding", padding, n, 0)
        self.output_padding = spatial_numbers(name, "output_padding", output_padding, n, 0)
        for extra, step, spread in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if self._transposed and extra >= max(step, spread):
                raise ValueError(
                    f"{name}: output_padding is {output_padding!r} but must be smaller than the stride or the "
                    f"dilation: 0 to {max(step, spread) - 1} for stride {step} and dilation {spread}"
                )
        self.padding_mode = padding_mode
        kind = np.float32 if dtype is None else dtype
        self.weight = Parameter(zeros(self._weight_shape(), dtype=kind))
        self.register_parameter("bias", Parameter(zeros((out_channels,), dtype=kind)) if bias else None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        ends = self.out_channels, self.in_channels
        outer, inner = reversed(ends) if self._transposed else ends
        return (outer, inner // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draws weight and bias anew: uniform in +-1 / sqrt(fan), Kaiming's bound with a = sqrt(5)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for what, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, what)
            if value != (usual,) * self._spatial:
                parts.append(f"{what}={value!r}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Forward(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        convolve = (ops.conv1d, ops.conv2d, ops.conv3d)[self._spatial - 1]
        padding: Any = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            x = ops.pad(x, self._ends(), self.padding_mode)
            padding = 0
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _ends(self) -> list[int]:
        """Entries before and after each axis, the last axis first, as :func:`pyneural.pad` takes them."""
        ends: list[int] = []
        for i in reversed(range(self._spatial)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                ends += [total // 2, total - total // 2]
            else:
                ends += [int(self.padding[i])] * 2
        return ends


class Conv1d(_Forward):
    """Convolution over one spatial axis: (N, C, L) or (C, L). Arguments as of :class:`Conv2d`."""

    _spatial = 1


class Conv2d(_Forward):
    """Convolution (cross-correlation) of images, as ``torch.nn.Conv2d``; see :func:`pyneural.conv2d` for the formula.

    Shapes: x (N, in_channels, H, W) or (in_channels, H, W), bias (out_channels), weight (out_channels, in_channels /
    groups, \\*kernel_size). ``padding`` may be 'same' or 'valid'; ``padding_mode`` says what stands in the padding:
    zeros, or the image mirrored ('reflect'), its border ('replicate'), or its other end ('circular'). Weight and bias
    start uniform in +-1 / sqrt(in_channels / groups * prod(kernel_size)).

    Raises ValueError if groups does not divide the channels, or the kernel is larger than the padded input.
    """

    _spatial = 2


class Conv3d(_Forward):
    """Convolution over three spatial axes: (N, C, D, H, W) or (C, D, H, W). Arguments as of :class:`Conv2d`."""

    _spatial = 3


class _Transposed(_Conv):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"{self._get_name()}: padding_mode is {padding_mode!r} but must be 'zeros'")
        if isinstance(padding, str):
            raise ValueError(f"{self._get_name()}: padding is {padding!r} but must be integers")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups,
                         bias, padding_mode, dtype)  # fmt: skip

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        convolve = (ops.conv_transpose1d, ops.conv_transpose2d, ops.conv_transpose3d)[self._spatial - 1]
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        return convolve(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives these sizes.

        Raises:
            ValueError: None does.
        """
        n = self._spatial
        wanted = tuple(output_size)[-n:]
        if len(output_size) not in (n, x.ndim):
            raise ValueError(f"{self._get_name()}: output_size is {tuple(output_size)} but must have {n} entries")
        facts: Any = zip(x.shape[-n:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, s, p, d in facts]
        extra = tuple([w - m for w, m in zip(wanted, least, strict=True)])
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple([m + s - 1 for m, s in zip(least, self.stride, strict=True)])
            raise ValueError(
                f"{self._get_name()}: output_size {tuple(output_size)} is impossible for x of shape {x.shape}; "
                f"the sizes can be {tuple(least)} to {most}"
            )
        return extra


class ConvTranspose1d(_Transposed):
    """Transposed convolution over one spatial axis: (N, C, L) or (C, L). Arguments as of :class:`ConvTranspose2d`."""

    _spatial = 1


class ConvTranspose2d(_Transposed):
    """Transposed convolution of images, as ``torch.nn.ConvTranspose2d``: the adjoint of a :class:`Conv2d` with the same
    weight and settings (see :func:`pyneural.conv_transpose2d`).

    Shapes: x (N, in_channels, H, W) or (in_channels, H, W), bias (out_channels), weight (in_channels, out_channels /
    groups, \\*kernel_size). ``output_padding`` chooses among the sizes that a strided convolution maps to x's; or give
    ``output_size`` with the call. Weight and bias start uniform in +-1 / sqrt(out_channels / groups *
    prod(kernel_size)).

    Raises ValueError if groups does not divide the channels, or output_padding is not smaller than stride or dilation.
    """

    _spatial = 2


class ConvTranspose3d(_Transposed):
    """Transposed convolution over three spatial axes: (N, C, D, H, W) or (C, D, H, W). Arguments as of
    :class:`ConvTranspose2d`."""

    _spatial = 3
