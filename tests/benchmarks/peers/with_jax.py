"""JAX with optax: a whole epoch in one compiled scan, and a compiled step called in a loop; buffers donated in both.

The order of the rows comes from NumPy: JAX's own permutation sorts, and takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.benchmarks.problem import Layers, Problem, Runner
from tests.benchmarks.settings import Optimizer

Carry = tuple[Any, Any]
"""Parameters and the optimiser's state."""


def scanned(problem: Problem) -> Runner:
    """One call an epoch: a scan over the full batches, then the last one."""
    step = _step(problem.optimizer)

    @partial(jax.jit, donate_argnums=0)
    def epoch(carry: Carry, inputs: jax.Array, labels: jax.Array, order: jax.Array) -> tuple[Carry, jax.Array]:
        size = problem.cell.batch
        full = len(order) // size * size
        carry, losses = jax.lax.scan(
            lambda carry, rows: step(carry, inputs[rows], labels[rows]), carry, order[:full].reshape(-1, size)
        )
        total = losses.sum() * size
        if full < len(order):
            carry, loss = step(carry, inputs[order[full:]], labels[order[full:]])
            total += loss * (len(order) - full)
        return carry, total / len(order)

    return _runner(problem, epoch)


def stepped(problem: Problem) -> Runner:
    """One call a step, gather included; nobody waits for a step before the next is sent off."""
    step = _step(problem.optimizer)

    @partial(jax.jit, donate_argnums=(0, 1))
    def one(carry: Carry, total: jax.Array, inputs: jax.Array, labels: jax.Array, rows: jax.Array) -> Any:
        carry, loss = step(carry, inputs[rows], labels[rows])
        return carry, total + loss * len(rows)

    def epoch(carry: Carry, inputs: jax.Array, labels: jax.Array, order: np.ndarray) -> tuple[Carry, jax.Array]:
        total = jnp.zeros(())
        for start in range(0, len(order), problem.cell.batch):
            carry, total = one(carry, total, inputs, labels, order[start : start + problem.cell.batch])
        return carry, total / len(order)

    return _runner(problem, epoch)


def _runner(problem: Problem, epoch: Callable[..., tuple[Carry, jax.Array]]) -> Runner:
    inputs, labels = jnp.asarray(problem.inputs), jnp.asarray(problem.labels.astype(np.int32))
    params = [(jnp.array(weight), jnp.array(bias)) for weight, bias in problem.first_weights()]
    carry: Carry = (params, _transform(problem.optimizer).init(params))
    rng = np.random.default_rng()

    def run(order: np.ndarray | None) -> None:
        nonlocal carry
        rows = rng.permutation(len(inputs)) if order is None else order
        carry, loss = epoch(carry, inputs, labels, rows.astype(np.int32))
        jax.block_until_ready(carry)
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")

    def weights() -> Layers:
        return [(np.asarray(weight), np.asarray(bias)) for weight, bias in carry[0]]

    return Runner(run, weights)


def _step(numbers: Optimizer) -> Callable[[Carry, jax.Array, jax.Array], tuple[Carry, jax.Array]]:
    transform = _transform(numbers)

    def loss_of(params: Any, inputs: jax.Array, labels: jax.Array) -> jax.Array:
        x = inputs
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(carry: Carry, inputs: jax.Array, labels: jax.Array) -> tuple[Carry, jax.Array]:
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, inputs, labels)
        updates, state = transform.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    return step


def _transform(numbers: Optimizer) -> optax.GradientTransformation:
    if numbers.name in ("SGD", "momentum"):
        return optax.sgd(numbers.rate, momentum=numbers.momentum or None)
    adaptive = {"b1": numbers.beta1, "b2": numbers.beta2, "eps": numbers.eps}
    if numbers.name == "AdamW":
        return optax.adamw(numbers.rate, weight_decay=numbers.weight_decay, **adaptive)
    return optax.adam(numbers.rate, **adaptive)
