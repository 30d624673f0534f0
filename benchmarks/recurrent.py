"""Recurrent layers and a sequence-to-sequence training: forward, backward and update, beside PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

STEPS, BATCH, HIDDEN = 20, 64, 64


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def weights(layer: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(-0.125, 0.125, tuple(p.shape)).astype(np.float32) for p in layer.parameters()]


def ours(kind: str, features: int, captured: bool) -> Any:
    """Forward and backward of a whole sequence; gives the gradients of the parameters."""
    import pyneural as pn
    from pyneural import nn

    layer = getattr(nn, kind)(features, HIDDEN)
    for p, w in zip(layer.parameters(), weights(layer), strict=True):
        p.data = pn.from_numpy(w)
    parameters = list(layer.parameters())
    x, g = pn.from_numpy(values(STEPS, BATCH, features)), pn.from_numpy(values(STEPS, BATCH, HIDDEN))

    def step(x: Any, g: Any) -> Any:
        return pn.autodiff.gradients(layer(x)[0], parameters, g)

    run = pn.compile(step) if captured else step
    return lambda: list(run(x, g))


def in_torch(kind: str, features: int) -> Any:
    import torch

    layer = getattr(torch.nn, kind)(features, HIDDEN)
    for p, w in zip(layer.parameters(), weights(layer), strict=True):
        p.data = torch.from_numpy(w)
    parameters = list(layer.parameters())
    x, g = torch.from_numpy(values(STEPS, BATCH, features)), torch.from_numpy(values(STEPS, BATCH, HIDDEN))
    return lambda: list(torch.autograd.grad(layer(x)[0], parameters, g))


def epoch_ours() -> Any:
    """An epoch of experiment seq2seq-transliteration's GRU over 10,000 words; gives the mean loss."""
    import pyneural as pn
    from pyneural import models, optim
    from pyneural.data import TextBatches
    from pyneural.experiments import _transliteration as t

    task = t.make_task(10_000, 10, 0)
    pn.manual_seed(0)
    model = models.Seq2Seq(len(task.latin), len(task.arabic), t.EMBEDDING, t.STATE)
    optimizer = optim.Adam(model.parameters(), lr=t.RATE)

    @pn.compile
    def step(source: Any, lengths: Any, target_in: Any, target_out: Any) -> Any:
        optimizer.zero_grad()
        loss = models.sequence_loss(model(source, lengths, target_in), target_out)
        loss.backward()
        optimizer.step()
        return loss

    batches = TextBatches(task.train.sources, task.train.targets, 64, round_to=(14, 8), shuffle=False)
    return lambda: [np.mean([step(*b[:4]).item() for b in batches])]


def epoch_torch() -> Any:
    """The same words, batches, padding, lengths and start by PyTorch's layers; packed, as PyTorch takes lengths."""
    import torch

    import pyneural as pn
    from pyneural import models
    from pyneural.data import TextBatches
    from pyneural.experiments import _transliteration as t

    task = t.make_task(10_000, 10, 0)
    pn.manual_seed(0)
    twin = models.Seq2Seq(len(task.latin), len(task.arabic), t.EMBEDDING, t.STATE)
    tn, pack = torch.nn, torch.nn.utils.rnn.pack_padded_sequence
    parts = {
        "source_embedding": tn.Embedding(len(task.latin), t.EMBEDDING),
        "target_embedding": tn.Embedding(len(task.arabic), t.EMBEDDING),
        "encoder": tn.GRU(t.EMBEDDING, t.STATE),
        "decoder": tn.GRU(t.EMBEDDING, t.STATE),
        "head": tn.Linear(t.STATE, len(task.arabic)),
    }
    model = tn.ModuleDict(parts)
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in twin.state_dict().items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=t.RATE)
    batches = TextBatches(task.train.sources, task.train.targets, 64, round_to=(14, 8), shuffle=False)

    def run() -> list[Any]:
        losses = []
        for b in batches:
            source, lengths, target_in, target_out = (torch.from_numpy(a) for a in b[:4])
            x = pack(parts["source_embedding"](source.T), lengths, enforce_sorted=False)
            y, _ = parts["decoder"](parts["target_embedding"](target_in.T), parts["encoder"](x)[1])
            logits = parts["head"](y.transpose(0, 1)).reshape(-1, len(task.arabic))
            loss = tn.functional.cross_entropy(logits, target_out.reshape(-1), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return [np.mean(losses)]

    return run


@case("recurrent")
def recurrent(quick: bool) -> Iterator[Job]:
    """float32, 20 steps, batch 64, hidden 64: forward, gradients of the parameters; a seq2seq epoch, 10,000 words."""
    for kind, gates in (("GRU", 3), ("LSTM", 4), ("RNN", 1)):
        for features in (16, 64):
            ways = {
                "pyneural": Way(lambda k=kind, f=features: ours(k, f, True)),
                "pyneural eager": Way(lambda k=kind, f=features: ours(k, f, False)),
                "torch": Way(lambda k=kind, f=features: in_torch(k, f)),
            }
            flops = 2.0 * STEPS * BATCH * gates * HIDDEN * (2 * features + 3 * HIDDEN)
            goals = {"torch": 4.0} if kind != "RNN" else {}
            yield Job(f"{kind}, {features} features", ways, flops=flops, goals=goals)
    if not quick:
        ways = {"pyneural": Way(epoch_ours, check=epoch_ours), "torch": Way(epoch_torch, check=epoch_torch)}
        yield Job("seq2seq epoch", ways, step="epoch", goals={"torch": 5.0})
