"""Writing a target symbol by symbol: the best symbol, a drawn one, or the best of several beginnings (beam search).

A decoder is anything with ``start(source, lengths)``, ``steps(state, tokens)`` and states that have ``select(rows)``,
such as :class:`pyneural.models.Seq2Seq`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops, random
from ..autodiff import no_grad
from ..data.text import Vocabulary
from ..tensor import Tensor, as_tensor, tensor

if TYPE_CHECKING:
    from ..random import Generator

#: What is never written: it stands in no target.
_NEVER = (Vocabulary.PAD, Vocabulary.START)


def _log_probabilities(logits: Tensor) -> Tensor:
    """(N, symbols), -inf for what is never written, from the logits of one step (N, 1, symbols)."""
    never = np.zeros(logits.shape[-1], bool)
    never[list(_NEVER)] = True
    return ops.log_softmax(ops.where(tensor(never), -math.inf, logits[:, 0]), -1)


def _write(model: Any, source: Any, lengths: Any, most: int, choose: Any) -> list[np.ndarray]:
    """Lets ``choose`` pick each next symbol from the log-probabilities (N, symbols), until END or ``most`` symbols."""
    with no_grad():
        source = as_tensor(source)
        state = model.start(source, lengths)
        token = tensor(np.full(source.shape[0], Vocabulary.START))
        written = np.full((source.shape[0], most), Vocabulary.END)
        running = np.ones(source.shape[0], bool)
        for t in range(most):
            logits, state, _ = model.steps(state, token.unsqueeze(1))
            token = choose(_log_probabilities(logits))
            written[running, t] = token.numpy()[running]
            running &= written[:, t] != Vocabulary.END
            if not running.any():
                break
    ends = np.concatenate([written == Vocabulary.END, np.ones((len(written), 1), bool)], 1).argmax(1)
    return [row[:end] for row, end in zip(written, ends, strict=True)]


def greedy(model: Any, source: Any, lengths: Any = None, most: int = 50) -> list[np.ndarray]:
    """At each step the most probable symbol.

    Args:
        model: A decoder.
        source: (N, S) symbols of the sources, and ``lengths`` (N,), as the model takes them.
        lengths: See source.
        most: Symbols at most.

    Returns:
        For each source the symbols written, without END.
    """
    return _write(model, source, lengths, most, lambda p: ops.argmax(p, -1))


def sample(
    model: Any,
    source: Any,
    lengths: Any = None,
    most: int = 50,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: Generator | None = None,
) -> list[np.ndarray]:
    """At each step a symbol drawn with probability proportional to p^(1 / temperature), among the ``top_k`` best.

    Arguments and result as of :func:`greedy`. Draws by the Gumbel-max trick from ``generator``, or the default one.

    Raises:
        ValueError: The temperature or top_k is not above 0.
    """
    if not temperature > 0 or (top_k is not None and top_k < 1):
        raise ValueError(
            f"sample: temperature {temperature} and top_k {top_k} must be above 0; use greedy() for the best"
        )

    def choose(p: Tensor) -> Tensor:
        if top_k is not None and top_k < p.shape[1]:
            best = np.argsort(-p.numpy(), 1, kind="stable")[:, :top_k]
            out = np.ones(p.shape, bool)
            np.put_along_axis(out, best, False, 1)
            p = ops.where(tensor(out), -math.inf, p)
        u = ops.clamp(random.rand(*p.shape, generator=generator), min=1e-30)
        return ops.argmax(p / temperature - ops.log(-ops.log(u)), -1)

    return _write(model, source, lengths, most, choose)


class Hypothesis(NamedTuple):
    """A target and its logarithmic probability; ``ended``: END was written (and counts), not cut off."""

    symbols: np.ndarray
    log_probability: float
    ended: bool


def beam_search(
    model: Any, source: Any, lengths: Any = None, most: int = 50, *, width: int = 5, length_penalty: float = 0.0
) -> list[list[Hypothesis]]:
    """At each step the ``width`` most probable beginnings. Width 1 is :func:`greedy`.

    Arguments as of :func:`greedy`. Hypotheses are compared by log-probability / symbols^length_penalty, END counted: 0
    favours short ones, 1 compares the mean per symbol.

    Returns:
        For each source up to ``width`` hypotheses, the best first.

    Raises:
        ValueError: The width is below 1.
    """
    if width < 1:
        raise ValueError(f"beam_search: width is {width} but must be at least 1")

    def worth(h: Hypothesis) -> float:
        return h.log_probability / (len(h.symbols) + h.ended) ** length_penalty

    source = as_tensor(source)
    n = source.shape[0]
    done: list[list[Hypothesis]] = [[] for _ in range(n)]
    scores = np.full((n, width), -math.inf)
    scores[:, 0] = 0
    symbols = np.zeros((n, width, 0), np.int64)
    first = np.arange(n)[:, None] * width  # of each source's rows
    token = np.full(n * width, Vocabulary.START)
    with no_grad():
        state = model.start(source, lengths).select(np.repeat(np.arange(n), width))
        for t in range(most):
            logits, state, _ = model.steps(state, tensor(token).unsqueeze(1))
            p = _log_probabilities(logits).numpy().astype(np.float64)
            candidates = (scores[:, :, None] + p.reshape(n, width, -1)).reshape(n, -1)
            best = np.argsort(-candidates, 1, kind="stable")[:, :width]
            scores = np.take_along_axis(candidates, best, 1)
            came, new = best // p.shape[1], best % p.shape[1]
            symbols = np.concatenate([np.take_along_axis(symbols, came[:, :, None], 1), new[:, :, None]], 2)
            live = scores > -math.inf
            ended = live & (new == Vocabulary.END)
            for i, k in zip(*np.nonzero(ended | live if t == most - 1 else ended), strict=True):
                over = bool(ended[i, k])
                done[i].append(Hypothesis(symbols[i, k, : t if over else t + 1], float(scores[i, k]), over))
            scores[ended] = -math.inf
            for i in range(n):
                # Probabilities only fall: what is not above the last of enough finished ones will not be.
                finished = sorted((h.log_probability for h in done[i]), reverse=True)
                if length_penalty == 0 and len(finished) >= width:
                    scores[i, scores[i] <= finished[width - 1]] = -math.inf
            if not (scores > -math.inf).any():
                break
            token = new.reshape(-1)
            state = state.select((first + came).reshape(-1))
    return [sorted(found, key=worth, reverse=True)[:width] for found in done]
