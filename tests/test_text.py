"""Texts as numbers in several scripts, vocabularies, batches of about equal lengths."""

import numpy as np
import pytest

import pyneural as pn
from pyneural.data import TextBatches, Vocabulary, characters, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("salam", list("salam")),
        ("e\N{COMBINING ACUTE ACCENT}te", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "t", "e"]),
        ("x\N{COMBINING TILDE}y", ["x\N{COMBINING TILDE}", "y"]),
        ("\u0633\u064e\u0644\u0627\u0645", ["\u0633\u064e", "\u0644", "\u0627", "\u0645"]),  # Arabic with a vowel sign
        ("\u0928\u092e\u0938\u094d\u0924\u0947", ["\u0928", "\u092e", "\u0938\u094d", "\u0924\u0947"]),  # Devanagari
        ("\u4f60\u597d", ["\u4f60", "\u597d"]),
        ("\u1112\u1161\u11ab", ["\ud55c"]),  # Hangul, composed
        ("\U0001f44b\U0001f3fdx", ["\U0001f44b\U0001f3fd", "x"]),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467!", ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "!"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("", []),
    ],
)
def test_characters(text, found):
    assert characters(text) == found


def test_vocabulary():
    texts = ["\u0633\u0644\u0627\u0645", "\u0643\u062a\u0627\u0628", "abba"]
    v = Vocabulary.of(texts)
    assert v.symbols[:4] == ["<pad>", "<s>", "</s>", "<unk>"]
    assert v.symbols[4:7] == ["a", "b", "\u0627"]  # twice each, in the order of Unicode
    for text in texts:
        assert v.decode(v.encode(text)) == text
        assert v.decode([*v.encode(text, start=True, end=True), 0, 5]) == text
    assert v.encode("az").tolist() == [4, v.UNKNOWN]
    assert v.encode("", start=True, end=True).tolist() == [1, 2]
    assert "a" in v
    assert "z" not in v
    assert len(v) == len(v.symbols) == int(repr(v)[11:13])
    assert len(Vocabulary.of(texts, most=2)) == 6
    assert Vocabulary.of(texts, least_count=2).symbols[4:] == ["a", "b", "\u0627"]
    w = Vocabulary.of(["the cat", "the  dog"], words)
    assert w.decode(w.encode("the dog")) == "the dog"
    with pytest.raises(ValueError, match="'a' comes twice"):
        Vocabulary("aba")
    with pytest.raises(ValueError, match="number 99"):
        v.decode([99])


def pairs(n=50, seed=0):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(4, 9, rng.integers(1, 9)) for _ in range(n)]
    return sources, [s[::2] for s in sources]


def test_batches_hold_every_pair_once_and_pad_little():
    sources, targets = pairs()
    b = TextBatches(sources, targets, 8, generator=3)
    seen = []
    for batch in b:
        assert batch.source.shape == (len(batch.rows), batch.source_lengths.max())
        assert batch.target_in.shape == batch.target_out.shape
        for k, i in enumerate(batch.rows):
            n, m = len(sources[i]), len(targets[i])
            assert batch.source[k, :n].tolist() == sources[i].tolist()
            assert not batch.source[k, n:].any()
            assert batch.source_lengths[k] == n
            assert batch.target_in[k, : m + 1].tolist() == [1, *targets[i]]
            assert batch.target_out[k, : m + 1].tolist() == [*targets[i], 2]
            assert not batch.target_out[k, m + 1 :].any()
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(50))
    assert len(b) == 7
    padding = sum(int((x.source == 0).sum()) for x in b)
    unsorted = sum(int((b.batch(range(k, min(k + 8, 50))).source == 0).sum()) for k in range(0, 50, 8))
    assert padding < unsorted / 4
    assert len({x.source.shape for x in TextBatches(sources, targets, 8, round_to=4, drop_last=True)}) <= 2


def test_batches_are_seeded_and_can_stay_in_order():
    sources, targets = pairs()
    order = [[x.rows.tolist() for x in b] for b in [TextBatches(sources, targets, 8, generator=3) for _ in range(2)]]
    assert order[0] == order[1]
    again = TextBatches(sources, targets, 8, generator=pn.Generator(3))
    assert [x.rows.tolist() for x in again] == order[0]
    assert [x.rows.tolist() for x in again] != order[0]  # the next epoch
    still = TextBatches(sources, targets, 8, shuffle=False)
    lengths = np.concatenate([x.source_lengths for x in still])
    assert (np.diff(lengths) >= 0).all()
    refused = {
        "50 sources and 49": (sources, targets[1:]),
        "at least one": ([], []),
        "batch_size 0": (sources, targets, 0),
        "source 1 is empty": ([[4], []], [[1], [1]]),
    }
    for pattern, arguments in refused.items():
        with pytest.raises(ValueError, match=pattern):
            TextBatches(*arguments)


def test_sources_and_targets_can_be_rounded_apart():
    sources, targets = pairs()
    for batch in TextBatches(sources, targets, 8, round_to=(10, 6)):
        assert batch.source.shape[1] == 10
        assert batch.target_in.shape[1] == 6
