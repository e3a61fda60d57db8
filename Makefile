# `make study` runs the main job, `make test` the tests; both set up all they need in .venv.

PRESET ?= quick
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: study plan report ui test contract audit bench docs lint clean

study: .venv/installed
	mlflow run . -e study --env-manager local --experiment-name dropout-study -P preset=$(PRESET)

plan: .venv/installed
	python -m study plan --preset $(PRESET)

report: .venv/installed
	python -m study report

ui: .venv/installed
	mlflow ui --host 127.0.0.1

test: lint
	python -m pytest

# The contract on a noise type of your own: make contract NOISE=blink:Blink, where Python finds blink.py.
contract: .venv/installed
	$(if $(NOISE),,$(error say which noise type: make contract NOISE=module:Class))
	python -m pytest tests/test_noise_contract.py --noise $(NOISE) -k $(NOISE)

# Known vulnerabilities in what requirements.txt installs; asks PyPI. Strict: a package that was not checked is no pass.
audit: .venv/installed
	@pip-audit --strict --progress-spinner off -r requirements.txt || { \
	echo "audit: not passed. Above stands a vulnerability (raise that version in requirements.txt), or what could not be" \
	"checked: then the package index here does not serve PyPI's list of vulnerabilities; try again where it does." >&2; exit 1; }

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
