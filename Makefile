# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
INSTALLED = $(VENV)/.installed
READY = $(VENV)/.ready

unexport PYTHONDONTWRITEBYTECODE  # each process of the tests would compile the package anew

.PHONY: demo test release-check lint install docs wheel clean

install: $(READY)

# the package and what it needs to run, nothing else
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $(INSTALLED)

$(READY): $(INSTALLED)
	$(PIP) -e ".[dev]"
	touch $(READY)

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal

# what is shipped: the wheel in an environment without the checkout, the notebook, and systems that are not Linux
release-check: $(READY)
	$(BIN)/python -m pytest -m slow tests/release

lint: $(READY)
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy

# the site of the docs, in build/site; a broken link is an error
docs: $(INSTALLED)
	$(PIP) -e ".[docs]"
	$(BIN)/mkdocs build --quiet

wheel: $(READY)
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build
