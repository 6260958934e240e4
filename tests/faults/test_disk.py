"""One writer serves every file, and whichever of its calls to the disk fails, the old state stands or the new one."""

from __future__ import annotations

import ast
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from pipelines.dataset.entry import damage
from pipelines.disk import atomic as files
from pipelines.disk.atomic import TEMPORARY
from pipelines.errors import WorkFailed
from pipelines.inference.export import export
from pipelines.inference.inputs import Images
from pipelines.inference.predict import predict, write_answers
from pipelines.runs.checkpoints import newest_checkpoint, write_checkpoint
from pipelines.runs.directory import write_config, write_history
from pipelines.runs.metrics import write_metrics
from pipelines.runs.network import read_network, trained_network, write_network
from pipelines.runs.predictions import write_predictions
from pipelines.runs.run import evaluate_run, report_inputs, train_run, write_model_card
from pipelines.stages import report as report_stage
from pipelines.stages.decode import decode
from pipelines.stages.encode import encode
from pipelines.stages.prepare import plan, prepare
from pipelines.stages.select import select
from pipelines.stages.store import store
from pipelines.studies.ablation import AblationRow, write_ablation
from pipelines.studies.study import SeedResult, summarised, write_study
from tests.faults.scene import SPEC, places_in

ROOT = Path(__file__).parents[2]
CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir")
Operation = Callable[[Path, int], object]
"""Writes its file or files into a directory, in one of two versions."""


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Operation]:
    """Every operation of the project that writes a file."""
    base = tmp_path_factory.mktemp("disk")
    places = places_in(base)
    specs = [attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, seed=seed, epochs=2)) for seed in (0, 1)]
    finished = [
        train_run(spec, attrs.evolve(places, out=base / f"run{number}"), now=datetime(2026, 1, 1))
        for number, spec in enumerate(specs)
    ]
    found = [evaluate_run(spec, one) for spec, one in zip(specs, finished, strict=True)]
    data = finished[0].prepared.train.sha256
    moments = [newest_checkpoint(one.directory, spec, data)[0] for spec, one in zip(specs, finished, strict=True)]
    studies = [
        summarised("x", "AB", [SeedResult(0, 0.5 + number / 9, None, 1.0, ((1, 0), (0, 1)))]) for number in (0, 1)
    ]
    rows = [(AblationRow("x", 0.5, 0.1, number / 9, (0.0, 1.0), (0.5,)),) for number in (0, 1)]
    images = [Images("x", 0, np.zeros((1, 784), np.uint8), "as is")]
    answers = [predict(read_network(one.directory), images) for one in finished]
    planned = plan(SPEC.dataset, source=places.source, cache=base / "none", raw=places.raw)
    encoded = encode(select(decode(planned.source), SPEC.dataset), SPEC.dataset)

    def checkpoint(out: Path, number: int) -> None:
        (out / "checkpoints").mkdir(exist_ok=True)
        moment = moments[number]
        assert moment is not None
        write_checkpoint(out, specs[number], data, moment)

    def entry(out: Path, number: int) -> None:
        """Version 0 is a damaged entry, version 1 a sound one in its place."""
        if number == 0:
            shutil.rmtree(out / "cache", ignore_errors=True)
            (out / "cache" / planned.key).mkdir(parents=True)
            (out / "cache" / planned.key / "manifest.json").write_bytes(b"{}")
        else:
            store(encoded, out / "cache", planned.key, planned.reasons)

    def report(out: Path, number: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("confusion_png", "curves_png"):
                patch.setattr(report_stage, name, lambda *arguments: bytes([number]) * 9)
            patch.setattr(report_stage, "page", lambda inputs: f"page {number}")
            report_stage.report(report_inputs(specs[number], finished[number], found[number][0]), out)

    return {
        "config.toml": lambda out, number: write_config(out, specs[number]),
        "history": lambda out, number: write_history(out, finished[number].trained.history),
        "params": lambda out, number: write_network(
            out, trained_network(specs[number], finished[number].prepared.meta, finished[number].trained)
        ),
        "card": lambda out, number: write_model_card(
            specs[number], attrs.evolve(finished[number], directory=out), found[number][0]
        ),
        "predictions": lambda out, number: write_predictions(out, found[number][0]),
        "answers": lambda out, number: write_answers(out / "answers.parquet", answers[number]),
        "metrics": lambda out, number: write_metrics(out, found[number][1]),
        "export": lambda out, number: export(finished[number].directory, "npz", out / "network.npz"),
        "study": lambda out, number: write_study(out, studies[number]),
        "ablation": lambda out, number: write_ablation(out, rows[number]),
        "checkpoint": checkpoint,
        "report": report,
        "entry": entry,
    }


class FailAt:
    """Let the k-th call to the disk fail; a write that fails writes a half first."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, error: int) -> None:
        self.calls, self.at, self.error = 0, at, error
        for name in CALLS:
            patch.setattr(files.os, name, self.failing(getattr(os, name), name))

    def failing(self, call: Callable[..., object], name: str) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            if name == "open" and not writes(int(str(arguments[1]))):  # to read
                return call(*arguments, **options)
            self.calls += 1
            if self.calls == self.at:
                if name == "write":
                    descriptor, data = arguments
                    call(descriptor, data[: len(data) // 2])  # type: ignore[index, arg-type]
                raise OSError(self.error, os.strerror(self.error))
            return call(*arguments, **options)

        return counted


def writes(flags: int) -> bool:
    """Whether a file that is opened with these flags is made or can be written to."""
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))


def state(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, with its bytes."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


NAMES = (
    "config.toml", "history", "params", "card", "predictions", "answers", "metrics", "export", "study", "ablation",
    "checkpoint", "report", "entry",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_failed_call_leaves_old_or_new(
    name: str, operations: dict[str, Operation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every k: after the k-th call has failed, each file is the old one or the new one, and none is temporary."""
    operation = operations[name]
    operation(tmp_path, 0)
    old = state(tmp_path)
    with monkeypatch.context() as patch:
        counter = FailAt(patch, 0, 0)
        operation(tmp_path, 1)
    new = state(tmp_path)
    assert old != new
    assert counter.calls >= 5
    outcomes = set()
    for k in range(1, counter.calls + 1):
        operation(tmp_path, 0)
        with monkeypatch.context() as patch:
            FailAt(patch, k, (errno.ENOSPC, errno.EIO, errno.EROFS)[k % 3])
            try:
                operation(tmp_path, 1)
                outcomes.add("none told")
            except WorkFailed as problem:
                assert "\n" not in str(problem)
                outcomes.add("told")
        found = state(tmp_path)
        if name == "entry":
            soundness = {damage(path) is None for path in (tmp_path / "cache").iterdir()}
            assert found in (old, new), (k, soundness)
        assert old.keys() & new.keys() <= found.keys() <= old.keys() | new.keys(), k
        for file, data in found.items():
            assert data in (old.get(file), new.get(file)), (k, file)
        assert not list(tmp_path.rglob(f"{TEMPORARY}*")), k
        operation(tmp_path, 1)
        assert state(tmp_path) == new, "after the failure the way is free"
    assert outcomes >= {"told"}


def test_the_operations_are_all_there_are(operations: dict[str, Operation]) -> None:
    """The list above is the parametrised one."""
    assert tuple(operations) == NAMES


def writers(text: str) -> list[str]:
    """Calls in a source text that write a file in some other way than by the one writer."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or "os.devnull" in ast.unparse(node):
            continue
        call = ast.unparse(node.func)
        last = call.rpartition(".")[2]
        modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        modes += [word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)]
        opens = last == "open" and any(
            isinstance(mode, str) and set(mode) & set("wax+") and len(mode) < 4 for mode in modes
        )
        moves = call in (
            "os.replace",
            "os.rename",
            "os.link",
            "os.open",
            "shutil.copy",
            "shutil.move",
            "shutil.copyfile",
        )
        by_method = last in ("write_text", "save_file", "tofile") or (last == "write_bytes" and "." in call)
        dumps = call in ("json.dump", "np.save", "np.savez", "pickle.dump")
        tables = last == "write_table" and len(node.args) > 1 and ast.unparse(node.args[1]) != "sink"
        pictures = last == "savefig" and ast.unparse(node.args[0]) != "buffer"
        moves = moves and not (call == "os.open" and "O_RDONLY" in ast.unparse(node))
        if opens or moves or by_method or dumps or tables or pictures:
            found.append(f"line {node.lineno}: {ast.unparse(node)[:60]}")
    return found


def test_one_writer_serves_every_file() -> None:
    """No other module writes, but for the transfer of a download, and a new SQLite file, linked when whole."""
    for path in (ROOT / "pipelines").rglob("*.py"):
        found = writers(path.read_text(encoding="utf-8"))
        expected = {"download.py": 1, "storage.py": 1}
        if path.name in expected:
            assert len(found) == expected[path.name], found
        elif path.name != "atomic.py":
            assert not found, f"{path}: {found}"


@pytest.mark.parametrize(
    "planted",
    [
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "open('x', 'wb')",
        "path.open(mode='a')",
        "os.rename(a, b)",
        "pq.write_table(table, path)",
        "figure.savefig(path)",
        "json.dump(values, file)",
    ],
)
def test_planted_writer_is_found(planted: str) -> None:
    """The check above can fail."""
    assert writers(planted)


def test_entry_is_whole_after_any_failure_of_a_fresh_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparing into an empty cache, with the k-th call failing for every k: a sound entry or none."""
    places = places_in(tmp_path)

    def act(cache: Path) -> None:
        prepare(SPEC.dataset, source=places.source, cache=cache, raw=places.raw)

    with monkeypatch.context() as patch:
        counter = FailAt(patch, 0, 0)
        act(tmp_path / "cache0")
    seen = set()
    for k in range(1, counter.calls + 1):
        cache = tmp_path / f"cache{k}"
        with monkeypatch.context() as patch:
            FailAt(patch, k, errno.ENOSPC)
            try:
                act(cache)
            except WorkFailed:
                seen.add("told")
        entries = list(cache.iterdir()) if cache.is_dir() else []
        assert all(damage(entry) is None for entry in entries), (k, entries)
        seen.add(len(entries))
    assert seen == {"told", 0, 1}


def test_one_writer_at_a_time_replaces(tmp_path: Path) -> None:
    """Who finds a damaged entry while another replaces it waits, and then finds the other's sound one."""
    entry = tmp_path / "entry"
    files.publish_directory(entry, {"a": b"damaged"}, keep=lambda path: False)
    seen: list[tuple[str, bytes]] = []

    def keep(writer: str) -> Callable[[Path], bool]:
        def judge(path: Path) -> bool:
            seen.append((writer, (path / "a").read_bytes()))
            if writer == "first":
                second.start()
                time.sleep(0.2)  # ample time for the second one to come and look, if it did not wait
            return seen[-1][1] != b"damaged" if writer == "second" else False

        return judge

    second = threading.Thread(
        target=files.publish_directory, args=(entry, {"a": b"2"}), kwargs={"keep": keep("second")}
    )
    files.publish_directory(entry, {"a": b"1"}, keep=keep("first"))
    second.join()
    assert seen == [("first", b"damaged"), ("second", b"1")]
    assert state(tmp_path) == {"entry/a": b"1"}
