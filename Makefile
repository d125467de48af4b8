# Two commands do everything on a fresh machine: `make figures` and `make test`. Both make their own environment in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MINOR  := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PINS   := constraints/$(MINOR).txt
WORKERS ?= 2

.PHONY: install figures full pages test test-all lint bench clean help

help:
	@echo "make install   the environment alone, with pfl-theory in .venv/bin"
	@echo "make figures   quick figures, tables, verdicts and index.html in figures/quick (2 minutes from nothing; again in seconds)"
	@echo "make full      full-scale results into figures/ (what is committed is shown, not computed again)"
	@echo "make pages     one page a statement into docs/claims, and the table of the README, from figures/verdicts.csv"
	@echo "make test      the tests; what lacks its data set is skipped and counted"
	@echo "make test-all  the slow tests that make test leaves out"
	@echo "make lint      style, types and the direction of imports"
	@echo "make bench     speed against peers (installs JAX and PyTorch)"
	@echo "PYTHON=python3.12 make ...   another interpreter (3.10 to 3.13)"

$(BIN)/python:
	@test -f $(PINS) || { echo "error: Python '$(MINOR)' ($(PYTHON)): this project supports 3.10 to 3.13; use PYTHON=python3.12 make ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

# One stamp per set of extras; an edit of pyproject.toml or of the pins installs again. setuptools warns whoever installs
# a folder that can be edited: that one warning says nothing here; every other is shown.
$(VENV)/.with-%: pyproject.toml $(wildcard constraints/*.txt) | $(BIN)/python
	PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' --constraint constraints/$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
	@touch $@

install: $(VENV)/.with-figures

figures: $(VENV)/.with-figures
	$(BIN)/python -m analysis all --workers $(WORKERS)

full: $(VENV)/.with-figures
	$(BIN)/python -m analysis all --scale full --workers $(WORKERS)

pages: $(VENV)/.with-figures
	$(BIN)/pfl-theory pages

test: $(VENV)/.with-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-all: $(VENV)/.with-test
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m slow $(ARGS)

lint: $(VENV)/.with-test $(VENV)/.with-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.with-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) figures/quick figures/.store build *.egg-info
