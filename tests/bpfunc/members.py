"""Members of the laws, found by looking: every public function that makes a record of a kind, ready to be called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

import bpfunc
import bpfunc as bp
from bpfunc import layers

SKIPPED_MODULES = ("bpfunc.interop", "bpfunc.compiled")

ARGUMENTS: dict[str, Any] = {
    "alpha": 0.5,
    "applies": lambda path: not path.endswith("bias"),
    "augmentation": lambda key, batch: batch,
    "augmentations": (),
    "boundaries": (),
    "categories": 5,
    "classes": 3,
    "decay": 0.5,
    "degrees": 10.0,
    "deviation": 0.5,
    "end": 0.01,
    "every": 2,
    "factor": 0.5,
    "first": 0.1,
    "function": lambda grads, params, step: grads,
    "features": 1,
    "figures": lambda outputs, batch: outputs.max(axis=1),
    "gradient": bp.value_and_grad,
    "image_shape": (2, 2),
    "k": 2,
    "key": bp.Key(0),
    "label": lambda path: "all",
    "layer": bp.dense(4),
    "layers": (bp.dense(3),),
    "learning_rate": 0.1,
    "limit": 0.1,
    "loss": bp.cross_entropy(),
    "metrics": (bp.accuracy(),),
    "name": "of one's own",
    "parts": (("head", bp.dense(3)),),
    "peak": 0.1,
    "pixels": 1,
    "power": 2.0,
    "probability": 0.5,
    "project": lambda p: np.maximum(p, 0),
    "rate": 0.5,
    "rates": (),
    "tol": 0.0,
    "rho": 0.05,
    "scale": 0.1,
    "schedule": lambda step: np.float64(0.1),
    "schedules": (lambda step: 0.1,),
    "shape": (4,),
    "size": 2,
    "start": 0.1,
    "steps": 10,
    "transform": bp.rmsprop(0.1),
    "transforms": (bp.centralize(), bp.scale_by_lion()),
    "value": 0.1,
    "values": (0.1,),
    "width": 3,
}
"""What an argument is given that has no default, by its name."""
ARGUMENTS_OF: dict[str, dict[str, Any]] = {
    "made_by": {"name": "leaky_relu", "parts": [], "settings": {"slope": 0.5}},
    "partitioned": {"transforms": {"all": bp.amsgrad(0.1)}},
}
IMAGES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "conv2d": ((2, 2, 1), {"kernel": 2}),
    "max_pool2d": ((2, 2, 1), {"stride": 1, "padding": "same"}),
    "avg_pool2d": ((2, 2, 1), {"stride": 1, "padding": "same"}),
    "global_avg_pool": ((1, 1, 4), {}),
}
"""Layers that take images: the image that a row of four numbers becomes, and arguments that give four numbers back."""
BY_HAND = {"elementwise", "fused", "stateless"}
"""Makers of records out of functions: what they keep is what they are given."""


def modules() -> list[ModuleType]:
    """Every public module of the library, bridges to other libraries apart."""
    names = [info.name for info in pkgutil.walk_packages(bpfunc.__path__, "bpfunc.")]
    return [importlib.import_module(name) for name in names if not name.startswith(SKIPPED_MODULES)]


def public_functions() -> dict[str, Callable[..., Any]]:
    """Qualified name -> function, each where it is defined."""
    return {
        f"{module.__name__}.{name}": member for module in modules() for name, member in functions_of(module).items()
    }


def functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that are defined in a module."""
    return {
        name: member
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_")
    }


def arguments(function: Callable[..., Any], **given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What to call a function with: what is given, and what `ARGUMENTS` has for what has no default."""
    own = ARGUMENTS | ARGUMENTS_OF.get(function.__name__, {}) | given
    positional: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = own[name]
        elif parameter.default is parameter.empty or name in given:
            options[name] = own[name]  # a KeyError here: say in ARGUMENTS what the new argument is given
    return positional, options


def called(function: Callable[..., Any], **given: Any) -> Any:
    """Call a function with what it needs."""
    positional, options = arguments(function, **given)
    return function(*positional, **options)


def maker(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with what it needs already given; more may be given by name."""
    return lambda **given: called(function, **given)


def on_rows(function: Callable[..., Any], **given: Any) -> Any:
    """A layer that takes images, between layers that make them of rows and rows of them."""
    in_shape, settings = IMAGES[function.__name__]
    return bp.serial(bp.reshape(in_shape), called(function, **settings, **given), layers.flatten())


def makers(kind: str) -> dict[str, Callable[..., Any]]:
    """Name -> function for each public function that is annotated to return a record of a kind, such as ``Layer``."""
    return {
        function.__name__: partial(on_rows, function) if function.__name__ in IMAGES else maker(function)
        for function in public_functions().values()
        if inspect.signature(function).return_annotation == kind and function.__name__ not in BY_HAND
    }
