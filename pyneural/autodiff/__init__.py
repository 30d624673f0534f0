"""Reverse-mode differentiation: grad modes, ``backward``, functional derivatives, and a checker for gradient rules.

Gradient rules are functions over ops, so a walk back can itself be recorded and differentiated again, to any order.
"""

from .checks import gradcheck, gradgradcheck
from .functional import _numbers as _numbers  # explain has the same arguments
from .functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .tape import _start as _start
from .tape import backward, gradients

__all__ = ["backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "gradients", "hessian", "hvp",
           "is_grad_enabled", "jacobian", "jvp", "no_grad", "set_grad_enabled", "value_and_grad", "vjp"]  # fmt: skip
