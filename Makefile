# A newcomer's two commands:
#   make train   trains ResNet-20 on real handwritten digits, in about two minutes
#   make test    runs every test on TensorFlow, JAX and Torch

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BACKENDS ?= tensorflow jax torch
INSTALL = $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
# On every core, where pip takes one; where nothing may be written later, each process would compile what it imports.
COMPILE = $(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true  # templates among the packages are no Python

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: train test bench-smoke lint format clean

train: $(VENV)/with-tensorflow
	$(VENV)/bin/keras-resnet train digits --backend tensorflow

test: $(VENV)/with-tests
	$(VENV)/bin/python tests/all_backends.py $(BACKENDS)

# Each benchmark at toy size: that it runs, not how fast.
bench-smoke: $(VENV)/with-tests
	$(VENV)/bin/python benchmarks/smoke.py

lint: $(VENV)/with-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/with-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found. Name one: make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/with-tensorflow: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing keras-resnet with TensorFlow; this takes a few minutes the first time."
	$(INSTALL) --editable '.[tensorflow]'
	$(COMPILE)
	@touch $@

# torch first and alone: it must be the pinned release before anything else asks for one.
$(VENV)/with-tests: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing keras-resnet with TensorFlow, JAX, Torch and what the tests need."
	$(INSTALL) torch
	$(INSTALL) --editable '.[tensorflow,jax,torch,export,test]'
	$(COMPILE)
	@touch $@ $(VENV)/with-tensorflow
