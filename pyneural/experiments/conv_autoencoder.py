"""Train the convolutional autoencoder of `conv-autoencoder-shapes` on MNIST, with batch normalisation and dropout 0.1
after each ReLU. Its decoder sees m z + (2 - m) n for the code z and standard normal noise n, with m = 1 in training and
m = 0 when it draws. The output is [z, f - x], 10 + 784 numbers, which the mean squared error compares with 0. Batches
of 64, step 0.1, 10 epochs.

1. Draw 20 new digits.
2. Why is this a variational autoencoder?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, plots
from pyneural.experiments import _conv_autoencoder as shared
from pyneural.experiments.frame import Images, Run, experiment


@experiment(
    "conv-autoencoder",
    title="A convolutional autoencoder that draws digits",
    source="002_e3b0b6e208b34aec.txt, homework 7, 2 and 2b",
    kind="train",
    topic="Convolutions",
    needs=("mnist",),
)
def run(e: Run) -> None:
    data = e.mnist()
    epochs = e.epochs(shared.EPOCHS)
    model, history = shared.train(e, data, epochs)
    x = shared.unit(data.x_test)
    noise = e.rng.standard_normal((len(x), model.code)).astype(np.float32)
    code, error = shared.terms(model, x, noise)
    _, without = shared.terms(model, x, None)
    loss, silent = (code + error) / 794, (code + without) / 794
    e.check("test loss with noise, evaluation mode", loss, shared.MEAN_IMAGE, kind="below",
            note="that of the mean image and z = 0", profile="full")  # fmt: skip
    e.check("test loss with noise after all epochs", loss, 0.063, kind="below", profile="full")
    e.check("test loss with noise fell", history["val_loss"][-1], e.pick(quick=0.09, full=0.065), kind="below")
    e.check("test loss without noise", silent, loss, kind="below")
    e.report("per image: |z|^2, |f - x|^2 with noise and without", [code, error, without])
    identities(e, model, x)
    draw(e, model, data, history)
    e.report("seconds per epoch", float(np.median(history.seconds)))
    e.note(
        """
        794 times the loss is |z|^2 + |f - x|^2 per image. For codes q(z2 | x) = N(z, I), a prior N(0, I) and outputs
        N(f, I), the negative evidence lower bound is half of that plus a constant: the loss is a variational one. The
        source sends z2 through the encoder (it means the decoder), and says that m = 0 replaces z by Gaussian noise:
        by its formula that noise is 2 n, twice as wide as the prior. The codes that the decoder was trained on have
        the spread of z + n, to which a standard deviation of 1 is closer. Yet the classifier is surer of the digits
        from the wider noise: near 0 the decoder averages over what could be meant, far out it does not.
        """
    )


def identities(e: Run, model: models.ConvAutoencoder, x: np.ndarray) -> None:
    """The loss against its terms and the bound; what evaluation mode switches; fixed noise, fixed digits."""
    part = pn.tensor(x[:200])
    n = e.rng.standard_normal((200, model.code)).astype(np.float32)
    model.eval()
    with pn.no_grad():
        output = model(part, noise=pn.tensor(n))
        loss = float(model.loss(output, part))
        again = model(part, noise=pn.tensor(n))
        alone = model(part[:1], noise=pn.tensor(n[:1]))
    z, f = (np.asarray(a, np.float64) for a in output)
    squares = (z**2).sum(axis=1) + ((f - x[:200]) ** 2).sum(axis=(1, 2, 3))
    e.check("794 times the loss against |z|^2 + |f - x|^2", 794 * loss, squares.mean(), 1e-4, kind="relative")
    # KL(N(z, I) || N(0, I)) = |z|^2 / 2, and -log N(x; f, I) = |f - x|^2 / 2 + 392 log(2 pi)
    bound = 0.5 * (z**2).sum(axis=1) + 0.5 * ((f - x[:200]) ** 2).sum(axis=(1, 2, 3)) + 392 * np.log(2 * np.pi)
    e.check("twice the bound less the constant, against 794 times the loss",
            2 * (bound.mean() - 392 * np.log(2 * np.pi)), 794 * loss, 1e-4, kind="relative")  # fmt: skip
    e.check("evaluation mode: the same again", bool(np.array_equal(np.asarray(again.image), f.astype(np.float32))))
    e.check("evaluation mode: an image alone and among others", np.asarray(alone.image)[0], f[0], 1e-5)
    model.train()
    statistics = {name: b for name, b in model.named_buffers() if "running" in name or "num_batches" in name}
    kept = {name: np.array(b) for name, b in statistics.items()}
    with pn.no_grad():
        two = [np.asarray(model(part, noise=pn.tensor(n)).image) for _ in range(2)]
    e.check("training mode: dropout differs from pass to pass", not np.array_equal(two[0], two[1]))
    changed = all(not np.array_equal(kept[name], np.asarray(b)) for name, b in statistics.items())
    e.check("training mode: running statistics follow", changed and len(kept) > 0)
    for name, b in statistics.items():
        b.copy_(pn.tensor(kept[name]))
    model.eval()
    first, second = (model.sample(3, generator=pn.Generator(5)) for _ in range(2))
    e.check("a fixed generator gives fixed digits", bool(np.array_equal(first, second)))


def draw(e: Run, model: models.ConvAutoencoder, data: Images, history: pn.History) -> None:
    """Digits for both widths of the noise, reconstructions, the loss; how sure a classifier is of the digits."""
    codes = model.codes(shared.unit(data.x_train))
    spread = float(np.sqrt((codes.var(axis=0) + 1).mean()))
    e.report("standard deviation of z + n on the training images", spread)
    e.check("distance of 1 to it, less than that of 2", abs(spread - 1), abs(spread - 2), kind="below")
    judge = shared.judge(e, data)
    rows: list[list[Any]] = []
    for std in (2.0, 1.0):
        digits = model.sample(shared.DIGITS, std=std, generator=pn.Generator(e.seed))
        taken, sure = shared.confidence(judge, digits)
        many = shared.confidence(judge, model.sample(500, std=std, generator=pn.Generator(e.seed + 1)))
        rows.append([std, float(many[1].mean()), float(np.mean(many[1] > 0.9)), len(set(many[0].tolist()))])
        titles = [f"{d} ({p:.0%})" for d, p in zip(taken, sure, strict=True)]
        fig = plots.image_grid(digits, titles, low=0, high=1, title=f"digits from noise of standard deviation {std:g}")
        caption = (
            f"20 images decoded from noise of standard deviation {std:g}; above each what a classifier takes it for, "
            "and how sure it is."
        )
        e.figure(f"digits-std-{std:g}", fig, caption, {"digit": digits, "taken": taken, "sure": sure})
    taken, sure = shared.confidence(judge, shared.unit(data.x_test[:500]))
    rows.append(["test images", float(sure.mean()), float(np.mean(sure > 0.9)), len(set(taken.tolist()))])
    columns = ["standard deviation of the noise", "mean confidence", "share above 0.9", "digits among them"]
    e.table("confidence", columns, rows, "Of a classifier (LeNet-5), on 500 images each.")
    shown = np.arange(10)
    x = shared.unit(data.x_test[shown])
    generator = np.random.default_rng(e.seed)
    noisy = model.decoded((model.codes(x) + generator.standard_normal((10, model.code))).astype(np.float32))
    rebuilt = [model.reconstruct(x), noisy]
    fig = plots.originals_over_reconstructions(
        x[:, 0], [r[:, 0] for r in rebuilt], names=("original", "from z", "from z + n")
    )
    e.figure("reconstructions", fig, "Test images, and what their codes give back without noise and with it.",
             {"original": x, "rebuilt": rebuilt[0], "noisy": rebuilt[1]})  # fmt: skip
    pair = {"loss": history["loss"], "val_loss": history["val_loss"]}
    fig = plots.learning_curves(pair, ylabel="mean square of [z, f - x]")
    e.figure("loss", fig, "Loss by epoch: training (solid, with dropout) and test images (dashed).", pair)
    layers = {"first convolution": model.encoder[0], "last transposed convolution": model.decoder[-2]}
    for name, layer in layers.items():
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        weight = layer.weight.detach().numpy()
        e.figure(f"filters-{name.split()[0]}", plots.filter_images(weight, columns=10, title=f"filters of the {name}"),
                 f"The filters of the {name}.", {"weight": weight})  # fmt: skip
    image = x[0]
    maps = {name.replace(" ", "-"): m for name, m in plots.activations(model.encoder, image).items()}
    fig = plots.feature_maps(model.encoder, image)
    e.figure(
        "feature-maps", fig, "A test image, and what each layer of the encoder makes of it.", {"image": image} | maps
    )
