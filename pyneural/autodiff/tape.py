"""The walk back along the tape: ``backward``, and the gradients of tensors with respect to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from ..tensor import Tensor, as_tensor


def _start(output: Any, gradient: Any, where: str) -> Tensor:
    if not output.requires_grad:
        raise RuntimeError(f"{where}: the tensor of shape {output.shape} does not depend on any tensor that "
                           "requires a gradient (was it computed under no_grad(), or from detached "
                           "tensors?)")  # fmt: skip
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(f"{where}: the tensor has shape {output.shape}; only one element has a gradient "
                               "without being told in which direction: reduce it (for example .sum()) or pass "
                               "gradient=")  # fmt: skip
        return _engine.tensor_from_array(np.ones(output.shape, output.dtype), True)
    g = as_tensor(gradient)
    if g.dtype != output.dtype:
        g = g.to(output.dtype)
    if g.shape != output.shape:
        raise ValueError(f"{where}: gradient has shape {g.shape} but the tensor has {output.shape}")
    return g


def backward(
    output: Any, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Adds the gradient of output (or of ``(output * gradient).sum()``) to ``.grad`` of every leaf."""
    g = _start(output, gradient, "backward")
    _engine.run_backward([output], [g], create_graph if retain_graph is None else retain_graph, create_graph)


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs with respect to inputs, leaving every ``.grad`` alone (``torch.autograd.grad``).

    Args:
        outputs: A tensor or a sequence of them; their gradients are summed.
        inputs: A tensor or a sequence of them, leaves or not.
        grad_outputs: For each output the gradient to start from; needed where it has several elements.
        retain_graph: Keep the graph for another call; by default iff create_graph.
        create_graph: Record the walk, so that the results can be differentiated again.
        allow_unused: Give None for an input that no output depends on.
        materialize_grads: Give zeros for it.

    Raises:
        RuntimeError: An output does not require a gradient, or an input is unused and that was not allowed.
    """
    outs = [outputs] if isinstance(outputs, _engine.Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, _engine.Tensor) else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outs)
    starts = [grad_outputs] if isinstance(grad_outputs, _engine.Tensor) else list(grad_outputs)
    begin = [_start(o, g, "gradients") for o, g in zip(outs, starts, strict=True)]
    found = _engine.run_backward(outs, begin, create_graph if retain_graph is None else retain_graph, create_graph, ins)
    for i, (x, g) in enumerate(zip(ins, found, strict=True)):
        if g is not None:
            continue
        if materialize_grads:
            found[i] = _engine.tensor_from_array(np.zeros(x.shape, x.dtype), False)
        elif not allow_unused:
            raise RuntimeError(f"gradients: no output depends on input {i} of shape {x.shape}; pass "
                               "allow_unused=True for None or materialize_grads=True for zeros")  # fmt: skip
    return tuple(found)
