"""Convolutional classifiers of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..tensor import Tensor
from .dense import Activation, activation_module, dense, sizes_of


def _with_activation(layers: list[nn.Module], activation: Activation, owner: str) -> None:
    module = activation_module(activation, owner)
    if module is not None:
        layers.append(module)


class LeNet5(nn.Module):
    """LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), as it is built
    today: every filter sees all channels, the largest of four pixels stands for them, and a dense layer gives logits::

        model = pn.models.LeNet5()
        trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), ["accuracy"])
        trainer.fit(images[:, None], labels, epochs=10, batch_size=64)

    Args:
        classes: Outputs.
        in_channels: Of the images, which are 28 x 28.
        activation: After each layer but the last: None, a name, a module or its class, or a function.
        padding: Around the image: 2 makes it the 32 x 32 of the paper, 0 leaves 4 x 4 before the dense layers.
        dtype: Of the parameters; float32 by default.

    Attributes:
        features, classifier: :class:`pyneural.nn.Sequential`.

    Shapes: x (N, in_channels, 28, 28), output (N, classes).

    Raises:
        ValueError: A number is out of range, or the activation's name is unknown.
        TypeError: The activation is of no known kind.
    """

    def __init__(
        self,
        classes: int = 10,
        *,
        in_channels: int = 1,
        activation: Activation = "relu",
        padding: int = 2,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, around in ((in_channels, 6, padding), (6, 16, 0)):
            layers.append(nn.Conv2d(inputs, outputs, 5, padding=around, dtype=dtype))
            _with_activation(layers, activation, "LeNet5")
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        side = ((28 + 2 * padding - 4) // 2 - 4) // 2
        self.classifier = dense((16 * side * side, 120, 84, classes), activation, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class ConvClassifier(nn.Module):
    """Stages of a 3 x 3 convolution, batch normalisation, activation and pooling, then dense layers::

        model = pn.models.ConvClassifier((32, 64), dropout=0.3)

    Args:
        channels: Of each stage, at least one; every stage halves height and width.
        classes: Outputs.
        image: Channels, height and width of an image.
        hidden: Units of the dense layer before the last one.
        activation: After each convolution and after the hidden layer: None, a name, a module or its class, or a
            function.
        batch_norm: Whether convolutions are normalised (Ioffe and Szegedy, arXiv:1502.03167); they then have no bias of
            their own.
        dropout: The probability with which an input of either dense layer is set to 0 in training.
        dtype: Of the parameters; float32 by default.

    Attributes:
        features, classifier: :class:`pyneural.nn.Sequential`.

    Shapes: x (N, \\*image), output (N, classes).

    Raises:
        ValueError: A number is out of range, nothing is left of the image after the stages, or the activation's name is
            unknown.
        TypeError: The activation is of no known kind.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        classes: int = 10,
        *,
        image: tuple[int, int, int] = (1, 28, 28),
        hidden: int = 128,
        activation: Activation = "relu",
        batch_norm: bool = True,
        dropout: float = 0.0,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        stages = sizes_of("ConvClassifier", channels, 1)
        inputs, height, width = sizes_of("ConvClassifier", image, 3)
        if min(height, width) >> len(stages) == 0:
            fit = min(height, width).bit_length() - 1
            raise ValueError(
                f"ConvClassifier: {len(stages)} stages halve {height} x {width} to nothing; at most {fit} fit"
            )
        layers: list[nn.Module] = []
        for outputs in stages:
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm, dtype=dtype))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs, dtype=dtype))
            _with_activation(layers, activation, "ConvClassifier")
            layers.append(nn.MaxPool2d(2))
            inputs, height, width = outputs, height // 2, width // 2
        self.features = nn.Sequential(*layers)
        top: list[nn.Module] = [
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(inputs * height * width, hidden, dtype=dtype),
        ]
        _with_activation(top, activation, "ConvClassifier")
        self.classifier = nn.Sequential(*top, nn.Dropout(dropout), nn.Linear(hidden, classes, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
