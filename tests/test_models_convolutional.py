"""Convolutional models: PyTorch with the same weights, what they refuse, replay, explanation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from capturing import descent, eager_and_compiled

import pyneural as pn
from pyneural import nn
from pyneural.models import Coded, ConvAutoencoder, ConvClassifier, LeNet5

RNG = np.random.default_rng(0)


def images(n, *shape, dtype=np.float64):
    return RNG.uniform(0, 1, (n, *(shape or (1, 28, 28)))).astype(dtype)


def in_torch(module):
    """The same layers in PyTorch, with the same parameters and buffers, in float64."""
    torch = pytest.importorskip("torch")
    layers = []
    for layer in module:
        name, options = type(layer).__name__, {}
        if name in ("Conv2d", "ConvTranspose2d"):
            args = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
            options = {"bias": layer.bias is not None}
            if name == "ConvTranspose2d":
                options["output_padding"] = layer.output_padding
        elif name == "Linear":
            args = (layer.in_features, layer.out_features)
        elif name.startswith("BatchNorm"):
            args = (layer.num_features,)
        else:
            args = {"MaxPool2d": (2,), "Dropout": (getattr(layer, "p", 0.0),), "Unflatten": (1, (20, 6, 6))}.get(
                name, ()
            )
            options = {"scale_factor": 2, "mode": "bicubic"} if name == "Upsample" else {}
        layers.append(getattr(torch.nn, name)(*args, **options))
    made = torch.nn.Sequential(*layers).double()
    made.load_state_dict({k: torch.tensor(np.asarray(v.detach())) for k, v in module.state_dict().items()})
    return made


def same_in_torch(parts, x, train):
    """Outputs, gradients and running statistics of parts, one after the other, here and in PyTorch."""
    torch = pytest.importorskip("torch")
    theirs = [in_torch(part).train(train) for part in parts]
    y, z = pn.tensor(x), torch.tensor(x)
    for part, other in zip(parts, theirs, strict=True):
        part.train(train)
        y = part(y if y.ndim == 4 or not isinstance(part[0], nn.Linear) else y.flatten(1))
        z = other(z if z.ndim == 4 or not isinstance(part[0], nn.Linear) else z.flatten(1))
        if y.ndim == 4 and part is not parts[-1]:
            y, z = y.flatten(1), z.flatten(1)
    np.testing.assert_allclose(np.asarray(y.detach()), z.detach().numpy(), rtol=1e-9, atol=1e-9)
    g = RNG.normal(size=y.shape)
    y.backward(pn.tensor(g))
    z.backward(torch.tensor(g))
    for part, other in zip(parts, theirs, strict=True):
        for p, q in zip(part.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-7, atol=1e-8)
        for p, q in zip(part.buffers(), other.buffers(), strict=True):
            np.testing.assert_allclose(np.asarray(p), q.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", [0, 2])
def test_lenet_is_pytorchs(padding):
    model = LeNet5(padding=padding, dtype=np.float64)
    assert model(pn.tensor(images(3))).shape == (3, 10)
    same_in_torch([model.features, model.classifier], images(5), True)


@pytest.mark.parametrize("train", [True, False])
def test_classifier_is_pytorchs(train):
    model = ConvClassifier((4, 6), 5, image=(3, 12, 9), hidden=7, dtype=np.float64)
    assert model(pn.tensor(images(3, 3, 12, 9))).shape == (3, 5)
    same_in_torch([model.features, model.classifier], images(5, 3, 12, 9), train)


@pytest.mark.parametrize("train", [True, False])
def test_autoencoder_is_pytorchs(train):
    model = ConvAutoencoder(dropout=0.0, dtype=np.float64)
    same_in_torch([model.encoder], images(4), train)
    same_in_torch([model.decoder], RNG.normal(size=(4, 10)), train)


def test_autoencoder_mixes_codes_and_noise():
    model = ConvAutoencoder(code=3, channels=2, dtype=np.float64).eval()
    x, n = pn.tensor(images(5)), pn.tensor(RNG.normal(size=(5, 3)))
    for m in (0.0, 0.25, 1.0):
        output = model(x, m, n)
        assert isinstance(output, Coded)
        np.testing.assert_array_equal(output.code, model.encoder(x))
        np.testing.assert_array_equal(output.image, model.decoder(m * model.encoder(x) + (2 - m) * n))
    z, f = np.asarray(output.code.detach()), np.asarray(output.image.detach())
    squares = (z**2).sum() + ((f - x.numpy()) ** 2).sum()
    assert float(model.loss(output, x)) == pytest.approx(squares / (5 * 787), rel=1e-12)
    model.reconstruction_weight = 5.0
    squares = (z**2).sum() + 5 * ((f - x.numpy()) ** 2).sum()
    assert float(model.loss(output, x)) == pytest.approx(squares / (5 * 787), rel=1e-12)
    assert model.codes(x).shape == (5, 3)
    assert model.reconstruct(x).shape == model.sample(5).shape == (5, 1, 28, 28)
    np.testing.assert_array_equal(model.decoded(model.codes(x)), model.reconstruct(x))
    first, second = (model.sample(4, std=1.0, generator=pn.Generator(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_bad_arguments_are_named():
    for make, message in (
        (lambda: ConvClassifier((4, 4, 4), image=(1, 6, 9)), "3 stages halve 6 x 9 to nothing; at most 2 fit"),
        (lambda: ConvClassifier(()), "ConvClassifier: sizes must be at least 1 integers above 0"),
        (lambda: ConvClassifier((4,), activation="rule"), "unknown activation 'rule'"),
        (lambda: LeNet5(activation="rule"), "LeNet5: unknown activation 'rule'"),
        (lambda: ConvAutoencoder(0), "ConvAutoencoder: sizes must be"),
        (lambda: ConvAutoencoder(reconstruction_weight=0), "reconstruction_weight must be above 0, got 0"),
        (lambda: ConvAutoencoder(dropout=1.5), "p must be a probability"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_replayed_autoencoder_step_has_the_same_bits():
    """Batch normalisation, dropout, noise and plain SGD: 20 steps, for 1, 2 and 7 threads."""
    inputs = [(images(16, dtype=np.float32),) for _ in range(20)]

    def make():
        model = ConvAutoencoder()
        return descent(model, lambda x: model.loss(model(x), x))

    found = []
    for threads in (1, 2, 7):
        pn.set_num_threads(threads)
        eager_and_compiled(make, inputs)
        pn.manual_seed(3)
        world = make()
        found.append([np.asarray(world.step(pn.from_numpy(x)).detach()).tobytes() for (x,) in inputs])
    assert found[0] == found[1] == found[2]


def test_step_is_explained_in_two_seconds(tmp_path):
    pn.manual_seed(0)
    model = ConvAutoencoder()
    step = pn.compile(descent(model, lambda x: model.loss(model(x), x)).step)
    x = pn.tensor(images(64, dtype=np.float32))
    for _ in range(2):
        step(x)
    seconds = []
    for _ in range(3):  # the quickest: others may be at work
        start = time.perf_counter()
        pn.explain(step, x).save(tmp_path / "step.html")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2
    text = (tmp_path / "step.html").read_text()
    assert all(name in text for name in ("conv", "conv_transpose", "resample"))
