# Two commands are enough: `make demo` and `make test`.  Both set up .venv first.
.PHONY: demo test lint unit docs bench clean
BIN := .venv/bin

demo: .venv/.ready
	$(BIN)/napari-diffmap demo --out demo-output

test: lint unit

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate napari-diffmap

# A process a core, and in each a thread: threads that wait for each other would take the cores.
unit: .venv/.ready
	OMP_NUM_THREADS=1 scripts/with-display $(BIN)/python -m pytest -n auto --dist worksteal

docs: .venv/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group docs
	$(BIN)/sphinx-build -W --keep-going -b html docs site

bench: .venv/.ready
	$(BIN)/python -m benchmarks

.venv/.ready: pyproject.toml scripts/setup
	scripts/setup

clean:
	rm -rf .venv site demo-output
