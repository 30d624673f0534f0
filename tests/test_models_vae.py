"""Variational autoencoders: the objective against NumPy and Monte Carlo, replays, sampling, warm-up, PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim, plots
from pyneural.distributions import Normal, kl_divergence
from pyneural.models import KLWarmup, Variational, VariationalAutoencoder, gaussian_kl, lattice

RNG = np.random.default_rng(0)
X = RNG.random((96, 20)).astype(np.float32)


def _model(**options):
    pn.manual_seed(1)
    return VariationalAutoencoder((20, 12, 4), "tanh", output_activation="sigmoid", **options)


def test_divergence_is_the_closed_form_and_the_mean_of_log_ratios():
    mean, log_variance = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    found = np.asarray(gaussian_kl(mean, log_variance))
    expected = kl_divergence(Normal(mean, np.exp(log_variance / 2)), Normal(np.zeros((3, 4)), np.ones((3, 4))))
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-13)
    noise = RNG.standard_normal((200_000, 3, 4))
    z = mean + np.exp(log_variance / 2) * noise
    ratio = -0.5 * noise**2 - log_variance / 2 + 0.5 * z**2
    error = ratio.std(axis=0) / math.sqrt(len(ratio))
    assert np.all(np.abs(ratio.mean(axis=0) - found) < 5 * error)
    # Near the prior exp(v) - 1 - v cancels; expm1 keeps the digits.
    small = np.asarray(gaussian_kl(np.zeros(1), np.full(1, 1e-5)))
    np.testing.assert_allclose(small, (1e-5) ** 2 / 4, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("code_variance", ["learned", 1.0, 0.25])
@pytest.mark.parametrize("output", [{}, {"output_variance": 0.5}, {"output_variance": "learned"},
                                    {"reconstruction": "bce"}])  # fmt: skip
def test_objective_is_what_numpy_says(reduction, code_variance, output):
    model = _model(code_variance=code_variance, reduction=reduction, kl_weight=0.7, dtype=np.float64, **output)
    if model.output_log_variance is not None:
        with pn.no_grad():
            model.output_log_variance.fill_(math.log(0.5))
    x = pn.tensor(X.astype(np.float64))
    out = model.eval()(x)
    mean, log_variance = (np.asarray(part.detach()) for part in model.encode(x))
    rebuilt = np.asarray(model.decode(pn.tensor(mean)).detach())
    np.testing.assert_array_equal(np.asarray(out.output.detach()), rebuilt)
    if output.get("reconstruction"):
        each = -(X * np.log(rebuilt) + (1 - X) * np.log1p(-rebuilt))
    elif output:
        each = 0.5 * ((X - rebuilt) ** 2 / 0.5 + math.log(2 * math.pi * 0.5))
    else:
        each = (X - rebuilt) ** 2
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    fold = np.mean if reduction == "mean" else lambda a: a.sum() / len(a)
    expected = fold(each), fold(kl)
    np.testing.assert_allclose([float(f(out, x)) for f in model.terms.values()], expected, rtol=1e-6)
    np.testing.assert_allclose(float(model.loss(out, x)), expected[0] + 0.7 * expected[1], rtol=1e-6)


def test_codes_are_drawn_in_training_with_the_variance_that_is_said():
    model = _model(code_variance=0.25)
    x = pn.tensor(np.repeat(X[:1], 4000, axis=0))
    seen = []
    model.decoder.register_forward_pre_hook(lambda module, args: seen.append(np.asarray(args[0].detach())))
    model.train()(x)
    model.eval()(x)
    drawn, still = seen
    np.testing.assert_array_equal(still, np.broadcast_to(still[:1], still.shape))
    np.testing.assert_allclose((drawn - still).std(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), still[0], atol=0.04)


@pytest.mark.parametrize("compile", [True, False])
def test_trained_bits_do_not_depend_on_replay_or_threads(compile):
    def train(threads, compile):
        pn.set_num_threads(threads)
        model = _model(kl_weight=0.1)
        trainer = pn.Trainer(model, model.loss, optim.Adam(model.parameters()), model.terms)
        warmup = KLWarmup(model, 2)
        history = trainer.fit(
            X, epochs=4, batch_size=16, seed=3, callbacks=[warmup], progress=False, compile=compile, validation=X
        )
        return history, model

    (first, model), (second, other) = train(1, True), train(3, compile)
    assert dict(first) == dict(second)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))
    np.testing.assert_array_equal(
        model.sample(3, generator=pn.Generator(5)), other.sample(3, generator=pn.Generator(5))
    )
    assert first["loss"][0] == pytest.approx(first["reconstruction"][0])  # the weight is 0 at first
    total = [r + 0.1 * k for r, k in zip(first["val_reconstruction"], first["val_kl"], strict=True)]
    assert first["val_loss"][-1] == pytest.approx(total[-1], rel=1e-6)


def test_replays_follow_the_weight_without_a_new_recording():
    model = _model()
    optimizer = optim.SGD(model.parameters(), lr=1e-3)

    @pn.compile
    def step(x):
        optimizer.zero_grad()
        out = model(x)
        value = model.loss(out, x)
        value.backward()
        optimizer.step()
        return value, model.reconstruction_term(out, x), model.kl_term(out)

    x = pn.tensor(X)
    for weight in (1.0, 1.0, 1.0, 0.5, 0.25, 0.0):
        model.kl_weight = weight
        total, error, kl = (float(v) for v in step(x))
        assert total == pytest.approx(error + weight * kl, rel=1e-5)
    assert [r.replays for r in step.programs] == [4]
    assert step.misses == []


def test_warmup_rises_to_the_weight_of_the_model():
    model = _model(kl_weight=2.0)
    warmup = KLWarmup(model, 4)
    assert [warmup.weight(k) for k in range(6)] == [0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert KLWarmup(model, 2, 1.0, 3.0).weight(1) == 2.0
    warmup.on_epoch_begin(None, 1)
    assert model.kl_weight == 0.5


def test_arrays_in_and_out():
    model = _model().train()
    mean, log_variance = model.distribution(X, batch_size=7)
    assert mean.shape == log_variance.shape == (96, 4)
    np.testing.assert_array_equal(model.codes(X), model.distribution(X)[0])
    np.testing.assert_allclose(model.reconstruct(X), model.decoded(model.codes(X)), rtol=1e-6)
    assert model.training
    assert model.sample(5).shape == (5, 20)
    pn.manual_seed(9)
    first = model.sample(5)
    pn.manual_seed(9)
    np.testing.assert_array_equal(model.sample(5), first)
    np.testing.assert_allclose(model.sample(2, std=0.0), model.decoded(np.zeros((2, 4))), rtol=1e-6)


def test_state_dict_holds_weights_and_no_settings():
    model, other = _model(kl_weight=0.5), _model(kl_weight=2.0)
    names = set(model.state_dict())
    assert names == {f"{part}.weight" for part in ("encoder.0", "code_mean.0", "code_log_variance", "decoder.0",
                                                   "decoder.2")} | {
        f"{part}.bias" for part in ("encoder.0", "code_mean.0", "code_log_variance", "decoder.0", "decoder.2")
    }  # fmt: skip
    other.load_state_dict(model.state_dict())
    assert other.kl_weight == 2.0
    np.testing.assert_array_equal(model.codes(X), other.codes(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (20,)}, "at least 2 integers"),
        ({"decoder_sizes": (5, 20)}, "must start with the 4 features"),
        ({"reduction": "none"}, "'sum' or 'mean', got 'none'"),
        ({"reconstruction": "l1"}, "'squared' or 'bce', got 'l1'"),
        ({"reconstruction": "bce", "output_variance": 1.0}, "a cross-entropy has none"),
        ({"code_variance": 0.0}, "code_variance must be 'learned' or a number above 0, got 0.0"),
        ({"output_variance": "free"}, "output_variance must be 'learned'"),
        ({"kl_weight": -1.0}, "at least 0, got -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(**{"sizes": (20, 12, 4)} | options)


def test_lattice_and_its_picture():
    codes = lattice((-1, 0), (1, 2), 3, size=4, dims=(2, 0), center=7.0)
    np.testing.assert_array_equal(codes[:, 1], 7)
    np.testing.assert_array_equal(codes[:, 2].reshape(3, 3), [[-1, 0, 1]] * 3)
    np.testing.assert_array_equal(codes[:, 0].reshape(3, 3)[:, 0], [2, 1, 0])
    pictures = np.arange(9 * 4).reshape(9, 2, 2)
    fig = plots.latent_lattice(pictures, (-1, 0), (1, 2), title="t")
    (ax,) = fig.axes
    sheet = ax.images[0].get_array()
    assert sheet.shape == (6, 6)
    np.testing.assert_array_equal(sheet[:2, 2:4], pictures[1])
    assert ax.images[0].get_extent() == [-1.5, 1.5, -0.5, 2.5]
    assert not plots.latent_lattice(pictures.reshape(9, 4)).axes[0].get_xticks().size
    for call, message in (
        (lambda: plots.latent_lattice(pictures[:8]), "8 images do not fill a square"),
        (lambda: lattice(0, 1, 1), "side must be at least 2"),
        (lambda: lattice(0, 1, size=3, dims=(1, 1)), r"numbers from 0 to 2, got \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_losses_follow_pytorch():
    """The same weights, batches and noise: 100 steps of Adam, losses equal to 1e-3 relative."""
    torch = pytest.importorskip("torch")
    model = _model(kl_weight=0.5)
    theirs = {
        name: torch.tensor(np.array(value.detach()), requires_grad=True) for name, value in model.named_parameters()
    }
    adam = torch.optim.Adam(theirs.values(), lr=3e-3)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)

    @pn.compile
    def step(x, noise):
        optimizer.zero_grad()
        mean, log_variance = model.encode(x)
        code = model.reparameterise(mean, log_variance, noise)
        value = model.loss(Variational(model.decode(code), mean, log_variance), x)
        value.backward()
        optimizer.step()
        return value

    def their_step(x, noise):
        def layer(h, name):
            return torch.nn.functional.linear(h, theirs[f"{name}.weight"], theirs[f"{name}.bias"])

        adam.zero_grad()
        h = torch.tanh(layer(x, "encoder.0"))
        mean, log_variance = layer(h, "code_mean.0"), layer(h, "code_log_variance")
        code = mean + torch.exp(0.5 * log_variance) * noise
        rebuilt = torch.sigmoid(layer(torch.tanh(layer(code, "decoder.0")), "decoder.2"))
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        value = (((rebuilt - x) ** 2).sum() + 0.5 * kl) / len(x)
        value.backward()
        adam.step()
        return value.item()

    rng = np.random.default_rng(2)
    ours, expected = [], []
    for _ in range(100):
        x, noise = X[rng.choice(len(X), 32)], rng.standard_normal((32, 4)).astype(np.float32)
        ours.append(float(step(x, noise)))
        expected.append(their_step(torch.from_numpy(x), torch.from_numpy(noise)))
    np.testing.assert_allclose(ours, expected, rtol=1e-3)
    assert ours[-1] < ours[0]


def test_no_hidden_layer_and_no_bias():
    model = VariationalAutoencoder((20, 3), bias=False, decoder_sizes=(3, 5, 20))
    assert len(model.encoder) == 0
    assert model.reconstruct(X).shape == X.shape
    assert isinstance(model.decoder[1], nn.ReLU)


def test_the_warm_up_lasts_at_least_one_epoch():
    with pytest.raises(ValueError, match="KLWarmup: epochs must be at least 1, got 0"):
        KLWarmup(None, 0)
