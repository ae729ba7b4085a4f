# make run | test | test-all | lint : each does its own set-up. HOST, PORT and WORKSPACE override where the app listens and keeps its files,
# PROCESSES how many tests run side by side.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 7860
WORKSPACE ?= workspace
PROCESSES ?= 2
SIDE_BY_SIDE = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
INSTALL = @if command -v uv >/dev/null 2>&1; \
	then uv pip install --quiet --compile-bytecode --python $(BIN)/python -r $(1) -c constraints.txt; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(1) -c constraints.txt; fi

# Tests start many programs, and each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-all lint clean
run: $(VENV)/.installed
	$(BIN)/python app.py --host $(HOST) --port $(PORT) --workspace $(WORKSPACE)

test: lint
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE) tests

test-all: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests

lint: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Lightbox needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Use: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt constraints.txt | $(BIN)/python
	$(call INSTALL,requirements.txt)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt constraints.txt | $(BIN)/python
	$(call INSTALL,requirements-dev.txt)
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV)
