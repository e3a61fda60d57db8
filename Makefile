# `make study` runs the main job, `make test` the tests; both set up all they need in .venv.

PRESET ?= quick
PRECISION ?= auto
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: study plan doctor report ui test test-all contract bench docs lint clean

study: .venv/installed
	mlflow run . -e study --env-manager local --experiment-name dropout-study -P preset=$(PRESET) -P precision=$(PRECISION)

plan: .venv/installed
	python -m study plan --preset $(PRESET)

doctor: .venv/installed
	python -m study doctor

report: .venv/installed
	python -m study report

ui: .venv/installed
	mlflow ui --host 127.0.0.1

test: lint
	python -m pytest -n auto --dist loadfile

# What needs minutes, a cluster, a database or repeated kills. Postgres: apt-get install postgresql.
test-all: .venv/installed
	python -m pytest -m slow

# The contract on a noise type of your own: make contract NOISE=blink:Blink, where Python finds blink.py.
contract: .venv/installed
	$(if $(NOISE),,$(error say which noise type: make contract NOISE=module:Class))
	python -m pytest tests/test_noise_contract.py --noise $(NOISE) -k $(NOISE)

bench: .venv/bench-installed
	python -m benchmarks.speed

docs: .venv/installed
	python -m study.catalogue

lint: .venv/installed
	ruff check .
	ruff format --check .
	mypy

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/bench-installed: .venv/installed requirements-bench.txt
	.venv/bin/python -m pip install --quiet -r requirements-bench.txt
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache results
