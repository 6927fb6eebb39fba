# Two commands to start with:
#   make train   trains ResNet-20 on real handwritten digits, in about two minutes
#   make test    runs every test on TensorFlow, JAX and Torch

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BACKENDS ?= tensorflow jax torch
INSTALL = $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
# On every core, where pip uses one. Without it, where the environment is read-only later, each process would compile
# what it imports. Nothing imports the packages' own tests.
COMPILE = $(VENV)/bin/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true  # packages hold templates that are not Python

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: train test bench-smoke lint format clean

train: $(VENV)/with-tensorflow
	$(VENV)/bin/keras-resnet train digits --backend tensorflow

test: $(VENV)/with-tests
	$(VENV)/bin/python tests/all_backends.py $(BACKENDS)

# Runs each benchmark at toy size, to check that it works; nothing is measured.
bench-smoke: $(VENV)/with-tests
	$(VENV)/bin/python benchmarks/smoke.py

lint: $(VENV)/with-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/with-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is required, but none was found. Name one: make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/with-tensorflow: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing keras-resnet with TensorFlow; this takes a few minutes the first time."
	$(INSTALL) --editable '.[tensorflow]'
	$(COMPILE)
	@touch $@

# torch is installed first and alone, so that it is the pinned release before another package requests one.
$(VENV)/with-tests: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing keras-resnet with TensorFlow, JAX, Torch and what the tests need."
	$(INSTALL) torch
	$(INSTALL) --editable '.[tensorflow,jax,torch,export,test]'
	$(COMPILE)
	@touch $@ $(VENV)/with-tensorflow
