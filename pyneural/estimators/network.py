"""Multilayer perceptrons as estimators."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import nn, ops, random
from ..models.dense import batchwise
from ..models.mlp import MLP
from ..tensor import Tensor
from ..training import recordable
from .base import ClassifierMixin, RegressorMixin
from .checks import (
    NOT_NEGATIVE,
    POSITIVE_COUNT,
    Interval,
    Kind,
    OneOf,
    check_classes,
    check_rows,
    check_target,
    class_weights,
)
from .training import ONE_ACTIVATION, NetworkEstimator, translated

_PARAMETERS = """
    Parameters beyond scikit-learn's: ``activation`` may also be any other name, module or function of
    :class:`pyneural.models.MLP`, or a list with one for each hidden layer; ``dropout``, the probability with which a
    hidden unit is dropped in training; ``init``, how the layers start; solver "adamw"; ``dtype`` of the network, that
    of X if None, so that float32 rows are trained in float32. ``fit`` takes ``sample_weight`` and ``validation_data``.
    ``verbose`` draws a line of progress. Solver "lbfgs" is :class:`pyneural.optim.LBFGS` with a line search on all rows
    at once, for small data: it ends when no entry of the gradient is above ``tol``, or after ``max_iter`` iterations or
    ``max_fun`` evaluations; its loss has no chance in it, so that ``dropout`` must be 0.

    With validation data, or a share of the rows set apart by ``early_stopping``, the loss on them is recorded after
    each epoch, training ends when it has not improved by ``tol`` for ``n_iter_no_change`` epochs, and the best weights
    are restored. Without, the training loss decides and the last weights stay.

    Attributes:
        loss_curve_, validation_loss_curve_: The loss of each epoch; the latter is empty without validation data.
        validation_scores_: Accuracy or R^2 on the validation data after each epoch.
        best_loss_, best_validation_score_: The least loss that was watched, and the best of those scores or None.
        n_iter_: Epochs.
        t_: Rows that were seen.
        seconds_: Time of each epoch.
        coefs_, intercepts_: Weights (inputs, outputs) and biases (outputs,) of each layer.
        n_layers_, n_outputs_, out_activation_: As scikit-learn counts and names them.
        model_: The network, a :class:`pyneural.models.MLP`.
"""


class _Perceptron(NetworkEstimator):
    dropout: float
    init: Any

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **NetworkEstimator._training_constraints,
        "solver": (OneOf(("adam", "adamw", "sgd", "lbfgs")),),
        "power_t": (NOT_NEGATIVE,),
        "max_fun": (POSITIVE_COUNT,),
        "dropout": (Interval(Real, 0, 1, "left"),),
        "init": (
            OneOf((None, "sklearn", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal")),
            *ONE_ACTIVATION[-1:],
        ),
    }

    validation_scores_: list[float]
    best_validation_score_: float | None

    def _network(self, inputs: int, outputs: int, dtype: np.dtype[Any]) -> MLP:
        if self.solver == "lbfgs" and self.dropout > 0:
            raise ValueError(
                f"{type(self).__name__}: solver 'lbfgs' needs a loss without chance, but dropout is {self.dropout:g}"
            )
        return MLP(
            (inputs, *self._hidden(), outputs),
            translated(self.activation),
            dropout=float(self.dropout),
            init=self.init,
            dtype=dtype,
        )

    def _require_steps(self) -> None:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"{type(self).__name__}: partial_fit takes steps on batches, which solver 'lbfgs' does not; choose "
                "'adam', 'adamw' or 'sgd'"
            )

    def _apart(self, rows: int, codes: np.ndarray | None) -> np.ndarray:
        """Numbers of the rows that early stopping sets apart: of each class its share, if classes are given."""
        stream = random.Generator(0)
        if isinstance(self.random_state, Integral):
            stream.manual_seed(int(self.random_state))
        order = np.asarray(random.randperm(rows, generator=stream))
        count = self._set_apart(rows)
        if codes is None:
            return order[:count]
        # In turns through the classes, so that their shares stay.
        place = np.empty(rows)
        for c in np.unique(codes):
            mine = np.flatnonzero(codes[order] == c)
            place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        return order[np.argsort(place, kind="stable")[:count]]

    def _close(self, outputs: int, out_activation: str) -> None:
        layers = [m for m in self._model.modules() if isinstance(m, nn.Linear)]
        self.coefs_ = [np.array(m.weight.detach()).T for m in layers]
        self.intercepts_ = [np.array(m.bias.detach()) for m in layers if m.bias is not None]
        self.n_layers_ = len(layers) + 1
        self.n_outputs_ = outputs
        self.out_activation_ = out_activation
        self.model_ = self._model
        self.best_validation_score_ = max(self.validation_scores_) if self.validation_scores_ else None


def _weighted_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """target (N, C): each row's weight in the column of its class."""
    return -(target * F.log_softmax(output, 1)).sum() / output.shape[0]


def _half_squares(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(output, target)


def _weighted_half_squares(output: Tensor, target: Tensor) -> Tensor:
    """target (N, outputs + 1): the last column holds the rows' weights."""
    count = output.shape[1]
    return 0.5 * (ops.square(output - target[:, :count]) * target[:, count:]).mean()


def _half_poisson(output: Tensor, target: Tensor) -> Tensor:
    """Of the logarithms of rates; target (N, outputs), or one column more that holds the rows' weights."""
    count = output.shape[1]
    y = target[:, :count]
    deviance = y * (ops.log(ops.where(y > 0, y, 1.0)) - output) - y + ops.exp(output)
    if target.shape[1] > count:
        deviance = deviance * target[:, count:]
    return deviance.sum() / output.shape[0]


@recordable
def _squares_of_rates(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(ops.exp(output), target[:, : output.shape[1]])


class MLPClassifier(ClassifierMixin, _Perceptron):
    __doc__ = (
        """A multilayer perceptron that is trained to predict classes, by the cross-entropy of their softmax.

    ``class_weight`` is None, "balanced" or a dict from label to weight; it multiplies ``sample_weight``.
"""
        + _PARAMETERS
    )

    class_weight: Any

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **_Perceptron._constraints,
        "class_weight": (OneOf((None, "balanced")), Kind((dict,), "a dict from label to weight")),
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        init: Any = "sklearn",
        dtype: Any = None,
        class_weight: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> MLPClassifier:
        """Trains on rows X (N, d) with labels y (N,). Returns self.

        Args:
            sample_weight: What each row counts, (N,); rows of weight 0 are left out.
            validation_data: (X, y) of other rows.

        Raises:
            ValueError: Parameters or data are not as said.
        """
        rows = self._start(X)
        classes, codes = check_classes(y, type(self).__name__, len(rows))
        weights = self._weights(sample_weight, len(rows))
        if weights is not None and not weights.all():
            kept = weights > 0
            rows, weights = rows[kept], weights[kept]
            classes, codes = check_classes(classes[codes[kept]], type(self).__name__, len(rows))
        if self.class_weight is not None:
            scale = class_weights(self.class_weight, classes, codes, type(self).__name__)[codes]
            weights = scale if weights is None else weights * scale
        if self.warm_start and hasattr(self, "_model") and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"{type(self).__name__}: warm_start goes on with classes {self.classes_.tolist()}, but y holds "
                f"{classes.tolist()}"
            )
        held = None
        dtype = self._float(rows)
        if validation_data is not None:
            held = self._held(validation_data, classes, dtype)
        elif self.early_stopping:
            apart = self._apart(len(rows), codes)
            held = rows[apart].astype(dtype, copy=False), codes[apart]
            rest = np.setdiff1d(np.arange(len(rows)), apart)
            rows, codes, weights = rows[rest], codes[rest], None if weights is None else weights[rest]
        self.classes_ = classes
        self.validation_scores_ = list(getattr(self, "validation_scores_", [])) if self.warm_start else []
        self._learn(rows.astype(dtype, copy=False), codes, weights, held)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch on these rows. The first call must name all classes, unless y holds them. Returns self."""
        self._require_steps()
        first = not hasattr(self, "_model")
        rows = self._start(X, reset=first)
        found, codes = check_classes(y, type(self).__name__, len(rows))
        if first:
            self.classes_ = np.unique(classes) if classes is not None else found
            self.validation_scores_ = []
        unseen = np.setdiff1d(found, self.classes_)
        if len(unseen):
            raise ValueError(
                f"{type(self).__name__}: y holds {unseen.tolist()}, which are not among the classes "
                f"{self.classes_.tolist()} of the first call"
            )
        codes = np.searchsorted(self.classes_, found)[codes]
        weights = self._weights(sample_weight, len(rows))
        if self.class_weight is not None:
            scale = class_weights(self.class_weight, self.classes_, codes, type(self).__name__)[codes]
            weights = scale if weights is None else weights * scale
        self._learn(rows.astype(self._float(rows), copy=False), codes, weights, None, epochs=1)
        return self

    def _held(self, data: Any, classes: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        x, y = data
        rows = check_rows(x, type(self).__name__)
        found, codes = check_classes(y, type(self).__name__, len(rows))
        if rows.shape[1] != self.n_features_in_ or len(np.setdiff1d(found, classes)):
            raise ValueError(
                f"{type(self).__name__}: validation_data must have {self.n_features_in_} features and labels among "
                f"{classes.tolist()}; got {rows.shape[1]} and {found.tolist()}"
            )
        return rows.astype(dtype, copy=False), np.searchsorted(classes, found)[codes]

    def _learn(
        self, x: np.ndarray, codes: np.ndarray, weights: np.ndarray | None, held: Any, epochs: int | None = None
    ) -> None:
        count = len(self.classes_)
        target: np.ndarray = codes
        total = None
        if weights is not None:
            total = float(weights.sum())
            target = np.zeros((len(x), count), x.dtype)
            target[np.arange(len(x)), codes] = weights * (len(x) / total)
            if held is not None:
                held = held[0], np.eye(count, dtype=x.dtype)[held[1]]
        trainer = self._train(
            lambda: self._network(x.shape[1], count, x.dtype),
            lambda model: nn.CrossEntropyLoss() if weights is None else _weighted_cross_entropy,
            x,
            target,
            total=total,
            validation=held,
            metrics={"accuracy": "accuracy"} if held is not None else None,
            epochs=epochs,
        )
        if held is not None:
            self.validation_scores_ = [*self.validation_scores_, *trainer.history["val_accuracy"]]
        self._close(count, "softmax")

    def _logits(self, X: Any) -> np.ndarray:
        rows = self._rows(X)
        return batchwise(self._model, self._model, rows)

    def predict(self, X: Any) -> np.ndarray:
        """The label of the largest output, (N,)."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The softmax of the outputs, (N, classes), in the order of ``classes_``."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of :meth:`predict_proba`, which stay finite where those are 0."""
        z = self._logits(X).astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


class MLPRegressor(RegressorMixin, _Perceptron):
    __doc__ = (
        """A multilayer perceptron that is trained to predict numbers; y may have several columns.

    ``loss`` is "squared_error", half the mean squared error, or "poisson" for y >= 0: half the mean Poisson deviance,
    y log(y / r) - y + r, summed over the columns, of rates r whose logarithms ``model_`` gives.
"""
        + _PARAMETERS
    )

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **_Perceptron._constraints,
        "loss": (OneOf(("squared_error", "poisson")),),
    }

    loss: str

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        init: Any = "sklearn",
        dtype: Any = None,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> MLPRegressor:
        """Trains on rows X (N, d) with targets y (N,) or (N, outputs). Returns self.

        Args:
            sample_weight: What each row counts, (N,); rows of weight 0 are left out.
            validation_data: (X, y) of other rows.

        Raises:
            ValueError: Parameters or data are not as said.
        """
        rows = self._start(X)
        name = type(self).__name__
        y = check_target(y, name, len(rows), several=True)
        target, self._flat = self._columns(y), y.ndim == 1
        weights = self._weights(sample_weight, len(rows))
        if weights is not None and not weights.all():
            kept = weights > 0
            rows, target, weights = rows[kept], target[kept], weights[kept]
        held = None
        dtype = self._float(rows)
        if validation_data is not None:
            x, wanted = validation_data
            held_rows = check_rows(x, name)
            held_target = self._columns(check_target(wanted, name, len(held_rows), several=True))
            held = held_rows.astype(dtype, copy=False), held_target.astype(dtype)
            if held_rows.shape[1] != self.n_features_in_ or held[1].shape[1] != target.shape[1]:
                raise ValueError(
                    f"{name}: validation_data must have {self.n_features_in_} features and {target.shape[1]} outputs, "
                    f"got {held_rows.shape[1]} and {held[1].shape[1]}"
                )
        elif self.early_stopping:
            apart = self._apart(len(rows), None)
            held = rows[apart].astype(dtype, copy=False), target[apart].astype(dtype)
            rest = np.setdiff1d(np.arange(len(rows)), apart)
            rows, target, weights = rows[rest], target[rest], None if weights is None else weights[rest]
        self.validation_scores_ = list(getattr(self, "validation_scores_", [])) if self.warm_start else []
        self._learn(rows.astype(dtype, copy=False), target.astype(dtype), weights, held)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch on these rows. Returns self."""
        self._require_steps()
        first = not hasattr(self, "_model")
        rows = self._start(X, reset=first)
        y = check_target(y, type(self).__name__, len(rows), several=True)
        target, self._flat = self._columns(y), y.ndim == 1
        if first:
            self.validation_scores_ = []
        dtype = self._float(rows)
        weights = self._weights(sample_weight, len(rows))
        self._learn(rows.astype(dtype, copy=False), target.astype(dtype), weights, None, epochs=1)
        return self

    def _columns(self, y: np.ndarray) -> np.ndarray:
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"{type(self).__name__}: loss='poisson' wants y >= 0, but y holds {y.min():g}")
        return np.asarray(y, dtype=np.float64).reshape(len(y), -1)

    def _learn(
        self, x: np.ndarray, target: np.ndarray, weights: np.ndarray | None, held: Any, epochs: int | None = None
    ) -> None:
        outputs, rates = target.shape[1], self.loss == "poisson"
        total = None
        truth = None if held is None else held[1]
        if weights is not None:
            total = float(weights.sum())
            target = np.column_stack([target, weights * (len(x) / total)]).astype(x.dtype)
            if held is not None:
                held = held[0], np.column_stack([held[1], np.ones(len(held[1]))]).astype(x.dtype)
        loss = _half_poisson if rates else _half_squares if weights is None else _weighted_half_squares
        trainer = self._train(
            lambda: self._network(x.shape[1], outputs, x.dtype),
            lambda model: loss,
            x,
            target,
            total=total,
            validation=held,
            metrics={"squares": _squares_of_rates} if rates and held is not None else None,
            epochs=epochs,
        )
        if truth is not None:
            variance = float(truth.astype(np.float64).var(axis=0).mean())
            squares = trainer.history["val_squares"] if rates else [2 * v for v in trainer.history["val_loss"]]
            scores = [1 - v / variance if variance > 0 else float(v == 0) for v in squares]
            self.validation_scores_ = [*self.validation_scores_, *scores]
        self._close(outputs, "exp" if rates else "identity")

    def predict(self, X: Any) -> np.ndarray:
        """The outputs: (N,) if y had one dimension, else (N, outputs)."""
        rows = self._rows(X)
        guess = batchwise(self._model, self._model, rows)
        guess = np.exp(guess) if self.loss == "poisson" else guess
        return guess[:, 0] if self._flat else guess
