"""A trained network, whole: what it takes to go from raw pixels to named probabilities, in one file of its run.

``params.safetensors`` holds parameters, layer state and the scaling's statistics under their tree paths, such as
``params.layers[0].weight`` and ``scaling.mean``; its header names the classes and carries the configuration.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from bpfunc import Key
from bpfunc.arrays.types import FloatArray, readonly_arrays
from bpfunc.interop import network_file
from bpfunc.interop.network_file import SavedNetwork, network_entry
from bpfunc.layers import Layer
from bpfunc.tree import STATIC, Tree
from pipelines.artifacts import PIXELS, EngineUsed, PreparedMeta, Scaling, Trained
from pipelines.dataset.data_hashes import UNKNOWN, DataHashes, from_text, to_text
from pipelines.disk.atomic import write_bytes
from pipelines.disk.tensors import read_sealed_tensors, sealed_tensors, tensor_metadata
from pipelines.disk.untrusted.printable import shell
from pipelines.errors import DataProblem
from pipelines.runs.directory import TRAIN_AGAIN, check_made_by, read_config, read_history
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import to_toml
from pipelines.training.build import build_model
from pipelines.training.engine import engine_metadata, engine_used
from pipelines.training.outputs import in_parts

NAME = "params.safetensors"
PARAMS_FORMAT = "bpfunc-params-3"


@attrs.frozen(eq=False, field_transformer=readonly_arrays)
class Network:
    """A trained network; as a tree it is its arrays, and the rest is structure."""

    params: Tree
    """Arrays float32 and read-only."""
    layer_state: Tree
    """Running statistics of its layers; empty for most."""
    scaling: Scaling
    """How pixels become inputs."""
    spec: RunSpec = attrs.field(metadata=STATIC)
    """What was run."""
    class_names: tuple[str, ...] = attrs.field(metadata=STATIC)
    """K names, in the order of the outputs."""
    epoch: int = attrs.field(metadata=STATIC)
    """That it is of."""
    data: DataHashes = attrs.field(default=UNKNOWN, metadata=STATIC)
    """The source files and partitions that it was trained on."""
    engine: EngineUsed = attrs.field(factory=EngineUsed, metadata=STATIC)
    """What trained it."""

    @property
    def model(self) -> Layer:
        """The functions: a layer from (B, 784) inputs to (B, K) logits."""
        return build_model(self.spec.model, len(self.class_names))


def trained_network(spec: RunSpec, meta: PreparedMeta, trained: Trained, data: DataHashes = UNKNOWN) -> Network:
    """Combine the parts of a run's network.

    Args:
        spec: What was run.
        meta: Class names and scaling of the data.
        trained: From `pipelines.stages.train.train`.
        data: The hashes of the data.

    Returns:
        The network.
    """
    return Network(
        trained.params,
        trained.layer_state,
        meta.scaling,
        spec,
        meta.class_names,
        trained.epoch,
        data,
        trained.engine,
    )


def probabilities(network: Network, images: NDArray[np.uint8]) -> FloatArray:
    """Compute the probability of each class for each image: scaling, forward pass, softmax.

    Args:
        network: Any.
        images: (B, 784) uint8, bright on dark, as in the data that it was trained on.

    Returns:
        (B, K) float32, rows sum to 1.

    Example:
        >>> params, state, _ = build_model(RunSpec().model, 3).init(Key(0), (PIXELS,))
        >>> scaling = Scaling("unit", np.zeros(PIXELS), np.ones(PIXELS))
        >>> network = Network(params, state, scaling, RunSpec(), ("A", "B", "C"), 1)
        >>> probabilities(network, np.zeros((2, 784), np.uint8)).shape
        (2, 3)
    """
    scaling = network.scaling
    saved = SavedNetwork(
        network.model, network.params, network.layer_state, scaling.mean, scaling.scale, network.class_names
    )
    return in_parts(network.spec.model, partial(network_file.probabilities, saved), images)


def write_network(run: Path, network: Network) -> None:
    """Write ``params.safetensors``.

    Args:
        run: The run directory.
        network: Its network; equal networks give equal bytes.

    Raises:
        WorkFailed: The file cannot be written.
    """
    metadata = {
        "format": PARAMS_FORMAT,
        "epoch": str(network.epoch),
        "class_names": "\n".join(network.class_names),
        "config": to_toml(network.spec),
        "hashes": to_text(network.data),
        **network_entry(network.model, network.class_names),
        **engine_metadata(network.engine),
    }
    write_bytes(run / NAME, sealed_tensors(network, metadata))


def read_network(run: Path) -> Network:
    """Read the network of a run; neither data nor cache is needed.

    Args:
        run: The run directory.

    Returns:
        What `write_network` was given.

    Raises:
        UsageProblem: There is no such run.
        DataProblem: The file is not what it should be, or is of another configuration.
    """
    spec, path = read_config(run), run / NAME
    if not path.exists():
        raise DataProblem(
            "cannot read: this run has no trained network yet",
            where=str(path),
            remedy=f"`bpfunc resume {shell([str(run)])}` trains it to its end",
        )
    metadata = tensor_metadata(path, remedy=TRAIN_AGAIN)
    check_made_by(spec, metadata, PARAMS_FORMAT, path)
    classes = len(spec.dataset.classes)
    params, state, _ = build_model(spec.model, classes).init(Key(0), (PIXELS,))
    names, epoch = tuple(metadata.get("class_names", "").split("\n")), metadata.get("epoch", "")
    scaling = Scaling(spec.dataset.scaling, np.zeros(PIXELS), np.ones(PIXELS))
    try:
        data, engine = from_text(metadata.get("hashes")), engine_used(metadata)
    except ValueError as error:
        raise DataProblem(f"damaged header: {error}", where=str(path), remedy=TRAIN_AGAIN) from None
    number = int(epoch) if re.fullmatch("[0-9]{1,9}", epoch) else 0
    like = Network(params, state, scaling, spec, names, number, data, engine)
    network = read_sealed_tensors(path, like, remedy=TRAIN_AGAIN)
    if len(names) != classes:
        raise DataProblem(f"it names {len(names)} classes, not {classes}", where=str(path), remedy=TRAIN_AGAIN)
    if not (np.isfinite(network.scaling.mean).all() and (network.scaling.scale > 0).all()):
        raise DataProblem("its scaling cannot be divided by", where=str(path), remedy=TRAIN_AGAIN)
    return network


def with_history(run: Path, network: Network) -> Trained:
    """Join a network that was read to the history of its run.

    Args:
        run: The run directory.
        network: From `read_network`.

    Returns:
        The network as `pipelines.stages.train.fit` gave it.

    Raises:
        DataProblem: The history is not what it should be, or does not have the network's epoch.
    """
    history = read_history(run)
    if network.epoch not in {record.epoch for record in history}:
        raise DataProblem(
            f"the network is of epoch {network.epoch}, which the history does not have",
            where=str(run / NAME),
            remedy=TRAIN_AGAIN,
        )
    seconds = sum(record.seconds for record in history)
    return Trained(
        network.spec.model,
        network.params,
        network.layer_state,
        history,
        network.epoch,
        seconds,
        network.engine,
    )
