"""Law: every reader states a limit and holds memory to it before it believes a file.

A corpus of small files, each of which promises or unfolds to gigabytes, is read by the commands that read such files,
in processes whose memory is limited. Each ends with one message and exit code 2 or 3.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.dataset.entry import MANIFEST_FORMAT, prepared_schema
from pipelines.dataset.partitions import FORMAT as PARTITIONS
from pipelines.disk.parquet import sealed_table
from pipelines.disk.tensors import sealed_tensors
from pipelines.disk.untrusted.files import UNFOLD_FREE, UNFOLD_RATIO, check_unfolding
from pipelines.inference.inputs import PIXEL_BYTES, PIXEL_LIMIT, read_npy, read_picture
from pipelines.runs.checkpoints import FORMAT as CHECKPOINT
from pipelines.runs.network import PARAMS_FORMAT
from pipelines.spec.toml import to_toml
from tests.conftest import idx_bytes
from tests.pipelines.commands import SPEC, Stage, set_stage
from tests.pipelines.worlds import Worlds

MEMORY = 400 << 20
"""Bytes that a process may grow by: the limit of `UNFOLD_FREE`, twice, and room for libraries."""
SMALL = 300_000
"""Most bytes of a file of the corpus, but where a format needs more to unfold."""

Make = Callable[[Path], object]
CORPUS: dict[str, tuple[str, Make]] = {}
"""What it is -> the command that reads it, and a function that puts it into a working directory."""


def corpus(command: str) -> Callable[[Make], Make]:
    """Put a file into the corpus."""

    def add(make: Make) -> Make:
        CORPUS[make.__name__] = (command, make)
        return make

    return add


def file(name: str, command: str, path: str, data: bytes | Callable[[], bytes]) -> None:
    """Put bytes into the corpus."""
    CORPUS[name] = (command, lambda here: (here / path).write_bytes(data if isinstance(data, bytes) else data()))


# -- Pictures.


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, colours: int, depth: int = 8, *, interlaced: int = 0) -> bytes:
    """A PNG whose header promises a size that its 40 bytes of pixels do not keep."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(40))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(mode: str, size: tuple[int, int], kind: str, **options: object) -> Callable[[], bytes]:
    """A whole picture of one colour."""

    def make() -> bytes:
        sink = io.BytesIO()
        Image.new(mode, size).save(sink, kind, **options)
        return sink.getvalue()

    return make


def tiff(tags: dict[int, int]) -> bytes:
    """A TIFF file with these tags, long numbers each."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


file("png_promise", "predict run x.png", "x.png", png(8000, 8000, 2))
file("png_promise_of_16_bits", "predict run x.png", "x.png", png(7000, 7000, 6, 16))
file("png_interlaced_promise", "predict run x.png", "x.png", png(7000, 7000, 2, interlaced=1))
file("png_that_keeps_it", "predict run x.png", "x.png", saved("L", (7000, 7000), "PNG"))
file("png_with_transparency", "predict run x.png", "x.png", saved("RGBA", (7000, 7000), "PNG"))
file("png_with_a_palette", "predict run x.png", "x.png", saved("P", (7000, 7000), "PNG"))
file("png_beyond_every_limit", "predict run x.png", "x.png", png(2**31 - 1, 2**31 - 1, 2))
file("gif", "predict run x.gif", "x.gif", saved("P", (7000, 7000), "GIF"))
file("webp_that_keeps_it", "predict run x.webp", "x.webp", saved("RGB", (7000, 7000), "WEBP", lossless=True))
file(
    "webp_canvas",
    "predict run x.webp",
    "x.webp",
    b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xfe\x3f\0" * 2 + bytes(8),
)
file(
    "bmp",
    "predict run x.bmp",
    "x.bmp",
    b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(50),
)
file("ppm", "predict run x.ppm", "x.ppm", b"P6 60000 60000 255\n" + bytes(100))
file("ppm_in_words", "predict run x.ppm", "x.ppm", b"P3 9999999999 9999999999 255\n" + b"0 " * 100)
file(
    "tiff",
    "predict run x.tif",
    "x.tif",
    tiff({256: 40_000, 257: 40_000, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 40_000, 279: 2**31}),
)
file(
    "tiff_tile",
    "predict run x.tif",
    "x.tif",
    tiff({256: 28, 257: 28, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**16, 323: 2**16, 324: 200, 325: 50}),
)
file(
    "jpeg",
    "predict run x.jpg",
    "x.jpg",
    b"\xff\xd8\xff\xc2\0\x11\x08"
    + struct.pack(">HH", 65_000, 65_000)
    + b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9",
)
file(
    "a_picture_by_another_name",
    "predict run x.npy.png",
    "x.npy.png",
    png(7000, 7000, 2),
)


# -- Arrays.


def npy(header: str, version: int = 1, length: int | None = None) -> bytes:
    """An array file with a header of one's own."""
    text = header.encode() + b"\n"
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + text


SHAPES = {
    "npy_of_more_rows_than_bytes": "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 784), }",
    "npy_of_a_negative_shape": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 784), }",
    "npy_of_two_negative_shapes": "{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -784), }",
    "npy_of_long_texts": "{'descr': '<U200000000', 'fortran_order': False, 'shape': (1, 784), }",
    "npy_of_long_texts_and_no_rows": "{'descr': '<U200000000', 'fortran_order': False, 'shape': (0, 784), }",
    "npy_of_objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1, 784), }",
    "npy_of_records": "{'descr': [('a', '<f8', (100000000,))], 'fortran_order': False, 'shape': (1, 784), }",
    "npy_by_columns": "{'descr': '<f8', 'fortran_order': True, 'shape': (4611686018427387904, 784), }",
    "npy_of_an_endless_edge": "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 9223372036854775807), }",
    "npy_of_brackets": "{'descr': " + "(" * 4000,
    "npy_of_no_shape": "{'descr': '|u1', 'fortran_order': False, 'shape': 784, }",
    "npy_of_numbers_that_are_not_whole": "{'descr': '|u1', 'fortran_order': False, 'shape': (1.5, 784), }",
    "npy_of_nothing": "",
}
for name, header in SHAPES.items():
    file(name, "predict run x.npy", "x.npy", npy(header))
file("npy_with_a_header_of_4_gigabytes", "predict run x.npy", "x.npy", npy("{}", 2, 2**32 - 1))
file("npy_with_a_header_of_64_kilobytes", "predict run x.npy", "x.npy", npy("{" + " " * 60_000 + "}"))
file("npy_of_another_version", "predict run x.npy", "x.npy", npy("{}", 9))
file("npy_that_is_empty", "predict run x.npy", "x.npy", b"")


@corpus("predict run x.npy")
def npy_that_is_a_zip(here: Path) -> None:
    """`numpy.savez` by the name of an array."""
    np.savez_compressed(here / "x.npz", a=np.zeros((10_000, 784), np.uint8))
    (here / "x.npz").rename(here / "x.npy")


# -- Tables.


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def footer(thrift: bytes) -> bytes:
    """A Parquet file that is nothing but a footer."""
    return b"PAR1" + thrift + struct.pack("<I", len(thrift)) + b"PAR1"


SCHEMA_ELEMENTS = b"\x15\x02\x19\xfc" + varint(50_000_000) + bytes(1000)
CREATED_BY = b"\x15\x02\x19\x0c\x16\x00\x19\x0c\x28" + varint(2**31 - 1) + bytes(1000)
for table, command in (("x.parquet", "predict run x.parquet"), ("run/history.parquet", "report run --source OWN")):
    file(f"{table}_of_many_columns", command, table, footer(SCHEMA_ELEMENTS))
    file(f"{table}_of_a_long_text", command, table, footer(CREATED_BY))
    file(f"{table}_that_is_empty", command, table, b"")
    file(f"{table}_that_is_none", command, table, b"PAR1" + b"\xff" * 100 + b"PAR1")


@corpus("predict run x.parquet")
def parquet_of_many_black_images(here: Path) -> None:
    """784 zeros in each of half a million rows take a few kilobytes."""
    group = 100_000
    schema = pa.schema([pa.field("image", pa.list_(pa.field("item", pa.uint8(), nullable=False), 784), nullable=False)])
    zeros = pa.Array.from_buffers(pa.uint8(), group * 784, [None, pa.py_buffer(bytes(group * 784))])
    rows = pa.FixedSizeListArray.from_arrays(zeros, type=schema.field(0).type)
    with pq.ParquetWriter(here / "x.parquet", schema, write_page_checksum=True, compression="zstd") as writer:
        for _ in range(5):
            writer.write_table(pa.table([rows], schema=schema), row_group_size=group)


def unfolding(rows: int) -> bytes:
    """A sealed table of one column of zeros."""
    return sealed_table(pa.table({"epoch": pa.array(np.zeros(rows, np.int64))}))


@corpus("report run --source OWN")
def history_that_unfolds(here: Path) -> None:
    """Twenty million epochs."""
    (here / "run" / "history.parquet").write_bytes(unfolding(20_000_000))


@corpus("compare run OTHER")
def predictions_that_unfold(here: Path) -> None:
    """Twenty million predictions."""
    (here / "run" / "predictions.parquet").write_bytes(unfolding(20_000_000))


# -- The cache.


def entry(here: Path, data: bytes, rows: float = 3) -> None:
    """An entry of the cache whose manifest vouches for what is in it."""
    directory = here / "cache" / ("0" * 64)
    directory.mkdir(parents=True)
    for name in ("train.parquet", "test.parquet"):
        (directory / name).write_bytes(data)
    manifest = {
        "format": MANIFEST_FORMAT,
        "key": "0" * 64,
        "reasons": {},
        "files": dict.fromkeys(("train.parquet", "test.parquet"), hashlib.sha256(data).hexdigest()),
        "rows": dict.fromkeys(("train.parquet", "test.parquet"), rows),
        "location": "here",
    }
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps({**manifest, "seal": seal}))


def prepared(about: object) -> bytes:
    """A prepared split without rows that says this of itself."""
    schema = prepared_schema(3).with_metadata({"bpfunc": about if isinstance(about, str) else json.dumps(about)})
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    return sink.getvalue()


@corpus("data verify --cache cache")
def entry_of_many_columns(here: Path) -> None:
    """A footer that promises fifty million columns."""
    entry(here, footer(SCHEMA_ELEMENTS))


@corpus("data verify --cache cache")
def entry_that_nests(here: Path) -> None:
    """Metadata of brackets."""
    entry(here, prepared("[" * 200_000))


@corpus("data verify --cache cache")
def entry_of_no_scaling(here: Path) -> None:
    """Statistics that are not numbers."""
    about = {"class_names": [1], "class_numbers": "x", "scaling": {"kind": [], "mean": ["x"], "scale": [[]]}}
    entry(here, prepared(about))


@corpus("data verify --cache cache")
def entry_of_endless_rows(here: Path) -> None:
    """A manifest with an infinity in it."""
    entry(here, prepared({}), float("inf"))


@corpus("evaluate run --source OWN --cache cache")
def entry_that_unfolds(here: Path) -> None:
    """A whole entry of this very key, whose files are of many black images."""
    shutil.copytree(here.parent / "stage" / "cache", here / "cache")
    (found,) = (path for path in (here / "cache").iterdir())
    manifest = json.loads((found / "manifest.json").read_text())
    del manifest["seal"]
    group = 40_000
    about = pq.read_schema(found / "train.parquet").metadata
    schema = prepared_schema(3).with_metadata(about)
    zeros = np.zeros((group, 784), np.float32)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(zeros.reshape(-1)), type=schema.field("pixels").type),
        pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3 * group, np.float32)), type=schema.field("target").type),
        pa.array(np.zeros(group, np.uint8)),
        pa.array(np.zeros(group, np.uint32)),
    ]
    with pq.ParquetWriter(found / "train.parquet", schema, write_page_checksum=True) as writer:
        for _ in range(5):
            writer.write_table(pa.table(columns, schema=schema), row_group_size=group)
    manifest["rows"]["train.parquet"] = 5 * group
    manifest["files"]["train.parquet"] = hashlib.sha256((found / "train.parquet").read_bytes()).hexdigest()
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (found / "manifest.json").write_text(json.dumps({**manifest, "seal": seal}))


# -- Sources.


def own(here: Path, name: str, data: bytes) -> None:
    """A directory of IDX files, one of which is this."""
    shutil.copytree(here.parent / "stage" / "own", here / "own")
    for spelling in (name.removesuffix(".gz"), name):
        (here / "own" / spelling).unlink(missing_ok=True)
    (here / "own" / name).write_bytes(data)


PREPARE = "data prepare --unpinned --classes 0,1 --source own --cache cache"
HEADER = bytes([0, 0, 8, 3])


@corpus(PREPARE)
def idx_of_more_than_there_is(here: Path) -> None:
    """Three edges of four billion."""
    own(here, "train-images-idx3-ubyte", HEADER + b"\xff" * 12)


@corpus(PREPARE)
def idx_packed_promise(here: Path) -> None:
    """A packed header that promises the limit."""
    own(here, "train-images-idx3-ubyte.gz", gzip.compress(HEADER + struct.pack(">III", 2**29 // 784, 28, 28)))


@corpus(PREPARE)
def idx_packed_that_keeps_it(here: Path) -> None:
    """100 kB that unfold to 100 MB of black images, more than there are labels."""
    rows = 100_000_000 // 784
    data = HEADER + struct.pack(">III", rows, 28, 28) + bytes(rows * 784)
    own(here, "train-images-idx3-ubyte.gz", gzip.compress(data, 9))


@corpus(PREPARE)
def idx_packed_beyond(here: Path) -> None:
    """300 kB that unfold to 300 MB."""
    rows = 300_000_000 // 784
    data = HEADER + struct.pack(">III", rows, 28, 28) + bytes(rows * 784)
    own(here, "train-images-idx3-ubyte.gz", gzip.compress(data, 9))


@corpus(PREPARE)
def idx_without_an_end(here: Path) -> None:
    """A packed file that goes on after its last value."""
    own(here, "train-labels-idx1-ubyte.gz", gzip.compress(idx_bytes(np.zeros(60)) + bytes(200_000_000), 9))


# -- Networks and checkpoints.


def header(text: bytes, size: int | None = None) -> bytes:
    """A safetensors file of nothing but a header."""
    return struct.pack("<Q", len(text) if size is None else size) + text


PREDICT = "predict run a.png"
file("params_header_without_end", PREDICT, "run/params.safetensors", header(b"{}", 2**63))
file("params_header_of_brackets", PREDICT, "run/params.safetensors", header(b'{"__metadata__":' + b"[" * 200_000))
file("params_that_are_empty", PREDICT, "run/params.safetensors", b"")
file(
    "params_of_many_tensors",
    PREDICT,
    "run/params.safetensors",
    header(
        json.dumps({f"{n}": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 0]} for n in range(3000)}).encode()
    ),
)
file(
    "params_of_a_dotted_key",
    PREDICT,
    "run/params.safetensors",
    header(json.dumps({"__metadata__": {"format": PARAMS_FORMAT, "config": "a." * 40_000 + "a = 1"}}).encode()),
)
file(
    "params_of_deep_toml",
    PREDICT,
    "run/params.safetensors",
    header(json.dumps({"__metadata__": {"format": PARAMS_FORMAT, "config": "a = " + "[" * 90_000}}).encode()),
)


@corpus(PREDICT)
def params_of_a_large_network(here: Path) -> None:
    """A configuration and a header that agree on 500 MB of weights."""
    spec = attrs.evolve(SPEC, model=attrs.evolve(SPEC.model, hidden=(100_000,)))
    (here / "run" / "config.toml").write_text(to_toml(spec))
    metadata = {"format": PARAMS_FORMAT, "epoch": "1", "class_names": "0\n1\n2", "config": to_toml(spec)}
    (here / "run" / "params.safetensors").write_bytes(sealed_tensors((), metadata))


@corpus("resume run --source OWN")
def checkpoint_of_endless_epochs(here: Path) -> None:
    """A history of ten billion epochs in a file of a few kilobytes."""
    spec = attrs.evolve(SPEC, train=attrs.evolve(SPEC.train, epochs=10**10))
    for name in ("params.safetensors", "history.parquet", "metrics.json"):
        (here / "run" / name).unlink()
    (here / "run" / "config.toml").write_text(to_toml(spec))
    data = next((here.parent / "stage" / "cache").iterdir()) / "train.parquet"
    metadata = {
        "format": CHECKPOINT,
        "config": to_toml(spec),
        "data": hashlib.sha256(data.read_bytes()).hexdigest(),
        "epochs": str(10**10),
        "kept_epoch": "1",
    }
    for old in (here / "run" / "checkpoints").iterdir():
        old.unlink()
    tensors = np.zeros(20_000, np.float32)
    (here / "run" / "checkpoints" / "epoch-00001.safetensors").write_bytes(sealed_tensors((tensors,), metadata))


# -- Documents.

DOTTED = "a." * 45_000 + "a = 1"
file("config_of_a_dotted_key", "config show --config x", "x", DOTTED.encode())
file("config_of_brackets", "config show --config x", "x", b"a = " + b"[" * 90_000)
file("config_that_is_large", "config show --config x", "x", b"#" * 300_000)
file("config_of_a_run", "runs show run", "run/config.toml", b"[dataset]\n[model]\n[train]\n" + DOTTED.encode())
file("search_of_a_dotted_key", "search x --out out", "x", DOTTED.encode())
file("sweep_of_a_dotted_key", "sweep x --out out", "x", DOTTED.encode())
file("metrics_of_brackets", "runs show run", "run/metrics.json", b"[" * 90_000)
file("metrics_that_are_large", "runs show run", "run/metrics.json", b" " * 2_000_000)
ONE = '{"sha256": "", "size": SIZE, "groups": [ROWS]}'
PARTS = {
    "brackets": "[" * 90_000,
    "infinity": f'{{"a": {ONE.replace("SIZE", "Infinity").replace("ROWS", "1")}}}',
    "nan": f'{{"a": {ONE.replace("SIZE", "NaN").replace("ROWS", "1")}}}',
    "minus": f'{{"a": {ONE.replace("SIZE", "-1").replace("ROWS", "1")}}}',
    "rows": f'{{"a": {ONE.replace("SIZE", "1").replace("ROWS", "1e400")}}}',
    "elsewhere": f'{{"../x": {ONE.replace("SIZE", "1").replace("ROWS", "1")}}}',
    "list": "[]",
    "text": '{"a": "b"}',
    "number": "1",
}
for name, text in PARTS.items():
    whole = f'{{"format": "{PARTITIONS}", "parts": {text}}}'
    file(f"partitions_of_{name}", "data verify --partitions .", "partitions.json", whole.encode())


@corpus("train --stream place --source OWN --unpinned --classes 0,1,2 --out out --epochs 1")
def part_of_endless_rows(here: Path) -> None:
    """A part whose manifest promises more rows than memory, and a footer of many columns."""
    (here / "place").mkdir()
    data = footer(SCHEMA_ELEMENTS)
    (here / "place" / "part-00000.parquet").write_bytes(data)
    part = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "groups": [10**12]}
    text = json.dumps({"format": PARTITIONS, "parts": {"part-00000.parquet": part}})
    (here / "place" / "partitions.json").write_text(text)


# -- The law.


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Inputs for every command."""
    root = tmp_path_factory.mktemp("sizes") / "stage"
    root.mkdir()
    return set_stage(root)


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    """One helper process for all commands."""
    with Worlds() as worlds:
        yield worlds


@pytest.mark.parametrize("name", CORPUS)
def test_small_files_take_little_memory(name: str, stage: Stage, worlds: Worlds) -> None:
    """One message and exit code 2 or 3, with little more memory than the file's own size."""
    command, make = CORPUS[name]
    here = stage.directory(stage.root.parent / name.replace("/", "-"))
    make(here)
    words = [
        word.replace("OWN", str(stage.root / "own")).replace("OTHER", str(stage.root / "other"))
        for word in command.split()
    ]
    if "--cache" not in words and {"report", "evaluate", "train", "resume"} & set(words[:1]):
        words += ["--cache", str(stage.root / "cache")]
    done = worlds.run(here, words, memory=MEMORY, seconds=60)
    shutil.rmtree(here)
    assert done.code == 3 or (done.code == 2 and name.startswith(("config", "search", "sweep"))), done
    if command.startswith("data verify --cache"):
        assert done.stdout.count("damaged: ") == 1
    else:
        kinds = [line.split(":")[0] for line in done.stderr.splitlines()]
        assert kinds[-3:] == ["error", "  where", "  what to do"], done
        assert kinds.count("error") == 1
    for word in ("unexpected", "Traceback", "not enough memory", "MemoryError", "bad allocation"):
        assert word not in done.stderr, done


def test_the_memory_limit_can_be_felt(stage: Stage, worlds: Worlds) -> None:
    """A command that takes more than the limit fails: here a picture that is as large as its file."""
    here = stage.directory(stage.root.parent / "felt")
    noise = np.random.default_rng(0).integers(0, 256, (6000, 6000, 3), np.uint8)
    Image.fromarray(noise).save(here / "x.bmp")
    assert worlds.run(here, ["predict", "run", "x.bmp"], memory=MEMORY // 8).code != 0
    assert worlds.run(here, ["predict", "run", "x.bmp"], memory=2 << 30).code == 0


def test_what_is_large_and_honest_is_read(tmp_path: Path) -> None:
    """The limits let in what cameras and scanners make: 50 million pixels, and flat pictures of 11 million."""
    assert PIXEL_LIMIT >= 48_000_000
    check_unfolding(1_000_000, 20_000_000 * PIXEL_BYTES, limit=PIXEL_LIMIT * PIXEL_BYTES)
    Image.new("RGB", (4000, 2700), "white").save(tmp_path / "flat.png")
    with (tmp_path / "flat.png").open("rb") as file:
        assert read_picture(file, tmp_path / "flat.png").shape == (2700, 4000, 3)
    assert UNFOLD_FREE >= 128 << 20
    assert UNFOLD_RATIO >= 256


@pytest.mark.parametrize("shape", [(2, 784), (0, 784), (3, 28, 28), (28, 28), ()])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", "f4", "<f8", ">i2", "?"])
def test_arrays_come_back(tmp_path: Path, shape: tuple[int, ...], order: str, kind: str) -> None:
    """Our reader of headers reads what NumPy writes, from a disk and from a pipe, as NumPy does."""
    values = np.asarray(np.random.default_rng(0).integers(0, 2, shape), kind, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", values)
    with (tmp_path / "a.npy").open("rb") as stream:
        mapped = read_npy(stream)
    piped = read_npy(io.BytesIO((tmp_path / "a.npy").read_bytes()))
    for found in (mapped, piped):
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
