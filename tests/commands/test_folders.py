from pathlib import Path

import pytest

from t3d.errors import ConfigError
from t3d.files import locked


def test_second_command_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", wait=False):
        with pytest.raises(
            ConfigError, match=f"{tmp_path}: another command is writing here; let it end, or name another folder"
        ):
            locked(tmp_path / ".lock", wait=False).__enter__()
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / ".lock", wait=False):
        pass
