"""What every estimator shares: parameters, feature names, tags, scores, containers of outputs.

The classes here do not inherit from scikit-learn's, which would have to be imported; they keep its conventions
(https://scikit-learn.org/stable/developers/develop.html), which its ``check_estimator`` holds them to.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any, ClassVar, TypeVar

import numpy as np

from .checks import ConvergenceWarning as ConvergenceWarning
from .checks import DataConversionWarning as DataConversionWarning
from .checks import NotFittedError as NotFittedError
from .checks import check_parameters, check_rows, check_weights, known

E = TypeVar("E", bound="Estimator")


def _equal(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(np.all(a == b))
    except (TypeError, ValueError):
        return False


class Estimator:
    """Base class. A subclass's ``__init__`` takes keywords and stores each under its name, and nothing else.

    ``_constraints`` names what each parameter may be (tuples of those in :mod:`pyneural.estimators.checks`); ``fit``
    starts with ``x = self._start(X)``, and every method that needs a fitted estimator with ``x = self._rows(X)``.
    Attributes that fitting finds end with an underscore.
    """

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {}
    _kind: str | None = None  # of scikit-learn: classifier, regressor, clusterer, transformer
    _dtypes: tuple[Any, ...] = (np.float64, np.float32)  # of rows that are taken as they are

    n_features_in_: int
    feature_names_in_: np.ndarray

    # ---- parameters ----

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` also those of parameters that are estimators, as ``name__of_theirs``."""
        found: dict[str, Any] = {}
        for name in self._parameter_names():
            value = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                found.update((f"{name}__{k}", v) for k, v in value.get_params().items())
            found[name] = value
        return found

    def set_params(self: E, **parameters: Any) -> E:
        """Sets parameters by name; returns the estimator. ValueError for a name that it does not have."""
        names = self._parameter_names()
        deeper: dict[str, dict[str, Any]] = {}
        for key, value in parameters.items():
            name, _, rest = key.partition("__")
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: {names!r}."
                )
            if rest:
                deeper.setdefault(name, {})[rest] = value
            else:
                setattr(self, name, value)
        for name, inner in deeper.items():
            getattr(self, name).set_params(**inner)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [f"{k}={v!r}" for k, v in self.get_params(False).items() if not _equal(v, defaults[k].default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    # ---- data ----

    def _start(self, X: Any, *, reset: bool = True) -> np.ndarray:
        """Checks the parameters, then X, and takes note of its columns: the rows (N, d) as an array of one of
        ``_dtypes``. Without ``reset`` (a further ``partial_fit``) the columns must be those of the first call."""
        check_parameters(type(self).__name__, self.get_params(False), self._constraints)
        if not reset:
            return self._rows(X)
        names = _column_names(X)
        rows = check_rows(X, type(self).__name__, self._dtypes)
        self.n_features_in_ = rows.shape[1]
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return rows

    def _rows(self, X: Any) -> np.ndarray:
        """X as rows of an array with the columns that were fitted; NotFittedError or ValueError if that fails."""
        self._require_fitted()
        name = type(self).__name__
        self._check_names(_column_names(X), name)
        rows = check_rows(X, name, self._dtypes)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but {name} is expecting {self.n_features_in_} features as input"
            )
        return rows

    def _weights(self, sample_weight: Any, rows: int) -> np.ndarray | None:
        return check_weights(sample_weight, type(self).__name__, rows)

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise known(NotFittedError)(f"This {type(self).__name__} instance is not fitted yet; call fit first.")

    def __sklearn_is_fitted__(self) -> bool:
        seen = ("n_features_in_", "feature_names_in_")  # known before anything is learned
        return any(k.endswith("_") and not k.startswith("_") and k not in seen for k in vars(self))

    def _check_names(self, names: np.ndarray | None, owner: str) -> None:
        fitted = getattr(self, "feature_names_in_", None)
        if fitted is None and names is None:
            return
        if names is None:
            warnings.warn(
                f"X does not have valid feature names, but {owner} was fitted with feature names", stacklevel=4
            )
            return
        if fitted is None:
            warnings.warn(f"X has feature names, but {owner} was fitted without feature names", stacklevel=4)
            return
        if len(names) == len(fitted) and (names == fitted).all():
            return
        unseen, missing = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
        lines = ["The feature names should match those that were passed during fit."]
        for title, which in (
            ("Feature names unseen at fit time:", unseen),
            ("Feature names seen at fit time, yet now missing:", missing),
        ):
            if which:
                lines += [title, *[f"- {n}" for n in which[:5]], *(["- ..."] if len(which) > 5 else [])]
        if not unseen and not missing:
            lines.append("Feature names must be in the same order as they were in fit.")
        raise ValueError("\n".join(lines) + "\n")

    # ---- scikit-learn's questions ----

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks about an estimator; it is loaded, since only it asks."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags, TransformerTags

        supervised = self._kind in ("classifier", "regressor")
        transforms = hasattr(type(self), "transform")
        floats = [np.dtype(d).name for d in self._dtypes if np.dtype(d).kind == "f"]
        return Tags(
            estimator_type=self._kind,
            target_tags=TargetTags(required=supervised),
            transformer_tags=TransformerTags(preserves_dtype=floats) if transforms else None,
            classifier_tags=ClassifierTags() if self._kind == "classifier" else None,
            regressor_tags=RegressorTags() if self._kind == "regressor" else None,
            input_tags=InputTags(),
        )

    @property
    def _estimator_type(self) -> str | None:
        return self._kind


def _column_names(X: Any) -> np.ndarray | None:
    """The names of a data frame's columns if all are text."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    texts = [isinstance(n, str) for n in names]
    if not all(texts):
        if any(texts):
            raise TypeError(
                "Feature names are only supported if all input features have string names; convert them with "
                "X.columns = X.columns.astype(str)"
            )
        return None
    return np.array(names, dtype=object)


class ClassifierMixin(Estimator):
    """A classifier: ``predict`` gives labels of ``classes_``."""

    _kind = "classifier"
    classes_: np.ndarray

    def predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not say how it predicts")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is predicted."""
        right = self.predict(X) == np.asarray(y).reshape(-1)
        return float(np.average(right, weights=sample_weight))


class RegressorMixin(Estimator):
    """A regressor: ``predict`` gives numbers."""

    _kind = "regressor"

    def predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not say how it predicts")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination, 1 - residual / total sum of squares, as a mean over the outputs.

        An output that is constant counts 1 if it is predicted exactly and else 0.
        """
        guess = self.predict(X).astype(np.float64)
        truth: np.ndarray = np.asarray(y, dtype=np.float64).reshape(guess.shape)
        weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        guess, truth = guess.reshape(len(guess), -1), truth.reshape(len(truth), -1)
        residual = weight @ (truth - guess) ** 2
        total = weight @ (truth - np.average(truth, axis=0, weights=weight)) ** 2
        varies = total > 0
        scores = np.where(varies, 1 - residual / np.where(varies, total, 1.0), np.where(residual == 0, 1.0, 0.0))
        return float(scores.mean())


class ClustererMixin(Estimator):
    """A clusterer: fitting finds ``labels_``."""

    _kind = "clusterer"
    labels_: np.ndarray

    def fit_predict(self, X: Any, y: Any = None, **arguments: Any) -> np.ndarray:
        """Fits, and returns the cluster of each row (N,)."""
        return self.fit(X, **arguments).labels_  # type: ignore[attr-defined]


class TransformerMixin(Estimator):
    """A transformer. ``_transform`` computes; ``transform`` puts the result into the container that was asked for."""

    _kind: str | None = "transformer"

    def _transform(self, X: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not say how it transforms")

    def transform(self, X: Any) -> Any:
        """The rows of X in the new coordinates: (N, outputs), in the dtype of floating X."""
        return self._contained(self._transform(X), X)

    def fit_transform(self, X: Any, y: Any = None, **arguments: Any) -> Any:
        """Fits, and transforms the same rows."""
        return self.fit(X, y, **arguments).transform(X)  # type: ignore[attr-defined]

    @property
    def _outputs(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not say how many outputs it has")

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs: the class's name in lower case and a number. ValueError if names of inputs are given
        that are not those of the fit."""
        self._require_fitted()
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            if len(given) != self.n_features_in_:
                expected = f"number of features ({self.n_features_in_})"
                raise ValueError(f"input_features should have length equal to {expected}, got {len(given)}")
            fitted = getattr(self, "feature_names_in_", None)
            if fitted is not None and not np.array_equal(fitted, given):
                raise ValueError("input_features is not equal to feature_names_in_")
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(self._outputs)], dtype=object)

    def set_output(self: E, *, transform: str | None = None) -> E:
        """What ``transform`` returns: "default" (NumPy), "pandas" or "polars"; None changes nothing.

        Without a choice it is scikit-learn's ``transform_output``, if that is loaded.
        """
        if transform is not None:
            if transform not in ("default", "pandas", "polars"):
                raise ValueError(f"set_output: transform must be 'default', 'pandas' or 'polars', got {transform!r}")
            self._sklearn_output_config = {"transform": transform}
        return self

    def _contained(self, values: np.ndarray, X: Any) -> Any:
        chosen = getattr(self, "_sklearn_output_config", {}).get("transform")
        if chosen is None and "sklearn" in sys.modules:
            chosen = sys.modules["sklearn"].get_config().get("transform_output")
        if chosen in (None, "default"):
            return values
        names = self.get_feature_names_out()
        if chosen == "pandas":
            import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]

            index = X.index if isinstance(X, pandas.DataFrame) else None
            return pandas.DataFrame(values, columns=names, index=index, copy=False)
        import polars  # type: ignore[import-not-found,unused-ignore]

        return polars.DataFrame(values, schema=names.tolist(), orient="row")
