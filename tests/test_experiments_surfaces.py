"""The experiments on convexity and slices: their formulas against autodiff, and what the source prints fails."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

import pyneural as pn
from pyneural.experiments import ae_convexity, ae_loss_slices, logistic_convexity, logistic_square_nonconvexity

PRINTED = {
    "logistic-square-nonconvexity": {"c = 1, s = 0.5: sign of q": -1},
    "loss-slices": {},
}


@pytest.mark.parametrize("id", PRINTED)
def test_every_check_passes(id, tmp_path):
    result = passing(id, tmp_path)
    assert result["tables"]
    assert result["figures"]
    for figure in result["figures"]:
        with np.load(tmp_path / id / figure["data"]) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
    assert PRINTED[id].items() <= {c["name"]: c.get("printed") for c in result["checks"]}.items()


def test_likelihood_of_a_sigmoid_neuron():
    rng = np.random.default_rng(0)
    x, c, _ = logistic_convexity.data(rng)
    w = rng.normal(size=logistic_convexity.D)
    f = logistic_convexity.error(x, c)
    np.testing.assert_allclose(pn.grad(f)(pn.tensor(w)).numpy(), logistic_convexity.gradient(x, c, w), atol=1e-12)
    np.testing.assert_allclose(pn.hessian(f)(pn.tensor(w)).numpy(), logistic_convexity.hessian(x, w), atol=1e-12)


def test_the_factor_of_the_square_loss():
    q = logistic_square_nonconvexity.q
    assert (q(0.5, 1), q(0.2, 1), q(2 / 3, 0)) == pytest.approx((0.25, -0.32, 0.0))
    low, high = logistic_square_nonconvexity.PRINTED
    assert q((low + high) / 2, 1) > 0  # the printed interval has the wrong sign


@pytest.mark.parametrize("kind", ae_convexity.LOSSES)
def test_blocks_of_the_autoencoders_hessian(kind):
    net = ae_convexity.network(np.random.default_rng(3))
    whole, formula = (f(kind, net) for f in (ae_convexity.whole_eigenvalues, ae_convexity.block_eigenvalues))
    np.testing.assert_allclose(whole, formula, atol=1e-12)
    if kind == "cross-entropy":
        assert formula.min() >= -1e-14


def test_slices_of_an_autoencoder_move_what_they_name():
    rng = np.random.default_rng(0)
    parameters = {n: pn.tensor(0.1 * rng.normal(size=s)) for n, s in ae_loss_slices.images.SHAPES.items()}
    x = pn.tensor(rng.uniform(size=(4, 784)))
    slices = ae_loss_slices.Slices("cross-entropy", parameters, x)
    (u,) = ae_loss_slices.draws(rng, 1)
    z = np.array([0.0, 0.1, 0.3])
    values = {name: slices.of(name, u, z) for name in ae_loss_slices.SLICES}

    def at(**moved):
        return ae_loss_slices.images.loss("cross-entropy", {**parameters, **moved}, x).item()

    w1, w2 = (parameters[n].numpy() for n in ("W1", "W2"))
    assert values["F11"][1, 2] == pytest.approx(at(W1=pn.tensor(w1 + 0.1 * u["U1"] + 0.3 * u["V1"])))
    assert values["F12"][1, 2] == pytest.approx(at(W1=pn.tensor(w1 + 0.1 * u["U1"]), W2=pn.tensor(w2 + 0.3 * u["U2"])))
    assert values["F22"][1, 2] == pytest.approx(at(W2=pn.tensor(w2 + 0.1 * u["U2"] + 0.3 * u["V2"])))
