"""AdversarialTrainer and its networks."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import models, nn, optim


def rows(count: int = 640) -> np.ndarray:
    """A normal distribution that the generator has to find: mean (2, -1), standard deviations 1/2 and 1/4."""
    return (np.random.default_rng(0).standard_normal((count, 2)) * [0.5, 0.25] + [2, -1]).astype(np.float32)


def trainer(**options: Any) -> pn.AdversarialTrainer:
    pn.manual_seed(5)
    g, d = nn.Linear(3, 2), models.dense_discriminator((2,), (16,))
    made = optim.Adam(g.parameters(), 5e-3, (0.5, 0.9)), optim.Adam(d.parameters(), 1e-2, (0.5, 0.9))
    return pn.AdversarialTrainer(g, d, *made, **{"noise": 3, **options})


def weights(t: pn.AdversarialTrainer) -> list[bytes]:
    return [np.asarray(p.detach()).tobytes() for p in t.model.parameters()]


def test_learns_a_distribution():
    t = trainer(average=0.98)
    start = t.sample(2000)
    history = t.fit(rows(2560), epochs=60, batch_size=128, seed=0)
    assert np.abs(start.mean(0) - [2, -1]).max() > 0.5
    made = t.sample(5000)
    np.testing.assert_allclose(made.mean(0), [2, -1], atol=0.15)
    np.testing.assert_allclose(made.std(0), [0.5, 0.25], atol=0.2)
    assert history.epochs == 60
    assert history.steps == 60 * 20
    assert set(history) == {"discriminator_loss", "generator_loss", "real_score", "made_score"}
    assert abs(history["real_score"][-1] - 0.5) < 0.2
    assert abs(history["made_score"][-1] - 0.5) < 0.2
    assert history["discriminator_loss"][-1] == pytest.approx(2 * np.log(2), abs=0.3)


@pytest.mark.parametrize("options", [{}, {"loss": "minimax", "average": 0.9}, {"discriminator_steps": 3},
                                     {"generator_steps": 2}])  # fmt: skip
def test_same_bits_recorded_or_not_and_for_any_threads(options):
    before, found = pn.get_num_threads(), []
    try:
        for threads, compile in ((1, False), (1, True), (7, True)):
            pn.set_num_threads(threads)
            t = trainer(**options)
            history = t.fit(rows(), epochs=3, batch_size=64, seed=1, compile=compile)
            found.append((weights(t), dict(history), t.sample(5).tobytes()))
    finally:
        pn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_steps_are_replayed_and_in_the_ratio_that_is_asked_for():
    t = trainer(discriminator_steps=2, generator_steps=3)
    calls = {"judge": 0, "make": 0}
    judge, make = t.discriminator_loss, t.generator_loss

    def counted(name: str, loss: Any) -> Any:
        def f(*logits: Any) -> Any:
            calls[name] += 1
            return loss(*logits)

        return f

    t.discriminator_loss, t.generator_loss = counted("judge", judge), counted("make", make)
    t.fit(rows(), epochs=2, batch_size=64, compile=False)
    assert calls == {"judge": 20, "make": 30}
    t = trainer(discriminator_steps=2, generator_steps=3)
    t.fit(rows(), epochs=4, batch_size=64)
    assert {name: len(c.programs) for name, c in t._compiled.items()} == {"discriminator": 1, "generator": 1}
    assert t._compiled["discriminator"].programs[0].replays >= 36  # of 40; the first ones are recorded
    assert t._compiled["generator"].programs[0].replays >= 56  # of 60


def test_a_step_is_the_one_that_is_written_down():
    """One step of each player beside the same by hand, with the same noise."""
    t, by_hand = trainer(), trainer()
    x = rows(64)
    pn.manual_seed(9)
    t.fit(x, epochs=1, batch_size=64, shuffle=False, compile=False)
    pn.manual_seed(9)
    g, d, criterion = by_hand.generator, by_hand.discriminator, nn.BCEWithLogitsLoss()

    def step(optimizer: Any, loss: Any) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    real, ones, zeros = d(pn.tensor(x)), pn.ones(64, 1), pn.zeros(64, 1)
    step(by_hand.discriminator_optimizer, criterion(real, ones) + criterion(d(g(pn.randn(64, 3)).detach()), zeros))
    step(by_hand.generator_optimizer, criterion(d(g(pn.randn(64, 3))), ones))
    for a, b in zip(t.model.parameters(), by_hand.model.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_minimax_and_own_losses():
    real, made = pn.tensor([[0.3], [-2.0]]), pn.tensor([[1.5], [-0.5]])
    s = 1 / (1 + np.exp(-made.numpy().astype(np.float64)))
    t = trainer(loss="minimax")
    assert t.generator_loss(made).item() == pytest.approx(np.log(1 - s).mean(), rel=1e-6)
    assert trainer().generator_loss(made).item() == pytest.approx(-np.log(s).mean(), rel=1e-6)
    expected = np.log1p(np.exp(-real.numpy())).mean() - np.log(1 - s).mean()
    assert t.discriminator_loss(real, made).item() == pytest.approx(expected, rel=1e-6)
    hinge = trainer(loss=(lambda a, b: pn.relu(1 - a).mean() + pn.relu(1 + b).mean(), lambda b: -b.mean()))
    hinge.fit(rows(), epochs=1)
    assert np.isfinite(hinge.history["generator_loss"]).all()


def test_callbacks_progress_and_stopping(capsys):
    seen: list[Any] = []

    class Listener(pn.Callback):
        def on_train_begin(self, trainer):
            seen.append("begin")

        def on_batch_end(self, trainer, step, loss):
            seen.append(step)
            assert np.isfinite(loss)

        def on_epoch_end(self, trainer, epoch, logs):
            logs["extra"] = epoch
            trainer.stopping = epoch == 1

        def on_train_end(self, trainer):
            seen.append("end")

    t = trainer()
    history = t.fit(rows(128), epochs=5, batch_size=64, callbacks=[Listener(), lambda t, epoch, logs: seen.append("f")],
                    progress=True)  # fmt: skip
    assert seen == ["begin", 0, 1, "f", 2, 3, "f", "end"]
    assert history["extra"] == [0, 1]
    assert "discriminator_loss" in capsys.readouterr().err
    stop = pn.EarlyStopping("generator_loss", patience=1, min_delta=1e9)
    assert t.fit(rows(128), epochs=5, callbacks=[stop]).epochs == 2


def test_modes_and_frozen_parameters_are_given_back():
    t = trainer()
    t.discriminator.eval()
    t.discriminator[0].weight.requires_grad_(False)
    before = t.discriminator[0].weight.numpy().copy()
    t.fit(rows(128), epochs=1)
    assert not t.discriminator.training
    assert t.generator.training
    assert not t.discriminator[0].weight.requires_grad
    assert t.discriminator[0].bias.requires_grad
    np.testing.assert_array_equal(t.discriminator[0].weight.numpy(), before)


def test_a_loss_that_is_not_finite_stops_the_training_before_the_step():
    for compile in (False, True):
        t = trainer()
        x = rows(640)
        x[600:] = np.nan
        with pytest.raises(pn.training.NonFiniteLoss, match=r"discriminator's loss is not finite in step 9 \(epoch 0"):
            t.fit(x, epochs=1, batch_size=64, shuffle=False, compile=compile)
        assert all(np.isfinite(np.asarray(p.detach())).all() for p in t.model.parameters())
        assert t.history.steps == 9
        t.fit(x, epochs=1, batch_size=64, shuffle=False, compile=compile, on_nan="ignore")


def test_steps_that_cannot_be_recorded_run_eagerly():
    class Reading(nn.Linear):
        def forward(self, x):
            assert float(x.sum()) is not None  # reads a value
            return super().forward(x)

    g, d = nn.Linear(3, 2), Reading(2, 1)
    t = pn.AdversarialTrainer(g, d, optim.SGD(g.parameters(), 0.1), optim.SGD(d.parameters(), 0.1), 3)
    with pytest.warns(RuntimeWarning, match="run eagerly, for the discriminator's cannot be recorded") as caught:
        t.fit(rows(256), epochs=2, batch_size=64, seed=0)
    assert [w.filename for w in caught] == [__file__]
    assert t.history.steps == 8


def test_bad_arguments_are_refused():
    g, d = nn.Linear(3, 2), nn.Linear(2, 1)
    og, od = optim.SGD(g.parameters(), 0.1), optim.SGD(d.parameters(), 0.1)
    for arguments, options, exception, message in (
        ((g, d, od, og, 3), {}, ValueError, "generator_optimizer must hold parameters of the generator alone"),
        ((g, d, og, og, 3), {}, ValueError, "discriminator_optimizer must hold parameters of the discriminator alone"),
        ((g, 3, og, od, 3), {}, TypeError, "discriminator must be a Module, got int"),
        ((g, d, og, 3, 3), {}, TypeError, "must be an Optimizer"),
        ((g, d, og, od, 0), {}, ValueError, "noise must be a size of at least 1"),
        ((g, d, og, od, 3), {"loss": "hinge"}, ValueError, "unknown loss 'hinge'; known are non_saturating, minimax"),
        ((g, d, og, od, 3), {"loss": (1, 2)}, TypeError, "loss must be a name or two functions"),
        ((g, d, og, od, 3), {"discriminator_steps": 0}, ValueError, "discriminator_steps must be an integer"),
        ((g, d, og, od, 3), {"average": 1.0}, ValueError, "average must be at least 0 and below 1"),
    ):
        with pytest.raises(exception, match=message):
            pn.AdversarialTrainer(*arguments, **options)
    t = pn.AdversarialTrainer(g, d, og, od, 3)
    with pytest.raises(ValueError, match="on_nan must be"):
        t.fit(rows(), on_nan="warn")
    with pytest.raises(ValueError, match="batch_size is 64 and x has 10 rows"):
        t.fit(rows(10))
    with pytest.raises(ValueError, match="count must be at least 0"):
        t.sample(-1)
    assert t.sample(0).shape == (0, 2)
    assert t.sample(7, batch_size=3).shape == (7, 2)


def test_a_training_goes_on_from_its_state_to_the_same_bits(tmp_path):
    whole = trainer(average=0.9)
    whole.fit(rows(), epochs=2, seed=3)
    pn.save({"trainer": whole.state_dict(), "rng": pn.get_rng_state()}, tmp_path / "state.safetensors")
    whole.fit(rows(), epochs=2)
    resumed = trainer(average=0.9)
    state = pn.load(tmp_path / "state.safetensors")
    resumed.load_state_dict(state["trainer"])
    pn.set_rng_state(state["rng"])
    resumed.fit(rows(), epochs=2)
    assert weights(resumed) == weights(whole)
    samples = []
    for t in (whole, resumed):
        pn.manual_seed(0)
        samples.append(t.sample(4).tobytes())
    assert samples[0] == samples[1]
    with pytest.raises(ValueError, match=r"the state has averaged, .* wanted are discriminator, "):
        trainer().load_state_dict(state["trainer"])


class Quit(pn.Callback):
    """Presses Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer, step, loss):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def outcome(t: pn.AdversarialTrainer) -> tuple[Any, ...]:
    return weights(t), {k: list(v) for k, v in t.history.items()}, t.history.steps, t.history.lr, t.sample(4).tobytes()


@pytest.mark.parametrize("options", [{"average": 0.9}, {"discriminator_steps": 3}, {"generator_steps": 2}])
def test_interrupted_anywhere_and_resumed_it_has_the_same_bits(options, tmp_path):
    """Steps 0, 7 and 14 lie at an end of an epoch of 5 steps or within one, and within a round of three steps."""
    path, given = tmp_path / "c.safetensors", {"epochs": 3, "batch_size": 128, "seed": 3, "on_nan": "ignore"}
    whole = trainer(**options)
    whole.fit(rows(), **given)
    expected = outcome(whole)
    for compile in (True, False):
        for k in (0, 2, 4, 7, 13, 14):
            first = trainer(**options)
            first.fit(rows(), **given, callbacks=[Quit(k)], checkpoint=path, compile=compile)
            assert (first.history.interrupted, first.history.steps) == (True, k + 1)
            second = trainer(**options)
            pn.rand(7)  # where the generator stands does not matter
            second.fit(rows(), **given, checkpoint=path, resume=True, compile=compile)
            assert outcome(second) == expected, f"after step {k}"
    saved = pn.load(path)
    second.generator.load_state_dict(saved["generator"])
    second.load_state_dict({name: saved[name] for name in second.state_dict()})
    assert weights(second) == expected[0]


def test_a_checkpoint_of_another_training_changes_nothing(tmp_path):
    path = tmp_path / "c.safetensors"
    trainer(average=0.5).fit(rows(), epochs=1, batch_size=128, checkpoint=path)
    model = nn.Sequential(nn.Linear(2, 2))
    pn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1)).fit(
        rows(), epochs=1, checkpoint=path.with_name("t")
    )
    for options, file, message in (
        ({"average": 0.5}, "t", "it lacks 'generator'"),
        ({"average": 0.5, "generator_steps": 2}, "c.safetensors",
         "generator steps was 1, here it is 2. To train on .*: generator.load_state_dict"),
        ({"average": 0.5, "discriminator_steps": 2}, "c.safetensors", "discriminator steps was 1, here it is 2"),
        ({"average": 0.5, "noise": 4}, "c.safetensors", r"the generator: 'weight' is float32 \(2, 3\), here float32"),
    ):  # fmt: skip
        t = trainer(average=0.5)
        if "noise" in options:
            t.generator.weight, t.noise = nn.Parameter(pn.ones(2, 4)), 4
            t = pn.AdversarialTrainer(t.generator, t.discriminator, optim.Adam(t.generator.parameters()),
                                      t.discriminator_optimizer, 4, average=0.5)  # fmt: skip
        else:
            t = trainer(**options)
        before, state = weights(t), pn.get_rng_state().tolist()
        with pytest.raises(ValueError, match=f"does not fit this training: {message}"):
            t.fit(rows(), epochs=1, batch_size=128, resume=path.with_name(file))
        assert (weights(t), pn.get_rng_state().tolist()) == (before, state)


# ---- networks ----


def test_networks_have_the_shapes_that_they_say():
    for g in (models.dense_generator(5, (1, 28, 28)), models.conv_generator(5),
              models.dense_generator(5, (1, 28, 28), (8,), "tanh", "tanh", norm=True)):  # fmt: skip
        y = g(pn.randn(4, 5))
        assert y.shape == (4, 1, 28, 28)
    assert models.dense_generator(5, (6,), ())(pn.randn(2, 5)).shape == (2, 6)
    assert models.conv_generator(5, (3, 16, 8), (16, 8, 4))(pn.randn(2, 5)).shape == (2, 3, 16, 8)
    x = pn.rand(4, 1, 28, 28)
    for d in (models.dense_discriminator((1, 28, 28), dropout=0.1), models.conv_discriminator()):
        assert d(x).shape == (4, 1)
    assert models.conv_discriminator((3, 16, 8), (4, 8, 16))(pn.rand(2, 3, 16, 8)).shape == (2, 1)
    inside = np.asarray(models.conv_generator(5)(pn.randn(4, 5)).detach())
    assert inside.min() > 0
    assert inside.max() < 1
    assert np.asarray(models.conv_generator(5)[0].weight.detach()).std() == pytest.approx(0.02, rel=0.05)
    for bad in (lambda: models.conv_generator(5, (1, 30, 28)), lambda: models.conv_discriminator((28, 28)),
                lambda: models.dense_generator(0, (2,))):  # fmt: skip
        with pytest.raises(ValueError, match=r"multiples of 4|integers above 0"):
            bad()


def test_convolutional_networks_are_trained_with_the_same_bits():
    x = np.random.default_rng(0).random((64, 1, 8, 8)).astype(np.float32)
    found = []
    for compile in (False, True):
        pn.manual_seed(0)
        g, d = models.conv_generator(4, (1, 8, 8), (8, 4)), models.conv_discriminator((1, 8, 8), (4, 8))
        t = pn.AdversarialTrainer(g, d, optim.Adam(g.parameters(), 2e-3), optim.Adam(d.parameters(), 2e-3), 4,
                                  average=0.9)  # fmt: skip
        t.fit(x, epochs=5, batch_size=16, seed=0, compile=compile)
        found.append((weights(t), t.sample(3).tobytes(), [b.numpy().tobytes() for b in t.model.buffers()]))
    assert found[0] == found[1]
