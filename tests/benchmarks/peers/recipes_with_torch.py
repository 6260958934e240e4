"""The recipes in torch: eager, fused optimisers, rows gathered by index, and torch's own tools for the rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.benchmarks.recipes import Recipe, Trainer

SIDE = 28


def trainer(recipe: Recipe) -> Trainer:
    """An epoch a call: gather, mirror, mix, step, average; and a look at the validation rows where there are any."""
    train, look = training(recipe)[:2]

    def epoch() -> float:
        loss = train()
        look()
        return loss

    return epoch


def training(recipe: Recipe) -> tuple[Trainer, Callable[[], None], torch.nn.Module]:
    """One more epoch, a look at the validation rows, and the network that is the result."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    inputs, labels = torch.from_numpy(recipe.inputs), torch.from_numpy(recipe.labels)
    targets = functional.one_hot(labels, recipe.classes).float()
    model = _network(recipe)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average)) if recipe.average else None
    optimizer = _optimizer(model, recipe)
    steps = recipe.epochs * -(-len(inputs) // recipe.batch)
    schedule = None
    if recipe.schedule == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps, cycle_momentum=False)
    result = model if average is None else average

    def epoch() -> float:
        model.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(inputs)).split(recipe.batch):
            x = inputs.index_select(0, rows)
            y = targets.index_select(0, rows) if recipe.mixup else labels.index_select(0, rows)
            if recipe.flip:
                mirrored = x.view(-1, SIDE, SIDE).flip(-1).view(x.shape)
                x = torch.where(torch.rand(len(x), 1) < 0.5, mirrored, x)
            if recipe.mixup:
                part = torch.from_numpy(random.beta(recipe.mixup, recipe.mixup, (len(x), 1)).astype(np.float32))
                partner = torch.randperm(len(x))
                x, y = (torch.lerp(values.index_select(0, partner), values, part) for values in (x, y))
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(model(x), y, label_smoothing=recipe.smoothing)
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if average is not None:
                average.update_parameters(model)
            total += loss.detach() * len(rows)
        return total.item() / len(inputs)

    def look() -> None:
        if recipe.validation is None:
            return
        result.eval()
        with torch.inference_mode():
            x, y = (torch.from_numpy(values) for values in recipe.validation)
            logits = result(x)
            functional.cross_entropy(logits, y).item()
            (logits.argmax(1) == y).float().mean().item()

    return epoch, look, result


def _network(recipe: Recipe) -> torch.nn.Sequential:
    parts: list[torch.nn.Module] = []
    for before, after in itertools.pairwise((recipe.inputs.shape[1], *recipe.hidden)):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        if recipe.dropout:
            parts.append(torch.nn.Dropout(recipe.dropout))
    model = torch.nn.Sequential(*parts, torch.nn.Linear(recipe.hidden[-1], recipe.classes))
    for part in model:
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.kaiming_normal_(part.weight)
            torch.nn.init.zeros_(part.bias)
    return model


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=recipe.rate, fused=True)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, fused=True)
