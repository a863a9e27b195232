# Everything happens in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
NATIVE := $(wildcard csrc/*/*.h csrc/*/*.cpp csrc/*/*/*.h csrc/*/*/*.cpp csrc/*/*/*.cu)
STANDIN := $(wildcard tests/gpu_standin/*.cpp tests/gpu_standin/runtime/*)

# The interpreter that has torch for this GPU; the check makes an environment of its own from it.
GPU_PYTHON ?= $(or $(wildcard $(BIN)/python),$(PYTHON))
OUT ?= build/gpu

# Of the packages that are installed, few modules are ever imported: Python compiles those, once, when they are.
export PYTHONDONTWRITEBYTECODE :=

# The checkout is for this machine: its CUDA kernels are compiled for the GPUs that are here, or for one architecture where
# there is none, which takes a fifth of the time. A wheel has all: `make cuda` compiles those.
GPUS := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u | paste -sd ';')
export ABAWKIT_CUDA_ARCHITECTURES ?= $(or $(GPUS),90)

.PHONY: demo test slow distribution lint check-types kernels cuda pytest floor-headers gpu gpu-standin soak fuzz bench docs site picture clean

demo: $(VENV)/installed  ## Install, then run every step on synthetic faces.
	$(BIN)/abawkit demo --out $(DEMO) $(if $(wildcard $(DEMO)),--force)

# --output-sync keeps the output of each target together.
test:  ## What every change must pass; `make slow` has what takes long.
	$(MAKE) --jobs=2 --output-sync=target lint check-types floor-headers
	$(MAKE) pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE) $(STANDIN)

check-types: $(VENV)/installed-dev
	$(BIN)/mypy

kernels: $(VENV)/build-tools  ## The tests of the kernels alone, under sanitizers; the CUDA kernels run on the host.
	$(BIN)/cmake -S . -B build/kernels -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DABAWKIT_TESTS=ON -DABAWKIT_SANITIZE=ON -DABAWKIT_CUDA=skip >/dev/null
	$(BIN)/cmake --build build/kernels
	$(BIN)/ctest --test-dir build/kernels --output-on-failure --parallel 2

cuda: $(VENV)/build-tools  ## Compiles the CUDA kernels for every architecture that a wheel is for.
	$(BIN)/cmake -S . -B build/cuda -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DABAWKIT_CUDA=require >/dev/null
	$(BIN)/cmake --build build/cuda --target cuda_kernels

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadscope --no-loadscope-reorder --durations=10
pytest: $(VENV)/installed-dev floor-headers
	$(PYTEST) -m "not slow"

slow: kernels $(VENV)/installed-dev  ## Tests that are too long for `make test`: kernels, several processes, commands of all pages.
	$(PYTEST) -m slow

# The binding is compiled against the headers of the oldest torch that is promised. Every wheel of it has the same ones;
# that for Linux on ARM is a small one.
FLOOR := build/torch-2.10
floor-headers: $(FLOOR)/torch/include  ## Headers of the oldest torch that is promised.
$(FLOOR)/torch/include: | $(VENV)/bin/python
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	  --python-version 3.11 --platform manylinux_2_28_aarch64 --dest $(FLOOR)/wheel torch==2.10.0
	$(BIN)/python -c "import pathlib, zipfile; \
	  wheel = zipfile.ZipFile(*pathlib.Path('$(FLOOR)/wheel').glob('*.whl')); \
	  wheel.extractall('$(FLOOR)', [name for name in wheel.namelist() if name.startswith('torch/include/')])"
	rm -r $(FLOOR)/wheel

distribution: $(VENV)/installed-dev  ## Builds sdist and wheel, installs them outside the tree and runs them, on each Python found.
	$(BIN)/python tests/check_distribution.py

gpu:  ## What a machine with a GPU must show, in eight minutes; DRY=1 runs it on a CPU. WHEELS=folder, ONLY="build tests".
	$(GPU_PYTHON) -m benchmarks.gpu.check --out $(OUT) $(if $(WHEELS),--wheels $(WHEELS)) $(if $(DRY),--dry) \
	  $(if $(ONLY),--only $(ONLY))

# CUDA builds of the oldest torch that is promised and of the newest, without NVIDIA's libraries: csrc/README.md.
# Assertions stay plain, as one that fails must not print a tensor whose numbers no kernel wrote.
STANDIN_PYTEST := env ABAWKIT_GPU_STANDIN=1 STANDIN_GPUS=2 OMP_NUM_THREADS=1 pytest -p no:cacheprovider \
  --assert=plain --tb=native
STANDIN_TESTS := tests/ops/test_gpu.py
gpu-standin:  ## The GPU path on CUDA builds of torch with a stand-in for the CUDA runtime; 1.5 GB of wheels.
	$(PYTHON) tests/gpu_standin/prepare.py build/gpu-standin/floor torch==2.10.0
	$(PYTHON) tests/gpu_standin/prepare.py build/gpu-standin/newest torch build/gpu-standin/floor
	for folder in floor newest; do \
	  export PATH="$(CURDIR)/build/gpu-standin/$$folder/bin:$$PATH"; \
	  $(STANDIN_PYTEST) tests/gpu_standin || exit 1; \
	  $(STANDIN_PYTEST) -p tests.gpu_standin.plugin -m gpu $(STANDIN_TESTS) || exit 1; \
	done

soak: $(VENV)/installed-dev  ## An hour of kills, requeues and hangs; all runs must end with the same weights.
	ABAWKIT_SOAK=1 OMP_NUM_THREADS=1 $(BIN)/pytest tests/faults/test_resume.py tests/faults/test_processes.py \
	  tests/faults/test_hangs.py tests/faults/test_slurm.py
	$(BIN)/python -m tests.faults.soak --kills 200 --requeues 20 --hangs 20

fuzz: $(VENV)/installed-dev  ## Broken input, more of it than in the tests.
	ABAWKIT_FUZZ_EXAMPLES=20000 OMP_NUM_THREADS=1 $(BIN)/pytest -n auto tests/fuzz

bench: $(VENV)/installed-dev  ## The speed measurements of docs/benchmarks.md.
	$(BIN)/python benchmarks/labels.py
	$(BIN)/python benchmarks/predict_memory.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/smoothing.py
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/network.py --compile --others --bfloat16
	$(BIN)/python benchmarks/profile_network.py
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/sequence.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/checkpoints.py
	$(BIN)/python -m benchmarks.frozen_stage
	$(BIN)/python benchmarks/processes.py
	$(BIN)/python benchmarks/waiting_threads.py
	$(BIN)/python -m benchmarks.interval_coverage
	$(BIN)/python -m benchmarks.shrinkage

docs: $(VENV)/installed-dev  ## The pages that are generated from the code.
	$(BIN)/python docs/generate.py

site: $(VENV)/installed-docs  ## The pages as a site, in build/site; a warning is an error.
	$(BIN)/sphinx-build -q -W --keep-going -d build/site-doctrees -c docs . build/site

picture: $(VENV)/installed-dev  ## The picture of rendered frames.
	$(BIN)/python -c "from abawkit.synth import contact_sheet; contact_sheet().save('docs/frames.png', optimize=True)"

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# pip refuses Pythons that are too old, in its own words.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/build-tools: constraints.txt | $(VENV)/bin/python
	$(PIP) cmake ninja pybind11 setuptools
	touch $@

# torch comes first: the native operators are compiled against the one that is there, by tools that are there too.
$(VENV)/installed: pyproject.toml setup.py constraints.txt CMakeLists.txt $(NATIVE) $(VENV)/build-tools
	$(PIP) torch
	$(PIP) --no-build-isolation --editable .
	touch $@

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
	  print(*p['project']['optional-dependencies']['docs'], sep='\n')" > $(VENV)/docs.txt
	$(PIP) --requirement $(VENV)/docs.txt
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
	  print(*p['project']['optional-dependencies']['dev'], sep='\n')" > $(VENV)/dev.txt
	$(PIP) --requirement $(VENV)/dev.txt
	touch $@
