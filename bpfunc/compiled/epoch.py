"""An epoch as machine code: what each thread does, from gathered rows to updated parameters.

Each thread owns some of the inputs of every layer, and with them those rows of the weight: it alone multiplies with
them, differentiates and updates them, so that weights and optimiser state never leave its core's cache. What threads
hand one another are parts of sums and derivatives, no larger than a batch. The order of the numbers in every sum is
fixed by the sizes and the number of threads: the same call gives the same bits.

By hand are the matrix product, gathering, reductions along a row and random bits. All else is called by address: the
formulas that NumPy runs, as `bpfunc.compiled.loops` writes them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bpfunc.arrays.types import FloatArray, IntArray
from bpfunc.compiled.kept import kept
from bpfunc.compiled.machine import flush_denormals, matrix_product, njit, philox, restore_denormals, wait_for_all

SOFTMAX, ELEMENTWISE, FOCAL = range(3)
"""How a loss looks at a row: as softmax cross-entropy, number by number, or as focal loss."""


class Plan(NamedTuple):
    """Where everything of a network of L dense layers lies, and which formula is for what.

    A position is a place between layers: 0 is that of the inputs, L that of the outputs.
    """

    widths: IntArray
    """(L + 1,) numbers at each position."""
    weight_at: IntArray
    """(L,) where each weight begins in the packed parameters."""
    bias_at: IntArray
    """(L,) the same."""
    value_at: IntArray
    """(L + 2,) where the values of each position begin."""
    weight_rule: IntArray
    """(L,) which formula updates each weight."""
    bias_rule: IntArray
    """(L,) the same; -1 where there is no bias."""
    activation: IntArray
    """(L + 1,) which formula follows at each position; -1 where none does."""
    drop_at: IntArray
    """(L + 2,) where the dropouts of each position begin in `rates`."""
    mask_at: IntArray
    """(L + 2,) where the masks of each position begin."""
    rates: FloatArray
    """(M,) float32, of each dropout."""
    factors: FloatArray
    """(M,) what is kept is multiplied by."""
    of_activations: FloatArray
    """Constants of the activations, float64."""
    of_loss: FloatArray
    """Constants of the loss, float64."""
    limits: FloatArray
    """(1,) float64, the norm that the whole gradient is brought to where it is larger; 0 where it is not."""
    penalty: FloatArray
    """(1,) float64, of the squares of the weights; 0 for none, and then they are not summed."""


class Mixture(NamedTuple):
    """How rows become those of a batch: mirrored, then mixed with others."""

    places: IntArray
    """(T, D) which number of a row comes to each place, for each way to mirror it; way 0 is not to."""
    ways: Any
    """(2, n) uint8, the way of each row and of its partner; (2, 0) where there is but one way."""
    partner: IntArray
    """(n,) which of the n rows each is mixed with; empty where none is."""
    shares: FloatArray
    """(2, n) what each row and its partner are multiplied by; (2, 0) where none is mixed."""


class Rows(NamedTuple):
    """What is learned from."""

    data: FloatArray
    targets: FloatArray
    chosen: IntArray
    """(n,) rows of the data in their order."""
    answers: IntArray
    """(n,) rows of the targets, the same."""
    scale: FloatArray
    """(n,) what each counts in the mean of its batch."""
    mixture: Mixture


class Memory(NamedTuple):
    """What threads share and change."""

    params: FloatArray
    grads: FloatArray
    state: FloatArray
    values: FloatArray
    cotangents: FloatArray
    slopes: FloatArray
    parts: FloatArray
    masks: FloatArray
    outputs: FloatArray
    """(n, K) outputs for the chosen rows."""
    probabilities: FloatArray
    """Work space of the loss."""
    norms: FloatArray
    """(threads,) float64."""
    squares: FloatArray
    """(steps, threads) float64, of the weights that each thread owns, before the step."""


class Steps(NamedTuple):
    """What depends on the step."""

    constants: FloatArray
    """(steps, C) of the updates."""
    keys: Any
    """(steps, M, 2) uint64, of the generators of the masks."""


class Own(NamedTuple):
    """Arrays of one thread for the arguments of `matrix_product`."""

    whole: IntArray
    numbers: FloatArray
    letters: Any


class Code(NamedTuple):
    """Functions by address."""

    update: Any
    activate: Any
    derive: Any
    blas: int
    loss: int
    """`SOFTMAX`, `ELEMENTWISE` or `FOCAL`."""


@njit(nogil=True)  # numba has no types
def _gather(rows, first, batch, c0, c1):  # compiled for what it is called with
    """Gather a block of a batch; sums are rounded as `bpfunc.batches.augment.mixup` rounds them."""
    places, ways, partner, shares = rows.mixture
    for at in range(first, first + len(batch)):
        to, row = batch[at - first, c0:c1], rows.data[rows.chosen[at]]
        way = ways[0, at] if len(places) > 1 else 0
        if way == 0:
            row = row[c0:c1]
            for c in range(to.size):
                to[c] = row[c]
        else:
            come = places[way, c0:c1]
            for c in range(to.size):
                to[c] = row[come[c]]
        if len(partner) == 0:
            continue
        row, own, rest = rows.data[rows.chosen[partner[at]]], shares[0, at], shares[1, at]
        way = ways[1, at] if len(places) > 1 else 0
        if way == 0:
            row = row[c0:c1]
            for c in range(to.size):
                to[c] = own * to[c] + rest * row[c]
        else:
            come = places[way, c0:c1]
            for c in range(to.size):
                to[c] = own * to[c] + rest * row[come[c]]


@njit(nogil=True)
def _sum_parts(parts, bias, z, r0, r1, c0, c1):
    """Sum what the threads found for a block of a dense layer's outputs, and add the bias."""
    shift = bias[c0:c1]
    for r in range(r0, r1):
        row, part = z[r, c0:c1], parts[0, r, c0:c1]
        for c in range(row.size):
            row[c] = part[c] + shift[c]
        for other in range(1, len(parts)):
            part = parts[other, r, c0:c1]
            for c in range(row.size):
                row[c] += part[c]


@njit(nogil=True)
def _draw(key, mask, r0, r1, c0, c1, rate, factor):
    """Draw a block of a mask, as `bpfunc.layers.dropout.dropout_factor` does: float32 from halves of Philox's words."""
    width = mask.shape[1]
    key0, key1, zero = key[0], key[1], factor * 0
    for r in range(r0, r1):
        first, last = r * width + c0, r * width + c1
        for block in range(first // 8, (last + 7) // 8):
            words = philox(key0, key1, np.uint64(block))
            for half in range(8):
                index = block * 8 + half
                if first <= index < last:
                    word = (words[half // 2] >> np.uint64(32 * (half % 2))) & np.uint64(0xFFFFFFFF)
                    unit = np.float32(word >> np.uint64(8)) * np.float32(2.0**-24)
                    mask[r, index - r * width] = factor if unit >= rate else zero


@njit(nogil=True)
def _activate(plan, memory, steps, code, step, position, count, r0, r1, c0, c1):
    """Apply what follows at a position to a block of its values, and keep the slope."""
    if plan.activation[position] < 0 or r0 >= r1 or c0 >= c1:
        return
    n = plan.widths[position]
    first, drops = plan.drop_at[position], plan.drop_at[position + 1] - plan.drop_at[position]
    start, stop = plan.value_at[position], plan.value_at[position] + count * n
    at = plan.mask_at[position]
    masks = memory.masks[at : at + drops * count * n].reshape(drops, count, n)
    for drop in range(drops):
        _draw(
            steps.keys[step, first + drop], masks[drop], r0, r1, c0, c1,
            plan.rates[first + drop], plan.factors[first + drop],
        )  # fmt: skip
    code.activate(
        plan.activation[position], plan.of_activations, memory.values[start:stop].reshape(count, n),
        memory.slopes[start:stop].reshape(count, n), masks, r0, r1, c0, c1,
    )  # fmt: skip


@njit(nogil=True)
def _through_activation(plan, memory, position, count, r0, r1, c0, c1):
    """Turn the cotangent of a block of values into that of what came before the activation."""
    if plan.activation[position] < 0:
        return
    n = plan.widths[position]
    start, stop = plan.value_at[position], plan.value_at[position] + count * n
    cotangents, slopes = memory.cotangents[start:stop].reshape(count, n), memory.slopes[start:stop].reshape(count, n)
    for r in range(r0, r1):
        d, slope = cotangents[r, c0:c1], slopes[r, c0:c1]
        for c in range(d.size):
            d[c] *= slope[c]


@njit(nogil=True)
def _softmax(z, e):
    """Fill in the exponentials of a row, shifted by its maximum; returns the maximum and the sum."""
    largest = z[0]
    for k in range(1, z.size):
        if z[k] > largest or z[k] != z[k]:
            largest = z[k]
    total = z.dtype.type(0)
    for k in range(z.size):
        e[k] = np.exp(z[k] - largest)
        total += e[k]
    return largest, total


@njit(nogil=True)
def _derive(z, dz, work, probabilities, r0, r1, rows, first, plan, code):
    """Derivative of the loss by some rows of outputs, in ``dz``."""
    outputs = z.shape[1]
    for r in range(r0, r1):
        targets, scale, out = rows.targets[rows.answers[first + r]], rows.scale[first + r], dz[r]
        if code.loss == ELEMENTWISE:
            code.derive(plan.of_loss, z[r], z[r], targets, out)
            for k in range(outputs):
                out[k] = out[k] * scale
            continue
        p = probabilities[r]
        largest, total = _softmax(z[r], p)
        for k in range(outputs):
            p[k] /= total
        if code.loss == SOFTMAX:
            mass = z.dtype.type(0)
            for k in range(outputs):
                mass += targets[k]
            for k in range(outputs):
                out[k] = (p[k] * mass - targets[k]) * scale
        else:
            shift = np.log(total)
            for k in range(outputs):
                work[r, k] = z[r, k] - largest - shift
            code.derive(plan.of_loss, work[r], p, targets, out)
            mass = z.dtype.type(0)
            for k in range(outputs):
                out[k] = out[k] * scale
                mass += out[k]
            for k in range(outputs):
                out[k] -= p[k] * mass


@njit(nogil=True)
def _sum_rows(values, c0, c1, total):
    out = total[c0:c1]
    out[:] = 0
    for r in range(len(values)):
        row = values[r, c0:c1]
        for c in range(out.size):
            out[c] += row[c]


@njit(nogil=True)
def _forward(t, threads, counter, passed, step, first, count, plan, rows, memory, steps, code, own):
    """Compute all values of a batch, and the derivative of the loss by this thread's rows of outputs."""
    layers, size = len(plan.weight_at), memory.params.itemsize
    x, p, s = memory.values.ctypes.data, memory.params.ctypes.data, memory.parts.ctypes.data
    c0, c1 = plan.widths[0] * t // threads, plan.widths[0] * (t + 1) // threads
    inputs = memory.values[: count * plan.widths[0]].reshape(count, plan.widths[0])
    _gather(rows, first, inputs, c0, c1)
    _activate(plan, memory, steps, code, step, 0, count, 0, count, c0, c1)
    r0, r1 = count * t // threads, count * (t + 1) // threads
    for layer in range(layers):
        m, n = plan.widths[layer], plan.widths[layer + 1]
        start, stop = plan.value_at[layer + 1], plan.value_at[layer + 1] + count * n
        c0, c1 = m * t // threads, m * (t + 1) // threads
        matrix_product(
            code.blas, 0, 0, count, n, c1 - c0, x + size * (plan.value_at[layer] + c0), m,
            p + size * (plan.weight_at[layer] + c0 * n), n, s + size * (threads * start + t * count * n), n, own,
        )  # fmt: skip
        passed = wait_for_all(counter, threads, passed)
        if passed < 0:
            return passed
        found = memory.parts[threads * start : threads * stop].reshape(threads, count, n)
        bias = memory.params[plan.bias_at[layer] : plan.bias_at[layer] + n]
        z = memory.values[start:stop].reshape(count, n)
        if layer + 1 < layers:
            c0, c1 = n * t // threads, n * (t + 1) // threads
            _sum_parts(found, bias, z, 0, count, c0, c1)
            _activate(plan, memory, steps, code, step, layer + 1, count, 0, count, c0, c1)
        else:
            _sum_parts(found, bias, z, r0, r1, 0, n)
            _activate(plan, memory, steps, code, step, layer + 1, count, r0, r1, 0, n)
            for r in range(r0, r1):
                memory.outputs[first + r] = z[r]
            dz = memory.cotangents[start:stop].reshape(count, n)
            # The parts of these rows are summed, and no other thread reads them: they serve as work space.
            _derive(
                z, dz, found[0], memory.probabilities[: count * n].reshape(count, n), r0, r1, rows, first, plan, code
            )
            _through_activation(plan, memory, layer + 1, count, r0, r1, 0, n)
    return passed


@njit(nogil=True)
def _owned(t, threads, plan, layer, part):
    """Where the numbers of a weight (part 0) or bias (part 1) begin and end that this thread owns."""
    m, n = plan.widths[layer], plan.widths[layer + 1]
    if part == 0:
        return plan.weight_at[layer] + m * t // threads * n, plan.weight_at[layer] + m * (t + 1) // threads * n
    if plan.bias_rule[layer] < 0:
        return 0, 0
    return plan.bias_at[layer] + n * t // threads, plan.bias_at[layer] + n * (t + 1) // threads


@njit(nogil=True)
def _update(t, threads, plan, layer, memory, constants, code):
    """Update what this thread owns of a layer."""
    start, stop = _owned(t, threads, plan, layer, 0)
    code.update(plan.weight_rule[layer], constants, memory.grads, memory.params, memory.state, start, stop)
    if plan.bias_rule[layer] >= 0:
        start, stop = _owned(t, threads, plan, layer, 1)
        code.update(plan.bias_rule[layer], constants, memory.grads, memory.params, memory.state, start, stop)


@njit(nogil=True)
def _backward(t, threads, counter, passed, count, plan, memory, constants, code, own):
    """Compute all gradients; where they are not to be looked at together, update each layer at once."""
    layers, size = len(plan.weight_at), memory.params.itemsize
    x, p, g, d = (
        memory.values.ctypes.data,
        memory.params.ctypes.data,
        memory.grads.ctypes.data,
        memory.cotangents.ctypes.data,
    )
    for layer in range(layers - 1, -1, -1):
        passed = wait_for_all(counter, threads, passed)
        if passed < 0:
            return passed
        m, n = plan.widths[layer], plan.widths[layer + 1]
        start = plan.value_at[layer]
        c0, c1 = m * t // threads, m * (t + 1) // threads
        dz, weight = d + size * plan.value_at[layer + 1], plan.weight_at[layer] + c0 * n
        if layer > 0:
            matrix_product(
                code.blas, 0, 1, count, c1 - c0, n, dz, n, p + size * weight, n, d + size * (start + c0), m, own
            )
            _through_activation(plan, memory, layer, count, 0, count, c0, c1)
        matrix_product(code.blas, 1, 0, c1 - c0, n, count, x + size * (start + c0), m, dz, n, g + size * weight, n, own)
        if plan.bias_rule[layer] >= 0:
            c0, c1 = n * t // threads, n * (t + 1) // threads
            start, stop = plan.value_at[layer + 1], plan.value_at[layer + 1] + count * n
            bias = plan.bias_at[layer]
            _sum_rows(memory.cotangents[start:stop].reshape(count, n), c0, c1, memory.grads[bias : bias + n])
        if plan.limits[0] == 0:
            _update(t, threads, plan, layer, memory, constants, code)
    return passed


@njit(nogil=True, fastmath={"reassoc"})  # in the order that vectors add up in
def _sum_of_squares(values):
    total = 0.0
    for value in values:
        total += np.float64(value) * np.float64(value)
    return total


@njit(nogil=True)
def _weigh(t, threads, step, plan, memory):
    """Add up the squares of the weights that this thread owns."""
    total = 0.0
    for layer in range(len(plan.weight_at)):
        start, stop = _owned(t, threads, plan, layer, 0)
        total += _sum_of_squares(memory.params[start:stop])
    memory.squares[step, t] = total


@njit(nogil=True)
def _clip_and_update(t, threads, counter, passed, plan, memory, constants, code):
    """Shrink the whole gradient where its norm is above the limit, then update."""
    total = 0.0
    for layer in range(len(plan.weight_at)):
        for part in range(2):
            start, stop = _owned(t, threads, plan, layer, part)
            total += _sum_of_squares(memory.grads[start:stop])
    memory.norms[t] = total
    passed = wait_for_all(counter, threads, passed)
    if passed < 0:
        return passed
    total = 0.0
    for other in range(threads):
        total += memory.norms[other]
    norm = np.sqrt(total)
    factor = memory.grads.dtype.type(plan.limits[0] / norm)
    for layer in range(len(plan.weight_at)):
        if norm > plan.limits[0]:
            for part in range(2):
                start, stop = _owned(t, threads, plan, layer, part)
                for index in range(start, stop):
                    memory.grads[index] *= factor
        _update(t, threads, plan, layer, memory, constants, code)
    return passed


@njit(nogil=True, error_model="numpy")
def _thread_of_epoch(t, threads, counter, batch_size, plan, rows, memory, steps, code, own):
    """Do one thread's part of some steps.

    Args:
        t: Number of the thread.
        threads: Number of all threads.
        counter: Address of the barrier.
        batch_size: Rows in a batch.
        plan: A `Plan`.
        rows: A `Rows`.
        memory: A `Memory`; parameters, state and outputs are changed, the rest is filled.
        steps: A `Steps`.
        code: A `Code`.
        own: An `Own`.

    Returns:
        None.
    """
    before = flush_denormals()
    passed = 0
    for step in range(len(steps.constants)):
        first = step * batch_size
        count = min(batch_size, len(rows.chosen) - first)
        if plan.penalty[0] != 0:
            _weigh(t, threads, step, plan, memory)
        passed = _forward(t, threads, counter, passed, step, first, count, plan, rows, memory, steps, code, own)
        if passed >= 0:
            passed = _backward(t, threads, counter, passed, count, plan, memory, steps.constants[step], code, own)
        if passed >= 0 and plan.limits[0] != 0:
            passed = _clip_and_update(t, threads, counter, passed, plan, memory, steps.constants[step], code)
        if passed < 0:
            break
    restore_denormals(before)


thread_of_epoch = kept(_thread_of_epoch)
"""What each thread runs."""
