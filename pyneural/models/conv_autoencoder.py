"""A convolutional autoencoder of digits that can also draw new ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn, ops, random
from ..tensor import Tensor
from ..training import recordable
from .dense import batchwise, float_type, sizes_of


class Coded(NamedTuple):
    """What a :class:`ConvAutoencoder` gives: codes (N, code), and images (N, 1, 28, 28) from what became of them."""

    code: Tensor
    image: Tensor


class ConvAutoencoder(nn.Module):
    """Convolutions down to a code, transposed convolutions up from a noisy one; images of 28 x 28.

    Encoder: Conv(1, c, 4, padding 1), Conv(c, c, 4, stride 2), max-pool 2, Linear(36 c, 18 c), Linear(18 c, code).
    Decoder: Linear(code, 18 c), Linear(18 c, 36 c), (c, 6, 6), bicubic upsampling x 2, ConvTranspose(c, c, 4, stride 2,
    output padding 1), ConvTranspose(c, 1, 4, padding 1), sigmoid. After every layer but the codes' and the last one
    ReLU, batch normalisation and dropout.

    The decoder sees m z + (2 - m) n for a code z and standard normal n. With m = 1, in training, that is a code with
    noise of variance 1; with m = 0 it is noise alone, twice as wide. With the loss |z|^2 + |f - x|^2 this is a
    variational autoencoder of unit variances::

        model = pn.models.ConvAutoencoder()
        trainer = pn.Trainer(model, model.loss, optim.SGD(model.parameters(), lr=0.1))
        trainer.fit(images[:, None], epochs=10, batch_size=64)
        digits = model.sample(20)

    Args:
        code: Numbers in a code.
        channels: c.
        dropout: The probability of dropout in the encoder.
        decoder_dropout: In the decoder; the same if None.
        reconstruction_weight: Of |f - x|^2 in the loss.
        dtype: Of the parameters; float32 by default.

    Attributes:
        encoder, decoder: :class:`pyneural.nn.Sequential`.

    Raises ValueError if a number is out of range.
    """

    def __init__(
        self,
        code: int = 10,
        *,
        channels: int = 20,
        dropout: float = 0.1,
        decoder_dropout: float | None = None,
        reconstruction_weight: float = 1.0,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.code, c = sizes_of("ConvAutoencoder", (code, channels))
        if not reconstruction_weight > 0:
            raise ValueError(f"ConvAutoencoder: reconstruction_weight must be above 0, got {reconstruction_weight}")
        self.reconstruction_weight = float(reconstruction_weight)

        def hidden(layer: nn.Module, features: int, p: float) -> list[nn.Module]:
            norm = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
            return [layer, nn.ReLU(), norm(features, dtype=dtype), nn.Dropout(p)]

        self.encoder = nn.Sequential(
            *hidden(nn.Conv2d(1, c, 4, padding=1, dtype=dtype), c, dropout),
            *hidden(nn.Conv2d(c, c, 4, stride=2, dtype=dtype), c, dropout),
            nn.MaxPool2d(2),
            nn.Flatten(),
            *hidden(nn.Linear(36 * c, 18 * c, dtype=dtype), 18 * c, dropout),
            nn.Linear(18 * c, code, dtype=dtype),
        )
        p = dropout if decoder_dropout is None else decoder_dropout
        self.decoder = nn.Sequential(
            *hidden(nn.Linear(code, 18 * c, dtype=dtype), 18 * c, p),
            *hidden(nn.Linear(18 * c, 36 * c, dtype=dtype), 36 * c, p),
            nn.Unflatten(1, (c, 6, 6)),
            nn.Upsample(scale_factor=2, mode="bicubic"),
            *hidden(nn.ConvTranspose2d(c, c, 4, stride=2, output_padding=1, dtype=dtype), c, p),
            nn.ConvTranspose2d(c, 1, 4, padding=1, dtype=dtype),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, m: float = 1.0, noise: Tensor | None = None) -> Coded:
        """Codes z of images (N, 1, 28, 28), and the images that the decoder makes of m z + (2 - m) n.

        ``noise`` is n (N, code); if None, it is drawn from pyneural's default generator.
        """
        code = self.encoder(x)
        n = random.randn_like(code) if noise is None else noise
        return Coded(code, self.decoder(m * code + (2.0 - m) * n))

    @recordable
    def loss(self, output: Coded, x: Tensor) -> Tensor:
        """The mean square of [z, f - x] and 0, over all its numbers; f - x has the weight of the reconstruction."""
        numbers = output.code.numel() + output.image.numel()
        error = F.mse_loss(output.image, x, reduction="sum")
        return (ops.square(output.code).sum() + self.reconstruction_weight * error) / numbers

    # ---- arrays ----

    def codes(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The codes (N, code) of an array (N, 1, 28, 28): in evaluation mode, ``batch_size`` rows at a time."""
        return batchwise(self, self.encoder, x, batch_size)

    def decoded(self, codes: Any, batch_size: int = 1000) -> np.ndarray:
        """Images (N, 1, 28, 28) for an array of codes (N, code), as :meth:`codes`."""
        return batchwise(self, self.decoder, codes, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """Images (N, 1, 28, 28) from the codes of an array, without noise, as :meth:`codes`."""
        return batchwise(self, lambda part: self.decoder(self.encoder(part)), x, batch_size)

    def sample(self, n: int, *, std: float = 2.0, generator: random.Generator | None = None) -> np.ndarray:
        """Images (n, 1, 28, 28) for codes from N(0, std^2 I), drawn from ``generator`` or pyneural's own.

        The standard deviation that m = 0 means is 2.

        Raises ValueError if n is negative or std is below 0.
        """
        return self.decoded(random.normal(0.0, std, (n, self.code), generator, dtype=float_type(self)))

    def extra_repr(self) -> str:
        return f"code={self.code}, reconstruction_weight={self.reconstruction_weight:g}"
