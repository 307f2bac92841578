# `make help` lists what there is. Everything a fresh machine with Rust lacks is fetched by the targets
# themselves.

PLUGIN  ?= plugins/target/wasm32-wasip2/release/hello.wasm
WORKERS ?= auto
LISTEN  ?= 127.0.0.1:8080

GUESTS     = plugins/toolchain.sh cargo
COMPONENTS = --workspace --exclude core-module

.DEFAULT_GOAL := help

include plugins/languages.mk

.PHONY: help serve test bench plugins host lint fmt compiler

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 19
	@echo
	@echo 'make serve PLUGIN=app.wasm WORKERS=4 LISTEN=127.0.0.1:9000 serves your own plugin.'

serve: host plugins ## build everything and serve the hello plugin
	exec target/release/host serve --plugin $(PLUGIN) --workers $(WORKERS) --listen $(LISTEN)

test: compiler plugins ## build everything and run all tests
	@command -v redis-cli >/dev/null || plugins/toolchain.sh packages redis-tools
	cargo test --release -p host-sdk -p host-sdk-macros
	cargo test --release

bench: host plugins ## compare with other servers, side by side
	bench/run

plugins: compiler ## build the example plugins and the tests' fixtures
	$(GUESTS) wasm32-wasip2 build --release $(COMPONENTS)
	$(GUESTS) wasm32-wasip1 build --release -p core-module

host: compiler ## build the host
	cargo build --release

lint: compiler ## check formatting and run clippy, for host and plugins
	cargo fmt --check
	cd plugins && cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release -p host-sdk -p host-sdk-macros --all-targets -- -D warnings
	cd plugins && cargo clippy --workspace -- -D warnings

fmt: ## format the sources
	cargo fmt
	cd plugins && cargo fmt

# Some dependencies have C in them.
compiler:
	@command -v cc >/dev/null || plugins/toolchain.sh packages gcc libc6-dev
