"""AdversarialTrainer: a generator and a discriminator trained against each other."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import functional as F
from . import ops, random
from ._fitting import BaseTrainer, History, as_callbacks, float_type, modes_kept
from ._nonfinite import NonFiniteLoss
from .autodiff import no_grad
from .callbacks import Callback
from .checkpoints import Checkpoint
from .compiling import CaptureError, Compiled
from .data.batches import batches
from .data.datasets import Dataset
from .nn.containers import ModuleDict
from .nn.module import Module
from .ops.losses import require_finite
from .optim.optimizer import Optimizer
from .random import randn
from .tensor import Tensor, as_tensor

__all__ = ["AdversarialTrainer"]

#: (loss of the discriminator from the logits of real and of made rows, loss of the generator from those of made rows).
Losses = tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]


def _judged(real: Tensor, made: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), the mean over the rows, from logits."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


LOSSES: dict[str, Losses] = {
    "non_saturating": (_judged, lambda made: F.softplus(-made).mean()),
    "minimax": (_judged, lambda made: -F.softplus(made).mean()),
}


class AdversarialTrainer(BaseTrainer):
    """Trains a generator G of noise z and a discriminator D, which gives a logit, against each other.

    D makes E[-log D(x) - log(1 - D(G(z)))] small, with sigmoid(logit) for D(x). G makes E[-log D(G(z))] small, which
    has its optimum where E[log(1 - D(G(z)))] has it and does not fade where D is sure ("non-saturating"). Goodfellow et
    al., "Generative Adversarial Nets" (2014), arXiv:1406.2661.

    Args:
        generator: Called with noise (N, ...), gives rows like the data's.
        discriminator: Called with rows, gives one logit each.
        generator_optimizer, discriminator_optimizer: Of the parameters of the one and of the other.
        noise: Size of the noise, z (N, noise) from N(0, 1), or a function of N that draws z.
        loss: "non_saturating", "minimax" (G makes E[log(1 - D(G(z)))] small), or two functions: the discriminator's
            loss of (logits of real rows, logits of made ones), and the generator's of the logits of made ones.
        discriminator_steps, generator_steps: So many steps of the one, each with a batch of data, are followed by so
            many of the other.
        average: None, or the decay of a running mean of the generator's weights, which :meth:`sample` uses then: the
            two players circle about what they approach, and the mean is closer to it.

    Attributes:
        model: Both networks, ``model["generator"]`` and ``model["discriminator"]``.
        averaged: The generator with the running mean of its weights; None without ``average``.
        history: Of the latest :meth:`fit`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The loss is unknown, a number is out of range, or an optimiser holds parameters of the other network
            or none of its own.
    """

    _on_nan = ("raise", "ignore")

    def __init__(
        self,
        generator: Module,
        discriminator: Module,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        noise: int | Callable[[int], Tensor],
        *,
        loss: str | Losses = "non_saturating",
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        average: float | None = None,
    ) -> None:
        for name, network in (("generator", generator), ("discriminator", discriminator)):
            if not isinstance(network, Module):
                raise TypeError(f"AdversarialTrainer: {name} must be a Module, got {type(network).__name__}")
        _check_optimizer("generator", generator_optimizer, generator, discriminator)
        _check_optimizer("discriminator", discriminator_optimizer, discriminator, generator)
        if isinstance(loss, str):
            if loss not in LOSSES:
                known = ", ".join(LOSSES)
                raise ValueError(f"AdversarialTrainer: unknown loss {loss!r}; known are {known}, or give two functions")
            loss = LOSSES[loss]
        if not isinstance(loss, (tuple, list)) or len(loss) != 2 or not all(callable(f) for f in loss):
            raise TypeError(f"AdversarialTrainer: loss must be a name or two functions, got {loss!r}")
        for name, steps in (("discriminator_steps", discriminator_steps), ("generator_steps", generator_steps)):
            if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
                raise ValueError(f"AdversarialTrainer: {name} must be an integer of at least 1, got {steps!r}")
        if not callable(noise) and (isinstance(noise, bool) or not isinstance(noise, int) or noise < 1):
            raise ValueError(f"AdversarialTrainer: noise must be a size of at least 1 or a function, got {noise!r}")
        if average is not None and not 0 <= average < 1:
            raise ValueError(f"AdversarialTrainer: average must be at least 0 and below 1, got {average}")
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.model = ModuleDict({"generator": generator, "discriminator": discriminator})
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.noise, self.average = noise, average
        self.discriminator_loss, self.generator_loss = loss
        self.discriminator_steps, self.generator_steps = discriminator_steps, generator_steps
        self.averaged = None if average is None else copy.deepcopy(generator)
        self._compiled: dict[str, Compiled] = {}

    # ---- the two steps ----

    def _draw(self, count: int) -> Tensor:
        if callable(self.noise):
            return self.noise(count)
        return randn(count, self.noise, dtype=float_type(self.generator))

    def _judge(self, real: Tensor, checked: bool) -> tuple[Tensor, ...]:
        """One step of the discriminator: its loss, and the mean of D(x) and of D(G(z))."""
        with no_grad():
            made = self.generator(self._draw(len(real)))
        self.discriminator_optimizer.zero_grad()
        truth, lie = self.discriminator(real), self.discriminator(made)
        loss = self.discriminator_loss(truth, lie)
        if checked:
            require_finite(loss)
        loss.backward()
        self.discriminator_optimizer.step()
        return loss, ops.sigmoid(truth.detach()).mean(), ops.sigmoid(lie.detach()).mean()

    def _make(self, count: int, checked: bool) -> tuple[Tensor, ...]:
        """One step of the generator: its loss."""
        self.generator_optimizer.zero_grad()
        loss = self.generator_loss(self.discriminator(self.generator(self._draw(count))))
        if checked:
            require_finite(loss)
        loss.backward()
        self.generator_optimizer.step()
        if self.averaged is not None and self.average is not None:
            with no_grad():
                for mean, p in zip(self.averaged.parameters(), self.generator.parameters(), strict=True):
                    mean.copy_(mean * self.average + p * (1 - self.average))
        return (loss,)

    def _call(self, player: str, *args: Any, compile: bool) -> list[float]:
        step = self._judge if player == "discriminator" else self._make
        if not compile or self._compiled.get("given up"):
            return [v.item() for v in step(*args)]
        try:
            return [v.item() for v in self._compiled.setdefault(player, Compiled(step, {}))(*args)]
        except CaptureError as error:
            self._compiled["given up"] = self._compiled[player]
            text = f"AdversarialTrainer: the steps are run eagerly, for the {player}'s cannot be recorded: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=6)
            # A step that was recorded to its end has been taken.
            return getattr(error, "numbers", None) or [v.item() for v in step(*args)]

    # ---- training ----

    def fit(
        self,
        x: Any,
        epochs: int = 10,
        batch_size: int = 64,
        *,
        callbacks: Iterable[Callback | Callable[[Any, int, dict[str, float]], Any]] = (),
        shuffle: bool = True,
        seed: int | None = None,
        generator: random.Generator | None = None,
        progress: bool | None = None,
        on_nan: str = "raise",
        scale: Any = "unit",
        compile: bool = True,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        resume: bool | str | os.PathLike[str] = False,
    ) -> History:
        """Trains both for a number of epochs; an epoch goes once through the data.

        Args:
            x: Real rows: array (N, ...), tensor, or :class:`pyneural.data.Dataset`, whose labels are not used.
            batch_size: Rows per step of either player; a last batch that is smaller is left out.
            epochs, callbacks, shuffle, seed, generator, progress, scale, checkpoint, resume: As for
                :meth:`pyneural.Trainer.fit`. A callback's ``on_batch_end`` comes after each step of the discriminator
                and what follows it of the generator, with the discriminator's loss. A checkpoint holds all that
                :meth:`state_dict` holds, under the same names.
            on_nan: "raise" :class:`NonFiniteLoss` before a step with a loss that is NaN or infinite, or "ignore".
            compile: Record both steps and replay them: the same bits, sooner.

        Returns:
            The history, with the epochs' means "discriminator_loss", "generator_loss", "real_score" (of D(x)) and
            "made_score" (of D(G(z))); both scores approach 1/2. Ctrl-C ends the training after the current step.

        Raises:
            ValueError: There are fewer rows than a batch has, or an argument is out of range.
            NonFiniteLoss: See ``on_nan``; both networks are as they were before the step.
            FormatError, ValueError: The checkpoint cannot be read, or is of another training; nothing has been changed.
        """
        session = self._session(epochs, on_nan, seed, generator, checkpoint, resume)
        x = x.images if isinstance(x, Dataset) else x
        feed = batches(x, None, batch_size, shuffle=shuffle, generator=generator, drop_last=True, scale=scale,
                       tensors=False)  # fmt: skip
        dtype, listeners = float_type(self.discriminator), as_callbacks(callbacks)

        def pass_through(epoch: int, interrupt: list[int], bar: Any) -> dict[str, float] | None:
            begin = epoch * len(feed)
            for batch in feed.from_order(session.order, session.done):
                real = as_tensor(np.asarray(batch, dtype))
                losses = self._round(real, session.steps, epoch, on_nan == "raise", compile)
                for c in listeners:
                    c.on_batch_end(self, session.steps, losses[0])  # type: ignore[arg-type]
                session.note(session.done, np.array([losses]))
                bar.batch(losses[0])
                session.save_if_due()
                if interrupt and session.done < len(feed):
                    return None
            loss, real_score, made_score = session.values[:, :3].mean(0).tolist()
            logs = {"discriminator_loss": loss, "real_score": real_score, "made_score": made_score}
            turns = [self._generator_is_next(begin + i) for i in range(len(feed))]
            made = session.values[turns, 3:]
            logs["generator_loss"] = float(made.mean()) if len(made) else float("nan")
            return logs

        return self._run(session, feed, epochs, listeners, progress, pass_through)

    def _generator_is_next(self, step: int) -> bool:
        """Whether it is the generator's turn after this step of the discriminator."""
        return (step + 1) % self.discriminator_steps == 0

    def _round(self, real: Tensor, step: int, epoch: int, checked: bool, compile: bool) -> list[float]:
        """A step of the discriminator and, when it is the generator's turn, its steps.

        Gives the discriminator's loss and both scores, and the losses of the generator's steps (0 when it has none).
        """
        player = "discriminator"
        try:
            losses = self._call(player, real, checked, compile=compile)
            if not self._generator_is_next(step):
                return losses + [0.0] * self.generator_steps
            player = "generator"
            with _frozen(self.discriminator):
                for _ in range(self.generator_steps):
                    losses += self._call(player, len(real), checked, compile=compile)
            return losses
        except FloatingPointError as error:
            text = (f"the {player}'s loss is not finite in step {step} (epoch {epoch}, counted from 0): {error}. Try "
                    "smaller step sizes or scaled inputs")  # fmt: skip
            raise NonFiniteLoss(text, step, epoch, player) from None

    def _columns(self) -> int:
        return 3 + self.generator_steps

    def _settings(self) -> dict[str, Any]:
        return {"discriminator_steps": self.discriminator_steps, "generator_steps": self.generator_steps}

    def state_dict(self) -> dict[str, Any]:
        """Both networks, both optimisers and the running mean, for :func:`pyneural.save`.

        With :func:`pyneural.get_rng_state` beside it a training goes on to the same bits from the end of an epoch; a
        ``checkpoint`` of :meth:`fit` holds both, and what else it takes to go on from the middle of one.
        """
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave.

        Raises:
            ValueError: Parts are missing or too many, or one of them does not fit.
        """
        parts = self._parts()
        if set(state) != set(parts):
            raise ValueError(f"load_state_dict: the state has {', '.join(sorted(state))}, wanted are "
                             f"{', '.join(sorted(parts))}")  # fmt: skip
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Module | Optimizer]:
        parts: dict[str, Module | Optimizer] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        return parts if self.averaged is None else {**parts, "averaged": self.averaged}

    # ---- using ----

    def sample(self, count: int, batch_size: int = 1000) -> np.ndarray:
        """Rows that the generator makes of new noise, in evaluation mode; with ``average`` by the mean of its weights.

        Raises ValueError if ``count`` is negative or ``batch_size`` not above 0.
        """
        if count < 0 or batch_size < 1:
            raise ValueError(
                f"sample: count must be at least 0 and batch_size at least 1, got {count} and {batch_size}"
            )
        network = self.generator
        if self.averaged is not None:
            network = self.averaged
            with no_grad():  # what is no parameter (running means of norms) is not averaged
                for mine, its in zip(network.buffers(), self.generator.buffers(), strict=True):
                    mine.copy_(its)
        parts = []
        with modes_kept(network), no_grad():
            network.eval()
            for first in range(0, max(count, 1), batch_size):
                parts.append(np.asarray(network(self._draw(min(batch_size, count - first)))))
        return np.concatenate(parts)


def _check_optimizer(name: str, optimizer: Any, own: Module, other: Module) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"AdversarialTrainer: {name}_optimizer must be an Optimizer, got {type(optimizer).__name__}")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in own.parameters()) or any(id(p) in held for p in other.parameters()):
        raise ValueError(f"AdversarialTrainer: the {name}_optimizer must hold parameters of the {name} alone; make it "
                         f"from {name}.parameters()")  # fmt: skip


@contextmanager
def _frozen(module: Module) -> Iterator[None]:
    """No gradients for its parameters within the block: those of the other player's step are not wanted."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)
