"""Distributions against closed forms, SciPy and PyTorch, their draws, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pyneural as pn
from pyneural import distributions as D

RNG = np.random.default_rng(0)
LOC, SCALE = RNG.normal(size=(3, 1)), RNG.uniform(0.3, 2, size=(2,))
ROOT = np.tril(RNG.normal(size=(2, 3, 3)), -1) + np.eye(3) * RNG.uniform(0.5, 2, size=(2, 3, 1))
COVARIANCE = ROOT @ ROOT.swapaxes(-1, -2)
MEANS = RNG.normal(size=(2, 3))
PROBS = RNG.uniform(0.05, 0.95, size=(4,))
CLASSES = RNG.dirichlet(np.ones(5), size=3)

# name: (class, parameters, a value to ask about)
CASES = {
    "normal": ("Normal", {"loc": LOC, "scale": SCALE}, RNG.normal(size=(5, 3, 2))),
    "multivariate": ("MultivariateNormal", {"loc": MEANS, "covariance_matrix": COVARIANCE}, RNG.normal(size=(4, 2, 3))),
    "triangular": ("MultivariateNormal", {"loc": MEANS[0], "scale_tril": ROOT}, RNG.normal(size=(2, 3))),
    "bernoulli": ("Bernoulli", {"probs": PROBS}, np.array([[0.0, 1, 1, 0]])),
    "bernoulli logits": ("Bernoulli", {"logits": 8 * PROBS - 4}, np.array([0.0, 1, 1, 0])),
    "categorical": ("Categorical", {"probs": 3 * CLASSES}, np.array([[0, 4, 2], [1, 1, 1]])),
    "categorical logits": ("Categorical", {"logits": np.log(CLASSES) + 7}, np.array([0, 4, 2])),
}
OTHER = {
    "normal": {"loc": LOC + 1, "scale": 2 * SCALE},
    "multivariate": {"loc": -MEANS, "covariance_matrix": COVARIANCE[::-1] + np.eye(3)},
    "triangular": {"loc": MEANS[1], "scale_tril": ROOT[::-1]},
    "bernoulli": {"probs": PROBS[::-1]},
    "bernoulli logits": {"logits": PROBS},
    "categorical": {"probs": CLASSES[::-1]},
    "categorical logits": {"logits": CLASSES},
}


def make(case, parameters=None):
    name, own, _ = CASES[case]
    return getattr(D, name)(**{k: pn.tensor(np.ascontiguousarray(v)) for k, v in (parameters or own).items()})


def theirs(case, parameters=None):
    torch = pytest.importorskip("torch")
    name, own, _ = CASES[case]
    values = {k: torch.tensor(np.ascontiguousarray(v)) for k, v in (parameters or own).items()}
    return torch, getattr(torch.distributions, name)(**values)


@pytest.mark.parametrize("case", CASES)
def test_values_are_pytorchs(case):
    p, q = make(case), make(case, OTHER[case])
    torch, other = theirs(case)
    value = CASES[case][2]
    assert (p.batch_shape, p.event_shape) == (tuple(other.batch_shape), tuple(other.event_shape))
    pairs = {
        "log_prob": (p.log_prob(pn.tensor(value)), other.log_prob(torch.tensor(value))),
        "entropy": (p.entropy(), other.entropy()),
        "kl": (D.kl_divergence(p, q), torch.distributions.kl_divergence(other, theirs(case, OTHER[case])[1])),
    }
    if not case.startswith("categorical"):
        pairs |= {"mean": (p.mean, other.mean), "variance": (p.variance, other.variance)}
    for what, (ours, expected) in pairs.items():
        assert ours.shape == tuple(expected.shape), what
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-11, atol=1e-13, err_msg=what)


@pytest.mark.parametrize("case", CASES)
def test_draws_have_the_moments_and_the_entropy(case):
    p = make(case)
    x = p.sample((40_000,), generator=pn.Generator(1))
    assert x.shape == (40_000, *p.batch_shape, *p.event_shape)
    assert not x.requires_grad
    values = x.numpy().astype(float)
    error = np.sqrt(p.variance.numpy() / len(values))
    assert (np.abs(values.mean(0) - p.mean.numpy()) < 4.5 * error + 1e-12).all()
    np.testing.assert_allclose(values.var(0), p.variance.numpy(), rtol=0.08, atol=1e-3)
    surprise = -p.log_prob(x).numpy()
    assert (np.abs(surprise.mean(0) - p.entropy().numpy()) < 4.5 * surprise.std(0) / 200 + 1e-9).all()
    assert np.array_equal(x.numpy(), p.sample((40_000,), generator=pn.Generator(1)).numpy())


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    name, own, value = CASES[case]
    kind, names = getattr(D, name), list(own)

    def f(*parameters):
        values = dict(zip(names, parameters, strict=True))
        for matrix in values.keys() & {"covariance_matrix"}:
            values[matrix] = (values[matrix] + values[matrix].mT) * 0.5
        p = kind(**{k: v.tril() if k == "scale_tril" else v for k, v in values.items()})
        q = kind(**{k: np.ascontiguousarray(v) for k, v in OTHER[case].items()})
        with pn.random.preserved():
            drawn = [p.rsample((2,))] if p.has_rsample else []
        return [p.log_prob(value), p.entropy(), D.kl_divergence(p, q), D.kl_divergence(q, p), *drawn]

    assert pn.gradcheck(f, [np.ascontiguousarray(v) for v in own.values()], eps=1e-6)


def test_second_derivatives_of_a_divergence():
    curvature = pn.hessian(lambda m: D.kl_divergence(D.Normal(m, 2.0), D.Normal(0.0, 0.5)))(pn.tensor(np.array(0.3)))
    assert curvature.item() == pytest.approx(4.0, rel=1e-12)


def test_normal_by_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = np.linspace(-4, 4, 11)
    ours = D.Normal(pn.tensor(np.array(0.5)), 2.0).log_prob(x)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours.numpy(), stats.norm(0.5, 2).logpdf(x), rtol=1e-13)
    full = D.MultivariateNormal(MEANS[0], COVARIANCE[0])
    other = stats.multivariate_normal(MEANS[0], COVARIANCE[0])
    np.testing.assert_allclose(full.log_prob(MEANS).numpy(), other.logpdf(MEANS), rtol=1e-12)
    assert full.entropy().item() == pytest.approx(other.entropy(), rel=1e-13)
    np.testing.assert_allclose(full.covariance_matrix.numpy(), COVARIANCE[0], rtol=1e-13)


def test_closed_forms():
    kl = D.kl_divergence(D.Normal(np.array(0.0), 1.0), D.Normal(np.array(1.0), 2.0))
    assert kl.item() == pytest.approx(math.log(2) + 2 / 8 - 1 / 2, rel=1e-14)
    assert D.Normal(np.array(0.0), 1.0).entropy().item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e))
    assert D.Bernoulli(np.array(0.5)).entropy().item() == pytest.approx(math.log(2))
    assert D.Categorical(np.ones(7)).entropy().item() == pytest.approx(math.log(7))
    assert D.Categorical(np.ones(7)).mean.item() == pytest.approx(3)
    assert D.Categorical(np.ones(7)).variance.item() == pytest.approx(4)


def test_plain_numbers_are_float32_and_follow_arrays():
    assert D.Normal(0.0, 1.0).dtype == np.float32
    assert D.Normal(0, 1).sample((3,)).dtype == np.float32
    assert D.Normal(np.zeros(3), 1.0).dtype == np.float64
    assert D.Normal(0.0, np.ones(3, np.float32)).batch_shape == (3,)
    assert D.Normal(np.array(0.0), 0.1).scale.item() == 0.1
    assert D.Bernoulli(np.float64(0.1)).probs.item() == 0.1


def test_certain_events():
    p = D.Bernoulli(np.array([0.0, 1.0]))
    assert p.log_prob(np.array([0.0, 1.0])).tolist() == [0, 0]
    assert p.log_prob(np.array([1.0, 0.0])).tolist() == [-math.inf, -math.inf]
    assert p.entropy().tolist() == [0, 0]
    assert p.sample((100,)).numpy().mean(0).tolist() == [0, 1]
    q = D.Categorical(np.array([0.5, 0, 0.5, 0]))
    assert q.entropy().item() == pytest.approx(math.log(2))
    assert set(q.sample((1000,)).tolist()) == {0, 2}
    assert D.kl_divergence(q, q).item() == 0
    assert D.kl_divergence(D.Categorical(np.ones(4)), q).item() == math.inf
    assert D.kl_divergence(D.Bernoulli(np.array(0.5)), D.Bernoulli(np.array(0.0))).item() == math.inf
    far = D.Bernoulli(logits=np.array([-800.0, 800.0]))
    assert far.log_prob(np.array([1.0, 0.0])).tolist() == [-800, -800]


def test_independent_components():
    base = D.Normal(MEANS, 2.0)
    p = D.Independent(base, 1)
    full = D.MultivariateNormal(MEANS, 4 * np.eye(3))
    assert (p.batch_shape, p.event_shape, p.has_rsample) == ((2,), (3,), True)
    x = RNG.normal(size=(5, 2, 3))
    np.testing.assert_allclose(p.log_prob(x).numpy(), full.log_prob(x).numpy(), rtol=1e-13)
    np.testing.assert_allclose(p.entropy().numpy(), full.entropy().numpy(), rtol=1e-13)
    q, other = D.Independent(D.Normal(np.zeros((2, 3)), 1.0), 1), D.MultivariateNormal(np.zeros((2, 3)), np.eye(3))
    expected = D.kl_divergence(full, other).numpy()
    np.testing.assert_allclose(D.kl_divergence(p, q).numpy(), expected, rtol=1e-13)
    assert p.rsample((4,)).shape == (4, 2, 3)
    assert D.Independent(D.Bernoulli(PROBS), 1).sample().shape == (4,)


def test_bounds_on_the_evidence():
    """p(z) = N(0, 1), p(x|z) = N(z, 1): log p(x) is known, and the bound is tight at the posterior N(x/2, 1/2)."""
    x = 1.3
    prior = D.Normal(np.array(0.0), 1.0)

    def likelihood(z):
        return D.Normal(z, 1.0).log_prob(x)

    evidence = D.Normal(np.array(0.0), math.sqrt(2)).log_prob(x).item()
    exact = D.Normal(np.array(x / 2), math.sqrt(0.5))
    weighted = D.importance_weighted_bound(lambda z: likelihood(z) + prior.log_prob(z), exact, 3)
    assert weighted.item() == pytest.approx(evidence, rel=1e-13)
    loose = D.Normal(np.array(0.2), 0.5)
    generator = pn.Generator(3)
    bound = D.elbo(likelihood, loose, prior, 200_000, generator).item()
    gap = D.kl_divergence(loose, exact).item()
    assert bound == pytest.approx(evidence - gap, abs=0.005)
    assert D.elbo(lambda z: z * 0.0, D.Categorical(np.ones(3)), D.Categorical(np.ones(3)), 5).item() == 0
    location = pn.tensor(np.array(0.2), requires_grad=True)
    D.elbo(likelihood, D.Normal(location, 0.5), prior, 50_000, generator).backward()
    assert location.grad.item() == pytest.approx(x - 2 * 0.2, abs=0.02)


def test_a_captured_step_gives_the_same_bits():
    means = [pn.tensor(MEANS), pn.tensor(-MEANS)]

    def step(m):
        p = D.MultivariateNormal(m, scale_tril=ROOT)
        return D.kl_divergence(p, D.MultivariateNormal(m * 0, COVARIANCE)) + p.log_prob(p.rsample())

    with pn.random.preserved():
        eager = [step(m).numpy() for m in means * 2]
    compiled = pn.compile(step)
    replayed = [compiled(m).numpy().copy() for m in means * 2]
    assert all(np.array_equal(a, b) for a, b in zip(eager, replayed, strict=True))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: D.Normal(0.0, -1.0), ValueError, r"Normal: scale must be positive, but holds -1\.0"),
        (lambda: D.Normal(0.0, math.nan), ValueError, "Normal: scale must be positive, but holds nan"),
        (lambda: D.Normal(np.zeros(2), np.ones(3)), ValueError, r"do not broadcast: loc is \(2,\), scale is \(3,\)"),
        (lambda: D.Normal(np.zeros(2), 1.0).log_prob(np.ones(3)), ValueError, r"value is \(3,\).*batch_shape \(2,\)"),
        (lambda: D.MultivariateNormal(np.zeros(2)), ValueError, "exactly one of covariance_matrix and scale_tril"),
        (lambda: D.MultivariateNormal(np.zeros(2), np.eye(3)), ValueError, r"is \(3, 3\) and loc is \(2,\)"),
        (lambda: D.MultivariateNormal(np.zeros(2), np.ones((2, 2))), ValueError, "not positive definite"),
        (lambda: D.MultivariateNormal(np.zeros(2), np.array([[2.0, 1], [0, 2]])), ValueError, "is not symmetric"),
        (lambda: D.MultivariateNormal(np.zeros(2), scale_tril=-np.eye(2)), ValueError, "a positive diagonal"),
        (
            lambda: D.MultivariateNormal(MEANS, COVARIANCE).log_prob(np.ones(1)),
            ValueError,
            r"expected \(\.\.\., 2, 3\)",
        ),
        (lambda: D.Bernoulli(), ValueError, "Bernoulli: give exactly one of probs and logits, got none"),
        (lambda: D.Bernoulli(0.5, 0.0), ValueError, "got probs and logits"),
        (lambda: D.Bernoulli(1.5), ValueError, r"probs must be in \[0, 1\], but holds 1\.5"),
        (lambda: D.Bernoulli(0.5).rsample(), NotImplementedError, "a discrete draw has no gradient"),
        (lambda: D.Categorical(np.zeros(3)), ValueError, "the sum of probs must be positive"),
        (lambda: D.Categorical(np.array([1.0, -1])), ValueError, "probs must be at least 0, but holds -1"),
        (lambda: D.Categorical(np.array(1.0)), ValueError, r"probs is \(\), expected \(\.\.\., k\)"),
        (lambda: D.Categorical(np.ones(3)).log_prob(0.5), TypeError, "must hold integers"),
        (lambda: D.Categorical(np.ones(3)).log_prob(3), IndexError, "3"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), ValueError, "reinterpreted_batch_ndims is 1"),
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5)), NotImplementedError, "Normal and Bernoulli"),
        (
            lambda: D.kl_divergence(
                D.MultivariateNormal(np.zeros(2), np.eye(2)), D.MultivariateNormal(np.zeros(3), np.eye(3))
            ),
            ValueError,
            r"kl_divergence: p has event_shape \(2,\), q has \(3,\)",
        ),
        (
            lambda: D.kl_divergence(
                D.Independent(D.Normal(np.zeros((2, 3)), 1.0), 1),
                D.Independent(D.Independent(D.Normal(np.zeros((2, 3)), 1.0), 1), 0),
            ),
            ValueError,
            "kl_divergence: p counts 1 batch dimensions as its event, q 0; they must be equal",
        ),
        (
            lambda: D.kl_divergence(D.Categorical(np.ones(3)), D.Categorical(np.ones(4))),
            ValueError,
            "p has 3 classes, q has 4",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
