# Plugins in other languages than Rust. Every target fetches its own tools: from npm, PyPI, Debian's packages
# and the Rust registry.

TOOLS := $(CURDIR)/plugins/.tools

.PHONY: plugins-js plugins-quickjs plugins-python plugins-c plugins-zig plugins-go plugins-foreign plugins-languages

plugins-languages: plugins-js plugins-quickjs plugins-python plugins-c plugins-zig plugins-go plugins-foreign ## build the plugins in all other languages, and other people's

plugins-js: plugins/js/build/starlingmonkey.done ## build the plugins in JavaScript, on StarlingMonkey

plugins-quickjs: plugins/js/build/quickjs.done ## build the plugins in JavaScript, on QuickJS

JS_SOURCES = $(wildcard plugins/js/src/*.js guest-sdk/js/build/*.js guest-sdk/js/src/*.js guest-sdk/js/src/quickjs/*.js guest-sdk/js/src/node/* plugins/js/src/node/*.*js wit/*.wit)
NPM_READY  = guest-sdk/js/node_modules/.package-lock.json plugins/js/node_modules/.package-lock.json

plugins/js/build/%.done: $(JS_SOURCES) plugins/js/package.json $(NPM_READY)
	cd plugins/js && npm run --silent build:$*
	@touch $@

# Not `npm ci`: it asks for every optional package of the lock, also those for other systems.
%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@command -v npm >/dev/null || plugins/toolchain.sh packages nodejs npm
	cd $* && npm install --no-save --no-audit --no-fund --silent
	@touch $@

plugins-python: ## build the plugins in Python
	@python3 -c 'import ensurepip' 2>/dev/null || plugins/toolchain.sh packages python3 python3-venv
	$(MAKE) -C plugins/python

plugins-c: $(TOOLS)/bin/wit-bindgen ## build the plugins in C
	plugins/toolchain.sh packages clang-22 libclang-rt-22-dev-wasm32 lld-22 wasi-libc
	$(MAKE) -C plugins/c WIT_BINDGEN=$<

plugins-zig: $(TOOLS)/bin/wit-bindgen ## build the plugins in Zig
	@python3 -c 'import ensurepip' 2>/dev/null || plugins/toolchain.sh packages python3 python3-venv
	$(MAKE) -C plugins/zig WIT_BINDGEN=$<

plugins-go: $(TOOLS)/bin/wit-bindgen ## build the plugins in Go
	$(MAKE) -C plugins/go WIT_BINDGEN=$<

# Unoptimized, it is built in a fraction of the time, and runs for a moment all the same.
$(TOOLS)/bin/wit-bindgen:
	CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --root $(TOOLS) --no-default-features --features c,go,async wit-bindgen-cli@0.63.0

plugins-foreign: compiler ## fetch and build components that others published
	plugins/foreign/run
