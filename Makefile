# Needs python3 (3.11 or newer) with venv, and make. Everything else is installed into .venv, from locked hashes.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000
ARGS ?=
# Processes that run tests; each has a database server of its own.
TESTERS ?= 2
PROOFS = screening poisoning extraction_quality access tools schema encryption crash erasure integrity tampering sealing

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile
LOCK = $(VENV)/lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header

.PHONY: help setup setup-dev run test slow check proofs lint audit schema tables screenshots lock

help:
	@echo "make run [PORT=8000] [HOST=127.0.0.1] [MEMORYHUB_DATA_DIR=.memoryhub]   start the hub"
	@echo "make test [ARGS='-k working_memory']                                    run the tests"
	@echo "make check     lint, types, imports, migrations, API schema, then the tests"
	@echo "make slow      the rest of the tests: every text in every field, every page as every role, kills"
	@echo "make proofs    the benchmarks at a reduced size: is anything leaked, lost, poisoned?"
	@echo "make audit     known weaknesses of the locked dependencies (needs a network)"
	@echo "make setup     install only what 'make run' needs"
	@echo "make schema    write docs/openapi.yaml anew"
	@echo "make tables    write who may do what into docs/ anew"
	@echo "make screenshots [ARGS='DIRECTORY --readme']   pictures of every page, in both themes, at two widths"
	@echo "make lock      resolve the dependencies anew"

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

# The hub becomes this process, so that a signal to make, or Ctrl-C, reaches it and nothing stays behind.
run: setup
	@exec $(BIN)/python manage.py up --host $(HOST) --port $(PORT) $(ARGS)

test: setup-dev
	$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal -m "not chaos and not slow" $(ARGS)

# Everything with everything (every hostile text in every field, every page as every role), and what kills processes
# and fails providers at a reduced size: minutes of it, the latter best alone on the machine.
slow: setup-dev
	$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal -m slow $(ARGS)
	$(BIN)/python -m pytest -m chaos $(ARGS)

check: lint test

# Every promise that takes longer than a test, at a reduced size. Each prints PASS or FAIL with its figures.
proofs: setup-dev
	@for proof in $(PROOFS); do \
		echo "== $$proof"; \
		$(BIN)/python -m benchmarks.$$proof --small || exit 1; \
	done

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml memoryhub audit sessions facts manage.py
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file $(VENV)/openapi.yaml
	diff -u docs/openapi.yaml $(VENV)/openapi.yaml || { echo "The API has changed: make schema, and look at the difference."; exit 1; }

schema: setup-dev
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

# Asks the advisory service of PyPI about each locked version, so it needs a network; what it cannot ask about is an error.
audit: setup-dev
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements-dev.lock

tables: setup-dev
	$(BIN)/python manage.py permission_tables --write

screenshots: setup-dev
	$(BIN)/python tests/browser/screenshots.py $(ARGS)

# The embedding model's weights come from a package whose own dependencies are never installed.
lock: $(BIN)/python
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) pyproject.toml --extra server --output-file requirements.lock
	$(LOCK) pyproject.toml --extra server --group dev --output-file requirements-dev.lock
	$(LOCK) --no-deps requirements-model.in | tee -a requirements-dev.lock >> requirements.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("MemoryHub needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(BIN)/python
	@echo "Installing what the hub needs"
	@$(INSTALL) -r requirements.lock
	@touch $@

# A superset of the above, so that neither target undoes or repeats the other.
$(VENV)/.installed-dev: requirements-dev.lock requirements.lock | $(BIN)/python
	@echo "Installing what the hub and its tests need"
	@$(INSTALL) -r requirements-dev.lock
	@touch $(VENV)/.installed $@
