"""A variational autoencoder of MNIST whose codes have unit variance. Encoder 784-400-200-40 with ReLU after each
layer, the mean too; z = mean + N(0, I); decoder 40-400-784 with ReLU and sigmoid. For each of 100 batches of 600
images, in the order of the file, minimise (sum of squared errors + 0.5 times the sum of squared means) / 600 with Adam,
step 0.001, in 50 rounds.

1. Draw 100 images from codes of N(0, I).
2. Draw the objective by step.
"""

from __future__ import annotations

import time

import numpy as np

import pyneural as pn
from pyneural import models, optim, plots
from pyneural.experiments.frame import Run, experiment

CODE, BATCH, ROUNDS = 40, 600, 50
BARE_ROUNDS = 10  # of the net without ReLU on its mean
MEAN_IMAGE = 52.7250  # squared error of the mean training image, per image
CONSTANT = 2 * 90.6861  # of the grey level 0.5


def build(mean_activation: str | None = "relu") -> models.VariationalAutoencoder:
    return models.VariationalAutoencoder(
        (784, 400, 200, CODE),
        decoder_sizes=(CODE, 400, 784),
        mean_activation=mean_activation,
        output_activation="sigmoid",
        code_variance=1.0,
    )


def train(
    e: Run, model: models.VariationalAutoencoder, x: np.ndarray, rounds: int, title: str
) -> tuple[np.ndarray, float]:
    """Objective, squared error and code term of every step, (steps, 3), and seconds per round."""
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @pn.compile
    def step(batch: pn.Tensor) -> tuple[pn.Tensor, ...]:
        optimizer.zero_grad()
        output = model(batch)
        error, code = model.reconstruction_term(output, batch), model.kl_term(output)
        loss = error + code
        loss.backward()
        optimizer.step()
        return loss, error, code

    table = np.arange(256, dtype=np.float32) / np.float32(255)
    model.train()
    start = time.perf_counter()
    values = [step.epoch(x, batch_size=BATCH, tables=[table]) for _ in e.progress(range(rounds), title)]
    return np.concatenate(values), (time.perf_counter() - start) / rounds


@experiment(
    "vae-unit-variance",
    title="A variational autoencoder with unit variance",
    source="004_7b7278b8294b24c0.txt, 4.8, figures 16-17, appendix",
    kind="train",
    topic="Variational autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    images = e.mnist()
    x = images.x_train.reshape(-1, 784)
    x = x[: len(x) // BATCH * BATCH]
    pn.manual_seed(e.seed)
    model = build()
    objective(e, x[:200])
    rounds = e.epochs(ROUNDS)
    values, seconds = train(e, model, x, rounds, "rounds")
    by_round = values.reshape(rounds, -1, 3).mean(axis=1)
    e.check("first value of the objective", values[0, 0], (181.4, 190.0), kind="between",
            note=f"the grey level 0.5 everywhere has {CONSTANT:.1f}")  # fmt: skip
    e.check("objective, mean of the last round", by_round[-1, 0], 44, kind="below",
            note=f"the mean image without a code has {MEAN_IMAGE}", profile="full")  # fmt: skip
    e.check("objective by round falls over the first 10", np.diff(by_round[:10, 0]), 0, kind="below")
    e.check("objective is squared error + code term", np.abs(values[:, 0] - values[:, 1] - values[:, 2]).max(), 0, 1e-4)
    e.report("last round: squared error", by_round[-1, 1])
    e.report("last round: code term", by_round[-1, 2])

    x_test = images.x_test.reshape(-1, 784).astype(np.float32) / np.float32(255)
    means = model.codes(x_test)
    active = (means > 0).any(axis=0)
    e.check("least mean of a code", float(means.min()), 0, kind="at least")
    e.check("dimensions in use (above 0 for some test image)", int(active.sum()), (11, 39), kind="between",
            profile="full")  # fmt: skip
    e.report("share of dimensions in use", float(active.mean()))

    pn.manual_seed(e.seed)
    bare = build(None)
    bare_rounds = e.epochs(BARE_ROUNDS)
    bare_values, _ = train(e, bare, x, bare_rounds, "rounds without ReLU on the mean")
    bare_by_round = bare_values.reshape(bare_rounds, -1, 3).mean(axis=1)
    e.report(f"objective in round {bare_rounds}, with and without ReLU on the mean",
             [by_round[bare_rounds - 1, 0], bare_by_round[-1, 0]])  # fmt: skip
    bare_means = bare.codes(x_test)
    used = int((bare_means.std(axis=0) > 0.1).sum())
    e.report("without ReLU on the mean: dimensions that differ between images", used)
    e.table(
        "by round",
        ["round", "objective", "squared error", "code term", "without ReLU on the mean"],
        [
            [r + 1, *by_round[r], bare_by_round[r, 0] if r < bare_rounds else None]
            for r in range(rounds)
            if r < 10 or (r + 1) % 10 == 0
        ],
        "Per image, mean of the steps of a round.",
    )
    draw(e, model, bare, x_test, values, by_round)
    e.report("seconds per epoch", seconds)
    e.note(
        """
        The objective is the negative evidence lower bound, up to constants, for codes with variance 1 and outputs with
        variance 1/2. The listing of the source puts a ReLU on the mean too, so that no mean is negative, while samples
        come from all of N(0, I): some dimensions are 0 for every image. The dropout layer that it declares is never
        used, and is left out.
        """
    )


def objective(e: Run, x: np.ndarray) -> None:
    """The library's terms against the bound written out, in float64 and with the same noise."""
    model = models.VariationalAutoencoder(
        (784, 400, 200, CODE), decoder_sizes=(CODE, 400, 784), mean_activation="relu", output_activation="sigmoid",
        code_variance=1.0, output_variance=0.5, dtype=np.float64,
    )  # fmt: skip
    plain = build().double()
    plain.load_state_dict(model.state_dict())
    rows = pn.tensor(x / 255.0)
    noise = e.rng.standard_normal((len(x), CODE))
    with pn.no_grad():
        mean, log_variance = model.encode(rows)
        decoded = model.decode(model.reparameterise(mean, log_variance, pn.tensor(noise)))
        output = models.Variational(decoded, mean, log_variance)
        bound = -float(model.loss(output, rows))
        ours = float(plain.loss(output, rows))
    mu, rebuilt = np.asarray(mean), np.asarray(decoded)
    error, code = ((x / 255.0 - rebuilt) ** 2).sum(axis=1), (mu**2).sum(axis=1)
    # log p(x) >= (Z/2) log sz^2 - (X/2) log sx^2 - error / (2 sx^2) - (|mu|^2 + Z sz^2) / 2 + Z/2 - (X/2) log 2 pi
    sz2, sx2, z, n = 1.0, 0.5, CODE, 784
    written = np.mean(z / 2 * np.log(sz2) - n / 2 * np.log(sx2) - error / (2 * sx2) - (code + z * sz2) / 2 + z / 2
                      - n / 2 * np.log(2 * np.pi))  # fmt: skip
    e.check("bound by the library (variances 1 and 1/2), relative to the formula", bound / written, 1, 1e-9)
    e.check("objective against mean(squared error + variance |mean|^2)", ours, float(np.mean(error + sx2 * code)), 1e-5)
    constant = -n / 2 * np.log(2 * np.pi * sx2)
    e.check("objective + (bound - constant)", ours + bound - constant, 0, 1e-5)


def draw(
    e: Run, model: models.VariationalAutoencoder, bare: models.VariationalAutoencoder, x_test: np.ndarray,
    values: np.ndarray, by_round: np.ndarray,
) -> None:  # fmt: skip
    """Both figures of the source, samples of the net without ReLU on its mean, reconstructions."""
    for name, net, what in (("samples", model, ""), ("samples-bare", bare, ", no ReLU on the mean")):
        samples = net.sample(100, generator=pn.Generator(e.seed))
        fig = plots.image_grid(samples, columns=10, shape=(28, 28), low=0, high=1, title=f"from N(0, I){what}")
        e.figure(name, fig, f"100 images decoded from codes of N(0, I){what}.", {"sample": samples})
    steps = np.arange(1, len(values) + 1)
    fig, (left, right) = plots.new(1, 2, height=3.2)
    series = {"objective": values[:, 0], "squared error": values[:, 1], "code term": values[:, 2]}
    plots.lines(steps, series, title="linear", xlabel="step", axes=left)
    plots.lines(steps, series, title="logarithmic", xlabel="step", log=True, axes=right)
    e.figure("objective", fig, "Objective and its two terms by step.", {"step": steps} | series)
    curves = {"objective": by_round[:, 0], "squared error": by_round[:, 1], "code term": by_round[:, 2]}
    fig = plots.learning_curves(curves, ylabel="per image", xlabel="round")
    e.figure("objective-by-round", fig, "The same, mean of each round.", curves)
    shown = np.arange(10)
    rebuilt = [net.reconstruct(x_test[shown]) for net in (model, bare)]
    fig = plots.originals_over_reconstructions(
        x_test[shown], rebuilt, shape=(28, 28), names=("original", "rebuilt", "no ReLU")
    )
    caption = (
        "Ten test images over what the means of their codes give back; below, of the net without ReLU on its mean."
    )
    e.figure("reconstructions", fig, caption, {"original": x_test[shown], "rebuilt": rebuilt[0], "bare": rebuilt[1]})
