#!/usr/bin/env bash
# Usage: scripts/soak.sh [FROM..TO] [SCENARIO]
#
# Runs the simulator with many seed numbers, 0..2000 of `chaos` by default: 5 seeds and 50 peers,
# 3 minutes of random faults and 2 of calm each. Ends at the first broken invariant, with the
# command that replays it. The test suite runs the first hundred; this is for nights.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown argument '$1' (see --help)" 2 ;;
esac

cd "$root"
cargo build --release --locked -p tidings-sim
exec target/release/sim sweep "${1:-0..2000}" --scenario "${2:-chaos}" --jobs "$(nproc)"
