# Set-up, demo and checks. Every target first makes what it needs; `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Stamps: an installation is done again only when pyproject.toml changes.
TO_RUN := $(VENV)/.ready-to-run
TO_DEVELOP := $(VENV)/.ready-to-develop

.DEFAULT_GOAL := help
.PHONY: help demo lab test check soak notebooks record bench clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: $(TO_RUN) ## A first experiment with a small model on this machine: no key, no cost
	$(BIN)/promptlab demo

lab: $(TO_RUN) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

test: check ## Everything: lint, types, tests with coverage, README examples, browser, notebooks
	$(BIN)/pytest promptlab tests --doctest-modules --cov
	$(MAKE) notebooks

check: $(TO_DEVELOP) ## Lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

soak: $(TO_DEVELOP) ## The tests that take minutes each, which `make test` skips
	PROMPTLAB_SOAK=1 $(BIN)/pytest -m soak tests

notebooks: $(TO_DEVELOP) ## Run every notebook, and compare its outputs with those in the file
	env -u OPENAI_API_KEY -u OPENAI_BASE_URL $(BIN)/pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg notebooks

record: $(TO_DEVELOP) ## Ask the local model again, and record notebooks and experiments.db anew
	$(BIN)/python tools/record.py

bench: $(TO_DEVELOP) ## Measure speed and memory against their bars
	$(BIN)/python bench/run.py

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is "\
		+ sys.version.split()[0] + "; name another, as in: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)

$(TO_RUN): pyproject.toml | $(BIN)/python
	@echo "Installing promptlab into $(VENV): a minute or two, once"
	@$(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip # an environment made by uv has no pip
	$(PIP) install --quiet --upgrade "pip>=25.1" # the first that knows --group
	$(PIP) install --quiet --editable ".[local]"
	@touch $@

$(TO_DEVELOP): $(TO_RUN)
	$(PIP) install --quiet --editable ".[local]" --group test --group lint
	@touch $@
