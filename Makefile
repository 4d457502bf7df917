# What a developer runs. Each target sets up .venv itself; nothing but Python 3.11+ and make has to be there.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
WORKERS ?= 2
# A bare GPU machine has PyTorch in its own Python, not in .venv.
GPU_PYTHON ?= $(if $(wildcard $(PY)),$(PY),python3)
# One thread per test process: two processes on two cores, the same timings everywhere.
TEST_ENV := OMP_NUM_THREADS=1 MPLBACKEND=Agg PYTHONFAULTHANDLER=1

.PHONY: help setup demo test lint format bench bench-full gpu-check accuracy peaks docs constraints clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	found=; \
	for candidate in python3.11 python3.12 python3.13 python3; do \
		if $$candidate -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "s2a needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt-get install python3 python3-venv)"; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$found --version): PyTorch and the rest of constraints.txt (about two minutes, once)"; \
	[ -x $(PY) ] || $$found -m venv $(VENV); \
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	touch $(STAMP)

setup: $(STAMP) ## create .venv with everything the other targets need

demo: $(STAMP) ## start the service, submit a fine-tuning job, follow it, show that it stayed inside its budget
	@$(PY) scripts/demo.py

test: $(STAMP) ## run every test that needs no GPU, browser, database server or ../shared/data (.ci/run runs more)
	@echo "Running the tests on $(WORKERS) processes; each skip says what is missing"
	@$(TEST_ENV) $(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not bench and not shared and not chromium and not postgres" -q

lint: $(STAMP) ## ruff (rules and format) and mypy --strict
	@echo "ruff check, ruff format --check, mypy --strict on s2a_core, app and benchmarks"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(VENV)/bin/mypy

format: $(STAMP) ## let ruff rewrite what it can
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

bench: $(STAMP) ## measure s2a beside its competitors; writes docs/bench and the README's tables (under 30 minutes)
	@OMP_NUM_THREADS=$$(nproc) KINETO_LOG_LEVEL=99 $(PY) -m benchmarks

bench-full: $(STAMP) ## the same with more models, batches and repeats (an hour or two)
	@OMP_NUM_THREADS=$$(nproc) KINETO_LOG_LEVEL=99 $(PY) -m benchmarks --full

gpu-check: ## on a CUDA machine: ten minutes of checks into var/gpu-check, with whatever Python is there (GPU_PYTHON=...)
	@$(GPU_PYTHON) scripts/gpu_check.py var/gpu-check

accuracy: $(STAMP) ## train every adapter, exact and compressed, on real photos (hours; resumable) into docs/accuracy
	@OMP_NUM_THREADS=$$(nproc) $(PY) scripts/accuracy.py

peaks: $(STAMP) ## predicted beside measured peaks of models, adapters and budgets (hours; resumable) into docs/peaks
	@OMP_NUM_THREADS=1 $(PY) scripts/peak_grid.py --output docs/peaks/results.jsonl --table docs/peaks/README.md

docs: $(STAMP) ## build the pages as a site into var/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet && echo "var/site/index.html"

constraints: $(STAMP) ## rewrite constraints.txt from what .venv holds
	@{ echo "# The versions s2a is tested with: pip install -c constraints.txt -e '.[dev]'. Names no index; made by 'make constraints'."; \
	$(PY) -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+=='; } > constraints.new && mv constraints.new constraints.txt

clean: ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache var build dist
