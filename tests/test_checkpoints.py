"""Checkpoints: a training that is killed and resumed has the bits of one that was not; a file that does not fit changes
nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim, persistence
from pyneural.callbacks import Callback, Schedule
from pyneural.persistence import FormatError

pytest.importorskip("safetensors", reason="safetensors is not installed")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(230, 6)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)
BATCHES = 8  # of 32 rows, the last one of 6


class Centre(nn.Module):
    """Subtracts a running mean, as batch normalisation does; its count of batches is in no state dict."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", pn.zeros(width))
        self.register_buffer("seen", pn.zeros(1), persistent=False)

    def forward(self, x):
        if self.training:
            with pn.no_grad():
                self.seen.add_(1)
                self.mean.copy_(self.mean + (x.mean(0) - self.mean) / self.seen)
        return x - self.mean


class Quit(Callback):
    """Presses Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, step, loss):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def make(optimizer="Adam", own_generator=False):
    pn.manual_seed(3)
    generator = pn.Generator(11) if own_generator else None
    model = nn.Sequential(nn.Linear(6, 16), Centre(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 3))
    options = {"lr": 0.02} if optimizer == "Adam" else {"lr": 0.05, "momentum": 0.9, "nesterov": True}
    trainer = pn.Trainer(model, nn.CrossEntropyLoss(), getattr(optim, optimizer)(model.parameters(), **options),
                         ["accuracy"])  # fmt: skip
    return trainer, generator


def fit(trainer, generator=None, callbacks=(), epochs=6, stop=True, every="batch", **options):
    total = 40 * BATCHES
    schedules = {
        "batch": lambda o: Schedule(optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=total), every="batch"),
        "epoch": lambda o: Schedule(optim.lr_scheduler.CosineAnnealingLR(o, 6)),
        "plateau": lambda o: Schedule(optim.lr_scheduler.ReduceLROnPlateau(o, patience=0)),
    }
    listeners = [schedules[every](trainer.optimizer), *callbacks]
    if stop:
        listeners.append(pn.EarlyStopping(patience=50))
    where = {"generator": generator} if generator is not None else {"seed": 5}
    return trainer.fit(X, Y, epochs, 32, validation=0.1, callbacks=listeners, **where, **options)


def outcome(trainer, history):
    """Everything that a later step or reader could see."""
    state = trainer.optimizer.state_dict()
    moments = [np.asarray(t).tobytes() for s in state["state"].values() for t in s.values()]
    model = {k: np.asarray(v).tobytes() for k, v in trainer.model.state_dict().items()}
    series = {k: list(v) for k, v in history.items()}
    settings = [{k: v for k, v in g.items() if k != "params"} for g in state["param_groups"]]
    rest = (history.lr, history.steps, settings, float(trainer.model[1].seen[0]), pn.get_rng_state().tolist())
    return model, moments, series, rest


# ---- the same bits ----


@pytest.mark.parametrize("every", ["batch", "epoch", "plateau"])
@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_n_steps_are_k_steps_and_the_rest(optimizer, own_generator, every, tmp_path):
    whole = make(optimizer, own_generator)
    expected = outcome(whole[0], fit(*whole, every=every))
    steps = np.random.default_rng([len(every), own_generator]).choice(6 * 7 - 1, 5, replace=False)
    for k in (6, *steps.tolist()):  # 7 batches of an epoch's 207 rows: 6 is the last one
        path = tmp_path / f"after-{k}"
        first = make(optimizer, own_generator)
        history = fit(*first, [Quit(k)], every=every, checkpoint=path)
        assert history.interrupted
        assert history.steps == k + 1
        second = make(optimizer, own_generator)
        pn.rand(7)  # where the generator stands does not matter
        history = fit(*second, every=every, resume=path)
        assert not history.interrupted
        assert outcome(second[0], history) == expected, f"after step {k}"


def test_a_replayed_epoch_is_interrupted_and_resumed(tmp_path):
    """Without callbacks that listen to batches, epochs run in C++; checkpoints come from between two of its steps."""
    x = np.tile(X, (200, 1))
    y = np.tile(Y, 200)

    def run(**options):
        trainer, _ = make()
        return trainer, trainer.fit(x, y, 2, 20, seed=1, **options)

    expected = outcome(*run())
    writes = []
    original = pn.checkpoints.write_whole

    def watch(path, content):
        writes.append(content)
        original(path, content)

    pn.checkpoints.write_whole = watch
    try:
        trainer, history = run(checkpoint=pn.Checkpoint(tmp_path / "c", every=0.0))
    finally:
        pn.checkpoints.write_whole = original
    assert outcome(trainer, history) == expected
    assert len(trainer._steps["train", "raise"].programs) > 0
    states = [persistence.from_bytes(content) for content in writes]
    inside = [i for i, state in enumerate(states) if 0 < len(state["values"]) < 2300]
    assert len(inside) >= 2
    for i in (0, *inside[:: max(1, len(inside) // 3)], len(states) - 1):
        (tmp_path / "c").write_bytes(writes[i])
        trainer, history = run(resume=tmp_path / "c")
        assert outcome(trainer, history) == expected
    # and eager steps go on from a replayed one
    (tmp_path / "c").write_bytes(writes[inside[-1]])
    assert outcome(*run(resume=tmp_path / "c", compile=False)) == expected


SCRIPT = f"""
import hashlib, os, signal, sys
import numpy as np
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_checkpoints import *

def digest(trainer, history):
    return hashlib.sha256(repr(outcome(trainer, history)).encode()).hexdigest()

class Die(Callback):
    def on_batch_end(self, trainer, step, loss):
        if step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED = SCRIPT + textwrap.dedent("""
    trainer, generator = make()
    history = fit(trainer, generator, [Die()], checkpoint=pn.Checkpoint(sys.argv[1], every=0.0), resume=True)
    print(digest(trainer, history))
    """)

LONG = SCRIPT + textwrap.dedent("""
    class Report(Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            if epoch == 2:
                print("third", flush=True)

    trainer, _ = make()
    x, y = np.tile(X, (20, 1)), np.tile(Y, 20)
    print("begun", flush=True)
    listeners = [Schedule(optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.97)), pn.EarlyStopping("loss", 10**9)]
    every, epochs = float(sys.argv[2]), int(sys.argv[3])
    history = trainer.fit(x, y, epochs, 20, seed=5, callbacks=[*listeners, Report()],
                          checkpoint=pn.Checkpoint(sys.argv[1], every=every), resume=True)
    print(digest(trainer, history))
    """)


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=300)
    return process.returncode, out.split()


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_kill_9_at_a_random_step(tmp_path):
    """A process that kills itself after random steps has in the end the bits of one that lived."""
    path = tmp_path / "c.safetensors"
    returned, expected = finish(start(KILLED, tmp_path / "whole", -1))
    assert returned == 0
    for step in sorted(np.random.default_rng().choice(6 * 7, 3, replace=False).tolist()):
        print("killed after step", step)
        assert finish(start(KILLED, path, step)) == (-signal.SIGKILL, [])
        assert pn.load(path)["epoch"] <= step // 7
    assert finish(start(KILLED, path, -1)) == (0, expected)
    assert finish(start(KILLED, path, -1)) == (0, expected)  # what is over is not done again


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_kill_9_at_a_random_moment_of_replayed_epochs(tmp_path):
    path = tmp_path / "c.safetensors"
    begun = time.monotonic()
    returned, (*_, expected) = finish(start(LONG, tmp_path / "whole", 60, 20))
    seconds = time.monotonic() - begun
    assert returned == 0
    killed = 0
    for _ in range(5):
        process = start(LONG, path, 0.0, 20)
        assert process.stdout.readline() == "begun\n"
        time.sleep(np.random.default_rng().uniform(0, 0.5 * seconds))
        process.kill()
        returned, out = finish(process)
        if returned == 0:
            assert out[-1] == expected
            break
        killed += 1
        if path.exists():
            pn.load(path)  # whole, whenever the process was killed
    else:
        returned, out = finish(start(LONG, path, 0.0, 20))
        assert (returned, out[-1]) == (0, expected)
    print("killed", killed, "times")


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_sigterm_writes_a_checkpoint_and_ends_the_process(tmp_path):
    path = tmp_path / "c.safetensors"
    process = start(LONG, path, 600, 10**6)  # does not end by itself, however late the signal comes
    assert process.stdout.readline() == "begun\n"
    assert process.stdout.readline() == "third\n"
    time.sleep(np.random.default_rng().uniform(0, 0.1))
    process.terminate()
    assert finish(process) == (-signal.SIGTERM, [])
    reached = pn.load(path)["epoch"]
    assert reached >= 3
    resumed, whole = (finish(start(LONG, p, 600, reached + 2)) for p in (path, tmp_path / "whole"))
    assert resumed[0] == whole[0] == 0
    assert resumed[1][-1] == whole[1][-1]


def test_signals_are_given_back(tmp_path):
    trainer, _ = make()
    fit(trainer, epochs=1, checkpoint=tmp_path / "c")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- more epochs, best so far, early stopping ----


def test_a_finished_training_may_be_extended(tmp_path):
    whole, _ = make()
    expected = outcome(whole, fit(whole, stop=False))
    trainer, _ = make()
    fit(trainer, epochs=2, stop=False, checkpoint=tmp_path / "c")
    trainer, _ = make()
    assert outcome(trainer, fit(trainer, stop=False, checkpoint=tmp_path / "c", resume=True)) == expected


def test_early_stopping_takes_only_a_state_of_its_own():
    stop = pn.EarlyStopping()
    good = {"best": 0.5, "best_epoch": 3, "bad": 1, "weights": {"w": np.ones(2)}}
    stop.load_state_dict(good)
    for bad in ({}, {**good, "more": 1}, {**good, "best": "x"}, {**good, "best": None}, {**good, "best_epoch": -1},
                {**good, "bad": 1.5}, {**good, "weights": [1]}, {**good, "weights": {"w": 1.0}}):  # fmt: skip
        with pytest.raises(ValueError, match=r"EarlyStopping: the state must hold best and best_epoch \(a float and"):
            stop.load_state_dict(bad)
        assert stop.state_dict() == good
    fresh = pn.EarlyStopping()
    fresh.load_state_dict(pn.EarlyStopping().state_dict())
    assert fresh.best is None


def test_the_best_epoch_is_remembered(tmp_path):
    """The best epoch lies before the interruption; its weights come back from the checkpoint."""

    def run(interrupt, **options):
        trainer, _ = make()
        scores = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]
        seen = []

        def play(trainer, epoch, logs):
            logs["score"] = scores[epoch]
            seen.append(epoch)
            if interrupt and epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

        stop = pn.EarlyStopping("score", patience=3)
        history = trainer.fit(X, Y, 6, 32, seed=1, callbacks=[play, stop], **options)
        return outcome(trainer, history), stop.best_epoch, seen

    expected = run(False)
    assert expected[1:] == (1, [0, 1, 2, 3, 4])
    run(True, checkpoint=tmp_path / "c")
    rest = run(False, checkpoint=tmp_path / "c", resume=True)
    assert rest[0] == expected[0]
    assert rest[1:] == (1, [3, 4])
    again = run(False, checkpoint=tmp_path / "c", resume=True)  # it was ended by EarlyStopping, and stays so
    assert again[1:] == (1, [])
    assert again[0][0] == expected[0][0]


def test_resume_true_begins_where_there_is_nothing_yet(tmp_path):
    trainer, _ = make()
    fresh = outcome(trainer, fit(trainer, checkpoint=tmp_path / "c", resume=True))
    trainer, _ = make()
    assert outcome(trainer, fit(trainer)) == fresh
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]
    with pytest.raises(FileNotFoundError):
        fit(trainer, resume=tmp_path / "other")
    with pytest.raises(ValueError, match="resume=True goes on from the file of checkpoint="):
        fit(trainer, resume=True)
    with pytest.raises(ValueError, match="every must be a number of seconds, at least 0, got -1"):
        pn.Checkpoint(tmp_path / "c", every=-1)


def test_weights_of_a_checkpoint_are_there_by_name(tmp_path):
    trainer, _ = make()
    fit(trainer, checkpoint=tmp_path / "c", stop=False)
    model = make()[0].model
    model.load_state_dict(pn.load(tmp_path / "c")["model"])
    for a, b in zip(model.parameters(), trainer.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach(), b.detach())


def test_what_cannot_be_written_shows_before_the_first_step(tmp_path):
    class Keeps(Callback):
        def state_dict(self):
            return {"function": print}

    trainer, _ = make()
    before = outcome(trainer, trainer.history)
    with pytest.raises(TypeError, match=r"\['callbacks'\]\['1'\]\['1'\]\['function'\] is a builtin_function"):
        fit(trainer, callbacks=[Keeps()], checkpoint=tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        fit(trainer, checkpoint=tmp_path / "no folder" / "c")
    assert outcome(trainer, trainer.history)[:2] == before[:2]


# ---- what does not fit changes nothing ----


def edit(*path, to=None, drop=False):
    def change(state):
        for key in path[:-1]:
            state = state[key]
        if drop:
            del state[path[-1]]
        else:
            state[path[-1]] = to

    return change


MISFITS = {
    "not a checkpoint": (lambda s: s.clear(), FormatError, "c is not a checkpoint of a training"),
    "another kind": (edit("kind", to="x"), FormatError, "is not a checkpoint of a training"),
    "newer": (edit("version", to=2), FormatError, r"of a newer pyneural \(.*\), in version 2; this one reads up to 1"),
    "a weight of another shape": (
        edit("model", "0.weight", to=pn.ones(16, 5)), ValueError,
        r"the model: '0.weight' is float32 \(16, 5\), here float32 \(16, 6\)"),
    "a weight of another type": (
        edit("model", "0.weight", to=pn.ones(16, 6, dtype=np.float64)), ValueError, "'0.weight' is float64"),
    "a weight that is missing": (edit("model", "4.bias", drop=True), ValueError, "the model: '4.bias' is missing"),
    "a weight too many": (edit("model", "9.bias", to=pn.ones(1)), ValueError, "the model: '9.bias' is unexpected"),
    "a weight that is text": (edit("model", "4.bias", to="x"), ValueError, "does not fit this training"),
    "no transient buffer": (edit("transient", to={}), ValueError, "buffers: 'model.1.seen' is missing"),
    "a moment of another shape": (
        edit("optimizer", "state", 0, "exp_avg", to=pn.ones(3)), ValueError, r"'exp_avg' of parameter 0 is \(3,\)"),
    "a moment that is missing": (
        edit("optimizer", "state", 0, "exp_avg", drop=True), ValueError, r"parameter 0 lacks \['exp_avg'\]"),
    "a moment too many": (
        edit("optimizer", "state", 0, "more", to=pn.ones(3)), ValueError, r"parameter 0 has \['more'\]"),
    "a moment of another type": (
        edit("optimizer", "state", 0, "step", to=np.array(1j, np.complex64)), ValueError, "does not fit this training"),
    "a parameter too many": (edit("optimizer", "state", 9, to={}), ValueError, r"the state has the parameters \[9\]"),
    "a step size that is text": (
        edit("optimizer", "param_groups", 0, "lr", to="x"), ValueError, "does not fit this training"),
    "a step size below 0": (
        edit("optimizer", "param_groups", 0, "lr", to=-1.0), ValueError, "lr must be at least 0, got -1"),
    "another optimiser": (edit("optimizer", "kind", to="SGD"), ValueError, "its optimizer: SGD; here: Adam"),
    "another schedule": (
        edit("callbacks", 0, 1, "scheduler", to={"gamma": 1}), ValueError, "the state is of another schedule"),
    "a best epoch that is text": (
        edit("callbacks", 1, 1, "best_epoch", to="x"), ValueError, r"EarlyStopping: the state must hold .*'x'"),
    "a best value without its epoch": (
        edit("callbacks", 1, 1, "best_epoch", to=None), ValueError, "EarlyStopping: the state must hold best and"),
    "an epoch count below 0": (edit("callbacks", 1, 1, "bad", to=-1), ValueError, "EarlyStopping: the state must hold"),
    "no count of epochs": (edit("callbacks", 1, 1, "bad", drop=True), ValueError, "EarlyStopping: the state must hold"),
    "best weights that are text": (
        edit("callbacks", 1, 1, "weights", to="x"), ValueError, "EarlyStopping: the state must hold"),
    "a best weight that is none": (
        edit("callbacks", 1, 1, "weights", "0.weight", to=1.5), ValueError, "does not fit this training"),
    "best weights of another model": (
        edit("callbacks", 1, 1, "weights", "0.weight", to=np.zeros((2, 2), np.float32)), ValueError,
        r"the weights of the best epoch: '0.weight' is float32 \(2, 2\), here float32 \(16, 6\)"),
    "another callback": (
        edit("callbacks", 1, 0, to="Watch"), ValueError, r"callbacks with a state: \['Schedule', 'Watch'\]; here:"),
    "no callback": (edit("callbacks", to=[]), ValueError, r"its callbacks with a state: \[\]; here"),
    "a generator too many": (
        edit("random", "now", to=[pn.zeros(2, dtype=np.int64)] * 2), ValueError, "it has 2 random generators"),
    "a generator's state that is none": (
        edit("random", "now", to=[pn.zeros(3)]), ValueError, "set_state: expected int64 of shape"),
    "a first state that is none": (
        edit("random", "began", to=[pn.zeros(3)]), ValueError, "set_state: expected int64 of shape"),
    "no generators": (edit("random", drop=True), ValueError, "it lacks 'random'"),
    "an order's state that is none": (
        edit("random", "order", to=[pn.zeros(3)]), ValueError, "set_state: expected int64 of shape"),
    "other rows": (edit("data", "rows", to=3), ValueError, "rows was 3, here it is 207"),
    "another batch size": (edit("data", "batch_size", to=3), ValueError, "batch size was 3, here it is 32"),
    "other data": (
        edit("data", "contents", 0, 2, to=1), ValueError, "contents was other data, which differ.*pn.load"),
    "other metrics": (edit("data", "metrics", to=[]), ValueError, r"metrics was \[\], here it is \['accuracy'\]"),
    "no data": (edit("data", drop=True), ValueError, "it lacks 'data'"),
    "a position past the end": (
        edit("values", to=np.zeros((99, 2))), ValueError, "its position in the training makes no sense"),
    "a negative epoch": (edit("epoch", to=-1), ValueError, "its position in the training makes no sense"),
    "a position that is text": (edit("values", to="x"), ValueError, "does not fit this training"),
    "a history of odd lengths": (
        edit("history", "seconds", to=np.zeros(5)), ValueError, "History: series of different lengths"),
    "no history": (edit("history", to={}), ValueError, "it lacks 'series'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_changes_nothing(name, tmp_path):
    change, error, message = MISFITS[name]
    path = tmp_path / "c"
    first, _ = make()
    fit(first, callbacks=[Quit(10)], checkpoint=path)
    saved = pn.load(path)
    change(saved)
    pn.save(saved, path)
    trainer, _ = make()
    fit(trainer, epochs=1)  # moments are there, and a history
    schedule = optim.lr_scheduler.OneCycleLR(trainer.optimizer, 0.05, total_steps=99)
    stop = pn.EarlyStopping(patience=50)
    before = outcome(trainer, trainer.history), repr(schedule.state_dict()), repr(stop.state_dict())
    with pytest.raises(error, match=message):
        trainer.fit(
            X, Y, 6, 32, validation=0.1, seed=5, callbacks=[Schedule(schedule, every="batch"), stop], resume=path
        )
    assert (outcome(trainer, trainer.history), repr(schedule.state_dict()), repr(stop.state_dict())) == before


def test_a_truncated_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "c"
    trainer, _ = make()
    fit(trainer, checkpoint=path, epochs=1)
    path.write_bytes(path.read_bytes()[:-10])
    before = outcome(trainer, trainer.history)[:3]
    with pytest.raises(FormatError, match="damaged"):
        fit(trainer, resume=path)
    assert outcome(trainer, trainer.history)[:3] == before
