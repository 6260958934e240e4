# Every target works in a fresh clone: the environment is made on first use.
comma := ,
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: help run test-fast test conformance faults lint prose types check bench mutation docs pages architecture changelog clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed-  ## prepare the data, train the recipe "report", write the report page
	$(BIN)/bpfunc run --recipe report

test-fast: $(STAMP)  ## the library's own tests: under 30 seconds
	$(BIN)/python -m pytest -q tests/bpfunc --ignore=tests/bpfunc/interop -m "not slow"

test: $(STAMP)  ## the whole suite: about 6 minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile

conformance:  ## the suite with torch, JAX, optax, scikit-learn, ONNX and a browser: about 16 minutes
	$(MAKE) test EXTRAS=test,oracles

faults: $(VENV)/.installed-test-oracles  ## kills, damaged files, races and lost workers at full counts: about 20 minutes
	$(BIN)/python -m tests.faults kills 200
	$(BIN)/python -m tests.faults mutants 2000
	$(BIN)/python -m tests.faults races 20
	$(BIN)/python -m tests.faults workers 100
	$(BIN)/python -m pytest tests/faults
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest tests/bpfunc/compiled

lint: $(VENV)/.installed-test-lint  ## ruff, import contracts, spelling, prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python docs/check_prose.py

prose:  ## the words that docs/words.toml avoids
	$(PYTHON) docs/check_prose.py

types: $(VENV)/.installed-test-lint  ## mypy and pyright
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check: lint prose types test  ## all of these, then the suite

bench: $(VENV)/.installed-bench  ## speed beside torch, JAX, scikit-learn and onnxruntime
	$(BIN)/python -m tests.benchmarks $(ARGS)

mutation: $(VENV)/.installed-test-oracles-mutation  ## mutation testing of ops, losses and gradients
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

docs: $(VENV)/.installed-docs  ## the documentation as HTML, warnings as errors
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build

pages: $(VENV)/.installed-test-oracles  ## what is made from the code: reference, commands, fields, outputs of the notebook
	$(BIN)/python docs/write_api.py
	$(BIN)/python docs/write_commands.py
	$(BIN)/python docs/write_fields.py
	$(BIN)/python docs/run_tour.py

architecture: $(STAMP)  ## docs/architecture.md and .svg, made from the code
	$(BIN)/python docs/draw_architecture.py

changelog: $(VENV)/.installed-test-lint  ## gather changelog.d/ into CHANGELOG.md: make changelog VERSION=0.2.0
	$(BIN)/towncrier build --yes --version $(VERSION)

clean:  ## remove the environment and everything that was made
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
