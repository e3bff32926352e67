import subprocess
import sys

import pytest

from program import Call
from t3d import __version__
from t3d.cli import COMMANDS, ExitCode
from t3d.commands._checks import _CHECKS


def _modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\f', *sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("\f")[2].split())  # a help text before it may have such words


@pytest.mark.parametrize(
    "code",
    [
        "import t3d, t3d.cli",
        "import t3d.cli\ntry: t3d.cli.main(['--help'])\nexcept SystemExit: pass",
        "import t3d.cli\ntry: t3d.cli.main(['train', '--help'])\nexcept SystemExit: pass",
        "import t3d.cli\ntry: t3d.cli.main(['export', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_help_loads_no_torch(code: str) -> None:
    modules = _modules_after(code)
    assert "t3d.cli" in modules
    assert not {"torch", "numpy", "lightning_fabric", "av", "matplotlib"} & modules


def test_help_lists_every_command(t3d: Call) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        outcome = t3d(*arguments)
        assert outcome.code == 0
        assert all(f"  {name} " in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help(name: str, t3d: Call) -> None:
    outcome = t3d(*name.split(), "--help")
    assert outcome.code == 0
    assert f"usage: t3d {name}" in outcome.out


def test_help_says_what_exit_codes_mean(t3d: Call) -> None:
    out = t3d("--help").out
    assert [code.meaning for code in ExitCode if code.meaning not in out] == []
    assert [int(code) for code in ExitCode] == [0, 1, 2, 130]


def test_every_command_is_checked_at_sight() -> None:
    assert _CHECKS.keys() == COMMANDS.keys()


def test_version(t3d: Call) -> None:
    assert t3d("--version").out == f"t3d {__version__}\n"


def test_unknown_command_is_answered_with_the_nearest(t3d: Call) -> None:
    outcome = t3d("tran", "data")
    assert outcome.code == 2
    assert outcome.err.startswith("t3d: error: unknown command 'tran' (perhaps 'train'?); choose from demo, train")


def test_unknown_flag_is_answered_with_the_nearest(t3d: Call) -> None:
    outcome = t3d("train", "data", "--batchsize", "4")
    assert outcome.code == 2
    assert "--batch-size" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("flags", [("--preset", "paper-finetune"), ("--preset=paper-finetune",)])
def test_preset_sets_the_defaults_of_the_other_flags(flags: tuple[str, ...], t3d: Call) -> None:
    text = " ".join(t3d("train", "data", *flags, "--help").out.replace("│", " ").split())
    assert "of the head after warm-up. (default: 0.01)" in text


def test_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m t3d train --help | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
