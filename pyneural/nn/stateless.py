"""A module as a function of its parameters: ``torch.func.functional_call``, for ``pn.grad`` and the like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .. import _engine
from ..tensor import Tensor, as_tensor
from .module import Module

__all__ = ["functional_call", "replaced"]


def functional_call(
    module: Module,
    parameters: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with other tensors in the place of its parameters and buffers.

    >>> parameters = {name: p.detach() for name, p in model.named_parameters()}
    >>> pn.grad(lambda p: loss(nn.functional_call(model, p, x), y))(parameters)  # a dict of gradients

    Args:
        module: Has its own parameters back afterwards, also when it raises.
        parameters: Tensors by dotted name, as in ``named_parameters()`` and ``named_buffers()``. What is not named
            stays as it is.
        args: The arguments in a tuple; anything else is a single one.
        kwargs: The arguments by name.
        tie_weights: A tensor that is given for one name of a shared parameter stands for the other names too.
        strict: Every parameter and buffer must be given.

    Raises:
        ValueError: A name is unknown or (strict) missing, a shape differs, or two names of a shared parameter are
            given different tensors; the module was not called.
    """
    with replaced(module, parameters, tie_weights=tie_weights, strict=strict):
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


@contextmanager
def replaced(
    module: Module, parameters: Mapping[str, Any], *, tie_weights: bool = True, strict: bool = False
) -> Iterator[None]:
    """A context within which other tensors stand in the place of a module's parameters and buffers.

    Takes what :func:`functional_call` takes, and raises the same. The parameters themselves are not written to.
    """
    places = _places(module)
    given = _checked(module, parameters, places, tie_weights, strict)
    capture = _engine.capturing()
    if capture is not None:
        for part in module.modules():  # a recorded step relies on the parts as they are outside of this call
            capture.note(part, Module._facts)
    before = []
    for name, tensor in given.items():
        owner, registry, key = places[name]
        before.append((owner, registry, key, owner.__dict__[key]))
        owner.__dict__[key] = getattr(owner, registry)[key] = tensor
    try:
        yield
    finally:
        for owner, registry, key, tensor in reversed(before):
            owner.__dict__[key] = getattr(owner, registry)[key] = tensor


def _places(module: Module) -> dict[str, tuple[Module, str, str]]:
    """(owner, registry, key) of each parameter and buffer, by every dotted name that it has."""
    found = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for registry in ("_parameters", "_buffers"):
            for key, tensor in getattr(part, registry).items():
                if tensor is not None:
                    found[f"{path}.{key}" if path else key] = (part, registry, key)
    return found


def _checked(
    module: Module, parameters: Mapping[str, Any], places: Mapping[str, tuple], tie_weights: bool, strict: bool
) -> dict[str, Tensor]:
    """What to put where, the other names of shared tensors included."""
    problems: list[str] = []
    given: dict[str, Tensor] = {}
    shared: dict[int, tuple[str, Any]] = {}  # id of the module's tensor -> the first name and value
    for name, value in parameters.items():
        if name not in places:
            problems.append(f"{name!r} is no parameter or buffer of it")
            continue
        owner, _, key = places[name]
        own = owner.__dict__[key]
        tensor = value if isinstance(value, Tensor) else as_tensor(value)
        if tensor.shape != own.shape:
            problems.append(f"{name!r} has shape {tensor.shape} but the module's is {own.shape}")
        if tie_weights and shared.setdefault(id(own), (name, value))[1] is not value:
            problems.append(f"{name!r} and {shared[id(own)][0]!r} are one tensor of the module and got two "
                            "(give one of them, or pass tie_weights=False)")  # fmt: skip
        given[name] = tensor
    if tie_weights:
        for name, (owner, _, key) in places.items():
            if name not in given and id(owner.__dict__[key]) in shared:
                given[name] = given[shared[id(owner.__dict__[key])][0]]
    if strict:
        problems += [f"{name!r} is missing" for name in places if name not in given]
    if problems:
        raise ValueError(f"functional_call of {type(module).__name__}: " + "; ".join(problems))
    return given
