"""Layers that take the size of their input from the first x that they see, and are then the ordinary ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import _engine
from ..tensor import as_tensor, ones, zeros
from .conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _Conv,
    _Forward,
    _Transposed,
)
from .linear import Linear
from .module import Module
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _BatchNorm,
    _InstanceNorm,
    _Running,
)


def _set_class(layer: Module, kind: type[Module]) -> None:
    object.__setattr__(layer, "__class__", kind)  # Module's own would make an entry of it
    _engine.module_edited()


class _Lazy(Module):
    """Parameters and statistics have no elements until the first call, or until a state is loaded.

    They are the same objects afterwards, so that an optimiser made before follows them.
    """

    _becomes: type[Module]

    def reset_parameters(self) -> None:
        """Nothing: there are no values to draw yet."""

    def _size(self, shape: tuple[int, ...]) -> int:
        """The size that x of this shape asks for. Raises ValueError if the layer does not take such an x."""
        raise NotImplementedError

    def _size_of(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The size that a state of tensors of these shapes has, None if it does not say."""
        raise NotImplementedError

    def _take(self, size: int) -> None:
        """Gives parameters and buffers this size, with zeros."""
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        try:
            if not given:
                raise TypeError(f"{self._get_name()}: call it with x, of which the first one gives its size")
            size = self._size(as_tensor(given[0]).shape)
            if _engine.capturing() is not None:
                raise RuntimeError(
                    f"{self._get_name()}: the first call makes the parameters and cannot be part of a compiled step; "
                    "call the model once on a batch before"
                )
        except Exception as error:
            self._locate(error)
            raise
        own: Any = self
        self._become(size)
        own.reset_parameters()  # of the class that it has become, as is the call
        return own(*args, **kwargs)

    def _become(self, size: int) -> None:
        self._take(size)
        _set_class(self, self._becomes)


def take_sizes(module: Module, state: Mapping[str, Any]) -> Callable[[], None]:
    """Gives the lazy layers within ``module`` the sizes of a state dict; returns what takes them away again."""
    lazy = [(path, m, type(m)) for path, m in module.named_modules() if isinstance(m, _Lazy)]
    for path, layer, _ in lazy:
        dot = f"{path}." if path else ""
        shapes = {n[len(dot) :]: getattr(v, "shape", ()) for n, v in state.items() if n.startswith(dot)}
        if size := layer._size_of(shapes):
            layer._become(size)

    def forget() -> None:
        for _, layer, kind in lazy:
            _set_class(layer, kind)
            layer._take(0)

    return forget


class _LazyConv(_Lazy, _Conv):
    _fewest_inputs = 0

    def _size(self, shape: tuple[int, ...]) -> int:
        n = self._spatial
        if len(shape) not in (n + 1, n + 2):
            raise ValueError(f"{self._get_name()}: x must have {n + 2} dimensions, or {n + 1} without a batch, but its "
                             f"shape is {shape}")  # fmt: skip
        size = shape[-n - 1]
        if size < 1 or size % self.groups:
            raise ValueError(f"{self._get_name()}: x of shape {shape} has {size} channels, but they must be a multiple "
                             f"of groups, {self.groups}")  # fmt: skip
        return size

    def _size_of(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        shape = shapes.get("weight", ())
        if len(shape) != self._spatial + 2:
            return None
        return shape[0] if self._transposed else shape[1] * self.groups

    def _take(self, size: int) -> None:
        self.in_channels = size
        self.weight.data = zeros(self._weight_shape(), dtype=self.weight.dtype)


class _LazyForward(_LazyConv, _Forward):
    def __init__(
        self,
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
        super().__init__(0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype)


class _LazyTransposed(_LazyConv, _Transposed):
    def __init__(
        self,
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
        super().__init__(0, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation,
                         padding_mode, dtype)  # fmt: skip


class LazyConv1d(_LazyForward, Conv1d):
    """A :class:`Conv1d` that takes ``in_channels`` from the first x. See :class:`LazyConv2d`."""

    _becomes = Conv1d


class LazyConv2d(_LazyForward, Conv2d):
    """A :class:`Conv2d` that takes ``in_channels`` from the first x, as ``torch.nn.LazyConv2d``.

    Its first call draws the parameters and makes it a :class:`Conv2d`; so does ``load_state_dict``, without drawing.
    Before, they have no elements: call the model once on a batch before initialising, counting or compiling.

    Raises ValueError as Conv2d does, or (when called first) if groups does not divide the channels of x; RuntimeError
    if the first call is within a compiled step.
    """

    _becomes = Conv2d


class LazyConv3d(_LazyForward, Conv3d):
    """A :class:`Conv3d` that takes ``in_channels`` from the first x. See :class:`LazyConv2d`."""

    _becomes = Conv3d


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """A :class:`ConvTranspose1d` that takes ``in_channels`` from the first x. See :class:`LazyConv2d`."""

    _becomes = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """A :class:`ConvTranspose2d` that takes ``in_channels`` from the first x. See :class:`LazyConv2d`."""

    _becomes = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """A :class:`ConvTranspose3d` that takes ``in_channels`` from the first x. See :class:`LazyConv2d`."""

    _becomes = ConvTranspose3d


class LazyLinear(_Lazy, Linear):
    """A :class:`Linear` that takes ``in_features`` from the last dimension of the first x. See :class:`LazyConv2d`."""

    _becomes = Linear

    def __init__(self, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__(0, out_features, bias, dtype)

    def _size(self, shape: tuple[int, ...]) -> int:
        if not shape or not shape[-1]:
            raise ValueError(f"LazyLinear: the last dimension of x must have features, but its shape is {shape}")
        return shape[-1]

    def _size_of(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        shape = shapes.get("weight", ())
        return shape[1] if len(shape) == 2 else None

    def _take(self, size: int) -> None:
        self.in_features = size
        self.weight.data = zeros((self.out_features, size), dtype=self.weight.dtype)


class _LazyNorm(_Lazy, _Running):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def _size_of(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        shape = shapes.get("weight", shapes.get("running_mean", ()))
        return shape[0] if len(shape) == 1 else None

    def _take(self, size: int) -> None:
        self.num_features = size
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.data = zeros((size,), dtype=parameter.dtype)
        if self.running_mean is not None:
            self.running_mean = zeros((size,), dtype=self.running_mean.dtype)
        if self.running_var is not None:
            self.running_var = ones((size,), dtype=self.running_var.dtype)


class _LazyBatchNorm(_LazyNorm, _BatchNorm):
    def _size(self, shape: tuple[int, ...]) -> int:
        self._check(shape)
        return shape[1]


class _LazyInstanceNorm(_LazyNorm, _InstanceNorm):
    def _size(self, shape: tuple[int, ...]) -> int:
        self._check(shape)
        return shape[-self._dims[0]]


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """A :class:`BatchNorm1d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """A :class:`BatchNorm2d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyBatchNorm, BatchNorm3d):
    """A :class:`BatchNorm3d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = BatchNorm3d


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """An :class:`InstanceNorm1d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """An :class:`InstanceNorm2d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """An :class:`InstanceNorm3d` that takes ``num_features`` from the first x. See :class:`LazyConv2d`."""

    _becomes = InstanceNorm3d
