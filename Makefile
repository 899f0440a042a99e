# Everything runs in .venv, made from the lock file at the first use.
PYTHON ?= python3.11
UV     := uv==0.13.9
BIN    := .venv/bin
READY  := .venv/.ready

# Python keeps its bytecode: without, importing NeMo takes twice as long, and tests do it often.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format types bench bench-http bench-load bench-peers bench-scale bench-gpu profile chaos bad-input \
	channels hostile-http hostile-models engines tarred object-store clients soak outage ray-faults \
	log-changes registry-crash swap rollout rollout-power quality wer-matrix check-wer manifests cluster \
	scaling upgrade observability trace bench-telemetry console-load console-pages \
	check-rover accuracy demo-models digits lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY)  ## Make the environment (other targets do it by themselves)

$(READY): requirements.lock pyproject.toml
	@echo "Making .venv from requirements.lock (a minute or two, 6 GB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@$(BIN)/chorus broker --fetch-only || true  # a command that needs Kafka will say what is missing
	@touch $@

demo: $(READY)  ## Speech from Kafka through the models and back, on this machine
	@$(BIN)/python -m deploy.demo

# Tests run in this many processes at once; 0 runs them in one, in the order of the files.
WORKERS ?= 2
PYTEST  := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: lint types  ## All that CI runs (WORKERS=n)
	$(PYTEST)

test-fast: $(READY)  ## The inner loop: no broker, no Ray, no models (WORKERS=n)
	$(PYTEST) --hypothesis-profile=fast -m "not kafka and not ray and not nemo and not slow"

lint: $(READY)  ## Style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/hadolint deploy/image/Containerfile

format: $(READY)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## Check the types
	$(BIN)/mypy

SEED    ?= 1
BROKERS ?= 1
RECORDS ?= 100000

chaos: $(READY)  ## Exactly once under kill -9 (SEED=n, BROKERS=3, ENSEMBLE=1, HTTP=1)
	@$(BIN)/python -m tests.scenarios.chaos --seed $(SEED) --brokers $(BROKERS) $(if $(ENSEMBLE),--ensemble) $(if $(HTTP),--http)

cluster: $(READY)  ## A stream on three Ray nodes, while models change, nodes die, workers scale
	@$(BIN)/python -m tests.scenarios.cluster

manifests: $(READY)  ## The Kubernetes manifests against the schemas of who takes them
	@$(BIN)/python -m tests.scenarios.manifests

ray-faults: $(READY)  ## Ray's own processes die: noticed, nothing lost, nothing left behind
	@$(BIN)/python -m tests.scenarios.ray_faults

outage: $(READY)  ## A minute without models: nothing is dead-lettered
	@$(BIN)/python -m tests.scenarios.outage

log-changes: $(READY)  ## Topics that lose records behind the committed offsets
	@$(BIN)/python -m tests.scenarios.log_changes

bad-input: $(READY)  ## More than two hundred kinds of bad records among good ones
	@$(BIN)/python -m tests.scenarios.bad_input

hostile-http: $(READY)  ## Hostile requests among sound ones
	@$(BIN)/python -m tests.scenarios.hostile_http

engines: $(READY)  ## Every family of models beside its reference implementation
	@$(BIN)/python -m tests.scenarios.engines

tarred: $(READY)  ## A tarred data set of NeMo's against the loose files
	@$(BIN)/python -m tests.scenarios.tarred

observability: $(READY)  ## A real Prometheus beside a stream: panels have data, alerts fire when due
	@$(BIN)/python -m tests.scenarios.observability

trace: $(READY)  ## The trace of a record from its producer to its commit, and of a request
	@$(BIN)/python -m tests.scenarios.trace

upgrade: $(READY)  ## A second cluster takes over a stream: two in one group, then the old one goes
	@$(BIN)/python -m tests.scenarios.upgrade

scaling: $(READY)  ## How models and stream workers follow a step and a sawtooth of load
	@$(BIN)/python -m tests.scenarios.scaling

object-store: $(READY)  ## Audio from an object store with faults against a folder, and what is refused
	@$(BIN)/python -m tests.scenarios.object_store

clients: $(READY)  ## Real clients of OpenAI's API, installed from their registries
	@$(BIN)/python -m tests.scenarios.clients

hostile-models: $(READY)  ## Model files with code in them, at every entry point: none of it runs
	@$(BIN)/python -m tests.scenarios.hostile_models

channels: $(READY)  ## Calls with a speaker on each channel, who speak at once
	@$(BIN)/python -m tests.scenarios.channels

bench: $(READY)  ## Speed, as ratios measured in one run (SIZE=large: a model of real size)
	@$(BIN)/python -m tests.scenarios.bench $(if $(SIZE),--size $(SIZE))

bench-peers: $(READY)  ## Beside NeMo's transcribe() and NeMo Curator (CURATOR=folder)
	@$(BIN)/python -m tests.scenarios.bench_peers $(if $(CURATOR),--curator $(CURATOR))

bench-scale: $(READY)  ## One to four stream workers, with a model that takes no time (ROUTERS=n)
	@$(BIN)/python -m tests.scenarios.bench_scale $(if $(ROUTERS),--routers $(ROUTERS))

bench-gpu: $(READY)  ## Models of real size on a GPU: the engine, NeMo's transcribe(), the stream
	@$(BIN)/python -m tests.scenarios.bench_gpu

profile: $(READY)  ## Where the CPU time of a record goes, by process and by function
	@$(BIN)/python -m tests.scenarios.profile

bench-http: $(READY)  ## The HTTP API's speed: alone, beside the stream, and with many clients
	@$(BIN)/python -m tests.scenarios.bench_http

bench-telemetry: $(READY)  ## What metrics and traces cost, against a stream without any
	@$(BIN)/python -m tests.scenarios.bench_telemetry

console-pages: $(READY)  ## Every page of the console in a browser, and their pictures in docs/
	@$(BIN)/python -m tests.scenarios.console_pages

console-load: $(READY)  ## What a console with three open pages costs a stream, in a flood
	@$(BIN)/python -m tests.scenarios.console_load

bench-load: $(READY)  ## What checking a model file costs, against NeMo's own way to load it
	@$(BIN)/python -m tests.scenarios.bench_load 2>/dev/null

soak: $(READY)  ## Flat memory over many records (RECORDS=n)
	@$(BIN)/python -m tests.scenarios.soak --records $(RECORDS)

rollout-power: $(READY)  ## Rollouts of worse, better and equal candidates come to the right verdict
	@$(BIN)/python -m tests.scenarios.rollout_power

rollout: $(READY)  ## Candidates are compared on a stream, and killed
	@$(BIN)/python -m tests.scenarios.rollout

quality: $(READY)  ## A model made worse is found by its transcripts, and none that is not
	@$(BIN)/python -m tests.scenarios.quality

swap: $(READY)  ## Versions of a model change while records stream
	@$(BIN)/python -m tests.scenarios.swap

registry-crash: $(READY)  ## Writers of the registry are killed: nothing half there, nothing lost
	@$(BIN)/python -m tests.scenarios.registry_crash

wer-matrix: $(READY)  ## WER of the shipped models on every test set (needs espeak-ng, flite, festival)
	@$(BIN)/python -m research.wer_matrix

check-wer: $(READY)  ## Our error counts against NIST's sclite and jiwer (needs sctk)
	@$(BIN)/python -m tests.scenarios.check_wer

check-rover: $(READY)  ## Our votes against NIST's rover (needs sctk)
	@$(BIN)/python -m tests.scenarios.check_rover

accuracy: $(READY)  ## WER of the demo's models with routing, tiers and votes (needs espeak-ng, flite, festival)
	@$(BIN)/python -m research.accuracy

demo-models: $(READY)  ## Make the corpus and the five shipped models again (two hours)
	@$(BIN)/python -m research.models all

digits: $(READY)  ## Fine-tune on real speech, a speaker held out (FSDD=archive.tar.gz)
	@$(BIN)/python -m research.digits $(FSDD)

lock: $(READY)  ## Resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --extra all --extra dev --generate-hashes --no-emit-index-url \
		--no-header --quiet --upgrade --output-file requirements.lock

clean:  ## Remove the environment and what tools left
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
