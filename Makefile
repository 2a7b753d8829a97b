# Each target sets up what it needs first.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin

help:        ## show this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# Python compiles a module when it is first imported, and keeps that: compiling all that is installed
# takes about a hundred seconds, and torch in each process four.
unexport PYTHONDONTWRITEBYTECODE

# torch, torchvision and timm are resolved together, in a fresh environment.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Papagaio needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "Setting up $(VENV): about 3 GB to fetch, a few minutes ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.docs-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[docs]'
	touch $@

$(VENV)/.extras-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[mlflow,tensorboard]'
	touch $@

demo: $(VENV)/.ready    ## copy a digit classifier by querying it about letters, and write the report
	$(BIN)/papagaio demo

# One worker more than there are cores: many tests wait for other processes.
test: $(VENV)/.ready    ## run the tests
	$(BIN)/python -m pytest -q -n $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)') --dist loadfile --no-loadscope-reorder

SERVERS ?= kserve mlflow mlserver triton
test-servers: $(VENV)/.ready ## test against real model servers, which are installed in build/servers
	$(BIN)/python -m pytest -q $(SERVERS:%=tests/servers/test_%.py)

test-page: $(VENV)/.ready ## look at the report in Chromium with axe-core and Lighthouse, which are installed in build/page
	npm install --silent --no-audit --no-fund --prefix build/page axe-core@4 lighthouse@12 puppeteer-core@24
	mkdir -p build/page/pages
	$(BIN)/python tests/pages.py build/page/pages
	node tests/look.mjs build/page

test-extras: $(VENV)/.extras-ready ## test trackers, with a real MLflow server
	$(BIN)/python -m pytest -q tests/extras

build/package/.ready:
	$(PYTHON) -m venv build/package
	build/package/bin/python -m pip install --quiet --disable-pip-version-check build twine
	touch $@

package: $(VENV)/.ready build/package/.ready ## build the wheel and the sdist in build/dist, and check them
	rm -rf build/dist
	build/package/bin/python -m build --outdir build/dist
	build/package/bin/twine check --strict build/dist/*
	$(BIN)/python -m pytest -q tests/extras/test_package.py

$(VENV)/.executors-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[ray,slurm]'
	touch $@

test-executors: $(VENV)/.executors-ready ## run trainings on a Ray cluster of this machine, and through submitit
	$(BIN)/python -m pytest -q tests/executors

check: $(VENV)/.ready   ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/.ready     ## fix format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The variable silences Material's notice about its own end of life.
docs: $(VENV)/.docs-ready    ## build the documentation site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:       ## remove the environment and the caches
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help demo test test-servers test-page test-extras test-executors package check fix docs clean
