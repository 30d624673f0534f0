"""Recurrent layers and cells, under PyTorch's names. Each layer and direction is one op (pyneural/ops/recurrent.py)."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from .._arguments import probability
from ..ops import recurrent
from ..tensor import Tensor, as_tensor, tensor, zeros
from . import init
from .linear import _check_count
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, lengths_of, pack_padded_sequence, pad_packed_sequence


class _Recurrent(Module):
    """What layers and cells share: parameters, their start, and the op."""

    _gates: int
    nonlinearity = "tanh"

    def _start(self, input_size: int, hidden_size: int, bias: bool) -> None:
        name = self._get_name()
        self.input_size = _check_count(name, "input_size", input_size, 1)
        self.hidden_size = _check_count(name, "hidden_size", hidden_size, 1)
        self.bias = bool(bias)

    def _choose(self, nonlinearity: str) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"{self._get_name()}: nonlinearity is {nonlinearity!r} but must be 'tanh' or 'relu'")
        self.nonlinearity = nonlinearity

    def _add_parameters(self, suffix: str, features: int, out: int, dtype: Any) -> None:
        rows, kind = self._gates * self.hidden_size, np.float32 if dtype is None else dtype
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, out)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if out != self.hidden_size:
            shapes["weight_hr"] = (out, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(zeros(shape, dtype=kind)))

    def reset_parameters(self) -> None:
        """Draws all parameters anew, uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _sequence(self, x: Tensor, states: list[Any], suffix: str, lengths: Any, reverse: bool) -> tuple[Tensor, ...]:
        """The states after each step of x (T, N, F); the cells, too, of an LSTM."""
        w_ih, w_hh = getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)
        biases = [getattr(self, f"bias_{k}h{suffix}") if self.bias else None for k in "ih"]
        if self._gates == 1:
            relu = self.nonlinearity == "relu"
            return (recurrent.rnn(x, *states, w_ih, w_hh, *biases, lengths, relu, reverse),)
        if self._gates == 3:
            return (recurrent.gru(x, *states, w_ih, w_hh, *biases, lengths, reverse)[0],)
        projection = getattr(self, "weight_hr" + suffix, None)
        return recurrent.lstm(x, *states, w_ih, w_hh, *biases, projection, lengths, reverse)[:2]


class _Layers(_Recurrent):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = self._get_name()
        self._start(input_size, hidden_size, bias)
        self.num_layers = _check_count(name, "num_layers", num_layers, 1)
        self.proj_size = _check_count(name, "proj_size", proj_size)
        if self.proj_size >= self.hidden_size:
            raise ValueError(f"{name}: proj_size is {proj_size} but must be smaller than hidden_size, {hidden_size}")
        self.dropout = probability(name, "dropout", dropout)
        if dropout and num_layers == 1:
            warnings.warn(f"{name}: dropout is done between layers, so dropout={dropout} does nothing for one layer",
                          stacklevel=3)  # fmt: skip
        self.batch_first, self.bidirectional = bool(batch_first), bool(bidirectional)
        out = self.proj_size or self.hidden_size
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else out * (1 + self.bidirectional)
            for suffix in self._suffixes(layer):
                self._add_parameters(suffix, features, out, dtype)
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        own = dict(self.named_parameters())
        suffixes = [s for layer in range(self.num_layers) for s in self._suffixes(layer)]
        return [[p for name, p in own.items() if name.partition("_l")[2] == s[2:]] for s in suffixes]

    def flatten_parameters(self) -> None:
        """Does nothing: for code that calls it on PyTorch's layers."""

    def _run(self, input: Any, given: list[Any], lengths: Any) -> tuple[Any, list[Tensor]]:
        """The output, and the last states (and cells), all as the user has them; from those that they start with."""
        name = self._get_name()
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(f"{name}: a packed sequence has lengths of its own; leave out lengths=")
            return self._packed(input, given)
        x = as_tensor(input)
        if x.ndim not in (2, 3):
            raise ValueError(f"{name}: input must be (steps, features) or a batch of that, but its shape is {x.shape}")
        batched = x.ndim == 3
        batch_at = 0 if self.batch_first else 1
        if not batched:
            if lengths is not None:
                raise ValueError(f"{name}: lengths= is for batches, but input is {x.shape}")
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        if x.shape[2] != self.input_size:
            raise ValueError(f"{name}: input has {x.shape[2]} features but input_size is {self.input_size} (input is "
                             f"{as_tensor(input).shape})")  # fmt: skip
        states = self._states(given, x.shape[1], batched)
        mask = None
        if lengths is not None:
            lengths = as_tensor(lengths)
            lengths = lengths if lengths.dtype == np.int64 or lengths.dtype.kind not in "iu" else lengths.to(np.int64)
        y, last = self._steps(x, states, lengths)
        if lengths is not None:
            mask = lengths.unsqueeze(0) > tensor(np.arange(x.shape[0])).unsqueeze(1)
            y = ops.where(mask.unsqueeze(2), y, 0.0)
        if not batched:
            return y.squeeze(1), [s.squeeze(1) for s in last]
        return (y.transpose(0, 1) if batch_at == 0 else y), last

    def _packed(self, input: PackedSequence, given: list[Any]) -> tuple[PackedSequence, list[Tensor]]:
        own = input._replace(sorted_indices=None, unsorted_indices=None)
        x, _ = pad_packed_sequence(own)
        lengths = lengths_of(input)
        states = self._states(given, x.shape[1], True)
        if input.sorted_indices is not None:
            states = [None if s is None else s[:, input.sorted_indices] for s in states]
        y, last = self._steps(x, states, tensor(lengths))
        if input.unsorted_indices is not None:
            last = [s[:, input.unsorted_indices] for s in last]
        return input._replace(data=pack_padded_sequence(y, lengths).data), last

    def _states(self, given: list[Any], batch: int, batched: bool) -> list[Any]:
        """The states to start with, (layers and directions, N, \\*) each, or None."""
        rows = self.num_layers * (1 + self.bidirectional)
        found: list[Any] = []
        for what, state, size in zip(("hx", "c_0"), given, (self.proj_size or self.hidden_size, self.hidden_size),
                                     strict=False):  # fmt: skip
            if state is not None:
                state = as_tensor(state)
                shape = (rows, batch, size) if batched else (rows, size)
                if state.shape != shape:
                    raise ValueError(f"{self._get_name()}: {what} is {state.shape} but must be {shape}")
                state = state if batched else state.unsqueeze(1)
            found.append(state)
        return found

    def _steps(self, x: Tensor, states: list[Any], lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """All layers on x (T, N, F): the top one's states after each step, and for h and c the last of every layer."""
        last: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            both = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * (1 + self.bidirectional) + direction
                starts = [None if s is None else s[row] for s in states]
                made = self._sequence(x, starts, suffix, lengths, bool(direction))
                both.append(made[0])
                for kept, m in zip(last, made, strict=True):
                    kept.append(m[:1] if direction else m[-1:])
            x = both[0] if len(both) == 1 else ops.concatenate(both, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [kept[0] if len(kept) == 1 else ops.concatenate(kept, 0) for kept in last]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
                 "bidirectional": False}  # fmt: skip
        return ", ".join(parts + [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v])


class RNN(_Layers):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu, in one or several layers (Elman 1990).

    ``rnn(input, hx=None, lengths=None)`` gives (output, h_n). D is 2 if ``bidirectional``, else 1.

    Shapes: input (T, N, input_size), (N, T, input_size) with ``batch_first``, (T, input_size) unbatched, or a
    ``PackedSequence``; hx and h_n (D * num_layers, N, hidden_size), without N if unbatched; output as input with D *
    hidden_size. hx is zero if None; an h_n can be passed on as the next call's hx. Parameters ``weight_ih_l{k}``
    (hidden_size, features), ``weight_hh_l{k}`` (hidden_size, hidden_size), ``bias_ih_l{k}`` and ``bias_hh_l{k}``
    (hidden_size), with ``_reverse`` for the second direction, start uniform in +-1 / sqrt(hidden_size).

    ``lengths`` (N,), int64, is for padded input: what stands behind a sequence's end has no influence, output is 0
    there, h_n is the state at its end, and the shapes stay the same for all lengths (so that a captured step stays the
    same). ``dropout`` is done between layers in training.

    Raises ValueError for shapes that do not fit, a length that is 0 or too long, or T = 0.
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype)
        self._choose(nonlinearity)

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Tensor]:
        y, (h,) = self._run(input, [hx], lengths)
        return y, h


class GRU(_Layers):
    """Gated recurrent units (Cho et al. 2014), with the reset gate behind the product, as PyTorch has it:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z = sigmoid(W_iz x + b_iz + W_hz h + b_hz),
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h.

    Call, shapes, names and errors as of :class:`RNN`; weights and biases have the rows of r, z and n, one after the
    other.
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype)

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, Tensor]:
        y, (h,) = self._run(input, [hx], lengths)
        return y, h


class LSTM(_Layers):
    """Long short-term memory (Hochreiter and Schmidhuber 1997):

    i, f, o = sigmoid(W_i* x + b_i* + W_h* h + b_h*), g = tanh(...), c' = f c + i g, h' = o tanh(c').

    ``lstm(input, (h_0, c_0)=None, lengths=None)`` gives (output, (h_n, c_n)). Weights and biases have the rows of i, f,
    g and o, one after the other. With ``proj_size`` P > 0 the state is W_hr o tanh(c'), with ``weight_hr_l{k}`` (P,
    hidden_size): output and h_n have P in place of hidden_size (Sak et al. 2014). Else as :class:`RNN`.
    """

    _gates = 4

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        if hx is not None and not (isinstance(hx, (tuple, list)) and len(hx) == 2):
            raise ValueError(f"LSTM: hx must be a pair (h_0, c_0), got {type(hx).__name__}")
        y, (h, c) = self._run(input, list(hx or (None, None)), lengths)
        return y, (h, c)


class _Cell(_Recurrent):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        self._start(input_size, hidden_size, bias)
        self._add_parameters("", self.input_size, self.hidden_size, dtype)
        self.reset_parameters()

    def _step(self, input: Any, states: list[Any]) -> tuple[Tensor, ...]:
        name, x = self._get_name(), as_tensor(input)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(f"{name}: input must be (N, {self.input_size}) or ({self.input_size},), but its shape is "
                             f"{x.shape}")  # fmt: skip
        shape = (*x.shape[:-1], self.hidden_size)
        for k, s in enumerate(states):
            if s is not None:
                s = as_tensor(s)
                if s.shape != shape:
                    raise ValueError(f"{name}: hx is {s.shape} but must be {shape}")
                states[k] = s if x.ndim == 2 else s.unsqueeze(0)
        made = self._sequence(x.unsqueeze(0) if x.ndim == 2 else x[None, None], states, "", None, False)
        return tuple([m[0] if x.ndim == 2 else m[0, 0] for m in made])

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        usual = {"bias": True, "nonlinearity": "tanh"}
        return ", ".join(parts + [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v])


class RNNCell(_Cell):
    """One step of :class:`RNN`: ``cell(input, hx=None)`` gives the next state.

    Shapes: input (N, input_size) or (input_size,), hx and the result (N, hidden_size) or (hidden_size,). Parameters
    ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh``. Same bits as the layer's steps.
    """

    _gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self._choose(nonlinearity)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        return self._step(input, [hx])[0]


class GRUCell(_Cell):
    """One step of :class:`GRU`. Shapes and names as of :class:`RNNCell`."""

    _gates = 3

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        return self._step(input, [hx])[0]


class LSTMCell(_Cell):
    """One step of :class:`LSTM`: ``cell(input, (h, c)=None)`` gives (h', c'). Else as :class:`RNNCell`."""

    _gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(input, list(hx or (None, None)))
        return h, c
