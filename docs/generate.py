"""Write the tables of the docs that come from the code: `make docs`. A test fails where a committed copy differs."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from t3d import config as configs
from t3d.bounds import Bound, flag_of
from t3d.cli import COMMANDS, ExitCode
from t3d.config import presets

DOCS = Path(__file__).resolve().parent

CLI_HEAD = """# Command line

Made by `make docs` from the code. `t3d COMMAND --help` says the same of the installed version.
"""


def main() -> None:
    """Write every generated file and part."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


def generated() -> dict[Path, str]:
    """The files with generated text, as they should be."""
    return {DOCS / "cli.md": cli_page(), DOCS / "models.md": with_part(DOCS / "models.md", "networks", networks())}


def with_part(path: Path, name: str, text: str) -> str:
    """A file with the text between `<!-- generated: name -->` and `<!-- end -->` replaced."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(f"<!-- generated: {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    assert begin, f"{path}: no mark of {name}"
    assert end, f"{path}: no end of {name}"
    return before + begin + text + end + after


def cli_page() -> str:
    """All of `docs/cli.md`."""
    parts: dict[str, Callable[[], str]] = {
        "Commands": commands,
        "Exit codes": exit_codes,
        "Presets": preset_table,
        "Dataset formats": formats,
        "Engines": engines,
        "Metrics": metrics,
    }
    chapters = [f"## {title}\n\n{part()}" for title, part in parts.items()]
    return "\n".join([CLI_HEAD, *chapters, "## Flags\n", *map(flags, COMMANDS)])


def commands() -> str:
    """The verbs."""
    return table(
        ["command", "does"],
        [[f"[`t3d {verb}`](#t3d-{verb.replace(' ', '-')})", command.summary] for verb, command in COMMANDS.items()],
    )


def exit_codes() -> str:
    """How a command can end."""
    return table(["code", "meaning"], [[code.value, code.meaning] for code in ExitCode])


def preset_table() -> str:
    """The named sets of defaults."""
    head = ["command", "preset", "typed as", "time", "what to expect"]
    rows = [
        [f"`{verb}`", f"`{name}`", f"`{preset.command}`", preset.time, preset.expected]
        for (verb, name), preset in presets.PRESETS.items()
    ]
    return table(head, rows)


def formats() -> str:
    """The dataset formats, in the order in which they are tried."""
    from t3d.data.formats import FORMATS

    rows = [[f"`{name}`", row.recognised_by, row.splits, row.groups] for name, row in FORMATS.items()]
    return table(["`--format`", "recognised by", "split", "group"], rows)


def engines() -> str:
    """The inference backends."""
    from t3d.inference.backends import BACKENDS

    head = ["`--engine`", "`t3d export --to`", "use", "files", "precisions", "installed by"]
    rows = [
        [
            f"`{row.name}`",
            f"`{row.target}`",
            row.summary,
            " ".join(f"`{suffix}`" for suffix in row.suffixes),
            ", ".join(row.precisions),
            f"`pip install 't3d[{row.extra}]'`" if row.extra else "t3d itself",
        ]
        for row in BACKENDS.values()
    ]
    return table(head, rows)


def metrics() -> str:
    """The metrics of an evaluation."""
    from t3d.evaluation.metrics import METRICS

    rows = [
        [row.title, f"`{row.section}.{row.key}`", (row.compute.__doc__ or "").partition("\n")[0]]
        for row in METRICS.values()
    ]
    return table(["metric", "in `metrics.json`", "meaning"], rows)


def networks() -> str:
    """What each network costs."""
    from t3d.models import describe_models

    rows = [
        [
            f"`{row.name}`",
            f"{row.parameters / 1e6:.3f} M",
            f"{row.gflops:.2f}" if row.gflops < 10 else f"{row.gflops:.1f}",
            " x ".join(map(str, row.input)),
        ]
        for row in describe_models()
    ]
    return table(["name", "parameters", "GFLOPs", "native clip (C x T x H x W)"], rows, align="---|---:|---:|---")


def flags(verb: str) -> str:
    """One command: its purpose, and a row for each flag."""
    kind = getattr(configs, COMMANDS[verb].config)
    usual = _with_usual_preset(verb, kind)
    rows = [_row(flag) for flag in _flags(kind, usual)]
    return f"### t3d {verb}\n\n{inspect.getdoc(kind)}\n\n{table(['flag', 'values', 'default', 'meaning'], rows)}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, align: str | None = None) -> str:
    """A table in Markdown, with a line break at its end."""
    lines = [head, (align or "|".join(["---"] * len(head))).split("|")]
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


class _Flag:
    """One field of a class of flags: how it is typed, and what it means."""

    def __init__(self, field: "Field[Any]", hint: object, default: object, doc: str) -> None:
        self.type, metadata = hint, ()
        if get_origin(hint) is Annotated:
            self.type, *metadata = get_args(hint)  # type: ignore[assignment]
        self.bounds = [item for item in metadata if isinstance(item, Bound)]
        arg = next((item for item in metadata if hasattr(item, "metavar")), None)
        self.place = getattr(arg, "metavar", None)
        self.name = self.place or flag_of(getattr(arg, "name", None) or field.name)
        self.default = default
        self.doc = " ".join(doc.split())
        if self.type is bool and default is True:
            self.name = self.name.replace("--", "--no-", 1)


def _with_usual_preset(verb: str, kind: type) -> object:
    """What stands where nothing is typed: the quick preset, or the defaults of the fields."""
    return presets.PRESETS[verb, "quick"].config if (verb, "quick") in presets.PRESETS else kind


def _flags(kind: type, usual: object) -> Iterator[_Flag]:
    hints, docs = get_type_hints(kind, include_extras=True), _docs(kind)
    for field in fields(kind):
        default = getattr(usual, field.name, MISSING)
        if default is MISSING and callable(field.default_factory):
            default = field.default_factory()
        if is_dataclass(default):
            yield from _flags(type(default), default)
        else:
            yield _Flag(field, hints[field.name], default, docs.get(field.name, ""))


def _docs(kind: type) -> dict[str, str]:
    """The text below each field of a class."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _row(flag: _Flag) -> list[str]:
    rules = [re.sub("^must (be|lie) ", "", bound.rule) for bound in flag.bounds if bound.rule.startswith("must ")]
    values = "; ".join([_values(flag.type), *rules])
    return [f"`{flag.name}`", values, _default(flag), flag.doc]


def _values(kind: object) -> str:
    """What may be typed after a flag."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_values(part) for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        return f"{_values(parts[0])}, several" if Ellipsis in parts else " ".join(map(_values, parts))
    return {bool: "", int: "whole number", float: "number", str: "text", Path: "path"}[kind]  # type: ignore[index]


def _default(flag: _Flag) -> str:
    default = flag.default
    if flag.place and (default is MISSING or default == Path("DATA") or flag.place == "PIPELINE"):
        return "required"
    if default in (None, ()) or isinstance(default, bool) or default is MISSING:
        return ""
    return f"`{' '.join(map(str, default)) if isinstance(default, tuple) else default}`"


if __name__ == "__main__":
    main()
