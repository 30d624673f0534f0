"""Gradient clipping, and parameters as one vector: ``torch.nn.utils``."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ... import ops
from ...autodiff import no_grad
from ...tensor import Tensor, as_tensor
from . import rnn as rnn

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector", "vector_to_parameters"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The ``norm_type``-norm of all entries of all tensors taken together; 0 if there are none."""
    with no_grad():
        norms = [ops.norm(t.detach().reshape(-1), norm_type) for t in tensors]
        return ops.norm(ops.stack(norms), norm_type) if norms else as_tensor(0.0)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scales all gradients in place by min(1, max_norm / (norm + 1e-6)); returns the norm before.

    ``norm_type`` may be ``inf``. Raises RuntimeError for a NaN or infinite norm if ``error_if_nonfinite``.
    """
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, float(norm_type))
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"clip_grad_norm_: the total norm of the gradients is {total.item()}")
    with no_grad():
        # As in PyTorch the factor is applied whether or not it is 1: nothing has to be read back from it.
        factor = ops.clamp(max_norm / (total + 1e-6), max=1.0)
        for g in gradients:
            g.copy_(g * factor.to(g.dtype))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cuts every entry of every gradient to [-clip_value, clip_value], in place."""
    with no_grad():
        for g in _gradients(parameters):
            g.copy_(ops.clamp(g, -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All entries of all parameters in one vector."""
    return ops.concatenate([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copies the pieces of a vector into the parameters. Raises ValueError if the lengths differ."""
    listed = list(parameters)
    total = sum(p.numel() for p in listed)
    if vec.ndim != 1 or vec.numel() != total:
        raise ValueError(f"vector_to_parameters: the parameters have {total} entries, the vector is {vec.shape}")
    with no_grad():
        at = 0
        for p in listed:
            p.copy_(vec.detach()[at : at + p.numel()].reshape(p.shape))
            at += p.numel()
