"""The classifier: outputs are logits of classes, or of labels of which several may apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from bpfunc.arrays.types import BoolArray, FloatArray, IntArray
from bpfunc.batches.batch import Batch
from bpfunc.compiled.choice import EngineChoice
from bpfunc.interop.sklearn.estimator import _Backprop
from bpfunc.interop.sklearn.parameters import Callback, Write
from bpfunc.interop.sklearn.validation import _column, _dense, _named, _unmasked
from bpfunc.layers import Layer
from bpfunc.losses import Loss, binary_cross_entropy, cross_entropy, focal, multilabel_cross_entropy
from bpfunc.losses.scaled import scaled
from bpfunc.metrics import Metric
from bpfunc.metrics.base import mean_metric_of_targets, never_of_nan
from bpfunc.ops import log_softmax, sigmoid, softmax
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.schedules import Schedule


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
        engine: auto, numpy or compiled. Machine code needs the extra ``fast`` and has no penalty: it is for
            ``alpha=0`` or adamw. auto takes it where it can; ``engine_`` holds what ran.
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
        engine: EngineChoice = "auto",
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
            engine=engine,
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
                ``early_stopping`` they decide, instead of rows set aside.

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
        """Compute the logits of each row, one for each class.

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
        probabilities, _ = sigmoid(outputs) if self._several() else softmax(self._logits(outputs))
        return probabilities.copy()  # the caller's own, to write to

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
        labels: NDArray[np.generic] = _column(
            check_array(_dense(_unmasked("y", y)), ensure_2d=False, dtype=None, input_name="y")
        )
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

        def hits(outputs: FloatArray, targets: FloatArray | IntArray) -> BoolArray:
            right: BoolArray = (
                ((outputs > 0) == (targets > 0.5)).all(axis=1)
                if logistic
                else outputs.argmax(axis=1) == targets.argmax(axis=1)
            )
            return never_of_nan(outputs, right)

        return mean_metric_of_targets("accuracy", hits)

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of the estimator: it takes several labels too."""
        tags: Tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
