"""The tensor: an n-dimensional array on a NumPy-compatible block of memory, with a place on the autodiff tape."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _engine
from ._arguments import integer, integers, number

if TYPE_CHECKING:
    from ._engine import TensorLike
    from ._methods import TensorWithOps as _Base  # a stub: it has the methods that pyneural/__init__.py attaches
else:
    _Base = _engine.Tensor


_backward: Any = None  # autodiff.backward, which imports this module


class Tensor(_Base):
    """An n-dimensional array of float32, float64, integers or bool that can record how it was computed.

    Made by :func:`pyneural.tensor`, :func:`pyneural.from_numpy` and the ops. Shares memory with NumPy both ways:
    ``np.asarray(t)`` and ``pyneural.from_numpy(a)`` copy nothing. Indexing, broadcasting and views follow NumPy; names
    and defaults of methods follow PyTorch; dtypes are NumPy's.

    Besides the methods below, every op of :mod:`pyneural.ops` that takes a tensor first is a method: ``x.exp()``,
    ``x.sum(dim=0)``, ``x.reshape(2, -1)``.

    ``Tensor(data)`` is a float32 copy of data and ``Tensor(2, 3)`` zeros of that shape, as far as PyTorch promises;
    :func:`pyneural.tensor` keeps the dtype.
    """

    __slots__ = ("__dict__", "__weakref__")

    def __init__(self, *data: Any) -> None:
        # Results of ops are made without a constructor; this is for users, and for classes derived from this one.
        if data and all(isinstance(n, (int, np.integer)) for n in data):
            self._share(zeros(*data))
        elif len(data) <= 1:
            self._share(tensor(data[0] if data else [], np.float32))
        else:
            raise TypeError(f"Tensor: takes data or sizes, got {len(data)} arguments; see pyneural.tensor and zeros")

    # ---- shape ----
    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size along one dimension (PyTorch's meaning, not NumPy's; see :meth:`numel`)."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of dimensions."""
        return self.ndim

    @property
    def T(self) -> Tensor:
        """The axes in reverse order; for a matrix its transpose. A view."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped: each matrix of a batch transposed. A view."""
        return self.transpose(-2, -1)

    # ---- values ----
    def tolist(self) -> Any:
        """The elements as nested Python lists; a number for a 0-d tensor."""
        return self.numpy().tolist()

    def clone(self) -> Tensor:
        """A copy on memory of its own, recorded."""
        from .ops.shape import copy

        return copy(self)

    @property
    def data(self) -> Tensor:
        """The same memory, off the tape: :meth:`detach`. Writes to it are noticed by :meth:`backward`."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        source = as_tensor(value).detach()
        if self.requires_grad and source.dtype.kind != "f":
            raise TypeError(f"data: only float tensors have gradients, got {source.dtype}; convert it first")
        self._share(source)

    @property
    def device(self) -> str:
        """ "cpu": all tensors live in main memory."""
        return "cpu"

    @property
    def nbytes(self) -> builtins.int:
        """Bytes of the elements."""
        return self.numel() * self.dtype.itemsize

    def element_size(self) -> builtins.int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def stride(self, dim: builtins.int | None = None) -> Any:
        """The steps between neighbours along each dimension, in elements, or the step along one."""
        return self.strides if dim is None else self.strides[dim]

    def is_floating_point(self) -> builtins.bool:
        """Is the dtype float32 or float64?"""
        return self.dtype.kind == "f"

    def type_as(self, other: Any) -> Tensor:
        """The tensor in the dtype of another one."""
        return self.to(other.dtype)

    def new_tensor(self, data: Any, dtype: Any = None, requires_grad: builtins.bool = False) -> Tensor:
        """A new tensor with a copy of data, of this dtype unless told otherwise."""
        return tensor(data, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, requires_grad: builtins.bool = False) -> Tensor:
        """Zeros of the given shape, of this dtype unless told otherwise."""
        return zeros(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_ones(self, *size: Any, dtype: Any = None, requires_grad: builtins.bool = False) -> Tensor:
        """Ones of the given shape, of this dtype unless told otherwise."""
        return ones(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_full(self, size: Any, value: Any, dtype: Any = None, requires_grad: builtins.bool = False) -> Tensor:
        """One value in the given shape, of this dtype unless told otherwise."""
        return full(size, value, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def cpu(self) -> Tensor:
        """The tensor itself: all tensors live in main memory."""
        return self

    def astype(self, dtype: Any) -> Tensor:
        """The tensor in another dtype (NumPy's name for :meth:`to`)."""
        return self.to(dtype)

    def float(self) -> Tensor:
        """The tensor as float32."""
        return self.astype(np.float32)

    def double(self) -> Tensor:
        """The tensor as float64."""
        return self.astype(np.float64)

    def int(self) -> Tensor:
        """The tensor as int32."""
        return self.astype(np.int32)

    def long(self) -> Tensor:
        """The tensor as int64."""
        return self.astype(np.int64)

    def bool(self) -> Tensor:
        """The tensor as bool: True where not zero."""
        return self.astype(np.bool_)

    # ---- gradients ----
    def backward(self, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False) -> None:  # type: ignore[valid-type]
        """Adds the gradient of this tensor to ``.grad`` of every leaf that it depends on.

        Args:
            gradient: What to start from, of this tensor's shape; 1 for a tensor of one element.
            retain_graph: Keep the graph for another call (the default is to keep it iff ``create_graph``).
            create_graph: Record the walk back, so that gradients can themselves be differentiated.

        Raises:
            RuntimeError: The tensor does not require a gradient, has several elements and no gradient is given, or the
                graph was walked already.
        """
        global _backward
        if _backward is None:  # an import statement would cost a small step a tenth of its time
            from .autodiff import backward as _backward
        _backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:  # type: ignore[valid-type]
        """Sets :attr:`requires_grad` and returns the tensor.

        Raises:
            TypeError: The tensor is not of a float type.
        """
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Nothing for a leaf; for other tensors ask :func:`pyneural.grad` with ``inputs`` instead.

        Raises:
            RuntimeError: The tensor is not a leaf.
        """
        if not self.is_leaf:
            raise RuntimeError(
                "retain_grad: only leaves keep .grad; use pyneural.autodiff.gradients(outputs, inputs=[x])"
            )

    # ---- in place ----
    def copy_(self, source: Any) -> Tensor:
        """Writes source, converted and broadcast to this shape, into the tensor.

        Raises:
            RuntimeError: The tensor requires a gradient and recording is on.
            ValueError: source does not fit, or the memory is read-only.
        """
        return self._write(source)

    def fill_(self, value: Any) -> Tensor:
        """Sets every element to value."""
        return self._write(value)

    def zero_(self) -> Tensor:
        """Sets every element to 0."""
        return self._write(0)

    def _update(self, name: str, value: Tensor) -> Tensor:
        if value.dtype.kind == "f" and self.dtype.kind != "f":
            raise TypeError(f"{name}: the result is {value.dtype}, which a tensor of {self.dtype} cannot hold; convert "
                            "it first, or write x = x + y instead of x += y")  # fmt: skip
        return self._write(value)

    def add_(self, other: Any, alpha: Any = 1) -> Tensor:
        """Adds alpha * other in place."""
        return self._update("add_", self.detach() + (other if alpha == 1 else other * alpha))

    def sub_(self, other: Any, alpha: Any = 1) -> Tensor:
        """Subtracts alpha * other in place."""
        return self._update("sub_", self.detach() - (other if alpha == 1 else other * alpha))

    def mul_(self, other: Any) -> Tensor:
        """Multiplies by other in place."""
        return self._update("mul_", self.detach() * other)

    def div_(self, other: Any) -> Tensor:
        """Divides by other in place."""
        return self._update("div_", self.detach() / other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """Holds the elements between min and max in place."""
        from .ops import clip

        return self._update("clamp_", clip(self.detach(), min, max))

    def uniform_(self, low: Any = 0.0, high: Any = 1.0, generator: Any = None) -> Tensor:
        """Fills the tensor with draws from the uniform distribution on [low, high)."""
        from . import random

        return self._write(random.uniform(low, high, self.shape, generator=generator, dtype=self.dtype))

    def normal_(self, mean: Any = 0.0, std: Any = 1.0, generator: Any = None) -> Tensor:
        """Fills the tensor with draws from a normal distribution."""
        from . import random

        return self._write(random.normal(mean, std, self.shape, generator=generator, dtype=self.dtype))

    def bernoulli_(self, p: Any = 0.5, generator: Any = None) -> Tensor:
        """Fills the tensor with ones of probability p and zeros."""
        from . import random

        return self._write(random.uniform(0.0, 1.0, self.shape, generator=generator, dtype=self.dtype) < p)

    def _in_place(self, name: str, other: Any, method: Any) -> Tensor:
        # Off the tape `x += y` changes x; on it, x must keep its old value for the gradient, so a new tensor takes the
        # name.
        tracked = self.requires_grad or (isinstance(other, _engine.Tensor) and other.requires_grad)
        if _engine.is_grad_enabled() and tracked:
            if self.requires_grad and self.is_leaf:
                raise RuntimeError(f"{name}: a leaf that requires a gradient cannot be changed in place while the tape "
                                   "records; wrap the change in `with pyneural.no_grad():`")  # fmt: skip
            return NotImplemented
        return method(other)

    def __iadd__(self, other: TensorLike, /) -> Tensor:
        return self._in_place("+=", other, self.add_)

    def __isub__(self, other: TensorLike, /) -> Tensor:
        return self._in_place("-=", other, self.sub_)

    def __imul__(self, other: TensorLike, /) -> Tensor:
        return self._in_place("*=", other, self.mul_)

    def __itruediv__(self, other: TensorLike, /) -> Tensor:
        return self._in_place("/=", other, self.div_)

    # ---- indexing ----
    def __getitem__(self, index: Any) -> Tensor:
        from .ops.indexing import getitem

        return getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        from .ops.indexing import setitem

        setitem(self, index, value)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor cannot be iterated over; use item()")
        return (self[i] for i in range(len(self)))

    # ---- Python's own protocols ----
    # NumPy would otherwise take `array * tensor` apart element by element.
    __array_priority__ = 1000
    __array_ufunc__ = None

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(", precision=4, threshold=100)
        default = self.dtype in (np.float32, np.int64, np.bool_)
        dtype = "" if default else f", dtype={self.dtype}"
        tape = f", grad_fn={self.grad_fn!r}" if self.grad_fn else (", requires_grad=True" if self.requires_grad else "")
        return f"tensor({text}{dtype}{tape})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.numpy().copy(), self.requires_grad)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "only leaf tensors can be copied with copy.copy and copy.deepcopy; use clone() or detach()"
            )
        copy = _rebuild(type(self), self.numpy().copy(), self.requires_grad)
        if self.grad is not None:
            copy.grad = self.grad.detach().clone()
        memo[id(self)] = copy
        return copy


def _rebuild(cls: type, array: np.ndarray, requires_grad: bool) -> Any:
    t = _engine.tensor_from_array(array, False)
    if cls is not Tensor:
        t = cls(t)
    t.requires_grad = requires_grad
    return t


_engine.set_tensor_class(Tensor)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of data.

    Args:
        data: A number, nested sequence, NumPy array or tensor. Python floats become float32 and Python integers int64;
            arrays keep their dtype.
        dtype: NumPy dtype of the result.
        requires_grad: Record ops on it.

    Raises:
        TypeError: data holds something other than numbers, or requires_grad with a dtype that is no float type.
    """
    source = _engine.as_tensor(data, "tensor")
    array = np.array(
        source.numpy(), dtype=_default_dtype(data, source) if dtype is None else np.dtype(dtype), order="C"
    )
    _engine.dtype_code(array.dtype)
    t = _engine.tensor_from_array(array, False)
    if requires_grad:
        t.requires_grad = True
    return t


def _default_dtype(data: Any, source: Any) -> Any:
    # A Python float is held as float64 on its way into an op; as a tensor of its own it is float32.
    return np.float32 if type(data) is float else source.dtype


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """data as a tensor, on the same memory where possible (a tensor or NumPy array of the right dtype).

    Raises:
        TypeError: data holds something other than numbers.
    """
    if not isinstance(data, (np.ndarray, _engine.Tensor)):
        return tensor(data, dtype)
    t = _engine.as_tensor(data, "as_tensor")
    return t if dtype is None else t.to(dtype)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor on the memory of a NumPy array, whatever its strides: writes to one show in the other.

    Raises:
        TypeError: Not an array, or of a dtype or alignment that tensors cannot have.
    """
    return _engine.tensor_from_array(array, False)


def _shape(owner: str, size: Sequence[Any]) -> tuple[int, ...]:
    shape = integers(owner, "size", size[0] if len(size) == 1 else size)
    if any(n < 0 for n in shape):
        raise ValueError(f"{owner}: size is {shape} but cannot have negative entries")
    return shape


def _own(array: np.ndarray, requires_grad: bool) -> Tensor:
    t = _engine.tensor_from_array(array, False)
    if _engine.capturing() is not None and not requires_grad:
        # In a step that is captured the tensor may be written later, so each replay must make it anew: the array stays
        # as the constant that it is copied from.
        t = t.clone()
    t.requires_grad = requires_grad
    return t


def zeros(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _own(np.zeros(_shape("zeros", size), dtype), requires_grad)


def ones(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _own(np.ones(_shape("ones", size), dtype), requires_grad)


def empty(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros (memory is never handed out uninitialised: the same program gives the same bits)."""
    return zeros(*size, dtype=dtype, requires_grad=requires_grad)


def full(size: Sequence[int], fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given shape filled with one value; dtype defaults to float32, int64 or bool by the value."""
    if dtype is None:
        kind = np.asarray(fill_value).dtype.kind
        if kind not in "biuf":
            raise TypeError(f"full: fill_value is {fill_value!r} but must be a number or bool")
        dtype = {"f": np.float32, "b": np.bool_}.get(kind, np.int64)
    return _own(np.full(_shape("full", (size,)), fill_value, dtype), requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with x's shape and dtype."""
    x = _engine.as_tensor(x)
    return zeros(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones with x's shape and dtype."""
    x = _engine.as_tensor(x)
    return ones(x.shape, dtype=dtype or x.dtype, requires_grad=requires_grad)


def empty_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros with x's shape and dtype; see :func:`empty`."""
    return zeros_like(x, dtype, requires_grad)


def is_tensor(x: Any) -> bool:
    """Is x a tensor?"""
    return isinstance(x, Tensor)


def full_like(x: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in x's shape and dtype."""
    x = _engine.as_tensor(x)
    return full(x.shape, fill_value, dtype=dtype or x.dtype, requires_grad=requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """start, start + step, ... below end (0 to start if only one is given); int64 for integers, else float32."""
    if end is None:
        start, end = 0, start
    numbers = [number("arange", n, v) for n, v in (("start", start), ("end", end), ("step", step))]
    if numbers[-1] == 0:
        raise ValueError("arange: step must not be 0")
    values = np.arange(start, end, step)
    return _own(values.astype(dtype or (np.float32 if values.dtype.kind == "f" else np.int64)), False)


def linspace(start: Any, end: Any, steps: int, dtype: Any = np.float32) -> Tensor:
    """steps values evenly spaced from start to end, both included."""
    if integer("linspace", "steps", steps) < 0:
        raise ValueError(f"linspace: steps is {steps} but must be at least 0")
    return _own(np.linspace(start, end, steps).astype(dtype), False)


def eye(n: int, m: int | None = None, dtype: Any = np.float32) -> Tensor:
    """The (n, m) matrix with ones on its diagonal."""
    rows, columns = _shape("eye", (n, n if m is None else m))
    return _own(np.eye(rows, columns, dtype=dtype), False)
