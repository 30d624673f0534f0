"""Every differentiable op can be explained: its messages are autodiff's, and every form takes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from samples import Make, is_float

import pyneural as pn
from pyneural.explaining import Explanation
from pyneural.ops.record import RECORDS

DIFFERENTIABLE = [r for r in RECORDS.values() if r.gradient and r.primitive]


def small_sample(record):
    """The smallest sample with at least two elements, with its float arrays as variables."""
    found = [args for args in record.samples(Make()) if _count(args) > 1]
    args = min(found, key=_count)
    dtype = np.float32 if record.dtypes == "float32" else np.float64
    variables = []

    def variable(a):
        if not is_float(a):
            return pn.tensor(np.asarray(a)) if isinstance(a, np.ndarray) else a
        variables.append(pn.tensor(a.astype(dtype)).requires_grad_())
        return variables[-1]

    made = []
    for a in args:
        sequence = isinstance(a, (list, tuple)) and any(isinstance(x, np.ndarray) for x in a)
        made.append(type(a)(variable(x) for x in a) if sequence else variable(a))
    return made, variables


def _count(args):
    arrays = [a for x in args for a in (x if isinstance(x, (list, tuple)) else (x,)) if isinstance(a, np.ndarray)]
    return sum(a.size for a in arrays) if all(a.size for a in arrays) else 0


def squares_of(record, args):
    """The summed squares of all outputs, as a function without arguments."""

    def f():
        out = record.function(*args)
        outs = out if isinstance(out, tuple) else (out,)
        return sum((o * o).sum() for o in outs if o.requires_grad)

    return f


@pytest.mark.parametrize("record", DIFFERENTIABLE, ids=lambda r: r.name)
def test_explained_numbers_are_autodiffs(record):
    args, variables = small_sample(record)
    f = squares_of(record, args)
    loss = f()
    expected = pn.autodiff.gradients(loss, variables, allow_unused=True)
    for e in (pn.explain(f), pn.explain(f())):
        (node,) = [n for n in e if n.op == record.name and n.k == 1]
        assert [m.rule for m in node.sent] == [record.formula[m.argument.partition("[")[0]] for m in node.sent]
        assert all(m.formula for m in node.sent)
        by_bits = {id(leaf): leaf.gradient for leaf in e.leaves if leaf.gradient is not None}
        wanted = [np.asarray(g) for g in expected if g is not None]
        assert sorted(g.tobytes() for g in by_bits.values()) == sorted(g.tobytes() for g in wanted)
        again = Explanation.from_json(json.dumps(json.loads(e.to_json())))
        assert again.text() == e.text()
    assert e.html().count("<math>") >= len(node.sent)
    assert r"\begin{longtable}" in e.latex()
    assert pn.explain(f).nodes[-1].value.tobytes() == loss.detach().numpy().tobytes()


SMOOTH = [r for r in DIFFERENTIABLE if r.differences]


@pytest.mark.parametrize("record", SMOOTH, ids=lambda r: r.name)
def test_differences_of_every_op(record):
    args, _ = small_sample(record)
    e = pn.explain(squares_of(record, args), differences=True)
    for leaf in e.walks[0].leaves:
        assert leaf.check.error < 1e-6
    for visit in e.walks[0].visits:
        assert visit.node.check.error < 1e-6
