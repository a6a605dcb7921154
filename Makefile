# What a developer types. `make run` and `make test` need python3 with venv, and nothing else.
.DEFAULT_GOAL := help
.PHONY: help run test coverage check format stubs policy schemas reference dashboards lock recordings test-slow test-system crash flood fuzz soak release prometheus-rule clean

BIN := .venv/bin
RECORDINGS := ../shared/data/recordings
LOCKED := requirements.lock
UV ?= uv

# Tests start some hundred guards and commands. Where no bytecode is written, each compiles 200 modules first.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/installed: pyproject.toml $(LOCKED)
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: .venv/installed ## install into .venv, then show the guard stopping the incident
	$(BIN)/circuit-guard demo

test: .venv/installed ## install into .venv, then run every test but the slow ones and those of whole systems
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not system"

# Searches and whole programs enter no line that other tests do not.
coverage: .venv/installed ## `make test` with branch coverage, without searches; fails below the floor in pyproject.toml
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not system" --cov --cov-report=term \
		--ignore=tests/adversary --ignore=tests/test_benchmarks.py

test-system: .venv/installed ## searches, kills, a whole maintenance day, the guard among programs that .ci/run installs
	$(BIN)/python -m pytest -m "system and not slow"

test-slow: .venv/installed ## the tests too slow for every change
	$(BIN)/python -m pytest -n auto -m slow

flood: .venv/installed ## ask a guard for five times what it can decide, for a minute
	$(BIN)/python -m benchmarks.flood 60 5

fuzz: .venv/installed ## feed every entrance with what a fuzzer makes up, SECONDS=60 each
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e ".[fuzz]"
	$(BIN)/python -m fuzz.run --seconds $(or $(SECONDS),60)

soak: .venv/installed ## a guard under mixed load, with restarts and faults, MINUTES=30
	$(BIN)/python -m benchmarks.soak $(or $(MINUTES),30)

crash: .venv/installed ## kill -9 a guard under load, 200 times; slow
	$(BIN)/python -m pytest -n auto tests/crash/test_kill.py

check: .venv/installed ## lint, types, import direction, locks, release, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_locks.py
	$(BIN)/python scripts/release.py --check
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against protos/released.binpb
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python scripts/generate_reference.py --check
	$(BIN)/python scripts/generate_policy.py --check
	$(BIN)/python scripts/generate_dashboards.py --check
	$(BIN)/python scripts/generate_prometheus_rule.py --check
	$(BIN)/hadolint deploy/Dockerfile

recordings: .venv/installed ## replay the real price paths; fails if a wrongful closure gets through
	$(BIN)/python scripts/accept_recordings.py $(RECORDINGS)

format: .venv/installed ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: .venv/installed ## write circuit_guard/v1 from the protos
	$(BIN)/python scripts/generate_stubs.py

policy: .venv/installed ## write what is derived from the rules: the default class, the design's table, the schema
	$(BIN)/python scripts/generate_policy.py
	$(BIN)/circuit-guard policy schema > config/policy.schema.json

schemas: policy ## write the JSON Schemas of policy and settings
	$(BIN)/circuit-guard policy schema > config/policy.schema.json
	$(BIN)/circuit-guard settings schema > config/settings.schema.json

reference: .venv/installed ## write docs/reference.md from the code
	$(BIN)/python scripts/generate_reference.py

dashboards: .venv/installed ## write config/grafana
	$(BIN)/python scripts/generate_dashboards.py

release: check ## cut the release VERSION=x.y.z, with today's protos as the ones that later changes may not break
	$(BIN)/python scripts/release.py "$(VERSION)"

lock: ## write the locks anew from pyproject.toml; needs uv, see CONTRIBUTING.md
	$(UV) pip compile --universal --python-version 3.11 pyproject.toml --extra dev --extra envoy --extra parquet --extra plot \
		--generate-hashes --no-emit-index-url --no-header --quiet -o $(LOCKED)
	$(UV) pip compile --universal --python-version 3.11 pyproject.toml --constraint $(LOCKED) \
		--generate-hashes --no-emit-index-url --no-header --quiet -o deploy/requirements.lock
	echo hatchling | $(UV) pip compile --universal --python-version 3.11 - --constraint $(LOCKED) \
		--generate-hashes --no-emit-index-url --no-header --quiet -o deploy/build-requirements.lock

prometheus-rule: .venv/installed ## write deploy/kubernetes/prometheusrule.yaml from config/prometheus
	$(BIN)/python scripts/generate_prometheus_rule.py

clean: ## remove everything that is not committed
	rm -rf .venv fuzz/corpus fuzz/crashes .hypothesis .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
