"""A linear autoencoder without biases computes x' = W2 W1 x. How does it compare with principal component analysis?
The source claims that the optimum matches PCA, that W1 and W2 need not be orthogonal, and that columns of W2 and rows
of W1 of unit norm bring it closer to PCA.

1. Compare trained products with the projector on the leading eigenvectors.
2. Show that the factors are not determined by the loss.
3. Are unit norms enough? Find data and weights for which they are not, and say what is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, optim, plots
from pyneural.callbacks import Schedule
from pyneural.experiments import _narrow as narrow
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import PrincipalComponents, pca

UNITS = 25
SHOWN = 10
STD = np.array([3.0, 2.0, 0.5])  # of the counterexample
BLOBS = np.array([[4.0, 0, 0, 0, 0, 0], [-1, 3.0, 0, 0, 0, 0], [-2, -1.5, 1.0, 0, 0, 0]])


@experiment(
    "ae-vs-pca",
    title="Linear autoencoders and principal components",
    source="001_b6a7a572bac0f98c.txt, 1d",
    kind="proof",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    toy_angles = on_blobs(e)
    on_digits(e, toy_angles)
    invariance(e)
    parameterisations(e)
    with_biases(e)
    e.note(
        """
        The optimum of W2 W1 is the projector on the leading eigenvectors of X^T X / N, *without* subtracting the mean,
        because there are no biases; with biases it is centred PCA. The factors are determined up to an invertible
        matrix A: (A^-1 W1, W2 A) has the same product. Half true is the claim about unit norms: they do not suffice.
        What does is W1 = W2^T with orthonormal columns, and even then a rotation of the columns changes nothing: only
        ordering them by variance gives the principal components. With W1 = W2^T the loss alone makes the columns
        orthonormal, as the tied net in the table shows.
        """
    )


def blobs(rng: np.random.Generator, n: int = 300) -> np.ndarray:
    """Three groups of points in six dimensions, with two leading directions."""
    return BLOBS[rng.integers(0, 3, n)] + 0.5 * rng.normal(size=(n, 6))


def angles(product: np.ndarray, found: PrincipalComponents, k: int) -> np.ndarray:
    """Principal angles, in degrees, between the space onto which W2 W1 maps and that of the leading k directions."""
    left = np.linalg.svd(product, full_matrices=False)[0][:, :k]
    cosines = np.linalg.svd(found.components[:k] @ left, compute_uv=False)
    return np.degrees(np.arccos(np.clip(cosines, 0, 1)))


def product(model: models.Autoencoder) -> np.ndarray:
    """W2 W1."""
    return narrow.decoder_weight(model).astype(np.float64) @ narrow.encoder_weight(model)


def fit(
    e: Run, x: np.ndarray, k: int, epochs: int = 400, **options: Any
) -> tuple[models.Autoencoder, list[np.ndarray]]:
    """A linear autoencoder of x in float64, trained with Adam whose step shrinks; and its product after each epoch."""
    pn.manual_seed(e.seed)
    model = models.Autoencoder((x.shape[1], k), dtype=np.float64, **options)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    products: list[np.ndarray] = []

    def note(trainer: pn.Trainer, epoch: int, logs: Any) -> None:
        if not model.tied:
            products.append(product(model))

    trainer = pn.Trainer(model, narrow.half_loss, optimizer)
    trainer.fit(x, epochs=epochs, batch_size=50, callbacks=[Schedule(schedule), note], progress=False)
    return model, products


def on_blobs(e: Run) -> np.ndarray:
    """The toy: trained product against the projector. Returns the largest angle by epoch."""
    x = blobs(e.rng)
    found = pca(x, center=False)
    gap = found.variances[1] / found.variances[2]
    e.check("three blobs: eigenvalue gap", gap, 2, kind="at least")
    model, products = fit(e, x, 2, bias=False)
    by_epoch = np.array([angles(p, found, 2).max() for p in products])
    e.check("three blobs: largest angle between the trained and the leading directions, degrees", by_epoch[-1], 5,
            kind="at most")  # fmt: skip
    projector = found.components[:2].T @ found.components[:2]
    e.check("three blobs: trained W2 W1 against the projector", product(model), projector, 0.05)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    e.check("three blobs: variances against LAPACK", found.variances, values[::-1], 1e-10)
    signs = np.abs(np.sum(found.components * vectors[:, ::-1].T, axis=1))
    e.check("three blobs: directions against LAPACK, cosines", signs, 1.0, 1e-10)
    return by_epoch


def on_digits(e: Run, toy_angles: np.ndarray) -> None:
    """MNIST, 25 units: the loss against the floor, the angles by epoch, and the directions as images."""
    net, found = narrow.identity_25(e), narrow.directions(e)[0]
    floor = narrow.floors(e)[0][UNITS]
    e.check("MNIST: floor of the training loss, 25 directions, not centred", floor, 8.1329, 1e-4, profile="full")
    centred = pca(narrow.rows(e.mnist())[0], UNITS).residual / (2 * 255**2)
    e.check("MNIST: the same, centred", centred, 8.1248, 1e-4, profile="full")
    e.check("MNIST: training loss over the floor", net.train / floor, 1.06, kind="below", profile="full")
    e.report("seconds per epoch, 25 identity units on one thread", round(net.seconds, 3))

    by_epoch = np.array([angles(weights, found, UNITS) for weights in net.weights])
    e.report("MNIST: largest angle in degrees", by_epoch[-1].max(), note="the 25th and the 26th eigenvalue are close: "
             f"their ratio is {found.variances[UNITS - 1] / found.variances[UNITS]:.3f}")  # fmt: skip
    e.report("MNIST: mean angle in degrees", by_epoch[-1].mean())
    fig, (left, right) = plots.new(1, 2, height=3.4)
    plots.lines(np.arange(1, len(toy_angles) + 1), {"largest": toy_angles}, title="three blobs, 2 units",
                xlabel="epoch", ylabel="principal angle, degrees", log=True, axes=left)  # fmt: skip
    curves = {"largest": by_epoch.max(axis=1), "median": np.median(by_epoch, axis=1), "smallest": by_epoch.min(axis=1)}
    plots.lines(np.arange(1, len(by_epoch) + 1), curves, title="MNIST, 25 units", xlabel="epoch", axes=right)
    caption = "Angles between the space that the net spans and that of the leading directions, by epoch of training."
    e.figure("angles", fig, caption, {"toy": toy_angles, "mnist": by_epoch})

    w2 = net.weights[-1].astype(np.float64)
    ordered = orthogonalised(w2, found)
    closeness = np.abs(np.sum(ordered[:SHOWN] * found.components[:SHOWN], axis=1))
    e.check(f"MNIST: ordered directions against PCA's, least cosine of {SHOWN}", closeness.min(), 0.95, kind="above",
            profile="full")  # fmt: skip
    unit = w2.T[:SHOWN] / np.linalg.norm(w2.T[:SHOWN], axis=1, keepdims=True)
    e.report("MNIST: the same before, largest cosine of a column of W2 with its direction",
             float(np.abs(np.sum(unit * found.components[:SHOWN], axis=1)).max()))  # fmt: skip
    signs = np.sign(np.sum(ordered[:SHOWN] * found.components[:SHOWN], axis=1, keepdims=True))
    images = np.concatenate([found.components[:SHOWN], unit, signs * ordered[:SHOWN]])
    names = [f"{name} {i + 1}" for name in ("PCA", "W2", "ordered") for i in range(SHOWN)]
    caption = (
        "Leading principal directions; columns of the trained W2; the same space after orthogonalisation, ordered by "
        "variance: the directions come back."
    )
    e.figure("directions", plots.weight_images(images, names, columns=SHOWN), caption, {"image": images})


def orthogonalised(w2: np.ndarray, found: PrincipalComponents) -> np.ndarray:
    """Orthonormal rows (k, d) that span the columns of W2, turned so that the data's variances along them are sorted.

    `found` holds all directions of the data, and so their second moments.
    """
    q, _ = np.linalg.qr(w2)
    seen = found.components @ q
    values, turn = np.linalg.eigh(seen.T @ (found.variances[:, None] * seen))
    return (q @ turn[:, np.argsort(-values)]).T


def invariance(e: Run) -> None:
    """(A^-1 W1, W2 A) gives the outputs of (W1, W2)."""
    w1, w2, a = (e.rng.normal(size=shape) for shape in ((3, 8), (8, 3), (3, 3)))
    x = e.rng.normal(size=(8, 50))
    other = np.linalg.inv(a) @ w1, w2 @ a
    e.check("outputs of (A^-1 W1, W2 A) against those of (W1, W2)", other[1] @ (other[0] @ x), w2 @ (w1 @ x), 1e-10)
    e.check("largest difference of the factors", np.abs(other[1] - w2).max(), 0.1, kind="above")


def parameterisations(e: Run) -> None:
    """Gaussian data with three standard deviations, two units: unit norms against orthonormal columns."""
    w2 = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]).T / [1, np.sqrt(2)]
    e.check("counterexample: norms of the columns of W2", np.linalg.norm(w2, axis=0), 1.0, 1e-15)
    wrong, best = (expected_error(m) for m in (w2 @ w2.T, np.diag([1.0, 1.0, 0.0])))
    e.check("counterexample: expected squared error, unit norms", wrong, 6.75, 1e-12)
    e.check("counterexample: expected squared error, PCA", best, 0.25, 1e-12)
    x = e.rng.normal(size=(1000, 3)) * STD
    found = pca(x, 2, center=False)
    sampled = [float(np.mean(((x - x @ m.T) ** 2).sum(axis=1))) for m in (w2 @ w2.T, projector(found))]
    e.report("counterexample: 1000 points, unit norms", sampled[0], printed=6.49, note="another sample")
    e.report("counterexample: 1000 points, PCA", sampled[1], printed=0.26, note="another sample")
    free, _ = fit(e, x, 2, bias=False)
    tied, _ = fit(e, x, 2, bias=False, tied=True)
    w = narrow.encoder_weight(tied)
    rotation = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]) @ found.components
    products = [
        ("W1, W2 free, trained", product(free)),
        ("unit norms, W1 = W2^T: (1, 0, 0), (1, 1, 0)/sqrt 2", w2 @ w2.T),
        ("W1 = W2^T, trained (orthonormal by itself)", w.T @ w),
        ("W1 = W2^T, principal directions", projector(found)),
        ("the same, turned by 1 radian within their plane", rotation.T @ rotation),
    ]
    errors = [float(np.mean(((x - x @ m.T) ** 2).sum(axis=1))) for _, m in products]
    names = [name for name, _ in products]
    least = errors[3]
    for i in (0, 2):
        e.check(f"{names[i]}: squared error over PCA's", errors[i] / least, 1.01, kind="at most")
    e.check("turned directions: squared error", errors[4], least, 1e-12)
    e.check("tied and trained: W1 W1^T against the identity", w @ w.T, np.eye(2), 0.02)
    e.table("parameterisations", ["weights", "mean squared error"], list(zip(names, errors, strict=True)),
            "Two units for 1000 points of a Gaussian with standard deviations 3, 2 and 0.5.")  # fmt: skip


def projector(found: PrincipalComponents) -> np.ndarray:
    return found.components.T @ found.components


def expected_error(m: np.ndarray) -> float:
    """E |x - M x|^2 for x ~ N(0, diag(STD^2)): the trace of (I - M) S (I - M)^T."""
    left = (np.eye(3) - m) * STD
    return float(np.sum(left**2))


def with_biases(e: Run) -> None:
    """Blobs that were moved away from the origin: with biases the net reaches the error of centred PCA."""
    x = blobs(e.rng) + np.array([0, 0, 0, 5.0, 5.0, 0])
    best = {centre: pca(x, 2, center=centre).residual for centre in (True, False)}
    rows = []
    for bias in (True, False):
        model, _ = fit(e, x, 2, bias=bias)
        error = float(np.mean(((model.reconstruct(x) - x) ** 2).sum(axis=1)))
        name = "with biases, against centred PCA" if bias else "without biases, against uncentred PCA"
        e.check(f"moved blobs {name}: squared error over the least", error / best[bias], 1.02, kind="at most")
        rows.append(["with" if bias else "without", error, best[True], best[False]])
    e.table("biases", ["biases", "mean squared error", "centred PCA", "uncentred PCA"], rows,
            "Three blobs away from the origin, two units.")  # fmt: skip
