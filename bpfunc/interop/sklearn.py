"""Estimators for scikit-learn: thin shells over the library's pure functions, with the parameters of its own MLPs.

What an estimator does when it is fitted can be read in `_Backprop._records`: a training is the iterator that
`bpfunc.training.loop.train` gives, validated, logged and stopped by ordinary consumers. The estimator keeps the last
record's `TrainState` in ``state_`` and nothing else that it could not do without.

Reference: Buitinck et al., "API design for machine learning software: experiences from the scikit-learn project"
(2013).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Self, TypeAlias, TypeGuard, TypeVar, cast

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfunc.arrays.types import BoolArray, FloatArray, IntArray
from bpfunc.batches.batch import Batch, batches_per_epoch, epoch_batches, in_order, shuffled
from bpfunc.batches.splits import train_validation_split
from bpfunc.gradient.modes import GradientMaker
from bpfunc.interop.estimator_facts import (
    FITTED,
    LABELS,
    EstimatorFacts,
    from_json,
    label_array,
    label_values,
    read_facts,
    to_json,
    write_facts,
)
from bpfunc.interop.mlp_parts import (
    ACTIVATIONS,
    dense_params,
    falling,
    folded_momentum,
    inverse_scaling,
    network,
    penalised,
    scaled,
    until_settled,
)
from bpfunc.interop.safetensors import from_safetensors, to_safetensors
from bpfunc.keys import Key, split
from bpfunc.layers import Layer
from bpfunc.losses import (
    Loss,
    absolute_error,
    binary_cross_entropy,
    cross_entropy,
    focal,
    huber,
    multilabel_cross_entropy,
    squared_error,
)
from bpfunc.metrics import Metric, mean, mean_metric
from bpfunc.metrics.base import never_of_nan
from bpfunc.ops import log_softmax, sigmoid, softmax
from bpfunc.optimizers import adam, adamw, weights_only
from bpfunc.training.consumers import EpochLike, ValidatedEpoch, logged, validated
from bpfunc.training.loop import EpochBatches, predict, train
from bpfunc.training.step import TrainState, init_train_state, make_step
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.schedules import Schedule, constant, cosine, one_cycle
from bpfunc.tree import tree_cast, tree_leaves

try:
    from scipy.sparse import issparse
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "bpfunc.interop.sklearn needs scikit-learn: pip install 'bpfunc[sklearn]'", name=missing.name
    ) from None

Callback: TypeAlias = Callable[[Iterator[EpochLike]], Iterable[EpochLike]]
"""A consumer of a training's records that hands them on: ``records -> records``, as in `bpfunc.training.consumers`."""
Write: TypeAlias = Callable[[str], None]
"""Takes a line, such as ``print``."""
RowsT = TypeVar("RowsT", bound=object)
"""An array, or a sparse one."""
SOLVERS = ("sgd", "adam", "adamw")
"""What ``solver`` may be called."""
RATES = ("constant", "invscaling", "adaptive", "cosine", "one_cycle")
"""What ``learning_rate`` may be called; the first three are scikit-learn's."""
SMALLEST_ENTRY = 60
"""Bytes that a tensor's name, dtype, shape and place take at least in the header of a file."""


def _dtype(state: TrainState) -> np.dtype[np.floating]:
    """In which the parameters are."""
    return dense_params(state.params)[0].weight.dtype


@attrs.frozen(eq=False)
class _Work:
    """The rows of one fit: to learn from, by their numbers; and to choose by."""

    learn: Batch
    held: Batch | None


def _train_loss(record: EpochLike) -> float:
    return mean(record.metrics.loss)


def _negative_score(record: EpochLike) -> float:
    return -mean(record.validation.metric) if isinstance(record, ValidatedEpoch) else math.nan


def _dense(rows: RowsT) -> RowsT:
    """Rows as an array, whether they were sparse or not."""
    return rows.toarray() if issparse(rows) else rows  # type: ignore[attr-defined]


def _numbered(rows: IntArray, targets: FloatArray | IntArray, weights: FloatArray | None = None) -> Batch:
    """Rows that are known by their numbers, so that what stands in them is gathered batch by batch."""
    return Batch(rows, targets, weights)  # type: ignore[arg-type]


def _column(y: NDArray[np.generic]) -> NDArray[np.generic]:
    """A single column as a vector, with scikit-learn's warning."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def _variance(targets: FloatArray | IntArray, weights: FloatArray | None) -> FloatArray:
    """(H,) variance of each output's targets, 0 where they are one number: rounding leaves no trace of it."""
    counted = 0 if weights is None else int(np.argmax(weights > 0))
    centred = targets - targets[counted].astype(np.float64)
    centred -= np.average(centred, axis=0, weights=weights)
    return np.average(np.square(centred), axis=0, weights=weights)


def _hidden(sizes: int | Sequence[int]) -> list[int]:
    return list(sizes) if isinstance(sizes, Iterable) else [sizes]


def _check_weights(sample_weight: object, rows: int) -> FloatArray | None:
    if sample_weight is None:
        return None
    weights: FloatArray = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight is one number for each of the {rows} rows, got shape {weights.shape}")
    if not (weights >= 0).all() or not weights.any():
        raise ValueError("each sample_weight is at least 0, and they are not all zero")
    return weights


_Rule: TypeAlias = tuple[Callable[[float], bool], str]
_AT_LEAST_0: _Rule = (lambda value: 0 <= value < math.inf, "a number of at least 0")
_ABOVE_0: _Rule = (lambda value: 0 < value < math.inf, "a number above 0")
_FRACTION: _Rule = (lambda value: 0 <= value < 1, "a number in [0, 1)")
_COUNT: _Rule = (lambda value: value >= 1 and isinstance(value, Integral), "a whole number of at least 1")
_NUMBERS: dict[str, _Rule] = {
    "alpha": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "learning_rate_init": _ABOVE_0,
    "power_t": _AT_LEAST_0,
    "max_iter": _COUNT,
    "tol": _AT_LEAST_0,
    "dropout": _FRACTION,
    "momentum": _FRACTION,
    "validation_fraction": (lambda value: 0 < value < 1, "a number in (0, 1)"),
    "beta_1": _FRACTION,
    "beta_2": _FRACTION,
    "epsilon": _ABOVE_0,
    "n_iter_no_change": (
        lambda value: value == math.inf or _COUNT[0](value),
        "a whole number of at least 1, or infinity",
    ),
}


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, not a truth value, and within what a float holds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _plain(fitted: object) -> object:
    """A fitted attribute as JSON holds it: a number, text, None or a list of numbers."""
    return [to_json(item) for item in fitted] if isinstance(fitted, list) else to_json(fitted)


def _is_precision(dtype: str | type) -> bool:
    try:
        return np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))
    except TypeError:
        return False


def _named(name: str, value: object, names: Iterable[str], kind: type, meaning: str) -> None:
    """Refuse a parameter that is neither one of some names nor a function or record of the right kind."""
    known = tuple(names)
    if value in known if isinstance(value, str) else isinstance(value, kind):
        return
    hint = "; there is no L-BFGS here: take adam, or scikit-learn's own MLP" if value == "lbfgs" else ""
    raise ValueError(f"{name} is one of {', '.join(known)}, or {meaning}; got {value!r}{hint}")


class _Backprop(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share: everything but the meaning of the outputs."""

    state_: TrainState
    n_features_in_: int
    n_outputs_: int
    out_activation_: str
    n_iter_: int
    t_: int
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Layer = "relu",
        *,
        loss: str | Loss = "squared_error",
        solver: str | GradientTransform = "adam",
        alpha: float = 0.0001,
        weight_decay: float = 0.01,
        dropout: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | Write = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        dtype: str | type | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Keep the parameters as they are; they are looked at when the estimator is fitted."""
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dtype = dtype
        self.callbacks = callbacks

    # What the outputs mean, which the two estimators say.

    def _check_y(self, y: object) -> NDArray[np.generic]:
        """Check the form of targets."""
        raise NotImplementedError

    def _learn_outputs(self, y: NDArray[np.generic], classes: ArrayLike | None, *, fresh: bool, whole: bool) -> None:
        """Set ``n_outputs_``, ``out_activation_`` and ``classes_``, or check that the targets go with those there are.

        ``whole`` says that all classes must occur, as they need not where a training goes on row by row.
        """
        raise NotImplementedError

    def _targets(self, y: NDArray[np.generic], dtype: np.dtype[np.floating]) -> FloatArray | IntArray:
        """Bring targets into the form that the loss takes."""
        raise NotImplementedError

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _metric(self, data: Batch) -> Metric:
        """What `score` computes, as a metric over the rows of ``data``."""
        raise NotImplementedError

    def _strata(self, y: NDArray[np.generic]) -> IntArray | None:
        """Class indices to stratify a split by, or None."""
        raise NotImplementedError

    def _class_weights(self, y: NDArray[np.generic], weights: FloatArray | None) -> FloatArray | None:
        """Weights of the rows, with those of their classes."""
        return weights

    # The pure parts, from the parameters.

    def _sizes(self) -> list[int]:
        """Units of each layer, inputs first."""
        return [self.n_features_in_, *_hidden(self.hidden_layer_sizes), self.n_outputs_]

    def _model(self, dtype: np.dtype[np.floating]) -> Layer:
        return network(self._sizes(), self.activation, dropout=float(self.dropout), dtype=dtype.type)

    def _transform(self, rate: Schedule) -> GradientTransform:
        if isinstance(self.solver, GradientTransform):
            return self.solver
        if self.solver == "sgd":
            return folded_momentum(rate, float(self.momentum), nesterov=bool(self.nesterovs_momentum))
        moments = {"beta1": float(self.beta_1), "beta2": float(self.beta_2), "eps": float(self.epsilon)}
        if self.solver == "adam":
            return adam(rate, **moments)
        return adamw(rate, **moments, weight_decay=float(self.weight_decay), decay_mask=weights_only)

    def _gradient(self) -> GradientMaker:
        """Plain gradients, or with the penalty ``alpha`` where the solver is one of scikit-learn's."""
        return penalised(float(self.alpha) if self.solver in ("sgd", "adam") else 0.0)

    def _rates(self, state: TrainState, rows: int, size: int, seen: int) -> Iterable[Schedule]:
        """The schedules to train with, one after the other; all but ``adaptive`` are a single one."""
        per_epoch = batches_per_epoch(rows, size)
        first, steps = float(self.learning_rate_init), int(self.max_iter) * per_epoch
        if self.learning_rate == "constant":
            return (constant(first),)
        if self.learning_rate == "invscaling":
            power = float(self.power_t)
            return (inverse_scaling(first, power, rows=rows, per_epoch=per_epoch, seen=seen, start=state.step),)
        if self.learning_rate == "adaptive":
            return falling(first)
        if self.learning_rate == "cosine":
            return (cosine(first, steps),)
        return (one_cycle(first, steps),) if self.learning_rate == "one_cycle" else (self.learning_rate,)  # type: ignore[return-value]

    def _batch_size(self, rows: int) -> int:
        return min(200 if isinstance(self.batch_size, str) else int(self.batch_size), rows)

    def _batches(self, X: FloatArray, data: Batch, key: Key, size: int) -> EpochBatches:
        """Epochs of mini-batches; ``data`` holds row numbers in place of inputs, so that sparse rows stay sparse."""
        sampler = shuffled if self.shuffle else in_order
        return lambda epoch: (
            attrs.evolve(batch, inputs=_dense(X[cast(IntArray, batch.inputs)]))
            for batch in epoch_batches(data, key, epoch, size, sampler=sampler)
        )

    def _records(
        self, state: TrainState, batches: EpochBatches, work: _Work, rates: Iterable[Schedule], epochs: range
    ) -> Iterable[EpochLike]:
        """The training as an iterator: train, validate, stop when settled, then what the caller wants to see of it."""
        model, loss, held = self._model(_dtype(state)), self._loss(), work.held
        metric = self._metric(work.learn)

        def stage(rate: Schedule, state: TrainState, done: int) -> Iterator[EpochLike]:
            step = make_step(model, loss, self._transform(rate), metric=metric, gradient=self._gradient())
            trained = train(step, state, batches, epochs=epochs.stop, start=done, metric=metric)
            return trained if held is None else validated(trained, model, loss, held, metric=self._metric(held))

        score = _negative_score if self.early_stopping else _train_loss
        patience, tol = float(self.n_iter_no_change), float(self.tol)
        records: Iterable[EpochLike] = until_settled(
            stage, rates, state, score, done=epochs.start, patience=patience, tol=tol
        )
        if callable(self.verbose):
            records = logged(records, self.verbose, metric=metric)
        for callback in self.callbacks:
            records = callback(iter(records))
        return records

    # The shell.

    def partial_fit(self, X: object, y: object, sample_weight: ArrayLike | None = None) -> Self:
        """Go on for one epoch over these rows: parameters, optimiser and step count stay what they were.

        Args:
            X: (n, D) rows, dense or sparse.
            y: Their targets.
            sample_weight: (n,) how much each row counts; all the same where None.

        Returns:
            The estimator.

        Raises:
            ValueError: What was given does not fit, or early stopping or a falling learning rate was asked for.
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(
        self,
        X: object,
        y: object,
        sample_weight: ArrayLike | None,
        validation_data: Sequence[object] | None,
        *,
        classes: ArrayLike | None = None,
        incremental: bool = False,
    ) -> Self:
        """Fit, or leave everything as it was."""
        before = dict(vars(self))
        try:
            return self._fitted(X, y, sample_weight, validation_data, classes=classes, incremental=incremental)
        except BaseException:
            self.__dict__ = before
            raise

    def _fitted(
        self,
        X: object,
        y: object,
        sample_weight: ArrayLike | None,
        validation_data: Sequence[object] | None,
        *,
        classes: ArrayLike | None,
        incremental: bool,
    ) -> Self:
        self._check_parameters(incremental=incremental)
        fresh = not hasattr(self, "state_") or not (self.warm_start or incremental)
        rows, targets = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=self._accepted() if fresh else _dtype(self.state_),
            multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
            reset=fresh,
        )
        labels = self._check_y(targets)
        self._learn_outputs(labels, classes, fresh=fresh, whole=not incremental)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        start, order, aside = split(Key(seed), 3)
        work = self._work(rows, labels, _check_weights(sample_weight, len(labels)), validation_data, aside)
        state = self._start(rows.dtype, start, fresh=fresh, incremental=incremental)
        count = len(work.learn.targets)
        size = self._batch_size(count)
        rates = self._rates(state, count, size, 0 if fresh else self.t_)
        done = self.n_iter_ if incremental and not fresh else 0
        epochs = range(done, done + 1 if incremental else int(self.max_iter))
        records = self._records(state, self._batches(rows, work.learn, order, size), work, rates, epochs)
        return self._keep(records, count, fresh=fresh, incremental=incremental)

    def _work(
        self,
        X: FloatArray,
        y: NDArray[np.generic],
        weights: FloatArray | None,
        validation_data: Sequence[object] | None,
        aside: Key,
    ) -> _Work:
        """What to learn from, and what to choose by."""
        rows: IntArray = np.arange(len(y)) if weights is None else np.flatnonzero(weights)
        held = None if validation_data is None else self._held(validation_data, X.dtype)
        if held is None and self.early_stopping:
            strata = self._strata(y)
            numbers = _numbered(rows, np.zeros(len(rows), np.intp) if strata is None else strata[rows])
            learn, choose = train_validation_split(numbers, aside, float(self.validation_fraction))
            rows, at = learn.inputs.astype(np.intp), choose.inputs.astype(np.intp)
            held = Batch(_dense(X[at]), self._targets(y[at], X.dtype), None if weights is None else weights[at])
        counted = self._class_weights(y[rows], None if weights is None else weights[rows])
        return _Work(_numbered(rows, self._targets(y[rows], X.dtype), counted), held)

    def _held(self, validation_data: Sequence[object], dtype: np.dtype[np.floating]) -> Batch:
        """Validation rows that the caller gave."""
        if not 2 <= len(validation_data) <= 3:
            raise ValueError("validation_data is (X, y) or (X, y, sample_weight)")
        X = validate_data(self, validation_data[0], accept_sparse="csr", dtype=dtype, reset=False)
        try:
            y = self._check_y(validation_data[1])
            targets = self._targets(y, dtype)
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from None
        check_consistent_length(X, y)
        weights = _check_weights(validation_data[2], len(y)) if len(validation_data) == 3 else None
        return Batch(_dense(X), targets, weights)

    def _start(self, dtype: np.dtype[np.floating], key: Key, *, fresh: bool, incremental: bool) -> TrainState:
        """A new state, the last one, or (warm start) a new one with the last one's parameters."""
        if incremental and not fresh:
            return self.state_
        new = self._new_state(dtype, key)
        if fresh:
            return new
        old = self.state_
        if [leaf.shape for leaf in tree_leaves(old.params)] != [leaf.shape for leaf in tree_leaves(new.params)]:
            raise ValueError("warm_start goes on with the network that there is, but hidden_layer_sizes have changed")
        optimizer_state = self._transform(constant(1.0)).init(old.params)
        return attrs.evolve(new, params=old.params, layer_state=old.layer_state, optimizer_state=optimizer_state)

    def _new_state(self, dtype: np.dtype[np.floating], key: Key) -> TrainState:
        model, transform = self._model(dtype), self._transform(constant(1.0))
        return tree_cast(init_train_state(model, transform, key, (self.n_features_in_,)), dtype)

    def _keep(self, records: Iterable[EpochLike], rows: int, *, fresh: bool, incremental: bool) -> Self:
        """Run through the records, and set what is fitted from them."""
        losses: list[float] = [] if fresh else list(self.loss_curve_)
        scores: list[float] = [] if fresh else list(self.validation_scores_ or ())
        before, last, best, kept = len(losses), None, -math.inf, None
        for last in records:
            losses.append(_train_loss(last))
            if isinstance(last, ValidatedEpoch):
                scores.append(-_negative_score(last))
                best, kept = (scores[-1], last) if kept is None or scores[-1] > best else (best, kept)
        if last is None:
            raise ValueError("the callbacks handed on no record, so there is nothing to keep")
        state = kept.state if self.early_stopping and kept is not None else last.state
        if not all(np.isfinite(leaf).all() for leaf in tree_leaves(state.params)):
            raise ValueError(
                "training made parameters that are not finite: scale the inputs, or lower the learning rate"
            )
        if not incremental and last.number == self.max_iter:
            message = f"{type(self).__name__}: {self.max_iter} iterations, and not settled; see max_iter and tol"
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
        self.state_ = state
        self.n_iter_ = last.number
        self.t_ = (0 if fresh else self.t_) + rows * (len(losses) - before)
        self.loss_curve_ = losses
        self.best_loss_ = None if self.early_stopping else min(losses)
        self.validation_scores_ = scores or None
        self.best_validation_score_ = max(scores) if scores else None
        return self

    def _check_parameters(self, *, incremental: bool) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if incremental and self.learning_rate in ("adaptive", "cosine", "one_cycle"):
            raise ValueError(f"partial_fit cannot tell when learning_rate={self.learning_rate!r} has to fall")
        for name, (holds, meaning) in _NUMBERS.items():
            value = getattr(self, name)
            if not _is_number(value) or not holds(value):
                raise ValueError(f"{name} is {meaning}, got {value!r}")
        hidden = self.hidden_layer_sizes
        if not all(_is_number(size) and _COUNT[0](size) for size in _hidden(hidden)):
            raise ValueError(f"hidden_layer_sizes are whole numbers and must be > 0, got {hidden!r}")
        if self.batch_size != "auto" and not (_is_number(self.batch_size) and _COUNT[0](self.batch_size)):
            raise ValueError(f"batch_size is 'auto' or a whole number of at least 1, got {self.batch_size!r}")
        _named("activation", self.activation, ACTIVATIONS, Layer, "a bpfunc Layer")
        _named("solver", self.solver, SOLVERS, GradientTransform, "a bpfunc GradientTransform")
        _named("learning_rate", self.learning_rate, RATES, Callable, "a schedule: a function of the step")  # type: ignore[arg-type]
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise ValueError(f"{name} is True or False, got {getattr(self, name)!r}")
        if self.verbose is not False and not callable(self.verbose):
            raise ValueError(f"verbose is False or what takes a line, such as verbose=print; got {self.verbose!r}")
        if self.dtype is not None and not _is_precision(self.dtype):
            raise ValueError(f"dtype is None (that of X), 'float32' or 'float64', got {self.dtype!r}")
        if not isinstance(self.callbacks, Sequence) or not all(map(callable, self.callbacks)):
            raise ValueError(f"callbacks are functions, records -> records; got {self.callbacks!r}")

    def _accepted(self) -> list[type]:
        return [np.float64, np.float32] if self.dtype is None else [np.dtype(self.dtype).type]

    def _outputs(self, X: object) -> FloatArray:
        """What the network says, (n, K)."""
        check_is_fitted(self)
        state, dtype = self.state_, _dtype(self.state_)
        rows: FloatArray = validate_data(self, X, accept_sparse="csr", dtype=dtype, reset=False)
        model, size = self._model(dtype), 1024 if issparse(rows) else rows.shape[0]
        parts = (_dense(rows[start : start + size]) for start in range(0, rows.shape[0], size))
        return np.concatenate([predict(model, state.params, state.layer_state, part) for part in parts])

    @property
    def coefs_(self) -> list[FloatArray]:
        """Weights of each dense layer, (D, H), read-only."""
        return [layer.weight for layer in dense_params(self.state_.params)]

    @property
    def intercepts_(self) -> list[FloatArray | None]:
        """Biases of each dense layer, (H,), read-only."""
        return [layer.bias for layer in dense_params(self.state_.params)]

    @property
    def loss_(self) -> float:
        """Loss of the last epoch, with the penalty ``alpha``."""
        return float(self.loss_curve_[-1])

    @property
    def n_layers_(self) -> int:
        """Layers of units, inputs and outputs among them."""
        return len(self.coefs_) + 1

    def to_bytes(self) -> bytes:
        """Write the fitted estimator as safetensors bytes: numbers and text, no pickle, no code.

        All of the training state is there, so that `partial_fit` goes on from it bit for bit. The library writes no
        files; ``Path("model.safetensors").write_bytes(estimator.to_bytes())`` does.

        Returns:
            The bytes of a safetensors file, the same for the same estimator.

        Raises:
            NotFittedError: It was not fitted.
            ValueError: The classes are neither numbers nor text.
        """
        check_is_fitted(self)
        params, functions = {}, []
        for name, value in self.get_params(deep=False).items():
            try:
                params[name] = to_json(value)
            except TypeError:
                functions.append(name)
        facts = EstimatorFacts(
            estimator=type(self).__name__,
            params=params,
            functions=functions,
            dtype=_dtype(self.state_).name,
            seed=self.state_.key.seed,
            path=list(self.state_.key.path),
            fitted={name: _plain(getattr(self, name)) for name in FITTED},
            labels={name: label_values(name, getattr(self, name)) for name in LABELS if hasattr(self, name)},
        )
        return to_safetensors(self.state_, metadata=write_facts(facts))

    @classmethod
    def from_bytes(cls, data: bytes, **params: object) -> Self:
        """Read an estimator from what `to_bytes` wrote.

        Args:
            data: The bytes.
            params: Parameters that are functions or records of them, such as a loss of one's own or callbacks, which
                no file holds; others may be given too, in place of the file's.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: The bytes hold no such estimator, or a parameter that is a function is missing.
        """
        facts = read_facts(data, cls.__name__)
        missing = sorted(set(facts.functions) - params.keys())
        if missing:
            raise ValueError(f"functions are not in the file; give from_bytes these parameters again: {missing}")
        if issubclass(cls, ClassifierMixin) != ("classes_" in facts.labels):
            raise ValueError(f"these bytes hold no {cls.__name__} that to_bytes wrote")
        estimator = cls()
        for name, value in facts.fitted.items():
            setattr(estimator, name, value)
        for name, labels in facts.labels.items():
            setattr(estimator, name, label_array(*labels))
        try:
            estimator.set_params(**{name: from_json(value) for name, value in facts.params.items()} | params)
            estimator._check_parameters(incremental=False)
            estimator._loss()
        except ValueError as error:
            raise ValueError(str(error)[:500]) from None  # what a file says may be long
        sizes = estimator._sizes()
        # A header can name any size; memory is taken only for what the file can hold. Each layer has two tensors.
        needed = sum((fan_in + 1) * width * 4 + 2 * SMALLEST_ENTRY for fan_in, width in pairwise(sizes))
        if needed > len(data):
            raise ValueError(f"the file is too small for a network of {str(sizes)[:80]} units")
        state = from_safetensors(data, estimator._new_state(np.dtype(facts.dtype), Key(0)))
        estimator.state_ = attrs.evolve(state, key=Key(facts.seed, tuple(facts.path)))
        loaded: Self = estimator
        return loaded

    def __sklearn_tags__(self) -> Tags:
        """Say what is taken: sparse rows too."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class BackpropClassifier(ClassifierMixin, _Backprop):  # type: ignore[misc]
    """A multi-layer perceptron that tells classes apart, or says which of several labels apply.

    The parameters that `sklearn.neural_network.MLPClassifier` has too mean the same, and have the same defaults; there
    is no ``max_fun``, because there is no L-BFGS.

    Args:
        hidden_layer_sizes: Units of each hidden layer.
        activation: Of hidden layers: identity, logistic, tanh, relu, leaky_relu, elu, selu, gelu, silu; or a `Layer`.
        loss: log_loss, focal, or a `Loss` on (B, K) outputs and one-hot rows (0 and 1 for several labels).
        solver: sgd, adam, adamw; or a `GradientTransform`, which is used as it is.
        alpha: L2 penalty, divided by the rows of the batch. For sgd and adam alone.
        weight_decay: A step takes ``rate * weight_decay * W`` off the weights ``W``. For adamw alone.
        dropout: Probability that a hidden unit is dropped in training, in [0, 1).
        batch_size: Rows in a batch; auto is the smaller of 200 and all.
        learning_rate: constant, invscaling, adaptive, cosine, one_cycle (the last two over all ``max_iter`` epochs); or
            a schedule, a function of the step. With every named solver.
        learning_rate_init: Where the rate starts, or for one_cycle its peak.
        power_t: Exponent of invscaling.
        max_iter: Epochs at most.
        shuffle: Whether each epoch has its own order.
        random_state: Seed of everything random.
        tol: By how much loss or score must improve to count.
        verbose: What takes a line for each epoch, such as ``print``; False for nothing.
        warm_start: Whether `fit` goes on from the parameters of the last one.
        momentum: For sgd, in [0, 1).
        nesterovs_momentum: For sgd.
        early_stopping: Whether to stop by the accuracy on validation rows, and keep the best epoch.
        validation_fraction: Rows to set aside for that, unless `fit` is given some.
        beta_1: For adam and adamw.
        beta_2: For adam and adamw.
        epsilon: For adam and adamw.
        n_iter_no_change: Epochs without improvement that are borne.
        class_weight: None, balanced, or weights by class.
        dtype: float32 or float64 to compute in; that of X where None, float64 for whole numbers.
        callbacks: Consumers of the training's records, each ``records -> records``, as in `bpfunc.training.consumers`.

    Example:
        >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["low", "low", "high", "high"])
        >>> model = BackpropClassifier((8,), learning_rate_init=0.1, max_iter=50, tol=0, n_iter_no_change=50,
        ...     random_state=0, callbacks=(lambda records: (record for record in records if record.number < 50),))
        >>> model.fit(X, y).predict([[0.5], [2.5]])
        array(['low', 'high'], dtype='<U4')
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Layer = "relu",
        *,
        loss: str | Loss = "log_loss",
        solver: str | GradientTransform = "adam",
        alpha: float = 0.0001,
        weight_decay: float = 0.01,
        dropout: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | Write = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        class_weight: str | Mapping[object, float] | None = None,
        dtype: str | type | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Keep the parameters as they are; they are looked at when the estimator is fitted."""
        super().__init__(
            hidden_layer_sizes,
            activation,
            loss=loss,
            solver=solver,
            alpha=alpha,
            weight_decay=weight_decay,
            dropout=dropout,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            dtype=dtype,
            callbacks=callbacks,
        )
        self.class_weight = class_weight

    def fit(
        self,
        X: object,
        y: object,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: Sequence[object] | None = None,
    ) -> Self:
        """Train until settled.

        Args:
            X: (n, D) rows, dense or sparse.
            y: (n,) classes, or (n, K) of 0 and 1 where several labels may apply.
            sample_weight: (n,) how much each row counts, at least 0; all the same where None.
            validation_data: ``(X, y)`` or ``(X, y, sample_weight)``. Each epoch is measured on these rows, and with
                ``early_stopping`` they decide, in place of rows set aside.

        Returns:
            The estimator.

        Raises:
            ValueError: A parameter is out of range, or the data does not fit.
        """
        return self._fit(X, y, sample_weight, validation_data)

    def partial_fit(
        self, X: object, y: object, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Go on for one epoch over these rows: parameters, optimiser and step count stay what they were.

        Args:
            X: (n, D) rows, dense or sparse.
            y: Their classes or labels.
            sample_weight: (n,) how much each row counts; all the same where None.
            classes: All classes that there will ever be; needed in the first call.

        Returns:
            The estimator.

        Raises:
            ValueError: What was given does not fit, or early stopping or a falling learning rate was asked for.
        """
        if classes is None and not hasattr(self, "state_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if isinstance(self.class_weight, str):
            raise ValueError("partial_fit cannot balance classes that it has not seen; give class_weight as a dict")
        return self._fit(X, y, sample_weight, None, classes=classes, incremental=True)

    def predict(self, X: object) -> NDArray[np.generic]:
        """Name the most probable class of each row, or the labels that are more probable than not.

        Args:
            X: (n, D) rows, dense or sparse.

        Returns:
            (n,) classes, or (n, K) of 0 and 1.
        """
        probabilities = self.predict_proba(X)
        if self._several():
            return (probabilities > 0.5).astype(np.intp)
        labels: NDArray[np.generic] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def decision_function(self, X: object) -> FloatArray:
        """Say how strongly each row speaks for each class: the logits, before they become probabilities.

        Args:
            X: (n, D) rows, dense or sparse.

        Returns:
            (n, K) in nats; of two classes (n,), how much more for the second.
        """
        outputs = self._outputs(X)
        if self._several() or len(self.classes_) != 2:
            return outputs
        return outputs[:, 0] if self.out_activation_ == "logistic" else outputs[:, 1] - outputs[:, 0]

    def predict_proba(self, X: object) -> FloatArray:
        """Probability of each class, or of each label.

        Args:
            X: (n, D) rows, dense or sparse.

        Returns:
            (n, K), in the order of ``classes_``.
        """
        outputs = self._outputs(X)
        return sigmoid(outputs)[0] if self._several() else softmax(self._logits(outputs))[0]

    def predict_log_proba(self, X: object) -> FloatArray:
        """Logarithm of the probabilities, exact where these are too small for a number.

        Args:
            X: (n, D) rows, dense or sparse.

        Returns:
            (n, K), in nats.
        """
        outputs = self._outputs(X)
        if self._several():
            return -np.logaddexp(0, -outputs).astype(outputs.dtype, copy=False)
        return log_softmax(self._logits(outputs))[0]

    def _several(self) -> bool:
        """Whether several labels may apply to a row."""
        return bool(self.out_activation_ == "logistic" and self.n_outputs_ > 1)

    def _logits(self, outputs: FloatArray) -> FloatArray:
        """One logit for each class; where there is a single one for two classes, that of the first is 0."""
        single = self.out_activation_ == "logistic"
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1) if single else outputs

    def _check_y(self, y: object) -> NDArray[np.generic]:
        labels: NDArray[np.generic] = _column(check_array(_dense(y), ensure_2d=False, dtype=None, input_name="y"))
        check_classification_targets(labels)
        if type_of_target(labels) == "multiclass-multioutput":
            raise ValueError("Unknown label type: several columns of y, and not of 0 and 1 alone")
        return labels

    def _learn_outputs(self, y: NDArray[np.generic], classes: ArrayLike | None, *, fresh: bool, whole: bool) -> None:
        several = y.ndim == 2
        found = np.arange(y.shape[1]) if several else np.unique(y if classes is None else np.asarray(classes))
        if fresh:
            binary = not several and len(found) == 2 and self.loss == "log_loss"
            self.classes_ = found
            self.n_outputs_ = 1 if binary else len(found)
            self.out_activation_ = "logistic" if several or binary else "softmax"
        elif (whole or several or classes is not None) and not np.array_equal(found, self.classes_):
            raise ValueError(
                f"going on (partial_fit, warm_start) takes the same classes as in the previous call: {self.classes_}, "
                f"but found {found}"
            )

    def _targets(self, y: NDArray[np.generic], dtype: np.dtype[np.floating]) -> FloatArray:
        if (y.ndim == 2) != self._several():
            raise ValueError(f"y has {y.ndim} dimensions, unlike the y that was learned from")
        if y.ndim == 2:
            return y.astype(dtype)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` has classes that are not in classes_: {unknown}")
        rows: BoolArray = y[:, None] == (self.classes_[1:] if self.out_activation_ == "logistic" else self.classes_)
        return rows.astype(dtype)

    def _strata(self, y: NDArray[np.generic]) -> IntArray | None:
        return None if y.ndim == 2 else np.searchsorted(self.classes_, y)

    def _class_weights(self, y: NDArray[np.generic], weights: FloatArray | None) -> FloatArray | None:
        if self.class_weight is None:
            return weights
        if y.ndim == 2:
            raise ValueError("class_weight weighs classes of which one applies; give sample_weight for several labels")
        present, index = np.unique(y, return_inverse=True)
        by_class = compute_class_weight(self.class_weight, classes=present, y=y, sample_weight=weights)
        if not ((by_class >= 0) & (by_class < np.inf)).all() or not by_class.any():
            found = dict(zip(present.tolist(), by_class.tolist(), strict=True))
            raise ValueError(f"class_weight is a number of at least 0 for each class, not all 0, got {found}")
        counted: FloatArray = by_class[index] if weights is None else by_class[index] * weights
        return counted

    def _loss(self) -> Loss:
        _named("loss", self.loss, ("log_loss", "focal"), Loss, "a bpfunc Loss")
        if isinstance(self.loss, Loss):
            return self.loss
        if self.loss == "focal":
            return focal()
        if self._several():
            return scaled(multilabel_cross_entropy(), float(self.n_outputs_))
        return binary_cross_entropy() if self.out_activation_ == "logistic" else cross_entropy()

    def _metric(self, data: Batch) -> Metric:
        logistic = self.out_activation_ == "logistic"

        def hits(outputs: FloatArray, batch: Batch) -> BoolArray:
            right: BoolArray = (
                ((outputs > 0) == (batch.targets > 0.5)).all(axis=1)
                if logistic
                else outputs.argmax(axis=1) == batch.targets.argmax(axis=1)
            )
            return never_of_nan(outputs, right)

        return mean_metric("accuracy", hits)

    def __sklearn_tags__(self) -> Tags:
        """Say what is taken: several labels too."""
        tags: Tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class BackpropRegressor(RegressorMixin, _Backprop):  # type: ignore[misc]
    """A multi-layer perceptron that predicts one number for each row, or several.

    The parameters are those of `BackpropClassifier` without ``class_weight``, and mean what they mean in
    `sklearn.neural_network.MLPRegressor`. ``loss`` is squared_error (half the square), absolute_error or huber, summed
    over the outputs, or a `Loss` of one's own.

    Example:
        >>> X = np.linspace(-1, 1, 50)[:, None]
        >>> model = BackpropRegressor((20,), activation="tanh", solver="sgd", learning_rate_init=0.1, random_state=0)
        >>> bool(model.fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.5)
        True
    """

    def fit(
        self,
        X: object,
        y: object,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: Sequence[object] | None = None,
    ) -> Self:
        """Train until settled.

        Args:
            X: (n, D) rows, dense or sparse.
            y: (n,) or (n, H) numbers.
            sample_weight: (n,) how much each row counts, at least 0; all the same where None.
            validation_data: ``(X, y)`` or ``(X, y, sample_weight)``. Each epoch is measured on these rows, and with
                ``early_stopping`` they decide (by R^2), in place of rows set aside.

        Returns:
            The estimator.

        Raises:
            ValueError: A parameter is out of range, or the data does not fit.
        """
        return self._fit(X, y, sample_weight, validation_data)

    def predict(self, X: object) -> FloatArray:
        """Predict the numbers of each row.

        Args:
            X: (n, D) rows, dense or sparse.

        Returns:
            (n,) or (n, H).
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _check_y(self, y: object) -> NDArray[np.generic]:
        return _column(check_array(y, ensure_2d=False, dtype="numeric", input_name="y"))

    def _learn_outputs(self, y: NDArray[np.generic], classes: ArrayLike | None, *, fresh: bool, whole: bool) -> None:
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if fresh:
            self.n_outputs_, self.out_activation_ = outputs, "identity"
        elif outputs != self.n_outputs_:
            raise ValueError(f"y has {outputs} outputs, but that of the last call had {self.n_outputs_}")

    def _targets(self, y: NDArray[np.generic], dtype: np.dtype[np.floating]) -> FloatArray:
        return y.astype(dtype).reshape(len(y), -1)

    def _strata(self, y: NDArray[np.generic]) -> IntArray | None:
        return None

    def _loss(self) -> Loss:
        _named("loss", self.loss, ("squared_error", "absolute_error", "huber"), Loss, "a bpfunc Loss")
        if isinstance(self.loss, Loss):
            return self.loss
        if self.loss == "squared_error":
            return scaled(squared_error(), self.n_outputs_ / 2)
        return scaled(absolute_error() if self.loss == "absolute_error" else huber(), float(self.n_outputs_))

    def _metric(self, data: Batch) -> Metric:
        """R^2 over the rows of ``data``, which is a mean over rows once their variance is known.

        Where an output's targets are all one number, there is nothing to explain: a row that meets it counts 1, else 0.
        """
        variance = _variance(data.targets, data.weights)
        constant_targets = variance == 0

        def figures(outputs: FloatArray, batch: Batch) -> FloatArray:
            squares = np.square(outputs - batch.targets)
            missed = np.where(constant_targets, squares > 0, squares / np.where(constant_targets, 1, variance))
            explained: FloatArray = 1 - missed.mean(axis=1)
            return explained

        return mean_metric("R^2", figures)

    def __sklearn_tags__(self) -> Tags:
        """Say what is taken: several outputs too."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
