"""Commands that use a trained network: predict, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.completion import complete_run
from pipelines.cli.options import AsJson, Quiet, RunDirectory, Threads, file_name
from pipelines.cli.terminal import complain, print_json, print_text, say
from pipelines.disk.untrusted.printable import printable
from pipelines.errors import DataProblem
from pipelines.runs.naming import check_order, find_run
from pipelines.training.threads import use_threads


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run: its path, its name, a beginning of its name, or `latest`.",
            autocompletion=complete_run,
        ),
    ],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Pictures, .npy, .parquet, directories or pipes of them.")
    ],
    convert: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(
            "--convert",
            metavar="auto|always|never",
            help="Make 28 x 28 images of pictures as the data set's authors did; auto: where needed.",
        ),
    ] = "auto",
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="Classes to show for each image.")] = 2,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", parser=file_name, help="Write every answer here as Parquet.")
    ] = None,
    threads: Threads = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Predict the class of images with a trained network, and its probability.

    A picture that is 28 x 28, grey and dark in its corners is used unchanged, and so are rows of arrays and tables.
    Any other picture is trimmed, brought to 28 pixels, sharpened, centred and negated, as an article on a light
    background was for Fashion-MNIST; the table says which. A file that cannot be read is reported, the others are
    predicted, and the exit code is 1.

    Example:
        bpfunc predict data/runs/first shoe.jpg
        bpfunc predict data/runs/first photos --top 3 --out answers.parquet
        bpfunc predict data/runs/first data/bundle/test.parquet --json
    """
    check_order(run, inputs, ["bpfunc", "predict"])
    directory = find_run(run)
    use_threads(threads)
    from pipelines.inference.inputs import read_images
    from pipelines.inference.predict import answers_document, check_answers_file, predict as predicted, write_answers
    from pipelines.inference.text import answer_lines
    from pipelines.runs.network import read_network

    if out is not None:
        check_answers_file(out, reads=[directory, *inputs])
    problems: list[DataProblem] = []
    answers = predicted(read_network(directory), read_images(inputs, convert, refused=problems.append))
    if problems and not answers.files:
        raise _none_read(problems)
    if out is not None:
        write_answers(out, answers)
    for problem in problems:
        complain(problem.what, problem.where, problem.remedy)
    if as_json:
        print_json(
            {
                "run": str(directory),
                "class_names": answers.class_names,
                "predictions": answers_document(answers),
                "problems": [
                    {"file": problem.where, "what": problem.what, "remedy": problem.remedy} for problem in problems
                ],
                "out": None if out is None else str(out),
            }
        )
    else:
        print_text(answer_lines(answers, top=top))
        if out is not None:
            say(f"answers: {out}", quiet=quiet)
    if problems:
        raise typer.Exit(1)


def _none_read(problems: Sequence[DataProblem]) -> DataProblem:
    """Make one problem of those of all files."""
    first = problems[0]
    if len(problems) == 1:
        return first
    what = f"none of the {len(problems)} files can be read; of the first: {first.what}"
    return DataProblem(what, where=first.where, remedy=first.remedy)


def export(
    run: RunDirectory,
    target: Annotated[
        Literal["onnx", "safetensors", "npz", "torch-state-dict"],
        typer.Option("--to", metavar="onnx|safetensors|npz|torch-state-dict", help="Kind of file."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=file_name,
            help="File to write; by default named after the run, in the current directory.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network for other libraries: an ONNX model, or its arrays by name.

    A torch-state-dict is a safetensors file that a torch.nn.Sequential of the same layers loads, without pickle.

    Example:
        bpfunc export data/runs/first --to onnx --out model.onnx
        bpfunc export data/runs/first --to safetensors
    """
    from pipelines.inference.export import export as exported

    written = exported(run, target, out)
    if as_json:
        print_json({"run": str(run), "to": target, "files": [str(path) for path in written]})
        return
    for path in written:
        print_text(printable(f"{target if path == written[0] else 'model card'}: {path}"))
