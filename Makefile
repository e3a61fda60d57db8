# `make study` runs the main job, `make test` the tests; both set up all they need in .venv. `make help` lists the rest.

PRESET ?= quick
PRECISION ?= auto
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
# `mlflow run` finds python by it; the lines below name theirs, since make 3.81 (macOS) looks for
# commands where the user's own PATH says.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# A relative address: MLflow's default is percent-encoded, and makes a second folder of that name.
study report doctor ui: export MLFLOW_TRACKING_URI ?= sqlite:///mlflow.db

.PHONY: study plan doctor report ui test test-all test-gpu contract audit bench docs lint clean

study: .venv/installed  ## run the study and write its report: make study PRESET=smoke
	$(BIN)/mlflow run . -e study --env-manager local --experiment-name dropout-study -P preset=$(PRESET) -P precision=$(PRECISION)

plan: .venv/installed  ## say what a study would cost; run nothing
	$(BIN)/python -m study plan --preset $(PRESET) --precision $(PRECISION)

doctor: .venv/installed  ## check what a study needs, and say what to do
	$(BIN)/python -m study doctor

report: .venv/installed  ## write the report again, from the tracking store
	$(BIN)/python -m study report

ui: .venv/installed  ## the runs in a browser: make ui PORT=5001
	@exec $(BIN)/python -m study ui --port $(PORT)

test: lint  ## lint, types and tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# About 20 minutes on 2 cores. On Debian: apt-get install postgresql chromium chromium-driver.
test-all: .venv/installed  ## what needs minutes, a cluster, a database or a browser
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile --no-loadscope-reorder

test-gpu: .venv/installed  ## what needs a CUDA device; skipped where there is none
	$(BIN)/python -m pytest -m gpu -rs

# The contract on a noise type of your own: make contract NOISE=blink:Blink, where Python finds blink.py.
contract: .venv/installed  ## the contract on a type of your own: make contract NOISE=module:Class
	$(if $(NOISE),,$(error say which noise type: make contract NOISE=module:Class))
	$(BIN)/python -m pytest tests/models/test_noise_contract.py --noise $(NOISE) -k $(NOISE)

# Known vulnerabilities in what requirements.txt installs; asks PyPI. Strict: a package that was not checked is no pass.
audit: .venv/installed  ## known vulnerabilities of the dependencies
	@$(BIN)/pip-audit --strict --progress-spinner off -r requirements.txt || { \
	echo "audit: not passed. Above stands a vulnerability (raise that version in requirements.txt), or what could not be" \
	"checked: then the package index here does not serve PyPI's list of vulnerabilities; try again where it does." >&2; exit 1; }

bench: .venv/bench-installed  ## training speed against other trainers
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.noise_types
	$(BIN)/python -m benchmarks.whole_study
	$(BIN)/python -m benchmarks.gpu

docs: .venv/installed  ## write the catalogue of noise types, docs/noise.md
	$(BIN)/python -m docs.noise_catalogue

lint: .venv/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The notebook's outputs, run again; a test compares them with what it shows when it runs.
notebook: .venv/installed  ## run docs/notebook.ipynb and keep what it shows
	$(BIN)/jupyter execute --inplace docs/notebook.ipynb

.PHONY: notebook help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/bench-installed: .venv/installed requirements-bench.txt
	$(BIN)/python -m pip install --quiet -r requirements-bench.txt
	touch $@

clean:  ## remove the environment and the results
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache results
