"""Recurrent layers and cells: PyTorch's results, sequences of different lengths, captured steps, equal bits."""

import itertools

import numpy as np
import pytest
from capturing import assert_same, bits, eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.autodiff import gradcheck
from pyneural.nn.utils import rnn as packing

KINDS = ("RNN", "GRU", "LSTM")
SETTINGS = [
    {},
    {"bias": False},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "bias": False, "bidirectional": True},
]
CASES = [
    *[(kind, s) for kind, s in itertools.product(KINDS, SETTINGS)],
    *[("RNN", s | {"nonlinearity": "relu"}) for s in SETTINGS[:4]],
    *[("LSTM", s | {"proj_size": 3}) for s in SETTINGS],
]


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def pair(kind, settings, torch, features=4, hidden=6):
    """The same layer in both libraries, in float64."""
    theirs = getattr(torch.nn, kind)(features, hidden, **settings).double()
    ours = getattr(nn, kind)(features, hidden, **settings, dtype=np.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert str(ours) == str(theirs)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def states(ours, batch, seed=5):
    rows = ours.num_layers * (1 + ours.bidirectional)
    h = normal(seed, rows, batch, ours.proj_size or ours.hidden_size)
    return (h, normal(seed + 1, rows, batch, ours.hidden_size)) if isinstance(ours, nn.LSTM) else h


def tensors(tree, make):
    return tuple(tensors(t, make) for t in tree) if isinstance(tree, tuple) else make(tree)


def flat(tree):
    return [x for t in tree for x in flat(t)] if isinstance(tree, tuple) else [np.asarray(tree.detach())]


def compare(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def total(tree, weight):
    return sum(total(t, weight) for t in tree) if isinstance(tree, tuple) else (tree * tree * weight).sum()


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "hx"])
@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (7, None)], ids=str)
def test_results_and_gradients_are_pytorchs(kind, settings, given, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = pair(kind, settings, torch)
    steps, batch = shape
    x = normal(1, steps, 4) if batch is None else normal(1, steps, batch, 4)
    hx = states(ours, batch or 1) if given else None
    if batch is None:
        hx = None if hx is None else tensors(hx, lambda s: s[:, 0])
    elif settings.get("batch_first"):
        x = x.swapaxes(0, 1).copy()
    ox, tx = pn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    oh = None if hx is None else tensors(hx, lambda s: pn.tensor(s, requires_grad=True))
    th = None if hx is None else tensors(hx, lambda s: torch.tensor(s, requires_grad=True))
    a, b = ours(ox, oh), theirs(tx, th)
    compare(a, b)
    total(a, 0.5).backward()
    total(b, 0.5).backward()
    compare(ox.grad, tx.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        compare(p.grad, q.grad)
    if hx is not None:
        for s, t in zip(oh if isinstance(oh, tuple) else [oh], th if isinstance(th, tuple) else [th], strict=True):
            compare(s.grad, t.grad)


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
@pytest.mark.parametrize("lengths", [(5, 4, 4, 1), (2, 5, 1, 4)], ids=str)
def test_packed_sequences_are_pytorchs(kind, settings, lengths):
    torch = pytest.importorskip("torch")
    ours, theirs = pair(kind, settings, torch)
    first = settings.get("batch_first", False)
    x = normal(1, 4, 5, 4) if first else normal(1, 5, 4, 4)
    hx = states(ours, 4)
    for enforce in (True, False) if lengths[0] == 5 else (False,):
        ox, tx = pn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        op = packing.pack_padded_sequence(ox, lengths, first, enforce)
        tp = torch.nn.utils.rnn.pack_padded_sequence(tx, torch.tensor(lengths), first, enforce)
        for a, b in zip(op, tp, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        (oy, oh), (ty, th) = ours(op, tensors(hx, pn.tensor)), theirs(tp, tensors(hx, torch.tensor))
        compare(oh, th)
        compare(oy.data, ty.data)
        opad, olen = packing.pad_packed_sequence(oy, first, padding_value=-1.0, total_length=6)
        tpad, tlen = torch.nn.utils.rnn.pad_packed_sequence(ty, first, padding_value=-1.0, total_length=6)
        compare(opad, tpad)
        assert olen.tolist() == tlen.tolist() == list(lengths)
        (total(oh, 1.0) + total(oy.data, 1.0)).backward()
        (total(th, 1.0) + total(ty.data, 1.0)).backward()
        compare(ox.grad, tx.grad)


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
def test_lengths_give_the_loss_of_the_unpadded_sequences(kind, settings):
    pn.manual_seed(0)
    layer = getattr(nn, kind)(4, 6, **settings, dtype=np.float64)
    first, lengths = settings.get("batch_first", False), [3, 5, 1, 4]
    x = normal(1, 4, 5, 4)
    hx = tensors(states(layer, 4), pn.tensor)

    def loss(value):
        y, h = value
        return total(h, 1.0) + total(y, 1.0)

    padded = pn.tensor(x if first else x.swapaxes(0, 1).copy(), requires_grad=True)
    whole = loss(layer(padded, hx, lengths))
    whole.backward()
    masked = [p.grad.numpy().copy() for p in layer.parameters()]
    layer.zero_grad()
    alone = 0.0
    for i, n in enumerate(lengths):
        own = pn.tensor(x[i : i + 1, :n] if first else x[i : i + 1, :n].swapaxes(0, 1).copy())
        value = loss(layer(own, tensors(hx, lambda s, i=i: s[:, i : i + 1])))
        value.backward()
        alone += value.item()
    assert abs(whole.item() - alone) < 1e-12 * abs(alone)
    for a, p in zip(masked, layer.parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-10, atol=1e-12)
    behind = padded.grad.numpy() if first else padded.grad.numpy().swapaxes(0, 1)
    for i, n in enumerate(lengths):
        assert not behind[i, n:].any()
        assert behind[i, :n].any(-1).all() or "nonlinearity" in settings  # all units of a relu can be off
    y, _ = layer(padded, hx, lengths)
    packed, _ = layer(packing.pack_padded_sequence(padded, lengths, first, enforce_sorted=False), hx)
    compare(packing.pad_packed_sequence(packed, first)[0], y)


CELLS = [
    *[(k, {}) for k in KINDS],
    ("LSTM", {"bias": False}),
    ("RNN", {"nonlinearity": "relu"}),
    ("GRU", {"bias": False}),
]


@pytest.mark.parametrize(("kind", "settings"), CELLS)
def test_cells_are_pytorchs_and_step_as_the_layers(kind, settings):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, kind + "Cell")(4, 6, **settings).double()
    ours = getattr(nn, kind + "Cell")(4, 6, **settings, dtype=np.float64)
    assert str(ours) == str(theirs)
    ours.load_state_dict(theirs.state_dict())
    x, h = normal(1, 3, 4), normal(2, 3, 6)
    hx = (h, normal(3, 3, 6)) if kind == "LSTM" else h
    compare(ours(pn.tensor(x)), theirs(torch.tensor(x)))
    compare(ours(pn.tensor(x), tensors(hx, pn.tensor)), theirs(torch.tensor(x), tensors(hx, torch.tensor)))
    compare(ours(pn.tensor(x[0])), theirs(torch.tensor(x[0])))
    compare(ours(pn.tensor(x[0]), tensors(hx, lambda s: pn.tensor(s[0]))),
            theirs(torch.tensor(x[0]), tensors(hx, lambda s: torch.tensor(s[0]))))  # fmt: skip
    layer = getattr(nn, kind)(4, 6, **settings, dtype=np.float64)
    layer.load_state_dict({f"{k}_l0": v for k, v in ours.state_dict().items()})
    sequence = pn.tensor(normal(4, 7, 3, 4))
    states_of, state = [], None
    for step in sequence:
        state = ours(step, state)
        states_of.append(state[0] if kind == "LSTM" else state)
    y, _ = layer(sequence)
    assert np.array_equal(np.stack([s.detach().numpy() for s in states_of]), y.detach().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_carried_across_calls_with_the_same_bits(kind):
    layer = getattr(nn, kind)(4, 6, num_layers=2)
    x = pn.tensor(normal(1, 9, 3, 4).astype(np.float32))
    whole, last = layer(x)
    head, carried = layer(x[:4])
    tail, end = layer(x[4:], carried)
    assert np.array_equal(pn.cat([head, tail]).detach().numpy(), whole.detach().numpy())
    assert_same(bits(end), bits(last))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_any_number_of_threads(kind, dtype):
    pn.manual_seed(1)
    layer = getattr(nn, kind)(24, 40, num_layers=2, bidirectional=True, dtype=dtype)
    x = normal(1, 6, 70, 24).astype(dtype)
    lengths = np.arange(70) % 6 + 1
    found = []
    for threads in (1, 2, 5):
        pn.set_num_threads(threads)
        layer.zero_grad()
        y, h = layer(pn.tensor(x), None, lengths)
        (total(y, 1.0) + total(h, 1.0)).backward()
        found.append([bits(y), bits(h), *[bits(p.grad) for p in layer.parameters()]])
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_between_layers_and_only_in_training(kind):
    layer = getattr(nn, kind)(3, 50, num_layers=2, dropout=0.5)
    x = pn.tensor(normal(1, 4, 2, 3).astype(np.float32))
    a, b = layer(x)[0], layer(x)[0]
    assert not np.array_equal(a.detach().numpy(), b.detach().numpy())
    layer.eval()
    a, b = layer(x)[0], layer(x)[0]
    assert np.array_equal(a.detach().numpy(), b.detach().numpy())
    sure = getattr(nn, kind)(3, 50, num_layers=2, dropout=1.0)  # the second layer sees zeros
    y, _ = sure(x)
    assert np.array_equal(y[:, 0].detach().numpy(), y[:, 1].detach().numpy())
    with pytest.warns(UserWarning, match="between layers"):
        getattr(nn, kind)(3, 4, dropout=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_captured_training_has_the_eager_bits(kind):
    def make():
        layer, head = getattr(nn, kind)(4, 8, num_layers=2, dropout=0.3, bidirectional=True), nn.Linear(16, 2)
        optimizer = optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)

        class World:
            @staticmethod
            def step(x, lengths, y):
                optimizer.zero_grad()
                out, _ = layer(x, None, lengths)
                loss = F.mse_loss(head(out), y)
                loss.backward()
                nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
                optimizer.step()
                return loss

            @staticmethod
            def state():
                return [*layer.parameters(), *[t for s in optimizer.state.values() for t in s.values()]]

        return World

    inputs = [(normal(k, 5, 3, 4).astype(np.float32), np.random.default_rng(k).integers(1, 6, 3),
               normal(k + 50, 5, 3, 2).astype(np.float32)) for k in range(7)]  # fmt: skip
    compiled = eager_and_compiled(make, inputs)
    assert len(compiled.programs) == 1
    with pytest.raises(
        ValueError, match=r"lengths must be 3 integers, one for each sequence, got int64 of shape \(2,\)"
    ):
        packing.pack_padded_sequence(pn.ones(5, 3, 2), [5, 4])
    with pytest.raises(ValueError, match="length 0 of sequence 2"):
        compiled(inputs[0][0], np.array([5, 1, 0]), inputs[0][2])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_time_and_second_derivatives(kind):
    pn.manual_seed(2)
    layer = getattr(nn, kind)(2, 3, bidirectional=True, dtype=np.float64)
    gradcheck(lambda x: layer(x, None, [4, 2])[0], [normal(1, 4, 2, 2)])
    x, v = pn.tensor(normal(2, 3, 2, 2)), normal(3, 3, 2, 2)

    def slope(x):
        return pn.autodiff.gradients((layer(x)[0] ** 3).sum(), x, create_graph=True)[0]

    moved = [np.asarray(slope(pn.tensor(x.numpy() + s * 1e-6 * v, requires_grad=True)).detach()) for s in (1, -1)]
    x.requires_grad = True
    (second,) = pn.autodiff.gradients((slope(x) * v).sum(), x)
    np.testing.assert_allclose(second.numpy(), (moved[0] - moved[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_third_derivatives():
    pn.manual_seed(3)
    cell = nn.GRU(1, 2, dtype=np.float64)

    def f(x):
        return (cell(x.reshape(3, 1, 1))[0] ** 2).sum()

    def second(x):
        (g,) = pn.autodiff.gradients(f(x), x, create_graph=True)
        return pn.autodiff.gradients(g[0], x, create_graph=True)[0][1]

    x, v = normal(1, 3), normal(2, 3)
    ends = [second(pn.tensor(x + s * 1e-6 * v, requires_grad=True)).item() for s in (1, -1)]
    t = pn.tensor(x, requires_grad=True)
    (third,) = pn.autodiff.gradients(second(t), t)
    assert (third.numpy() * v).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_pad_and_unpad():
    rows = [pn.tensor(normal(k, n, 2)) for k, n in enumerate((2, 4, 1))]
    padded = packing.pad_sequence(rows, batch_first=True, padding_value=9.0)
    assert padded.shape == (3, 4, 2)
    assert (padded[2, 1:].numpy() == 9).all()
    left = packing.pad_sequence(rows, padding_side="left")
    np.testing.assert_array_equal(left[-1].numpy(), [r.numpy()[-1] for r in rows])
    for a, b in zip(packing.unpack_sequence(packing.pack_sequence(rows, enforce_sorted=False)), rows, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert packing.invert_permutation([2, 0, 1]).tolist() == [1, 2, 0]
    assert packing.invert_permutation(None) is None
    assert packing.pack_sequence(rows[1:]).to(np.float32).data.dtype == np.float32
    assert packing.pack_sequence([pn.tensor([1, 2]), pn.tensor([3])]).data.tolist() == [1, 3, 2]


def refused(make, pattern, error=ValueError):
    with pytest.raises(error, match=pattern):
        make()


def test_what_is_refused():
    gru, lstm = nn.GRU(4, 6, num_layers=2, bidirectional=True), nn.LSTM(4, 6, proj_size=2)
    x = pn.zeros(5, 3, 4)
    refused(lambda: gru(pn.zeros(0, 3, 4)), "length 0")
    refused(lambda: gru(x, None, [5, 0, 1]), "length 0 of sequence 1")
    refused(lambda: gru(x, None, [6, 1, 1]), "length 6 of sequence 0")
    refused(lambda: gru(x, None, [1, 1]), r"lengths is \(2,\) but must be \(3,\)")
    refused(lambda: gru(x, None, [1.0, 1.0, 2.0]), "lengths is float32 but must be int64", TypeError)
    refused(lambda: gru(pn.zeros(5, 4), None, [5]), "for batches")
    refused(lambda: gru(pn.zeros(5, 3, 5)), "GRU: input has 5 features but input_size is 4")
    refused(lambda: gru(pn.zeros(4)), r"shape is \(4,\)")
    refused(lambda: gru(x, pn.zeros(2, 3, 6)), r"GRU: hx is \(2, 3, 6\) but must be \(4, 3, 6\)")
    refused(lambda: gru(x, pn.zeros(4, 3, 6, dtype=np.float64)), "h is float64 but must be float32", TypeError)
    refused(lambda: lstm(x, pn.zeros(1, 3, 6)), "pair")
    refused(lambda: lstm(x, (pn.zeros(1, 3, 2), pn.zeros(1, 3, 2))), r"c_0 is \(1, 3, 2\) but must be \(1, 3, 6\)")
    packed = packing.pack_padded_sequence(x, [5, 2, 1])
    refused(lambda: gru(packed, None, [1]), "lengths of its own")
    refused(lambda: packing.pack_padded_sequence(x, [1, 2, 3]), "enforce_sorted=False")
    refused(lambda: packing.pack_padded_sequence(x, [3, 2, 0]), "length 0 of sequence 2")
    refused(lambda: packing.pack_padded_sequence(x, [9, 2, 1]), "at most 5")
    refused(lambda: packing.pack_padded_sequence(pn.zeros(3), [1]), "steps and batch")
    refused(lambda: packing.pack_padded_sequence(pn.zeros(3, 0, 2), np.zeros(0, int)), "no sequences")
    refused(lambda: packing.pad_packed_sequence(packed, total_length=4), "total_length is 4")
    refused(lambda: packing.pad_sequence([]), "at least one")
    refused(lambda: packing.pad_sequence([pn.zeros(2, 3), pn.zeros(2, 4)]), "equal but for")
    refused(lambda: packing.pad_sequence([pn.zeros(2)], padding_side="up"), "'up'")
    for make, pattern in ((lambda: nn.GRU(0, 3), "input_size"), (lambda: nn.GRU(3, 3, num_layers=0), "num_layers"),
                          (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size is 4 but must be smaller"),
                          (lambda: nn.RNN(3, 4, nonlinearity="sin"), "'sin'"),
                          (lambda: nn.RNNCell(3, 4, nonlinearity="sin"), "'sin'"),
                          (lambda: nn.GRU(3, 4, 2, dropout=1.5), "dropout")):  # fmt: skip
        refused(make, pattern)
    refused(lambda: nn.GRUCell(3, 4)(pn.zeros(2, 5)), "input must be")
    refused(lambda: nn.GRUCell(3, 4)(pn.zeros(2, 3), pn.zeros(2, 5)), r"hx is \(2, 5\) but must be \(2, 4\)")


def test_an_empty_batch():
    y, (h, c) = nn.LSTM(3, 4)(pn.zeros(5, 0, 3))
    assert (y.shape, h.shape, c.shape) == ((5, 0, 4), (1, 0, 4), (1, 0, 4))
