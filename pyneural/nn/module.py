"""Module and Parameter: what every layer is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import _engine
from ..autodiff import no_grad
from ..tensor import Tensor, as_tensor
from .parameter import Parameter

M = TypeVar("M", bound="Module")

# Where a module keeps what belongs to it, with the words for it in messages.
_REGISTRIES = {"_parameters": "its parameters", "_buffers": "its buffers", "_modules": "its parts",
               "_hooks": "its hooks", "_pre_hooks": "its hooks"}  # fmt: skip


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` did not find a partner for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class HookHandle:
    """Returned by the ``register_*hook`` methods; :meth:`remove` takes the hook away again."""

    _next = 0

    def __init__(self, hooks: dict[int, Callable]) -> None:
        self._hooks = hooks
        self._id = HookHandle._next
        HookHandle._next += 1

    def remove(self) -> None:
        self._hooks.pop(self._id, None)
        _engine.module_edited()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def as_array(value: Any) -> np.ndarray:
    """A NumPy array, a pyneural tensor or a PyTorch tensor (on any device, of any float type) as a NumPy array."""
    if hasattr(value, "cpu") and hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # NumPy has no such type; float32 holds every value of it
            value = value.float()
        return value.numpy()
    if isinstance(value, Tensor):
        value = value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected an array or tensor of numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


class Module:
    """Base class of layers and models, as ``torch.nn.Module``.

    A subclass calls ``super().__init__()``, assigns parameters and sub-modules as attributes, and defines ``forward``.
    An error raised inside a nested ``forward`` carries a note with the path of the module that it comes from.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _transient: set[str]
    _modules: dict[str, Module | None]
    _pre_hooks: dict[int, Callable]
    _hooks: dict[int, Callable]

    def __init__(self) -> None:
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_transient"] = set()  # names of buffers that stay out of the state dict
        own["_modules"] = {}
        own["_pre_hooks"] = {}
        own["_hooks"] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def _facts(self) -> tuple:
        """What a captured step relies on: every attribute, parameter, buffer, part and hook, as name, value, ..."""
        facts: list[Any] = []
        for name, value in self.__dict__.items():
            if name in _REGISTRIES:
                if name not in ("_parameters", "_buffers"):  # those are attributes as well
                    facts += (_REGISTRIES[name], tuple(value.values()))
            elif isinstance(value, (list, dict)):
                facts += (name, tuple(value if isinstance(value, list) else value.items()))
            else:
                facts += (name, value)
        return tuple(facts)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        capture = _engine.capturing()
        if capture is not None:
            capture.note(self, Module._facts)
        try:
            if not self._pre_hooks and not self._hooks:
                return self.forward(*args, **kwargs)
            return self._hooked(args, kwargs)
        except Exception as error:
            self._locate(error)
            raise

    def _hooked(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        for hook in tuple(self._pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for hook in tuple(self._hooks.values()):
            changed = hook(self, args, out)
            if changed is not None:
                out = changed
        return out

    def _locate(self, error: Exception) -> None:
        """Notes on ``error`` which module raised it; each module on the way out adds its child's name."""
        trail: tuple[Module, str, str, str] | None = getattr(error, "_pyneural_trail", None)
        notes = list(getattr(error, "__notes__", ()))
        if trail is None:
            path = ""
            try:
                text = f"{self._get_name()}({self.extra_repr()})"
            except Exception:  # a module that failed half-built may not be able to describe itself
                text = self._get_name()
        else:
            child, path, text, before = trail
            name = next((n for n, m in self._modules.items() if m is child), None)
            if name is None:
                return
            path = f"{name}.{path}" if path else name
            notes = [n for n in notes if n != before]
        note = f"in module {path!r}: {text}" if path else f"in {text}"
        with suppress(AttributeError):  # an exception type with slots goes on without the note
            # The traceback shows notes from Python 3.11 on.
            error.__dict__.update(_pyneural_trail=(self, path, text, note), __notes__=[*notes, note])

    # ------------------------------------------------------------------------------------------------- attributes

    # Parameters, buffers and sub-modules are kept in their registries, which know their order, and as plain attributes
    # as well, so that reading self.weight costs no more than any other attribute.

    def __setattr__(self, name: str, value: Any) -> None:
        _engine.module_edited()
        registries = self.__dict__.get("_modules")
        if registries is None:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        elif isinstance(value, Parameter):
            self._forget(name, self._parameters)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name, registries)
            registries[name] = value
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}: {name!r} is a parameter, so it must be assigned a Parameter or None, not "
                    f"{type(value).__name__}; use .copy_() to change its values"
                )
            self._parameters[name] = None
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{type(self).__name__}: {name!r} is a buffer and must be assigned a Tensor or None")
            self._buffers[name] = value
        elif name in registries:
            if value is not None:
                raise TypeError(f"{type(self).__name__}: {name!r} is a module and must be assigned a Module or None")
            registries[name] = None
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self._forget(name)
        del self.__dict__[name]
        _engine.module_edited()

    def _forget(self, name: str, keep: dict[str, Any] | None = None) -> None:
        """Takes ``name`` out of every registry but ``keep``, where it holds its place in the order."""
        for registry in (self._parameters, self._buffers, self._modules):
            if registry is not keep:
                registry.pop(name, None)
        self._transient.discard(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter, or the place of an absent one (None)."""
        self._check_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter or None, got {type(param).__name__}")
        self._parameters[name] = param
        self.__dict__[name] = param
        _engine.module_edited()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is part of the state but is not trained; in the state dict only if ``persistent``."""
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: {name!r} must be a Tensor or None, got {type(tensor).__name__}")
        self._buffers[name] = tensor
        self.__dict__[name] = tensor
        _engine.module_edited()
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a sub-module under a name that need not be an identifier."""
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} must be a Module or None, got {type(module).__name__}")
        self._modules[name] = module
        self.__dict__[name] = module
        _engine.module_edited()

    register_module = add_module

    def _check_name(self, name: str, registry: str) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() first")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{type(self).__name__}: a name must be a non-empty string without dots, got {name!r}")
        if name not in self.__dict__[registry] and (name in self.__dict__ or hasattr(type(self), name)):
            raise KeyError(f"{type(self).__name__}: attribute {name!r} exists already")

    # ---------------------------------------------------------------------------------------------------- walking

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct sub-modules with their names, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; the name of this one is ``prefix``."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def _named(self, registry: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(None, prefix, once) if recurse else ((prefix, self),):
            for name, value in getattr(module, registry).items():
                if value is None or id(value) in seen:
                    continue
                if once:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names; a shared one comes once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; the empty path is this module. Raises AttributeError naming the missing part."""
        module: Module = self
        for part in target.split(".") if target else ():
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no sub-module {part!r} (of path {target!r})")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path. Raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path. Raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffer

    # ------------------------------------------------------------------------------------------------------ state

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(remove_duplicate=False):
            dot = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield dot + name, parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    yield dot + name, buffer

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, after ``prefix``, as detached tensors that share the
        model's memory; the tensors themselves if ``keep_vars``."""
        return {prefix + name: tensor if keep_vars else tensor.detach() for name, tensor in self._state()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies values in by name. Values may be NumPy arrays, pyneural tensors or PyTorch tensors.

        Nothing is changed unless everything fits. ``strict=False`` tolerates missing and unexpected names, never a
        wrong shape. Returns the two lists of names.

        With ``assign`` the memory and dtype of the values take the place of the model's, instead of being copied; the
        parameters remain the same objects, which an optimiser follows.

        Raises:
            ValueError: A name is missing or unexpected, or shapes differ; the message lists all of them.
            TypeError: A value is not an array of numbers, or would lose its fraction in an integer buffer.
        """
        from .lazy import take_sizes

        forget_sizes = take_sizes(self, state_dict)
        try:
            own = dict(self._state())
            arrays, keys = self._fitting(own, state_dict, strict, assign)
        except Exception:
            forget_sizes()
            raise
        # The state may be this very model's, m.load_state_dict(m.state_dict()): copying onto itself is harmless.
        with no_grad():
            for name, array in arrays.items():
                if assign:
                    own[name].data = as_tensor(array)
                else:
                    own[name].copy_(as_tensor(array))
        return keys

    def _fitting(
        self, own: dict[str, Tensor], state_dict: Mapping[str, Any], strict: bool, assign: bool
    ) -> tuple[dict[str, np.ndarray], IncompatibleKeys]:
        """The values for load_state_dict by name, and the names without a partner."""
        keys = IncompatibleKeys([n for n in own if n not in state_dict], [n for n in state_dict if n not in own])
        arrays: dict[str, np.ndarray] = {}
        problems = []
        for name, tensor in own.items():
            if name not in state_dict:
                continue
            try:
                array = as_array(state_dict[name])
            except TypeError as error:
                raise TypeError(f"load_state_dict: {name!r}: {error}") from None
            if array.shape != tensor.shape:
                problems.append(f"{name!r} has shape {array.shape} but the model's is {tensor.shape}")
            elif not np.can_cast(array.dtype, tensor.dtype, "same_kind") or (
                assign and array.dtype.kind != tensor.dtype.kind
            ):
                raise TypeError(
                    f"load_state_dict: {name!r} is {array.dtype} and does not fit the model's {tensor.dtype}"
                )
            arrays[name] = array
        for what, names in zip(("missing", "unexpected"), keys, strict=True):
            if strict and names:
                problems.append(f"{what}: " + ", ".join(map(repr, names)))
        if problems:
            raise ValueError(f"load_state_dict into {self._get_name()}: " + "; ".join(problems))
        return arrays, keys

    # ------------------------------------------------------------------------------------------------------- modes

    def train(self: M, mode: bool = True) -> M:
        """Sets training mode (dropout on) here and below; returns this module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Sets evaluation mode; the same as ``train(False)``."""
        return self.train(False)

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Calls ``fn`` with every module, children first; returns this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients, or sets them to 0 in place."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                with no_grad():
                    parameter.grad.zero_()

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Switches training of all parameters on or off; returns this module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> HookHandle:
        """``hook(module, args)`` runs before ``forward`` and may return other arguments."""
        handle = HookHandle(self._pre_hooks)
        self._pre_hooks[handle._id] = hook
        _engine.module_edited()
        return handle

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> HookHandle:
        """``hook(module, args, output)`` runs after ``forward`` and may return another output."""
        handle = HookHandle(self._hooks)
        self._hooks[handle._id] = hook
        _engine.module_edited()
        return handle

    # ------------------------------------------------------------------------------------------------------ dtypes

    def to(self: M, dtype: Any) -> M:
        """Converts all floating parameters and buffers in place; an optimiser keeps following the same parameters.

        The device "cpu" is where everything is. Raises TypeError unless ``dtype`` is float32 or float64.
        """
        if isinstance(dtype, str) and dtype.partition(":")[0] in ("cpu", "cuda"):
            if dtype != "cpu":
                raise ValueError(f"{self._get_name()}.to: there is no device {dtype!r}; all tensors live in main "
                                 "memory ('cpu')")  # fmt: skip
            return self
        if dtype is None:
            raise TypeError(f"{self._get_name()}.to: dtype must be float32 or float64, got None")
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise TypeError(f"{self._get_name()}.to: dtype must be float32 or float64, got {kind}")
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None and parameter.dtype.kind == "f" and parameter.dtype != kind:
                    parameter.convert_(kind)
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.dtype.kind == "f" and buffer.dtype != kind:
                    setattr(module, name, buffer.detach().to(kind))
        return self

    def cpu(self: M) -> M:
        """The module itself: all tensors live in main memory."""
        return self

    def float(self: M) -> M:
        """All floating parameters and buffers as float32."""
        return self.to(np.float32)

    def double(self: M) -> M:
        """All floating parameters and buffers as float64."""
        return self.to(np.float64)

    # ------------------------------------------------------------------------------------------------------- text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The constructor's arguments, for ``repr``."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{self._get_name()}({extra})"
        if extra:
            lines.insert(0, extra)
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def iter_tensors(value: Any) -> Iterable[Tensor]:
    """The tensors in an output: itself, or those inside tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from iter_tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from iter_tensors(item)
