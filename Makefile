# Needs Python 3.11 or later, make and, the first time, a package index. Everything else is made here:
# .venv holds appserve (editable) and the tools, .bench holds the peers that `make bench` compares with.

PYTHON  ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
             $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV    ?= .venv
BENCH   ?= .bench
# Holds a compiled build with the tools to test it; empty: make bench leaves that build out.
COMPILED ?= .compiled
BIND    ?= 127.0.0.1:8000
WORKERS ?= 4
# Tests mostly wait, so more of them than there are cores run side by side; a file's stay together.
TESTERS ?= 4

PYTEST := -m pytest --numprocesses $(TESTERS) --dist loadfile
PIP := -m pip install --quiet --disable-pip-version-check
COMPILED_TESTS := tests/http tests/connection tests/wsgi tests/asgi tests/workers tests/conformance \
                  tests/cli/test_command.py tests/integration/test_frameworks.py
# Each of these takes the number of its rounds from tests/soak.py.
SOAKED := tests/master/test_roster_fuzz.py tests/conformance/test_fuzz.py tests/conformance/test_wire.py \
          tests/conformance/test_nginx.py tests/integration/test_reload.py
COMPILED_BUILD := $(if $(COMPILED),$(if $(shell command -v cc),$(COMPILED)/.installed))

.PHONY: help run test test-compiled soak lint check format docs fuzz bench bench-tls build wheel clean
.DELETE_ON_ERROR:

help:
	@echo "make run      serve the demo application on http://$(BIND) with $(WORKERS) workers"
	@echo "make test     every test"
	@echo "make lint     ruff and mypy --strict: seconds"
	@echo "make check    the same, and the unit tests: a minute or two"
	@echo "make format   let ruff rewrite what it can"
	@echo "make docs     write the generated pages again"
	@echo "make fuzz     a minute of random requests against the HTTP core (ARGS='--seconds 600' for longer)"
	@echo "make soak     the tests that try random things, for an hour: roster, corpus, Nginx, reloads"
	@echo "make bench    compare with granian, uvicorn, gunicorn, bjoern (ARGS='--quick' for a short look)"
	@echo "make bench-tls   the same over TLS (needs wrk)"
	@echo "make build    the wheel and the source distribution, in dist/"
	@echo "make wheel    a wheel whose request path is compiled, in dist/ (needs a C compiler)"
	@echo "make test-compiled   the tests of what is compiled, on the compiled build"
	@echo "make clean    remove everything that make has made"

# exec: the server takes the place of the shell, so that a signal for it reaches it.
run: $(VENV)/.installed
	@exec $(VENV)/bin/appserve appserve.demo:app --bind $(BIND) --workers $(WORKERS) $(ARGS)

test: $(VENV)/.tools
	@$(VENV)/bin/python $(PYTEST) $(ARGS)

lint: $(VENV)/.tools
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

check: lint
	@$(VENV)/bin/python $(PYTEST) -m "not integration" $(ARGS)

format: $(VENV)/.tools
	@$(VENV)/bin/ruff check --fix-only
	@$(VENV)/bin/ruff format

docs: $(VENV)/.tools
	@$(VENV)/bin/python -m tests.config.document
	@$(VENV)/bin/python -m tests.conformance.document

fuzz: $(VENV)/.tools
	@$(VENV)/bin/python -m tests.conformance.fuzz $(ARGS)

soak: $(VENV)/.tools
	@SOAK=1 $(VENV)/bin/python $(PYTEST) $(SOAKED) $(ARGS)

bench: $(BENCH)/.installed $(COMPILED_BUILD)
	@exec $(BENCH)/venv/bin/python -m tests.benchmarks --results $(BENCH) $(COMPILED_BUILD:%/.installed=--compiled %) $(ARGS)

bench-tls: $(BENCH)/.installed
	@exec $(BENCH)/venv/bin/python -m tests.benchmarks.tls --results $(BENCH)/tls $(ARGS)

build: $(VENV)/.tools
	@rm -rf build dist
	@$(VENV)/bin/python -m build --outdir dist .

# pip builds in an environment of its own, with mypy in it; nothing of it is left.
wheel: $(VENV)/.made
	@rm -rf build dist/*.whl
	@APPSERVE_COMPILE=1 $(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@rm -rf build
	@for wheel in dist/*.whl; do case $$wheel in \
	  *-none-any.whl) echo "$$wheel is pure Python: no C compiler, or no headers of Python" >&2; exit 1;; \
	  *) echo "$$wheel is compiled";; esac; done

# What holds on the source has to hold on the compiled build, where types are checked when it runs and what is
# replaced in a test is not always what is called (the marker `pure`).
test-compiled: $(COMPILED)/.installed
	@$(COMPILED)/bin/python $(PYTEST) -m "not pure" $(COMPILED_TESTS) $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) $(COMPILED) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is touched last, so that an installation that failed is tried again, and is older than
# pyproject.toml after an edit of it, so that the change is installed.

$(VENV)/.made:
	@$(if $(PYTHON),,echo "appserve needs Python 3.11 or later: none was found (make PYTHON=/path/to/python3.13)" >&2; exit 1)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(VENV)/bin/python $(PIP) --editable .
	@touch $@

# Dependency groups need pip 25.1; a new environment has the pip of its Python.
$(VENV)/.tools: $(VENV)/.installed
	$(VENV)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(VENV)/bin/python $(PIP) --group check --group test
	@touch $@

$(COMPILED)/.installed: pyproject.toml setup.py $(shell find src -name '*.py')
	@$(MAKE) --no-print-directory wheel
	$(PYTHON) -m venv --clear $(COMPILED)
	$(COMPILED)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(COMPILED)/bin/python $(PIP) dist/*.whl --group test
	@touch $@

$(BENCH)/.installed: pyproject.toml
	@$(if $(PYTHON),,echo "appserve needs Python 3.11 or later: none was found (make PYTHON=/path/to/python3.13)" >&2; exit 1)
	$(PYTHON) -m venv $(BENCH)/venv
	$(BENCH)/venv/bin/python $(PIP) --upgrade "pip>=25.1"
	$(BENCH)/venv/bin/python $(PIP) --editable . --group bench
	@$(BENCH)/venv/bin/python $(PIP) --group bench-optional >$(BENCH)/bjoern.log 2>&1 \
	  || echo "bjoern is left out: it needs the headers of libev (libev-dev); see $(BENCH)/bjoern.log" >&2
	@touch $@
