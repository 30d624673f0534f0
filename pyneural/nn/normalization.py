"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops.normalization import batch_norm_counting, shape_of
from ..tensor import Tensor, ones, zeros
from . import init
from .linear import _check_count
from .module import Module
from .parameter import Parameter


class _Affine(Module):
    """A layer with a weight that starts as 1 and a bias that starts as 0; each may be absent."""

    weight: Parameter | None
    bias: Parameter | None

    def _add_affine(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
        for name, there in (("weight", weight), ("bias", bias)):
            self.register_parameter(name, Parameter(zeros(shape, dtype=dtype)) if there else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Running(_Affine):
    """A layer with running statistics of its channels; the defaults are batch normalisation's."""

    _dims: tuple[int, ...]  # how many dimensions x may have
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = _check_count(self._get_name(), "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        kind, shape = np.float32 if dtype is None else dtype, (self.num_features,)
        self.register_buffer("running_mean", zeros(shape, dtype=kind) if track_running_stats else None)
        self.register_buffer("running_var", ones(shape, dtype=kind) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64) if track_running_stats else None)
        self._add_affine(shape, affine, affine and bias, kind)

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1 and the count of batches to 0."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Resets the running statistics, and sets the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) not in self._dims:
            wanted = " or ".join(map(str, self._dims))
            raise ValueError(f"{self._get_name()}: x must have {wanted} dimensions, but its shape is {shape}")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def forward(self, x: Tensor) -> Tensor:
        self._check(x.shape)
        own = self.training or self.running_mean is None or self.running_var is None
        running = not self.training or self.track_running_stats
        return batch_norm_counting(
            x, self.running_mean if running else None, self.running_var if running else None,
            self.num_batches_tracked if running else None, self.weight, self.bias, own, self.momentum, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (N, C) or (N, C, L). Arguments as of :class:`BatchNorm2d`."""

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of x (N, C, H, W), as ``torch.nn.BatchNorm2d``.

    In training mean and variance are those of the batch, and ``running_mean`` and ``running_var`` move towards them;
    in evaluation the running ones take their place. See :func:`pyneural.batch_norm`.

    Args:
        num_features: C.
        eps: Added to the variance.
        momentum: The share of a batch in the running statistics; None: they are the mean over all batches.
        affine: Learn weight and bias; else they are 1 and 0.
        track_running_stats: Without running statistics a batch is its own statistics in evaluation, too.
        dtype: Of the parameters and statistics; float32 by default.
        bias: Learn a bias (if ``affine``).

    Raises:
        ValueError: (when called) x has another shape, or one value per channel in training.
    """

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of x (N, C, D, H, W). Arguments as of :class:`BatchNorm2d`."""

    _dims = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x.shape)
        alone = x.ndim == self._dims[0]
        own = self.training or not self.track_running_stats
        rows = x.unsqueeze(0) if alone else x
        y = ops.instance_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, own,
                              self.momentum or 0.0, self.eps)  # fmt: skip
        return y.squeeze(0) if alone else y


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of x (N, C, L) or (C, L). Arguments as of :class:`InstanceNorm2d`."""

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of each image of x (N, C, H, W) or (C, H, W), as
    ``torch.nn.InstanceNorm2d``.

    With ``track_running_stats`` evaluation takes the running statistics. As in PyTorch, ``num_batches_tracked`` stays
    0, and momentum None leaves the running statistics as they are. See :func:`pyneural.instance_norm`.

    Args:
        num_features: C.
        eps: Added to the variance.
        momentum: The share of a batch in the running statistics.
        affine: Learn weight and bias; else they are 1 and 0.
        track_running_stats: Keep running statistics.
        dtype: Of the parameters and statistics; float32 by default.
        bias: Learn a bias (if ``affine``).

    Raises:
        ValueError: (when called) x has another shape, or a single place.
    """

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of x (N, C, D, H, W) or (C, D, H, W). Arguments as of :class:`InstanceNorm2d`."""

    _dims = (4, 5)


class GroupNorm(_Affine):
    """Normalises groups of channels of each row of x (N, C, ...), as ``torch.nn.GroupNorm``; see
    :func:`pyneural.group_norm`.

    Args:
        num_groups: Divides ``num_channels``.
        num_channels: C.
        eps: Added to the variance.
        affine: Learn weight and bias (C,); else they are 1 and 0.
        dtype: Of the parameters; float32 by default.
        bias: Learn a bias (if ``affine``).

    Raises:
        ValueError: The groups do not divide the channels; (when called) x has another number of channels.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = _check_count("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = _check_count("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_groups is {num_groups} but must divide num_channels, {num_channels}")
        self.eps = eps
        self.affine = affine
        self._add_affine((self.num_channels,), affine, affine and bias, np.float32 if dtype is None else dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim > 1 and x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm: x has {x.shape[1]} channels but num_channels is {self.num_channels} "
                             f"(x is {x.shape})")  # fmt: skip
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={bias}"


class LayerNorm(_Affine):
    """Normalises the last dimensions of x (\\*, \\*normalized_shape), as ``torch.nn.LayerNorm``; see
    :func:`pyneural.layer_norm`.

    Args:
        normalized_shape: Their sizes: a number for the last dimension alone, or a sequence.
        eps: Added to the variance.
        elementwise_affine: Learn weight and bias of that shape; else they are 1 and 0.
        bias: Learn a bias (if ``elementwise_affine``).
        dtype: Of the parameters; float32 by default.

    Raises:
        ValueError: (when called) x ends otherwise.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._add_affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias,
                         np.float32 if dtype is None else dtype)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine, bias = self.elementwise_affine, self.bias is not None
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}, bias={bias}"


class RMSNorm(_Affine):
    """Divides the last dimensions of x (\\*, \\*normalized_shape) by their root mean square, as ``torch.nn.RMSNorm``;
    see :func:`pyneural.rms_norm`.

    Args:
        normalized_shape: Their sizes: a number for the last dimension alone, or a sequence.
        eps: Added to the mean square; None: the distance from 1 to the next number of x's type.
        elementwise_affine: Learn a weight of that shape; else it is 1.
        dtype: Of the weight; float32 by default.

    Raises:
        ValueError: (when called) x ends otherwise.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._add_affine(self.normalized_shape, elementwise_affine, False, np.float32 if dtype is None else dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Divides x (N, C, ...) by a power of the mean square over neighbouring channels, as
    ``torch.nn.LocalResponseNorm``; see :func:`pyneural.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = _check_count("LocalResponseNorm", "size", size, 1)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
