# Plugins in other languages than Rust. Every target fetches its own tools: from npm, PyPI, Debian's packages
# and the Rust registry.

TOOLS := $(CURDIR)/plugins/.tools

.PHONY: plugins-js plugins-quickjs plugins-python plugins-c plugins-languages wit-bindgen

plugins-languages: plugins-js plugins-quickjs plugins-python plugins-c ## build the plugins in all other languages

plugins-js: js-packages ## build the plugins in JavaScript, on StarlingMonkey
	cd plugins/js && npm run --silent build

plugins-quickjs: js-packages ## build the plugins in JavaScript, on QuickJS
	cd plugins/js && npm run --silent build:quickjs

plugins-python: ## build the plugins in Python
	@python3 -c 'import ensurepip' 2>/dev/null || plugins/toolchain.sh packages python3 python3-venv
	$(MAKE) -C plugins/python

plugins-c: $(TOOLS)/bin/wit-bindgen ## build the plugins in C
	plugins/toolchain.sh packages clang-22 libclang-rt-22-dev-wasm32 lld-22 wasi-libc
	$(MAKE) -C plugins/c WIT_BINDGEN=$<

.PHONY: js-packages
js-packages:
	@command -v npm >/dev/null || plugins/toolchain.sh packages nodejs npm
	cd guest-sdk/js && npm ci --no-audit --no-fund --silent
	cd plugins/js && npm ci --no-audit --no-fund --silent

# Its other generators would take several minutes more to build.
$(TOOLS)/bin/wit-bindgen:
	cargo install --quiet --locked --root $(TOOLS) --no-default-features --features c,go,async wit-bindgen-cli@0.63.0

.PHONY: plugins-foreign
plugins-foreign: host ## fetch, build and serve components that others published
	plugins/foreign/run target/release/host
