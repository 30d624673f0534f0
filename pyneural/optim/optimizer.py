"""What all optimisers share: parameter groups, state, and settings that reach the update at every step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import number
from ..autodiff import enable_grad, no_grad
from ..nn.module import as_array
from ..tensor import Tensor, as_tensor, full, zeros

# Entries of PyTorch's parameter groups that choose an implementation, not a result.
_HOW_NOT_WHAT = ("foreach", "capturable", "differentiable", "fused")


def check_range(owner: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> None:
    """Raises ValueError unless low <= value < below, which NaN fails; TypeError if the value is no number."""
    if not low <= number(owner, name, value) < below:
        bound = f"at least {low:g}" + (f" and below {below:g}" if below < math.inf else "")
        raise ValueError(f"{owner}: {name} must be {bound}, got {value}")


class Optimizer:
    """Base class of optimisers, as ``torch.optim.Optimizer``.

    ``param_groups`` is a list of dicts, each with its ``params`` and settings, which may be changed at any time.
    ``state`` maps each parameter to the tensors that belong to it. Both hold the same names as in PyTorch.

    A subclass names its settings (:meth:`_settings`), makes the state of a parameter (:meth:`_new_state`) and moves one
    parameter by one step (:meth:`_update`). Every update is in place, and the settings reach it through a small float64
    tensor that is refreshed from the group at each step: nothing is baked into a step that is replayed.

    Raises:
        ValueError: There are no parameters, one comes twice, or one is not a leaf.
        TypeError: A parameter is not a tensor.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            got = "one tensor" if isinstance(params, Tensor) else f"{type(params).__name__}"
            hint = "; take its parameters()" if hasattr(params, "parameters") else ""
            raise TypeError(f"{type(self).__name__}: params must be an iterable of tensors or dicts, got {got}{hint}")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.param_groups: list[dict[str, Any]] = []
        self._hyper: list[tuple[Tensor, np.ndarray]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got no parameters")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)  # type: ignore[arg-type]

    # ---- what a rule defines ----

    def _settings(self, group: dict[str, Any]) -> tuple[float, ...]:
        """The entries of ``hyper`` for this rule, in the order that its op in csrc/ops/optim.cpp expects."""
        raise NotImplementedError

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """Fresh state of a parameter."""
        return {}

    def _update(self, w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Tensor, group: dict[str, Any]) -> None:
        """One step of one parameter."""
        raise NotImplementedError

    def _check(self, group: dict[str, Any]) -> None:
        """Raises ValueError for a setting out of range."""
        check_range(type(self).__name__, "lr", group["lr"])
        check_range(type(self).__name__, "weight_decay", group["weight_decay"])

    # ---- groups ----

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a dict with ``params`` and, for what differs from the defaults, settings."""
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise TypeError(f"{name}: a parameter group must be a dict, got {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"{name}: a parameter group needs the key 'params', it has {sorted(param_group)}")
        group = dict(param_group)
        params = group["params"]
        group["params"] = [params] if isinstance(params, Tensor) else list(params)
        unknown = [key for key in group if key != "params" and key not in self.defaults and key != "initial_lr"]
        if unknown:
            known = ", ".join(self.defaults)
            raise ValueError(f"{name}: a parameter group has the unknown settings {unknown}; there are {known}")
        seen = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: parameters must be tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name}: only leaf tensors can be optimised, one of shape {p.shape} is a result")
            if id(p) in seen:
                raise ValueError(f"{name}: the parameter of shape {p.shape} was given twice")
            seen.add(id(p))
        for key, value in self.defaults.items():
            group.setdefault(key, value)
        self._check(group)
        settings = np.array(self._settings(group), np.float64)
        self.param_groups.append(group)
        self._hyper.append((as_tensor(settings), settings))

    def _refresh(self) -> None:
        """Brings the settings of the groups to where the updates read them. A replay of a step calls it first."""
        for group, (_, values) in zip(self.param_groups, self._hyper, strict=True):
            values[:] = self._settings(group)

    def _facts(self) -> tuple:
        """What a captured step relies on: parameters, their state tensors, and which settings are in use at all.

        The values of the settings are read anew at every replay.
        """
        facts: list[Any] = ["the number of its groups", len(self.param_groups)]
        state = self.state
        for group in self.param_groups:
            params = group["params"]
            used = tuple([bool(v) for k, v in group.items() if k not in ("params", "lr", "initial_lr")])
            facts += ("its parameters", tuple(params), "which settings are 0", used)
            facts += ("its state", tuple([tuple(state[p].values()) for p in params if p in state]))
        return tuple(facts)

    # ---- stepping ----

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves every parameter that has a gradient. ``closure``, if given, is called first and its loss returned."""
        loss = None
        if closure is not None:
            if not callable(closure):
                raise TypeError(f"{type(self).__name__}.step: closure must be a function, got {type(closure).__name__}")
            with enable_grad():
                loss = closure()
        self._refresh()
        capture = _engine.capturing()
        if capture is not None:
            capture.update(self)
            # Before states are made: a recording that makes one holds for no later call.
            capture.note(self, Optimizer._facts)
        state = self.state
        with no_grad():
            for group, (hyper, _) in zip(self.param_groups, self._hyper, strict=True):
                for p in group["params"]:
                    g = p.grad
                    if g is not None:
                        own = state.get(p)
                        if own is None:
                            own = state[p] = self._new_state(p, group)
                        self._update(p, g, own, hyper, group)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients, or sets them to 0 in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    with no_grad():
                        p.grad.zero_()

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {number: {name: tensor}}, "param_groups": [...]}`` with parameters numbered across the groups.

        The tensors are the live ones, as in PyTorch: copy them to keep a moment.
        """
        number = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**group, "params": [number[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": {number[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over the state and settings of another optimiser of this kind, ours or PyTorch's.

        State that exists is overwritten in place. Nothing is changed unless everything fits.

        Raises:
            ValueError: The groups, their sizes, a setting, the names of the state or a shape do not fit.
            TypeError: Something is not of the kind that it should be.
        """
        name = f"{type(self).__name__}.load_state_dict"
        absent = [key for key in ("state", "param_groups") if key not in state_dict]
        if absent:
            raise ValueError(f"{name}: the state dict lacks {absent}; it has {sorted(state_dict)}")
        groups = state_dict["param_groups"]
        ours = [len(g["params"]) for g in self.param_groups]
        theirs = [len(g["params"]) for g in groups]
        if ours != theirs:
            raise ValueError(f"{name}: groups of {theirs} parameters do not fit groups of {ours}")
        merged = []
        for group, other in zip(self.param_groups, groups, strict=True):
            settings = {k: v for k, v in other.items() if k != "params" and k not in _HOW_NOT_WHAT}
            unknown = [k for k in settings if k not in self.defaults and k != "initial_lr"]
            if unknown:
                raise ValueError(f"{name}: unknown settings {unknown}; there are {list(self.defaults)}")
            merged.append({**group, **settings, "params": group["params"]})
            self._check(merged[-1])
            np.array(self._settings(merged[-1]), np.float64)
        keys = [k for g in groups for k in g["params"]]
        foreign = [k for k in state_dict["state"] if k not in keys]
        if foreign:
            raise ValueError(f"{name}: the state has the parameters {foreign}, which are in none of its groups")
        planned: list[tuple[Tensor, dict[str, Tensor] | None, dict[str, Any]]] = []
        for group, key, p in zip(
            [g for g in merged for _ in g["params"]], keys, [p for g in merged for p in g["params"]], strict=True
        ):
            given = state_dict["state"].get(key)
            given = {k: as_array(v) for k, v in (given or {}).items() if v is not None}
            if not given:
                planned.append((p, None, {}))
                continue
            fresh = self._new_state(p, group)
            self._complete(given)
            lacking = [k for k in fresh if k not in given]
            surplus = [k for k in given if k not in fresh and k != "step"]  # PyTorch counts steps that no rule reads
            if lacking or surplus:
                what = f"lacks {lacking}" if lacking else f"has {surplus}, which this rule does not know"
                raise ValueError(f"{name}: the state of parameter {key} {what}")
            for k, tensor in fresh.items():
                if given[k].shape != tensor.shape:
                    raise ValueError(f"{name}: {k!r} of parameter {key} is {given[k].shape}, not {tensor.shape}")
            planned.append((p, fresh, given))
        with no_grad():
            self.param_groups[:] = merged
            for p, new, values in planned:
                if new is None:
                    self.state.pop(p, None)
                    continue
                own = self.state.setdefault(p, new)
                for k, tensor in new.items():
                    own.setdefault(k, tensor).copy_(as_tensor(values[k]))
        self._refresh()

    def _complete(self, state: dict[str, np.ndarray]) -> None:
        """Adds what PyTorch's state of this rule does not hold but ours does."""

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v!r}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def counter(start: float = 0.0) -> Tensor:
    """A number that an update op changes in place, such as the count of steps."""
    return full((), start, dtype=np.float64)


def zeros_like(p: Tensor) -> Tensor:
    """State that starts at 0 (dense, whatever the parameter's strides)."""
    return zeros(p.shape, dtype=p.dtype)


def absent(p: Tensor) -> Tensor:
    """Stands for a state tensor that a variant does without."""
    return _nothing(p.dtype)


@functools.cache
def _nothing(dtype: Any) -> Tensor:
    # One for all calls: a step that is recorded then makes nothing here.
    return zeros((0,), dtype=dtype)


def sign(group: dict[str, Any]) -> float:
    """The factor on the gradient: -1 to maximise."""
    return -1.0 if group["maximize"] else 1.0
