# Every command that people and machines use. `make` alone lists them.

CARGO ?= cargo

# Of `make demo`: how many cameras, a folder of JPEGs, seconds until it ends, the page's port.
CAMERAS ?=
FRAMES ?=
DURATION ?=
PORT ?=

# Of `make fuzz`: how long, of each kind of input, and the first input's seed. `make chaos` has a
# seed as well.
SECONDS ?= 60
SEED ?= $(shell date +%s)

# Of `make simulate`: how many worlds; with SEED, that one alone, and everything that happens in it.
SEEDS ?= 100000

# Of `make chaos`, beside SEED, MINUTES and DEVICES: how many workers, and `s3` for a bucket.
WORKERS ?= 4
STORAGE ?=

# Of `make e2e`: names of scenarios, all without it; and a cluster of yours, by its kubeconfig, with
# an image that it can pull, and the broker that its pods reach.
SCENARIOS ?=
export E2E_KUBECONFIG E2E_IMAGE E2E_PULSAR_URL E2E_PULSAR_ADMIN_URL

# Of `make bench`: which sections, all without it: speed quality pipeline repeats watermark commits
# cleanup archive viewers memory end-to-end.
SECTIONS ?=

# Of `make soak`: which parts, all without it: load over backlog.
PARTS ?=

# Of `make chaos` and `make soak`: how many devices, and how many minutes of it.
DEVICES ?=
MINUTES ?=

# The same features everywhere, so that nothing is built twice.
TEST_FEATURES := --features failpoints

.DEFAULT_GOAL := help
.PHONY: help setup build demo test e2e fuzz simulate chaos bench soak lint audit fmt docs clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing to build and test (Debian packages, Rust toolchain)
	@scripts/setup.sh test

build: ## Build the release binary
	@scripts/setup.sh build
	$(CARGO) build --release --locked

demo: ## Watch the whole pipeline, no broker needed [CAMERAS=4 FRAMES=dir DURATION=60 PORT=8080]
	@scripts/setup.sh build
	$(CARGO) run --release --locked -- demo \
		$(if $(CAMERAS),--cameras '$(CAMERAS)') $(if $(FRAMES),--frames '$(FRAMES)') \
		$(if $(DURATION),--duration '$(DURATION)') $(if $(PORT),--port '$(PORT)')

# Of `make test`: which scenarios run on a node, where one can be made; `make e2e` runs all.
NODE_SCENARIOS := restricted worker operator

test: setup ## Run everything that CI runs: format, lints, tests with a real broker, browser and API server; as root on a node
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets $(TEST_FEATURES) -- -D warnings
	$(CARGO) test --locked $(TEST_FEATURES)
	@if [ "$$(uname -s)/$$(id -u)" = Linux/0 ]; then \
		scripts/setup.sh e2e || echo "so there is no node here"; fi
	E2E_BINARY="$${CARGO_TARGET_DIR:-target}/debug/stream-processor" \
		tests/e2e/run.sh --where-possible $(NODE_SCENARIOS)

e2e: ## Run the image in a real Kubernetes: one node made here, as root, or E2E_KUBECONFIG and E2E_IMAGE [SCENARIOS=restricted]
ifeq ($(E2E_KUBECONFIG),)
	@scripts/setup.sh e2e
	$(CARGO) build --release --locked
endif
	tests/e2e/run.sh $(SCENARIOS)

fuzz: ## Try damaged input of every kind [SECONDS=60 SEED=1]
	@scripts/setup.sh test
	FUZZ_SECONDS='$(SECONDS)' FUZZ_SEED='$(SEED)' \
		$(CARGO) test --locked $(TEST_FEATURES) --test fuzz -- --nocapture

simulate: ## Run the pipeline in worlds in which whatever can fail does [SEEDS=100000 SEED=1]
	@scripts/setup.sh test
	SIMULATE_SEEDS='$(SEEDS)' SIMULATE_SEED='$(if $(findstring command line,$(origin SEED)),$(SEED))' \
		$(CARGO) test --locked $(TEST_FEATURES) --test simulation every_frame -- --nocapture

chaos: ## Break everything around a fleet by a seed, and judge what is left [SEED=1 MINUTES=10 WORKERS=4 DEVICES=300 STORAGE=s3]
	@scripts/setup.sh test
	CHAOS_SEED='$(SEED)' CHAOS_MINUTES='$(or $(MINUTES),10)' CHAOS_WORKERS='$(WORKERS)' \
		CHAOS_DEVICES='$(or $(DEVICES),300)' CHAOS_STORAGE='$(STORAGE)' \
		$(CARGO) test --locked $(TEST_FEATURES) --test chaos -- --nocapture a_fleet

bench: ## Measure speed, bytes and memory against the obvious alternatives [SECTIONS=speed]
	@scripts/setup.sh test
	$(CARGO) bench --locked --bench figures -- $(SECTIONS)

soak: ## One worker under a fleet's load, over its limit, with a backlog [PARTS=load DEVICES=10000 MINUTES=10]
	@scripts/setup.sh test
	SOAK_DEVICES='$(DEVICES)' SOAK_MINUTES='$(MINUTES)' \
		$(CARGO) bench --locked --bench soak -- $(PARTS)

lint: ## Check format, lints and links in the docs, and dependencies if cargo-deny is there
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets $(TEST_FEATURES) -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --quiet $(TEST_FEATURES)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed, so dependencies were not checked: make audit installs it"; fi

# Of `make audit`: their versions, and where they are installed unless they are on the PATH.
DENY_VERSION := 0.20.2
AUDIT_VERSION := 0.22.2
AUDIT_TOOLS ?= $(HOME)/.cargo/audit-tools

audit: export PATH := $(AUDIT_TOOLS)/bin:$(PATH)
audit: ## Check licences, sources and advisories of dependencies; installs cargo-deny and cargo-audit
	@$(CARGO) deny --version >/dev/null 2>&1 || \
		$(CARGO) install --locked --root '$(AUDIT_TOOLS)' cargo-deny@$(DENY_VERSION)
	@$(CARGO) audit --version >/dev/null 2>&1 || \
		$(CARGO) install --locked --root '$(AUDIT_TOOLS)' cargo-audit@$(AUDIT_VERSION)
	$(CARGO) deny --locked check
	$(CARGO) audit

fmt: ## Format the code
	$(CARGO) fmt

docs: ## Write .env.example and docs/configuration.md anew from the settings
	UPDATE_REFERENCE=1 $(CARGO) test --locked $(TEST_FEATURES) --test reference

clean: ## Delete everything that was built
	$(CARGO) clean
