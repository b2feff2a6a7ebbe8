# Everything a person or a machine does with this checkout. `make` alone prints what there is.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first interpreter that is new enough; `make setup PYTHON3=/path/to/python` takes another.
PYTHON3 ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
PYTHON := $(VENV)/bin/python
BIN := $(VENV)/bin
NPM := $(shell command -v npm 2>/dev/null)
PORT ?= 8000
EDGES ?=
BRAINS ?=
JOBS ?= 2
PAGE_S ?= 120
ARGS ?=

WEB_SOURCES := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print 2>/dev/null)
ifneq ($(and $(NPM),$(wildcard web/package.json)),)
WEB_TOOLS := web/node_modules/.installed
WEB_PAGE := web/dist/.page
WEB_ALL := web/dist/.all
ASYNCAPI := tests/asyncapi/node_modules/.installed
# Without the page everything else still works, so neither a missing npm nor a slow registry stops it.
# A hung npm heeds no Ctrl-C: whatever the build started (`timeout` makes a group of it) is killed.
# The second after it lets make die of the signal first: with its child gone already it would complain.
define BUILD_PAGE
$(MAKE) -q -s page 2>/dev/null || { echo "building the page, $(PAGE_S) s at most …"; \
	timeout -s KILL $(PAGE_S) $(MAKE) -s page >.aivo/web.log 2>&1 </dev/null & page=$$!; \
	trap "kill -9 -$$page 2>/dev/null; sleep 1; exit 0" INT TERM; { wait $$page; } 2>/dev/null; case $$? in 0) ;; \
	137) echo "the page was not built within $(PAGE_S) s (PAGE_S=600 waits longer), see .aivo/web.log; starting without it" >&2 ;; \
	*) sed -n '/[Ee]rror\|ERR!/{p;q;}' .aivo/web.log >&2; \
	echo "the page could not be built, see .aivo/web.log; starting without it" >&2 ;; esac; }
endef
else
BUILD_PAGE = echo "npm is not installed: starting without the page" >&2
endif

.PHONY: help setup run test e2e examples test-image test-compose schema dashboards page proto proto-check fmt lint check bench siege chaos chaos-docker evaluate load web up upgrade backup restore down secrets lock clean

help: ## Print this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.tools ## Make .venv with everything that development needs, from pinned and hashed requirements

run: $(VENV)/$(if $(filter postgres,$(DATABASE))$(filter-out 1,$(BRAINS)),.tools,.runtime) ## Start the four services with a simulated class (PORT=8000 DEMO=1 LEARNERS=12 EDGES=4 BRAINS=2 DATABASE=postgres AIVO_DIR=.aivo)
	@umask 077; mkdir -p .aivo; $(BUILD_PAGE)
	@PORT='$(PORT)' DATABASE='$(DATABASE)' EDGES='$(EDGES)' BRAINS='$(BRAINS)' exec $(PYTHON) -m demo

test: $(VENV)/.tools $(WEB_TOOLS) $(ASYNCAPI) ## Run all tests (ARGS="tests/edge -k name" for some of the Python ones; JOBS=2 at a time)
	@failed=; $(PYTHON) -m pytest -q $(or $(ARGS),-n $(JOBS) --dist loadfile --no-loadscope-reorder) || failed=1; \
	$(if $(ARGS),,$(if $(WEB_TOOLS),$(NPM) --prefix web test,echo "tests of web/ are skipped: npm is not installed") || failed=1; $(MAKE) -s e2e || failed=1;) \
	test -z "$$failed"

e2e: $(VENV)/.tools $(WEB_TOOLS) ## Test the page in headless Chromium against the real services (skipped without Chromium)
	@$(if $(WEB_TOOLS),cd web && PYTHON=$(abspath $(PYTHON)) $(NPM) run -s e2e,echo "e2e: skipped, because npm is not installed")

examples: $(VENV)/.tools ## Fetch what the examples in Node and Go need, where those are installed, and test all examples
	@$(if $(NPM),$(NPM) --prefix examples/node ci --ignore-scripts --no-audit --no-fund,echo "npm is not installed" >&2)
	@if command -v go >/dev/null; then cd examples/go && go mod download; else echo "Go is not installed" >&2; fi
	$(PYTHON) -m pytest -q -rs tests/test_examples.py

test-image: $(VENV)/.tools ## Carry out the steps of the image's build (a minute, needs the network and root)
	$(PYTHON) -m pytest -q -m image tests/deploy

test-compose: $(VENV)/.tools ## Deploy compose.yaml on this machine's Docker engine and try it (some minutes; skipped without)
	$(PYTHON) -m pytest -q -rs -m compose $(or $(ARGS),tests/compose)

chaos-docker: $(VENV)/.tools ## Kill, pause and cut off containers of compose.scale.yaml while a class works (CHAOS_SEED=7)
	$(PYTHON) -m pytest -q -rs -m compose -o log_cli=true -o log_cli_level=INFO tests/compose/test_scale.py

schema: $(VENV)/.tools ## Write docs/protocol.schema.json and docs/asyncapi.json from the frames
	$(PYTHON) -m edge.frames.schema > docs/protocol.schema.json
	$(PYTHON) -m edge.frames.asyncapi > docs/asyncapi.json

dashboards: $(VENV)/.tools ## Write the Grafana dashboards from their tables, and the page of runbooks from docs/
	$(PYTHON) -m deploy.grafana.generate
	$(PYTHON) -m deploy.prometheus.runbooks

proto: $(VENV)/.tools ## Regenerate proto/gen from the contracts
	PYTHON=$(PYTHON) scripts/generate_proto.sh

proto-check: $(VENV)/.tools ## Fail when proto/gen is not what the contracts generate
	PYTHON=$(PYTHON) scripts/check_proto.sh

fmt: $(VENV)/.tools $(WEB_TOOLS) ## Format the code and repair what ruff can (changes files)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(if $(WEB_TOOLS),$(NPM) --prefix web run -s format)

lint: $(VENV)/.tools $(WEB_TOOLS) ## Report what is wrong with style, types, imports and contracts (changes nothing)
	@failed=; \
	try() { echo "---- $$*"; "$$@" || failed="$$failed [$$*]"; }; \
	try $(BIN)/ruff check .; \
	try $(BIN)/ruff format --check .; \
	try $(BIN)/mypy; \
	try $(BIN)/lint-imports; \
	try $(BIN)/buf lint; \
	$(if $(WEB_TOOLS),try $(NPM) --prefix web run -s lint;) \
	test -z "$$failed" || { echo "lint: failed:$$failed (make fmt repairs some of it)" >&2; exit 1; }

check: proto-check lint test web ## All that must hold before a change is handed in

bench: $(VENV)/.tools ## Measure the speed against the reference monolith, then the model's cost
	$(PYTHON) -m bench $(ARGS)
	$(PYTHON) -m bench.bench_model

siege: $(VENV)/.tools ## Attack a stack of its own with every kind of hostile client (ARGS="--soak 600" with all at once)
	$(PYTHON) -m siege $(ARGS)

chaos: $(VENV)/.tools ## Let everything go wrong and account for it (ARGS="--seed 1", "--database postgres", "--plant all")
	$(PYTHON) -m tests.chaos $(ARGS)

evaluate: $(VENV)/.tools ## Print how well the model predicts real learners (needs the research data)
	$(PYTHON) -m evaluation $(ARGS)

load: $(VENV)/.tools ## Load a running system: make load ARGS="--token … --connections 100"
	$(PYTHON) tests/load_test_websockets.py $(ARGS)

secrets: ## Make the secrets of compose.yaml in deploy/secrets, those that are not there yet
	@deploy/secrets.sh

up: secrets ## Build the image and start everything in compose.yaml (EDGES=2 for more), wait until it serves
	docker compose up --build --detach --wait $(if $(EDGES),--scale edge=$(EDGES))
	@docker compose config --services | grep -qx alertmanager || \
		echo "alerts reach nobody: docs/operations.md (\"Who is told\") says how to change that" >&2

upgrade: secrets ## Build the image and replace what `make up` started, one container at a time, where it changed
	docker compose build
	deploy/upgrade.sh

backup: ## Copy what must not be lost out of what `make up` started, into a new folder below backups/
	@deploy/backup.sh

restore: ## Put a backup back while nothing runs (FROM=backups/…)
	@deploy/restore.sh $(FROM)

down: ## Stop what `make up` started; its data stay
	docker compose down

page: $(WEB_PAGE)

web: $(WEB_ALL) ## Build the browser's page and library (needs node)
ifeq ($(WEB_ALL),)
	@echo "web: skipped, because npm is not installed" >&2
endif

lock: $(VENV)/.tools ## Pin the newest allowed requirements again (needs uv on the PATH)
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile pyproject.toml --upgrade -o requirements.txt $(LOCK)
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile pyproject.toml --upgrade --group dev -c requirements.txt \
		-o requirements-dev.txt $(LOCK)

clean: ## Remove everything that was made here: .venv, built pages, caches and the demo's data
	rm -rf $(VENV) web/node_modules web/dist examples/node/node_modules tests/asyncapi/node_modules examples/go/gen .aivo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# How requirements are pinned: for every supported Python, with hashes, naming no registry.
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate -q

$(PYTHON):
	@test -n "$(PYTHON3)" || { echo "Python 3.11 or newer is needed; name one with PYTHON3=/path/to/python" >&2; exit 1; }
	@test ! -e $(VENV) || { echo "$(VENV) is there, but its python cannot be run: see 'ls -l $(PYTHON)';" >&2; \
		echo "remove $(VENV) to have it made again" >&2; exit 1; }
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON3) cannot make virtual environments;" >&2; \
		echo "on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON3) -m venv $(VENV) || { rm -rf $(VENV); echo "no environment could be made in $(VENV): see above" >&2; exit 1; }

# Where Python finds what is here, also in an environment that an older checkout made. Relative, for the way here
# may hold letters that this locale does not know.
$(VENV)/.paths: Makefile | $(PYTHON)
	@cd $(VENV)/lib/python*/site-packages && printf '../../../..\n../../../../proto/gen\n../../../../client\n' >aivo_checkout.pth
	@touch $@

$(VENV)/.runtime: requirements.txt | $(VENV)/.paths
	@echo "installing what the services need …"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.tools: requirements-dev.txt | $(VENV)/.paths
	@echo "installing what development needs …"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

web/node_modules/.installed: web/package-lock.json web/package.json
	cd web && $(NPM) ci --no-audit --no-fund --fetch-retries=1 --fetch-timeout=20000
	@touch $@

# 168 packages, apart from those of web/, which the image and `make run` fetch too.
$(ASYNCAPI): tests/asyncapi/package-lock.json
	@$(NPM) --prefix tests/asyncapi ci --ignore-scripts --no-audit --no-fund --fetch-retries=1 --fetch-timeout=20000 && \
		touch $@ || echo "AsyncAPI's parser could not be fetched; its test is skipped" >&2

web/dist/.page: web/node_modules/.installed $(WEB_SOURCES)
	cd web && $(NPM) run build:page
	@mkdir -p $(@D) && touch $@

web/dist/.all: web/node_modules/.installed $(WEB_SOURCES)
	cd web && $(NPM) run build
	@touch $@ web/dist/.page
