# make demo | test | test-slow | lint | bench: each sets up what it needs. PYTHON chooses the interpreter of the venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile # much of a test is waiting for processes

.PHONY: demo test test-slow lint bench constraints clean

demo: $(READY)
	$(BIN)/penstock demo --out build/demo

test: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(PYTEST)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE) $(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m tests.bench --write $(BENCH)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) .ci/make_venv.py $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

constraints: $(READY)
	{ head -n 1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf build $(VENV)
