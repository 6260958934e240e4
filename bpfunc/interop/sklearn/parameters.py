"""The parameters of the estimators, which mean what those of scikit-learn's MLPs mean, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.base import BaseEstimator

from bpfunc.batches.batch import batches_per_epoch
from bpfunc.compiled.choice import ENGINES, Engine, EngineChoice, choose_engine
from bpfunc.gradient.modes import GradientMaker
from bpfunc.gradient.penalty import penalised
from bpfunc.interop.mlp_parts import ACTIVATIONS, dense_params, falling, folded_momentum, inverse_scaling, network
from bpfunc.interop.sklearn.validation import _COUNT, _NUMBERS, _hidden, _is_number, _is_precision, _named
from bpfunc.layers import Layer
from bpfunc.losses import Loss
from bpfunc.optimizers import adam, adamw, weights_only
from bpfunc.training.consumers import EpochLike
from bpfunc.training.step import TrainState
from bpfunc.transforms import GradientTransform
from bpfunc.transforms.schedules import Schedule, constant, cosine, one_cycle

Callback: TypeAlias = Callable[[Iterator[EpochLike]], Iterable[EpochLike]]
"""A consumer of a training's records that hands them on: ``records -> records``, as in `bpfunc.training.consumers`."""
Write: TypeAlias = Callable[[str], None]
"""Takes a line, such as ``print``."""
SOLVERS = ("sgd", "adam", "adamw")
"""What ``solver`` may be called."""
RATES = ("constant", "invscaling", "adaptive", "cosine", "one_cycle")
"""What ``learning_rate`` may be called; the first three are scikit-learn's."""


def _dtype(state: TrainState) -> np.dtype[np.floating]:
    """In which the parameters are."""
    return dense_params(state.params)[0].weight.dtype


class _Parameters(BaseEstimator):  # type: ignore[misc]
    """The parameters that the classifier and the regressor share, and the parts of a training that are made of them."""

    n_features_in_: int
    n_outputs_: int

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
        engine: EngineChoice = "auto",
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
        self.engine: EngineChoice = engine
        self.callbacks = callbacks

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

    def _chosen(self, model: Layer, loss: Loss) -> Engine:
        """Which engine trains."""
        return choose_engine(self.engine, model, loss, self._transform(constant(1.0)), gradient=self._gradient())

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

    def _accepted(self) -> list[type]:
        return [np.float64, np.float32] if self.dtype is None else [np.dtype(self.dtype).type]

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
        if not isinstance(self.engine, str) or self.engine not in ENGINES:
            raise ValueError(f"engine is one of {', '.join(ENGINES)}; got {self.engine!r}")
        if not isinstance(self.callbacks, Sequence) or not all(map(callable, self.callbacks)):
            raise ValueError(f"callbacks are functions, records -> records; got {self.callbacks!r}")
