"""An epoch as machine code: what each thread does, from gathered rows to updated parameters.

Each thread owns some of the inputs of every layer, and with them those rows of the weight: it alone multiplies with
them, differentiates and updates them, so that weights and optimiser state never leave its core's cache. What threads
hand one another are parts of sums and derivatives, no larger than a batch. The order of the numbers in every sum is
fixed by the sizes and the number of threads: the same call gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from bpfunc.compiled.machine import (
    Precision,
    flush_denormals,
    matrix_product,
    njit,
    restore_denormals,
    wait_for_all,
)

RELU, LEAKY, TANH, SIGMOID, IDENTITY = range(5)
"""What follows a dense layer."""


@njit(nogil=True)  # numba has no types
def _gather(data, rows, batch, c0, c1):  # compiled for what it is called with
    for index in range(len(rows)):
        to, row = batch[index, c0:c1], data[rows[index], c0:c1]
        for c in range(to.size):
            to[c] = row[c]


@njit(nogil=True)
def _outputs(parts, bias, z, r0, r1, c0, c1, kind, slope):
    """Sum what the threads found for a block of a dense layer's outputs, add the bias, and apply the activation."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    shift = bias[c0:c1]
    for r in range(r0, r1):
        row, part = z[r, c0:c1], parts[0, r, c0:c1]
        for c in range(row.size):
            row[c] = part[c] + shift[c]
        for other in range(1, len(parts)):
            part = parts[other, r, c0:c1]
            for c in range(row.size):
                row[c] += part[c]
        if kind == RELU:
            for c in range(row.size):
                row[c] = zero if row[c] < zero else row[c]  # NaN stays
        elif kind == LEAKY:
            for c in range(row.size):
                row[c] = slope * row[c] if row[c] < zero else row[c]
        elif kind == TANH:
            for c in range(row.size):
                row[c] = np.tanh(row[c])
        elif kind == SIGMOID:
            for c in range(row.size):
                row[c] = one / (one + np.exp(-row[c]))


@njit(nogil=True)
def _differentiate(dy, y, c0, c1, kind, slope):
    """Turn the cotangent of some outputs into that of what came before the activation, by the outputs."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for r in range(len(y)):
        d, value = dy[r, c0:c1], y[r, c0:c1]
        if kind in (RELU, LEAKY):  # the slope of a relu is 0
            for c in range(d.size):
                d[c] = d[c] if value[c] > zero else slope * d[c]
        elif kind == TANH:
            for c in range(d.size):
                d[c] *= one - value[c] * value[c]
        elif kind == SIGMOID:
            for c in range(d.size):
                d[c] *= value[c] * (one - value[c])


@njit(nogil=True)
def _loss(z, dz, r0, r1, rows, targets, labels, scale, weights, sums):
    """Softmax cross-entropy of some rows of logits, its derivative in ``dz``, and what the metrics need."""
    classes = z.shape[1]
    for r in range(r0, r1):
        row = rows[r]
        largest, found = z[r, 0], 0
        for k in range(1, classes):
            if z[r, k] > largest or (z[r, k] != z[r, k] and largest == largest):
                largest, found = z[r, k], k
        total, mass = z.dtype.type(0), z.dtype.type(0)
        for k in range(classes):
            dz[r, k] = np.exp(z[r, k] - largest)
            total += dz[r, k]
            mass += targets[row, k]
        loss = mass * np.log(total)
        for k in range(classes):
            if targets[row, k] != 0:  # no times an infinite surprise is none
                loss -= targets[row, k] * (z[r, k] - largest)
            dz[r, k] = (dz[r, k] / total * mass - targets[row, k]) * scale[r]
        sums[0] += loss * weights[r]
        if found == labels[row]:
            sums[1] += weights[r]


@njit(nogil=True)
def _sum_rows(values, c0, c1, total):
    out = total[c0:c1]
    out[:] = 0
    for r in range(len(values)):
        row = values[r, c0:c1]
        for c in range(out.size):
            out[c] += row[c]


@lru_cache
def thread_of_epoch(dtype: Precision) -> Callable[..., None]:
    """Make what each thread runs.

    Args:
        dtype: Of float32 or float64.

    Returns:
        A function of: the thread's number and that of all threads; the barrier's address; (N, D) data, (N, K) targets,
        (N,) labels; (n,) rows in their order, ``scale`` (n,) what each counts in its batch's mean, and ``weights`` (n,)
        in the metrics; the batch size; (L + 1,) widths; (L,) where each weight and bias begins, and which formula
        updates it; (L,) kinds and slopes of the activations; (L + 1,) where each layer's values begin; the packed
        parameters, gradients and (slots, P) state; (steps, C) constants; the update; values, cotangents and, for each
        thread, parts of values; two sums, loss and hits; and arrays for `matrix_product`. It changes parameters, state
        and sums, and fills the rest.
    """
    product = matrix_product(dtype)
    size = dtype.itemsize

    @njit(nogil=True, error_model="numpy")
    def thread(
        t, threads, counter, data, targets, labels, rows, scale, weights, batch_size,
        widths, weight_at, bias_at, weight_rule, bias_rule, kinds, slopes, value_at,
        params, grads, state, constants, update, values, cotangents, parts, sums, whole, numbers, letters,
    ):  # fmt: skip
        layers = len(weight_at)
        p, g, x, d, s = (
            params.ctypes.data,
            grads.ctypes.data,
            values.ctypes.data,
            cotangents.ctypes.data,
            parts.ctypes.data,
        )
        before = flush_denormals()
        passed = 0
        for step in range(len(constants)):
            first = step * batch_size
            count = min(batch_size, len(rows) - first)
            batch = rows[first : first + count]
            c0, c1 = widths[0] * t // threads, widths[0] * (t + 1) // threads
            _gather(data, batch, values[: count * widths[0]].reshape(count, widths[0]), c0, c1)
            r0, r1 = count * t // threads, count * (t + 1) // threads
            for layer in range(layers):
                m, n = widths[layer], widths[layer + 1]
                start, stop = value_at[layer + 1], value_at[layer + 1] + count * n
                c0, c1 = m * t // threads, m * (t + 1) // threads
                product(
                    0, 0, count, n, c1 - c0, x + size * (value_at[layer] + c0), m,
                    p + size * (weight_at[layer] + c0 * n), n, s + size * (threads * start + t * count * n), n,
                    whole, numbers, letters,
                )  # fmt: skip
                passed = wait_for_all(counter, threads, passed)
                found = parts[threads * start : threads * stop].reshape(threads, count, n)
                bias, z = params[bias_at[layer] : bias_at[layer] + n], values[start:stop].reshape(count, n)
                if layer + 1 < layers:
                    c0, c1 = n * t // threads, n * (t + 1) // threads
                    _outputs(found, bias, z, 0, count, c0, c1, kinds[layer], slopes[layer])
                else:
                    dz = cotangents[start:stop].reshape(count, n)
                    _outputs(found, bias, z, r0, r1, 0, n, kinds[layer], slopes[layer])
                    _loss(
                        z, dz, r0, r1, batch, targets, labels, scale[first : first + count],
                        weights[first : first + count], sums,
                    )  # fmt: skip
                    _differentiate(dz[r0:r1], z[r0:r1], 0, n, kinds[layer], slopes[layer])
            for layer in range(layers - 1, -1, -1):
                passed = wait_for_all(counter, threads, passed)
                m, n = widths[layer], widths[layer + 1]
                start, stop = value_at[layer], value_at[layer] + count * m
                c0, c1 = m * t // threads, m * (t + 1) // threads
                dz, weight = d + size * value_at[layer + 1], weight_at[layer] + c0 * n
                if layer > 0:
                    product(
                        0, 1, count, c1 - c0, n, dz, n, p + size * weight, n, d + size * (start + c0), m,
                        whole, numbers, letters,
                    )  # fmt: skip
                    y, dy = values[start:stop].reshape(count, m), cotangents[start:stop].reshape(count, m)
                    _differentiate(dy, y, c0, c1, kinds[layer - 1], slopes[layer - 1])
                product(
                    1, 0, c1 - c0, n, count, x + size * (start + c0), m, dz, n, g + size * weight, n,
                    whole, numbers, letters,
                )  # fmt: skip
                update(weight_rule[layer], constants[step], grads, params, state, weight, weight + (c1 - c0) * n)
                if bias_rule[layer] >= 0:
                    c0, c1 = n * t // threads, n * (t + 1) // threads
                    start, stop = value_at[layer + 1], value_at[layer + 1] + count * n
                    bias = bias_at[layer]
                    _sum_rows(cotangents[start:stop].reshape(count, n), c0, c1, grads[bias : bias + n])
                    update(bias_rule[layer], constants[step], grads, params, state, bias + c0, bias + c1)
        restore_denormals(before)

    made: Callable[..., None] = thread
    return made
