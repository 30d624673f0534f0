"""Autoencoders of dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn
from ..tensor import Tensor
from .dense import Activation, TiedLinear, activation_module, batchwise, dense, per_layer, sizes_of


class Autoencoder(nn.Module):
    """An encoder and a decoder: x' = decoder(encoder(x)), trained to give x' = x through a narrow code.

    ``Autoencoder((784, 1024, 2), output_activation="sigmoid")`` is 784-1024-2-1024-784 with ReLU between, as in
    Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks" (Science 313, 2006)::

        model = pn.models.Autoencoder((784, 1024, 2), output_activation="sigmoid")
        trainer = pn.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters()))
        trainer.fit(images, epochs=20, batch_size=128)
        codes, rebuilt = model.codes(images), model.reconstruct(images)

    Args:
        sizes: Features from the input to the code, at least two.
        activation: After the hidden layers (those of ``encoder`` and of ``decoder`` between input, code and output):
            one for all, or a list with one for each, encoder first. An activation is None, a name ("relu", "tanh",
            "sigmoid", ...), a module or its class, or a function of a tensor.
        code_activation: After the code.
        output_activation: After the last layer.
        decoder_sizes: Features from the code to the output; the encoder's, backwards, if None.
        tied: Decode with the encoder's weights, transposed: each is one parameter, used twice. Biases stay apart.
        bias: Whether layers have one.
        dtype: Of the parameters; float32 by default.

    Attributes:
        encoder, decoder: :class:`pyneural.nn.Sequential`.

    Shapes: x (\\*, sizes[0]), code (\\*, sizes[-1]), output (\\*, decoder_sizes[-1]).

    Raises:
        ValueError: Sizes, activations and ``tied`` do not fit each other; the message says which.
        TypeError: An activation is of no known kind.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation | Sequence[Activation] = "relu",
        *,
        code_activation: Activation = None,
        output_activation: Activation = None,
        decoder_sizes: Sequence[int] | None = None,
        tied: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        down = sizes_of("Autoencoder", sizes)
        up = down[::-1] if decoder_sizes is None else sizes_of("Autoencoder", decoder_sizes)
        if up[0] != down[-1]:
            raise ValueError(f"Autoencoder: decoder_sizes {up} must start with the {down[-1]} features of the code")
        if tied and up != down[::-1]:
            raise ValueError(f"Autoencoder: tied weights need decoder_sizes {down[::-1]}, got {up}; leave them out")
        hidden = len(down) - 2
        chosen = per_layer("Autoencoder", activation, hidden + len(up) - 2)
        self.sizes, self.decoder_sizes, self.tied = down, up, bool(tied)
        self.encoder = dense(down, chosen[:hidden], code_activation, bias=bias, dtype=dtype)
        if not tied:
            self.decoder = dense(up, chosen[hidden:], output_activation, bias=bias, dtype=dtype)
            return
        sources = [layer for layer in self.encoder if isinstance(layer, nn.Linear)]
        layers: list[nn.Module] = []
        for source, after in zip(reversed(sources), [*chosen[hidden:], output_activation], strict=True):
            layers.append(TiedLinear(source, bias))
            module = activation_module(after, "Autoencoder")
            if module is not None:
                layers.append(module)
        self.decoder = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        """The codes (\\*, code) of x (\\*, inputs), with gradients if they are switched on."""
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """What codes (\\*, code) stand for (\\*, outputs), with gradients if they are switched on."""
        return self.decoder(code)

    def codes(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The codes (N, code) of an array (N, inputs), as an array: in evaluation mode, ``batch_size`` rows at a time.

        Raises ValueError if x has other columns than the encoder expects.
        """
        return batchwise(self, self.encoder, x, batch_size)

    def decoded(self, codes: Any, batch_size: int = 1000) -> np.ndarray:
        """Outputs (N, outputs) for an array of codes (N, code), as :meth:`codes`."""
        return batchwise(self, self.decoder, codes, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The outputs (N, outputs) for an array (N, inputs), as :meth:`codes`."""
        return batchwise(self, self, x, batch_size)

    def extra_repr(self) -> str:
        return "tied=True" if self.tied else ""
