# On a bare machine with make and Python 3.11 or later, two commands do everything, set-up included:
#     make verify     derive, integrate, train, judge, report
#     make test       lint, types, architecture, tests

PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell command -v $(name))))
BIN := .venv/bin
READY := .venv/.ready

.PHONY: verify test setup clean readme

verify: setup
	$(BIN)/polyseme verify regimes/default.toml --out out/default

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest

# The table of results in the README, from the last `make verify`.
readme: setup
	$(BIN)/python -m checks.readme out/default/results.json

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"polyseme needs Python 3.11 or later, got {sys.version.split()[0]}; type make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .ruff_cache .hypothesis
