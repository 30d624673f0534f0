"""Trainer: what fit, evaluate and predict do, and what happens when something goes wrong."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.callbacks import Schedule
from pyneural.training import NonFiniteLoss, accuracy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)


def _trainer(seed=0, dropout=0.0, lr=0.05, dtype=None, metrics=None):
    pn.manual_seed(seed)
    layers = [nn.Linear(6, 16, dtype=dtype), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3, dtype=dtype)]
    m = nn.Sequential(*layers)
    return pn.Trainer(m, nn.CrossEntropyLoss(), optim.SGD(m.parameters(), lr=lr, momentum=0.9), metrics)


def _weights(trainer):
    return np.concatenate([np.asarray(p.detach()).ravel() for p in trainer.model.parameters()])


def test_fit_is_the_loop_written_by_hand():
    t = _trainer()
    h = t.fit(X, Y, epochs=2, batch_size=64, shuffle=False)
    m = _trainer().model
    o = optim.SGD(m.parameters(), lr=0.05, momentum=0.9)
    expected = []
    for _ in range(2):
        total = 0.0
        for at in range(0, 200, 64):
            x, y = pn.tensor(X[at : at + 64]), pn.tensor(Y[at : at + 64])
            o.zero_grad()
            loss = F.cross_entropy(m(x), y)
            loss.backward()
            o.step()
            total += loss.item() * len(x)
        expected.append(total / 200)
    assert h["loss"] == expected
    np.testing.assert_array_equal(_weights(t), np.concatenate([np.asarray(p.detach()).ravel() for p in m.parameters()]))
    assert h.steps == 8
    assert h.epochs == len(h.seconds) == 2
    assert h.lr == [0.05, 0.05]
    assert not h.interrupted
    assert t.history is h


def test_training_learns_and_measures():
    t = _trainer(metrics=["accuracy"])
    h = t.fit(X, Y, epochs=20, batch_size=32, validation=(X, Y), seed=1)
    assert list(h) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert h["accuracy"][-1] > 0.9 > h["accuracy"][0]
    found = t.evaluate(X, Y)
    assert found["accuracy"] == h["val_accuracy"][-1]
    assert found["loss"] == pytest.approx(h["val_loss"][-1], rel=1e-6)
    out = t.predict(X, batch_size=33)
    assert isinstance(out, np.ndarray)
    assert np.mean(out.argmax(1) == Y) == pytest.approx(found["accuracy"])
    with pytest.raises(KeyError, match="'f1'; recorded were 'loss'"):
        h["f1"]
    assert repr(h).startswith("History(20 epochs; loss=")


def test_same_seed_same_bits_for_any_number_of_threads():
    threads = pn.get_num_threads()
    runs = []
    try:
        for count in (1, 2, 7):
            pn.set_num_threads(count)
            t = _trainer(dropout=0.3)
            h = t.fit(X, Y, epochs=3, batch_size=50, seed=5)
            runs.append((h["loss"], _weights(t).tobytes()))
    finally:
        pn.set_num_threads(threads)
    assert runs[0] == runs[1] == runs[2]
    other = _trainer(dropout=0.3)
    assert other.fit(X, Y, epochs=3, batch_size=50, seed=6)["loss"] != runs[0][0]


def test_arrays_tensors_and_dtypes():
    losses = []
    for x, y in (
        (X, Y),
        (pn.tensor(X), pn.tensor(Y)),
        (X.astype(np.float64), Y.astype(np.uint8)),
        (X.tolist(), list(Y)),
    ):
        losses.append(_trainer().fit(x, y, epochs=1, seed=0)["loss"])
    assert losses[0] == losses[1] == losses[2] == losses[3]
    t = _trainer(dtype=np.float64)
    t.fit(X, Y, epochs=1)
    assert t.predict(X).dtype == np.float64


def test_bytes_are_scaled_per_batch_and_an_autoencoder_needs_no_targets():
    images = RNG.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 16), nn.Unflatten(1, (4, 4)))

        def forward(self, x):
            seen.append((x.dtype, float(np.asarray(x).max())))
            return self.inner(x)

    m = Net()
    t = pn.Trainer(m, nn.MSELoss(), optim.Adam(m.parameters(), lr=1e-2))
    # The net looks at values, which a captured step cannot.
    h = t.fit(images, epochs=15, batch_size=20, validation=images[:10], seed=0, compile=False)
    assert h["val_loss"][-1] < h["val_loss"][0]
    assert all(dtype == np.float32 and top <= 1 for dtype, top in seen)
    assert t.predict(images).shape == (60, 4, 4)
    assert t.evaluate(images)["loss"] == pytest.approx(np.mean((t.predict(images) - images / 255) ** 2), rel=1e-5)


def test_validation_by_share_and_by_dataset():
    h = _trainer().fit(X, Y, epochs=1, validation=0.25, batch_size=50, seed=0)
    assert h.steps == 3
    assert "val_loss" in h
    h = _trainer().fit(X, None, epochs=0, validation=0.5)
    assert h.epochs == 0
    images = RNG.integers(0, 256, (40, 2, 2), dtype=np.uint8)
    made = pn.data.Dataset(images, (images[:, 0, 0] > 127).astype(np.uint8), ("dark", "bright"), "made", "here")
    m = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    t = pn.Trainer(m, nn.CrossEntropyLoss(), optim.Adam(m.parameters(), lr=0.1), {"share": "accuracy"})
    h = t.fit(made, epochs=20, validation=made, seed=0)
    assert h["val_share"][-1] > 0.9
    assert t.predict(made).shape == (40, 2)
    assert t.evaluate(made)["share"] == h["val_share"][-1]
    with pytest.raises(ValueError, match="brings its own labels"):
        t.fit(made, made.labels)
    with pytest.raises(ValueError, match="validation has no targets"):
        _trainer().fit(X, Y, validation=X)
    with pytest.raises(ValueError, match="got 3 entries"):
        _trainer().fit(X, Y, validation=(X, Y, Y))


def test_modes_are_given_back():
    t = _trainer(dropout=0.5)
    t.model.eval()
    t.fit(X, Y, epochs=1)
    assert not t.model.training
    t.model.train()
    t.model[2].eval()
    np.testing.assert_array_equal(t.predict(X), t.predict(X))
    assert t.model.training
    assert not t.model[2].training


def test_accuracy():
    scores = pn.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert accuracy(scores, pn.tensor([1, 1, 1])).item() == pytest.approx(2 / 3)
    assert accuracy(scores, pn.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])).item() == pytest.approx(2 / 3)
    assert accuracy(pn.tensor([[1.5], [-2.0]]), pn.tensor([1, 1])) == 0.5
    assert accuracy(pn.tensor([1.5, -2.0]), pn.tensor([1, 0])) == 1


# ---- callbacks ----


def test_callbacks_are_called_in_order_and_may_add_and_stop():
    calls = []

    class Watch(pn.Callback):
        def on_train_begin(self, trainer):
            calls.append("begin")

        def on_epoch_begin(self, trainer, epoch):
            calls.append(f"epoch {epoch}")

        def on_batch_end(self, trainer, step, loss):
            assert np.isfinite(loss)
            calls.append(step)

        def on_epoch_end(self, trainer, epoch, logs):
            logs["twice"] = 2 * logs["loss"]
            trainer.stopping = epoch == 1

        def on_train_end(self, trainer):
            calls.append("end")

    seen = []
    h = _trainer().fit(X, Y, 5, 100, callbacks=[Watch(), lambda trainer, epoch, logs: seen.append((epoch, *logs))])
    assert calls == ["begin", "epoch 0", 0, 1, "epoch 1", 2, 3, "end"]
    assert h["twice"] == [2 * v for v in h["loss"]]
    assert seen == [(0, "loss", "twice"), (1, "loss", "twice")]
    with pytest.raises(TypeError, match=r"a callback must be a Callback or a function, got int"):
        _trainer().fit(X, Y, callbacks=[3])


def _script(values, name="score"):
    """A callback that writes given values into the history, and marks the model with the epoch."""

    def play(trainer, epoch, logs):
        logs[name] = values[epoch]
        with pn.no_grad():
            trainer.model[0].bias.fill_(epoch)

    return play


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 3.5, 3.2, 9, 9], {"patience": 2}, 5, 2),
        ([5, 4, 3.99, 3.98, 3.97], {"patience": 2, "min_delta": 0.1}, 4, 1),
        ([1, 2, 1, 1, 1], {"patience": 3, "mode": "max"}, 5, 1),
        ([1, float("nan"), float("nan"), 0], {"patience": 2}, 3, 0),
        ([float("nan"), 2, 3, 3], {"patience": 2}, 4, 1),
        ([3, 2, 1], {"patience": 2}, 3, 2),
    ],
)
def test_early_stopping_restores_the_best_epoch(values, options, epochs, best):
    t = _trainer()
    stop = pn.EarlyStopping("score", **options)
    h = t.fit(X, Y, epochs=len(values), callbacks=[_script(values), stop])
    assert h.epochs == epochs
    assert stop.best_epoch == best
    assert stop.best == values[best]
    assert t.model[0].bias.tolist() == [best] * 16


def test_early_stopping_without_restoring_and_what_it_refuses():
    t = _trainer()
    t.fit(X, Y, epochs=4, callbacks=[_script([1, 2, 3, 4]), pn.EarlyStopping("score", 2, restore_best=False)])
    assert t.model[0].bias.tolist() == [2] * 16
    with pytest.raises(ValueError, match=r"no 'val_loss' to watch, only loss; give fit.. validation data"):
        t.fit(X, Y, epochs=1, callbacks=[pn.EarlyStopping()])
    with pytest.raises(ValueError, match="patience"):
        pn.EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="EarlyStopping: mode must be 'auto', 'min' or 'max', got 'least'"):
        pn.EarlyStopping(mode="least")
    assert pn.EarlyStopping("val_accuracy")._sign == -1


def test_schedules_step_per_epoch_or_batch():
    t = _trainer(lr=1.0)
    h = t.fit(X, Y, 3, callbacks=[Schedule(optim.lr_scheduler.ExponentialLR(t.optimizer, 0.5))], on_nan="ignore")
    assert h.lr == [1.0, 0.5, 0.25]
    t = _trainer(lr=1.0)
    t.fit(X, Y, 2, 100, callbacks=[Schedule(optim.lr_scheduler.ExponentialLR(t.optimizer, 0.5), every="batch")])
    assert t.optimizer.param_groups[0]["lr"] == 1 / 16
    t = _trainer(lr=1.0)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(t.optimizer, patience=0)
    h = t.fit(X, Y, 3, callbacks=[_script([1, 2, 3]), Schedule(plateau, monitor="score")], on_nan="ignore")
    assert h.lr == pytest.approx([1.0, 1.0, 0.1])
    with pytest.raises(ValueError, match="one entry per epoch"):
        Schedule(plateau, every="batch")
    with pytest.raises(ValueError, match="Schedule: every must be 'epoch' or 'batch', got 'step'"):
        Schedule(plateau, every="step")


# ---- NaN ----


def test_nan_in_the_data_is_reported_before_the_model_is_touched():
    t = _trainer()
    x = X.copy()
    x[150, 2] = np.nan
    before = _weights(t)
    with pytest.raises(NonFiniteLoss, match=r"loss is nan in step 0 .* the batch itself holds .*1 values not finite"):
        t.fit(x, Y, epochs=1, batch_size=200)
    np.testing.assert_array_equal(_weights(t), before)
    with pytest.raises(FloatingPointError) as caught:
        t.fit(x, Y, epochs=3, batch_size=100, shuffle=False)
    assert (caught.value.step, caught.value.epoch, caught.value.culprit) == (1, 0, "input")
    assert caught.value.history.steps == 1


def test_the_module_that_overflows_is_named():
    class Blow(nn.Module):
        def forward(self, x):
            return (x * 100).exp()

        def extra_repr(self):
            return "factor=100"

    m = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.Tanh(), Blow()), nn.Linear(4, 3))
    t = pn.Trainer(m, nn.CrossEntropyLoss(), optim.SGD(m.parameters()))
    with pytest.raises(NonFiniteLoss, match=r"output of module '1.1', Blow\(factor=100\): .* its input: all finite"):
        t.fit(X * 100, Y, epochs=1)


def test_a_broken_parameter_and_a_broken_loss_are_named():
    t = _trainer()
    with pn.no_grad():
        t.model[3].bias[1] = np.inf
    with pytest.raises(NonFiniteLoss, match=r"parameter '3.bias' is not finite before the step") as caught:
        t.fit(X, Y, epochs=1)
    assert caught.value.culprit == "3.bias"
    m = nn.Linear(6, 1)
    t = pn.Trainer(m, lambda out, y: (out * 0).log().mean(), optim.SGD(m.parameters()))
    with pytest.raises(NonFiniteLoss, match=r"the model's output is finite .*, so it is the loss itself"):
        t.fit(X, Y, epochs=1)


def test_nan_may_be_let_through_and_looking_changes_no_bits():
    x = X.copy()
    x[0, 0] = np.inf
    runs = []
    for mode in ("warn", "ignore"):
        t = _trainer(dropout=0.5)
        if mode == "warn":
            with pytest.warns(RuntimeWarning, match="not finite") as caught:
                h = t.fit(x, Y, epochs=2, batch_size=100, on_nan=mode, seed=0)
            assert [w.filename for w in caught] == [__file__]
        else:
            h = t.fit(x, Y, epochs=2, batch_size=100, on_nan=mode, seed=0)
        assert h.steps == 4
        assert np.isnan(h["loss"][1])
        runs.append((str(h["loss"]), _weights(t).tobytes(), pn.rand(1).item()))
    assert runs[0] == runs[1]
    with pytest.raises(ValueError, match="on_nan must be 'raise', 'warn' or 'ignore'"):
        t.fit(x, Y, on_nan="stop")


# ---- Ctrl-C ----


def test_ctrl_c_finishes_the_step_and_leaves_model_and_history_whole():
    class Press(pn.Callback):
        def on_batch_end(self, trainer, step, loss):
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    t = _trainer()
    h = t.fit(X, Y, epochs=10, batch_size=50, callbacks=[Press()], shuffle=False)
    assert h.interrupted
    assert h.epochs == 1
    assert h.steps == 6
    assert len(h["loss"]) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole = _trainer()
    by_hand = whole.fit(X, Y, epochs=1, batch_size=50, shuffle=False)
    assert by_hand["loss"] == h["loss"]
    whole.fit(X[:100], Y[:100], epochs=1, batch_size=50, shuffle=False)
    np.testing.assert_array_equal(_weights(t), _weights(whole))
    assert "interrupted" in repr(h)


def test_a_second_ctrl_c_raises_at_once():
    class Press(pn.Callback):
        def on_batch_end(self, trainer, step, loss):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _trainer().fit(X, Y, callbacks=[Press()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- progress, plots, errors ----


def test_progress_is_quiet_without_a_terminal_and_then_imports_nothing():
    code = """
import sys, numpy as np, pyneural as pn
m = pn.nn.Linear(2, 1)
t = pn.Trainer(m, pn.nn.MSELoss(), pn.optim.SGD(m.parameters(), lr=.1))
t.fit(np.ones((8, 2), "f4"), np.ones((8, 1), "f4"), epochs=2)
assert "rich" not in sys.modules and "matplotlib" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_progress_can_be_asked_for(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    _trainer().fit(X, Y, epochs=2, progress=True)
    assert "epoch 2/2" in screen.getvalue()
    assert "loss" in screen.getvalue()


def test_history_plots():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    figure = _trainer(metrics={"hit": accuracy}).fit(X, Y, epochs=3, validation=(X, Y)).plot(title="digits")
    assert [line.get_label() for line in figure.axes[0].lines] == ["loss", "loss, validation"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, o: pn.Trainer(lambda x: x, nn.MSELoss(), o), TypeError, "model must be a Module, got function"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss, o), TypeError, r"the class MSELoss; make one: MSELoss\(\)"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), optim.SGD), TypeError, "optimizer must be an Optimizer"),
        (lambda m, o: pn.Trainer(nn.Linear(2, 2), nn.MSELoss(), o), ValueError, "none of the model's parameters"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), o, ["f1"]), ValueError, "unknown metric 'f1'; known are accuracy"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), o, {"f1": 3}), TypeError, "metric 'f1' must be a function"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), o).fit(X, Y[:5]), ValueError, "200 rows"),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), o).fit(X, X, epochs=-1), ValueError, "epochs must be at least 0"),
        (
            lambda m, o: pn.Trainer(m, nn.MSELoss(reduction="none"), o).fit(X, X[:, :3]),
            ValueError,
            "one element, got shape",
        ),
        (lambda m, o: pn.Trainer(m, nn.MSELoss(), o).fit(X[:, :5], Y), ValueError, "linear.*5.*6"),
    ],
)
def test_what_the_trainer_refuses(call, error, message):
    m = nn.Linear(6, 3)
    with pytest.raises(error, match=message):
        call(m, optim.SGD(m.parameters()))


def test_orders_come_from_the_generator_that_is_given():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)

    def losses(generator, seed=0):
        pn.manual_seed(0)
        model = nn.Linear(3, 3)
        pn.manual_seed(seed)
        trainer = pn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
        options = {"generator": generator, "validation": 0.25, "progress": False}
        history = trainer.fit(x, epochs=2, batch_size=4, **options)
        return [*history["loss"], *history["val_loss"]]

    first = losses(pn.Generator(5))
    assert losses(pn.Generator(5), seed=1) == first  # whatever the default generator does
    assert losses(pn.Generator(6)) != first
    assert losses(None) != losses(None, seed=1)
