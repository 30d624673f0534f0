"""MultiheadAttention, the transformers and the encodings of positions: against PyTorch, masks, replay, errors."""

from __future__ import annotations

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import nn, optim

RNG = np.random.default_rng(0)
N, L, S, E, H = 3, 5, 7, 12, 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def normal(*shape):
    return RNG.standard_normal(shape)


def sequence(batch_first, length, size=E, alone=False):
    return normal(*((length, size) if alone else (N, length, size) if batch_first else (length, N, size)))


def close(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-10)


def twins(torch, name, *args, **kwargs):
    """Our module and PyTorch's with PyTorch's state, which must load as it is, in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # why PyTorch takes no fast path in evaluation
        theirs = getattr(torch.nn, name)(*args, dtype=torch.float64, **kwargs)
    with torch.no_grad():
        for p in theirs.parameters():
            if p.ndim == 1:
                p += torch.tensor(0.3 * normal(*p.shape))  # biases start at 0
    ours = getattr(nn, name)(*args, dtype=np.float64, **kwargs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(torch, ours, theirs, inputs, named):
    """Results and gradients of all inputs and parameters, of one call with these arrays and keyword arguments."""
    x = [pn.tensor(a, requires_grad=True) for a in inputs]
    z = [torch.tensor(a, requires_grad=True) for a in inputs]
    results = []
    for module, args, lib in ((ours, x, pn), (theirs, z, torch)):
        results.append(
            module(*args, **{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in named.items()})
        )
    pairs = list(zip(*results, strict=True)) if isinstance(results[0], tuple) else [tuple(results)]
    losses = [0.0, 0.0]
    for a, b in pairs:
        if b is None:
            assert a is None
            continue
        close(a, b)
        weight = normal(*b.shape)
        losses[0] = losses[0] + (a * pn.tensor(weight)).sum()
        losses[1] = losses[1] + (b * torch.tensor(weight)).sum()
    for loss in losses:
        loss.backward()
    for a, b in zip(x, z, strict=True):
        close(a.grad, b.grad)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if b.grad is not None:
            close(a.grad, b.grad)


# ---- MultiheadAttention ----

BUILDS = [
    {},
    {"bias": False},
    {"kdim": 6},
    {"vdim": 9, "bias": False},
    {"kdim": 6, "vdim": 9, "add_bias_kv": True},
    {"add_bias_kv": True, "add_zero_attn": True},
    {"add_zero_attn": True},
]


def masks_of(alone):
    n = 1 if alone else N
    padding = RNG.random((n, S)) < 0.4
    padding[:, 3] = False
    hidden = RNG.random((L, S)) < 0.3
    hidden[:, 3] = False
    return {
        "none": {},
        "padding": {"key_padding_mask": padding[0] if alone else padding},
        "float padding": {"key_padding_mask": normal(S) if alone else normal(N, S)},
        "mask": {"attn_mask": hidden},
        "both": {"attn_mask": hidden, "key_padding_mask": padding[0] if alone else padding},
        "of each head": {"attn_mask": normal(n * H, L, S), "key_padding_mask": normal(S) if alone else normal(N, S)},
    }


@pytest.mark.parametrize("build", BUILDS, ids=str)
@pytest.mark.parametrize(("batch_first", "alone"), [(False, False), (True, False), (False, True), (True, True)])
def test_attention_agrees_with_pytorch(torch, build, batch_first, alone):
    given = ((True, True), (True, False), (False, True))
    for masks, (weights, mean) in itertools.product(masks_of(alone).values(), given):
        ours, theirs = twins(torch, "MultiheadAttention", E, H, batch_first=batch_first, **build)
        inputs = [
            sequence(batch_first, n, size, alone)
            for n, size in ((L, E), (S, build.get("kdim", E)), (S, build.get("vdim", E)))
        ]
        compare(torch, ours, theirs, inputs, {"need_weights": weights, "average_attn_weights": mean, **masks})


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("build", [{}, {"add_bias_kv": True}], ids=str)
def test_causal_attention(torch, weights, build):
    ours, theirs = twins(torch, "MultiheadAttention", E, H, **build)
    x, mask = sequence(False, L), np.triu(np.ones((L, L), bool), 1)
    compare(torch, ours, theirs, [x, x, x], {"need_weights": weights, "attn_mask": mask})
    x = pn.tensor(x)
    for padding in (None, np.arange(L) > 2):
        padding = None if padding is None else np.tile(padding, (N, 1))
        a, wa = ours(x, x, x, padding, weights, mask)
        b, wb = ours(x, x, x, padding, weights, is_causal=True)
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-12, atol=1e-12)
        if weights:
            np.testing.assert_allclose(wa.detach(), wb.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", [True, False])
def test_a_query_that_sees_nothing_gets_the_bias_alone(weights):
    m = nn.MultiheadAttention(E, H, batch_first=True)
    nn.init.normal_(m.out_proj.bias)
    x = pn.tensor(sequence(True, L).astype(np.float32), requires_grad=True)
    padding = np.zeros((N, L), bool)
    padding[1] = True
    y, w = m(x, x, x, padding, weights)
    np.testing.assert_array_equal(y[1].detach(), np.tile(m.out_proj.bias.detach().numpy(), (L, 1)))
    assert np.isfinite(y.detach().numpy()).all()
    if weights:
        assert not w[1].detach().numpy().any()
    (y * y).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert all(np.isfinite(p.grad.numpy()).all() for p in m.parameters())


def test_dropout_of_weights():
    m = nn.MultiheadAttention(E, H, dropout=0.5)
    x = pn.tensor(sequence(False, 40).astype(np.float32))
    pn.manual_seed(0)
    y, w = m(x, x, x, average_attn_weights=False)
    pn.manual_seed(0)
    np.testing.assert_array_equal(y.detach(), m(x, x, x, need_weights=False)[0].detach())
    assert abs((w.detach().numpy() == 0).mean() - 0.5) < 0.02
    m.eval()
    whole, v = m(x, x, x, average_attn_weights=False)
    kept = w.detach().numpy() != 0
    np.testing.assert_allclose(w.detach().numpy()[kept], 2 * v.detach().numpy()[kept], rtol=1e-5)
    assert (whole.detach().numpy() != y.detach().numpy()).any()


def test_initial_parameters():
    m = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = (6 / (64 + 3 * 64)) ** 0.5
    w = m.in_proj_weight.detach().numpy()
    assert abs(w).max() <= bound
    assert abs(w.std() - bound / 3**0.5) < 0.05 * bound
    assert not m.in_proj_bias.detach().numpy().any()
    assert not m.out_proj.bias.detach().numpy().any()
    assert m.bias_k.detach().numpy().any()


def test_attention_refuses():
    for args, message in (
        ((10, 3), "embed_dim 10 must be a multiple of num_heads 3"),
        ((0, 1), "embed_dim must be an integer of at least 1"),
        ((8, 2, 1.5), "dropout must be a probability"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.MultiheadAttention(*args)
    m = nn.MultiheadAttention(E, H)
    x, k = pn.zeros(L, N, E), pn.zeros(S, N, E)
    for call, error, message in (
        (
            lambda: m(x, k, x),
            ValueError,
            r"must be \(L, N, 12\), \(S, N, 12\), \(S, N, 12\), got \(5, 3, 12\), \(7, 3, 12\)",
        ),
        (lambda: m(x, k[:, :2], k[:, :2]), ValueError, "MultiheadAttention: query, key and value"),
        (lambda: m(x, k, k, np.zeros((S, N), bool)), ValueError, r"key_padding_mask is \(7, 3\) but must be \(3, 7\)"),
        (lambda: m(x, k, k, attn_mask=np.zeros((N, L, S), bool)), ValueError, r"must be \(5, 7\) or \(12, 5, 7\)"),
        (lambda: m(x, k, k, attn_mask=np.zeros((L, S), np.int64)), TypeError, "attn_mask: the mask is int64"),
    ):
        with pytest.raises(error, match=message):
            call()


# ---- layers and stacks ----

LAYERS = [
    {},
    {"batch_first": True, "activation": "gelu"},
    {"norm_first": True, "bias": False},
    {"batch_first": True, "norm_first": True, "layer_norm_eps": 1e-3},
]


@pytest.mark.parametrize("build", LAYERS, ids=str)
def test_encoder_agrees_with_pytorch(torch, build):
    first = build.get("batch_first", False)
    padding = RNG.random((N, L)) < 0.3
    padding[:, 0] = False
    mask = np.triu(np.ones((L, L), bool), 1)
    ours, theirs = twins(torch, "TransformerEncoderLayer", E, H, 20, 0.0, **build)
    for named in ({}, {"src_mask": mask}, {"src_key_padding_mask": padding}, {"src_mask": mask, "is_causal": True}):
        compare(torch, ours, theirs, [sequence(first, L)], named)
        ours.zero_grad(), theirs.zero_grad()
    stack = torch.nn.TransformerEncoder(
        theirs, 3, torch.nn.LayerNorm(E, dtype=torch.float64), enable_nested_tensor=False
    )
    mine = nn.TransformerEncoder(ours, 3, nn.LayerNorm(E, dtype=np.float64))
    mine.load_state_dict(stack.state_dict())
    compare(torch, mine, stack, [sequence(first, L)], {"src_key_padding_mask": padding, "mask": mask})


@pytest.mark.parametrize("build", LAYERS, ids=str)
def test_decoder_agrees_with_pytorch(torch, build):
    first = build.get("batch_first", False)
    padding = RNG.random((N, S)) < 0.3
    padding[:, 0] = False
    mask = np.triu(np.full((L, L), -np.inf), 1)
    ours, theirs = twins(torch, "TransformerDecoderLayer", E, H, 20, 0.0, **build)
    inputs = [sequence(first, L), sequence(first, S)]
    for named in ({}, {"tgt_mask": mask}, {"memory_key_padding_mask": padding, "memory_mask": normal(L, S) > 1.5}):
        compare(torch, ours, theirs, inputs, named)
        ours.zero_grad(), theirs.zero_grad()
    stack = torch.nn.TransformerDecoder(theirs, 2, torch.nn.LayerNorm(E, dtype=torch.float64))
    mine = nn.TransformerDecoder(ours, 2, nn.LayerNorm(E, dtype=np.float64))
    mine.load_state_dict(stack.state_dict())
    compare(torch, mine, stack, inputs, {"memory_key_padding_mask": padding, "tgt_mask": mask, "tgt_is_causal": True})


@pytest.mark.parametrize("build", LAYERS, ids=str)
def test_transformer_agrees_with_pytorch(torch, build):
    first = build.get("batch_first", False)
    ours, theirs = twins(torch, "Transformer", E, H, 2, 2, 20, 0.0, **build)
    mask = nn.Transformer.generate_square_subsequent_mask(L, np.float64).numpy()
    np.testing.assert_array_equal(mask, torch.nn.Transformer.generate_square_subsequent_mask(L))
    inputs = [sequence(first, S), sequence(first, L)]
    compare(torch, ours, theirs, inputs, {"tgt_mask": mask})
    a = ours(*map(pn.tensor, inputs), tgt_mask=mask)
    b = ours(*map(pn.tensor, inputs), tgt_is_causal=True)
    np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="must have last size 12"):
        ours(pn.zeros(S, N, 5), pn.zeros(L, N, E))
    with pytest.raises(ValueError, match="as many sequences"):
        ours(pn.zeros(S, S, E), pn.zeros(L, L, E))


def test_layers_of_a_stack_start_alike_and_are_their_own():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, H, 20), 2)
    a, b = (layer.linear1.weight for layer in stack.layers)
    np.testing.assert_array_equal(a.detach(), b.detach())
    assert a is not b
    with pytest.raises(ValueError, match="activation must be 'relu', 'gelu' or a function, got 'tan'"):
        nn.TransformerEncoderLayer(E, H, activation="tan")
    assert nn.TransformerEncoderLayer(E, H, activation=pn.tanh).activation is pn.tanh


@pytest.mark.parametrize("norm_first", [False, True])
def test_replay_equals_eager(norm_first):
    padding = np.arange(L) >= np.array([[L], [2], [3]])

    def make():
        model = nn.Transformer(E, H, 1, 2, 20, 0.1, norm_first=norm_first, batch_first=True)
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def step(src, tgt):
            optimizer.zero_grad()
            y = model(src, tgt, src_key_padding_mask=padding, tgt_is_causal=True)
            loss = (y * y * y).mean()
            loss.backward()
            optimizer.step()
            return loss

        return SimpleNamespace(step=step, state=lambda: list(model.parameters()))

    inputs = [(normal(N, L, E).astype(np.float32), normal(N, S, E).astype(np.float32)) for _ in range(4)]
    eager_and_compiled(make, inputs)


# ---- positions ----


@pytest.mark.parametrize("size", [1, 7, 12])
def test_waves(size):
    for first in (False, True):
        m = nn.PositionalEncoding(size, 0.0, 40, first, np.float64)
        assert list(m.state_dict()) == ["pe"]
        assert m.pe.shape == (40, 1, size)
        x = sequence(first, L, size)
        t, i = np.arange(L)[:, None], np.arange(size)
        angle = t / 10000.0 ** ((i - i % 2) / size)
        waves = np.where(i % 2, np.cos(angle), np.sin(angle))
        np.testing.assert_allclose(m(pn.tensor(x)), x + (waves if first else waves[:, None]), atol=1e-12)
        np.testing.assert_allclose(m(pn.zeros(L, size, dtype=np.float64)), waves, atol=1e-12)
        with pytest.raises(ValueError, match=rf"with L at most 40, got \(41, {size}\)"):
            m(pn.zeros(41, size))


def test_learned_positions():
    m = nn.LearnedPositionalEncoding(E, 0.0, 9)
    assert list(m.state_dict()) == ["weight"]
    x = pn.tensor(sequence(False, L).astype(np.float32))
    np.testing.assert_array_equal(m(x).detach(), x.numpy() + m.weight.detach().numpy()[:L, None])
    m(x).sum().backward()
    np.testing.assert_array_equal(m.weight.grad, np.where(np.arange(9)[:, None] < L, float(N), 0.0) * np.ones(E))
    assert abs(m.weight.detach().numpy().std() - 0.02) < 0.006
    with pytest.raises(ValueError, match="LearnedPositionalEncoding: x must be"):
        m(pn.zeros(10, N, E))
