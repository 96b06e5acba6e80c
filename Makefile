# The only front door. Every target sets up what it needs from a bare Python 3.11 with pip.
PYTHON ?= python3
UV := .uv/bin/uv
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test check format lint types bench bench-full bench-check bench-hostile calibrate diagnose-matrix fuzz simulate clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## leaves .venv/bin/serinus and all that demo, tests and bench need

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(VENV)/.ready: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet --all-extras --all-groups --no-group frameworks --no-group fuzz --python $(PYTHON)
	@touch $@

demo: setup  ## two versions of a real model behind one endpoint, split 90/10
	$(BIN)/serinus demo

test: setup  ## the whole test suite
	$(BIN)/pytest -n 2

check: setup format lint types test  ## all that must hold before a commit

format: setup
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix --quiet src tests bench

lint: setup  ## style and the floors of the house
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/lint-imports

types: setup  ## mypy, strict
	$(BIN)/mypy

bench: setup  ## the benchmark table; writes bench/results/*.json
	$(BIN)/python -m bench
	$(BIN)/python -m bench.intake
	$(BIN)/python -m bench.evidence_speed
	$(BIN)/python -m bench.live_state
	$(BIN)/python -m bench.diagnosis_speed
	$(BIN)/python -m bench.peers --quick

bench-full: setup  ## Serinus beside its peers and the limits, five models: docs/why/speed.md (an hour)
	$(BIN)/python -m bench.peers

bench-check: setup  ## instructions of the hot paths against the record; needs valgrind
	$(BIN)/python -m bench.instructions

bench-hostile: setup  ## what thousands of hostile callers and a wild model cost the others (minutes)
	$(BIN)/python -m bench.hostile

calibrate: setup  ## error rates and detection times of every test, at full size (minutes)
	$(BIN)/python -m bench.calibrate

diagnose-matrix: setup  ## what `serinus diagnose` says of every fault, two data sets, two models
	$(BIN)/python -m bench.diagnosis
	$(BIN)/python -m bench.diagnosis_live

FUZZ_SECONDS ?= 60
fuzz: setup  ## everything that parses, guided by coverage; FUZZ_SECONDS=60 for each target
	$(UV) sync --frozen --quiet --inexact --only-group fuzz --python $(PYTHON)
	$(BIN)/python -m tests.fuzzing --seconds $(FUZZ_SECONDS)

simulate: setup  ## the controller under 100,000 random histories
	$(BIN)/python -m tests.simulation.walk --seeds 100000

clean:  ## removes what the other targets made
	rm -rf .venv .uv .bench .serinus .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis
