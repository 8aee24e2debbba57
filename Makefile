# Python 3.9, 3.10 or 3.11; name another with make PYTHON=... setup
PYTHON ?= $(shell for p in python3.11 python3.10 python3.9 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] < (3, 12))' 2>/dev/null \
	&& { echo $$p; break; }; done)
RUN := .venv/bin/python

.PHONY: setup demo test test-slow lint wheel rd bench web

setup: .venv/installed

.venv/installed: setup.cfg constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] < (3, 12))' 2>/dev/null || \
	  { echo "balle2017 needs Python 3.9, 3.10 or 3.11, and none was found: install one, or name it with make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing TensorFlow and what else is needed into .venv, which takes some minutes:" >&2
	.venv/bin/pip install --disable-pip-version-check --editable '.[test]' --constraint constraints.txt
	@touch $@

demo: setup
	$(RUN) examples/demo.py

test: setup
	$(RUN) -m pytest -q tests

test-slow: setup
	$(RUN) -m pytest -q -m slow tests

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check

# What was built before would be packed, too.
wheel: setup
	rm -rf build
	.venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

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
