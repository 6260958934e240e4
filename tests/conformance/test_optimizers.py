"""Every optimiser and preconditioner against optax or torch: the same gradients, 100 steps, float64, 1e-9 relative."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from bpfunc import optimizers, transforms
from bpfunc.keys import Key, normal
from bpfunc.transforms import GradientTransform, chain, scale_by_learning_rate
from bpfunc.transforms.update import apply_updates
from bpfunc.tree import Tree, tree_map

optax = pytest.importorskip("optax")
torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

STEPS = 100
SHAPES = ((3, 4), (4,))


def start() -> tuple[np.ndarray, ...]:
    """Where all begin."""
    return tuple(normal(Key(index), shape, dtype=np.float64) for index, shape in enumerate(SHAPES))


def gradient(step: int) -> tuple[np.ndarray, ...]:
    """The gradients that all see, changing in size from step to step."""
    size = 1 + np.sin(step)
    return tuple(size * normal(Key(100 + step, (index,)), s, dtype=np.float64) for index, s in enumerate(SHAPES))


def ours(transform: GradientTransform) -> list[np.ndarray]:
    """Parameters after each of the steps."""
    params, path = start(), []
    state = transform.init(params)
    for step in range(STEPS):
        updates, state = transform.update(gradient(step), state, params, step)
        params = apply_updates(params, updates)
        path.append(np.concatenate([leaf.ravel() for leaf in params]))
    return path


def by_optax(transform: object) -> list[np.ndarray]:
    """The same with optax."""

    @jax.jit
    def one(params: object, state: object, grads: object) -> tuple[object, object]:
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = tuple(jnp.asarray(leaf) for leaf in start())
    state, path = transform.init(params), []
    for step in range(STEPS):
        params, state = one(params, state, gradient(step))
        path.append(np.concatenate([np.asarray(leaf).ravel() for leaf in params]))
    return path


def by_torch(make: Callable[[list[object]], object]) -> list[np.ndarray]:
    """The same with torch."""
    params = [torch.tensor(leaf, requires_grad=True) for leaf in start()]
    optimizer, path = make(params), []
    for step in range(STEPS):
        for param, leaf in zip(params, gradient(step), strict=True):
            param.grad = torch.tensor(leaf)
        optimizer.step()
        path.append(np.concatenate([param.detach().numpy().ravel() for param in params]))
    return path


def _with_rate(transform: GradientTransform) -> GradientTransform:
    return chain(transform, scale_by_learning_rate(0.05))


class _Clipped(torch.optim.SGD):  # type: ignore[misc]
    """torch's SGD with each parameter's gradient clipped to a norm."""

    def __init__(self, params: list[object], limit: float, *, lr: float) -> None:
        super().__init__(params, lr=lr)
        self._limit = limit

    def step(self) -> None:
        for param in self.param_groups[0]["params"]:
            norm = param.grad.norm()
            if norm > self._limit:
                param.grad *= self._limit / norm
        super().step()


class _EveryFourth:
    """torch's Adam on the mean of four gradients."""

    def __init__(self, params: list[object]) -> None:
        self._adam, self._params = torch.optim.Adam(params, lr=0.05), params
        self._sums = [torch.zeros_like(param) for param in params]
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        for total, param in zip(self._sums, self._params, strict=True):
            total += param.grad
        if self._steps % 4 == 0:
            for total, param in zip(self._sums, self._params, strict=True):
                param.grad = total / 4
                total.zero_()
            self._adam.step()


class _Averaged:
    """torch's SGD, its parameters replaced by torch's own exponential average once all steps are taken."""

    def __init__(self, params: list[object]) -> None:
        self._params = params
        self._hidden = [param.detach().clone().requires_grad_() for param in params]
        self._sgd = torch.optim.SGD(self._hidden, lr=0.05)
        self._steps = 0

    def step(self) -> None:
        for hidden, param in zip(self._hidden, self._params, strict=True):
            hidden.grad = param.grad
        self._sgd.step()
        decay = min(0.9, (2 + self._steps) / (11 + self._steps))
        ema = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
        with torch.no_grad():
            ema([param.data for param in self._params], [hidden.data for hidden in self._hidden], None)
        self._steps += 1


def _average_as_params() -> GradientTransform:
    """Steer the parameters along the average of hidden ones, so that paths can be compared."""
    inner = chain(optimizers.sgd(0.05), transforms.ema_of_params(0.9))

    def init(params: Tree) -> Tree:
        return params, inner.init(params)

    def update(grads: Tree, state: Tree, params: Tree, step: int) -> tuple[Tree, Tree]:
        hidden, inner_state = state
        updates, inner_state = inner.update(grads, inner_state, hidden, step)
        average = transforms.find_state(inner_state, transforms.EmaState).average
        return tree_map(lambda a, p: a - p, average, params), (apply_updates(hidden, updates), inner_state)

    return GradientTransform(init, update)


def _centralized_columns(rate: float) -> object:
    """optax takes one mean for each row, torch's layout; ours are transposed, and so is what it sees here."""

    def update(grads: object, state: object, params: object = None) -> tuple[object, object]:
        turned = tuple(leaf.T for leaf in grads)
        centred, state = optax.centralize().update(turned, state)
        return tuple(-rate * leaf.T for leaf in centred), state

    return optax.GradientTransformation(optax.centralize().init, update)


def _optax_lookahead(*, every: int, rate: float) -> list[np.ndarray]:
    transform = optax.lookahead(optax.adam(0.05), every, rate)

    @jax.jit
    def one(params: object, state: object, grads: object) -> tuple[object, object]:
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = optax.LookaheadParams.init_synced(tuple(jnp.asarray(leaf) for leaf in start()))
    state, path = transform.init(params), []
    for step in range(STEPS):
        params, state = one(params, state, gradient(step))
        path.append(np.concatenate([np.asarray(leaf).ravel() for leaf in params.fast]))
    return path


o, t = optimizers, transforms
ORACLES: dict[str, list[tuple[GradientTransform, Callable[[], list[np.ndarray]]]]] = {
    "sgd": [
        (o.sgd(0.1), lambda: by_optax(optax.sgd(0.1))),
        (o.sgd(0.1, momentum=0.9), lambda: by_optax(optax.sgd(0.1, momentum=0.9))),
        (o.sgd(0.1, momentum=0.9, nesterov=True), lambda: by_optax(optax.sgd(0.1, momentum=0.9, nesterov=True))),
        # torch's momentum without dampening is the same accumulation, its weight decay the coupled one.
        (
            o.sgd(0.1, momentum=0.9, weight_decay=0.01),
            lambda: by_torch(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
        ),
    ],
    # torch's eps is added to the root as ours is; optax's lies below it.
    "adagrad": [
        (
            o.adagrad(0.1, initial=0.2),
            lambda: by_torch(lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.2, eps=1e-10)),
        )
    ],
    "rmsprop": [
        (o.rmsprop(0.01), lambda: by_torch(lambda p: torch.optim.RMSprop(p, lr=0.01))),
        (
            o.rmsprop(0.01, centred=True, momentum_decay=0.5),
            lambda: by_torch(lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5)),
        ),
    ],
    "adadelta": [(o.adadelta(), lambda: by_torch(lambda p: torch.optim.Adadelta(p, lr=1.0)))],
    "adam": [
        (o.adam(0.01), lambda: by_optax(optax.adam(0.01))),
        (o.adam(0.01), lambda: by_torch(lambda p: torch.optim.Adam(p, lr=0.01))),
    ],
    "adamax": [
        (o.adamax(0.01), lambda: by_optax(optax.adamax(0.01))),
        (o.adamax(0.01), lambda: by_torch(lambda p: torch.optim.Adamax(p, lr=0.01))),
    ],
    # torch takes the largest square before its correction, as we do; optax after.
    "amsgrad": [(o.amsgrad(0.01), lambda: by_torch(lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True)))],
    "nadam": [(o.nadam(0.01), lambda: by_optax(optax.nadam(0.01)))],
    "adamw": [
        (o.adamw(0.01, weight_decay=0.1), lambda: by_optax(optax.adamw(0.01, weight_decay=0.1))),
        (
            o.adamw(0.01, weight_decay=0.1),
            lambda: by_torch(lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
        ),
    ],
    "lion": [(o.lion(0.01, weight_decay=0.1), lambda: by_optax(optax.lion(0.01, weight_decay=0.1)))],
    "lamb": [(o.lamb(0.01, weight_decay=0.1), lambda: by_optax(optax.lamb(0.01, weight_decay=0.1)))],
    "momentum": [(_with_rate(t.momentum(0.8)), lambda: by_optax(optax.sgd(0.05, momentum=0.8)))],
    "add_decayed_weights": [
        (
            _with_rate(t.add_decayed_weights(0.3)),
            lambda: by_optax(optax.chain(optax.add_decayed_weights(0.3), optax.scale(-0.05))),
        )
    ],
    "clip_by_value": [
        (_with_rate(t.clip_by_value(0.4)), lambda: by_optax(optax.chain(optax.clip(0.4), optax.scale(-0.05))))
    ],
    "clip_by_norm": [(_with_rate(t.clip_by_norm(1.5)), lambda: by_torch(lambda p: _Clipped(p, 1.5, lr=0.05)))],
    "clip_by_global_norm": [
        (
            _with_rate(t.clip_by_global_norm(1.5)),
            lambda: by_optax(optax.chain(optax.clip_by_global_norm(1.5), optax.scale(-0.05))),
        )
    ],
    "centralize": [(_with_rate(t.centralize()), lambda: by_optax(_centralized_columns(0.05)))],
    "scale_by_trust_ratio": [
        (
            _with_rate(t.scale_by_trust_ratio()),
            lambda: by_optax(optax.chain(optax.scale_by_trust_ratio(), optax.scale(-0.05))),
        )
    ],
    "lookahead": [(t.lookahead(o.adam(0.05), every=4, rate=0.3), lambda: _optax_lookahead(every=4, rate=0.3))],
    # optax.MultiSteps averages with a float32 factor, 1e-8 off; torch's sum of gradients is exact.
    "accumulate": [(t.accumulate(o.adam(0.05), 4), lambda: by_torch(_EveryFourth))],
    "non_negative": [
        (
            chain(o.sgd(0.05), t.non_negative()),
            lambda: by_optax(optax.chain(optax.sgd(0.05), optax.keep_params_nonnegative())),
        )
    ],
    "masked": [
        (
            o.adamw(0.01, weight_decay=0.1, decay_mask=lambda path: path == "[0]"),
            lambda: by_optax(optax.adamw(0.01, weight_decay=0.1, mask=(True, False))),
        )
    ],
    "partitioned": [
        (
            t.partitioned(str, {"[0]": o.adam(0.01), "[1]": o.sgd(0.1)}),
            lambda: by_optax(optax.partition({"a": optax.adam(0.01), "b": optax.sgd(0.1)}, ("a", "b"))),
        )
    ],
    "ema_of_params": [(_average_as_params(), lambda: by_torch(_Averaged))],
}
CASES = [(name, case) for name, cases in ORACLES.items() for case in range(len(cases))]
WITHOUT_ORACLE = {
    "chain": "every recipe is one",
    "stateless": "every preconditioner-free transform is one",
    "identity": "a law, in tests/bpfunc/test_optimizers.py",
    "scale": "a law, in tests/bpfunc/test_optimizers.py",
    "scale_by_learning_rate": "in every recipe",
    "scale_by_schedule": "in tests/conformance/test_schedules.py, schedule by schedule",
    "add_noise": "random: its distribution is tested in tests/bpfunc/test_optimizers.py",
    "max_norm": "no oracle has it; its defining property is tested in tests/bpfunc/test_optimizers.py",
    "projected": "by way of non_negative",
    "scale_by_adadelta": "by way of adadelta",
    "scale_by_adagrad": "by way of adagrad",
    "scale_by_adam": "by way of adam",
    "scale_by_adamax": "by way of adamax",
    "scale_by_amsgrad": "by way of amsgrad",
    "scale_by_lion": "by way of lion",
    "scale_by_nadam": "by way of nadam",
    "scale_by_rmsprop": "by way of rmsprop",
}


def members() -> set[str]:
    """Every public maker of a transform."""
    return {
        name
        for module in (transforms, optimizers)
        for name, member in vars(module).items()
        if inspect.isfunction(member) and "GradientTransform" in str(inspect.signature(member).return_annotation)
        if name == member.__name__ and name != "_decay"
    }


def test_every_member_has_an_oracle() -> None:
    """A transform or optimiser added without an oracle, or a reason, fails here."""
    assert members() == ORACLES.keys() | WITHOUT_ORACLE.keys()


@pytest.mark.parametrize(("name", "case"), CASES)
def test_path_of_parameters(name: str, case: int) -> None:
    """After each of 100 steps the parameters agree with the oracle's."""
    transform, oracle = ORACLES[name][case]
    for mine, theirs in zip(ours(transform), oracle(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
