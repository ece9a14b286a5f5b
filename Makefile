# On a bare machine with make and Python 3.11 or later, two commands do everything, set-up included:
#     make verify     derive, integrate, train, judge, report
#     make test       lint, types, architecture, tests

# The first interpreter that runs, is recent enough and can make environments; a name on the PATH alone may be a dead shim.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
    "$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: verify test setup clean readme sweeps mutants bench notebook

verify: setup
	$(BIN)/polyseme verify regimes/default.toml --out out/default
	$(BIN)/polyseme verify regimes/rate.toml --this-regime --out out/rate

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n auto

# The generated tables and figures of docs/, from the last `make verify`.
readme: setup
	$(BIN)/python -m polyseme.checks.multi_concept.documentation out/default/results.json out/rate/results.json

# Where the conditions of the claims are needed: five sweeps across their edges, some twenty minutes on two cores; after an interruption the same
# command goes on. Then the map of docs/sweeps.md; docs/examples/conditions.py reads thresholds off the tables.
SWEEPS := width penalty phase_map noise extras

sweeps: setup
	for name in $(SWEEPS); do $(BIN)/polyseme sweep regimes/sweeps/$$name.toml --out out/sweeps/$$name || exit; done
	$(BIN)/polyseme map out/sweeps/phase_map --x m --y lam --show share_learned
	cp out/sweeps/phase_map/maps/concepts_learned_are_those_foreseen-share_learned-m-lam.svg docs/phase_map.svg

# Mutation testing of the rules, the budget and the provenance, in a copy; docs/mutants.md explains what survives.
mutants: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,mutants]'
	rm -rf out/mutants && git clone --quiet . out/mutants && cp tests/mutmut.cfg out/mutants/setup.cfg
	cd out/mutants && for folder in theory sim checks regimes; do rm polyseme/$$folder && mv $$folder polyseme/; done # links are not copied
	cd out/mutants && SYMPY_GROUND_TYPES=python OMP_NUM_THREADS=1 ../../$(BIN)/mutmut run --max-children 2
	cd out/mutants && ../../$(BIN)/mutmut results

# Reduced systems against their NumPy form, and the simulator against a loop of modules, torch.func and JAX; benchmarks/RESULTS.md keeps what it printed.
bench: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.reduced_systems
	$(BIN)/python -m benchmarks.simulator
	$(BIN)/python -m benchmarks.ensemble

# From the derivation to a figure, to read and to change; `python docs/walkthrough.py` runs it without a page, and
# `marimo export html docs/walkthrough.py -o out/walkthrough.html` writes a static one.
notebook: setup
	$(BIN)/marimo edit docs/walkthrough.py

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "polyseme needs Python 3.11 or later with venv; install one, or type make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .ruff_cache .hypothesis docs/__marimo__
