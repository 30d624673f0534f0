"""Parameter: a tensor that a module trains."""

from __future__ import annotations

from typing import Any

from ..autodiff import no_grad
from ..tensor import Tensor, as_tensor


class Parameter(Tensor):
    """A leaf tensor that a :class:`Module` registers when it is assigned as an attribute.

    Shares the memory of ``data`` (a tensor, an array, or numbers). Raises TypeError for an integer or bool tensor
    unless ``requires_grad=False``.
    """

    def __new__(cls, data: Any, requires_grad: bool = True) -> Parameter:
        source = data if isinstance(data, Tensor) else as_tensor(data)
        if requires_grad and source.dtype.kind != "f":
            raise TypeError(f"Parameter: only float tensors can be trained, got {source.dtype}; convert it first")
        self: Parameter = Tensor.__new__(cls)
        self._share(source)
        self.requires_grad = requires_grad
        return self

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        pass  # __new__ did it all; Tensor's own constructor must not run on the same arguments

    def convert_(self, dtype: Any) -> Parameter:
        """Changes the dtype of this very object (its memory is replaced), and that of its gradient."""
        own: Any = self
        with no_grad():
            gradient = own.grad
            own.grad = None
            own._share(own.detach().to(dtype))
            if gradient is not None:
                own.grad = gradient.detach().to(dtype)
        return self

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
