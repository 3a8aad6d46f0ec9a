#!/usr/bin/env bash
# Usage: scripts/test.sh [FILTER]
#
# Installs what the tests need, then checks format and lints and runs all tests, or only those
# whose name contains FILTER. Ends with a line that says how it went.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown argument '$1' (see --help)" 2 ;;
esac
filter=${1:-}
started=$SECONDS

missing() {
    local why
    command -v cargo >/dev/null ||
        fail "Rust is missing: curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y"
    command -v cc >/dev/null ||
        fail "a C compiler is missing: apt-get install -y gcc, or the like"
    clients
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null || fail "rustfmt and clippy are missing, and so is rustup"
    why=$(rustup component add rustfmt clippy 2>&1) || fail "rustup cannot add components: $why"
}

# Programs of others that the tests use as clients, as users do.
clients() {
    local package program
    local -A packages=([ncat]=ncat [jq]=jq [python3]=python3 [script]=bsdutils)
    for program in "${!packages[@]}"; do
        package=${packages[$program]}
        command -v "$program" >/dev/null && continue
        if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
            note "installing $package"
            apt-get install -y -q "$package" >/dev/null 2>&1 ||
                { apt-get update -q && apt-get install -y -q "$package"; } >/dev/null 2>&1 ||
                note "$package cannot be installed: what uses $program is not tested"
        else
            note "$program is missing (apt-get install $package): what uses it is not tested"
        fi
    done
}

step() {
    note ""
    note "== $1 (after $((SECONDS - started)) s)"
    shift
    "$@" || fail "FAILED after $((SECONDS - started)) s: $*"
}

cd "$root"
missing
# What is built once and thrown away needs no cache of its parts.
[[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0
step "format" cargo fmt --all -- --check
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
# Tests and programs at once: alone, programs would choose other features of dependencies, and
# build those and all that uses them twice.
step "build" cargo build --workspace --all-targets --locked
# The tests of whole clusters take the programs as they are now.
export TIDINGS_TESTS_BUILT=1
step "tests" cargo test --workspace --locked --no-fail-fast -- ${filter:+"$filter"}
say ""
say "OK: all checks and tests passed in $((SECONDS - started)) s"
