# Needs Python 3.11 or later and make; everything else goes into .venv. `make PYTHON=python3.12 …` chooses the Python.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --numprocesses auto
FOLDERS := bridges capture engine golden replay scenarios tools
# The oldest pyarrow that is supported: runs and digests are compared with those of the one in .venv.
OLD_PYARROW := build/pyarrow-21
ARGS ?=

# Said at every editable installation, about folders beside the project's that nobody imports from.
export PYTHONWARNINGS := ignore:Editable installation
# Everything a command finds on the path is .venv's first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-torch test-campaigns test-all lint format bench docs clean

help: ## List what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.stamp ## Set up .venv with xtrace in it (the other targets do so themselves)

demo: $(VENV)/.stamp ## Record a system, replay one node of it, and find where a changed run departs
	@sh docs/demo.sh

test: $(VENV)/.stamp ## Run the tests, except the slow ones, and check the branch coverage; ARGS='-k word' selects
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest --numprocesses auto -m "not slow and not torch and not campaign" $(ARGS)
	@$(BIN)/coverage combine --quiet
	$(if $(ARGS),@echo "ARGS is given: the coverage of a part of the tests says nothing",$(BIN)/coverage report)

test-slow: $(VENV)/.stamp $(OLD_PYARROW)/.stamp ## Run the slow tests
	$(PYTEST) -m "slow and not torch and not campaign" $(ARGS)

test-torch: $(VENV)/.stamp-torch ## Run the tests that need PyTorch, which is a large download
	$(PYTEST) -m torch $(ARGS)

test-campaigns: $(VENV)/.stamp ## Run the long campaigns: every bit, kills, disks that fail, broken runs, long runs (¾ h)
	$(PYTEST) -m campaign $(ARGS)

test-all: test test-slow test-torch test-campaigns ## Run every test

lint: $(VENV)/.stamp build/typing/.stamp ## Check style and types, and the form of the code
	@failed=; for check in "ruff check ." "ruff format --check ." mypy; do \
		echo "$$check"; $(BIN)/$$check || failed=yes; \
	done; test -z "$$failed"

format: $(VENV)/.stamp ## Put the code into form and mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.stamp-bench ## Measure recording and capture against SimPy, pyarrow and mcap; prints ratios
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.stamp ## Write the tables of docs/ anew from the code; the tests check that they are up to date
	$(BIN)/python docs/generate.py

clean: ## Remove what make made: .venv, build, demo and caches
	rm -rf $(VENV) build demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(FOLDERS) tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	rm -rf *.egg-info

# .venv is made anew when what is to be in it changes, and only then.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@rm -rf $(VENV)
	@python=$$($(FIND_PYTHON)) && echo "Setting up $(VENV) with $$python" && "$$python" -m venv $(VENV)
	$(PIP) pip setuptools
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.stamp-torch: $(VENV)/.stamp
	$(PIP) --no-build-isolation --editable '.[dev,torch]'
	@touch $@

$(VENV)/.stamp-bench: $(VENV)/.stamp
	$(PIP) --no-build-isolation --editable '.[dev,bench]'
	@touch $@

$(OLD_PYARROW)/.stamp: $(VENV)/.stamp
	@rm -rf $(OLD_PYARROW)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(OLD_PYARROW) --no-deps pyarrow==21.0.0
	@touch $@

# mypy reads the folders through links, as the packages of one namespace.
build/typing/.stamp: Makefile
	@mkdir -p build/typing/xtrace
	@for folder in $(FOLDERS); do ln -sfn "../../../$$folder" "build/typing/xtrace/$$folder"; done
	@touch $@

# Prints a Python that is new enough and can make a virtual environment, or says what is missing.
define FIND_PYTHON
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null && echo "$$python" && exit 0; \
	echo "$$python has no venv or ensurepip module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
done; \
echo "No Python 3.11 or later found; name one with: make PYTHON=/path/to/python" >&2; exit 1
endef
