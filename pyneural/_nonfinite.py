"""Where a loss went to NaN or infinity: which parameter, input or module was the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import no_grad
from .nn.module import Module, iter_tensors


class NonFiniteLoss(FloatingPointError):
    """The loss of a training step was NaN or infinite; the step was not taken.

    Attributes:
        step: The step's number in the whole training, from 0 on.
        epoch: The epoch's number, from 0 on.
        culprit: Name of the module or parameter where the first value that is not finite was found; "input" or "loss"
            if it was neither.
        history: The history up to the last whole epoch.
    """

    def __init__(self, message: str, step: int, epoch: int, culprit: str) -> None:
        super().__init__(message)
        self.step = step
        self.epoch = epoch
        self.culprit = culprit
        self.history: Any = None


def _finite(value: Any) -> bool:
    return all(np.isfinite(np.asarray(t.detach())).all() for t in iter_tensors(value) if t.dtype.kind == "f")


def _range(value: Any) -> str:
    arrays = [np.asarray(t.detach()).astype(np.float64) for t in iter_tensors(value)]
    finite = [a[np.isfinite(a)] for a in arrays]
    flat = np.concatenate([a.ravel() for a in finite]) if finite else np.empty(0)
    bad = sum(a.size for a in arrays) - flat.size
    text = f"{bad} values not finite" if bad else "all finite"
    return f"{text}, the others between {flat.min():.4g} and {flat.max():.4g}" if flat.size else text


def explain(model: Module, loss: Callable[..., Any], x: Any, target: Any) -> tuple[str, str]:
    """Runs the step's forward pass again with an eye on every module: (culprit, sentence).

    The pass draws new random numbers, so with dropout it may miss what a mask brought about.
    """
    if not _finite(x):
        return "input", f"the batch itself holds values that are not finite ({_range(x)})"
    if not _finite(target):
        return "input", f"the targets hold values that are not finite ({_range(target)})"
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return (
                name,
                f"parameter {name!r} is not finite before the step ({_range(parameter)}), so an update broke it",
            )
    found: list[tuple[str, str]] = []

    def watch(name: str) -> Callable[[Module, tuple, Any], None]:
        def look(module: Module, args: tuple, out: Any) -> None:
            if not found and not _finite(out):
                given = f"its input: {_range(args)}" if _finite(args) else "its input was not finite either"
                what = f"module {name!r}, {module._get_name()}({module.extra_repr()})"
                found.append((name, f"the output of {what}: {_range(out)}; {given}"))

        return look

    handles = [m.register_forward_hook(watch(name)) for name, m in model.named_modules()]
    try:
        with no_grad():
            out = model(x)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    return (
        "loss",
        f"the model's output is finite ({_range(out)}), so it is the loss itself that overflowed",
    )
