"""The autoencoder experiments: what they share, and (slow) their quick profiles."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from experimenting import passing

import pyneural as pn
from pyneural import models, nn
from pyneural.experiments import _autoencoder as wide
from pyneural.experiments import _narrow as narrow
from pyneural.experiments import ae_linear_1024, ae_vs_pca, find
from pyneural.experiments._parallel import at_once
from pyneural.experiments.frame import Images, Run
from pyneural.learn import pca

IDS = (
    "ae-relu-1024", "ae-linear-1024", "ae-sigmoid-1024", "ae-hidden-sparsity", "ae-bottleneck-30-tanh",
    "ae-activation-grid", "ae-reconstructions", "ae-small-bottleneck", "ae-vs-pca",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_quick_profile_passes(id, tmp_path):
    assert passing(id, tmp_path)["figures"]


@pytest.fixture
def e(tmp_path, monkeypatch) -> Run:
    """A run on 400 embedded digits in the place of MNIST, with nothing kept from other runs."""
    train, test = pn.data.digits(n=400), pn.data.digits(train=False, n=100)
    images = Images(train.images, train.labels.astype(np.int64), test.images, test.labels.astype(np.int64))
    monkeypatch.setattr(Run, "mnist", lambda self: images)
    monkeypatch.setattr(wide, "_kept", {})
    monkeypatch.setattr(narrow, "_kept", {})
    return Run(find("ae-relu-1024"), "quick", 0, 2, Path(tmp_path))


# ---- several trainings at once ----


def test_jobs_run_at_once_on_one_thread_each_and_keep_their_names(e):
    before = pn.get_num_threads()
    meeting = threading.Barrier(2, timeout=60)

    def job(name):
        def work(stop):
            meeting.wait()
            return name, pn.get_num_threads()

        return work

    found = at_once(e, {name: job(name) for name in "abcd"}, "working")
    assert found == {name: (name, 1) for name in "abcd"}
    assert list(found) == list("abcd")
    assert pn.get_num_threads() == before


def test_a_job_that_fails_stops_the_others(e):
    before = pn.get_num_threads()
    model = models.Autoencoder((784, 4))
    epochs = []

    def endless(stop):
        def note(trainer, epoch, logs):
            epochs.append(epoch)
            stop(trainer, epoch, logs)

        trainer = pn.Trainer(model, nn.MSELoss(), pn.optim.SGD(model.parameters(), lr=0.01))
        trainer.fit(e.mnist().x_train.reshape(-1, 784), epochs=100_000, batch_size=100, callbacks=[note],
                    progress=False, generator=pn.Generator(0))  # fmt: skip

    def fails(stop):
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        at_once(e, {"endless": endless, "fails": fails}, "working")
    assert len(epochs) < 100_000
    assert pn.get_num_threads() == before


def test_nets_trained_at_once_have_the_bits_of_nets_trained_alone(e):
    together = narrow.by_size(e, ["ReLU", "tanh"], [5, 30], 3, small=True)
    for (activation, units), net in together.items():
        alone = narrow.new_net(e, activation, units, small=True)
        again = narrow.train(e, alone, narrow.step_size(activation), 3, lambda *_: None)
        assert again.history["loss"] == net.history["loss"]
        np.testing.assert_array_equal(narrow.decoder_weight(alone), narrow.decoder_weight(net.model))
    assert narrow.by_size(e, ["ReLU", "tanh"], [5, 30], 3, small=True) is together


# ---- narrow nets ----


def test_negative_starts_mirrored_and_takes_the_path_of_identity(e):
    identity, negative = (narrow.new_net(e, name, 30) for name in ("identity", "negative"))
    np.testing.assert_array_equal(narrow.encoder_weight(identity), narrow.encoder_weight(negative))
    np.testing.assert_array_equal(narrow.decoder_weight(identity), -narrow.decoder_weight(negative))
    nets = [narrow.train(e, net, 0.005, 2, lambda *_: None, keep=True) for net in (identity, negative)]
    np.testing.assert_allclose(nets[0].history["loss"], nets[1].history["loss"], rtol=1e-6)
    assert [w.shape for w in nets[0].weights] == [(784, 30)] * 2
    assert np.abs(narrow.decoder_weight(narrow.new_net(e, "identity", 4, small=True))).max() <= 784**-0.5


def test_losses_are_half_squared_errors_and_not_below_the_floor(e):
    net = narrow.train(e, narrow.new_net(e, "identity", 30), 0.005, 4, lambda *_: None)
    test = e.mnist().x_test
    each = narrow.half_losses(test, narrow.reconstructed(net, test))
    np.testing.assert_allclose(each.mean(), net.test, rtol=1e-4)
    train_floor, test_floor = narrow.floors(e)
    x = test.reshape(len(test), -1) / 255
    values = np.linalg.eigvalsh(x.T @ x / len(x))[::-1]
    np.testing.assert_allclose(test_floor[:100], 0.5 * (values.sum() - np.r_[0, np.cumsum(values)[:99]]), atol=1e-9)
    assert net.test >= test_floor[30]
    assert net.train >= train_floor[30]
    assert np.mean(narrow.reads(e, x) == e.mnist().y_test) > 0.3


# ---- wide nets ----


def test_bounds_are_those_of_the_clipped_images(e):
    images = e.mnist()
    x = wide.standardised(images.x_test).astype(np.float64)
    mean = wide.standardised(images.x_train).mean(axis=0, dtype=np.float64)
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        floor, constant = wide.bounds(images.x_test, images.x_train, low, high)
        np.testing.assert_allclose(floor, np.mean((x - np.clip(x, low, high)) ** 2), rtol=1e-5)
        np.testing.assert_allclose(constant, np.mean((x - np.clip(mean, low, high)) ** 2), rtol=1e-5)


def test_a_net_is_trained_once_and_the_same_whatever_ran_before(e, monkeypatch):
    monkeypatch.setitem(wide.NETS, "small", wide.Net((784, 16, 2), "relu"))
    first = wide.trained(e, "small")
    assert wide.trained(e, "small") is first
    assert len(first.idle) == first.history.epochs == 4
    assert 0 < first.idle[-1] < 1
    monkeypatch.setattr(wide, "_kept", {})
    pn.rand(3)
    assert wide.trained(e, "small").history["loss"] == first.history["loss"]
    assert first.first_hidden(e.mnist().x_test).shape == (100, 16)


def test_nearest_neighbours_of_codes(e, monkeypatch):
    a = wide.trained(e, "bottleneck-2")
    known, asked = a.codes(e.mnist().x_train), a.codes(e.mnist().x_test)
    nearest = ((asked[:, None] - known) ** 2).sum(axis=-1).argmin(axis=1)
    right = np.mean(e.mnist().y_train[nearest] == e.mnist().y_test)
    assert wide.nearest_neighbour_accuracy(a) == pytest.approx(right, abs=0.02)


def test_linear_layers_collapse_to_one_map():
    pn.manual_seed(0)
    model = models.Autoencoder((784, 32, 8, 2), None, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(5, 784))
    (w, b), (v, c) = ae_linear_1024.collapsed(model.encoder), ae_linear_1024.collapsed(model.decoder)
    np.testing.assert_allclose(model.codes(x), x @ w.T + b, atol=1e-12)
    np.testing.assert_allclose(model.reconstruct(x), (x @ w.T + b) @ v.T + c, atol=1e-12)


# ---- principal components ----


def test_angles_and_ordered_directions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 5)) * [5, 3, 2, 1, 0.5]
    found = pca(x, center=False)
    mixed = found.components[:2].T @ rng.normal(size=(2, 2))
    np.testing.assert_allclose(ae_vs_pca.angles(mixed @ rng.normal(size=(2, 5)), found, 2), 0, atol=1e-5)
    other = np.stack([found.components[0], found.components[4]])
    np.testing.assert_allclose(ae_vs_pca.angles(other.T @ other, found, 2), [0, 90], atol=1e-5)
    ordered = ae_vs_pca.orthogonalised(mixed, found)
    np.testing.assert_allclose(np.abs(ordered @ found.components[:2].T), np.eye(2), atol=1e-9)


def test_expected_error_is_that_of_many_points():
    m = np.array([[0.5, 0.1, 0], [0, 1, 0], [0.3, 0, 0]])
    x = np.random.default_rng(0).normal(size=(200_000, 3)) * ae_vs_pca.STD
    np.testing.assert_allclose(ae_vs_pca.expected_error(m), np.mean(((x - x @ m.T) ** 2).sum(axis=1)), rtol=0.02)
