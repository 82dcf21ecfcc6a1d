PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo install check lint types imports test test-all lock picture clean

demo: install
	@$(BIN)/mlxring demo $(ARGS)

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

check: lint types imports test

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/pyright

imports: install
	$(BIN)/lint-imports

test: install
	$(BIN)/pytest

test-all: install
	$(BIN)/pytest -m ''

picture: install
	$(BIN)/python -m docs.picture

# One resolution for every platform; the hosts' list is the rank's part of it. MLX's builds for the CPU and
# for CUDA exclude each other, so hosts with a card have a list of their own.
lock:
	uv pip compile pyproject.toml --universal --generate-hashes --extra all --extra dev \
	  -q -o requirements.lock
	uv pip compile pyproject.toml --universal --generate-hashes --extra rank \
	  --constraint requirements.lock -q -o ringcore/requirements.lock
	uv pip compile pyproject.toml --universal --generate-hashes --extra cuda \
	  --constraint requirements.lock -q -o ringcore/requirements-cuda.lock

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache
