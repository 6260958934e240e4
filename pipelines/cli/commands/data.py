"""Commands below ``bpfunc data``: prepare, status, partition, verify, bundle, download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DATA, DEFAULT_CACHE, DEFAULT_RAW, PLACES, AsJson, Cache, Given, Quiet, Raw, shared
from pipelines.cli.terminal import describe_decision, print_json, print_result, print_text, say
from pipelines.disk.untrusted.printable import in_lines, printable


@shared(*DATA, *PLACES, "unpinned", "as_json", "quiet")
def prepare(given: Given) -> None:
    """Write filtered, normalised, one-hot data to the cache, unless the cache has it.

    Example:
        bpfunc data prepare --classes "Dress,Coat"
    """
    from pipelines.runs.metrics import lineage
    from pipelines.stages.prepare import prepare

    spec = given.spec()
    prepared, decision = prepare(spec.dataset, source=given.source, cache=given.cache, raw=given.raw)
    if given.as_json:
        print_json(
            {
                "decision": describe_decision(decision),
                "entry": str(prepared.path),
                "class_names": list(prepared.meta.class_names),
                "rows": {"train": prepared.train.rows, "test": prepared.test.rows},
                **lineage(prepared),
            }
        )
        return
    given.say(f"{describe_decision(decision)}")
    given.say(f"{prepared.train.rows} training and {prepared.test.rows} test rows")
    print_text(printable(str(prepared.path)))


@shared(*DATA, *PLACES, "unpinned", "as_json", "quiet")
def status(given: Given) -> None:
    """Show what `data prepare` would do, and why; write nothing.

    Example:
        bpfunc data status --recipe ten-class
    """
    from pipelines.dataset.entry import entry_paths
    from pipelines.stages.prepare import plan

    spec = given.spec()
    found = plan(spec.dataset, source=given.source, cache=given.cache, raw=given.raw)
    document = {
        "decision": describe_decision(found.decision),
        "source": found.source.origin,
        "location": str(found.source.location),
        "official": found.source.pinned,
        "entry": str(found.entry),
        "entries_in_cache": len(entry_paths(given.cache)),
    }
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in document.items()]
    text = printable(str(document["decision"])) if given.quiet else in_lines(lines)
    print_result(document, text, as_json=given.as_json)


@shared("place", *DATA, *PLACES, "unpinned", "as_json")
def partition(
    given: Given,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="New directory, or a URI such as s3://bucket/rows.")],
) -> None:
    """Write the training rows as a partitioned Parquet directory, for `bpfunc train --stream PLACE`.

    Example:
        bpfunc data partition data/rows
    """
    from pipelines.dataset.partitions import new_place, write_partitions
    from pipelines.stages.acquire import acquire
    from pipelines.stages.decode import decode
    from pipelines.stages.prepare import prepare
    from pipelines.stages.select import select

    new_place(place)
    spec = given.spec().dataset
    meta = prepare(spec, source=given.source, cache=given.cache, raw=given.raw)[0].meta
    rows = write_partitions(select(decode(acquire(spec, source=given.source, raw=given.raw)), spec).train, meta, place)
    print_result({"place": place, "rows": rows}, printable(f"{rows} rows: {place}"), as_json=given.as_json)


def verify(
    cache: Cache = DEFAULT_CACHE,
    partitions: Annotated[
        str | None, typer.Option("--partitions", metavar="PLACE", help="A partitioned directory to check as well.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Hash the bundle and every cache entry again, and name what differs.

    Example:
        bpfunc data verify --quiet
    """
    from pipelines.stages.prepare import verify

    findings = verify(cache)
    if partitions is not None:
        from pipelines.dataset.partitions import check_partitions, open_partitions

        findings |= check_partitions(open_partitions(partitions))
    if as_json:
        print_json({"checked": len(findings), "damaged": {k: v for k, v in findings.items() if v is not None}})
    else:
        for name, problem in findings.items():
            if quiet and problem is None:
                continue
            print_text(printable(f"{'damaged' if problem else 'intact'}: {name}{f': {problem}' if problem else ''}"))
    if any(findings.values()):
        raise typer.Exit(3)


def bundle(
    source: Annotated[Path, typer.Option("--source", metavar="DIR", help="Directory of the official IDX files.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the two Parquet files go.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the embedded three-class subset from the official files.

    Example:
        bpfunc data bundle --source data/raw --out bundle
    """
    from pipelines.dataset.bundle import write_bundle
    from pipelines.disk.ownership import check_new_directory
    from pipelines.spec.run_spec import DatasetSpec
    from pipelines.stages.acquire import acquire
    from pipelines.stages.decode import decode

    check_new_directory(out, "bundle")
    hashes = write_bundle(decode(acquire(DatasetSpec(), source=source)), out)
    say(f"{len(hashes)} files of the bundle, made from {source}", quiet=quiet)
    lines = in_lines(f"{digest}  {out / name}" for name, digest in hashes.items())
    print_result(dict(hashes), lines, as_json=as_json)


def download(raw: Raw = DEFAULT_RAW, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Download the official files from the public mirrors, checked against their pins.

    Example:
        bpfunc data download
    """
    from pipelines.dataset.download import download

    paths = download(raw)
    say(f"{len(paths)} files, each as pinned", quiet=quiet)
    files = list(map(str, paths))
    print_result({"files": files}, in_lines(files), as_json=as_json)
