# `make` prints the targets. Each is a few lines over cargo, so that nobody needs make.
.DEFAULT_GOAL := help
.PHONY: help run onnxruntime build test lint fmt bench openapi

PYTHON ?= python3
VENV := target/venv-tests

help: ## Print this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: onnxruntime ## Build and start the engine with the sample models, on http://127.0.0.1:8000.
	cargo run --locked -p all-in-one -- demo

onnxruntime: ## Put the ONNX Runtime library into target/onnxruntime (from PyPI, checked).
	@$(PYTHON) deploy/onnxruntime/fetch.py

build: onnxruntime ## Build all programs.
	cargo build --locked --workspace --bins

test: build $(VENV)/ready ## Install what tests need, then run all of them.
	cargo test --locked --workspace

$(VENV)/ready: tests/python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

lint: ## Check formatting and lints; warnings are errors.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code.
	cargo fmt --all

bench: onnxruntime ## Measure the engine's own part of a prediction against a bare handler (release build).
	cargo bench --locked -p all-in-one

openapi: build ## Write the generated descriptions of the API anew.
	UPDATE=1 cargo test --locked -p e2e -- generated
