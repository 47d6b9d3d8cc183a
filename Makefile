# All tasks of developers and CI jobs; `make` without arguments lists them.

.DEFAULT_GOAL := help
.PHONY: help run test lint types style format messages pytest hosts docs matrix soak bench clean venv venv-test node

PORT ?= 8000
HOST ?= 127.0.0.1
ARGS ?=
export PORT HOST

BIN := .venv/bin

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: venv ## start the site with demo data on http://localhost:8000 (PORT=… changes the port)
	@scripts/run

test: lint pytest ## check and test everything but what hosts and matrix test

lint: venv-test node ## check form, types, rooms, migrations, translations, the schema and JavaScript, without the tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types style

# The types take as long as all the rest.
types:
	$(BIN)/mypy

style:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	DEBUG=1 $(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python scripts/messages --check
	$(BIN)/python scripts/protobuf --check
	$(BIN)/node node_modules/typescript/bin/tsc
	$(BIN)/python scripts/types --check

pytest: venv-test node ## run the tests (ARGS='-k word' chooses; SOAK=1: all generated commands)
	@scripts/pytest $(ARGS)

hosts: venv-test node ## test the app in other projects and on other servers
	@scripts/pytest -p no:cacheprovider -m hosts tests $(ARGS)

docs: venv-test ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --fresh-env --quiet \
		--doctree-dir build/doctrees docs build/docs
	@echo "Open build/docs/index.html."

matrix: venv-test ## test the app on other versions of Python and Django (ARGS='3.13/6.1' chooses)
	@scripts/matrix $(ARGS)

soak: venv-test ## the simulation, and the tests of faults and of generated input, for much longer
	@SOAK=1 scripts/pytest -s tests/simulation/test_simulation.py tests/faults tests/integration/test_fuzz.py tests/security/test_bytes.py $(ARGS)

bench: venv-test ## measure beside other push servers (ARGS=--full: up to 10 000 sockets)
	@PATH="$$PATH:$(CURDIR)/$(BIN)" npm install --prefix benchmarks/peers --no-audit --no-fund --silent || true
	@PATH="$$PATH:$(CURDIR)/$(BIN)" $(BIN)/python -m benchmarks $(ARGS)

messages: venv-test ## extract the texts into the translations, and compile these
	$(BIN)/python scripts/messages

format: venv-test ## put the Python files into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove everything that make has made, except the database
	rm -rf .venv .matrix node_modules build dist staticfiles *.egg-info \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@scripts/venv requirements.txt

venv-test:
	@scripts/venv requirements-test.txt

node: venv-test
	@scripts/node
