"""Texts as numbers, in any script: characters, vocabularies, and batches of texts of about the same length."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyneural import Generator

Integers = NDArray[np.int64]

_JOINER = "\N{ZERO WIDTH JOINER}"
_FLAGS = range(0x1F1E6, 0x1F200)  # regional indicators: two make a flag
_TONES = range(0x1F3FB, 0x1F400)  # of an emoji's skin


def characters(text: str) -> list[str]:
    """What a reader sees as characters: each with its combining marks (vowel signs, accents), after composition (NFC).

    Emoji that are joined, toned or made of two letters stay together. Hangul syllables are single characters.
    """
    found: list[str] = []
    joined = False
    for c in unicodedata.normalize("NFC", text):
        flag = ord(c) in _FLAGS and bool(found) and len(found[-1]) == 1 and ord(found[-1]) in _FLAGS
        belongs = unicodedata.category(c)[0] == "M" or c == _JOINER or ord(c) in _TONES or joined or flag
        if belongs and found:
            found[-1] += c
        else:
            found.append(c)
        joined = c == _JOINER
    return found


def words(text: str) -> list[str]:
    """What white space separates, after composition (NFC)."""
    return unicodedata.normalize("NFC", text).split()


class Vocabulary:
    """Numbers for symbols: 0 to 3 are padding, start, end and unknown; the symbols follow.

    Args:
        symbols: The symbols, in order; each once.
        split: How a text becomes symbols: :func:`characters` by default, or :func:`words`, or a function of one's own.
        joiner: What stands between symbols in a text: nothing, and a space for words.

    Raises:
        ValueError: A symbol comes twice.
    """

    PAD, START, END, UNKNOWN = range(4)
    SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")

    def __init__(
        self, symbols: Iterable[str], split: Callable[[str], list[str]] = characters, joiner: str | None = None
    ) -> None:
        self.symbols = [*self.SPECIAL, *symbols]
        self.numbers = {s: i for i, s in enumerate(self.symbols)}
        if len(self.numbers) < len(self.symbols):
            twice = [s for s, n in Counter(self.symbols).items() if n > 1]
            raise ValueError(f"Vocabulary: {twice[0]!r} comes twice; each symbol has one number")
        self.split = split
        self.joiner = joiner if joiner is not None else (" " if split is words else "")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        split: Callable[[str], list[str]] = characters,
        *,
        most: int | None = None,
        least_count: int = 1,
        joiner: str | None = None,
    ) -> Vocabulary:
        """The symbols of some texts, the most frequent first and equally frequent ones in the order of Unicode.

        ``most`` keeps so many at most, ``least_count`` those that come so often.
        """
        counts = Counter(s for text in texts for s in split(text))
        kept = [s for s, n in counts.items() if n >= least_count and s not in cls.SPECIAL]
        return cls(sorted(kept, key=lambda s: (-counts[s], s))[:most], split, joiner)

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.numbers

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} symbols)"

    def encode(self, text: str, *, start: bool = False, end: bool = False) -> Integers:
        """The numbers of a text's symbols, UNKNOWN for those that have none, with START and END if wanted."""
        inner = [self.numbers.get(s, self.UNKNOWN) for s in self.split(text)]
        return np.array([self.START] * start + inner + [self.END] * end, np.int64)

    def decode(self, numbers: Iterable[int]) -> str:
        """The text up to END, without padding and start.

        Raises:
            ValueError: There is no symbol of that number.
        """
        found = []
        for n in np.asarray(list(numbers), np.int64).tolist():
            if not 0 <= n < len(self.symbols):
                raise ValueError(f"Vocabulary: number {n} is none of the {len(self.symbols)} symbols")
            if n == self.END:
                break
            if n not in (self.PAD, self.START):
                found.append(self.symbols[n])
        return self.joiner.join(found)


class TextBatch(NamedTuple):
    """Texts and their answers, padded with 0. ``target_in`` begins with START, ``target_out`` ends with END."""

    source: Integers  # (N, S)
    source_lengths: Integers  # (N,)
    target_in: Integers  # (N, T)
    target_out: Integers  # (N, T)
    rows: Integers  # (N,): which pairs these are


class _Joined:
    """Sequences of numbers, one behind the other."""

    def __init__(self, sequences: Sequence[Any]) -> None:
        self.lengths = np.array([len(s) for s in sequences], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.numbers = np.concatenate([*[np.asarray(s, np.int64) for s in sequences], [0]])  # 0: padding is read there

    def padded(self, rows: Integers, steps: int) -> Integers:
        """(rows, steps), zeros behind each one's end."""
        place = self.starts[rows, None] + np.arange(steps)
        return self.numbers[np.where(np.arange(steps) < self.lengths[rows, None], place, -1)]


class TextBatches:
    """Pairs of texts in mini-batches of about equal lengths: little is padded, and few shapes come up.

    Each ``for`` is one epoch. Pairs are sorted by the lengths of source and target, those of equal lengths in a new
    order, cut into batches, and the batches come in a new order.

    Args:
        sources, targets: For each pair the numbers of its source and of its target, without START and END.
        batch_size: Pairs per batch; one batch has what is left.
        round_to: Pad to a multiple of this, or sources and targets to one each: fewer shapes for a captured step.
        shuffle: Otherwise the order is that of the lengths.
        generator: Where orders are drawn from, or a seed, or None for the default one.
        drop_last: Leave out the batch that is not full.

    Raises:
        ValueError: The numbers of sources and targets differ, one is empty, or an argument is out of range.
    """

    def __init__(
        self,
        sources: Sequence[Any],
        targets: Sequence[Any],
        batch_size: int = 64,
        *,
        round_to: int | tuple[int, int] = 1,
        shuffle: bool = True,
        generator: Generator | int | None = None,
        drop_last: bool = False,
    ) -> None:
        from pyneural import random

        if len(sources) != len(targets) or not len(sources):
            raise ValueError(f"TextBatches: {len(sources)} sources and {len(targets)} targets; there must be as "
                             "many of both, and at least one")  # fmt: skip
        steps = round_to if isinstance(round_to, tuple) else (round_to, round_to)
        if batch_size < 1 or min(steps) < 1:
            raise ValueError(f"TextBatches: batch_size {batch_size} and round_to {round_to} must be at least 1")
        self.batch_size, self.round_to, self.shuffle, self.drop_last = batch_size, steps, shuffle, drop_last
        self.generator = random.Generator(generator) if isinstance(generator, int) else generator
        self._source, self._target = _Joined(sources), _Joined(targets)
        if not self._source.lengths.all():
            raise ValueError(f"TextBatches: source {int(np.argmin(self._source.lengths))} is empty")
        # The target's length is that with START or END.
        self._rounded = -(-np.stack([self._source.lengths, self._target.lengths + 1], 1) // np.array(steps))

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rounded), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def _order(self, n: int) -> Integers:
        from pyneural import random

        return random.randperm(n, generator=self.generator).numpy() if self.shuffle else np.arange(n)

    def __iter__(self) -> Iterator[TextBatch]:
        order = self._order(len(self._rounded))
        order = order[np.lexsort(self._rounded[order].T[::-1])]
        count = len(self)
        for b in self._order(count):
            yield self.batch(order[b * self.batch_size : (b + 1) * self.batch_size])

    def batch(self, rows: Any) -> TextBatch:
        """The batch of these pairs."""
        rows = np.asarray(rows, np.int64)
        source_steps, target_steps = self._rounded[rows].max(0) * np.array(self.round_to)
        target_out = self._target.padded(rows, target_steps)
        target_in = np.full(target_out.shape, Vocabulary.START)
        target_in[:, 1:] = target_out[:, :-1]
        target_out[np.arange(len(rows)), self._target.lengths[rows]] = Vocabulary.END
        return TextBatch(
            self._source.padded(rows, source_steps), self._source.lengths[rows], target_in, target_out, rows
        )
