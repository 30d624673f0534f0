"""Words in Latin letters and in Arabic script, and the training of models that turn the one into the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim
from pyneural.data import TextBatches, Vocabulary

#: Latin letters, one or two, and the Arabic letter that they stand for.
LATIN = "a b t th j kh d dh r z s sh gh f q k l m n h w y".split()
ARABIC = "\u0627\u0628\u062a\u062b\u062c\u062e\u062f\u0630\u0631\u0632\u0633" + (
    "\u0634\u063a\u0641\u0642\u0643\u0644\u0645\u0646\u0647\u0648\u064a"
)
LETTERS = dict(zip(LATIN, ARABIC, strict=True))
#: Before an h these would be read as one letter with it.
AMBIGUOUS = {"t", "k", "s", "d", "g"}
EMBEDDING, STATE, BATCH, RATE = 16, 64, 64, 0.003


class Words(NamedTuple):
    """Words in Latin letters and in Arabic ones, and their numbers."""

    latin: list[str]
    arabic: list[str]
    sources: list[np.ndarray]
    targets: list[np.ndarray]


class Task(NamedTuple):
    """The words to learn from and those to be tested with, none of which is in both."""

    train: Words
    test: Words
    latin: Vocabulary
    arabic: Vocabulary


def make_task(train: int, test: int, seed: int) -> Task:
    """Different words of 3 to 7 letters, each letter drawn with equal probability."""
    rng, names = np.random.default_rng(seed), list(LETTERS)
    found: dict[str, str] = {}
    while len(found) < train + test:
        word = [names[i] for i in rng.integers(0, len(names), rng.integers(3, 8))]
        if not any(a[-1] in AMBIGUOUS and b == "h" for a, b in itertools.pairwise(word)):
            found["".join(word)] = "".join(LETTERS[letter] for letter in word)
    latin, arabic = Vocabulary.of(found), Vocabulary.of(found.values())
    pairs = list(found.items())

    def words(part: list[tuple[str, str]]) -> Words:
        return Words([p[0] for p in part], [p[1] for p in part], [latin.encode(p[0]) for p in part],
                     [arabic.encode(p[1]) for p in part])  # fmt: skip

    return Task(words(pairs[:train]), words(pairs[train:]), latin, arabic)


def longest_match(word: str) -> str:
    """The Arabic word: two Latin letters for one wherever they can be."""
    found, i = "", 0
    while i < len(word):
        n = 2 if word[i : i + 2] in LETTERS else 1
        found += LETTERS[word[i : i + n]]
        i += n
    return found


class Aligned(nn.Module):
    """The baseline: one output for each input letter, from the state after it; what is left over is END."""

    def __init__(self, sources: int, targets: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sources, EMBEDDING)
        self.unit = nn.RNN(EMBEDDING, STATE)
        self.head = nn.Linear(STATE, targets)

    def forward(self, source: Any, lengths: Any) -> pn.Tensor:
        x = self.embedding(pn.as_tensor(source).transpose(0, 1))
        return self.head(self.unit(x, None, lengths)[0]).transpose(0, 1)

    def write(self, source: Any, lengths: Any) -> list[np.ndarray]:
        with pn.no_grad():
            best = self(source, lengths).numpy()[:, :, 2:].argmax(-1) + 2
        ends = [np.flatnonzero(row[:n] == Vocabulary.END) for row, n in zip(best, lengths, strict=True)]
        return [row[: end[0] if len(end) else n] for row, end, n in zip(best, ends, lengths, strict=True)]


def aligned_targets(batch: Any) -> np.ndarray:
    """For each input letter the output letter of the same place: END behind the last one, padding behind the word."""
    n, steps = batch.source.shape
    found = np.full((n, steps), Vocabulary.END)
    inside = batch.target_out[:, :steps]
    found[:, : inside.shape[1]] = np.where(inside > 0, inside, Vocabulary.END)
    return np.where(np.arange(steps) < batch.source_lengths[:, None], found, Vocabulary.PAD)


def exact_match(model: nn.Module, task: Task, words: Words) -> float:
    """The share of words that the model writes without a mistake."""
    right = 0
    for batch in TextBatches(words.sources, words.targets, 500, shuffle=False):
        if isinstance(model, Aligned):
            written = model.write(batch.source, batch.source_lengths)
        else:
            written = models.greedy(model, batch.source, batch.source_lengths, 12)
        right += sum(w.tolist() == words.targets[i].tolist() for w, i in zip(written, batch.rows, strict=True))
    return right / len(words.sources)


def make_model(kind: str, task: Task, dtype: Any = None) -> nn.Module:
    """One of "aligned", "plain", "plain, not fed", "GRU" and "GRU with attention".

    The plain units' recurrent matrices start orthogonal: from the usual start, whose largest eigenvalue is near 0.58, a
    state soon forgets, and 40 epochs are not enough.
    """
    sources, targets = len(task.latin), len(task.arabic)
    if kind == "aligned":
        return Aligned(sources, targets)
    model = models.Seq2Seq(
        sources, targets, EMBEDDING, STATE, cell="GRU" if kind.startswith("GRU") else "RNN", feed="not" not in kind,
        attention="additive" if "attention" in kind else None, dtype=dtype,
    )  # fmt: skip
    if kind.startswith("plain"):
        for unit in (model.encoder, model.decoder):
            nn.init.orthogonal_(unit.weight_hh_l0)
    return model


def train(model: nn.Module, task: Task, epochs: int, seed: int) -> Iterator[tuple[float, float]]:
    """Trains with Adam and teacher forcing; after each epoch the mean loss per symbol and the exact match on test."""
    optimizer = optim.Adam(model.parameters(), lr=RATE)

    def step(source: Any, lengths: Any, target_in: Any, target_out: Any) -> pn.Tensor:
        optimizer.zero_grad()
        logits = model(source, lengths) if isinstance(model, Aligned) else model(source, lengths, target_in)
        loss = models.sequence_loss(logits, target_out)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    compiled = pn.compile(step)
    # All padded to one length: the order is random, and batches of short and of long words do not pull in turn.
    batches = TextBatches(task.train.sources, task.train.targets, BATCH, round_to=(14, 8), generator=seed)
    for _ in range(epochs):
        total = symbols = 0.0
        for batch in batches:
            out = aligned_targets(batch) if isinstance(model, Aligned) else batch.target_out
            loss = compiled(batch.source, batch.source_lengths, batch.target_in, out)
            count = int((out != Vocabulary.PAD).sum())
            total, symbols = total + loss.item() * count, symbols + count
        yield total / symbols, exact_match(model, task, task.test)
