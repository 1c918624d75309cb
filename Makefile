# make demo | make test | make lint | make install. PYTHON=, PORT= and HOST= can be given on the command line.
PYTHON ?= python3
PORT ?= 7860
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-slow lint format study examples clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stylecore needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --editable '.[demo,export,dev]'
	@touch $@

demo: install
	$(BIN)/python -m demo --port $(PORT) --host $(HOST)

test: install
	$(BIN)/python -m pytest

test-slow: install  # proofs that take minutes: whole presets on real images
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

study: install  # measure everything that docs/study.md says, about 20 minutes; finished parts are not run again
	$(BIN)/python -m scripts.study

examples: install  # draw the style pictures again
	$(BIN)/python examples/draw_styles.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
