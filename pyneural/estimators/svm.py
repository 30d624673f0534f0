"""Support vector machines with scikit-learn's names."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..learn.svm import KERNELS, Kernel, Limits, Machines, svc, svr
from ..learn.svm_probability import calibrate, probabilities, unseen_values
from . import checks
from .base import ClassifierMixin, Estimator, RegressorMixin
from .checks import BOOLEAN, CALLABLE, COUNT, NOT_NEGATIVE, POSITIVE, SEED, Interval, Kind, OneOf, class_weights

_SHARED: dict[str, tuple[Any, ...]] = {
    "C": (Interval(checks.Real, 0, float("inf"), "right"),),
    "kernel": (OneOf(KERNELS), CALLABLE),
    "degree": (COUNT,),
    "gamma": (OneOf(("scale", "auto")), NOT_NEGATIVE),
    "coef0": (Interval(checks.Real),),
    "shrinking": (BOOLEAN,),
    "tol": (POSITIVE,),
    "cache_size": (POSITIVE,),
    "verbose": (BOOLEAN, COUNT),
    "max_iter": (Interval(checks.Integral, -1),),
    "max_time": (OneOf((None,)), POSITIVE),
    "progress": (OneOf((None,)), BOOLEAN, CALLABLE),
}


class _Machine(Estimator):
    """What the classifier and the regressor share."""

    C: float
    kernel: Any
    degree: int
    gamma: Any
    coef0: float
    shrinking: bool
    tol: float
    cache_size: float
    verbose: Any
    max_iter: int
    max_time: float | None
    progress: Any
    _machines: Machines

    def _kernel(self) -> Kernel:
        return Kernel(self.kernel, self.degree, self.gamma, self.coef0)

    def _limits(self) -> Limits:
        return Limits(
            tol=self.tol,
            shrinking=self.shrinking,
            cache_bytes=int(self.cache_size * 2**20),
            max_iter=self.max_iter,
            max_time=self.max_time,
            progress=self.progress if self.progress is not None else bool(self.verbose),
        )

    def _keep(self, machines: Machines, X: np.ndarray) -> None:
        self._machines = machines
        self.support_ = machines.support
        self.support_vectors_ = machines.vectors
        self.n_support_ = np.diff(machines.starts).astype(np.int32)
        self.fit_status_ = 0 if machines.finished else 1
        self.shape_fit_ = X.shape
        self.gap_ = float(machines.gaps.max())
        self.gamma_ = machines.kernel.gamma

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


class SVC(ClassifierMixin, _Machine):
    """Support vector classification, one class against one, by sequential minimal optimisation.

    Parameters, attributes and defaults are those of scikit-learn's SVC; every parameter is a keyword. Fitting uses
    several threads, with the same bits for any number of them. float32 rows are computed in float32 (the gradient in
    float64). With ``sample_weight``, gamma="scale" counts rows by their weight, so that a weight of 2 is the same as a
    row that stands there twice.

    Args:
        C: Cost of a violated margin; infinity for a hard margin.
        kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function of two matrices.
        degree, gamma, coef0: Of the kernel; see :class:`pyneural.learn.svm.Kernel`.
        shrinking: Leave out variables that seem to stay at their bounds while solving.
        probability: Also fit sigmoids to the values of 5 cross-validated fits (which takes about 5 times as long);
            then ``predict`` is the argmax of ``predict_proba``.
        tol: Largest violation of the optimality conditions that is left.
        cache_size: MiB for kernel values.
        class_weight: None, "balanced" or a dict from label to weight.
        verbose: True is progress=True.
        max_iter: Steps of each pair of classes; -1 for no limit.
        decision_function_shape: "ovr" (one column for each class) or "ovo" (one for each pair).
        break_ties: Break ties of votes by the "ovr" values, at the cost of computing them.
        random_state: Seed of the cross-validation.
        max_time: Seconds of the fit; then it ends with a warning that says how much is left.
        progress: True for a line on stderr, or a function; see :class:`pyneural.learn.svm.Limits`.

    Attributes:
        classes_: Labels (k,).
        support_, support_vectors_, n_support_: Support vectors by class: rows, values, and how many of each class.
        dual_coef_: (k - 1, vectors), in libsvm's layout.
        intercept_: (pairs,).
        coef_: Weights (pairs, d) of a linear kernel.
        n_iter_: Steps of each pair.
        gap_: Largest violation of the optimality conditions that is left.
        fit_status_: 0 if the tolerance was reached.
        gamma_: The number that ``gamma`` came to.
        probA_, probB_: The sigmoids of each pair, if ``probability``.
        class_weight_, shape_fit_, n_features_in_, feature_names_in_: As in scikit-learn.
    """

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **_SHARED,
        "probability": (BOOLEAN,),
        "class_weight": (OneOf((None, "balanced")), Kind((dict,), "a dict")),
        "decision_function_shape": (OneOf(("ovr", "ovo")),),
        "break_ties": (BOOLEAN,),
        "random_state": (SEED,),
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        shrinking: bool = True,
        probability: bool = False,
        tol: float = 1e-3,
        cache_size: float = 200,
        class_weight: Any = None,
        verbose: Any = False,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        random_state: Any = None,
        max_time: float | None = None,
        progress: Any = None,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.shrinking = shrinking
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state
        self.max_time = max_time
        self.progress = progress

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SVC:
        """Fits to rows X (N, d) and labels y (N,); sample_weight (N,) scales C.

        Raises:
            ValueError: Data that do not fit or are not finite, one class only, or C = infinity where the classes
                cannot be separated.
        Warns:
            ConvergenceWarning: A limit was reached. UserWarning: features are unscaled and the fit is slow.
        """
        x = self._start(X)
        self.classes_, codes = checks.check_classes(y, "SVC", len(x))
        weights = self._weights(sample_weight, len(x))

        def fit(rows: np.ndarray) -> Machines:
            whole = len(rows) == len(x)
            data = x if whole else x[np.ix_(rows, rows)] if self.kernel == "precomputed" else x[rows]
            weight = self.class_weight
            if isinstance(weight, dict) and not whole:  # a fold may lack a class
                present = set(self.classes_[codes[rows]].tolist())
                weight = {label: w for label, w in weight.items() if label in present}
            return svc(
                data,
                y=self.classes_[codes[rows]],
                C=self.C,
                kernel=self._kernel(),
                class_weight=weight,
                sample_weight=None if weights is None else weights[rows],
                limits=self._limits(),
                name="SVC",
            )

        machines = fit(np.arange(len(x)))
        self._keep(machines, x)
        self.class_weight_ = class_weights(self.class_weight, self.classes_, codes, "SVC")
        self.n_iter_ = machines.iterations
        # libsvm's values are positive for the earlier class, scikit-learn's binary ones for the later.
        sign = -1.0 if len(self.classes_) == 2 else 1.0
        self.dual_coef_ = sign * machines.coefficients
        self.intercept_ = -sign * machines.rho
        if self.probability:
            seed = int(checks.generator_of(self.random_state).initial_seed())
            kept = np.arange(len(x)) if weights is None else np.flatnonzero(weights)

            def decide(machines: Machines, train: np.ndarray, test: np.ndarray) -> np.ndarray:
                test = kept[test]
                return machines.decide(x[np.ix_(test, kept[train])] if self.kernel == "precomputed" else x[test])

            values = unseen_values(
                lambda rows: fit(kept[rows]), decide, codes[kept], len(self.classes_), np.random.default_rng(seed)
            )
            counts = self.class_weight_[codes] * (1.0 if weights is None else weights)
            sigmoids = calibrate(values, codes[kept], len(self.classes_), counts[kept])
            self.probA_, self.probB_ = sigmoids[:, 0], sigmoids[:, 1]
        return self

    def _values(self, X: Any) -> np.ndarray:
        rows = self._rows(X)  # first: it asks whether there are machines
        return self._machines.decide(rows)

    def _one_against_rest(self, values: np.ndarray) -> np.ndarray:
        # Votes, and within a third of a vote the sum of the values.
        votes = np.zeros((len(values), len(self.classes_)))
        sums = np.zeros_like(votes)
        for p, (i, j) in enumerate(self._machines.pairs):
            later = values[:, p] < 0
            votes[:, i] += ~later
            votes[:, j] += later
            sums[:, i] += values[:, p]
            sums[:, j] -= values[:, p]
        return votes + sums / (3 * (np.abs(sums) + 1))

    def decision_function(self, X: Any) -> np.ndarray:
        """Values of rows X, float64: (N,) for two classes (positive for the later), else (N, classes) or, with "ovo",
        (N, pairs) (positive for the earlier)."""
        values = self._values(X)
        if len(self.classes_) == 2:
            return -values[:, 0]
        return self._one_against_rest(values) if self.decision_function_shape == "ovr" else values

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N,): the class that wins most pairs, the earlier one if several do; with ``probability`` the class
        of the largest probability. ValueError if break_ties is asked for with "ovo"."""
        if self.break_ties and self.decision_function_shape == "ovo":
            raise ValueError("SVC: break_ties must be False when decision_function_shape is 'ovo'")
        values = self._values(X)
        if self.probability:
            scores = self._probabilities(values)
        elif self.break_ties and len(self.classes_) > 2:
            scores = self._one_against_rest(values)
        else:
            scores = self._machines.votes(values)
        return self.classes_[np.argmax(scores, axis=1)]

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        if not hasattr(self, "probA_"):
            raise checks.known(checks.NotFittedError)("SVC was fitted with probability=False; fit it again")
        return probabilities(values, np.stack([self.probA_, self.probB_], axis=1), len(self.classes_))

    @property
    def predict_proba(self) -> Any:
        """``predict_proba(X)``: probabilities (N, classes), with ``probability=True`` only."""
        if not self.probability:
            raise AttributeError("SVC: predict_proba needs SVC(probability=True)")
        return self._predict_proba

    @property
    def predict_log_proba(self) -> Any:
        """``predict_log_proba(X)``: their logarithms."""
        if not self.probability:
            raise AttributeError("SVC: predict_log_proba needs SVC(probability=True)")
        return self._predict_log_proba

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self._probabilities(self._values(X))

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self._predict_proba(X))

    @property
    def coef_(self) -> np.ndarray:
        """Weights of a linear kernel, (pairs, d); AttributeError for another kernel."""
        planes = self._machines.planes
        return -planes if len(self.classes_) == 2 else planes


class SVR(RegressorMixin, _Machine):
    """Support vector regression: errors up to epsilon cost nothing, each unit beyond costs C.

    Parameters, attributes and defaults are those of scikit-learn's SVR; every parameter is a keyword, and those of
    :class:`SVC` mean the same here.

    Attributes:
        dual_coef_: (1, vectors).
        intercept_: (1,).
        coef_: (1, d).
        support_, support_vectors_, n_support_, n_iter_, gap_, fit_status_, gamma_: As of :class:`SVC`.
        shape_fit_, n_features_in_, feature_names_in_: Likewise.
    """

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {**_SHARED, "epsilon": (NOT_NEGATIVE,)}

    def __init__(
        self,
        *,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        C: float = 1.0,
        epsilon: float = 0.1,
        shrinking: bool = True,
        cache_size: float = 200,
        verbose: Any = False,
        max_iter: int = -1,
        max_time: float | None = None,
        progress: Any = None,
    ) -> None:
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.C = C
        self.epsilon = epsilon
        self.shrinking = shrinking
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter
        self.max_time = max_time
        self.progress = progress

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SVR:
        """Fits to rows X (N, d) and numbers y (N,); sample_weight (N,) scales C. Raises and warns as SVC.fit."""
        x = self._start(X)
        machines = svr(
            x,
            checks.check_target(y, "SVR", len(x)),
            C=self.C,
            epsilon=self.epsilon,
            kernel=self._kernel(),
            sample_weight=self._weights(sample_weight, len(x)),
            limits=self._limits(),
            name="SVR",
        )
        self._keep(machines, x)
        self.n_iter_ = int(machines.iterations[0])
        self.dual_coef_ = machines.coefficients
        self.intercept_ = -machines.rho
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers (N,), float64."""
        rows = self._rows(X)
        return self._machines.decide(rows)[:, 0]

    @property
    def coef_(self) -> np.ndarray:
        """Weights of a linear kernel, (1, d); AttributeError for another kernel."""
        return self._machines.planes
