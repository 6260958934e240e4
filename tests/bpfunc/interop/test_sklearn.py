"""The estimators are scikit-learn's kind: its own checks pass, and what they add is what it says."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import bpfunc as bp
from bpfunc.interop.safetensors import safetensors_metadata, to_safetensors
from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor

ROOT = Path(__file__).parents[3]
unsettled = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02, "max_iter": 20, "random_state": 0}


@unsettled
@parametrize_with_checks([BackpropClassifier(), BackpropRegressor()])
def test_scikit_learns_own_checks(estimator: object, check: object) -> None:
    """Every check of scikit-learn passes with the default parameters; none is skipped or expected to fail by us."""
    check(estimator)


def test_the_check_that_needs_an_environment_variable() -> None:
    """scikit-learn skips its array API check unless SCIPY_ARRAY_API is set before SciPy is imported: so it is here."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from sklearn.utils.estimator_checks import check_array_api_input\n"
        "from bpfunc.interop.sklearn import BackpropClassifier, BackpropRegressor\n"
        "for kind in (BackpropClassifier, BackpropRegressor):\n"
        "    check_array_api_input(kind.__name__, kind(), array_namespace='numpy', expect_only_array_outputs=False)\n"
        "    print(kind.__name__)"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["BackpropClassifier", "BackpropRegressor"], done.stderr


@pytest.fixture
def groups() -> tuple[np.ndarray, np.ndarray]:
    """Three groups of points with names."""
    rng = np.random.default_rng(0)
    label = np.arange(120) % 3
    X = rng.normal(size=(120, 2)) / 4 + np.array([[0, 0], [1, 0], [0, 1]])[label]
    return X, np.array(["low", "right", "up"])[label]


def same(left: BaseEstimator, right: BaseEstimator) -> bool:
    """Whether two estimators have the same weights, bit for bit."""
    pairs = zip(left.coefs_ + left.intercepts_, right.coefs_ + right.intercepts_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@unsettled
def test_grid_search_over_a_pipeline_on_digits() -> None:
    """A grid search picks the learning rate that learns, by parameters of the estimator inside a pipeline."""
    X, y = load_digits(return_X_y=True)
    X_learn, X_test, y_learn, y_test = train_test_split(X, y, random_state=0, stratify=y)
    pipeline = make_pipeline(StandardScaler(), BackpropClassifier((32,), max_iter=15, random_state=0))
    grid = {"backpropclassifier__learning_rate_init": [1e-6, 0.01], "backpropclassifier__solver": ["adam", "adamw"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X_learn, y_learn)
    assert search.best_params_["backpropclassifier__learning_rate_init"] == 0.01
    assert search.score(X_test, y_test) > 0.95


@unsettled
def test_fashion_images_in_a_pipeline() -> None:
    """The three classes of the bundle, by name, from whole-number pixels: 600 images teach the rest."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(ROOT / "data" / "bundle" / "test.parquet")
    pixels = next(name for name in table.column_names if "pixel" in name or "image" in name)
    label = next(name for name in table.column_names if "label" in name)
    X = np.stack(table[pixels].combine_chunks().flatten().to_numpy().reshape(len(table), -1))
    y = np.array(["Trouser", "Dress", "Sneaker"])[np.searchsorted([1, 3, 7], table[label].to_numpy())]
    X_learn, X_test, y_learn, y_test = train_test_split(X, y, train_size=600, random_state=0, stratify=y)
    model = make_pipeline(StandardScaler(), BackpropClassifier((32,), max_iter=10, dtype="float32", random_state=0))
    assert model.fit(X_learn, y_learn).score(X_test, y_test) > 0.95


@unsettled
def test_same_seed_same_bits(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A fit depends on its random_state alone; a generator that moves on gives another one."""
    X, y = groups
    model = BackpropClassifier(**QUICK)
    assert same(model.fit(X, y), clone(model).fit(X, y))
    assert not same(model, clone(model).set_params(random_state=1).fit(X, y))
    generator = np.random.RandomState(0)
    first, second = (BackpropClassifier(**QUICK | {"random_state": generator}).fit(X, y) for _ in range(2))
    assert not same(first, second)


@unsettled
@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_computes_in_the_dtype_that_was_asked_for(groups: tuple[np.ndarray, np.ndarray], dtype: object) -> None:
    """Weights and probabilities have it, whatever X has; left alone, X decides, also for whole numbers."""
    X, y = groups
    for inputs in (X, X.astype(np.float32), (10 * X).astype(int)):
        model = BackpropClassifier(**QUICK, dtype=dtype, dropout=0.1, activation="gelu", alpha=0.1).fit(inputs, y)
        assert {a.dtype for a in (*model.coefs_, *model.intercepts_, model.predict_proba(X))} == {np.dtype(dtype)}
        own = BackpropClassifier(**QUICK).fit(inputs, y)
        assert own.coefs_[0].dtype == (np.float32 if inputs.dtype == np.float32 else np.float64)
    model.partial_fit(X.astype(np.float32), y)
    assert model.coefs_[0].dtype == np.dtype(dtype)


@unsettled
def test_sparse_rows_teach_the_same_bits(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Rows are taken out of a sparse matrix batch by batch, for learning, choosing and predicting."""
    X, y = groups
    X = np.where(X > 0.3, X, 0)
    settings = QUICK | {"early_stopping": True, "batch_size": 25}
    dense, sparse = BackpropClassifier(**settings).fit(X, y), BackpropClassifier(**settings).fit(csr_array(X), y)
    assert same(dense, sparse)
    np.testing.assert_allclose(dense.predict_proba(X), sparse.predict_proba(csr_array(X)), rtol=1e-12)


@unsettled
def test_weights_count_rows(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A row of weight 2 is two rows, one of weight 0 is none; class_weight multiplies, balanced evens out."""
    X, y = groups
    weight = np.arange(len(y)) // 3 % 3
    model = BackpropClassifier(**QUICK, batch_size=1000)
    repeated = clone(model).fit(X.repeat(weight, axis=0), y.repeat(weight))
    weighted = clone(model).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9)
    by_class = clone(model).set_params(class_weight={"low": 2.0, "up": 5.0}).fit(X, y)
    by_row = clone(model).fit(X, y, np.select([y == "low", y == "up"], [2.0, 5.0], 1.0))
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-9)
    both = clone(model).set_params(class_weight={"low": 2.0, "up": 5.0}).fit(X, y, weight)
    product = clone(model).fit(X, y, weight * np.select([y == "low", y == "up"], [2.0, 5.0], 1.0))
    np.testing.assert_allclose(both.predict_proba(X), product.predict_proba(X), rtol=1e-9)
    few = np.flatnonzero((y != "up") | (np.arange(len(y)) % 12 == 2))
    balanced, plain = (clone(model).set_params(class_weight=w).fit(X[few], y[few]) for w in ("balanced", None))
    assert balanced.predict_proba(X)[:, 2].sum() > plain.predict_proba(X)[:, 2].sum() + 5


@unsettled
def test_rows_of_weight_0_are_not_there(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """They fill no batch and make no step: the same bits as without them."""
    X, y = groups
    weight = np.where(np.arange(len(y)) < 50, 0.5, 0.0)
    model = BackpropClassifier(**QUICK, batch_size=20)
    assert same(clone(model).fit(X, y, weight), clone(model).fit(X[:50], y[:50], weight[:50]))


def test_validation_rows_decide_and_the_best_epoch_stays(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """With rows given, none is set aside; the weights kept are those of the best score, and score says so."""
    X, y = groups
    held = X[:30], np.roll(y[:30], 1)  # labels that cannot be learned: the score wanders
    settings = QUICK | {"early_stopping": True, "n_iter_no_change": 4}
    model = BackpropClassifier(**settings).fit(X[30:], y[30:], validation_data=held)
    assert model.n_iter_ == len(model.validation_scores_) < 20
    assert model.t_ == 90 * model.n_iter_
    assert model.score(*held) == pytest.approx(model.best_validation_score_) == max(model.validation_scores_)
    assert model.best_loss_ is None
    aside = BackpropClassifier(**settings).fit(X, y)
    assert aside.t_ == 108 * aside.n_iter_


def test_validation_rows_may_be_weighed_or_only_watched(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Without early stopping the scores are there, and the training loss decides; weights weigh the score."""
    X, y = groups
    weight = np.linspace(0.1, 1, 30)
    model = BackpropClassifier(**QUICK | {"tol": 0.5, "n_iter_no_change": 3})
    model.fit(X[30:], y[30:], validation_data=(X[:30], y[:30], weight))
    assert model.n_iter_ < 20
    assert len(model.validation_scores_) == model.n_iter_
    assert model.validation_scores_[-1] == pytest.approx(model.score(X[:30], y[:30], weight))
    assert same(model, clone(model).fit(X[30:], y[30:]))


def test_regressors_validation_score_is_r2() -> None:
    """Of one output and of several, with weights: what `score` says of the same rows."""
    rng = np.random.default_rng(1)
    X, weight = rng.normal(size=(80, 3)), rng.uniform(size=80)
    for y in (X[:, 0] ** 2, np.stack([X[:, 0], 5 * X[:, 1] + 1], axis=1)):
        model = BackpropRegressor(**QUICK | {"max_iter": 5, "tol": 0.9, "n_iter_no_change": 1})
        model.fit(X, y, validation_data=(X, y, weight))
        assert model.validation_scores_[-1] == pytest.approx(model.score(X, y, weight))


def until_third(records: Iterable[bp.EpochLike]) -> Iterator[bp.EpochLike]:
    """A callback that has seen enough after three epochs."""
    for record in records:
        yield record
        if record.number == 3:
            return


def test_callbacks_watch_and_stop(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """They nest in their order, stop the training, and verbose writes where it is told."""
    X, y = groups
    seen: list[int] = []
    lines: list[str] = []

    def watch(records: Iterable[bp.EpochLike]) -> Iterator[bp.EpochLike]:
        return bp.every(records, 1, lambda record: seen.append(record.number))

    model = BackpropClassifier(**QUICK, callbacks=(watch, until_third), verbose=lines.append).fit(X, y)
    assert (seen, model.n_iter_, len(model.loss_curve_)) == ([1, 2, 3], 3, 3)
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    with pytest.raises(ValueError, match="passed no record on"):
        model.set_params(callbacks=[lambda records: iter(())]).fit(X, y)


@unsettled
def test_warm_start_goes_on_from_the_weights(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """The second fit starts where the first stopped, its curve is appended; without warm start it starts afresh."""
    X, y = groups
    model = BackpropClassifier(**QUICK, warm_start=True).fit(X, y)
    first, kept = model.loss_, model.coefs_
    model.fit(X, y)
    assert model.loss_curve_[20] < first < model.loss_curve_[0]
    assert (len(model.loss_curve_), model.n_iter_, model.t_) == (40, 20, 40 * len(y))
    assert same(model.set_params(warm_start=False).fit(X, y), clone(model).fit(X, y))
    np.testing.assert_array_equal(model.coefs_[0], kept[0])
    with pytest.raises(ValueError, match="hidden_layer_sizes have changed"):
        model.set_params(warm_start=True, hidden_layer_sizes=(9,)).fit(X, y)
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        model.set_params(hidden_layer_sizes=(8,)).fit(X[y != "up"], y[y != "up"])


def test_partial_fit_is_fit_in_pieces(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Twenty calls are the training of twenty epochs, bit for bit: optimiser, step count and order go on."""
    X, y = groups
    settings = QUICK | {"batch_size": 50, "dropout": 0.2, "tol": 0.0, "callbacks": (bp_all,)}
    whole = BackpropClassifier(**settings | {"max_iter": 21, "callbacks": (until_twentieth,)}).fit(X, y)
    pieces = BackpropClassifier(**settings)
    for _ in range(20):
        pieces.partial_fit(X, y, classes=["low", "right", "up"])
    assert same(whole, pieces)
    assert (whole.t_, whole.n_iter_) == (pieces.t_, pieces.n_iter_)
    np.testing.assert_array_equal(whole.loss_curve_, pieces.loss_curve_)


def bp_all(records: Iterable[bp.EpochLike]) -> Iterable[bp.EpochLike]:
    """A callback that does nothing."""
    return records


def until_twentieth(records: Iterable[bp.EpochLike]) -> Iterator[bp.EpochLike]:
    """A callback that has seen enough after twenty epochs."""
    for record in records:
        yield record
        if record.number == 20:
            return


def test_partial_fit_knows_its_classes(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A piece may lack a class, the first call names them all, and none may come later."""
    X, y = groups
    low = y == "low"
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        BackpropClassifier().partial_fit(X, y)
    model = BackpropClassifier(**QUICK).partial_fit(X[low], y[low], classes=["low", "right"])
    assert model.n_outputs_ == 1
    model.partial_fit(X[low], y[low])
    with pytest.raises(ValueError, match=r"classes that are not in classes_: \['up'\]"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        model.partial_fit(X[low], y[low], classes=["low", "up"])
    for parameter, value in {"early_stopping": True, "learning_rate": "cosine", "class_weight": "balanced"}.items():
        with pytest.raises(ValueError, match="partial_fit"):
            clone(model).set_params(**{parameter: value}).partial_fit(X, y, classes=np.unique(y))


@unsettled
def test_labels_that_may_apply_together() -> None:
    """Indicator rows give one probability for each label; predictions are indicator rows again."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = (X > 0).astype(int)
    model = BackpropClassifier(**QUICK | {"max_iter": 60}).fit(X, y)
    assert model.score(X, y) > 0.8
    assert (model.predict(X) == (model.predict_proba(X) > 0.5)).all()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-9)
    with pytest.raises(ValueError, match="give sample_weight for several labels"):
        model.set_params(class_weight="balanced").fit(X, y)
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, y + np.arange(3))


@unsettled
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["focal", bp.cross_entropy(label_smoothing=0.1)])
def test_other_losses_classify(loss: object, classes: int, groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A loss by name or of one's own, with an output for each class also where there are two."""
    X, y = groups
    X, y = (X, y) if classes == 3 else (X[y != "up"], y[y != "up"])
    model = BackpropClassifier(**QUICK | {"max_iter": 40}, loss=loss).fit(X, y)
    assert model.n_outputs_ == classes
    assert model.score(X, y) > 0.9
    decided = model.decision_function(X)
    index = (decided > 0).astype(int) if classes == 2 else decided.argmax(axis=1)
    assert (model.classes_[index] == model.predict(X)).all()


@unsettled
def test_robust_losses_shrug_off_outliers() -> None:
    """Absolute and Huber's loss find the median line where squares are pulled away."""
    X = np.linspace(-1, 1, 200)[:, None]
    y = X[:, 0].copy()
    y[::10] += 30
    settings = {"activation": "identity", "learning_rate_init": 0.05, "max_iter": 100, "random_state": 0}
    error = {
        str(loss): np.abs(BackpropRegressor((4,), **settings, loss=loss).fit(X, y).predict(X) - X[:, 0]).mean()
        for loss in ("squared_error", "absolute_error", "huber", bp.huber(delta=0.1))
    }
    squared, *robust = error.values()
    assert squared > 2
    assert max(robust) < 0.5


@unsettled
def test_decoupled_decay_is_what_it_says(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """With nothing to learn, each step of adamw takes rate * weight_decay off the weights, and biases stay.

    alpha does nothing there, and the size of the batch neither.
    """
    X, y = groups
    nothing = bp.Loss(
        "nothing",
        forward=lambda outputs, targets: (np.zeros(len(outputs)), outputs),
        vjp=lambda outputs, dlosses: np.zeros_like(outputs),
        jvp=lambda outputs, dot: np.zeros(len(outputs)),
        vjp_jvp=lambda outputs, dot, dlosses, dlosses_dot: np.zeros_like(outputs),
    )
    settings = {"loss": nothing, "solver": "adamw", "weight_decay": 0.5, "learning_rate_init": 0.1, "random_state": 0}
    one, two = (
        BackpropClassifier((4,), **settings, max_iter=n, alpha=a, batch_size=b).fit(X, y)
        for n, a, b in ((1, 0.0, 120), (2, 9.0, 60))
    )
    for early, late in zip(one.coefs_, two.coefs_, strict=True):
        np.testing.assert_allclose(late, early * 0.95**3, rtol=1e-12)
    np.testing.assert_array_equal(one.intercepts_[0], two.intercepts_[0])


@unsettled
def test_schedules_and_transforms_of_ones_own(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A schedule counts steps; cosine and one_cycle span the training; a transform is used as it is."""
    X, y = groups
    steps: list[int] = []

    def rate(step: int) -> float:
        steps.append(step)
        return 0.01

    BackpropClassifier(**QUICK | {"max_iter": 2}, batch_size=40, learning_rate=rate).fit(X, y)
    assert sorted(set(steps)) == [0, 1, 2, 3, 4, 5]
    own = BackpropClassifier(**QUICK, solver=bp.adam(0.02), alpha=0.0).fit(X, y)
    assert same(own, BackpropClassifier(**QUICK, alpha=0.0).fit(X, y))
    spanned = BackpropClassifier(**QUICK, learning_rate="cosine", alpha=0.0).fit(X, y)
    assert same(spanned, BackpropClassifier(**QUICK, solver=bp.adam(bp.cosine(0.02, 20))).fit(X, y))
    cycled = BackpropClassifier(**QUICK, learning_rate="one_cycle", alpha=0.0).fit(X, y)
    assert same(cycled, BackpropClassifier(**QUICK, solver=bp.adam(bp.one_cycle(0.02, 20))).fit(X, y))


@unsettled
def test_activation_of_ones_own_has_parameters_and_state(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """A layer with parameters and running statistics trains, is saved and is loaded."""
    X, y = groups
    activation = bp.serial(bp.batch_norm(), bp.relu())
    model = BackpropClassifier(**QUICK, activation=activation).fit(X, y)
    assert model.score(X, y) > 0.9
    back = BackpropClassifier.from_bytes(model.to_bytes(), activation=activation)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


WRONG = {
    "solver": ("lbfgs", "no L-BFGS here: take adam"),
    "activation": ("rellu", "activation is one of identity"),
    "loss": ("squared_error", "loss is one of log_loss"),
    "learning_rate": ("cosin", "learning_rate is one of constant"),
    "alpha": (-1.0, "alpha is a number of at least 0"),
    "momentum": (1.0, r"momentum is a number in \[0, 1\)"),
    "max_iter": (1.5, "max_iter is a whole number"),
    "tol": (float("nan"), "tol is"),
    "epsilon": (0.0, "epsilon is a number above 0"),
    "batch_size": (0, "batch_size is 'auto' or"),
    "hidden_layer_sizes": ((5, 0), "must be > 0"),
    "verbose": (True, "such as verbose=print"),
    "dtype": ("int8", "dtype is None"),
    "validation_fraction": (1.0, "validation_fraction"),
    "shuffle": ("no", "shuffle is True or False"),
    "solver of no kind": (None, "solver is one of sgd"),
    "loss of no kind": (3, "loss is one of log_loss"),
    "activation not called": (bp.relu, "or a bpfunc Layer; got <function relu"),
    "learning_rate as a number": (0.1, "or a schedule: a function of the step"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameters_say_what_is_right(case: str, groups: tuple[np.ndarray, np.ndarray]) -> None:
    """The message names the parameter, what it may be and what it was; nothing was fitted."""
    (value, message), parameter = WRONG[case], case.split(" ")[0]
    model = BackpropClassifier(**{parameter: value})
    with pytest.raises(ValueError, match=message):
        model.fit(*groups)
    assert vars(model) == model.get_params(deep=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@unsettled
def test_fit_that_ends_badly_leaves_everything_as_it_was(
    error: type[BaseException], groups: tuple[np.ndarray, np.ndarray]
) -> None:
    """An interrupted fit on other columns and other classes changes nothing, and the old fit still predicts."""
    X, y = groups
    model = BackpropClassifier(**QUICK).fit(X, y)
    before, predicted = dict(vars(model)), model.predict_proba(X)

    def broken(records: Iterable[bp.EpochLike]) -> Iterator[bp.EpochLike]:
        yield next(iter(records))
        raise error

    model.set_params(callbacks=(broken,))
    with pytest.raises(error):
        model.fit(X[:, :1], np.arange(len(y)) % 2)
    assert vars(model) == before | {"callbacks": (broken,)}
    np.testing.assert_array_equal(model.predict_proba(X), predicted)


def test_wrong_validation_data_is_refused(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Too many parts, other columns, other lengths, unknown classes."""
    X, y = groups
    for data, message in (
        ((X,), "validation_data is"),
        ((X[:, :1], y), "features"),
        ((X, y[:5]), "inconsistent numbers"),
        ((X, np.array(["down"] * len(y))), "validation_data: .*down"),
        ((X, np.linspace(0.0, 1.0, len(y))), "validation_data: Unknown label type: continuous"),
        ((X, y, -np.ones(len(y))), "at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            BackpropClassifier(**QUICK).fit(X, y, validation_data=data)


def test_training_that_explodes_is_an_error() -> None:
    """Weights that are no numbers are never handed out."""
    X = np.array([[1e200], [-1e200]])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite: scale the inputs"):
        BackpropRegressor((3,), max_iter=3).fit(X, X[:, 0])


LABELS = {
    "text": np.array(["a", "bb", "ccc"]),
    "objects": np.array(["a", "bb", "ccc"], dtype=object),
    "numbers": np.array([-1, 5, 7], dtype=np.int16),
    "truth": np.array([False, True]),
    "fractions": np.array([1.0, 2.0, 4.0], dtype=np.float32),
}


@unsettled
@pytest.mark.parametrize("kind", LABELS)
def test_bytes_hold_the_whole_estimator(kind: str, groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Parameters, classes with their type, curve and predictions come back; the same estimator gives the same bytes."""
    X, _ = groups
    y = LABELS[kind][np.arange(len(X)) % len(LABELS[kind])]
    weight = {label.item() if hasattr(label, "item") else label: 1.5 for label in LABELS[kind]}
    model = BackpropClassifier(**QUICK | {"hidden_layer_sizes": (4, 3)}, class_weight=weight, early_stopping=True)
    back = BackpropClassifier.from_bytes(model.fit(X, y).to_bytes())
    assert back.get_params() == model.get_params()
    assert back.classes_.dtype == model.classes_.dtype
    for name in ("loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_", "t_", "n_features_in_"):
        assert getattr(back, name) == getattr(model, name)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    assert back.to_bytes() == model.to_bytes()


def test_partial_fit_goes_on_after_loading(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Bit for bit, because optimiser, step and key are in the file."""
    X, y = groups
    model = BackpropClassifier(**QUICK, dropout=0.3).partial_fit(X, y, classes=np.unique(y))
    back = BackpropClassifier.from_bytes(model.to_bytes())
    assert same(model.partial_fit(X, y), back.partial_fit(X, y))


@unsettled
def test_feature_names_come_back(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """An estimator that was fitted on a table warns of other columns after loading too."""
    pandas = pytest.importorskip("pandas")
    X, y = groups
    table = pandas.DataFrame(X, columns=["east", "north"])
    back = BackpropClassifier.from_bytes(BackpropClassifier(**QUICK).fit(table, y).to_bytes())
    assert back.feature_names_in_.tolist() == ["east", "north"]
    assert back.score(table, y) > 0.5
    with pytest.raises(ValueError, match="feature names"):
        back.predict(table[["north", "east"]])


@unsettled
def test_hostile_bytes_are_refused(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """Cut off, of another class, of no estimator, of a network that cannot be in it, with classes of any type."""
    X, y = groups
    data = BackpropClassifier(**QUICK).fit(X, y).to_bytes()
    with pytest.raises(NotFittedError):
        BackpropClassifier().to_bytes()
    for end in (0, 4, 100, len(data) - 1):
        with pytest.raises(ValueError, match=r"."):
            BackpropClassifier.from_bytes(data[:end])
    with pytest.raises(ValueError, match=r"expected bpfunc.*BackpropRegressor, found"):
        BackpropRegressor.from_bytes(data)
    for metadata in ({}, {"bpfunc": "[]"}, {"bpfunc": "{}"}, {"bpfunc": "nonsense"}):
        with pytest.raises(ValueError, match="no estimator"):
            BackpropClassifier.from_bytes(to_safetensors((), metadata=metadata))
    facts = json.loads(safetensors_metadata(data)["bpfunc"])
    for place, value, message in (
        (("params", "hidden_layer_sizes"), [10**6, 10**6], "too small for a network"),
        (("params", "alpha"), "much", "alpha is"),
        (("params", "nonsense"), 1, "Invalid parameter 'nonsense'"),
        (("fitted", "n_features_in_"), "2", "no estimator"),
        (("fitted", "loss_curve_"), None, "no estimator"),
        (("labels", "classes_"), ["O", [[]]], "no estimator"),
        (("labels", "classes_"), ["nonsense", ["a"]], "no estimator"),
        (("dtype",), "O", "no estimator"),
        (("seed",), -1, "no estimator"),
    ):
        changed = json.loads(json.dumps(facts))
        inner = changed
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        with pytest.raises(ValueError, match=message):
            BackpropClassifier.from_bytes(to_safetensors((), metadata={"bpfunc": json.dumps(changed)}))


def test_classes_that_no_file_holds_say_so() -> None:
    """Dates are neither numbers nor text."""
    X, y = np.eye(2), np.array(["2020-01-01", "2021-01-01"], dtype=object)
    model = BackpropClassifier(**QUICK, callbacks=(until_third,)).fit(X, y)
    model.classes_ = np.array([None, object()])
    with pytest.raises(ValueError, match="classes_ are neither numbers nor text"):
        model.to_bytes()


@unsettled
def test_parts_of_the_library_are_pickled_too(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """An activation and an optimiser of the library, given as parts, do not keep an estimator from being sent."""
    X, y = groups
    solver = bp.chain(bp.clip_by_global_norm(1.0), bp.adamw(bp.cosine(0.01, 100), weight_decay=0.1))
    model = BackpropClassifier(activation=bp.gelu(), solver=solver, max_iter=2).fit(X, y)
    sent = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(sent.predict_proba(X), model.predict_proba(X))
    assert model.predict_proba(X).flags.writeable  # as scikit-learn's
    assert clone(sent).fit(X, y).predict_proba(X).shape == (len(X), len(np.unique(y)))


@unsettled
def test_pickle_works_too(groups: tuple[np.ndarray, np.ndarray]) -> None:
    """For joblib, which copies estimators to other processes."""
    X, y = groups
    model = BackpropClassifier(**QUICK, callbacks=(until_third,)).fit(X, y)
    assert same(pickle.loads(pickle.dumps(model)), model)


def test_missing_extra_is_named() -> None:
    """Without scikit-learn the import says what to install, in one line."""
    code = "import sys; sys.modules['sklearn'] = None; import bpfunc.interop.sklearn"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: bpfunc.interop.sklearn needs scikit-learn: pip install 'bpfunc[sklearn]'"
    )


@unsettled
@pytest.mark.parametrize("constant", [0.1, 0.0, 1 / 3, 1e10, -7.7])
def test_constant_targets_explain_nothing(constant: float) -> None:
    """R^2 of targets that are one number is 0 where they are missed: rounding must not divide it."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = BackpropRegressor((4,), early_stopping=True, max_iter=3, random_state=0).fit(X, np.full(60, constant))
    assert all(0 <= score <= 1 for score in model.validation_scores_)
    several = np.stack([np.full(60, constant), X[:, 0]], axis=1)
    scores = BackpropRegressor((4,), early_stopping=True, max_iter=3, random_state=0).fit(X, several).validation_scores_
    assert all(-10 < score <= 1 for score in scores)
    weights = np.ones(60)
    weights[:9] = 0
    mixed = np.where(weights > 0, constant, 5.0)
    held = {"validation_data": (X, mixed, weights)}
    found = BackpropRegressor((4,), early_stopping=True, max_iter=3, random_state=0).fit(X, X[:, 0], **held)
    assert all(0 <= score <= 1 for score in found.validation_scores_)


@unsettled
@pytest.mark.parametrize("estimator", [BackpropClassifier, BackpropRegressor])
@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_one_seed_starts_one_network(estimator: type, activation: str) -> None:
    """In float32 the network that random_state names is that of float64, rounded."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = (X[:, 0] > 0).astype(int)
    settings = {"max_iter": 1, "solver": "sgd", "learning_rate_init": 1e-30, "alpha": 0.0, "random_state": 3}
    single, double = (
        estimator((5, 4), activation=activation, dtype=dtype, **settings).fit(X, y) for dtype in ("float32", "float64")
    )
    for kind in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(single, kind), getattr(double, kind), strict=True):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, other.astype(np.float32))


@unsettled
def test_class_weights_are_numbers_of_at_least_0() -> None:
    """A negative, infinite or missing weight is one message; a class of weight 0 is not learned and crashes nothing."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = np.arange(30) % 3
    for weights in ({0: -2.0}, {0: np.nan}, {0: np.inf}, {0: 0.0, 1: 0.0, 2: 0.0}):
        with pytest.raises(ValueError, match="class_weight is a number of at least 0 for each class, not all 0, got"):
            BackpropClassifier((4,), class_weight=weights, max_iter=2).fit(X, y)
    ordered = np.sort(y)
    for batch_size in (5, "auto"):
        model = BackpropClassifier(
            (4,), class_weight={0: 0.0}, max_iter=200, batch_size=batch_size, shuffle=False, random_state=0
        ).fit(X, ordered)
        assert (model.predict(X) != 0).sum() >= 20
        assert np.isfinite(model.loss_curve_).all()


@unsettled
@pytest.mark.skipif(not find_spec("numba"), reason="needs the extra fast")
@parametrize_with_checks([BackpropClassifier(engine="compiled"), BackpropRegressor(engine="compiled")])
def test_scikit_learns_own_checks_of_machine_code(estimator: object, check: object) -> None:
    """The engine changes nothing that scikit-learn asks of an estimator."""
    check(estimator)


@unsettled
@pytest.mark.parametrize("kind", [BackpropClassifier, BackpropRegressor])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"alpha": 0},
        {"early_stopping": True, "alpha": 3.0},
        {"dropout": 0.2},
        {"solver": "sgd", "learning_rate": "adaptive"},
        {"solver": "adamw", "shuffle": False},
    ],
)
def test_both_engines_fit_the_same(kind: type, more: dict[str, object]) -> None:
    """To rounding, with weights of rows and a last batch that is smaller; ``engine_`` names what ran."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(70, 4)), rng.uniform(0.5, 2, 70)
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    fitted = {
        engine: kind(**QUICK | {"batch_size": 16} | more, engine=engine).fit(X, y, weights)
        for engine in ("numpy", "compiled", "auto")
    }
    assert {engine: model.engine_ for engine, model in fitted.items()} == {
        "numpy": "numpy",
        "compiled": "compiled",
        "auto": "compiled",
    }
    np.testing.assert_allclose(fitted["compiled"].loss_curve_, fitted["numpy"].loss_curve_, rtol=1e-7)
    for ours, theirs in zip(fitted["compiled"].coefs_, fitted["numpy"].coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(fitted["auto"].predict(X), fitted["compiled"].predict(X))
    again = kind.from_bytes(fitted["compiled"].to_bytes())
    assert (again.engine_, again.engine) == ("compiled", "compiled")


def test_an_engine_of_another_name_is_refused() -> None:
    """The message lists the names that there are."""
    with pytest.raises(ValueError, match="engine is one of auto, numpy, compiled; got 'fast'"):
        BackpropClassifier(**QUICK, engine="fast").fit(np.eye(4), [0, 1, 0, 1])


def test_a_file_of_an_earlier_version_was_numpys() -> None:
    """It names no engine, and opens as before."""
    X, y = np.eye(4), np.array([0, 1, 0, 1])
    with pytest.warns(UserWarning, match="not settled"):
        model = BackpropClassifier(**QUICK | {"max_iter": 1}).fit(X, y)
    facts = json.loads(safetensors_metadata(model.to_bytes())["bpfunc"])
    del facts["engine"], facts["params"]["engine"]
    old = BackpropClassifier.from_bytes(to_safetensors(model.state_, metadata={"bpfunc": json.dumps(facts)}))
    assert (old.engine_, old.engine) == ("numpy", "auto")


@unsettled
@pytest.mark.parametrize("masked", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("estimator", [BackpropClassifier, BackpropRegressor])
def test_masks_are_not_lost(estimator: type[BackpropClassifier | BackpropRegressor], masked: str) -> None:
    """scikit-learn takes what lies below a mask; here it is refused."""
    given = {"X": np.eye(4), "y": np.arange(4) % 2, "sample_weight": np.ones(4)}
    fitted = estimator(hidden_layer_sizes=(2,), max_iter=1)
    hidden = np.ma.masked_greater(given[masked], 0.5)
    with pytest.raises(TypeError, match="masked array, whose mask would be lost"):
        fitted.fit(**{**given, masked: hidden})
    if masked == "X":
        fitted.fit(**given)
        with pytest.raises(TypeError, match="masked array"):
            fitted.predict(hidden)
