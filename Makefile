# The only entry to every habit; CI calls these targets and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What `make start` hands over; each is also read from the environment.
CONTROL_NAMESPACE ?= default
DATABASE ?= sqlite:///machine-engine.db
SERVE := serve $(if $(TARGET_KUBECONFIG),--target-kubeconfig "$(TARGET_KUBECONFIG)") \
	$(if $(CONTROL_KUBECONFIG),--control-kubeconfig "$(CONTROL_KUBECONFIG)") \
	--namespace "$(CONTROL_NAMESPACE)" --database "$(DATABASE)"
N ?= 1000
KILLS ?= 200
FOR ?= 1h
SEED ?= 0

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Machine Engine needs Python 3.11 or newer; set PYTHON=python3.11 (or newer)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Set up the virtual environment from the lock file.

.PHONY: start
start: $(STAMP) ## Run the demo world; with TARGET_KUBECONFIG or CONTROL_KUBECONFIG, run against that cluster. More: ARGS=…
	@exec $(BIN)/machine-engine $(if $(TARGET_KUBECONFIG)$(CONTROL_KUBECONFIG),$(SERVE),demo) $(ARGS)

.PHONY: demo-clean
demo-clean: ## Forget the demo world: its database, its Machines and its devices.
	@rm -rf .demo

.PHONY: test
test: $(STAMP) ## Run every test; the real control plane is built beside the fast ones.
	@$(BIN)/python tests/run.py

.PHONY: check
check: $(STAMP) ## Check style, types, layers and tidiness; changes nothing.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -q tests/architecture

.PHONY: format
format: $(STAMP) ## Format the code and mend what a tool can mend.
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: generate
generate: $(STAMP) ## Rewrite the generated parts of the README: diagram, settings, verbs.
	@$(BIN)/python tests/architecture/generate.py

.PHONY: verify
verify: generate ## Regenerate, and fail when the tree is not what is committed.
	@git diff --exit-code || { echo "commit what \`make generate\` wrote, or what else is shown above"; exit 1; }

.PHONY: controlplane
controlplane: $(STAMP) ## Build the real control plane that tests use; needs Go, minutes once and seconds later.
	@$(BIN)/python tests/controlplane/build.py

.PHONY: bench
bench: $(STAMP) ## Measure a wave of N=1000 machines.
	@$(BIN)/python tests/benchmarks/wave.py --machines $(N)

.PHONY: bench-lives
bench-lives: $(STAMP) ## Measure how many simulated lives a second one core carries.
	@$(BIN)/python tests/benchmarks/lives.py

.PHONY: soak
soak: $(STAMP) ## Play simulated worlds FOR=1h, from SEED=0 on; fails when a promise broke or a fault met too few places.
	@$(BIN)/machine-engine simulate soak --for $(FOR) --first-seed $(SEED)

.PHONY: soak-live
soak-live: $(STAMP) ## Every live fault at full length, with KILLS=200 kills while machines come and go.
	@SOAK=1 KILLS=$(KILLS) $(BIN)/pytest -q -s tests/live

.PHONY: clean
clean: ## Remove caches and built files; the virtual environment and every database stay.
	@rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	@find engine migrations tests -name __pycache__ -type d -prune -exec rm -rf {} +
