# What a developer types. `make run` and `make test` need python3 with venv, and nothing else.
.DEFAULT_GOAL := help
.PHONY: help run test check format stubs schemas reference lock recordings test-slow crash released-protos clean

BIN := .venv/bin
RECORDINGS := ../shared/data/recordings
LOCKED := requirements.lock

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/installed: pyproject.toml $(LOCKED)
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: .venv/installed ## install into .venv, then show the guard stopping the incident
	$(BIN)/circuit-guard demo

test: .venv/installed ## install into .venv, then run every test but the slow ones
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: .venv/installed ## the tests too slow for every change
	$(BIN)/python -m pytest -n auto -m slow

crash: .venv/installed ## kill -9 a guard under load, 200 times; slow
	$(BIN)/python -m pytest -n auto tests/crash/test_kill.py

check: .venv/installed ## lint, types, import direction, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against protos/released.binpb
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python scripts/generate_reference.py --check

recordings: .venv/installed ## replay the real price paths; fails if a wrongful closure gets through
	$(BIN)/python scripts/accept_recordings.py $(RECORDINGS)

format: .venv/installed ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: .venv/installed ## write circuit_guard/v1 from the protos
	$(BIN)/python scripts/generate_stubs.py

schemas: .venv/installed ## write the JSON Schemas of policy and settings
	$(BIN)/circuit-guard policy schema > config/policy.schema.json
	$(BIN)/circuit-guard settings schema > config/settings.schema.json

reference: .venv/installed ## write docs/reference.md from the code
	$(BIN)/python scripts/generate_reference.py

released-protos: .venv/installed ## make today's protos the ones that later changes may not break
	$(BIN)/buf build protos -o protos/released.binpb

lock: ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 pyproject.toml --extra dev --extra parquet --extra plot \
		--generate-hashes --no-emit-index-url --no-header --quiet -o $(LOCKED)

clean: ## remove everything that is not committed
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
