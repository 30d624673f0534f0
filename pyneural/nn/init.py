"""Initialisation in place, under the names of ``torch.nn.init``.

Every function fills its tensor, off the tape, and returns it. Random ones draw from ``generator`` or the global one
(``pyneural.manual_seed``). Fan-in is dimension 1 of a weight times the size of what follows it, fan-out dimension 0
times the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autodiff import no_grad
from ..tensor import Tensor, as_tensor, zeros

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {"sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}
_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that suits a nonlinearity; ``param`` is the slope of ``leaky_relu`` (0.01).

    Raises ValueError for an unknown name.
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        known = ", ".join((*_LINEAR, *_GAINS, "leaky_relu"))
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}; one of {known}")
    return _GAINS[nonlinearity]


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(f"{op}: fan-in and fan-out need at least 2 dimensions, the tensor is {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _write(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        tensor.copy_(as_tensor(values))
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation."""
    with no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal, cut to the absolute bounds [a, b] (not multiples of ``std``); values outside are drawn again.

    Raises ValueError if the bounds are the wrong way round or hold less than one draw in 10,000.
    """
    if a >= b:
        raise ValueError(f"trunc_normal_: a must be below b, got {a} and {b}")
    if std == 0:
        return constant_(tensor, min(max(mean, a), b))
    low, high = ((v - mean) / (std * math.sqrt(2.0)) for v in (a, b))
    if 0.5 * (math.erf(high) - math.erf(low)) < 1e-4:
        raise ValueError(f"trunc_normal_: almost nothing of N({mean}, {std}) lies in [{a}, {b}]; move the bounds")
    with no_grad():
        values = np.empty(tensor.numel(), np.float64)
        open_slots = np.arange(values.size)
        while open_slots.size:
            draw = np.asarray(zeros((open_slots.size,), dtype=np.float64).normal_(mean, std, generator=generator))
            kept = (draw >= a) & (draw <= b)
            values[open_slots[kept]] = draw[kept]
            open_slots = open_slots[~kept]
        # Rounding to float32 may step over a bound.
        cut = np.clip(values.astype(tensor.dtype), a, b).reshape(tensor.shape)
    return _write(tensor, cut)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All entries ``val``."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """All entries 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """All entries 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. Raises ValueError unless the tensor has 2 dimensions."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: the tensor must have 2 dimensions, it is {tensor.shape}")
    return _write(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight that passes its channels through, as many as fit, per group.

    Raises ValueError unless the weight has 3 to 5 dimensions and ``groups`` divides its first.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_: a convolution weight has 3 to 5 dimensions, the tensor is {tensor.shape}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {groups} groups do not divide the {tensor.shape[0]} output channels")
    values = np.zeros(tensor.shape, tensor.dtype)
    per_group = tensor.shape[0] // groups
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for d in range(min(per_group, tensor.shape[1])):
            index = (group * per_group + d, d, *centre)
            values[index] = 1.0
    return _write(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / _total_fan("xavier_uniform_", tensor))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2.0 / _total_fan("xavier_normal_", tensor))
    return normal_(tensor, 0.0, std, generator)


def _total_fan(op: str, tensor: Tensor) -> int:
    return sum(_fans(op, tensor)) or 1  # an empty weight has nothing to fill


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(op, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan or 1)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform in +-gain sqrt(3 / fan) (He et al. 2015, arXiv:1502.01852); ``a`` is the leaky ReLU's slope."""
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015, arXiv:1502.01852)."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """``gain`` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013).

    Dimensions after the first are taken together. Raises ValueError below 2 dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: the tensor must have at least 2 dimensions, it is {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    tall = zeros((max(rows, columns), min(rows, columns)), dtype=np.float64)
    q, r = np.linalg.qr(np.asarray(normal_(tall, generator=generator)))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # without the signs the distribution would not be uniform
    return _write(tensor, (gain * (q.T if rows < columns else q)).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with the share ``sparsity`` of each column (rounded up) set to 0 (Martens 2010).

    Raises ValueError unless the tensor has 2 dimensions and ``sparsity`` lies in [0, 1].
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: the tensor must have 2 dimensions, it is {tensor.shape}")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparse_: sparsity must lie between 0 and 1, got {sparsity}")
    dropped = math.ceil(sparsity * tensor.shape[0])
    normal_(tensor, 0.0, std, generator)
    ranks = np.asarray(uniform_(zeros(tensor.shape, dtype=np.float64), generator=generator)).argsort(0)
    return _write(tensor, np.where(ranks.argsort(0) < dropped, 0.0, np.asarray(tensor.detach())).astype(tensor.dtype))
