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

unit: .venv/.ready
	scripts/with-display $(BIN)/python -m pytest

docs: .venv/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group docs
	$(BIN)/sphinx-build -W --keep-going -b html docs site

bench: .venv/.ready
	$(BIN)/python -m benchmarks

.venv/.ready: pyproject.toml scripts/setup
	scripts/setup

clean:
	rm -rf .venv site demo-output
