"""The command line of the benchmarks: `python -m benchmarks KIND`, `make bench`."""

import json
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import tyro

from benchmarks.options import Options
from t3d.bench.experiments import Findings, progress_on_stderr, record
from t3d.bench.tables import markdown
from t3d.errors import T3DError
from t3d.evaluation.plots import save_figure
from t3d.files import make_folder, write_text

_PROGRAM = "python -m benchmarks"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Measure one kind, print the record, and write it where --output names a folder."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    settings = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    try:
        options = tyro.cli(Options, prog=_PROGRAM, args=given, config=settings)
        document = run(options, command=f"{_PROGRAM} {shlex.join(given)}")
    except T3DError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(document, indent=2) if options.json else _markdown(document).rstrip("\n"))
    sys.exit(0)


def run(options: Options, *, command: str) -> dict[str, Any]:
    """Measure, and write the record where the options name a folder.

    Raises:
        T3DError: The options or what they name are wrong.
    """
    device = options.device
    module = import_module(f"benchmarks.{options.kind.replace('-', '_')}")
    if options.output is not None:
        make_folder(options.output)
    with progress_on_stderr():
        findings: Findings = module.run(options)
    document = record(options.kind, findings, command=command, threads=options.cpu_threads, device=device)
    if options.output is not None:
        for name, figure in findings.figures.items():
            save_figure(figure, options.output / f"{options.kind}-{name}.png")
        write_text(options.output / f"{options.kind}.md", _markdown(document))
        write_text(options.output / f"{options.kind}.json", json.dumps(document, indent=2) + "\n")
    return document


def _markdown(document: dict[str, Any]) -> str:
    return markdown(document, title=f"Benchmark: {document['kind']}")


if __name__ == "__main__":
    main()
