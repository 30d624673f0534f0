"""Every gradient rule has a formula, and formulas are filled in with names and typeset."""

import pytest

from pyneural.explaining.formulas import filled, mathml
from pyneural.explaining.text import plain
from pyneural.ops.record import RECORDS

DIFFERENTIABLE = [r for r in RECORDS.values() if r.gradient]


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=lambda r: r.name)
def test_every_rule_has_a_formula_that_can_be_typeset(record):
    from matplotlib.mathtext import MathTextParser

    assert set(record.formula) == set(record.gradient)
    letters = {n.strip("*?") for n in record.inputs} | {"g", "y", "W", "g0", "g1", "y0", "y1"}
    names = {n: f"f_{{{k}}}" for k, n in enumerate(sorted(letters), 1)}
    for rule in record.formula.values():
        for latex in (rule, filled(rule, names)):
            MathTextParser("path").parse(f"${latex}$")
            assert mathml(latex).startswith("<math>")
            assert not set(plain(latex)) & set("\\{}")


def test_names_in_formulas():
    names = {"g": "t_{3}", "y": "f_{2}", "x": "x", "W": r"\mathrm{model.0.weight}"}
    assert filled(r"y (1 - y)\,g", names) == r"f_{2} (1 - f_{2})\,t_{3}"
    assert filled(r"\sum_n g_n", names) == r"\sum_n (t_{3})_n"
    assert filled(r"e^y \text{ y}", names) == r"e^{f_{2}} \text{ y}"
    assert filled(r"2x\,g", {"x": "f_{1}", "g": "t_{2}"}) == r"2\,f_{1}\,t_{2}"
    assert filled(r"dy\,p - \dot{y}", {"dy": "f_{3}", "y": "f_{4}"}) == r"f_{3}\,p - f_{3}"
    assert mathml(r"\{x\}").count("<mo") == 2
    with pytest.raises(ValueError, match=r"cannot typeset .*\\unheard is not known"):
        mathml(r"\unheard x")
    with pytest.raises(ValueError, match=r"cannot typeset '{x': } is missing"):
        mathml(r"{x")
    with pytest.raises(ValueError, match=r"cannot typeset .*the end in the wrong place"):
        mathml("x^")
