# Two targets do everything: `make run` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install run test fast lint nightly bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $(STAMP)

run: install
	@exec $(BIN)/everfold up --demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fast: install
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not ray and not browser and not node and not simulation"

# What starts whole services has the machine to itself; the rest shares it.
test: lint
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not ray and not browser and not node"
	$(BIN)/pytest -q -m "ray or browser or node"

nightly: install
	$(BIN)/python -m simulate --seeds 0..9999 --processes 2
	$(BIN)/python -m benchmarks.off_policy --logs 2000

bench: install
	$(BIN)/everfold bench

clean:
	rm -rf $(VENV) build *.egg-info
