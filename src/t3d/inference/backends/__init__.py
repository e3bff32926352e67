"""The table of inference backends, and reading an exported file with its backend.

Flags, help, messages and docs use the table: a new backend is one file in this folder and one row.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3d.errors import CheckpointError, ConfigError, T3DError
from t3d.inference.backends.base import PRECISIONS, Backend, Export, from_text
from t3d.inference.backends.onnx import ONNX
from t3d.inference.backends.openvino import OPENVINO
from t3d.inference.backends.torch import TORCH
from t3d.markdown import markdown_table

if TYPE_CHECKING:
    from t3d.models.checkpoints import ModelCard

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (OPENVINO, ONNX, TORCH)}
"""All backends by their name in `--engine`."""


def backend_for_target(target: str) -> Backend:
    """The backend that `t3d export --to` names.

    Raises:
        ConfigError: There is no such target.
    """
    targets = {backend.target: backend for backend in BACKENDS.values()}
    if target not in targets:
        raise ConfigError(f"--to {target}: choose from {', '.join(targets)}")
    return targets[target]


def backend_of(path: Path) -> Backend | None:
    """The backend of an exported file; None for other paths, such as a run folder."""
    suffix = path.suffix.lower()
    return next((backend for backend in BACKENDS.values() if suffix == backend.suffixes[0]), None)


def check_engine(path: Path, *, engine: str = "auto", precision: str = "32-true") -> None:
    """Check that engine and precision fit a file, before it is read or PyTorch is imported.

    Args:
        path: A run folder, a weights file, or an exported file.
        engine: A name in the table, or auto.
        precision: 32-true, bf16-mixed or 16-mixed.

    Raises:
        ConfigError: The engine is unknown, or does not compute this file or in this precision.
    """
    if engine not in ("auto", *BACKENDS):
        raise ConfigError(f"engine {engine!r}; choose from {', '.join(['auto', *BACKENDS])}")
    backend = backend_of(path)
    if backend is not None:
        if engine not in ("auto", backend.name):
            raise ConfigError(f"--engine {engine}: {path} is for {backend.name}; leave it out, or give the run instead")
        if precision != "32-true":
            raise ConfigError(
                f"--precision {precision}: {path} has one of its own; leave it out, or export it in another"
            )
    elif engine not in ("auto", "torch") and PRECISIONS[precision] not in BACKENDS[engine].precisions:
        able = ["torch", *(name for name, other in BACKENDS.items() if PRECISIONS[precision] in other.precisions)]
        raise ConfigError(
            f"--precision {precision}: --engine {engine} computes in {' or '.join(BACKENDS[engine].precisions)}; leave "
            f"it out, or use --engine {' or '.join(dict.fromkeys(able))}"
        )


def read_export(path: Path, backend: Backend) -> "tuple[Any, ModelCard, Export]":
    """Read an exported file: the backend's network, and the description inside.

    Raises:
        CheckpointError: The file is missing, damaged, or was not written by t3d.
        ConfigError: The backend's library is not installed.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; t3d export writes one, or give a run folder")
    if not path.stat().st_size:  # valid as an empty ONNX graph
        raise CheckpointError(f"{path}: is empty; export the weights again, or copy all of it")
    try:
        network, text = backend.read(path)
    except T3DError:
        raise
    except Exception as error:  # every library has its own exception types
        reason = _missing_half(path, backend) or " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: cannot be read ({reason}); export the weights again, or copy all of it"
        ) from error
    return network, *from_text(text, file=path)


def backends_docs() -> str:
    """The table of backends for the docs, as Markdown."""
    head = ("`--engine`", "`t3d export --to`", "files", "precisions", "install", "what for")
    return markdown_table(head, [_docs_row(backend) for backend in BACKENDS.values()])


def _docs_row(backend: Backend) -> tuple[str, ...]:
    install = f"`t3d[{backend.extra}]`" if backend.extra else "included"
    files, precisions = ", ".join(f"`{suffix}`" for suffix in backend.suffixes), ", ".join(backend.precisions)
    return f"`{backend.name}`", f"`{backend.target}`", files, precisions, install, backend.summary


def _missing_half(path: Path, backend: Backend) -> str:
    """Message for a missing second file, clearer than the library's."""
    missing = (half.name for half in map(path.with_suffix, backend.suffixes[1:]) if not half.exists())
    return next((f"{name}, its other half, is missing" for name in missing), "")
