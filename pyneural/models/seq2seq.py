"""Sequence to sequence: an encoder, a decoder that starts from its last state, and attention over its states.

An encoder reads the source to its end; a decoder writes the target symbol by symbol, each time told the symbol before
(Sutskever, Vinyals and Le 2014; Cho et al. 2014). With attention the decoder's state h and what it finds in the
encoder's states, c, give tanh(W [c; h] + b) in place of h (Luong, Pham and Manning, "Effective approaches to
attention-based neural machine translation", 2015), so that all states of a target that is known are one op.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn, ops, random
from ..tensor import Tensor, as_tensor, tensor


class DotAttention(nn.Module):
    """Scores q . k / sqrt(size), and the weights and means that follow from them.

    ``attention(query, keys, mask=None)`` gives (context, weights). Shapes: query (N, T, H), keys (N, S, H), mask (N, S)
    bool, True where a key counts, context (N, T, H), weights (N, T, S). A query whose keys all are masked gets zeros.
    """

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(N, T, S)."""
        return query @ keys.transpose(1, 2) * (1 / math.sqrt(keys.shape[2]))

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scores = self.scores(query, keys)
        if mask is None:
            weights = ops.softmax(scores, -1)
        else:
            counts = mask.unsqueeze(1)
            weights = ops.where(counts, ops.softmax(ops.where(counts, scores, -1e30), -1), 0.0)
        return weights @ keys, weights


class AdditiveAttention(DotAttention):
    """Scores v . tanh(W q + U k) (Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align
    and translate", 2015). Else as :class:`DotAttention`.

    Args:
        size: Of queries and keys.
        units: Of the layer within; ``size`` if None.
    """

    def __init__(self, size: int, units: int | None = None, dtype: Any = None) -> None:
        super().__init__()
        self.of_query = nn.Linear(size, units or size, dtype=dtype)
        self.of_key = nn.Linear(size, units or size, bias=False, dtype=dtype)
        self.score = nn.Linear(units or size, 1, bias=False, dtype=dtype)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        inner = ops.tanh(self.of_query(query).unsqueeze(2) + self.of_key(keys).unsqueeze(1))
        return self.score(inner).squeeze(3)


class State(NamedTuple):
    """Where a decoder is: its hidden state (and cell), and what attention looks at."""

    hidden: tuple[Tensor, ...]  # (layers, N, H) each
    keys: Tensor | None = None  # (N, S, H)
    mask: Tensor | None = None  # (N, S)

    def select(self, rows: Any) -> State:
        """The state of these rows of the batch."""
        rows = as_tensor(rows)
        keys = None if self.keys is None else self.keys[rows]
        return State(tuple([h[:, rows] for h in self.hidden]), keys, None if self.mask is None else self.mask[rows])


_CELLS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class Seq2Seq(nn.Module):
    """An encoder and a decoder of one kind of recurrent layer.

    ``model(source, lengths, target_in, forcing=None)`` gives the logits of the next symbol (N, T, targets).

    Args:
        sources, targets: How many symbols there are on either side (``len`` of a Vocabulary).
        embedding, hidden: Sizes of a symbol's row and of a state.
        cell: "RNN" (tanh), "GRU" or "LSTM".
        attention: None, "dot" or "additive".
        feed: The decoder is told the symbol before; otherwise every step has the same input, START.
        num_layers: Of encoder and decoder.

    Shapes: source (N, S) and target_in (N, T) int64, padded with anything; lengths (N,) int64 or None.

    ``forcing`` is the probability with which a step is told the target's symbol, rather than the one that the model
    found best: a 0-d tensor, so that a captured step reads it anew (:class:`Forcing`); None: always, which runs the
    decoder's layers over the whole target at once.

    Raises ValueError for an unknown cell or attention.
    """

    START = 1

    def __init__(
        self,
        sources: int,
        targets: int,
        embedding: int = 16,
        hidden: int = 64,
        *,
        cell: str = "GRU",
        attention: str | None = None,
        feed: bool = True,
        num_layers: int = 1,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if cell not in _CELLS or attention not in (None, "dot", "additive"):
            raise ValueError(f"Seq2Seq: cell is {cell!r} and attention {attention!r}, but they must be RNN, GRU or "
                             "LSTM, and None, 'dot' or 'additive'")  # fmt: skip
        self.feed = bool(feed)
        self.source_embedding = nn.Embedding(sources, embedding, dtype=dtype)
        self.target_embedding = nn.Embedding(targets, embedding, dtype=dtype)
        self.encoder = _CELLS[cell](embedding, hidden, num_layers, dtype=dtype)
        self.decoder = _CELLS[cell](embedding, hidden, num_layers, dtype=dtype)
        self.attention: DotAttention | None = None
        if attention:
            self.attention = DotAttention() if attention == "dot" else AdditiveAttention(hidden, dtype=dtype)
            self.combine = nn.Linear(2 * hidden, hidden, dtype=dtype)
        self.head = nn.Linear(hidden, targets, dtype=dtype)

    def start(self, source: Any, lengths: Any = None) -> State:
        """Reads sources (N, S); gives the state from which the decoder sets out."""
        source = as_tensor(source)
        if lengths is not None:
            lengths = as_tensor(lengths)
        states, last = self.encoder(self.source_embedding(source.transpose(0, 1)), None, lengths)
        hidden = last if isinstance(last, tuple) else (last,)
        if self.attention is None:
            return State(hidden)
        mask = None if lengths is None else tensor(np.arange(source.shape[1])).unsqueeze(0) < lengths.unsqueeze(1)
        return State(hidden, states.transpose(0, 1), mask)

    def steps(self, state: State, tokens: Tensor) -> tuple[Tensor, State, Tensor | None]:
        """Runs the decoder on given symbols (N, T): logits (N, T, targets), the state, weights (N, T, S) or None."""
        if not self.feed:
            tokens = tokens * 0 + self.START
        hx = state.hidden if isinstance(self.decoder, nn.LSTM) else state.hidden[0]
        y, last = self.decoder(self.target_embedding(tokens.transpose(0, 1)), hx)
        y, weights = y.transpose(0, 1), None
        if self.attention is not None:
            context, weights = self.attention(y, state.keys, state.mask)
            y = ops.tanh(self.combine(ops.concatenate([context, y], -1)))
        return self.head(y), state._replace(hidden=last if isinstance(last, tuple) else (last,)), weights

    def forward(self, source: Any, lengths: Any, target_in: Any, forcing: Tensor | None = None) -> Tensor:
        target_in = as_tensor(target_in)
        state = self.start(source, lengths)
        if forcing is None:
            return self.steps(state, target_in)[0]
        found: list[Tensor] = []
        token = target_in[:, 0]
        for t in range(target_in.shape[1]):
            if t:
                told = random.rand(target_in.shape[0]) < forcing
                token = ops.where(told, target_in[:, t], ops.argmax(found[-1].detach()[:, 0], -1))
            logits, state, _ = self.steps(state, token.unsqueeze(1))
            found.append(logits)
        return ops.concatenate(found, 1)


def sequence_loss(logits: Tensor, target_out: Any, pad: int = 0, reduction: str = "mean") -> Tensor:
    """Cross-entropy of the symbols that are not padding: their mean or, with reduction "sum", their sum."""
    rows = logits.reshape(-1, logits.shape[-1])
    return F.cross_entropy(rows, as_tensor(target_out).reshape(-1), ignore_index=pad, reduction=reduction)


class Forcing:
    """A probability of teacher forcing that falls (scheduled sampling: Bengio et al. 2015).

    After i steps it is: "linear", max(floor, 1 - i / k); "exponential", max(floor, k^i), k < 1; "sigmoid", k / (k +
    exp(i / k)), at least floor. ``probability`` is a 0-d tensor that ``step()`` changes in place.

    Raises ValueError for an unknown kind, or a k that does not let it fall.
    """

    def __init__(self, kind: str, k: float, floor: float = 0.0) -> None:
        if kind not in ("linear", "exponential", "sigmoid") or k <= 0 or (kind == "exponential" and k >= 1):
            raise ValueError(f"Forcing: kind {kind!r} with k = {k}; the kinds are linear and sigmoid, k > 0, and "
                             "exponential, 0 < k < 1")  # fmt: skip
        self.kind, self.k, self.floor, self.steps = kind, float(k), float(floor), 0
        self.probability = tensor(np.float32(self.value()))

    def value(self) -> float:
        """The probability after the steps so far."""
        i, k = self.steps, self.k
        if self.kind == "linear":
            p = 1 - i / k
        elif self.kind == "exponential":
            p = k**i
        else:
            p = k / (k + math.exp(min(i / k, 700.0)))
        return max(self.floor, p)

    def step(self) -> None:
        """One step on."""
        self.steps += 1
        self.probability.fill_(self.value())
