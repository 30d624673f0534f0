"""The autoencoders with a two-dimensional code: data, training, and the three pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import pyneural as pn
from pyneural import nn, optim, plots
from pyneural.experiments.frame import Images, Run

SCALE = (0.1307, 0.3081)  # mean and standard deviation that standardise MNIST


@dataclass
class Autoencoder:
    """A trained encoder and decoder, their training, and the images they were trained on and tested with."""

    encoder: nn.Module
    decoder: nn.Module
    trainer: pn.Trainer
    history: pn.History
    images: Images

    def codes(self, images: np.ndarray) -> np.ndarray:
        """The codes (N, 2) of byte images (N, 28, 28)."""
        with pn.no_grad():
            return np.asarray(self.encoder(pn.tensor(standardised(images))))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Images (N, 784) from codes (N, 2)."""
        with pn.no_grad():
            return np.asarray(self.decoder(pn.tensor(codes.astype(np.float32))))


def standardised(images: np.ndarray) -> np.ndarray:
    """Rows (N, 784) float32 of byte images."""
    return (images.reshape(len(images), -1) / np.float32(255) - np.float32(SCALE[0])) / np.float32(SCALE[1])


def fit(
    e: Run, encoder: nn.Module, decoder: nn.Module, *, epochs: int = 20, batch: int = 128, weight_decay: float = 0.0
) -> Autoencoder:
    """Train on standardised MNIST with Adam and the mean squared error per pixel; the test images are the validation.

    The decoder is expected to end in its sigmoid. In the quick profile a fifth of the epochs is made.
    """
    images = e.mnist()
    trainer = pn.Trainer(
        net := nn.Sequential(encoder, decoder),
        nn.MSELoss(),
        optim.Adam(net.parameters(), lr=1e-3, weight_decay=weight_decay),
    )
    epochs = e.epochs(epochs)
    x, x_test = (part.reshape(len(part), -1) for part in (images.x_train, images.x_test))
    watch = e.watch("training the autoencoder", epochs)
    history = trainer.fit(
        x, epochs=epochs, batch_size=batch, validation=x_test, scale=SCALE, callbacks=[watch], progress=False
    )
    return Autoencoder(encoder, decoder, trainer, history, images)


def bounds(images: np.ndarray, mean: np.ndarray) -> tuple[float, float]:
    """Squared error per pixel of standardised images for outputs in [0, 1]: of the nearest such image to each, and of
    one and the same for all, the mean of the training images (standardised rows' mean, (784,)) clipped to [0, 1]."""
    x = standardised(images).astype(np.float64)
    floor = np.mean((x - np.clip(x, 0, 1)) ** 2)
    constant = np.mean((x - np.clip(mean, 0, 1)) ** 2)
    return float(floor), float(constant)


def draw(e: Run, a: Autoencoder) -> None:
    """Loss curves, the codes of test images by digit, and ten originals over their reconstructions."""
    curves = {"loss": a.history["loss"], "val_loss": a.history["val_loss"]}
    fig = plots.learning_curves(curves, ylabel="squared error per pixel")
    e.figure("loss", fig, "Squared error by epoch: training (solid) and test images (dashed).", curves)

    codes, labels = a.codes(a.images.x_test), a.images.y_test
    fig = plots.code_scatter(codes[:3000], labels[:3000], title="codes of test images")
    e.figure("codes", fig, "The two numbers to which each test image is compressed.", {"codes": codes, "label": labels})

    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    originals = standardised(a.images.x_test[first])
    rebuilt = a.decode(codes[first])
    fig = plots.originals_over_reconstructions(np.clip(originals, 0, 1), rebuilt, first, shape=(28, 28))
    caption = (
        "The first test image of each digit (with its index), cut to the sigmoid's range [0, 1], over what its two "
        "numbers give back."
    )
    e.figure("reconstructions", fig, caption, {"index": first, "original": originals, "rebuilt": rebuilt})
