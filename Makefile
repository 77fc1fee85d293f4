# make demo: the main job on real films. make test: what CI runs. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
EXTRAS := --all-extras
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

export OMP_NUM_THREADS ?= 1
export PJRT_DEVICE ?= CPU
export GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT := false

.PHONY: pictures help setup demo test lint wheel pytest bench docs clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

setup: $(STAMP) ## Make .venv with everything that demo, test and bench need

# uv reads uv.lock and takes a minute; pip is the fallback where uv cannot be installed
$(STAMP): pyproject.toml uv.lock requirements.lock
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and "mammo-corpus needs Python 3.11, 3.12 or 3.13; this is %d.%d: make PYTHON=python3.12 setup" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv || true
	if $(BIN)/python -m uv --version >/dev/null 2>&1; then \
	  VIRTUAL_ENV=$(VENV) $(BIN)/python -m uv sync --active --inexact --frozen --compile-bytecode $(EXTRAS); \
	else \
	  $(BIN)/python -m pip install --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --no-deps -e .; \
	fi
	touch $@

demo: setup ## Real films and phantoms in, corpus, training, evaluation and pictures out (demo-out/)
	$(BIN)/python -m demo --output demo-out

test: setup lint wheel pytest ## Everything that CI checks

lint: setup ## Style, types, walls, spelling, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m schemas.docs --check
	$(BIN)/python -m etl.labels --check

wheel: setup ## Build the wheel, install its core alone in a fresh environment, try it
	$(BIN)/python tests/try_wheel.py

pytest: setup ## The test suite, in parallel
	REQUIRE_XLA=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 25

bench: setup ## Long figures: speed, memory, learning; prints the tables of docs/performance.md
	$(BIN)/python -m benchmarks

docs: setup ## Write the generated pages
	$(BIN)/python -m schemas.docs
	$(BIN)/python -m etl.labels

pictures: setup ## One picture a release (docs/pictures): the release's geometry beside ours
	$(BIN)/python -m demo.gallery

clean: ## Remove what the targets made
	rm -rf $(VENV) demo-out dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
