"""The gradient checker must notice a wrong rule, and say where it is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine
from pyneural.autodiff import gradcheck, gradgradcheck
from pyneural.ops import exp, mul


def with_rule(rule: object) -> object:
    """tanh with another gradient rule."""
    return _engine.Op("tanh", ("x",), (), {"x": rule})


def test_accepts_the_right_rule() -> None:
    x = np.linspace(-2, 2, 7)
    assert gradcheck(with_rule(lambda g, y: g * (1.0 - y * y)), x)
    assert gradgradcheck(with_rule(lambda g, y: g * (1.0 - y * y)), x)


def test_notices_a_rule_that_is_wrong_by_a_twentieth_of_a_percent() -> None:
    x = np.linspace(-2, 2, 7)
    wrong = with_rule(lambda g, y: g * (1.0 - y * y) * 1.0005)
    with pytest.raises(AssertionError, match=r"input 0 of shape \(7,\).*element"):
        gradcheck(wrong, x)
    assert not gradcheck(wrong, x, raise_exception=False)


def test_notices_one_wrong_element_and_names_it() -> None:
    factor = np.ones(9)
    factor[4] = 1.0005

    def rule(g, y):
        return g * (1.0 - y * y) * pn.from_numpy(factor)

    with pytest.raises(AssertionError, match=r"element \(4,\)"):
        gradcheck(with_rule(rule), np.linspace(-1, 1, 9))


def test_notices_nan() -> None:
    with pytest.raises(AssertionError):
        gradcheck(with_rule(lambda g, y: g * float("nan")), np.ones(3))


def test_notices_a_wrong_second_derivative() -> None:
    # The first derivative is right, but y is taken as a constant in it.
    frozen = with_rule(lambda g, y: g * (1.0 - y.detach() * y.detach()))
    x = np.linspace(-2, 2, 5)
    assert gradcheck(frozen, x)
    with pytest.raises(AssertionError):
        gradgradcheck(frozen, x)


def test_checks_every_input() -> None:
    assert gradcheck(lambda a, b: mul(exp(a), b), (np.ones((2, 3)), np.linspace(0, 1, 3)))
    with pytest.raises(AssertionError, match="input 1"):
        gradcheck(lambda a, b: mul(exp(a), b.detach()) + b * 0.0, (np.ones((2, 3)), np.linspace(0.1, 1, 3)))


def test_finds_the_wrong_element_of_a_large_input_and_says_by_how_much() -> None:
    factor = np.ones((70, 60))
    factor[68, 59] = 1.25

    def rule(g, y):
        return g * (1.0 - y * y) * pn.from_numpy(factor)

    x = np.zeros((70, 60))
    with pytest.raises(AssertionError, match=r"worst at element \(68, 59\) \(value 0\)") as caught:
        gradcheck(with_rule(rule), x)
    rule_gives, measured, apart = map(
        float, re.findall(r"rule (\S+), differences (\S+), apart by (\S+)$", str(caught.value))[0]
    )
    assert rule_gives == pytest.approx(1.25 * measured)
    assert apart == pytest.approx(abs(rule_gives - measured), rel=1e-2)


def test_names_the_place_of_a_nested_input() -> None:
    inputs = ({"w": np.ones(2), "b": [np.ones(3)]}, np.ones(3))

    def f(p, x):
        return {"sum": p["w"].sum(), "rest": (p["b"][0].detach() * x).tanh()}

    with pytest.raises(AssertionError, match=r"input 0\['b'\]\[0\] of shape \(3,\)"):
        gradcheck(f, inputs)
    assert gradcheck(lambda p, x: p["b"][0] * x + p["w"].sum(), inputs)
    assert gradgradcheck(lambda p, x: p["b"][0] * x * p["w"].sum(), inputs)


def test_refuses_inputs_without_floats() -> None:
    with pytest.raises(ValueError, match="none of the 1 inputs is a float"):
        gradcheck(lambda x: x, np.arange(3))


def test_says_which_check_has_failed() -> None:
    frozen = with_rule(lambda g, y: g * (1.0 - y.detach() * y.detach()))
    with pytest.raises(AssertionError, match=r"^gradgradcheck: input 0 of shape \(5,\).*apart by"):
        gradgradcheck(frozen, np.linspace(-2, 2, 5))
