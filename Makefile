# Two commands matter: `make demo` and `make test`. Both create .venv on first use.
PYTHON ?= python3
# On Linux, pip's default torch is a multi-gigabyte CUDA build; for a CPU-only machine run
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
BIN := .venv/bin
# Without --no-compile, pip compiles every module of every package, most of which are never imported.
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile $(PIP_FLAGS) -c constraints.txt
# What a change needs most, in about a minute: closed forms, flags, and the command line.
QUICK ?= tests/test_cli.py tests/test_docs.py tests/test_dependencies.py tests/config tests/models tests/evaluation

.PHONY: setup demo test coverage quick check docs bench clean

.venv/demo-installed: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) -e .
	touch $@

.venv/dev-installed: .venv/demo-installed
	$(INSTALL) -e ".[dev]"
	touch $@

setup: .venv/dev-installed

demo: .venv/demo-installed
	$(BIN)/t3d demo --output runs/demo

test: setup check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --jaxtyping-packages=t3d,beartype.beartype

coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov --cov-report=term:skip-covered

quick: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow" $(QUICK)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --noconftest tests/test_dependencies.py

docs: setup
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/generate.py

# Measure against others on this machine: make bench ARGS="train"
bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv runs
