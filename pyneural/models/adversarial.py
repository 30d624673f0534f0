"""Generators and discriminators for :class:`pyneural.AdversarialTrainer`: dense, and convolutional for images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from .. import nn
from ..autodiff import no_grad
from .dense import Activation, activation_module, sizes_of


def dense_generator(
    noise: int,
    shape: Sequence[int],
    hidden: Sequence[int] = (256, 512),
    activation: Activation = "relu",
    output_activation: Activation = "sigmoid",
    norm: bool = False,
    dtype: Any = None,
) -> nn.Sequential:
    """Dense layers from noise (N, noise) to rows (N, \\*shape).

    Args:
        noise: Features of the noise.
        shape: Of one row that is made: (784,), or (1, 28, 28).
        hidden: Features of the layers between.
        activation, output_activation: After them, and after the last; as for :func:`dense`.
        norm: Normalise each hidden layer over the batch before its activation.
        dtype: Of the parameters; float32 by default.

    Raises ValueError for a size below 1, or an activation that is unknown.
    """
    sizes = sizes_of("dense_generator", (noise, *hidden, math.prod(shape)))
    layers: list[nn.Module | None] = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, dtype=dtype), nn.BatchNorm1d(outputs, dtype=dtype) if norm else None,
                   activation_module(activation, "dense_generator")]  # fmt: skip
    layers += [nn.Linear(sizes[-2], sizes[-1], dtype=dtype), activation_module(output_activation, "dense_generator")]
    if len(shape) != 1:
        layers.append(nn.Unflatten(1, shape))
    return nn.Sequential(*[layer for layer in layers if layer is not None])


def dense_discriminator(
    shape: Sequence[int],
    hidden: Sequence[int] = (512, 256),
    activation: Activation = None,
    dropout: float = 0.0,
    dtype: Any = None,
) -> nn.Sequential:
    """Dense layers from rows (N, \\*shape) to one logit each, (N, 1).

    Args:
        shape: Of one row.
        hidden: Features of the layers between.
        activation: After them; by default a leaky ReLU of slope 0.2.
        dropout: Probability with which a hidden unit is dropped in training.
        dtype: Of the parameters; float32 by default.

    Raises ValueError for a size below 1, a probability that is none, or an activation that is unknown.
    """
    sizes = sizes_of("dense_discriminator", (math.prod(shape), *hidden, 1))
    layers: list[nn.Module | None] = [nn.Flatten() if len(shape) != 1 else None]
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, dtype=dtype),
                   nn.LeakyReLU(0.2) if activation is None else activation_module(activation, "dense_discriminator"),
                   nn.Dropout(dropout) if dropout else None]  # fmt: skip
    layers.append(nn.Linear(sizes[-2], 1, dtype=dtype))
    return nn.Sequential(*[layer for layer in layers if layer is not None])


def conv_generator(
    noise: int,
    shape: Sequence[int] = (1, 28, 28),
    channels: Sequence[int] = (64, 32),
    output_activation: Activation = "sigmoid",
    dtype: Any = None,
) -> nn.Sequential:
    """Transposed convolutions from noise (N, noise) to images (N, \\*shape), each of which doubles height and width.

    A linear layer makes the smallest images, of channels[0] channels; kernels are 4 x 4, and each layer but the last is
    normalised over the batch and followed by a ReLU. Weights start normal with standard deviation 0.02. Radford et al.,
    "Unsupervised representation learning with deep convolutional GANs" (2016), arXiv:1511.06434.

    Args:
        noise: Features of the noise.
        shape: Channels, height and width of the images.
        channels: Before each transposed convolution.
        output_activation: After the last; as for :func:`dense`.
        dtype: Of the parameters; float32 by default.

    Raises ValueError if height or width cannot be halved as often as there are channels, or a size is below 1.
    """
    height, width = _halved("conv_generator", shape, channels)
    counts = sizes_of("conv_generator", (noise, *channels, shape[0]))[1:]
    layers: list[nn.Module | None] = [
        nn.Linear(noise, counts[0] * height * width, dtype=dtype), nn.Unflatten(1, (counts[0], height, width)),
        nn.BatchNorm2d(counts[0], dtype=dtype), nn.ReLU(),
    ]  # fmt: skip
    for inputs, outputs in itertools.pairwise(counts):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, dtype=dtype), nn.BatchNorm2d(outputs, dtype=dtype),
                   nn.ReLU()]  # fmt: skip
    layers[-2:] = [activation_module(output_activation, "conv_generator")]
    return _started([layer for layer in layers if layer is not None])


def conv_discriminator(
    shape: Sequence[int] = (1, 28, 28), channels: Sequence[int] = (32, 64), dtype: Any = None
) -> nn.Sequential:
    """Convolutions from images (N, \\*shape) to one logit each, (N, 1), the mirror image of :func:`conv_generator`.

    Each halves height and width, is normalised over the batch (but for the first) and followed by a leaky ReLU of slope
    0.2.

    Args:
        shape: Channels, height and width of the images.
        channels: After each convolution.
        dtype: Of the parameters; float32 by default.

    Raises ValueError if height or width cannot be halved as often as there are channels, or a size is below 1.
    """
    height, width = _halved("conv_discriminator", shape, channels)
    counts = sizes_of("conv_discriminator", (shape[0], *channels))
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(counts):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, dtype=dtype))
        if len(layers) > 1:
            layers.append(nn.BatchNorm2d(outputs, dtype=dtype))
        layers.append(nn.LeakyReLU(0.2))
    return _started([*layers, nn.Flatten(), nn.Linear(counts[-1] * height * width, 1, dtype=dtype)])


def _halved(owner: str, shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Height and width after as many halvings as there are channels."""
    factor = 2 ** len(channels)
    if len(shape) != 3 or shape[1] % factor or shape[2] % factor or min(shape) < 1:
        raise ValueError(f"{owner}: shape must be (channels, height, width), the last two multiples of {factor} for "
                         f"{len(channels)} layers, got {tuple(shape)}")  # fmt: skip
    return shape[1] // factor, shape[2] // factor


def _started(layers: list[nn.Module]) -> nn.Sequential:
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            with no_grad():
                if layer.bias is not None:
                    layer.bias.zero_()
    return nn.Sequential(*layers)
