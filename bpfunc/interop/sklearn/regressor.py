"""The regressor: outputs are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags, check_array

from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.batches.batch import Batch
from bpfunc.interop.sklearn.estimator import _Backprop
from bpfunc.interop.sklearn.validation import _column, _named, _unmasked
from bpfunc.losses import Loss, absolute_error, huber, squared_error
from bpfunc.losses.scaled import scaled
from bpfunc.metrics import Metric
from bpfunc.metrics.base import mean_metric_of_targets


def _variance(targets: FloatArray | IntArray, weights: FloatArray | None) -> FloatArray:
    """(H,) variance of each output's targets, 0 where they are one number: rounding leaves no trace of it."""
    counted = 0 if weights is None else int(np.argmax(weights > 0))
    centred = targets - targets[counted].astype(np.float64)
    centred -= np.average(centred, axis=0, weights=weights)
    return np.average(np.square(centred), axis=0, weights=weights)


class BackpropRegressor(RegressorMixin, _Backprop):  # type: ignore[misc]
    """A multi-layer perceptron that predicts one number for each row, or several.

    The parameters are those of `BackpropClassifier` without ``class_weight``, and mean what they mean in
    `sklearn.neural_network.MLPRegressor`. ``loss`` is squared_error (half the square), absolute_error or huber, summed
    over the outputs, or a custom `Loss`.

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
                ``early_stopping`` they decide (by R^2), instead of rows set aside.

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
        return _column(check_array(_unmasked("y", y), ensure_2d=False, dtype="numeric", input_name="y"))

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

        def figures(outputs: FloatArray, targets: FloatArray | IntArray) -> FloatArray:
            squares = np.square(outputs - targets)
            missed = np.where(constant_targets, squares > 0, squares / np.where(constant_targets, 1, variance))
            explained: FloatArray = 1 - missed.mean(axis=1)
            return explained

        return mean_metric_of_targets("R^2", figures)

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of the estimator: it takes several outputs too."""
        tags: Tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
