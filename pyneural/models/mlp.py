"""A multilayer perceptron, and the ways in which dense layers start."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from .._arguments import probability
from ..tensor import Tensor
from .dense import Activation, activation_module, per_layer, sizes_of

#: How the dense layers of a model start: a name, or a function that is called with each of them.
Init = str | Callable[[nn.Linear], Any] | None

_WAYS: dict[str, Callable[[Tensor, float], Any]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": lambda weight, gain: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight, gain: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}


def initialise(model: nn.Module, init: Init, activation: Activation = "relu") -> None:
    """Draws the Linear layers of a model anew, in their order, from the default generator.

    Args:
        model: Its ``nn.Linear`` layers are filled.
        init: None leaves them as they are (uniform in +-1/sqrt(inputs), biases too). "xavier_uniform",
            "xavier_normal", "kaiming_uniform", "kaiming_normal" and "orthogonal" are those of ``nn.init``, with the
            gain of the activation where they take one, and biases of 0. "sklearn" is the start of scikit-learn's
            ``MLPClassifier``: weights and biases uniform in +-sqrt(6 / (inputs + outputs)), with 2 in place of 6 for
            the sigmoid (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
            2010). A function is called with each layer.
        activation: That of the hidden layers, as a name; the gain of anything else is 1.

    Raises:
        ValueError: The name is unknown.
    """
    if init is None:
        return
    if isinstance(init, str) and init != "sklearn" and init not in _WAYS:
        raise ValueError(f"initialise: unknown init {init!r}; known are {', '.join(_WAYS)}, sklearn; or a function")
    gains = ("relu", "tanh", "sigmoid", "leaky_relu", "selu")
    gain = nn.init.calculate_gain(activation) if isinstance(activation, str) and activation in gains else 1.0
    for layer in [m for m in model.modules() if isinstance(m, nn.Linear)]:
        if callable(init):
            init(layer)
        elif init == "sklearn":
            bound = math.sqrt((2 if activation == "sigmoid" else 6) / (layer.in_features + layer.out_features))
            for p in layer.parameters():
                nn.init.uniform_(p, -bound, bound)
        else:
            _WAYS[init](layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class MLP(nn.Module):
    """A multilayer perceptron: dense layers with an activation between them::

        model = pn.models.MLP((784, 128, 64, 10), dropout=0.1)
        trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), ["accuracy"])

    Args:
        sizes: Features of the input, of each hidden layer, and of the output: at least two.
        activation: After the hidden layers: one for all, or a list with one for each. An activation is None, a name
            ("relu", "tanh", "sigmoid", ...), a module or its class, or a function of a tensor.
        output_activation: After the last layer; None leaves logits, as ``nn.CrossEntropyLoss`` wants them.
        dropout: The probability with which a hidden unit is set to 0 in training.
        init: How the layers start: see :func:`initialise`.
        bias: Whether the layers have one.
        dtype: Of the parameters; float32 by default.

    Attributes:
        layers: :class:`pyneural.nn.Sequential`.

    Shapes: x (\\*, sizes[0]), output (\\*, sizes[-1]).

    Raises:
        ValueError: A size is not above 0, the numbers of layers and activations differ, a name is unknown, or dropout
            is no probability.
        TypeError: An activation is of no known kind.
    """

    layers: nn.Sequential

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation | Sequence[Activation] = "relu",
        output_activation: Activation = None,
        *,
        dropout: float = 0.0,
        init: Init = None,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.sizes = sizes_of("MLP", sizes)
        probability("MLP", "dropout", dropout)
        count = len(self.sizes) - 2
        chosen = per_layer("MLP", activation, count)
        layers: list[nn.Module] = []
        self._ends: tuple[int, ...] = ()  # how many modules lie before the end of each hidden layer
        for number in range(count + 1):
            layers.append(nn.Linear(self.sizes[number], self.sizes[number + 1], bias=bias, dtype=dtype))
            module = activation_module(chosen[number] if number < count else output_activation, "MLP")
            if module is not None:
                layers.append(module)
            if number < count:
                self._ends += (len(layers),)
                if dropout:
                    layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        initialise(self, init, chosen[0] if chosen else None)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def hidden(self, x: Tensor, layer: int = -1) -> Tensor:
        """What hidden layer 0, 1, ... gives after its activation: (\\*, sizes[layer + 1]). -1 is the last one.

        Raises IndexError if there is no such layer.
        """
        if not -len(self._ends) <= layer < len(self._ends):
            raise IndexError(f"MLP.hidden: layer is {layer}, but there are {len(self._ends)} hidden layers")
        for module in list(self.layers)[: self._ends[layer]]:
            x = module(x)
        return x

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}"
