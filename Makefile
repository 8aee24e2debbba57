# Python 3.9 or newer; the first that are looked for are those that TensorFlow 2.14
# comes with. Name another with make PYTHON=... setup
PYTHON ?= $(shell for p in python3.11 python3.10 python3.14 python3.13 python3.12 python3.9 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null \
	&& { echo $$p; break; }; done)
# make VENV=FOLDER PYTHON=... has several beside each other
VENV ?= .venv
RUN := $(VENV)/bin/python
NOT_FOUND = none was found: install one, or name it with make PYTHON=/path/to/python
# Whoever named one is told that it is this.
ifneq ($(origin PYTHON), file)
NOT_FOUND = $(if $(PYTHON),PYTHON=$(PYTHON) does not run as one,PYTHON is empty)
endif

.PHONY: setup demo test test-slow lint wheel rd bench web

setup: $(VENV)/installed

$(VENV)/installed: setup.cfg constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || \
	  { echo "balle2017 needs Python 3.9 or newer, and $(NOT_FOUND)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing what is needed into $(VENV), which takes some minutes where TensorFlow is part of it:" >&2
	$(VENV)/bin/pip install --disable-pip-version-check --editable '.[test]' --constraint constraints.txt
	@touch $@

demo: setup
	$(RUN) examples/demo.py

test: setup
	$(RUN) -m pytest -q tests

test-slow: setup
	$(RUN) -m pytest -q -m slow tests

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

# What was built before would be packed, too.
wheel: setup
	rm -rf build
	$(VENV)/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# make rd IMAGES=FOLDER, if the Kodak photographs are not in ../shared/images/kodak
rd: setup
	$(RUN) experiments/rd.py $(if $(IMAGES),--images '$(IMAGES)')

bench: setup
	$(RUN) benchmarks/run.py

# For any host of static files. What developers change in web/ is first bundled, which needs Node.js.
web: setup
	@if command -v npm >/dev/null; then cd web && npm ci --silent && npm run --silent check && npm run --silent build; fi
	rm -rf build/web
	$(RUN) -m balle2017 web --out build/web
