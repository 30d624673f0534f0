"""Arguments have the names, the order and the defaults of PyTorch's and scikit-learn's, but for what is listed here."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from pyneural import estimators, functional, nn, optim
from pyneural.optim import lr_scheduler

#: PyTorch's places of memory and ways to compute, and what it has given up.
NOT_OURS = {
    "device", "inplace", "size_average", "reduce", "out", "generator", "foreach", "fused", "capturable",
    "differentiable", "_stacklevel", "min_value", "max_value",
}  # fmt: skip
LACKING = {
    "PCA": {"tol", "n_oversamples", "power_iteration_normalizer"},  # of solvers that are not ours
    "nn.Module": {"args", "kwargs"},
}
#: PyTorch guesses a dimension, with a warning; scikit-learn says that ``probability`` will go.
DEFAULTS = {
    ("nn.LogSoftmax", "dim"), ("nn.Softmax", "dim"), ("nn.Softmin", "dim"), ("functional.log_softmax", "dim"),
    ("functional.softmax", "dim"), ("functional.softmin", "dim"), ("nn.Parameter", "data"), ("SVC", "probability"),
}  # fmt: skip


def arguments(f: Any) -> dict[str, inspect.Parameter]:
    found = [p for p in inspect.signature(f).parameters.values() if p.name != "self"]
    if found and found[0].name == "input":  # that our functions call x, if it is theirs alone
        found[0] = found[0].replace(name="x")
    return {p.name: p for p in found}


def same(ours: Any, theirs: Any) -> bool:
    if callable(ours) and callable(theirs):
        return bool(ours.__name__ == theirs.__name__)
    return bool(ours == theirs)


def compare(name: str, f: Any, peer: Any) -> list[str]:
    ours, theirs = arguments(f), arguments(peer)
    kinds = {p.kind for p in theirs.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:  # PyTorch's says nothing
        return []
    wrong = [f"{name} lacks {n}" for n in theirs if n not in {*ours, *NOT_OURS, *LACKING.get(name, ())}]
    common = [n for n in ours if n in theirs and inspect.Parameter.KEYWORD_ONLY not in (ours[n].kind, theirs[n].kind)]
    if common != [n for n in theirs if n in common]:
        wrong.append(f"{name} has the order {common}")
    return wrong + [
        f"{name}: {n} is {ours[n].default!r} and not {p.default!r} by default"
        for n, p in theirs.items()
        if n in ours and (name, n) not in DEFAULTS and not same(ours[n].default, p.default)
    ]


@pytest.mark.parametrize(
    ("module", "peer"),
    [
        (nn, "torch.nn"), (nn.init, "torch.nn.init"), (functional, "torch.nn.functional"), (optim, "torch.optim"),
        (lr_scheduler, "torch.optim.lr_scheduler"),
    ],
    ids=lambda m: m if isinstance(m, str) else "",
)  # fmt: skip
def test_beside_pytorch(module: Any, peer: str) -> None:
    pytest.importorskip("torch")
    theirs, wrong, seen = importlib.import_module(peer), [], 0
    for name in dir(module):
        ours, other = getattr(module, name), getattr(theirs, name, None)
        if name.startswith("_") or not callable(ours) or not callable(other):
            continue
        try:
            wrong += compare(f"{module.__name__.rpartition('.')[2]}.{name}", ours, other)
        except ValueError:  # a built-in function without a signature
            continue
        seen += 1
    assert seen >= 8
    assert not wrong, "\n".join(wrong)


def test_beside_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    wrong, seen = [], 0
    for module in ("cluster", "decomposition", "neural_network", "svm"):
        theirs = importlib.import_module(f"sklearn.{module}")
        for name in {*dir(theirs)} & {*dir(estimators)}:
            if inspect.isclass(getattr(theirs, name)):
                wrong += compare(name, getattr(estimators, name), getattr(theirs, name))
                seen += 1
    assert seen >= 7
    assert not wrong, "\n".join(wrong)
