"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module


class _MaxPool(Module):
    _spatial: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Any:
        pool = (ops.max_pool1d, ops.max_pool2d, ops.max_pool3d)[self._spatial - 1]
        return pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maxima over windows of (N, C, L) or (C, L). Arguments as of :class:`MaxPool2d`."""

    _spatial = 1


class MaxPool2d(_MaxPool):
    """Maxima over windows of (N, C, H, W) or (C, H, W), as ``torch.nn.MaxPool2d``; see :func:`pyneural.max_pool2d`.

    Gives the pair of maxima and indices with ``return_indices``. Raises ValueError if the windows do not fit into x.
    """

    _spatial = 2


class MaxPool3d(_MaxPool):
    """Maxima over windows of (N, C, D, H, W) or (C, D, H, W). Arguments as of :class:`MaxPool2d`."""

    _spatial = 3


class _MaxUnpool(Module):
    _spatial: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        unpool = (ops.max_unpool1d, ops.max_unpool2d, ops.max_unpool3d)[self._spatial - 1]
        return unpool(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool1d`. Arguments as of :class:`MaxUnpool2d`."""

    _spatial = 1


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool2d`, called with maxima and indices: zeros, but for the maxima at their
    places; see :func:`pyneural.max_unpool2d`."""

    _spatial = 2


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool3d`. Arguments as of :class:`MaxUnpool2d`."""

    _spatial = 3


class AvgPool1d(Module):
    """Means over windows of (N, C, L) or (C, L); see :func:`pyneural.avg_pool1d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPool1d):
    """Means over windows of (N, C, H, W) or (C, H, W), as ``torch.nn.AvgPool2d``; see :func:`pyneural.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                              self.divisor_override)  # fmt: skip


class AvgPool3d(AvgPool2d):
    """Means over windows of (N, C, D, H, W) or (C, D, H, W); see :func:`pyneural.avg_pool3d`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool3d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                              self.divisor_override)  # fmt: skip


class LPPool1d(Module):
    """(sum x^p)^(1/p) over windows of (N, C, L) or (C, L) with p = ``norm_type``; see :func:`pyneural.lp_pool2d`."""

    _spatial = 1

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        pool = (ops.lp_pool1d, ops.lp_pool2d, ops.lp_pool3d)[self._spatial - 1]
        return pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool2d(LPPool1d):
    """(sum x^p)^(1/p) over windows of (N, C, H, W) or (C, H, W); see :func:`pyneural.lp_pool2d`."""

    _spatial = 2


class LPPool3d(LPPool1d):
    """(sum x^p)^(1/p) over windows of (N, C, D, H, W) or (C, D, H, W); see :func:`pyneural.lp_pool2d`."""

    _spatial = 3


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMax(_Adaptive):
    _spatial: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        pool = (ops.adaptive_max_pool1d, ops.adaptive_max_pool2d, ops.adaptive_max_pool3d)[self._spatial - 1]
        return pool(x, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_Adaptive):
    """Averages (N, C, L) or (C, L) to a given size; see :func:`pyneural.adaptive_avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Maxima of (N, C, L) or (C, L) over as many windows as wanted; see
    :func:`pyneural.adaptive_max_pool2d`."""

    _spatial = 1


class AdaptiveAvgPool2d(_Adaptive):
    """Averages (N, C, H, W) or (C, H, W) to a given size; see :func:`pyneural.adaptive_avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Maxima of (N, C, H, W) or (C, H, W) over as many windows as wanted; see
    :func:`pyneural.adaptive_max_pool2d`."""

    _spatial = 2


class AdaptiveAvgPool3d(_Adaptive):
    """Averages (N, C, D, H, W) or (C, D, H, W) to a given size; see :func:`pyneural.adaptive_avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool3d(x, self.output_size)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Maxima of (N, C, D, H, W) or (C, D, H, W) over as many windows as wanted; see
    :func:`pyneural.adaptive_max_pool2d`."""

    _spatial = 3
