# `make help` lists what there is. Everything a fresh machine with Rust lacks is fetched by the targets
# themselves.

PLUGIN  ?= plugins/target/wasm32-wasip2/release/hello.wasm
WORKERS ?= auto
LISTEN  ?= 127.0.0.1:8080

# Where the host spends its time, for the compiler to build by. One of another version than the one it was
# recorded with finds no function in it, and builds without; so does cargo where RUSTFLAGS is set.
PROFILE    = ['-Cprofile-use=$(CURDIR)/host/host.profdata', '-Cllvm-args=-no-pgo-warn-mismatch']
HOST_FLAGS =

GUESTS     = plugins/toolchain.sh cargo
COMPONENTS = --workspace --exclude core-module

.DEFAULT_GOAL := help

include plugins/languages.mk

# What `make test` builds of them; the others take minutes more.
TESTED_LANGUAGES = plugins-c plugins-quickjs plugins-python plugins-foreign

.PHONY: help serve test test-languages bench plugins host profile lint fmt compiler

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 19
	@echo
	@echo 'make serve PLUGIN=app.wasm WORKERS=4 LISTEN=127.0.0.1:9000 serves your own plugin.'

serve: host plugins ## build everything and serve the hello plugin
	exec target/dist/host serve --plugin $(PLUGIN) --workers $(WORKERS) --listen $(LISTEN)

test: compiler plugins $(addprefix try-,$(TESTED_LANGUAGES)) ## build everything and run all tests
	@command -v redis-cli >/dev/null || plugins/toolchain.sh packages redis-tools
	cargo test --release -p host-sdk -p host-sdk-macros
	cargo test --release

test-languages: compiler plugins plugins-languages ## build the plugins in every language and test them all
	REQUIRE_LANGUAGES=1 cargo test --release -p host --test integration -- languages:: new::

# Where a registry is out of reach, the tests of its language are skipped.
try-%: compiler
	@$(MAKE) $* || echo "make test: $* did not build; its tests will be skipped" >&2

bench: host plugins ## compare with other servers, side by side
	bench/run

plugins: compiler ## build the example plugins and the tests' fixtures
	$(GUESTS) wasm32-wasip2 build --release $(COMPONENTS)
	$(GUESTS) wasm32-wasip1 build --release -p core-module

host: compiler ## build the host as it is to be used: target/dist/host
	cargo build --profile dist -p host --config "build.rustflags = $(PROFILE)" $(HOST_FLAGS)

profile: plugins ## record anew where the host spends its time: after an upgrade of wasmtime or rustc
	bench/profile

lint: compiler ## check formatting and run clippy, for host and plugins
	cargo fmt --check
	cd plugins && cargo fmt --check
	cd fuzz && cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release -p host-sdk -p host-sdk-macros --all-targets -- -D warnings
	cd plugins && cargo clippy --workspace -- -D warnings

fmt: ## format the sources
	cargo fmt
	cd plugins && cargo fmt
	cd fuzz && cargo fmt

# Some dependencies have C in them.
compiler:
	@command -v cc >/dev/null || plugins/toolchain.sh packages gcc libc6-dev
