"""Specifications are strict: nothing is converted, nothing is guessed, and the message says what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pipelines.errors import UsageProblem
from pipelines.spec.recipes import recipe_names
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from pipelines.spec.toml import from_toml, load_config, load_recipe, to_toml

SPECS = st.builds(
    RunSpec,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    dataset=st.builds(
        DatasetSpec,
        classes=st.lists(st.text(), min_size=2, max_size=10, unique_by=str.casefold).map(tuple),
        scaling=st.sampled_from(["unit", "standard", "pixel"]),
        scaling_offset=st.floats(0, 10),
        pinned=st.booleans(),
    ),
    model=st.builds(ModelSpec, hidden=st.lists(st.integers(1, 4096), max_size=3).map(tuple)),
    train=st.builds(
        TrainSpec,
        epochs=st.integers(1, 10**6),
        learning_rate=st.floats(1e-12, 1e3),
        validation_fraction=st.floats(0, 0.9),
        seed=st.integers(0, 2**63 - 1),
    ),
)


@given(SPECS)
def test_toml_round_trip(spec: RunSpec) -> None:
    """What is written to TOML reads back equal, whatever the base."""
    assert from_toml(to_toml(spec), RunSpec(), where="test") == spec


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_under_its_own_name(name: str) -> None:
    """Each recipe that travels with the package is valid and named as its file is."""
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepochs = 3.0", "train.epochs: expected a whole number, found 3.0"),
        ("[train]\nepochs = '3'", "train.epochs: expected a whole number, found '3'"),
        ("[train]\nepochs = true", "train.epochs: expected a whole number, found True"),
        ("[train]\nseed = 1.7", "train.seed: expected a whole number, found 1.7"),
        ("[train]\nlearning_rate = '0.5'", "train.learning_rate: expected a number, found '0.5'"),
        ("[train]\nlearning_rate = nan", "train.learning_rate: expected a number in (0, 1000.0], found nan"),
        ("[train]\nepochs = -1", "train.epochs: expected a whole number of at least 1, found -1"),
        ("[train]\nepohcs = 1", "unknown field train.epohcs (did you mean epochs?)"),
        ("train = 1", "train: expected a table, found 1"),
        ("[trian]", "unknown field trian (did you mean train?)"),
        ("[model]\nhidden = 5", "model.hidden: expected a list, found 5"),
        ("[model]\nhidden = [5, 0]", "model.hidden: expected widths of at least 1, found 5, 0"),
        ("[model]\nhidden = [5, 1.5]", "model.hidden[1]: expected a whole number, found 1.5"),
        ("[dataset]\nclasses = ['Dress']", "dataset.classes: expected 2 to 10 classes, found 1 (Dress)"),
        ("[dataset]\nclasses = ['Dress', 'dress']", "dataset.classes: expected each class once"),
        ("[dataset]\nscaling = 'minmax'", "dataset.scaling: expected one of 'unit', 'standard', 'pixel'"),
        ("epochs = = 3", "this is not valid TOML"),
        (f"[train]\nlearning_rate = 1{'0' * 400}", "train.learning_rate: expected a number that a float can hold"),
        (f"[train]\nseed = 1{'0' * 5000}", "this is not valid TOML"),
        (f"seed = {'[' * 5000}", "this is not valid TOML"),
        ("name = '../../elsewhere'", "name: expected 1 to 64 letters, digits or . _ -"),
        ("name = 'a/../../elsewhere'", "name: expected 1 to 64 letters, digits or . _ -"),
        ("name = ''", "name: expected 1 to 64 letters, digits or . _ -"),
    ],
    ids=lambda text: text[:40],
)
def test_wrong_values_are_named(text: str, message: str) -> None:
    """Each wrong field gives one message with its path, what was expected and what was found."""
    with pytest.raises(UsageProblem) as caught:
        from_toml(text, RunSpec(), where="test.toml")
    assert message in caught.value.what
    assert caught.value.where == "test.toml"


def test_whole_numbers_may_stand_for_real_ones() -> None:
    """A rate of 1 is a rate of 1.0, which loses nothing."""
    rate = from_toml("[train]\nlearning_rate = 1", RunSpec(), where="test").train.learning_rate
    assert isinstance(rate, float)
    assert rate == 1.0


def test_file_overrides_base_and_keeps_the_rest(tmp_path: Path) -> None:
    """Fields that a file does not name stay those of the base."""
    (tmp_path / "c.toml").write_text("[train]\nepochs = 7\n")
    spec = load_config(tmp_path / "c.toml", RunSpec(train=TrainSpec(seed=5)))
    assert (spec.train.epochs, spec.train.seed) == (7, 5)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A missing file and one that is no text each give a message with the path."""
    with pytest.raises(UsageProblem, match="No such file"):
        load_config(tmp_path / "none.toml", RunSpec())
    (tmp_path / "binary.toml").write_bytes(b"\xff\xff")
    with pytest.raises(UsageProblem, match="not UTF-8"):
        load_config(tmp_path / "binary.toml", RunSpec())


def test_unknown_recipe_is_suggested() -> None:
    """A mistyped recipe names the one that was meant."""
    with pytest.raises(UsageProblem, match="did you mean report"):
        load_recipe("reprot")
