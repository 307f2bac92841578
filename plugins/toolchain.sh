#!/usr/bin/env bash
# Runs cargo for a WebAssembly target in this workspace, and first gets what that takes:
#
#   plugins/toolchain.sh cargo TARGET CARGO-ARGUMENTS…    e.g. cargo wasm32-wasip2 build -p hello
#   plugins/toolchain.sh packages NAME…                   installs Debian packages that are missing
#
# The target comes from rustup. Where rustup cannot fetch it (a closed network), Debian's own rustc for
# WebAssembly is used instead; HOST_GUEST_TOOLCHAIN=debian asks for that at once.
set -euo pipefail

DEBIAN_PACKAGES=(rustc-web rust-web-llvm rust-web-src wasi-libc lld-22)

say() { echo "toolchain: $*" >&2; }

packages() {
    local missing=() name
    for name in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || { say "please install: ${missing[*]}"; return 1; }
    say "installing ${missing[*]}"
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Is the target's standard library there, or can rustup bring it?
rustup_has() {
    local target=$1
    [[ ${HOST_GUEST_TOOLCHAIN:-} != debian ]] || return 1
    [[ ! -d $(rustc --print target-libdir --target "$target" 2>/dev/null) ]] || return 0
    command -v rustup >/dev/null || return 1
    say "rustup target add $target"
    timeout 300 rustup target add "$target"
}

guest_cargo() {
    local target=$1 subcommand=$2
    shift 2
    cd "$(dirname "${BASH_SOURCE[0]}")"
    if rustup_has "$target"; then
        exec cargo "$subcommand" --target "$target" "$@"
    fi
    say "using Debian's rustc for $target"
    packages "${DEBIAN_PACKAGES[@]}"
    # Debian ships the standard library as source: cargo builds it (a minute, once), which is not a
    # stable feature yet. Its C library is in one place for every WASI version.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export RUSTFLAGS="-L /usr/lib/wasm32-wasi -C link-self-contained=no"
    exec cargo "$subcommand" -Z build-std=std,panic_abort --target "$target" "$@"
}

case ${1:-} in
cargo) guest_cargo "${@:2}" ;;
packages) packages "${@:2}" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
