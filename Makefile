# `make` prints the targets. Each is a few lines over cargo, so that nobody needs make.
.DEFAULT_GOAL := help
.PHONY: help run onnxruntime build test test-servers test-deploy lint audit fmt bench measure load load-compare limits simulate openapi secrets up down

PYTHON ?= python3
VENV := target/venv-tests
VENV_LOAD := target/venv-load

help: ## Print this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: onnxruntime ## Build and start the engine with the sample models, on http://127.0.0.1:8000.
	cargo run --locked -p all-in-one -- demo

onnxruntime: ## Put the ONNX Runtime library into target/onnxruntime (from PyPI, checked).
	@$(PYTHON) deploy/onnxruntime/fetch.py

build: onnxruntime ## Build all programs.
	cargo build --locked --workspace --bins

test: test-servers test-deploy onnxruntime $(VENV)/ready ## Install what tests need, then run all of them.
	cargo build --locked --workspace --bins --tests
	cargo test --locked --workspace

test-deploy: test-servers ## Check the configurations of nginx, Prometheus and Alertmanager.
	PATH=$$PATH:/usr/sbin NGINX_FOLDER=target/nginx nginx/start.sh check
	promtool check rules monitoring/prometheus/rules/*.rules.yml
	promtool test rules monitoring/prometheus/rules/*_test.yml
	amtool check-config monitoring/alertmanager/alertmanager.yml

test-servers: ## Install the servers that tests start for themselves; nothing is started.
	@PYTHON=$(PYTHON) tests/servers/install.sh

$(VENV)/ready: tests/python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

lint: target/tools/bin/cargo-deny ## Check formatting, lints, and the licences and sources of dependencies.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$< --locked check licenses bans sources

audit: target/tools/bin/cargo-deny ## Look for known weaknesses in dependencies; fetches the list of them.
	$< --locked check advisories

# Under the MIT or the Apache licence. Its package for Python is too old for today's cargo.
target/tools/bin/cargo-deny:
	cargo install cargo-deny --version 0.20.2 --locked --debug --root target/tools

fmt: ## Format the code.
	cargo fmt --all

bench: onnxruntime ## Measure the engine's own part of a prediction against a bare handler (release build).
	cargo bench --locked -p all-in-one

limits: test-servers ## Measure how exact a limit is across 8 gateways, what one step and what authentication cost (release build).
	cargo build --release --locked --workspace --bins
	AT_LENGTH=1 cargo test --release --locked -p e2e -- --nocapture a_limit_is_exact
	cargo test --release --locked -p storage --test conformance -- --nocapture what_a_step_costs
	cargo test --release --locked -p auth --test api -- --nocapture what_authentication_costs

measure: test-servers onnxruntime ## Measure a split over 100,000 requests, 50 rollbacks under load, and what a shadow costs (release build).
	cargo build --release --locked --workspace --bins
	AT_LENGTH=1 cargo test --release --locked -p e2e -- --nocapture --test-threads 1 split_alike how_long_it_takes once_it_returned a_shadow_delays

load: target/tools/bin/oha ## Load a running engine: RATE=500 for an open loop; URL, MODEL, BODY, ... as tests/load/load.py says.
	@$(PYTHON) tests/load/load.py

load-compare: onnxruntime test-servers target/tools/bin/oha $(VENV_LOAD)/ready ## Measure all topologies beside FastAPI + scikit-learn (release build).
	cargo build --release --locked --workspace --bins
	cargo bench --locked --workspace --bench load

# Under the MIT licence.
target/tools/bin/oha:
	cargo install oha --version 1.16.0 --locked --root target/tools

$(VENV_LOAD)/ready: tests/load/fastapi/requirements.txt
	$(PYTHON) -m venv $(VENV_LOAD)
	$(VENV_LOAD)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

simulate: ## Run the router's statistics on streams whose truth is known (release build): TABLES="aa rules", SEED=1, SCALE=0.1.
	cargo run --release --locked -p router --example simulate -- $(TABLES) --seed $(or $(SEED),1) --scale $(or $(SCALE),1)

openapi: build ## Write the generated descriptions of the API anew.
	UPDATE=1 cargo test --locked -p e2e -- generated

secrets: ## Make random passwords for compose, in secrets/.
	@deploy/docker/secrets.sh

up: secrets ## Build and start the six services with their stores, behind nginx.
	docker-compose up --build -d --scale inference=3 --scale router=2 --scale gateway=2

down: ## Stop them; the data stay.
	docker-compose down
