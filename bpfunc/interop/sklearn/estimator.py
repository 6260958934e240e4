"""An estimator as a shell around a training: fitted, gone on with, asked, and written to bytes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self, cast

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.batches.batch import Batch, epoch_batches, in_order, shuffled
from bpfunc.batches.splits import train_validation_split
from bpfunc.compiled.choice import Engine
from bpfunc.interop.mlp_parts import dense_params, until_converged
from bpfunc.interop.sklearn.files import _estimator_bytes, _read_estimator
from bpfunc.interop.sklearn.parameters import _dtype, _Parameters
from bpfunc.interop.sklearn.validation import _check_weights, _dense, _unmasked
from bpfunc.keys import Key, split
from bpfunc.losses import Loss
from bpfunc.metrics import Metric, mean
from bpfunc.training.consumers import EpochLike, ValidatedEpoch, logged, validated
from bpfunc.training.loop import EpochBatches, predict, train
from bpfunc.training.step import StepFn, TrainState, init_train_state, make_step
from bpfunc.transforms.schedules import Schedule, constant
from bpfunc.tree import tree_cast, tree_leaves


@attrs.frozen(eq=False)
class _Work:
    """The rows of one fit: to learn from, by their numbers; and to choose by."""

    learn: Batch
    held: Batch | None


def _train_loss(record: EpochLike) -> float:
    return mean(record.metrics.loss)


def _negative_score(record: EpochLike) -> float:
    return -mean(record.validation.metric) if isinstance(record, ValidatedEpoch) else math.nan


def _numbered(rows: IntArray, targets: FloatArray | IntArray, weights: FloatArray | None = None) -> Batch:
    """Rows that are known by their numbers, so that what stands in them is gathered batch by batch."""
    return Batch(rows, targets, weights)  # type: ignore[arg-type]


def _compiled_step() -> Callable[..., StepFn]:
    """What composes a step of machine code, which needs an extra and is slow to import."""
    from bpfunc.interop.numba import compiled_step

    return compiled_step


class _Backprop(_Parameters):
    """What the classifier and the regressor share: everything but the meaning of the outputs."""

    state_: TrainState
    engine_: Engine
    out_activation_: str
    n_iter_: int
    t_: int
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    # What the outputs mean, which the two estimators say.

    def _check_y(self, y: object) -> NDArray[np.generic]:
        """Check the form of targets."""
        raise NotImplementedError

    def _learn_outputs(self, y: NDArray[np.generic], classes: ArrayLike | None, *, fresh: bool, whole: bool) -> None:
        """Set ``n_outputs_``, ``out_activation_`` and ``classes_``, or check that the targets go with those there are.

        ``whole`` says that all classes must occur, which they do not have to where a training goes on row by row.
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

    # A training, as an iterator and as a shell around it.

    def _batches(self, X: FloatArray, data: Batch, key: Key, size: int) -> EpochBatches:
        """Epochs of mini-batches; ``data`` holds row numbers instead of inputs, so that sparse rows stay sparse."""
        sampler = shuffled if self.shuffle else in_order
        if not issparse(X):
            rows = cast(IntArray, data.inputs)
            every = np.array_equal(rows, np.arange(len(X)))
            whole = attrs.evolve(data, inputs=X if every else X[rows])
            return lambda epoch: epoch_batches(whole, key, epoch, size, sampler=sampler)
        return lambda epoch: (
            attrs.evolve(batch, inputs=_dense(X[cast(IntArray, batch.inputs)]))
            for batch in epoch_batches(data, key, epoch, size, sampler=sampler)
        )

    def _records(
        self,
        state: TrainState,
        batches: EpochBatches,
        work: _Work,
        rates: Iterable[Schedule],
        epochs: range,
        engine: Engine,
    ) -> Iterable[EpochLike]:
        """The training as an iterator: train, validate, stop when settled, then what the caller wants to see of it."""
        model, loss, held = self._model(_dtype(state)), self._loss(), work.held
        metric = self._metric(work.learn)

        def stage(rate: Schedule, state: TrainState, done: int) -> Iterator[EpochLike]:
            compose = make_step if engine == "numpy" else _compiled_step()
            step = compose(model, loss, self._transform(rate), metric=metric, gradient=self._gradient())
            trained = train(step, state, batches, epochs=epochs.stop, start=done, metric=metric)
            return trained if held is None else validated(trained, model, loss, held, metric=self._metric(held))

        score = _negative_score if self.early_stopping else _train_loss
        patience, tol = float(self.n_iter_no_change), float(self.tol)
        records: Iterable[EpochLike] = until_converged(
            stage, rates, state, score, done=epochs.start, patience=patience, tol=tol
        )
        if callable(self.verbose):
            records = logged(records, self.verbose, metric=metric)
        for callback in self.callbacks:
            records = callback(iter(records))
        return records

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
            _unmasked("X", X),
            _unmasked("y", y),
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
        engine = self._chosen(self._model(rows.dtype), self._loss())
        records = self._records(state, self._batches(rows, work.learn, order, size), work, rates, epochs, engine)
        self.engine_ = engine
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
        X = validate_data(self, _unmasked("X", validation_data[0]), accept_sparse="csr", dtype=dtype, reset=False)
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
            raise ValueError("the callbacks passed no record on, so there is nothing to keep")
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

    def _outputs(self, X: object) -> FloatArray:
        """What the network says, (n, K)."""
        check_is_fitted(self)
        state, dtype = self.state_, _dtype(self.state_)
        rows: FloatArray = validate_data(self, _unmasked("X", X), accept_sparse="csr", dtype=dtype, reset=False)
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
        return _estimator_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes, **params: object) -> Self:
        """Read an estimator from what `to_bytes` wrote.

        Args:
            data: The bytes.
            params: Parameters that are functions or records of them, such as a custom loss or callbacks, which
                no file holds; others may be given too, instead of the file's.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: The bytes hold no such estimator, or a parameter that is a function is missing.
        """
        return _read_estimator(cls, data, params)

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of the estimator: it takes sparse rows too."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
