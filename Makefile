# make run    install what is missing, start everything on this machine, process the sample documents
# make test   the tests
.DEFAULT_GOAL := help
PYTHON := $(or $(PYTHON),$(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done))
BIN := .venv/bin
# these start no workers, and run in a process for each core, four at most
APART := tests/unit tests/contract tests/corpus tests/droplet
SAMPLES := $(or $(ASEAGI_HOME),$(HOME)/.aseagi)/samples

.PHONY: help run test lint chaos bench image-check machines-check clean programs test-programs

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: programs .venv/installed  ## install what is missing, start everything here, process the sample documents
	@$(BIN)/aseagi samples $(SAMPLES)
	@exec $(BIN)/aseagi up $(SAMPLES)

test: test-programs .venv/installed-dev  ## run the tests
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(APART); apart=$$?; \
	$(BIN)/pytest $(APART:%=--ignore=%) && exit $$apart

lint: .venv/installed-dev  ## style, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

chaos: test-programs .venv/installed-dev  ## break everything while documents go through, 20 seeds (half an hour)
	@$(BIN)/pytest -m long tests/faults
	@$(BIN)/python -m tests.faults.chaos

bench: programs .venv/installed-dev  ## run the benchmarks (minutes)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit; done

image-check: test-programs .venv/installed-dev  ## run the worker image's steps in a clean Debian root, and join from there (root; minutes)
	@command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
	@$(BIN)/pytest -m image tests/image -s

machines-check: test-programs .venv/installed-dev  ## a Droplet and two rented machines on this one, with documents through both (root)
	@$(BIN)/pytest -m machines tests/instance tests/fleet -s

clean:  ## remove the virtual environment (documents in ASEAGI_HOME stay)
	rm -rf .venv

programs:
	@PYTHON=$(PYTHON) ./programs.sh

test-programs:
	@PYTHON=$(PYTHON) ./programs.sh test

.venv/bin/python: | programs
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 5; }
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/installed-dev: setup.cfg pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,trocr]'
	@touch .venv/installed $@
