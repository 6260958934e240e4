"""The model card of a run: what the network is, what it was made of, how well it does, and how to use it.

Markdown with YAML front matter, in the form that Hugging Face shows. Every figure comes from the run.

Reference: Mitchell et al., "Model cards for model reporting" (2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from bpfunc.metrics import class_figures
from bpfunc.tree import tree_leaves_with_path
from pipelines.artifacts import Evaluation
from pipelines.disk.json_text import json_text
from pipelines.disk.untrusted.printable import in_lines, markdown, printable
from pipelines.runs.network import Network
from pipelines.spec.toml import to_toml

NAME = "model_card.md"
SCALINGS = {
    "unit": "pixel / 255",
    "standard": "pixel / 255, minus one mean and over one deviation of all pixels",
    "pixel": "pixel / 255, minus the mean and over the deviation of each pixel",
    "mirrored": "pixel / 255, minus the mean and over the deviation of each pixel over images and their mirror images",
}
"""Scaling -> what it does, in words."""
BPFUNC_EXAMPLE = """\
from pathlib import Path

import numpy as np
from bpfunc.interop.network_file import probabilities, read_network

network = read_network(Path("params.safetensors").read_bytes())
images = np.zeros((1, 784), np.uint8)  # 28 x 28 pixels row by row, bright on dark
shares = probabilities(network, images)  # (1, K), rows sum to 1
print(network.class_names[shares[0].argmax()], shares[0].max())
"""
SAFETENSORS_EXAMPLE = """\
import numpy as np
from safetensors.numpy import load_file

tensors = load_file("params.safetensors")
images = np.zeros((1, 784), np.uint8)  # 28 x 28 pixels row by row, bright on dark
x = (images / 255 - tensors["scaling.mean"]) / tensors["scaling.scale"]
x = x.astype(np.float32)
"""


@attrs.frozen(eq=False, kw_only=True)
class CardInputs:
    """Everything that a card says, already computed."""

    network: Network
    train_rows: int
    """Rows of the training split, those held out for validation among them."""
    test_rows: int
    facts: Mapping[str, str]
    """Label -> value: architecture, parameters, training, seed, ..."""
    lineage: Mapping[str, str]
    """Label -> value: source files with hashes, cache key, versions of the libraries."""
    command: str
    """The command line that reproduces the run."""
    evaluation: Evaluation | None
    """None where the test split was not opened."""


def model_card(inputs: CardInputs) -> str:
    """Write the card.

    Args:
        inputs: Facts of a run.

    Returns:
        Markdown.
    """
    sections = {
        "": _summary(inputs),
        "Intended use, and limits": _limits(inputs),
        "Training data": _data(inputs),
        "Network and training": _table(("", ""), inputs.facts.items()),
        "Results": _results(inputs.evaluation),
        "Use it": _use(inputs.network),
        "Make it again": _again(inputs),
    }
    title = f"# {markdown(_title(inputs.network))}"
    parts = [f"## {heading}\n\n{text}" if heading else f"{title}\n\n{text}" for heading, text in sections.items()]
    return _front_matter(inputs) + "\n" + "\n\n".join(parts) + "\n"


def _title(network: Network) -> str:
    return f"bpfunc {network.spec.name}, seed {network.spec.train.seed}"


def _data_name(network: Network) -> str:
    kind = "Fashion-MNIST" if network.spec.dataset.pinned else "Images of the user's own"
    return f"{kind} ({', '.join(network.class_names)})"


def _front_matter(inputs: CardInputs) -> str:
    """YAML whose values are written as JSON, which YAML contains."""
    official = inputs.network.spec.dataset.pinned
    values: dict[str, object] = {
        "license": "mit" if official else "unknown",
        "library_name": "bpfunc",
        "pipeline_tag": "image-classification",
        "tags": ["bpfunc", "numpy", "image-classification", *(["fashion-mnist"] if official else [])],
        "metrics": ["accuracy", "recall", "confusion_matrix"],
    }
    if official:
        values["datasets"] = ["zalando-datasets/fashion_mnist"]
    if inputs.evaluation is not None:
        dataset = {"name": _data_name(inputs.network), "type": "fashion_mnist" if official else "own", "split": "test"}
        accuracy = {"type": "accuracy", "value": inputs.evaluation.accuracy}
        result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": [accuracy]}
        values["model-index"] = [{"name": _title(inputs.network), "results": [result]}]
    return "\n".join(["---", *(f"{name}: {json_text(value)}" for name, value in values.items()), "---", ""])


def _summary(inputs: CardInputs) -> str:
    names = inputs.network.class_names
    classes = markdown(", ".join(names))
    kind = "convolutional" if inputs.network.spec.model.blocks else "dense"
    return (
        f"A {kind} network that says which of {len(names)} classes a 28 x 28 grey image shows: {classes}. "
        "It was trained from scratch by backpropagation written out in NumPy."
    )


def _limits(inputs: CardInputs) -> str:
    lines = [
        "For teaching, experiments and comparisons on this data set.",
        "Every image gets one of these classes, whatever it shows; there is no answer `none of them`.",
        "Images are bright on dark, centred, one article each. `bpfunc predict` makes such images of photographs on a "
        "light, even background; how well the network does on photographs has not been measured.",
        "Probabilities are the network's own, without a temperature.",
    ]
    if inputs.network.spec.dataset.pinned:
        lines.append("The images show articles of one shop from before 2017. Do not base decisions about people on it.")
    return "\n".join(f"- {line}" for line in lines)


def _data(inputs: CardInputs) -> str:
    network = inputs.network
    licence = "MIT licence, copyright 2017 Zalando SE" if network.spec.dataset.pinned else "licence not known"
    held, data = network.spec.train.validation_fraction, markdown(_data_name(network))
    return (
        f"{data}, {licence}: {inputs.train_rows} training rows, of which {100 * held:g} % are held out "
        f"for validation, and {inputs.test_rows} test rows. Inputs are {SCALINGS[network.scaling.kind]}; statistics "
        "come from the training split alone and lie beside the parameters. The hashes of the files are below."
    )


def _results(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "The test split has not been opened: `bpfunc evaluate` measures, and writes this card again."
    names, matrix = evaluation.class_names, evaluation.confusion_matrix
    total, right = int(matrix.sum()), int(matrix.trace())
    lines = [
        f"On the {total} test rows: accuracy {100 * evaluation.accuracy:.2f} % ({total - right} wrong), "
        f"loss {evaluation.loss:.4f} nats."
    ]
    if evaluation.calibration is not None:
        lines[0] += f" Expected calibration error {evaluation.calibration.before.error:.4f}."
    recall = class_figures(matrix).recall
    rows = [
        (name, *map(str, counts), f"{100 * share:.2f} %")
        for name, counts, share in zip(names, matrix.tolist(), recall.tolist(), strict=True)
    ]
    return "\n\n".join([*lines, _table(("true \\ predicted", *names, "recall"), rows)])


def _use(network: Network) -> str:
    tensors = [(path, str(leaf.dtype), str(leaf.shape)) for path, leaf in tree_leaves_with_path(network)]
    between = network.spec.model.activation
    mirror = "; probabilities are averaged over the image and its mirror image" if network.spec.model.mirror else ""
    return "\n\n".join(
        [
            "On the command line: `bpfunc predict . picture.png`. In Python, with the library alone:",
            f"```python\n{BPFUNC_EXAMPLE}```",
            "The tensors alone, which need nothing but safetensors:",
            f"```python\n{SAFETENSORS_EXAMPLE}```",
            f"{_layers(network)}, with {between} between the layers and softmax at the end{mirror}.",
            _table(("tensor", "dtype", "shape"), tensors, code=True),
        ]
    )


def _layers(network: Network) -> str:
    """How the tensors become outputs, up to the activations."""
    spec = network.spec.model
    if not spec.blocks:
        return "Each layer is `x @ weight + bias`"
    images = "images (B, 28, 28, 1), channels last"
    if spec.batch_norm:
        images += ", and each convolution is followed by batch normalisation with the tensors of `layer_state`"
    blocks = ", ".join(f"`{block}`" for block in spec.blocks)
    return (
        f"The blocks {blocks} take {images}; the image that comes out is laid out as a row, and each layer after that "
        "is `x @ weight + bias`"
    )


def _again(inputs: CardInputs) -> str:
    return "\n\n".join(
        [
            f"    {printable(inputs.command)}",
            "The configuration that it reads:",
            f"```toml\n{to_toml(inputs.network.spec)}```",
            "What went in, and what came out:",
            _table(("", ""), inputs.lineage.items()),
        ]
    )


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, code: bool = False) -> str:
    """Lay out a table; ``code`` says that the first cells are names in the project's own code."""
    lines = [tuple(map(markdown, heading)), ("---",) * len(heading)]
    lines += [(f"`{row[0]}`" if code else markdown(row[0]), *map(markdown, row[1:])) for row in rows]
    return in_lines(f"| {' | '.join(line)} |" for line in lines)
