# Rules for plugins in C. A Makefile says which worlds its sources are for, and includes this:
#
#     WORLD.hello = wasi:http/proxy@0.2.12
#     include ../../guest-sdk/c/plugin.mk
#
# `make build/hello.wasm` then generates the bindings of that world (build/hello/plugin.h and plugin.c) from
# WIT, and compiles and links hello.c with them. Needed: clang with a WebAssembly target, wasi-libc, lld,
# wit-bindgen (`cargo install wit-bindgen-cli`) and wasm-component-ld, which rustc brings along.

SDK          := $(dir $(lastword $(MAKEFILE_LIST)))
WIT          ?= $(SDK)../../wit
WASI_CC      ?= $(firstword $(shell command -v clang-22 clang))
WIT_BINDGEN  ?= wit-bindgen
COMPONENT_LD ?= $(firstword $(wildcard $(shell rustc --print sysroot)/lib/rustlib/*/bin/wasm-component-ld))
CFLAGS       ?= -O2 -Wall -Wextra
TARGET       := --target=wasm32-wasi -Wno-deprecated -mexec-model=reactor

PLUGINS := $(patsubst WORLD.%,%,$(filter WORLD.%,$(.VARIABLES)))

.SECONDARY:

all: $(PLUGINS:%=build/%.wasm)

build/%/plugin.h: $(wildcard $(WIT)/*.wit)
	@mkdir -p $(@D)
	$(WIT_BINDGEN) c $(WIT) --world $(WORLD.$*) --rename-world plugin --out-dir $(@D) >/dev/null

build/%.wasm: %.c build/%/plugin.h $(wildcard $(SDK)host/*.h)
	$(WASI_CC) $(TARGET) $(CFLAGS) -I$(SDK) -Ibuild/$* -o $@ $< build/$*/plugin.c build/$*/plugin_component_type.o \
		-fuse-ld=$(COMPONENT_LD) -Wl,--strip-all

clean:
	rm -rf build

.PHONY: all clean
