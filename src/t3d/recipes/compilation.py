"""What torch.compile needs of the machine: a compiler, and a folder that outlives the process."""

import os
import shutil
import sys

from t3d.errors import ConfigError
from t3d.recipes.datasets import cache_folder


def prepare_compilation() -> None:
    """Let what is compiled be found again by the next start; `TORCHINDUCTOR_CACHE_DIR` names another folder.

    Raises:
        ConfigError: There is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:  # PyTorch takes CXX for one name, too: `ccache g++` would not do
        raise ConfigError(
            f"--compile: needs a C++ compiler, and there is no {compiler}; install one, name it in the environment "
            "variable CXX, or leave out --compile"
        )
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
