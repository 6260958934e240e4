"""A run's network in the files of other libraries. None of them holds code; the same network gives the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from bpfunc.interop.network_file import network_entry
from bpfunc.interop.safetensors import save_tensors, to_safetensors
from bpfunc.interop.torch_layout import to_torch_state_dict
from bpfunc.tree import tree_leaves_with_path
from pipelines.artifacts import PIXELS
from pipelines.disk.json_text import json_text
from pipelines.disk.ownership import check_output, write_output
from pipelines.disk.untrusted.documents import decoded
from pipelines.disk.untrusted.files import open_file, read_file
from pipelines.disk.untrusted.printable import printable_json
from pipelines.errors import DataProblem, UsageProblem, first_line
from pipelines.runs.model_card import NAME as CARD
from pipelines.runs.network import NAME as PARAMS, Network, read_network
from pipelines.spec.toml import to_toml

Target = Literal["onnx", "safetensors", "npz", "torch-state-dict"]

ENDINGS: dict[Target, str] = {
    "onnx": ".onnx",
    "safetensors": ".safetensors",
    "npz": ".npz",
    "torch-state-dict": ".torch.safetensors",
}
"""Target -> how the name of its file ends where none is given."""
CARD_LIMIT = 1_000_000
"""Largest model card that is read, in bytes."""
CARD_MARK = b'library_name: "bpfunc"'
"""What a model card has near its beginning."""


def export(run: Path, target: Target, out: Path | None = None) -> tuple[Path, ...]:
    """Write a run's network for another library.

    Args:
        run: The run directory.
        target: Which kind of file.
        out: Where to; by default the run's name with the kind's ending, in the working directory. What is there is
            replaced, unless it is a file of a run or of data, or a text in the place of the model card.

    Returns:
        What was written; with safetensors the model card, which then speaks of that file, is beside it, under its name
        with ``.md``.

    Raises:
        PipelineError: There is no such network, a library is missing, or a file cannot be written.
    """
    path = out or Path(run.resolve().name + ENDINGS[target])
    check_output(path, reads=[run])
    with_card = target == "safetensors" and (run / CARD).is_file()
    if with_card:
        _check_card(path)
    network = read_network(run)
    try:
        data = _writers()[target](network)
    except ValueError as unknown:  # a layer that the other format has no word for
        raise UsageProblem(
            f"cannot be written as {target}: {first_line(unknown)}",
            where=f"--to {target}",
            remedy="choose safetensors or npz",
        ) from None
    write_output(path, data)
    if not with_card:
        return (path,)
    name = printable_json(json_text(path.name, ascii_only=False))
    write_output(path.with_suffix(".md"), _card(run / CARD).replace(json_text(PARAMS), name).encode())
    return path, path.with_suffix(".md")


def _card(path: Path) -> str:
    try:
        return decoded(read_file(path, limit=CARD_LIMIT))
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else first_line(error)
        raise DataProblem(
            f"cannot read the model card: {text}", where=str(path), remedy="run `bpfunc evaluate` on the run again"
        ) from None


def _check_card(path: Path) -> None:
    """Refuse to put a model card in the place of the network, or of another text."""
    place, choose = path.with_suffix(".md"), "choose another --out"
    if place == path:
        raise UsageProblem("this is the name of the model card beside the file", where=str(path), remedy=choose)
    check_output(place)
    if place.is_file() and CARD_MARK not in _beginning(place):
        raise UsageProblem("the model card would replace another text", where=str(place), remedy=choose)


def _beginning(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(200)


def _writers() -> dict[Target, Callable[[Network], bytes]]:
    return {"onnx": onnx_bytes, "safetensors": safetensors_bytes, "npz": npz_bytes, "torch-state-dict": torch_bytes}


def _about(network: Network) -> dict[str, str]:
    return {"class_names": json_text(network.class_names), "config": to_toml(network.spec)}


def safetensors_bytes(network: Network) -> bytes:
    """Write every array under its tree path.

    Args:
        network: From a run.

    Returns:
        A safetensors file with ``params.…``, ``layer_state.…``, ``scaling.mean`` and ``scaling.scale``; class names and
        configuration in its header.
    """
    metadata = _about(network) | network_entry(network.model, network.class_names)
    return to_safetensors(network, metadata=metadata)


def npz_bytes(network: Network) -> bytes:
    """Write every array under its tree path, for ``numpy.load`` without pickle.

    Args:
        network: From a run.

    Returns:
        An ``.npz`` file: what `safetensors_bytes` holds, and ``class_names`` and ``config`` as texts.
    """
    arrays = {path: np.asarray(leaf) for path, leaf in tree_leaves_with_path(network)}
    texts = {"class_names": np.array(network.class_names), "config": np.array(to_toml(network.spec))}
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, array in {**arrays, **texts}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # A ZipInfo of its own is dated to 1980: equal arrays give equal bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return sink.getvalue()


def torch_bytes(network: Network) -> bytes:
    """Write parameters and layer state as the state dict of the same layers in a ``torch.nn.Sequential``.

    Args:
        network: From a run.

    Returns:
        A safetensors file for ``load_state_dict(safetensors.torch.load_file(path))``; writing it needs no torch, and
        reading it no pickle. Such a module has no scaling: its mean and scale are in the header, as JSON.
    """
    tensors = to_torch_state_dict(network.model, network.params, network.layer_state)
    scaling = {"mean": network.scaling.mean.tolist(), "scale": network.scaling.scale.tolist()}
    return save_tensors(tensors, metadata={"format": "pt", "scaling": json_text(scaling), **_about(network)})


def onnx_bytes(network: Network) -> bytes:
    """Write an ONNX model from raw pixels to logits and probabilities.

    Args:
        network: From a run.

    Returns:
        The model: ``input`` (B, 784) uint8, ``logits`` and ``probabilities`` (B, K); the scaling is part of the graph.

    Raises:
        UsageProblem: The extra `onnx` is not installed.
    """
    try:
        from bpfunc.interop.onnx import to_onnx
    except ModuleNotFoundError:
        raise UsageProblem(
            "writing ONNX needs the optional extra `onnx`", where="--to onnx", remedy="pip install 'bpfunc[onnx]'"
        ) from None
    model = to_onnx(
        network.model,
        network.params,
        network.layer_state,
        in_shape=(PIXELS,),
        mean=network.scaling.mean,
        scale=network.scaling.scale,
        probabilities=True,
    )
    for name, text in sorted(_about(network).items()):
        model.metadata_props.add(key=name, value=text)
    return bytes(model.SerializeToString(deterministic=True))
