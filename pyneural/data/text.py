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


def pad(sequences: Sequence[Any], round_to: int = 1) -> tuple[Integers, Integers]:
    """Sequences of numbers as rows that end in zeros (N, L), L the longest rounded up to a multiple, and the lengths.

    Raises:
        ValueError: A sequence is empty.
    """
    lengths = np.array([len(s) for s in sequences], np.int64)
    if (lengths < 1).any():
        raise ValueError(f"pad: sequence {int(np.argmin(lengths))} has length 0; leave it out")
    padded = np.zeros((len(sequences), -(-int(lengths.max()) // round_to) * round_to), np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


class TextBatches:
    """Pairs of texts in mini-batches of about equal lengths: little is padded, and few shapes come up.

    Each ``for`` is one epoch. Pairs are sorted by the lengths of source and target, those of equal lengths in a new
    order, cut into batches, and the batches come in a new order.

    Args:
        sources, targets: For each pair the numbers of its source and of its target, without START and END.
        batch_size: Pairs per batch; one batch has what is left.
        round_to: Pad to a multiple of this: fewer shapes for a captured step.
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
        round_to: int = 1,
        shuffle: bool = True,
        generator: Generator | int | None = None,
        drop_last: bool = False,
    ) -> None:
        from pyneural import random

        if len(sources) != len(targets) or not len(sources):
            raise ValueError(f"TextBatches: {len(sources)} sources and {len(targets)} targets; there must be as "
                             "many of both, and at least one")  # fmt: skip
        if batch_size < 1 or round_to < 1:
            raise ValueError(f"TextBatches: batch_size {batch_size} and round_to {round_to} must be at least 1")
        self.sources, self.targets = list(sources), list(targets)
        self.batch_size, self.round_to, self.shuffle, self.drop_last = batch_size, round_to, shuffle, drop_last
        self.generator = random.Generator(generator) if isinstance(generator, int) else generator
        # The target's padded length is that with START or END.
        lengths = [
            [-(-len(s) // round_to), -(-(len(t) + 1) // round_to)] for s, t in zip(sources, targets, strict=True)
        ]
        self._lengths = np.array(lengths)
        if any(len(s) == 0 for s in sources):
            raise ValueError("TextBatches: a source is empty")

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sources), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def _order(self, n: int) -> Integers:
        from pyneural import random

        return random.randperm(n, generator=self.generator).numpy() if self.shuffle else np.arange(n)

    def __iter__(self) -> Iterator[TextBatch]:
        order = self._order(len(self.sources))
        order = order[np.lexsort(self._lengths[order].T[::-1])]
        count = len(self)
        for b in self._order(count):
            yield self.batch(order[b * self.batch_size : (b + 1) * self.batch_size])

    def batch(self, rows: Any) -> TextBatch:
        """The batch of these pairs."""
        source, lengths = pad([self.sources[i] for i in rows], self.round_to)
        target_in, _ = pad([[Vocabulary.START, *self.targets[i]] for i in rows], self.round_to)
        target_out, _ = pad([[*self.targets[i], Vocabulary.END] for i in rows], self.round_to)
        return TextBatch(source, lengths, target_in, target_out, np.asarray(rows, np.int64))
