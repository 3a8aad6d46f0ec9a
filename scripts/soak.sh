#!/usr/bin/env bash
# Usage: scripts/soak.sh [FROM..TO] [SCENARIO]
#
# Runs the simulator with many seed numbers, 0..2000 of `chaos` by default: 5 seeds and 50 peers,
# 3 minutes of random faults and 2 of calm each. Ends at the first broken invariant, with the
# command that replays it. The test suite runs the first hundred; this is for nights.
# Ends with a line that says how it went; 0 when all is well, 1 when something was broken.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown argument '$1' (see --help)" 2 ;;
esac
numbers=${1:-0..2000}
scenario=${2:-chaos}

cd "$root"
cargo build --release --locked -p tidings-sim || fail "the simulator does not build" 2
started=$SECONDS
code=0
"$target/release/sim" sweep "$numbers" --scenario "$scenario" \
    --jobs "$(nproc)" || code=$?
took=$((SECONDS - started))
say ""
case $code in
    0) say "OK: $numbers of $scenario broke nothing in $took s on $(nproc) cores" ;;
    1) say "FAILED after $took s: an invariant was broken, or the chaos did not happen; see above" ;;
    *) say "FAILED: the sweep could not run" ;;
esac
exit "$code"
