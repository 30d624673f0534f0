"""Stacks of dense layers, of which the models of this package are made."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..autodiff import no_grad
from ..tensor import Tensor, as_tensor, zeros

#: What may stand after a layer: nothing, a name, a module or its class, or a function of a tensor.
Activation = str | nn.Module | type[nn.Module] | Callable[[Tensor], Tensor] | None

ACTIVATIONS: dict[str, type[nn.Module] | None] = {
    "identity": None, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU, "softplus": nn.Softplus,
}  # fmt: skip


class Function(nn.Module):
    """A function of a tensor as a module: ``Function(pn.neg)``."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


class TiedLinear(nn.Module):
    """y = x W + b with the weight W (features of y's layer, ...) of another layer: that layer's transpose.

    The weight is the very parameter of ``source``, so that it is trained by both and counted once; the bias is its own
    and starts uniform in +-1 / sqrt(source.out_features).

    Shapes: x (\\*, source.out_features), y (\\*, source.in_features).
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, source: nn.Linear, bias: bool = True) -> None:
        super().__init__()
        if not isinstance(source, nn.Linear):
            raise TypeError(f"TiedLinear: source must be a Linear, got {type(source).__name__}")
        self.in_features, self.out_features = source.out_features, source.in_features
        self.weight = source.weight
        if bias:
            self.bias = nn.Parameter(zeros((self.out_features,), dtype=source.weight.dtype))
            bound = 1.0 / math.sqrt(self.in_features) if self.in_features else 0.0
            nn.init.uniform_(self.bias, -bound, bound)
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight.T, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def activation_module(activation: Activation, owner: str = "activation") -> nn.Module | None:
    """A new module for an activation, None for none.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.
        TypeError: It is none of the kinds that :data:`Activation` lists.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"{owner}: unknown activation {activation!r}; known are {', '.join(ACTIVATIONS)}, or give "
                             "a module or a function")  # fmt: skip
        activation = ACTIVATIONS[activation]
    if activation is None:
        return None
    if isinstance(activation, type):
        if not issubclass(activation, nn.Module):
            raise TypeError(f"{owner}: the activation {activation.__name__} is a class, but no Module")
        return activation()
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)  # one with parameters is trained at each place on its own
    if callable(activation):
        return Function(activation)
    raise TypeError(f"{owner}: an activation must be None, a name, a module or a function, got {activation!r}")


def sizes_of(owner: str, sizes: Sequence[int], least: int = 2) -> tuple[int, ...]:
    """The sizes as a tuple of ints. Raises ValueError unless there are ``least`` of them, all integers above 0."""
    found = tuple(sizes) if isinstance(sizes, Iterable) else ()
    whole = [isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in found]
    if len(found) < least or not all(whole):
        raise ValueError(f"{owner}: sizes must be at least {least} integers above 0, from input to output, got {sizes}")
    return tuple(int(n) for n in found)


def per_layer(owner: str, activation: Activation | Sequence[Activation], count: int) -> list[Activation]:
    """One activation for each of ``count`` layers: the same for all, or those that are listed.

    Raises ValueError if a list has another length.
    """
    if not isinstance(activation, Sequence) or isinstance(activation, str):
        return [activation] * count
    if len(activation) != count:
        raise ValueError(f"{owner}: {len(activation)} activations for {count} hidden layers; give one for each, or one")
    return list(activation)


def dense(
    sizes: Sequence[int],
    activation: Activation | Sequence[Activation] = "relu",
    output_activation: Activation = None,
    *,
    bias: bool = True,
    dtype: Any = None,
) -> nn.Sequential:
    """Dense layers one after the other: ``Sequential(Linear, activation, Linear, ...)``.

    Args:
        sizes: Features of the input, of each hidden layer, and of the output: at least two.
        activation: After the hidden layers: one for all, or a list with one for each. An activation is None, a name
            ("relu", "tanh", "sigmoid", ...), a module or its class, or a function of a tensor.
        output_activation: After the last layer.
        bias: Whether the layers have one.
        dtype: Of the parameters; float32 by default.

    Raises:
        ValueError: A size is not above 0, the numbers of layers and activations differ, or a name is unknown.
        TypeError: An activation is of no known kind.
    """
    counts = sizes_of("dense", sizes)
    activations = [*per_layer("dense", activation, len(counts) - 2), output_activation]
    layers: list[nn.Module] = []
    for inputs, outputs, chosen in zip(counts, counts[1:], activations, strict=False):
        module = activation_module(chosen, "dense")
        layers.append(nn.Linear(inputs, outputs, bias=bias, dtype=dtype))
        if module is not None:
            layers.append(module)
    return nn.Sequential(*layers)


def float_type(model: nn.Module) -> np.dtype[Any]:
    """The dtype of a model's parameters; float32 if it has none."""
    return next((p.dtype for p in model.parameters() if p.dtype.kind == "f"), np.dtype(np.float32))


def batchwise(model: nn.Module, function: Callable[[Tensor], Tensor], x: Any, batch_size: int = 1000) -> np.ndarray:
    """``function`` of all rows of x, some rows at a time, in evaluation mode and without gradients, as an array.

    Args:
        model: Is put into evaluation mode meanwhile, and gives the dtype to which x is converted.
        function: Of a tensor with some of the rows: the model itself, or one of its parts.
        x: Array or tensor (N, ...); N may be 0.
        batch_size: Rows at a time, which bounds the memory for what lies between the layers.

    Raises ValueError if ``batch_size`` is not above 0.
    """
    if batch_size < 1:
        raise ValueError(f"batchwise: batch_size must be at least 1, got {batch_size}")
    rows = np.asarray(x.detach() if isinstance(x, Tensor) else x)
    dtype = float_type(model)
    modes = [(m, m.training) for m in model.modules()]
    parts = []
    try:
        model.eval()
        with no_grad():
            for first in range(0, max(len(rows), 1), batch_size):
                part = as_tensor(np.ascontiguousarray(rows[first : first + batch_size], dtype))
                parts.append(np.asarray(function(part)))
    finally:
        for module, training in modes:
            module.training = training
    return np.concatenate(parts)
