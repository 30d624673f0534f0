"""Affine layers and changes of shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..tensor import Tensor, zeros
from . import init
from .module import Module
from .parameter import Parameter


class Identity(Module):
    """Returns its input; takes and ignores any constructor arguments, so that it can stand in for another layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


def _check_count(owner: str, name: str, value: int, low: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"{owner}: {name} must be an integer of at least {low}, got {value!r}")
    return int(value)


class Linear(Module):
    """y = x W^T + b.

    Shapes: x (\\*, in_features), weight (out_features, in_features), bias (out_features), y (\\*, out_features).
    Weight and bias start uniform in +-1 / sqrt(in_features), drawn from the global generator.

    Raises ValueError if the last dimension of x is not ``in_features``.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = _check_count("Linear", "in_features", in_features)
        self.out_features = _check_count("Linear", "out_features", out_features)
        kind = np.float32 if dtype is None else dtype
        self.weight = Parameter(zeros((self.out_features, self.in_features), dtype=kind))
        self.register_parameter("bias", Parameter(zeros((self.out_features,), dtype=kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        # PyTorch words the same bounds as Kaiming's with a = sqrt(5).
        bound = 1.0 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """y_o = x1^T W_o x2 + b_o.

    Shapes: x1 (\\*, in1_features), x2 (\\*, in2_features), weight (out, in1, in2), y (\\*, out_features). Parameters
    start uniform in +-1 / sqrt(in1_features). Raises ValueError if the shapes misfit.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in1_features = _check_count("Bilinear", "in1_features", in1_features, 1)
        self.in2_features = _check_count("Bilinear", "in2_features", in2_features, 1)
        self.out_features = _check_count("Bilinear", "out_features", out_features, 1)
        kind = np.float32 if dtype is None else dtype
        self.weight = Parameter(zeros((self.out_features, self.in1_features, self.in2_features), dtype=kind))
        self.register_parameter("bias", Parameter(zeros((self.out_features,), dtype=kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1.0 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """Joins dimensions ``start_dim`` to ``end_dim`` (inclusive) into one; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension ``dim`` into ``unflattened_size``, one entry of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return ops.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
