#!/usr/bin/env bash
# Usage: scripts/check.sh
#
# Everything but the tests: format, lints, documentation, and the licences and advisories of
# dependencies if cargo-deny is installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown argument '$1' (see --help)" 2 ;;
esac

step() {
    note "== $1"
    shift
    "$@" || fail "failed: $*"
}

cd "$root"
step "format" cargo fmt --all -- --check
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
if command -v cargo-deny >/dev/null; then
    step "dependencies" cargo deny --locked check
else
    note "== dependencies: skipped, cargo-deny is not installed (cargo install cargo-deny)"
fi
if command -v shellcheck >/dev/null; then
    step "scripts" shellcheck -x scripts/*.sh .ci/run
else
    note "== scripts: skipped, shellcheck is not installed"
fi
say "OK: all checks passed"
