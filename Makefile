# Two commands for a fresh machine: `make demo` and `make test`. Each does all of its set-up.
# What was set up is known by the content of what it was made of, so nothing old is taken for new.

SHELL := bash
PYTHON ?= python3
VENV := .venv
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
# The versions that the tests were run with; the package itself accepts any torch >= 2.10.
TORCH := torch==2.14.1 torchvision==0.29.1
PIP := $(BIN)/pip install --disable-pip-version-check --quiet
WORKERS ?= $(shell nproc)
# The names and the contents of files, in short, with what else decides what is made of them.
key = $(shell { echo '$(TORCH) $(CXX) $(POINT2MASK_CUDA_ARCHITECTURES)'; $(PYTHON) -V; sha256sum $(1); } | sha256sum | cut -c 1-16)
TORCH_BUILT := $(VENV)/torch-$(call key,/dev/null).done
BUILT := $(VENV)/build-$(call key,CMakeLists.txt pyproject.toml $$(find cmake cpp cuda -type f | sort)).done
DOCS_BUILT := $(DOCS_VENV)/docs-$(call key,pyproject.toml).done
CXX_FILES := $(shell find bench cpp cuda tests -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh')
EDITABLE = $(PIP) --no-build-isolation --config-settings=build-dir=build/editable $(WERROR) --editable
WERROR := --config-settings=cmake.define.POINT2MASK_WERROR=ON

.PHONY: help install demo test check test-builds test-long test-python test-examples test-cpp test-machines test-instructions test-wheel lint docs bench release-check gpu-day clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(TORCH_BUILT):
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH) 'numpy>=2'
	$(PIP) scikit-build-core pybind11 ninja
	rm -f $(VENV)/torch-*.done
	touch $@

# Editable: Python sources are used in place; the native library is rebuilt when a source changes.
$(BUILT): $(TORCH_BUILT)
	$(EDITABLE) '.[label,test,lint]'
	rm -f $(VENV)/build-*.done
	touch $@

# FastGeodis and any other peer can be added by hand: those that are missing are listed.
$(BUILT:.done=.bench): $(BUILT)
	$(EDITABLE) '.[bench]'
	touch $@

install: $(BUILT) ## Virtual environment, dependencies and an editable build in .venv

demo: install ## Generated images: points -> masks -> panoptic quality and pictures in out/demo
	$(BIN)/point2mask demo --out out/demo

# The longest stage keeps every core busy; the others run one after the other beside it.
STAGES := test-python lint test-cpp test-instructions docs
BUILD_STAGES := test-wheel test-machines
SIDE_BY_SIDE := $(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync=target
test: install $(DOCS_BUILT) ## Every property: lint, site, C++ and Python tests
	+@$(SIDE_BY_SIDE) $(STAGES:%=stage-%)

test-builds: install ## What else continuous integration runs: wheels, other compilers, other machines
	+@$(SIDE_BY_SIDE) $(BUILD_STAGES:%=stage-%)

test-long: test-builds test-examples ## What a release wants too: more examples and schedules

stage-%:
	@TIMEFORMAT='-- $*: %R s, of processor time %U + %S s'; time $(MAKE) --no-print-directory $*

check: install ## In a minute or so: lint and the unit tests of what differs from the branch main
	bash .ci/check $(abspath $(BIN))

# One thread each: the tests are many, and threads that wait for each other take a core from them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test-python: install ## Python tests
	POINT2MASK_CHROMIUM=$$(bash .ci/browser build/chromium) $(PYTEST)

test-examples: install ## The same properties on more examples, kernels under more schedules
	$(PYTEST) --long

test-cpp: install ## The C++ engine alone, under AddressSanitizer and UBSan
	cmake --preset asan > build/asan.log || (cat build/asan.log; exit 1)
	cmake --build --preset asan --target cpp_tests
	ctest --preset asan

test-machines: ## The C++ engine built by clang, and for aarch64 and run under qemu; where they are
	bash .ci/machines

test-wheel: install ## A wheel from a clean build: stable ABI, and the same binary on the oldest and the newest torch
	bash .ci/wheel $(abspath $(BIN))

test-instructions: install ## No operator executes more instructions than recorded; needs valgrind
	if command -v valgrind; then $(BIN)/python bench/instructions.py; else echo "no valgrind: left out"; fi

lint: install ## Formatting, lint and types of Python and C++
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	bash .ci/clang-tidy $(abspath $(BIN))

# The extra `docs` alone, without torch and without a build: the site is made from the sources.
$(DOCS_BUILT):
	$(PYTHON) -m venv $(DOCS_VENV)
	$(PYTHON) -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  print(*project['optional-dependencies']['docs'], sep='\n')" > $(DOCS_VENV)/requirements.txt
	$(DOCS_VENV)/bin/pip install --disable-pip-version-check --quiet -r $(DOCS_VENV)/requirements.txt
	rm -f $(DOCS_VENV)/docs-*.done
	touch $@

docs: $(DOCS_BUILT) ## The documentation site in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet

bench: $(BUILT:.done=.bench) ## Every operator beside its peers and the machine's floors, and its growth, into bench/results
	$(BIN)/python bench/run.py
	$(BIN)/python bench/scale.py

release-check: test-wheel ## All that a release needs and no account; says what is left for a person
	bash .ci/release-check $(abspath $(BIN))

gpu-day: install ## Tests, times, sanitizers and counters on a GPU, in ten minutes, into out/gpu_day
	$(BIN)/python bench/gpu_day.py --out out/gpu_day

clean: ## Remove builds (the virtual environment stays)
	rm -rf build dist out
