"""The command line: parse flags, run one command, print its result, turn errors into one line and an exit code."""

import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

from t3d import __version__
from t3d.errors import T3DError, WorkerError, unknown
from t3d.system import interruptible, is_first_process, leave_malloc, was_interrupted
from t3d.workers import explain_death, no_worker_left


class ExitCode(IntEnum):
    """Exit codes."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> "ExitCode":
        """A number with its meaning."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    DONE = 0, "done"
    FAILED_VIDEOS = 1, "done, but some videos could not be decoded or prepared, or groups are shared"
    BAD_INPUT = 2, "a flag, name, path or file is wrong: one line says which, and what to do"
    INTERRUPTED = 130, "interrupted by Ctrl-C or SIGTERM; most commands go on where they were"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: its class of flags in `t3d.config`, and its module in `t3d.commands`."""

    config: str
    module: str
    summary: str


COMMANDS = {
    "demo": Command(
        config="DemoConfig", module="demo", summary="render moving shapes, train, evaluate, predict, report"
    ),
    "train": Command(config="TrainConfig", module="train", summary="train a network on labelled videos"),
    "transfer": Command(
        config="TransferConfig", module="transfer", summary="teach a 3D network by a frozen 2D one, without labels"
    ),
    "pipeline": Command(
        config="PipelineConfig",
        module="pipeline",
        summary="scratch, transfer, ft-transfer or inflation, from videos to report",
    ),
    "evaluate": Command(
        config="EvaluateConfig", module="evaluate", summary="score a run: metrics, predictions, report"
    ),
    "fuse": Command(config="FuseConfig", module="fuse", summary="score several evaluated runs together: two-stream"),
    "predict": Command(config="PredictConfig", module="predict", summary="say what happens in videos"),
    "compare": Command(
        config="CompareConfig", module="compare", summary="table several runs, and say whether they differ"
    ),
    "convert": Command(
        config="ConvertConfig", module="convert", summary="turn weights that others published into a file of ours"
    ),
    "export": Command(
        config="ExportConfig", module="export", summary="write a run for a faster engine: OpenVINO, ONNX Runtime"
    ),
    "data": Command(config="DataConfig", module="data", summary="show what a dataset holds, and check it"),
    "data prepare": Command(
        config="PrepareConfig", module="prepare", summary="re-encode a dataset once, so that training reads it faster"
    ),
    "bench": Command(config="BenchConfig", module="bench", summary="measure engines, precisions and settings here"),
    "models": Command(config="ModelsConfig", module="models", summary="list the networks and what they cost"),
}


_RESUME = "; --resume goes on from the last saved update, if any"
_AGAIN = "; the same command goes on"
_GO_ON = {"train": _RESUME, "transfer": _RESUME, "pipeline": _AGAIN, "data prepare": _AGAIN}
"""Message after Ctrl-C, or after a worker has died."""

_RENAMED = {"flow": "pipeline"}

_PRESETS = {"train": "preset", "transfer": "transfer_preset", "pipeline": "pipeline_preset"}
"""Functions of `t3d.config.presets` that return the defaults of a command."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: What follows `t3d`; by default those of this process, which then is the program's own. In a process
            of another program, its malloc stays as it is.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be Unicode
    if arguments is not None:
        leave_malloc()
    given = list(sys.argv[1:] if arguments is None else arguments)
    with no_worker_left():
        code = _guarded(given)
    sys.exit(code)


def _guarded(given: list[str]) -> int:
    with interruptible():
        try:
            code = _run(given)
            sys.stdout.flush()  # a broken pipe could not be caught later
            return code
        except T3DError as error:
            go_on = _go_on(given) if isinstance(error, WorkerError) else ""
            print(f"t3d: error: {_own_words(error)}{go_on}", file=sys.stderr)
            return ExitCode.BAD_INPUT
        except KeyboardInterrupt:
            return _interrupted(given)
        except BrokenPipeError:  # of stdout: its reader, such as `head`, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.DONE
        except OSError as error:
            if was_interrupted():
                return _interrupted(given)
            where = "" if error.filename is None else f"{error.filename}: "
            print(f"t3d: error: {where}{error.strerror or error}", file=sys.stderr)
            return ExitCode.BAD_INPUT
        except Exception:  # some libraries convert a signal to another exception, for example during an import
            if was_interrupted():
                return _interrupted(given)
            raise


def _interrupted(given: list[str]) -> int:
    if is_first_process():
        print(f"t3d: interrupted{_go_on(given)}", file=sys.stderr)
    return ExitCode.INTERRUPTED


def _go_on(given: list[str]) -> str:
    return _GO_ON.get(_split(given)[0], "")


def _own_words(error: T3DError) -> str:
    """The message without the traceback that precedes it if it comes from a worker process."""
    return str(error).rpartition(f"{type(error).__name__}: ")[2].strip()


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0
    if given[0] == "--version":
        print(f"t3d {__version__}")
        return 0
    verb, flags = _split(given)
    if verb not in COMMANDS:
        if verb in _RENAMED:
            raise T3DError(f"t3d {verb} is now t3d {_RENAMED[verb]}; its flags are the same")
        raise T3DError(unknown("command", verb, COMMANDS))
    command = COMMANDS[verb]
    config = _parse(verb, command, flags)
    if is_first_process():
        from t3d.commands._checks import check

        check(verb, config)
    module = import_module(f"t3d.commands.{command.module}")
    with_command = {} if verb in ("models", "data", "compare") else {"command": shlex.join(["t3d", *given])}
    run: Callable[..., Any] = module.run
    try:
        result = run(config, **with_command)
    except ConnectionError:  # in a child process: only `show` writes to stdout
        explain_death()
    return _shown(module, result, config) if is_first_process() else 0


def _shown(module: Any, result: Any, config: Any) -> int:  # noqa: ANN401  (a module of `t3d.commands`, and its classes)
    try:
        return int(module.show(result, config))
    except SystemExit:  # raised by rich if the reader of stdout has ended
        return 0


def _split(given: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Split the command, of one or two words, from its flags."""
    num_words = 2 if " ".join(given[:2]) in COMMANDS else 1
    return " ".join(given[:num_words]), given[num_words:]


def _parse(verb: str, command: Command, flags: Sequence[str]) -> Any:  # noqa: ANN401  (one class a command)
    import tyro

    from t3d import config as configs

    kind = getattr(configs, command.config)
    default = None
    if verb in _PRESETS:
        from t3d.config import presets

        default = copy(getattr(presets, _PRESETS[verb])(_preset_named(flags)))
        for name in {"data", "pipeline"} & vars(default).keys():
            object.__setattr__(default, name, tyro.MISSING)  # tyro's marker for a required argument
    settings = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(kind, prog=f"t3d {verb}", args=list(flags), default=default, config=settings)


def _preset_named(flags: Sequence[str]) -> str:
    """Find --preset first, because it sets the defaults of the other flags."""
    for position, flag in enumerate(flags):
        if flag.startswith("--preset="):
            return flag.partition("=")[2]
        if flag == "--preset" and position + 1 < len(flags):
            return flags[position + 1]
    return "quick"


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: t3d COMMAND ...",
            "",
            "Temporal 3D ConvNets for video classification.",
            "",
            *lines,
            "",
            "exit codes:",
            *(f"  {code.value:<{width}}  {code.meaning}" for code in ExitCode),
            "",
            "`t3d COMMAND --help` lists a command's flags. Start with `t3d demo`.",
        ]
    )
