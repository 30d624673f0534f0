"""Encoders, decoders and attention; greedy, drawn and beam-searched targets."""

import itertools
import math

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import models, optim
from pyneural.data import TextBatches

KINDS = [*itertools.product(("RNN", "GRU", "LSTM"), (None, "dot", "additive"))]
kinds = pytest.mark.parametrize(("cell", "attention"), KINDS)


def model(cell="GRU", attention=None, seed=1, **settings):
    pn.manual_seed(seed)
    return models.Seq2Seq(9, 8, 5, 12, cell=cell, attention=attention, dtype=np.float64, **settings)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(4, 9, n) for n in (3, 5, 1, 4)]
    targets = [rng.integers(4, 8, n) for n in (2, 4, 1, 4)]
    return TextBatches(sources, targets, shuffle=False).batch(range(4))


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_padding_changes_no_loss(cell, attention, layers):
    m, b = model(cell, attention, num_layers=layers), batch()
    whole = models.sequence_loss(m(b.source, b.source_lengths, b.target_in), b.target_out, reduction="sum")
    alone = 0.0
    for i in range(4):
        s, t = b.source_lengths[i], int((b.target_out[i] > 0).sum())
        logits = m(b.source[i : i + 1, :s], None, b.target_in[i : i + 1, :t])
        alone += models.sequence_loss(logits, b.target_out[i : i + 1, :t], reduction="sum").item()
    assert whole.item() == pytest.approx(alone, rel=1e-12)


@kinds
def test_one_step_at_a_time_is_the_whole_target(cell, attention):
    m, b = model(cell, attention), batch()
    whole = m(b.source, b.source_lengths, b.target_in)
    stepped = m(b.source, b.source_lengths, b.target_in, pn.tensor(1.0))
    np.testing.assert_allclose(stepped.detach().numpy(), whole.detach().numpy(), rtol=1e-12, atol=1e-13)
    own = m(b.source, b.source_lengths, b.target_in, pn.tensor(0.0))  # told what it would have written itself
    best = own.detach().numpy().argmax(-1)
    told = np.concatenate([np.ones((4, 1), int), best[:, :-1]], 1)
    again = m(b.source, b.source_lengths, told)
    np.testing.assert_allclose(own.detach().numpy(), again.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_without_feeding_the_symbols_before_do_not_count():
    m, b = model(feed=False), batch()
    a = m(b.source, b.source_lengths, b.target_in)
    c = m(b.source, b.source_lengths, np.full_like(b.target_in, 5))
    assert np.array_equal(a.detach().numpy(), c.detach().numpy())


def test_attention_by_its_formulas():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    dot, additive = models.DotAttention(), models.AdditiveAttention(4, 6, dtype=np.float64)
    w, b = (p.detach().numpy() for p in additive.of_query.parameters())
    u, v = additive.of_key.weight.detach().numpy(), additive.score.weight.detach().numpy()[0]
    inner = np.tanh((q @ w.T + b)[:, :, None] + (k @ u.T)[:, None])
    for attention, scores in ((dot, np.einsum("nth,nsh->nts", q, k) / 2), (additive, inner @ v)):
        for m in (None, mask):
            e = np.exp(scores) * (1 if m is None else m[:, None])
            weights = e / np.where(e.sum(-1, keepdims=True) == 0, 1, e.sum(-1, keepdims=True))
            context, got = attention(pn.tensor(q), pn.tensor(k), None if m is None else pn.tensor(m))
            np.testing.assert_allclose(got.detach().numpy(), weights, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(context.detach().numpy(), weights @ k, rtol=1e-12, atol=1e-15)
    weights = model(attention="dot").steps(model(attention="dot").start(batch().source, batch().source_lengths),
                                           pn.tensor(batch().target_in))[2]  # fmt: skip
    assert weights.shape == (4, 5, 5)
    assert not weights.detach().numpy()[2, :, 1:].any()


@kinds
def test_captured_training_has_the_eager_bits(cell, attention):
    def make():
        m = models.Seq2Seq(9, 8, 4, 6, cell=cell, attention=attention)
        optimizer, forcing = optim.Adam(m.parameters(), lr=0.01), models.Forcing("linear", 5)

        class World:
            @staticmethod
            def step(source, lengths, target_in, target_out):
                optimizer.zero_grad()
                loss = models.sequence_loss(m(source, lengths, target_in, forcing.probability), target_out)
                loss.backward()
                optimizer.step()
                return loss

            @staticmethod
            def state():
                return list(m.parameters())

            schedule = forcing

        return World

    b = batch()
    inputs = [(b.source, b.source_lengths, b.target_in, b.target_out)] * 6
    compiled = eager_and_compiled(make, inputs, between=lambda world, i: world.schedule.step())
    assert len(compiled.programs) == 1


def test_forcing_falls_as_its_formula_says():
    for kind, k, formula in (("linear", 4, lambda i: 1 - i / 4), ("exponential", 0.7, lambda i: 0.7**i),
                             ("sigmoid", 3, lambda i: 3 / (3 + math.exp(i / 3)))):  # fmt: skip
        f = models.Forcing(kind, k, floor=0.1)
        for i in range(9):
            assert f.probability.item() == pytest.approx(max(0.1, formula(i)), rel=1e-6)
            f.step()
    for kind, k in (("linear", 0), ("exponential", 1.5), ("step", 1)):
        with pytest.raises(ValueError, match="Forcing"):
            models.Forcing(kind, k)


def log_probability(m, source, length, symbols):
    """Of writing exactly these symbols (END among them), by the definition of the decoder."""
    told = np.array([[1, *symbols[:-1]]])
    logits = m(source[None, :length], None, told).detach().numpy()[0].copy()
    logits[:, :2] = -np.inf  # padding and START are never written
    p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return p[np.arange(len(symbols)), symbols].sum()


@kinds
def test_beam_of_width_one_is_greedy(cell, attention):
    b = batch()
    for seed in range(3):
        m = model(cell, attention, seed)
        for g, found in zip(models.greedy(m, b.source, b.source_lengths, 6),
                            models.beam_search(m, b.source, b.source_lengths, 6, width=1), strict=True):  # fmt: skip
            assert len(found) == 1
            assert found[0].symbols.tolist() == g.tolist()


@pytest.mark.parametrize("attention", [None, "additive"])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_targets(attention, penalty):
    b, most = batch(), 4
    for seed in range(2):
        m = model("GRU", attention, seed)
        with pn.no_grad():
            m.head.weight.mul_(4)  # probabilities that differ
        found = models.beam_search(m, b.source, b.source_lengths, most, width=700, length_penalty=penalty)
        for i in (0, 2):
            everything = [[*s, 2] for n in range(most) for s in itertools.product(range(3, 8), repeat=n)]
            everything += [list(s) for s in itertools.product(range(3, 8), repeat=most)]
            scores = [log_probability(m, b.source[i], b.source_lengths[i], s) for s in everything]
            worth = [p / len(s) ** penalty for p, s in zip(scores, everything, strict=True)]
            best = int(np.argmax(worth))
            got = found[i][0]
            assert [*got.symbols, *([2] if got.ended else [])] == everything[best]
            assert got.log_probability == pytest.approx(scores[best], rel=1e-10)
            narrow = models.beam_search(m, b.source, b.source_lengths, most, width=2, length_penalty=penalty)[i]
            assert len(narrow) == 2
            assert narrow[0].log_probability <= max(scores) + 1e-12


def test_sampling():
    m, b = model(seed=4), batch()
    one, lengths = np.repeat(b.source[:1], 4000, 0), np.repeat(b.source_lengths[:1], 4000)
    logits = m.steps(m.start(b.source[:1], b.source_lengths[:1]), pn.tensor([[1]]))[0].detach().numpy()[0, 0]
    logits[:2] = -np.inf
    for temperature, top_k in ((1.0, None), (0.5, None), (1.0, 3)):
        drawn = models.sample(m, one, lengths, 1, temperature=temperature, top_k=top_k, generator=pn.Generator(5))
        first = np.array([d[0] if len(d) else 2 for d in drawn])
        p = np.exp(logits / temperature)
        if top_k:
            p[np.argsort(-p)[top_k:]] = 0
        p /= p.sum()
        counts = np.bincount(first, minlength=8)
        assert not counts[p == 0].any()
        expected = 4000 * p[p > 0]
        assert ((counts[p > 0] - expected) ** 2 / expected).sum() < 20  # chi-square, at most 5 degrees of freedom
    best = models.greedy(m, b.source, b.source_lengths, 5)
    for settings in ({"top_k": 1}, {"temperature": 1e-3}):
        drawn = models.sample(m, b.source, b.source_lengths, 5, **settings)
        assert [d.tolist() for d in drawn] == [g.tolist() for g in best]
    again = [models.sample(m, b.source, b.source_lengths, 5, generator=pn.Generator(1)) for _ in range(2)]
    assert [d.tolist() for d in again[0]] == [d.tolist() for d in again[1]]


def test_what_is_refused():
    m, b = model(), batch()
    for call, pattern in (
        (lambda: models.Seq2Seq(5, 5, cell="gru"), "cell is 'gru'"),
        (lambda: models.Seq2Seq(5, 5, attention="soft"), "attention 'soft'"),
        (lambda: models.sample(m, b.source, temperature=0), "temperature 0"),
        (lambda: models.sample(m, b.source, top_k=0), "top_k 0"),
        (lambda: models.beam_search(m, b.source, width=0), "width is 0"),
        (lambda: m(b.source, [3, 5, 0, 4], b.target_in), "length 0 of sequence 2"),
    ):
        with pytest.raises(ValueError, match=pattern):
            call()


def test_it_learns_to_turn_a_word_round():
    rng = np.random.default_rng(0)
    sources = [rng.integers(4, 9, rng.integers(2, 6)) for _ in range(600)]
    batches = TextBatches(sources, [s[::-1] for s in sources], 64, generator=1)
    pn.manual_seed(1)
    m = models.Seq2Seq(9, 9, 12, 32, attention="additive")
    optimizer = optim.Adam(m.parameters(), lr=0.01)

    @pn.compile
    def step(source, lengths, target_in, target_out):
        optimizer.zero_grad()
        loss = models.sequence_loss(m(source, lengths, target_in), target_out)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(25):
        for x in batches:
            step(*x[:4])
    b = batches.batch(range(200))
    right = [
        g.tolist() == sources[i][::-1].tolist() for i, g in enumerate(models.greedy(m, b.source, b.source_lengths, 8))
    ]
    assert np.mean(right) > 0.9
