"""What estimators made of networks share: parameters of the training, and the training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .. import nn, ops, optim, random
from ..callbacks import Callback
from ..compiling import compile
from ..models.dense import ACTIVATIONS
from ..tensor import Tensor, as_tensor
from ..training import Trainer
from .base import Estimator
from .checks import (
    BOOLEAN,
    CALLABLE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SEED,
    SHARE,
    ConvergenceWarning,
    Interval,
    Kind,
    OneOf,
    generator_of,
    known,
)

NAMES = (*ACTIVATIONS, "logistic")
ONE_ACTIVATION = (OneOf((None, *NAMES)), Kind((nn.Module,), "a module"), CALLABLE)
ACTIVATION = (*ONE_ACTIVATION, Kind((list, tuple), "a list with one for each hidden layer"))


def translated(activation: Any) -> Any:
    """scikit-learn's name of the sigmoid as ours."""
    if isinstance(activation, (list, tuple)):
        return [translated(a) for a in activation]
    return "sigmoid" if isinstance(activation, str) and activation == "logistic" else activation


class Watch(Callback):
    """Ends a training that does not get better, or makes its steps smaller, and keeps the best weights.

    Args:
        monitor: The entry of the history to be made small.
        tol: What counts as better must beat the best by more than this.
        patience: Epochs without improvement that are borne.
        divide: Divide the step by 5 instead of ending, until it is below 1e-6.
        fall: The step after an epoch as a function of the rows seen so far, or None.
        keep: Give the model the weights of its best epoch at the end.
    """

    def __init__(
        self,
        monitor: str,
        tol: float,
        patience: float,
        divide: bool,
        keep: bool,
        fall: Callable[[int], float] | None = None,
    ) -> None:
        self.monitor, self.tol, self.patience, self.divide, self.keep = monitor, tol, patience, divide, keep
        self.fall = fall
        self.best, self.best_epoch, self.settled = math.inf, -1, False
        self._bad = 0
        self._weights: dict[str, np.ndarray] | None = None

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        value = logs[self.monitor]
        if self.fall is not None:
            for group in trainer.optimizer.param_groups:
                group["lr"] = self.fall(epoch + 1)
        self._bad = 0 if value < self.best - self.tol else self._bad + 1
        if value < self.best:
            self.best, self.best_epoch = value, epoch
            if self.keep:
                self._weights = {k: np.array(v) for k, v in trainer.model.state_dict().items()}
        if self._bad > self.patience:
            self._bad = 0
            if self.divide:
                for group in trainer.optimizer.param_groups:
                    group["lr"] /= 5
                if trainer.optimizer.param_groups[0]["lr"] > 1e-6:
                    return
            self.settled = trainer.stopping = True

    def on_train_end(self, trainer: Trainer) -> None:
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)
            self._weights = None


class WholeTrainer(Trainer):
    """Trains by L-BFGS on all rows at once: an epoch is one of its iterations.

    Args:
        decay: Half of it times the squared weights (not the biases) is added to the loss.
    """

    optimizer: optim.LBFGS

    def __init__(self, model: nn.Module, loss: Any, optimizer: optim.LBFGS, metrics: Any, decay: float) -> None:
        super().__init__(model, loss, optimizer, metrics)
        self._decay = decay
        self._weights = [p for p in model.parameters() if p.ndim > 1]

    def _begin(self, x: Tensor, target: Tensor) -> Iterator[float]:
        def objective(x: Tensor, target: Tensor) -> Tensor:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(x), target)
            for w in self._weights:
                loss = loss + 0.5 * self._decay * ops.square(w).sum()
            loss.backward()
            return loss

        compiled = compile(objective)
        self._found = self.optimizer.iterations(lambda: compiled(x, target))
        return self._found

    def _epoch(
        self, feed: Any, session: Any, epoch: int, listeners: Any, interrupt: Any, bar: Any, on_nan: str, *_: Any
    ) -> dict[str, float]:
        if epoch == 0:
            batch = feed.gather(np.arange(feed.rows))
            x, target = as_tensor(batch[0]), as_tensor(batch[1])
            self._first = self.optimizer.func_evals
            loss = next(self._begin(x, target))
            if not math.isfinite(loss):
                self._not_finite(loss, x, target, epoch, on_nan)
            self._loss = loss
        self._loss = next(self._found, self._loss)
        used = self.optimizer.func_evals - self._first
        self.stopping = self.optimizer.done or used >= self.optimizer.param_groups[0]["max_eval"]
        session.note(session.done, np.array([[self._loss]]))
        bar.batch(self._loss)
        return self._means(feed, session.values)


class NetworkEstimator(Estimator):
    """An estimator around a network, trained by :class:`pyneural.Trainer` with recorded steps."""

    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    best_loss_: float
    n_iter_: int
    seconds_: list[float]
    _model: Any  # a module of the subclass
    _size: tuple[int, float]  # rows and sum of weights of the first fit

    # Parameters that every such estimator has.
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int
    dtype: Any
    power_t: float = 0.5
    max_fun: int = 15000

    _training_constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_layer_sizes": (Interval(Integral, 1), Kind((tuple, list, np.ndarray), "a list of sizes")),
        "activation": ACTIVATION,
        "solver": (OneOf(("adam", "adamw", "sgd")),),
        "alpha": (NOT_NEGATIVE,),
        "batch_size": (OneOf(("auto",)), POSITIVE_COUNT),
        "learning_rate": (OneOf(("constant", "adaptive", "invscaling")),),
        "learning_rate_init": (POSITIVE,),
        "max_iter": (POSITIVE_COUNT,),
        "shuffle": (BOOLEAN,),
        "random_state": (SEED,),
        "tol": (NOT_NEGATIVE,),
        "verbose": (BOOLEAN, COUNT),
        "warm_start": (BOOLEAN,),
        "momentum": (Interval(Real, 0, 1),),
        "nesterovs_momentum": (BOOLEAN,),
        "early_stopping": (BOOLEAN,),
        "validation_fraction": (SHARE,),
        "beta_1": (Interval(Real, 0, 1, "left"),),
        "beta_2": (Interval(Real, 0, 1, "left"),),
        "epsilon": (POSITIVE,),
        "n_iter_no_change": (POSITIVE_COUNT, OneOf((math.inf,))),
        "dtype": (OneOf((None,)), OneOf((np.float32, np.float64, "float32", "float64")), Kind((np.dtype,), "a dtype")),
    }

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Stores what ``__init__`` was given, its ``locals()``, each under its name."""
        vars(self).update({k: v for k, v in parameters.items() if k not in ("self", "__class__")})

    def _hidden(self) -> list[Any]:
        """The sizes of the hidden layers."""
        sizes = self.hidden_layer_sizes
        return [sizes] if isinstance(sizes, Integral) else list(sizes)

    def _set_apart(self, rows: int) -> int:
        """How many rows early stopping sets apart. ValueError if no others would be left."""
        count = max(1, int(np.ceil(self.validation_fraction * rows)))
        if count >= rows:
            raise ValueError(
                f"{type(self).__name__}: early_stopping would set {count} of {rows} rows apart; lower "
                "validation_fraction or give more rows"
            )
        return count

    def _float(self, rows: np.ndarray) -> np.dtype[Any]:
        """The dtype of the network: ``dtype``, or that of the rows."""
        return np.dtype(self.dtype) if self.dtype is not None else rows.dtype

    def _optimizer(self, model: nn.Module, rows: int, total: float) -> optim.Optimizer:
        """``alpha`` is scikit-learn's: half alpha |W|^2 is added to the loss of a batch's rows, biases left out."""
        decay = self.alpha * rows / (min(self._batch(rows), rows) * total)
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": decay}]
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        lr = float(self.learning_rate_init)
        if self.solver == "lbfgs":
            return optim.LBFGS(
                model.parameters(),
                max_iter=self.max_iter,
                max_eval=self.max_fun,
                tolerance_grad=self.tol,
                history_size=10,
                line_search_fn="strong_wolfe",
            )
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            return optim.SGD(groups, lr=lr, momentum=float(self.momentum), nesterov=nesterov)
        kind = optim.Adam if self.solver == "adam" else optim.AdamW
        return kind(groups, lr=lr, betas=(float(self.beta_1), float(self.beta_2)), eps=float(self.epsilon))

    def _batch(self, rows: int) -> int:
        if self.solver == "lbfgs":
            return rows
        return min(200, rows) if self.batch_size == "auto" else min(int(self.batch_size), rows)

    def _train(
        self,
        make: Callable[[], nn.Module],
        loss: Callable[[nn.Module], Callable[[Any, Tensor], Tensor]],
        x: np.ndarray,
        y: np.ndarray | None,
        *,
        total: float | None = None,
        validation: Any = None,
        metrics: dict[str, Any] | None = None,
        epochs: int | None = None,
    ) -> Trainer:
        """Trains a new model, or the one there is with ``warm_start`` or for a number of ``epochs``, and sets what all
        estimators tell of their training. ``total`` is the sum of the weights."""
        n = len(x)
        going_on = epochs is not None
        fresh = not hasattr(self, "_model") or not (self.warm_start or going_on)
        if fresh or not hasattr(self, "_stream"):
            self._stream = generator_of(self.random_state)
        with random.preserved() as default:
            default.set_state(self._stream.get_state())
            if fresh:
                self._model = make()
                self._size = n, float(n if total is None else total)
                self._moments = self._optimizer(self._model, *self._size)
                self.loss_curve_, self.validation_loss_curve_, self.seconds_ = [], [], []
                self.best_loss_, self.n_iter_, self.t_ = math.inf, 0, 0
            watched = validation is not None
            patience = math.inf if going_on else self.n_iter_no_change
            if self.solver == "lbfgs":
                self._moments = moments = self._optimizer(self._model, *self._size)  # of these rows alone
                assert isinstance(moments, optim.LBFGS)
                decay = self.alpha / (n if total is None else total)
                trainer: Trainer = WholeTrainer(self._model, loss(self._model), moments, metrics, decay)
                patience = patience if watched else math.inf  # the gradient decides
            else:
                trainer = Trainer(self._model, loss(self._model), self._moments, metrics)
            fall = None
            if self.solver == "sgd" and self.learning_rate == "invscaling":
                seen, first, power = self.t_, float(self.learning_rate_init), float(self.power_t)
                fall = lambda epochs: first / (seen + epochs * n + 1) ** power  # noqa: E731
            watch = Watch("val_loss" if watched else "loss", self.tol, patience, self._divides(), watched, fall)
            history = trainer.fit(
                x,
                y,
                epochs=self.max_iter if epochs is None else epochs,
                batch_size=self._batch(n),
                validation=validation,
                callbacks=[watch],
                shuffle=self.shuffle,
                progress=bool(self.verbose),
                scale=None,
            )
            self._stream.set_state(default.get_state())
        self.loss_curve_ = [*self.loss_curve_, *history["loss"]] if history.epochs else self.loss_curve_
        if watched and history.epochs:
            self.validation_loss_curve_ = [*self.validation_loss_curve_, *history["val_loss"]]
        self.seconds_ = [*self.seconds_, *history.seconds]
        self.best_loss_ = min(self.best_loss_, watch.best)
        self.n_iter_ += history.epochs
        self.t_ += history.epochs * n
        limited = history.epochs == self.max_iter
        if isinstance(trainer, WholeTrainer):
            limited = not trainer.optimizer.done
        if not going_on and not watch.settled and not history.interrupted and limited:
            warnings.warn(
                f"{type(self).__name__}: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                f"converged yet: the {watch.monitor} still changes by more than tol={self.tol:g}",
                known(ConvergenceWarning),
                stacklevel=4,
            )
        return trainer

    def _divides(self) -> bool:
        return self.solver == "sgd" and self.learning_rate == "adaptive"

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: a trained network without the moments of its optimiser, from which a later
        ``partial_fit`` or warm start begins anew."""
        return {k: v for k, v in vars(self).items() if k != "_moments"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_model" in state:
            self._moments = self._optimizer(self._model, *self._size)


__all__ = ["ACTIVATION", "ONE_ACTIVATION", "NetworkEstimator", "Watch", "translated"]
