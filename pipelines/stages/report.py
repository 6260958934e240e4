"""The report: what a person looks at when a run is done.

The parts live in `pipelines.report`; this stage checks that the results fit together, has everything drawn,
and only then writes, so that bad input leaves the directory as it was.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.artifacts import ReportFiles, ReportInputs
from pipelines.disk.atomic import write_bytes
from pipelines.report.figures import confusion_png, curves_png
from pipelines.report.findings import check_inputs, panels
from pipelines.report.page import page


def report(inputs: ReportInputs, directory: Path) -> ReportFiles:
    """Draw and write ``confusion_matrix.png``, ``curves.png`` and ``report.html``, the page last.

    Args:
        inputs: The results of a run. The predicted class of a row is the first of its most probable ones.
        directory: The run directory, which exists. Files of these names are replaced.

    Returns:
        Where the three files lie. Equal inputs give equal bytes, under one version of matplotlib.

    Raises:
        WorkFailed: The results do not fit together, or a file cannot be written; the message says which.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pipelines.artifacts import EpochRecord, Evaluation
        >>> evaluation = Evaluation(
        ...     class_names=("Bag", "Coat"),
        ...     probabilities=np.array([[0.9, 0.1], [0.7, 0.3]]),
        ...     label=np.array([0, 1]),
        ...     source_index=np.array([5, 8]),
        ...     images=np.zeros((2, 784), np.uint8),
        ...     confusion_matrix=np.array([[1, 0], [1, 0]]),
        ...     accuracy=0.5,
        ...     loss=0.65,
        ... )
        >>> history = (EpochRecord(1, 10, 0.1, 0.7, 0.5, None, None, 0.2),)
        >>> inputs = ReportInputs("two bags", evaluation, history, np.eye(784, 4), {}, {}, "bpfunc run")
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     files = report(inputs, Path(directory))
        ...     sorted(path.name for path in Path(directory).iterdir())
        ['confusion_matrix.png', 'curves.png', 'report.html']
    """
    check_inputs(inputs)
    evaluation = inputs.evaluation
    files = ReportFiles(
        html=directory / "report.html",
        confusion_matrix=directory / "confusion_matrix.png",
        curves=directory / "curves.png",
    )
    contents = (
        (files.confusion_matrix, confusion_png(evaluation.confusion_matrix, evaluation.class_names)),
        (files.curves, curves_png(panels(inputs.history, inputs.kept))),
        (files.html, page(inputs).encode("utf-8")),
    )
    for path, data in contents:
        write_bytes(path, data)
    return files
