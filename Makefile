# Everything happens in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test lint check-types pytest bench picture clean

demo: $(VENV)/installed  ## Install, then run the whole line on drawn faces.
	$(BIN)/abawkit demo --out $(DEMO) $(if $(wildcard $(DEMO)),--force)

test: lint check-types pytest  ## Everything that a change must pass.

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/installed-dev
	$(BIN)/mypy

pytest: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadscope

bench: $(VENV)/installed-dev  ## The figures of README.
	$(BIN)/python benchmarks/labels.py
	$(BIN)/python benchmarks/predict_memory.py
	$(BIN)/python benchmarks/startup.py

picture: $(VENV)/installed-dev  ## README's picture of drawn frames.
	$(BIN)/python -c "from abawkit.synth import contact_sheet; contact_sheet().save('docs/frames.png', optimize=True)"

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# pip refuses Pythons that are too old, in its own words.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml setup.py constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
