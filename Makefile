# Every target works in a fresh clone: the environment is made on first use.
comma := ,
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: run test conformance faults lint types check bench mutation docs architecture clean

run: $(VENV)/.installed-
	$(BIN)/bpfunc run --recipe report

test: $(STAMP)
	$(BIN)/python -m pytest

conformance:
	$(MAKE) test EXTRAS=test,oracles

faults: $(VENV)/.installed-test-oracles
	$(BIN)/python -m tests.faults kills 200
	$(BIN)/python -m tests.faults mutants 2000
	$(BIN)/python -m tests.faults races 20
	$(BIN)/python -m pytest tests/faults

lint: $(VENV)/.installed-test-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-test-lint
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check: lint types test

bench: $(VENV)/.installed-bench
	$(BIN)/python -m tests.benchmarks $(ARGS)

mutation: $(VENV)/.installed-test-oracles-mutation
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build

architecture: $(STAMP)
	$(BIN)/python docs/draw_architecture.py

clean:
	rm -rf $(VENV) build dist docs/_build mutants data/cache data/runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[$(subst -,$(comma),$*)]"
	touch $@

$(VENV)/.installed-: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@
