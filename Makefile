# Everything runs in .venv, made from the lock file at the first use.
PYTHON ?= python3.11
UV     := uv==0.13.9
BIN    := .venv/bin
READY  := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format types bench bench-http bench-load chaos bad-input \
	hostile-http hostile-models soak outage wer-matrix check-wer check-rover accuracy demo-models digits lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## Make the environment (other targets do it by themselves)

$(READY): requirements.lock pyproject.toml
	@echo "Making .venv from requirements.lock (about a minute, 6 GB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY)  ## Kafka to models to Kafka with real speech, on this machine
	@$(BIN)/python -m deploy.demo

test: lint types  ## All that CI runs
	$(BIN)/pytest

test-fast: $(READY)  ## The inner loop: no broker, no Ray, no models
	$(BIN)/pytest -m "not kafka and not ray and not nemo and not slow"

lint: $(READY)  ## Style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## Check the types
	$(BIN)/mypy

SEED    ?= 1
BROKERS ?= 1
RECORDS ?= 100000

chaos: $(READY)  ## Exactly once under kill -9 (SEED=n, BROKERS=3, ENSEMBLE=1)
	@$(BIN)/python -m tests.scenarios.chaos --seed $(SEED) --brokers $(BROKERS) $(if $(ENSEMBLE),--ensemble)

outage: $(READY)  ## A minute without models: nothing is dead-lettered
	@$(BIN)/python -m tests.scenarios.outage

bad-input: $(READY)  ## Sixty kinds of bad records among good ones
	@$(BIN)/python -m tests.scenarios.bad_input

hostile-http: $(READY)  ## Hostile requests among sound ones
	@$(BIN)/python -m tests.scenarios.hostile_http

hostile-models: $(READY)  ## Model files that bring code, at every door: none of it runs
	@$(BIN)/python -m tests.scenarios.hostile_models

bench: $(READY)  ## Speed, as ratios measured in one run
	@$(BIN)/python -m tests.scenarios.bench

bench-http: $(READY)  ## The HTTP API's speed, alone, beside the stream, and under a crowd
	@$(BIN)/python -m tests.scenarios.bench_http

bench-load: $(READY)  ## What checking a model file costs, against NeMo's own way to load it
	@$(BIN)/python -m tests.scenarios.bench_load 2>/dev/null

soak: $(READY)  ## Flat memory over many records (RECORDS=n)
	@$(BIN)/python -m tests.scenarios.soak --records $(RECORDS)

wer-matrix: $(READY)  ## WER of the shipped models on every test set (needs espeak-ng, flite, festival)
	@$(BIN)/python -m deploy.demo.matrix

check-wer: $(READY)  ## Our error counts against NIST's sclite and jiwer (needs sctk)
	@$(BIN)/python -m tests.scenarios.check_wer

check-rover: $(READY)  ## Our votes against NIST's rover (needs sctk)
	@$(BIN)/python -m tests.scenarios.check_rover

accuracy: $(READY)  ## What selection, tiers and votes make of the demo's models (needs espeak-ng, flite, festival)
	@$(BIN)/python -m deploy.demo.accuracy

demo-models: $(READY)  ## Make the corpus and the five shipped models again (two hours)
	@$(BIN)/python -m deploy.demo.train all

digits: $(READY)  ## Fine-tune on real speech, a speaker held out (FSDD=archive.tar.gz)
	@$(BIN)/python -m deploy.digits $(FSDD)

lock: $(READY)  ## Resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-emit-index-url \
		--no-header --quiet --upgrade --output-file requirements.lock

clean:  ## Remove the environment and what tools left
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
