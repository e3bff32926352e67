# Two commands matter: `make demo` and `make test`. Both create .venv on first use.
PYTHON ?= python3
# On Linux, pip's default torch is a multi-gigabyte CUDA build; for a CPU-only machine run
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
BIN := .venv/bin

.PHONY: setup demo test check docs clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/t3d demo --output runs/demo

test: setup check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov --cov-report=term:skip-covered --jaxtyping-packages=t3d,beartype.beartype

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/figures.py

clean:
	rm -rf .venv runs
