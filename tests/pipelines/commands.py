"""Every command of the command line, found in its tree, with a small call of it that works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
from PIL import Image
from typer._click import Command, Context
from typer._click.core import Parameter
from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from pipelines.cli.main import app
from pipelines.dataset.places import Places
from pipelines.runs.run import evaluate_run, report_run, train_run
from pipelines.spec.run_spec import DatasetSpec, ModelSpec, RunSpec, TrainSpec
from tests.conftest import write_own_data

SPEC = RunSpec(
    dataset=DatasetSpec(classes=("0", "1", "2"), pinned=False),
    model=ModelSpec(hidden=(4,)),
    train=TrainSpec(epochs=1, validation_fraction=0.2),
)


def commands(
    group: Command, path: tuple[str, ...] = (), parent: Context | None = None
) -> Iterator[tuple[str, Command]]:
    """Every command below a group, by the words that call it."""
    context = Context(group, info_name=" ".join(("bpfunc", *path)), parent=parent)
    assert isinstance(group, TyperGroup)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name), context)
        else:
            yield " ".join((*path, name)), command


ALL = dict(commands(get_command(app)))


def option(parameter: Parameter) -> str:
    """The longest name of an option."""
    return max(parameter.opts, key=len)


def has_option(name: str, wanted: str) -> bool:
    """Whether a command takes an option."""
    return any(wanted in parameter.opts for parameter in ALL[name].params)


@attrs.frozen
class Stage:
    """Small inputs for every command, in a directory."""

    root: Path

    @property
    def run(self) -> Path:
        """A finished run."""
        return self.root / "run"

    def words(self, name: str, place: str = ".") -> list[str]:
        """A call of a command that works and writes below a place, where `directory` put a copy of the run."""
        given = {
            "RUN": [f"{place}/run"],
            "INPUT": [f"{place}/a.png"],
            "PLACE": [f"{place}/place"],
            "SEARCH.toml": [f"{place}/search.toml"],
            "SPACE.toml": [f"{place}/space.toml"],
            "A": [f"{place}/run"],
            "B": [str(self.root / "other")],
            "--source": [str(self.root / "own")],
            "--unpinned": [],
            "--classes": ["0,1,2"],
            "--cache": [str(self.root / "cache")],
            "--raw": ["raw"],
            "--runs": [place],
            "--epochs": ["1"],
            "--hidden": ["4"],
            "--seeds": ["1"],
            "--trials": ["1"],
            "--to": ["npz"],
            "--out": [f"{place}/out"],
            "--html": [f"{place}/page.html"],
        }
        words = name.split()
        for parameter in ALL[name].params:
            if isinstance(parameter, TyperArgument):
                assert parameter.metavar in given, f"say here what to give `bpfunc {name}` for {parameter.metavar}"
                words += given[parameter.metavar]
            elif option(parameter) in given:
                words += [option(parameter), *given[option(parameter)]]
            else:
                assert not parameter.required, f"say here what to give `bpfunc {name}` for {option(parameter)}"
        return words

    def directory(self, working: Path, place: str = ".") -> Path:
        """A fresh working directory; a copy of the run, and of small files, is in a place in it."""
        (working / place).mkdir(parents=True)
        shutil.copytree(self.run, working / place / "run")
        for name in ("a.png", "search.toml", "space.toml"):
            shutil.copyfile(self.root / name, working / place / name)
        return working


def set_stage(root: Path) -> Stage:
    """Make the inputs."""
    source = write_own_data(root / "own")
    places = Places(source=source, cache=root / "cache", raw=root / "raw")
    for number, name in enumerate(("run", "other")):
        spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, seed=number))
        finished = train_run(spec, attrs.evolve(places, out=root / name), now=datetime(2026, 1, 1))
        evaluation, _ = evaluate_run(spec, finished)
        report_run(spec, finished, evaluation)
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(root / "a.png")
    data = 'dataset = { classes = ["0", "1", "2"], pinned = false }\nmodel = { hidden = [4] }\n'
    (root / "search.toml").write_text(
        f'recipe = "report"\nfolds = 3\ntake = 1\n[variant.one]\n{data}train = {{ epochs = 1 }}\n'
    )
    (root / "space.toml").write_text(
        'recipe = "report"\n[fixed.dataset]\nclasses = ["0", "1", "2"]\npinned = false\n[fixed.train]\nepochs = 1\n'
        '[fixed.model]\nhidden = [4]\n[parameters]\n"train.learning_rate" = { log = [0.01, 0.1] }\n'
    )
    return Stage(root)
