"""Predictions: the same answer by every way in, every kind of picture, and one clear error for what is none."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.dataset.places import Places
from pipelines.disk.parquet import fixed_size_rows
from pipelines.errors import DataProblem, UsageProblem
from pipelines.inference.images import converted
from pipelines.inference.inputs import PIXEL_LIMIT, Convert, input_files, read_images, read_picture
from pipelines.inference.predict import answers_table, check_answers_file, predict, write_answers
from pipelines.runs.network import Network, read_network
from pipelines.runs.predictions import read_predictions
from pipelines.runs.run import evaluate_run, train_run
from pipelines.spec.run_spec import RunSpec
from pipelines.spec.toml import load_recipe
from pipelines.stages.prepare import prepare

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
BUNDLE = Path(__file__).parents[2] / "data" / "bundle" / "test.parquet"


def tiny(*, mirror: bool) -> RunSpec:
    """One epoch on the bundle: enough to be sure of something."""
    spec = load_recipe("report")
    return attrs.evolve(
        spec,
        dataset=attrs.evolve(spec.dataset, scaling="mirrored" if mirror else "unit", scaling_offset=0.1 * mirror),
        model=attrs.evolve(spec.model, hidden=(16,), mirror=mirror),
        train=attrs.evolve(spec.train, epochs=1),
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Where the runs of this module lie."""
    base = tmp_path_factory.mktemp("predict")
    return Places(cache=base / "cache", raw=base / "raw", runs=base / "runs")


@pytest.fixture(scope="module")
def runs(places: Places) -> dict[bool, Path]:
    """A finished run of a plain network, and one that averages mirror images."""
    found = {}
    for mirror in (False, True):
        spec = tiny(mirror=mirror)
        finished = train_run(spec, places, now=datetime(2026, 1, 1 + mirror))
        evaluate_run(spec, finished)
        found[mirror] = finished.directory
    return found


@pytest.fixture(scope="module")
def network(runs: dict[bool, Path]) -> Network:
    """The plain one."""
    return read_network(runs[False])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(20, 784) real test images."""
    column = pq.read_table(BUNDLE, columns=["image"])["image"].slice(0, 20)
    return np.array(column.to_pylist(), np.uint8)


def pixels_of(path: Path, convert: Convert = "auto") -> np.ndarray:
    """All pixels that reading a path gives."""
    return np.concatenate([batch.pixels for batch in read_images([path], convert)])


@pytest.mark.parametrize("mirror", [False, True])
def test_every_way_in_gives_the_same_answer(
    mirror: bool, runs: dict[bool, Path], places: Places, images: np.ndarray, tmp_path: Path
) -> None:
    """PNG files, arrays, the bundle, the prepared cache of either scaling, and what `evaluate` wrote."""
    for index, image in enumerate(images):
        Image.fromarray(image.reshape(28, 28)).save(tmp_path / f"{index}.png")
    network = read_network(runs[mirror])
    expected = read_predictions(runs[mirror])
    prepared = [
        prepare(tiny(mirror=other).dataset, source=None, cache=places.cache, raw=places.raw)[0].path
        for other in (False, True)
    ]
    np.save(tmp_path / "array.npy", images)
    answers = {
        "png": predict(network, read_images([tmp_path / f"{index}.png" for index in range(20)])),
        "array": predict(network, read_images([tmp_path / "array.npy"])),
        "bundle": predict(network, read_images([BUNDLE])),
        "own cache": predict(network, read_images([prepared[mirror] / "test.parquet"])),
        "other cache": predict(network, read_images([prepared[not mirror] / "test.parquet"])),
    }
    bundle = pq.read_table(BUNDLE, columns=["source_index"])["source_index"].to_numpy()
    order = np.searchsorted(expected.source_index, bundle)
    for name, found in answers.items():
        count = len(found.files)
        assert count == (20 if name in ("png", "array") else 3000)
        # A product of 20 rows and one of 3000 may round their sums in another order.
        np.testing.assert_allclose(found.probabilities, expected.probabilities[order[:count]], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.labels, expected.probabilities[order[:count]].argmax(axis=1), name)
        assert set(found.conversions) == {"as is"}


def test_ready_pictures_are_taken_byte_for_byte(images: np.ndarray, tmp_path: Path) -> None:
    """PNG is lossless, and `auto` and `never_stop` add nothing; `always` converts."""
    image = images[3].reshape(28, 28)
    Image.fromarray(image).save(tmp_path / "a.png")
    for convert in ("auto", "never"):
        np.testing.assert_array_equal(pixels_of(tmp_path / "a.png", convert), images[3:4])
    coloured = np.repeat(image[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png", "always")[0], converted(coloured).reshape(784))
    np.save(tmp_path / "a.npy", image)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.npy", "always"), pixels_of(tmp_path / "a.png", "always"))


def test_photographs_of_known_articles_keep_their_class(network: Network, images: np.ndarray, tmp_path: Path) -> None:
    """Test images made large, dark on white, off centre and saved as JPEG come back as what they were."""
    for index, image in enumerate(images):
        large = np.kron(255 - image.reshape(28, 28), np.ones((12, 12), np.uint8))
        photo = np.pad(large, ((40, 90), (200, 70)), constant_values=255)
        Image.fromarray(photo).save(tmp_path / f"{index:02}.jpg", quality=92)
    found = predict(network, read_images([tmp_path]))
    assert set(found.conversions) == {"converted"}
    assert (found.labels == predict(network, [next(iter(read_images([BUNDLE])))]).labels[:20]).sum() >= 18


SHAPES = np.add.outer(np.arange(40) * 5, np.arange(30)).astype(np.uint8)
"""A grey picture with a value of its own nearly everywhere."""


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16", "CMYK"])
def test_modes(mode: str, tmp_path: Path) -> None:
    """A picture is the same however its file counts colours; black and white is tested below."""
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(SHAPES.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(SHAPES).convert(mode).save(path)
    np.testing.assert_array_equal(picture_at(path), np.repeat(SHAPES[..., None], 3, axis=2))


def test_black_and_white(tmp_path: Path) -> None:
    """One bit is black or white."""
    Image.fromarray(SHAPES > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(picture_at(tmp_path / "a.png")[..., 0], 255 * (SHAPES > 100))


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    """Where nothing is, the background is white, as in the authors' photographs; a palette may be transparent too."""
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 1, 3], pixels[1, 0, 3] = 255, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert picture_at(tmp_path / "a.png")[..., 0].tolist() == [[255, 0], [127, 255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    assert picture_at(tmp_path / "p.png")[..., 0].tolist() == [[255, 9]]


def test_orientation_is_respected(tmp_path: Path) -> None:
    """A photograph that says it lies on its side is turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SHAPES).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(picture_at(tmp_path / "a.png")[..., 0], np.rot90(SHAPES, -1))


def test_animations_give_their_first_picture(tmp_path: Path) -> None:
    """The others are not looked at."""
    frames = [Image.new("L", (9, 9), level) for level in (40, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert picture_at(tmp_path / "a.gif")[0, 0].tolist() == [40, 40, 40]


def picture_at(path: Path) -> NDArray[np.uint8]:
    """The picture of a file."""
    with path.open("rb") as file:
        return read_picture(file, path)


def bomb(width: int, height: int) -> bytes:
    """A PNG of 40 bytes of pixels that says it is of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(40))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _text(path: Path) -> None:
    path.write_text("no picture")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-9000])


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _floating(path: Path) -> None:
    Image.fromarray(SHAPES.astype(np.float32)).save(path, format="TIFF")


def _postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_text, "cannot read the picture: cannot identify"),
        (_empty, "cannot read the picture"),
        (_cut_off, "cannot read the picture"),
        (_pipe, "it is a pipe, not a regular file"),
        (_floating, "no known range"),
        (_postscript, "cannot identify"),
        (lambda path: path.write_bytes(bomb(8000, 8000)), "a picture of 8000 x 8000 has more than"),
        (lambda path: path.write_bytes(bomb(60_000, 60_000)), "exceeds limit"),
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "no picture, array or table"),
    ],
)
def test_what_is_no_picture(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    """One error that names the file, whatever it is."""
    make(tmp_path / "a.png")
    with pytest.raises(DataProblem, match=message) as caught:
        list(read_images([tmp_path / "a.png"]))
    assert caught.value.where == str(tmp_path / "a.png")


def test_the_limit_of_pixels_bounds_memory(tmp_path: Path) -> None:
    """A picture that is too large is refused by its header, before any of it is unpacked."""
    assert PIXEL_LIMIT < 8000 * 8000
    (tmp_path / "a.png").write_bytes(bomb(8000, 8000))
    tracemalloc.start()
    with pytest.raises(DataProblem):
        picture_at(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_never_refuses_what_would_need_converting(tmp_path: Path) -> None:
    """A photograph is not taken for an image because somebody said `never_stop`."""
    Image.fromarray(SHAPES).save(tmp_path / "a.png")
    with pytest.raises(DataProblem, match="expected 28 x 28 grey pixels, found a picture of 40 x 30"):
        list(read_images([tmp_path / "a.png"], "never"))


BYTES = np.arange(2 * 784).reshape(2, 784).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (BYTES, BYTES),
        (BYTES.reshape(2, 28, 28), BYTES),
        (BYTES[0].reshape(28, 28), BYTES[:1]),
        (np.asfortranarray(BYTES), BYTES),
        (BYTES / 255, BYTES),
        (BYTES.astype(np.float32) / 255, BYTES),
        (BYTES / np.float16(255), BYTES),
    ],
)
def test_arrays(array: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    """Three shapes; bytes, and bytes over 255."""
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.npy"), expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (BYTES[0], "found \\(784,\\)"),
        (BYTES.reshape(1, 2, 28, 28), "found \\(1, 2, 28, 28\\)"),
        (BYTES.reshape(2, 784, 1), "found"),
        (BYTES.astype(np.int64), "expected uint8, or numbers in 0..1 with some between, found int64"),
        (BYTES.astype(np.float64), "with some between"),
        ((BYTES > 9).astype(np.float64), "with some between"),
        (BYTES / 255 - 0.5, "with some between"),
        (BYTES / 200, "with some between"),
        (np.full((1, 784), np.nan), "with some between"),
        (np.zeros((0, 784)), "cannot read|with some between"),
        (np.full((1, 784), None), "cannot read the array"),
    ],
)
def test_arrays_that_could_be_anything(array: np.ndarray, message: str, tmp_path: Path) -> None:
    """What is not surely pixels is refused, and nothing that could hold code is read."""
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataProblem, match=message):
        list(read_images([tmp_path / "a.npy"]))


def write_rows(path: Path, name: str, values: np.ndarray, kind: pa.DataType, metadata: dict[str, str]) -> None:
    """Write one column of rows."""
    table = pa.table([fixed_size_rows(values, kind)], names=[name])
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_tables_that_could_be_anything(places: Places, tmp_path: Path) -> None:
    """Normalised pixels are believed only with the statistics that they were normalised by."""
    path = tmp_path / "a.parquet"
    prepared = prepare(tiny(mirror=True).dataset, source=None, cache=places.cache, raw=places.raw)[0]
    about = pq.read_schema(prepared.path / "test.parquet").metadata[b"bpfunc"].decode()
    pixels = np.random.default_rng(0).normal(size=(3, 784)).astype(np.float32)
    for name, values, kind, metadata, message in (
        ("pixels", pixels, pa.float32(), {}, "expected one column of 784 bytes"),
        ("pixels", pixels, pa.float32(), {"bpfunc": "{}"}, "damaged metadata"),
        ("pixels", pixels, pa.float32(), {"bpfunc": about}, "do not come from bytes"),
        ("image", BYTES[:, :783], pa.uint8(), {}, "expected one column of 784 bytes"),
    ):
        write_rows(path, name, values, kind, metadata)
        with pytest.raises(DataProblem, match=message):
            list(read_images([path]))
    write_rows(path, "any name", BYTES, pa.uint8(), {})
    np.testing.assert_array_equal(pixels_of(path), BYTES)
    column = pa.array([BYTES[0].tolist(), None], pa.list_(pa.uint8(), 784))
    pq.write_table(pa.table([column], names=["image"]), path)
    with pytest.raises(DataProblem, match="a row has no pixels"):
        list(read_images([path]))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataProblem, match="damaged Parquet"):
        list(read_images([path]))


def test_directories_are_read_in_natural_order(tmp_path: Path) -> None:
    """`image-9` comes before `image-10`; what ends otherwise, hidden files and directories below are passed over."""
    names = ["image-1.png", "image-9.jpg", "image-010.png", "image-10.png", "image-11.PNG", "rows.npy"]
    for name in (*names[::-1], "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "below").mkdir()
    assert [path.name for path in input_files([tmp_path])] == names


def test_memory_does_not_grow_with_the_rows(network: Network, tmp_path: Path) -> None:
    """40,000 rows would take 250 MB as float64; a batch at a time takes a tenth."""
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (40_000, 784)).flush()
    tracemalloc.start()
    answers = predict(network, read_images([tmp_path / "a.npy"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answers.rows[-1] == 39_999
    assert peak < 130_000_000


def test_answers_as_arrow(network: Network, tmp_path: Path) -> None:
    """Every row carries file, row, class, all probabilities and what was done to it; names of any bytes are letters."""
    strange = tmp_path / os.fsdecode(b"\xff.npy")
    np.save(strange, BYTES)
    answers = predict(network, read_images([strange]))
    write_answers(tmp_path / "out.parquet", answers)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.equals(answers_table(answers))
    assert table.column_names == ["file", "row", "label", "class", "probabilities", "conversion"]
    assert table["file"][0].as_py().endswith("\\udcff.npy")
    assert table["class"].to_pylist() == [network.class_names[k] for k in table["label"].to_pylist()]
    np.testing.assert_allclose(np.sum(table["probabilities"].to_pylist(), axis=1), 1, rtol=1e-5)


def test_command(cli: Cli, runs: dict[bool, Path], images: np.ndarray, tmp_path: Path) -> None:
    """A table for a person, one JSON document for a script, Parquet for both; each says what was done to an image."""
    Image.fromarray(images[0].reshape(28, 28)).save(tmp_path / "2.png")
    Image.fromarray(255 - np.kron(images[1].reshape(28, 28), np.ones((9, 9), np.uint8))).save(tmp_path / "10.png")
    words = ("predict", str(runs[False]), ".", "--top", "3")
    done = cli(*words)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, summary = done.stdout.splitlines()
    assert first.startswith("2.png ")
    assert first.endswith("  as is")
    assert second.startswith("10.png ")
    assert second.endswith("  converted")
    assert first.count("%") == 3
    assert summary.startswith("2 images, 1 converted: ")
    document = json.loads(cli(*words, "--json", "--out", "out.parquet").stdout)
    assert [row["conversion"] for row in document["predictions"]] == ["as is", "converted"]
    for row in document["predictions"]:
        assert row["probability"] == max(row["probabilities"].values()) == row["probabilities"][row["class"]]
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 2
    assert "\x1b" not in done.stdout


def test_long_tables_are_cut(cli: Cli, runs: dict[bool, Path]) -> None:
    """A terminal is shown the first forty rows and the sum; JSON has them all."""
    lines = cli("predict", str(runs[False]), str(BUNDLE)).stdout.splitlines()
    assert len(lines) == 42
    assert lines[-2] == "... and 2960 more; --out FILE and --json have all"
    assert lines[-1].startswith("3000 images, none converted: ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nix.png",), 3, "there is no such file"),
        (("text.png",), 3, "cannot read the picture"),
        (("a.npy", "--convert", "perhaps"), 2, "'perhaps' is not one of"),
        (("a.npy", "--out", "no/such/place.parquet"), 1, "cannot write: there is no directory no/such"),
        ((), 2, "INPUT is missing"),
    ],
)
def test_command_that_fails(
    cli: Cli, runs: dict[bool, Path], tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    """Exit codes as everywhere, one message, nothing on standard output."""
    (tmp_path / "text.png").write_text("no picture")
    np.save(tmp_path / "a.npy", BYTES)
    done = cli("predict", str(runs[False]), *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def make_photos(place: Path) -> None:
    """A directory of photographs: two good ones, damaged ones, a directory, a pipe, a dead link and texts."""
    place.mkdir()
    for name in ("a.png", "z.png"):
        Image.fromarray(SHAPES).save(place / name)
    _cut_off(place / "cut.png")
    (place / "empty.jpg").write_bytes(b"")
    (place / "old.png").mkdir()
    Image.fromarray(SHAPES).save(place / "old.png" / "b.png")
    os.mkfifo(place / "pipe.png")
    (place / "dead.png").symlink_to("nowhere")
    (place / "notes.csv").write_text("0,1")


BAD = {"cut.png", "empty.jpg", "pipe.png", "dead.png"}


def test_one_damaged_picture_does_not_end_it_for_the_others(cli: Cli, runs: dict[bool, Path], tmp_path: Path) -> None:
    """The damaged ones are reported, the rest is predicted; exit code 1, and the document holds both."""
    make_photos(tmp_path / "photos")
    done = cli("predict", str(runs[False]), "photos", "--json", "--out", "out.parquet")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert [Path(row["file"]).name for row in document["predictions"]] == ["a.png", "z.png"]
    assert {Path(problem["file"]).name for problem in document["problems"]} == BAD
    assert all(problem["what"] and problem["remedy"] for problem in document["problems"])
    said = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert said == ["error", "  where", "  what to do"] * 4
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 2
    done = cli("predict", str(runs[False]), "photos", "nowhere", "photos/a.png")
    assert done.returncode == 1
    assert done.stdout.count("photos/") == 3
    assert done.stderr.count("error: ") == 5
    assert "where: nowhere" in done.stderr


def test_nothing_but_damage_is_one_message(cli: Cli, runs: dict[bool, Path], tmp_path: Path) -> None:
    """Without an answer there is no result: exit code 3."""
    make_photos(tmp_path / "photos")
    done = cli("predict", str(runs[False]), *(f"photos/{name}" for name in sorted(BAD)), "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "none of the 4 files can be read" in done.stderr
    done = cli("predict", str(runs[False]), "photos/old.png/b.png", "photos/old.png")
    assert done.returncode == 0, done.stderr


def test_readers_of_the_library_still_raise(tmp_path: Path) -> None:
    """Without a taker of problems the first one is raised; with one, reading goes on."""
    make_photos(tmp_path / "photos")
    with pytest.raises(DataProblem, match="cannot read the picture"):
        list(read_images([tmp_path / "photos" / "a.png", tmp_path / "photos" / "cut.png"]))
    problems: list[DataProblem] = []
    batches = list(read_images([tmp_path / "photos", tmp_path / "none"], refused=problems.append))
    assert [Path(batch.file).name for batch in batches] == ["a.png", "z.png"]
    assert {Path(problem.where).name for problem in problems} == BAD | {"none"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.csv", "a table that is written as text is not read"),
        ("a.npz", "it is a zip archive, as numpy.savez writes them"),
        ("a.npy", "it is a zip archive, as numpy.savez writes them"),
        ("a.pdf", "cannot identify one of PNG"),
        ("none", "cannot identify one of PNG"),
    ],
)
def test_each_kind_of_file_gets_its_message(name: str, message: str, tmp_path: Path) -> None:
    """A table of text is told to become an array, and not a picture."""
    if name in ("a.npz", "a.npy"):
        with (tmp_path / name).open("wb") as stream:
            np.savez(stream, BYTES)
    else:
        (tmp_path / name).write_text("1,2,3\n")
    with pytest.raises(DataProblem, match=message) as caught:
        list(read_images([tmp_path / name]))
    assert ("PNG" in caught.value.remedy) == (message.startswith("cannot identify"))
    assert ("numpy.save" in caught.value.what + caught.value.remedy) == (not message.startswith("cannot identify"))


def test_no_run(cli: Cli) -> None:
    """A directory that is no run is wrong usage."""
    done = cli("predict", "nowhere", "a.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no run directory" in done.stderr


@pytest.mark.parametrize("name", ["answers.csv", "answers.JSON", "answers.npz"])
def test_a_name_that_promises_another_format_is_refused(name: str, tmp_path: Path) -> None:
    """A table that is written as Parquet is not called .csv."""
    with pytest.raises(UsageProblem, match=r"written as Parquet .*name it answers.parquet"):
        check_answers_file(tmp_path / name, reads=[])
    check_answers_file(tmp_path / "answers.parquet", reads=[])
    check_answers_file(tmp_path / "answers", reads=[])
