"""Mutated inputs: each must end in success with the right data, or in one clear error.

``python -m tests.faults mutants 2000`` prints one JSON document. The mutants run in a process of their own with
1 GiB of memory to spare and 10 seconds each; where it dies, the mutant that killed it is a failure and the next one
starts another.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import random
import resource
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np

SPARE = 1 << 30
"""Bytes that reading a mutant may take."""
SECONDS = 10


@attrs.frozen(eq=False)
class Subject:
    """A file to mutate, and what reading it gives."""

    path: Path
    good: bytes
    read: Callable[[], object]
    """Reads the file as the project does."""
    expected: Callable[[], object] | None
    """What a success must give, from the file as it is now; None where that is what the original gives."""
    command: tuple[str, ...]
    """A command line that reads it."""
    text: bool = False
    after: Callable[[], None] = lambda: None
    """What a cunning attacker would do after the change."""


def digest(*values: object) -> str:
    """Bring arrays and records to one comparable text."""
    seal = hashlib.sha256()
    for value in values:
        seal.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return seal.hexdigest()


def independent_idx(path: Path, dimensions: int) -> object:
    """Read an IDX file in the plainest way."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return digest(np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape))


def subjects(directory: Path) -> dict[str, Subject]:
    """Make a finished run with its cache, and name the files of it that are mutated."""
    from bpfunc.tree import tree_leaves
    from pipelines.dataset.entry import _seal, open_prepared
    from pipelines.dataset.idx import read_idx
    from pipelines.dataset.sealed_split import read_test
    from pipelines.dataset.train_split import read_train
    from pipelines.runs.checkpoints import checkpoint_paths, read_checkpoint
    from pipelines.runs.directory import read_config, read_history
    from pipelines.runs.metrics import read_metrics
    from pipelines.runs.network import read_network, with_history
    from pipelines.runs.predictions import read_predictions
    from pipelines.stages.prepare import prepare
    from tests.faults.scene import SPEC, places_in, whole_run

    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=2))
    zipped, plain = places_in(directory / "zipped", zipped=True), places_in(directory)
    run = whole_run(plain, directory / "study" / "seed-000", spec)
    shutil.copy(run / "config.toml", directory / "study" / "config.toml")
    prepared, _ = prepare(spec.dataset, source=plain.source, cache=plain.cache, raw=plain.raw)
    where = ("--source", str(plain.source), "--cache", str(plain.cache), "--raw", str(plain.raw))
    evaluate = ("evaluate", str(run), *where)
    assert plain.source is not None
    assert zipped.source is not None

    def entry() -> str:
        found = open_prepared(prepared.path)
        splits = [read_train(found.train), read_test(found.test)]
        return digest(*(getattr(split, field.name) for split in splits for field in attrs.fields(type(split))))

    def network() -> str:
        found = with_history(run, read_network(run))
        return digest(*tree_leaves((found.params, found.layer_state)), found.epoch, found.history)

    def checkpoint() -> str:
        found = read_checkpoint(checkpoint_paths(run)[0], spec, prepared.train.sha256)
        return digest(*tree_leaves((found.state, found.kept.params)), found.kept.epoch, found.history, found.state.key)

    def predictions() -> str:
        found = read_predictions(run)
        return digest(found.source_index, found.label, found.probabilities)

    manifest = prepared.path / "manifest.json"

    def reseal() -> None:
        """Put the hash of the changed file into the manifest, and seal that anew."""
        table = json.loads(manifest.read_bytes())
        table["files"]["train.parquet"] = hashlib.sha256((prepared.path / "train.parquet").read_bytes()).hexdigest()
        del table["seal"]
        manifest.write_text(json.dumps({**table, "seal": _seal(table)}))

    def shape_of_entry() -> object:
        rows = read_train(open_prepared(prepared.path).train)
        return (rows.pixels.shape, rows.target.shape, rows.label.shape)

    def subject(path: Path, read: Callable[[], object], command: tuple[str, ...] = evaluate, **more: object) -> Subject:
        return Subject(path, path.read_bytes(), read, more.pop("expected", None), command, **more)  # type: ignore[arg-type]

    made: dict[str, Subject] = {}
    for name, own, suffix in (("gz", zipped, ".gz"), ("idx", plain, "")):
        assert own.source is not None
        for part, dimensions in (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1)):
            path = own.source / f"{part}{suffix}"
            data = ("data", "status", "--unpinned", "--classes", "0,1,2", "--source", str(own.source))
            made[f"{name} {part[6:12]}"] = subject(
                path,
                lambda path=path, dimensions=dimensions: digest(read_idx(path, dimensions=dimensions)[1]),
                (*data, "--cache", str(own.cache)),
                expected=lambda path=path, dimensions=dimensions: independent_idx(path, dimensions),
            )
    made["cache train.parquet"] = subject(prepared.path / "train.parquet", entry)
    made["cache test.parquet"] = subject(prepared.path / "test.parquet", entry)
    made["cache manifest"] = subject(manifest, entry, text=True)
    made["cache resealed"] = subject(
        prepared.path / "train.parquet", shape_of_entry, after=reseal, expected=lambda: ((60, 784), (60, 3), (60,))
    )
    made["history.parquet"] = subject(run / "history.parquet", lambda: digest(read_history(run)))
    made["predictions.parquet"] = subject(run / "predictions.parquet", predictions, ("compare", str(run), str(run)))
    made["params.safetensors"] = subject(run / "params.safetensors", network)
    made["checkpoint"] = subject(checkpoint_paths(run)[0], checkpoint, ("resume", str(run), *where))
    made["config.toml"] = subject(run / "config.toml", lambda: (read_config(run), network()), text=True)
    made["metrics.json"] = subject(
        run / "metrics.json",
        lambda: read_metrics(run),
        ("study", "--config", str(run / "config.toml"), "--seeds", "1", "--out", str(directory / "study"), *where),
        text=True,
    )
    return made


def mutate(data: bytes, chance: random.Random, *, text: bool) -> bytes:
    """Change bytes: a bit, a number, a piece, the length; of text also words and brackets."""
    size = len(data)
    at, end = sorted(chance.randrange(size + 1) for _ in range(2))
    piece = chance.randrange(1, 64)
    extreme = struct.pack("<q", chance.choice([-1, 0, 1, 2**31 - 1, -(2**31), 2**62, -(2**62)]))[
        : chance.choice([4, 8])
    ]
    ways: list[Callable[[], bytes]] = [
        lambda: _flip(data, chance, 1),
        lambda: _flip(data, chance, 8),
        lambda: data[:at] + chance.randbytes(piece) + data[at + piece :],
        lambda: data[:at] + extreme + data[at + len(extreme) :],
        lambda: extreme[::-1].join([data[:4], data[4 + len(extreme) :]]),
        lambda: data[:at] + data[at + piece :],
        lambda: data[:at] + data[at : at + piece] * chance.randrange(2, 100) + data[at + piece :],
        lambda: data[:at] + bytes(piece) + data[at + piece :],
        lambda: data[:at],
        lambda: data[at:],
        lambda: data[end:] + data[:at],
        lambda: data + chance.randbytes(piece),
        lambda: data + bytes(chance.randrange(1 << 21)),
        lambda: b"",
        lambda: chance.randbytes(size),
        lambda: bytes(size),
    ]
    if text:
        lines = data.splitlines(keepends=True)
        line = chance.randrange(len(lines))
        number = chance.choice(
            [
                b"-1",
                b"0",
                b"1e999",
                b"nan",
                b"9" * 30,
                b"9" * 5000,
                b"0x" + b"f" * 5000,
                b'"x"',
                b"true",
                b"[]",
                b"{}",
                b"null",
            ]
        )
        ways += [
            lambda: b"".join(lines[:line] + lines[line + 1 :]),
            lambda: b"".join([*lines[:line], lines[line], *lines[line:]]),
            lambda: b"".join([*lines[:line], _new_value(lines[line], number), *lines[line + 1 :]]),
            lambda: b"".join([*lines[:line], _new_value(lines[line], number), *lines[line + 1 :]]),
            lambda: b"".join([*lines[:line], _new_value(lines[line], b"[" * 90_000), *lines[line + 1 :]]),
            lambda: b"".join([*lines[:line], _new_value(lines[line], b"{'a':" * 20_000), *lines[line + 1 :]]),
            lambda: data[:at] + b"\xff\xfe" + data[at:],
            lambda: data.replace(b" ", b"  "),
        ]
    return chance.choice(ways)()


def _flip(data: bytes, chance: random.Random, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _new_value(line: bytes, value: bytes) -> bytes:
    mark = b"=" if b"=" in line else b":"
    name, found, _ = line.partition(mark)
    return name + mark + b" " + value + (b",\n" if mark == b":" else b"\n") if found else line


def repacked(data: bytes, chance: random.Random) -> bytes:
    """A gzip stream that is whole, with damaged or endless content."""
    if chance.random() < 0.1:
        return gzip.compress(
            data[:4] + struct.pack(">I", chance.choice([100, 2**19, 2**31])) + data[8:16] + bytes(1 << 27), 1
        )
    return gzip.compress(mutate(data, chance, text=False), 1)


def mutant(subject: Subject, chance: random.Random) -> bytes:
    """A changed copy of a subject's file."""
    if subject.path.suffix == ".gz" and chance.random() < 0.5:
        return repacked(gzip.decompress(subject.good), chance)
    return mutate(subject.good, chance, text=subject.text)


class Hang(BaseException):
    """A mutant took too long."""


def outcome(subject: Subject, original: object) -> str:
    """Read a mutant; say ``right``, ``error``, or what is wrong."""
    from pipelines.errors import PipelineError

    try:
        found = subject.read()
        wanted = original if subject.expected is None else subject.expected()
        return "right" if found == wanted else "WRONG DATA"
    except PipelineError as problem:
        if max(map(len, (problem.what, problem.where, problem.remedy))) > 1000 or "\n" in str(problem):
            return f"UNCLEAR {str(problem)[:300]!r}"
        return "error"
    except Hang:
        return "HANG"
    except BaseException as problem:
        return f"{type(problem).__name__.upper()} {str(problem)[:300]!r}"


def command_outcome(subject: Subject) -> str:
    """Read a mutant by its command line, in this process; say ``done``, ``complaint``, or what is wrong."""
    from pipelines.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["bpfunc", *subject.command]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except Hang:
        return "HANG"
    except BaseException as problem:
        return f"{type(problem).__name__.upper()} {str(problem)[:300]!r}"
    finally:
        sys.argv = before
    if code in (0, None):
        return "done"
    said = [line.split(":")[0] for line in err.getvalue().splitlines()]
    clear = said[-3:] == ["error", "  where", "  what to do"] and said.count("error") == 1
    known = code in (1, 2, 3) and "unexpected" not in err.getvalue() and not out.getvalue()
    return "complaint" if clear and known else f"UNCLEAR {code} {err.getvalue()[-400:]!r}"


def _too_long(number: int, frame: object) -> None:
    raise Hang


def work(place: str, seed: int, first: int, last: int, commands: int) -> None:
    """Read a stretch of mutants, and print what came of each; every ``commands`` rounds by the command line as well."""
    directory = Path(place)
    stage = subjects(directory)
    originals = {name: subject.read() for name, subject in stage.items()}
    run = directory / "study" / "seed-000"
    keep = {path: path.read_bytes() for path in [*run.rglob("*"), *(directory / "cache").rglob("*")] if path.is_file()}
    signal.signal(signal.SIGALRM, _too_long)
    status = Path("/proc/self/status").read_text()
    taken = int(status.split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))
    for number in range(first, last):
        name = list(stage)[number % len(stage)]
        subject, chance = stage[name], random.Random(f"{seed} {number}")
        subject.path.write_bytes(mutant(subject, chance))
        subject.after()
        print(json.dumps([number, name, "begun"]), flush=True)
        for path_taken in ("read", "command")[: 2 if number // len(stage) % commands == 0 else 1]:
            signal.alarm(SECONDS)
            found = outcome(subject, originals[name]) if path_taken == "read" else command_outcome(subject)
            signal.alarm(0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps([number, name, found, peak]), flush=True)
        for path in run.rglob("*"):
            if path.is_file() and path not in keep:
                path.unlink()
        for path, data in keep.items():
            if not path.is_file() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        subject.path.write_bytes(subject.good)


def read_mutants(count: int, seed: int = 0, commands: int = 5) -> dict[str, object]:
    """Have all mutants read, in a process that is started anew where it dies; return the counts."""
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: list[str] = []
    peak, first = 0, 0
    while first < count:
        with tempfile.TemporaryDirectory() as directory:
            task = f"from tests.faults.mutants import work; work({directory!r}, {seed}, {first}, {count}, {commands})"
            process = subprocess.Popen([sys.executable, "-W", "error", "-c", task], stdout=subprocess.PIPE)
            assert process.stdout is not None
            current: tuple[int, str] | None = None
            with selectors.DefaultSelector() as ready:
                ready.register(process.stdout, selectors.EVENT_READ)
                while True:
                    if not ready.select(timeout=120):
                        process.kill()
                        break
                    line = process.stdout.readline()
                    if not line:
                        break
                    number, name, found, *memory = json.loads(line)
                    if found == "begun":
                        current = (number, name)
                        continue
                    kinds[name] += 1
                    outcomes[found.split()[0]] += 1
                    peak = max(peak, *memory)
                    if found not in ("right", "error", "done", "complaint"):
                        failures.append(f"mutant {number} of {name}: {found}")
            code = process.wait()
            process.stdout.close()
        if code == 0:
            break
        failures.append(f"mutant {current}: the process ended with {code}")
        if current is None:
            break
        first = current[0] + 1
    if peak > SPARE >> 10:
        failures.append(f"{peak} KiB of memory")
    return {
        "mutants": count,
        "seed": seed,
        "outcomes": dict(outcomes),
        "kinds": dict(kinds),
        "peak_mib": peak >> 10,
        "failures": failures,
    }
