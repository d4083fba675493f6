# The verbs of the project. `make help` lists them; `make run` and `make test` work in a fresh clone.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# What decides whether the native engine must be built again.
NATIVE := $(shell find crates proto -type f \( -name '*.rs' -o -name 'Cargo.toml' -o -name '*.proto' \) \
	-not -path '*/target/*' -not -path '*/tests/*' -not -path '*/benches/*' -not -path '*/examples/*' 2>/dev/null) \
	$(wildcard Cargo.toml Cargo.lock)
# The engine's module links against no Python, so it has nothing that cargo could test.
CRATES := --workspace --exclude raven-py
say = @printf '\033[1m▸ %s\033[0m\n'

##@ Use
.PHONY: run
run: $(VENV)/.native ## Start the demo: exchange, server and live view on this machine (first time: 3-6 min, later < 5 s)
	$(say) "raven --demo: the built-in exchange on loopback, no internet needed. Stop with Ctrl-C."
	@$(BIN)/raven --demo $(ARGS)

.PHONY: test
test: $(VENV)/.native $(VENV)/.dev ## Run every test, Rust and Python (first time: 5-10 min, later about 2 min)
	$(say) "Rust tests (the first time they are compiled: some minutes)"
	@cargo test -q --locked $(CRATES)
	$(say) "Python tests"
	@$(PY) -m pytest -q $(ARGS)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z][a-z0-9_ -]*:.*## / {printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Develop
.PHONY: dev-setup
dev-setup: $(VENV)/.native $(VENV)/.dev ## Prepare everything for development
	$(say) "ready; try: make dev"

.PHONY: dev
dev: lint check test-unit ## What to run before a review: lint, check and unit tests

.PHONY: build
build: $(VENV)/.run ## Build the wheel (abi3, one for every Python from 3.11 on) into dist/
	$(say) "building the wheel (first time 3-6 min)"
	@$(BIN)/maturin build --release --locked --out dist

.PHONY: fmt
fmt: $(VENV)/.dev ## Format all code
	@$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format . && cargo fmt --all

.PHONY: lint lint-ruff lint-types lint-rust
lint: lint-ruff lint-types lint-rust ## ruff, mypy --strict, clippy with warnings denied, rustfmt
lint-ruff: $(VENV)/.dev
	$(say) "ruff"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
lint-types: $(VENV)/.dev
	$(say) "mypy --strict"
	@$(BIN)/mypy
lint-rust:
	$(say) "rustfmt and clippy"
	@cargo fmt --all --check
	@cargo clippy -q --locked --workspace --all-targets -- -D warnings

.PHONY: check check-imports check-house check-stub check-generated
check: check-imports check-house check-stub check-generated ## House rules: imports, sizes, registration, stub, generated files
check-imports: $(VENV)/.native $(VENV)/.dev
	$(say) "import contracts"
	@$(BIN)/lint-imports --no-cache
check-house: $(VENV)/.native $(VENV)/.dev
	$(say) "house rules"
	@$(PY) -m pytest -q tests/unit/test_house.py
check-stub: $(VENV)/.native $(VENV)/.dev
	$(say) "the engine's stub says what the engine has"
	@$(PY) -m mypy.stubtest raven._core --ignore-disjoint-bases
check-generated: $(VENV)/.native $(VENV)/.dev
	$(say) "generated pages, protobuf stubs and pins are current"
	@$(PY) scripts/generate_docs.py --check
	@$(PY) -m raven.proto.generate --check
	@$(PY) scripts/lock.py --check

.PHONY: test-unit
test-unit: $(VENV)/.native $(VENV)/.dev ## Unit and contract tests
	@cargo test -q --locked -p raven-core
	@$(PY) -m pytest -q tests/unit $(wildcard tests/contract) $(ARGS)

.PHONY: test-integration
test-integration: $(VENV)/.native $(VENV)/.dev ## Integration and system tests: real sockets, whole programs
	@$(PY) -m pytest -q $(wildcard tests/integration tests/system) $(ARGS)

.PHONY: test-peers
test-peers: $(VENV)/.native $(VENV)/.peers ## Clients that others wrote against the built-in exchange (installs them first)
	@$(PY) -m pytest -q tests/integration/test_exchange_peers.py $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.native $(VENV)/.dev ## Inject every fault that has a test, with a table at the end (ARGS=--chaos: full length)
	@$(PY) scripts/chaos.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.native $(VENV)/.dev ## Write the generated pages of docs/reference
	@$(PY) scripts/generate_docs.py

.PHONY: proto
proto: $(VENV)/.dev ## Write the protobuf stubs in src/raven/proto
	@PYTHONPATH=src $(PY) -m raven.proto.generate

.PHONY: lock
lock: $(VENV)/.run ## Write requirements/*.txt: the newest versions that pyproject.toml allows
	@$(PY) scripts/lock.py

##@ Measure
BENCHES := bench bench-all bench-grpc bench-latency bench-memory bench-high-freq
.PHONY: $(BENCHES)
bench: ## The engine: the figures of README.md
bench-all: ## Every bench; results go to benches/results
bench-grpc: ## gRPC throughput
bench-latency: ## Exchange to client
bench-memory: ## 1,000 symbols
bench-high-freq: ## Store, snapshot and validation
$(BENCHES): $(VENV)/.native $(VENV)/.dev
	@if [ -f benches/run.py ]; then $(PY) benches/run.py $(patsubst bench-%,%,$(@:bench=bench-engine)) $(ARGS); \
	else echo "make $@ waits for benches/run.py, which does not exist yet" >&2; exit 1; fi

##@ Operate
.PHONY: health status urls
health: ## Ask a running server how it is
	@python=$(SH_PY) && $$python scripts/ask.py health
status: ## Ask a running server whether it can do its job
	@python=$(SH_PY) && $$python scripts/ask.py ready
urls: ## Show where everything is served
	@python=$(SH_PY) && $$python scripts/ask.py urls
SH_PY = $$(if [ -x $(PY) ]; then echo $(PY); else ./scripts/prerequisites.sh python; fi)

# Each of these belongs to a later stage; saying so beats pretending.
CONTAINERS := deploy start stop restart docker-build logs logs-server logs-influx logs-grafana shell db-shell
.PHONY: $(CONTAINERS) backup restore
deploy: ## Start the container stack (not yet)
start: ## Start its containers (not yet)
stop: ## Stop them (not yet)
restart: ## Restart them (not yet)
docker-build: ## Build the image (not yet)
logs: ## Follow all logs (also logs-server, logs-influx, logs-grafana) (not yet)
shell: ## A shell in the server's container (not yet)
db-shell: ## A shell in the database (not yet)
$(CONTAINERS):
	@echo "make $@ waits for the container stack (deploy/docker), which does not exist yet; \`make run\` needs no container" >&2
	@exit 1
backup: $(VENV)/.native ## Back up journal, dead letters and configuration, while the server runs
	@$(BIN)/ravenctl backup $(BACKUP_NAME) $(ARGS)
restore: $(VENV)/.native ## Restore a backup: make restore BACKUP_NAME=… (the server must not run)
	@test -n "$(BACKUP_NAME)" || { echo "name it: make restore BACKUP_NAME=…; there are: $$(ls backups 2>/dev/null | tr '\n' ' ')" >&2; exit 1; }
	@$(BIN)/ravenctl restore "$(BACKUP_NAME)" $(ARGS)

##@ Tidy
.PHONY: clean clean-all
clean: ## Remove build products and caches
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests benches examples scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

clean-all: clean ## Also remove the virtual environment, the native engine and all compiled Rust
	@rm -rf $(VENV) target src/raven/_core*.so

# --- What the verbs stand on. Each stamp file says when its step was last done.

$(VENV)/.created: scripts/prerequisites.sh
	$(say) "checking prerequisites: Python 3.11, Rust, a C compiler"
	@python=$$(./scripts/prerequisites.sh python rust) || exit 1; \
		printf '\033[1m▸ %s\033[0m\n' "creating $(VENV) with $$python"; \
		$$python -m venv $(VENV) && $(PY) -m pip install -q --disable-pip-version-check -U pip
	@touch $@

$(VENV)/.run: $(VENV)/.created requirements/run.txt
	$(say) "installing Python packages into $(VENV) (about 1 min)"
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements/run.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(say) "installing development tools into $(VENV) (about 1 min)"
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements/dev.txt
	@touch $@

$(VENV)/.peers: $(VENV)/.dev requirements/peers.txt
	$(say) "installing exchange clients that others wrote into $(VENV) (about 1 min)"
	@$(PY) -m pip install -q --disable-pip-version-check -r requirements/peers.txt
	@touch $@

$(VENV)/.native: $(VENV)/.run pyproject.toml $(NATIVE)
	@./scripts/prerequisites.sh rust
	$(say) "building the native engine (first time 2-5 min, later seconds)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" PIP_QUIET=2 PIP_DISABLE_PIP_VERSION_CHECK=1 \
		$(BIN)/maturin develop -q --release --locked --group native
	@touch $@
