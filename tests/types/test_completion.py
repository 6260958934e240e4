"""Editors built on jedi complete and infer the public names."""

from __future__ import annotations

import pytest

import bpfunc

jedi = pytest.importorskip("jedi")

NAMES = [
    *("Batch", "DenseParams", "INFERENCE", "Key", "Layer", "TrainState", "accuracy", "adamw", "batch_norm", "chain"),
    *("cosine", "cross_entropy", "dense", "hvp", "make_step", "relu", "serial", "sgd", "tree_map", "value_and_grad"),
]


@pytest.mark.parametrize("name", NAMES)
def test_jedi_completes_and_infers(name: str) -> None:
    """From the first half of the name; and the definition is found in its own module."""
    start = f"import bpfunc as bp\nbp.{name[: (len(name) + 1) // 2]}"
    assert name in {completion.name for completion in jedi.Script(start).complete(2, len(start.split("\n")[1]))}
    line = f"import bpfunc as bp\nbp.{name}"
    found = jedi.Script(line).goto(2, 4, follow_imports=True)
    assert found and found[0].module_name.startswith("bpfunc.")


def test_jedi_infers_what_a_call_returns() -> None:
    """Fields of a layer and of a transform come up behind the call that makes one."""
    for call, field in (
        ("dense(3)", "backward"),
        ("sgd(0.1)", "update"),
        ("cross_entropy()", "vjp"),
        ("Key(0)", "seed"),
    ):
        line = f"import bpfunc as bp\nbp.{call}."
        assert field in {completion.name for completion in jedi.Script(line).complete()}


def test_dir_lists_the_public_names() -> None:
    """As tab completion in a shell asks for them."""
    assert set(bpfunc.__all__) <= set(dir(bpfunc))
