"""torch: eager with foreach or fused optimisers, and compiled.

Rows are gathered by ``index_select``, which is two to five times as fast here as ``x[rows]`` or as shuffling the whole
array at once. Losses are summed as tensors and looked at once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.benchmarks.images import BATCHES, MOMENTUM, RATE, Network, Step, batches, weights
from tests.benchmarks.problem import Floats, Layers, Problem, Runner
from tests.benchmarks.settings import Optimizer

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def foreach(problem: Problem) -> Runner:
    """Eager, with optimisers that go over lists of tensors."""
    return _runner(problem, "foreach", _eager)


def fused(problem: Problem) -> Runner:
    """Eager, with one kernel for the whole update."""
    return _runner(problem, "fused", _eager)


def compiled(problem: Problem) -> Runner:
    """Network and loss compiled forward and backward, with fused optimisers. Two shapes: the last batch is short."""
    torch._dynamo.reset()
    return _runner(problem, "fused", lambda model: torch.compile(_eager(model), dynamic=False))


def predictor(layers: Layers, threads: int) -> Callable[[Floats], Floats]:
    """The module in inference mode, from array to array."""
    torch.set_num_threads(threads)
    model = _network(layers).eval()

    def predict(inputs: Floats) -> Floats:
        with torch.inference_mode():
            return model(torch.from_numpy(inputs)).numpy()

    return predict


def _runner(problem: Problem, kind: str, losses_of: Callable[[torch.nn.Module], Losses]) -> Runner:
    torch.set_num_threads(problem.threads)
    inputs, labels = torch.from_numpy(problem.inputs), torch.from_numpy(problem.labels)
    model = _network(problem.first_weights())
    optimizer = _optimizer(model, problem.optimizer, kind)
    loss_of = losses_of(model)

    def run(order: object | None) -> None:
        rows = torch.randperm(len(inputs)) if order is None else torch.as_tensor(order)
        total = torch.zeros(())
        for part in rows.split(problem.cell.batch):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(inputs.index_select(0, part), labels.index_select(0, part))
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(part)
        _finite(total.item() / len(rows))

    def weights() -> Layers:
        linear = [part for part in model if isinstance(part, torch.nn.Linear)]
        return [(part.weight.detach().numpy().T, part.bias.detach().numpy()) for part in linear]

    return Runner(run, weights)


def _network(layers: Layers) -> torch.nn.Sequential:
    parts: list[torch.nn.Module] = []
    for weight, bias in layers:
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        parts += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1])


def _eager(model: torch.nn.Module) -> Losses:
    return lambda x, y: torch.nn.functional.cross_entropy(model(x), y)


def _optimizer(model: torch.nn.Module, numbers: Optimizer, kind: str) -> torch.optim.Optimizer:
    how = {kind: True}
    if numbers.name in ("SGD", "momentum"):
        return torch.optim.SGD(model.parameters(), lr=numbers.rate, momentum=numbers.momentum, **how)
    adaptive = {"lr": numbers.rate, "betas": (numbers.beta1, numbers.beta2), "eps": numbers.eps, **how}
    if numbers.name == "AdamW":
        return torch.optim.AdamW(model.parameters(), weight_decay=numbers.weight_decay, **adaptive)
    return torch.optim.Adam(model.parameters(), **adaptive)


def _finite(loss: float) -> None:
    if not loss < float("inf"):
        raise FloatingPointError(f"the loss is {loss}")


def image_step(network: Network, threads: int) -> Step:
    """A step of a convolutional network, eager, images with their channels first as torch has them by default."""
    torch.set_num_threads(threads)
    first, second, third, fourth = weights(network)
    width = network.filters[1]
    by_channel = third.reshape(49, width, -1).transpose(1, 0, 2).reshape(third.shape)
    norms = [torch.nn.BatchNorm2d(filters) if network.norm else torch.nn.Identity() for filters in network.filters]
    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, network.filters[0], 3, padding=1), norms[0], torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(network.filters[0], width, 3, padding=1), norms[1], torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Flatten(), torch.nn.Linear(49 * width, network.hidden), torch.nn.ReLU()),
        torch.nn.Linear(network.hidden, 10),
    )
    given = (first.transpose(3, 2, 0, 1), second.transpose(3, 2, 0, 1), by_channel.T, fourth.T)
    with torch.no_grad():
        for place, weight in zip((0, 4, 9, 11), given, strict=True):
            model[place].weight.copy_(torch.from_numpy(weight.copy()))
            model[place].bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    rows = [(torch.from_numpy(images)[:, None], torch.from_numpy(labels)) for images, labels in batches(network)]

    def run(number: int) -> float:
        images, labels = rows[number % BATCHES]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run
