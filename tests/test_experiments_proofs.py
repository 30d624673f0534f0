"""The proof experiments: every check passes, and every printed value that is wrong fails the check of the right one."""

from __future__ import annotations

import importlib
import math
from decimal import Decimal

import numpy as np
import pytest
from experimenting import passing

from pyneural.experiments import _digits, _judge
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.autodiff_autoencoder import LOSSES, constants, loss, start
from pyneural.experiments.frame import execute, experiment

# What each source prints, by a part of the check's name; the number is as precise as the experiment computes it.
PRINTED = {
    "stable-sigmoid": {"e^1000 in float64": 0.0},
    "stable-log-sigmoid": {},
    "kl-bound": {"KL by quadrature": 0.0, "KL = -E_q log(p/q)": -0.443147, "-E_q (p/q - 1)": "nan"},
    "elbo-bound": {"E_q log p(x|z) - KL(q || p(z)) at one q": 0.109080},
    "gaussian-entropy": {"d = 2: entropy, mean over 400,000 draws": 1.737227, "d = 2: E of the quadratic term": 0.5},
    "gaussian-vae-elbo": {"the same bound against sz^2 without Z": -4.139328},
    "reparameterisation": {"Cholesky root: the same, |S|^(1/2) left over": 0.870689},
    "vae-objective": {"E_e (x - w z)^2 = (x - w mu)^2 + w^2 sz^2": 0.1444, "gradient of J over that of the bound": 1.0},
    "conv1x1-backprop": {"dl/dw_1 against the sum over j of row 1": -0.020740},
    "elbo-learned-covariance": {"loss by Monte Carlo": 14.866816},
    "gan-1d-optimal": {"F(0.5), the area under the density": 1.0},
    "pinsker-bound": {"second derivative in y at x = 0.1, y = 0.3245": 7.111111},
    "reverse-schedule": {"linear: E": -0.827285, "two-layer: dE/dW2_11 = t3_1 f2_1": 0.080647},
    "autodiff-autoencoder-schedule": {"square: first element of dE/dW2": -0.007443},
}


@pytest.mark.parametrize("id", PRINTED)
def test_every_check_passes_and_no_printed_slip_does(id, tmp_path):
    result = passing(id, tmp_path, threads=1)
    assert result["tables"]
    assert result["figures"]
    slips = {c["name"]: c for c in result["checks"] if "printed" in c}
    for name, value in PRINTED[id].items():
        printed = slips[name]["printed"]
        assert printed == value or printed == pytest.approx(value, abs=1e-6)
    for name, c in slips.items():
        measured, printed = (float(c[k]) for k in ("measured", "printed"))
        assert not _judge.judge(name, measured, printed, c["tolerance"] or 0, c["kind"])[0]
    said = [c["name"] for c in result["checks"] if "the same check passes with the printed" in c["name"]]
    assert len(said) == len(slips)


def test_autodiff_autoencoder(tmp_path):
    passing("autodiff-autoencoder", tmp_path)


def test_constants_of_the_autoencoder_are_its_losses():
    """The three constants by their formulas, against the losses of outputs that are constant."""
    x = np.random.default_rng(0).uniform(size=(20, 784)).astype(np.float32)
    known = constants(x)
    mean = x.mean(0, dtype=np.float64)
    half = 0.5 * np.mean(np.sum((x - 0.5) ** 2, axis=1, dtype=np.float64))
    spread = 0.5 * np.mean(np.sum((x - mean) ** 2, axis=1))
    assert known["square"] == pytest.approx((half, spread, 0), rel=1e-6)
    cross = -np.mean(np.sum(x * np.log(mean) + (1 - x) * np.log1p(-mean), axis=1))
    own = -np.mean(np.sum(x * np.log(x) + (1 - x) * np.log1p(-x), axis=1, dtype=np.float64))
    assert known["cross-entropy"] == pytest.approx((784 * math.log(2), cross, own), rel=1e-5)
    p = start(np.random.default_rng(0), np.float64)
    for i, kind in enumerate(LOSSES):
        for parameter in p.values():
            parameter.detach().zero_()
        assert loss(kind, p, x.astype(np.float64)).item() == pytest.approx(known[kind][0], rel=1e-6), i


def run_once(function, tmp_path):
    return execute(
        experiment("a-test", title="A test", source="doc.txt", kind="proof", topic="Clustering")(function), out=tmp_path
    )


def test_a_slip_that_is_none_is_found(tmp_path):
    """A printed value that is right to the tolerance must not be called a slip."""
    result = run_once(lambda e: slip(e, "one", 1.0, 1.0, 1.0005, 1e-3), tmp_path)
    assert [c["passed"] for c in result["checks"]] == [True, False]
    result = run_once(lambda e: slip(e, "one", 1.0, 1.0, 1.002, 1e-3), tmp_path)
    assert [c["passed"] for c in result["checks"]] == [True, True]
    result = run_once(lambda e: slip(e, "one", 1.5, 1.0, 2.0, 1e-3), tmp_path)
    assert [c["passed"] for c in result["checks"]] == [False, True]


@pytest.mark.parametrize("id", ["pinsker-bound", "gan-1d-optimal"])
def test_without_sympy_the_run_says_so_and_checks_the_numbers(id, tmp_path, monkeypatch):
    original = importlib.import_module

    def without(name, *rest):
        if name == "sympy":
            raise ImportError("no module named sympy")
        return original(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with monkeypatch.context() as patch:
        if id == "gan-1d-optimal":  # its training is tested above
            patch.setattr(original("pyneural.experiments.gan_1d_optimal"), "learn", lambda e: None)
        result = passing(id, tmp_path)
    assert not [c for c in result["checks"] if c["name"].startswith("symbolic")]
    assert [r["measured"] for r in result["reports"] if r["name"] == "symbolic checks"] == [
        "not made: SymPy is not installed; pip install 'pyneural[symbolic]'"
    ]


def test_with_sympy_its_checks_are_made(tmp_path):
    pytest.importorskip("sympy")
    result = run_once(lambda e: symbolic(e, lambda sympy: e.check("one", int(sympy.Integer(1)), 1)), tmp_path)
    assert result["passed"]
    assert result["reports"] == []


def test_fifty_digits():
    mpmath = pytest.importorskip("mpmath")
    x = np.array([-745.0, -60.0, -1.0, 0.0, 0.3, 40.0, 120.0, 700.0])
    with mpmath.workdps(120):
        for ours, theirs in (
            (_digits.sigmoid, lambda v: 1 / (1 + mpmath.exp(-v))),
            (_digits.log_sigmoid, lambda v: -mpmath.log1p(mpmath.exp(-v))),
        ):
            for value, at in zip(_digits.exact(ours, x), x, strict=True):
                expected = theirs(mpmath.mpf(float(at)))
                assert abs(mpmath.mpf(str(value)) / expected - 1) < mpmath.mpf(10) ** -50


def test_units_in_the_last_place():
    one = np.array([1.0, 1 + 2**-52, np.nan])
    assert _digits.ulps(one, [Decimal(1)] * 3).tolist() == [0, 1, math.inf]
    assert _digits.relative(one, [Decimal(2)] * 3)[:2].tolist() == [0.5, 0.5 - 2**-53]
    assert np.isnan(_digits.relative(one, [Decimal(2)] * 3)[2])


def test_bfloat16_rounds_to_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-7, np.inf, 3.4e38, np.nan, 1e-40], np.float32)
    expected = np.array([1.0, 1.0, 1 + 2**-6, -1 - 2**-7, np.inf, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(_digits.bfloat16(values)[:7], expected)
    assert _digits.bfloat16(values)[7] == pytest.approx(1e-40, rel=0.01)
