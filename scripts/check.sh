#!/usr/bin/env bash
# Usage: scripts/check.sh
#        scripts/check.sh --bench [--bless]
#
# Everything but the tests: format, lints, documentation, and the licences and advisories of
# dependencies if cargo-deny is installed.
#
# --bench counts the instructions that the path of a batch takes, under valgrind, and compares them
# with bench/counted.txt: more than 3% above what is recorded there fails, and so does more than 3%
# below it, which has to be recorded. --bless records. Exit codes: 0 as recorded, 1 not,
# 2 usage, 3 valgrind is not installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# In per cent. Three runs of the same program are within 0.1 of each other.
tolerance=3
recorded=$root/bench/counted.txt

step() {
    note "== $1"
    shift
    "$@" || fail "failed: $*"
}

# Instructions per delivery of a load.
count() {
    local log counted deliveries
    log=$(mktemp)
    deliveries=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
        --toggle-collect='*counted_step*' "$program" "$1" 2>"$log") || {
        cat "$log" >&2
        rm -f "$log"
        fail "the load $1 does not run under valgrind"
    }
    counted=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")
    rm -f "$log"
    [[ $counted =~ ^[1-9][0-9]*$ ]] || fail "valgrind counted nothing in the load $1"
    say "$((counted / deliveries))"
}

bench() {
    command -v valgrind >/dev/null || fail "valgrind is not installed: apt-get install valgrind" 3
    note "building (minutes, the first time)"
    local built load now before change verdict lines='' off=0
    built=$(cargo bench --locked -p tidings-proto --bench forward --no-run 2>&1) ||
        { printf '%s\n' "$built" >&2 && fail "the build failed"; }
    program=$(sed -n 's/.*Executable .*(\(.*\)).*/\1/p' <<<"$built")
    [[ -x $program ]] || fail "cargo does not say where the program is: $built"
    for load in small large; do
        now=$(count "$load")
        before=$(sed -n "s/^$load \([0-9]*\).*/\1/p" "$recorded" 2>/dev/null)
        change=$(awk -v now="$now" -v before="${before:-0}" \
            'BEGIN { if (before) printf "%+.1f", (now / before - 1) * 100; else print "none" }')
        verdict=$(awk -v change="$change" -v most=$tolerance 'BEGIN {
            if (change == "none") print "not recorded"
            else if (change > most) print "worse"
            else if (change < -most) print "better, not recorded"
            else print "as recorded" }')
        say "$load: $now instructions per delivery, recorded ${before:-nothing}, $change%: $verdict"
        [[ $verdict == "as recorded" ]] || off=1
        lines+="$load $now instructions per delivery"$'\n'
    done
    if ((bless)); then
        printf '%s' "$lines" >"$recorded"
        say "OK: recorded in bench/counted.txt"
    elif ((off)); then
        fail "the counts are not those of bench/counted.txt (scripts/check.sh --bench --bless records)"
    else
        say "OK: counts are within $tolerance% of those recorded"
    fi
}

only_bench=0
bless=0
for argument in "$@"; do
    case $argument in
        --bench) only_bench=1 ;;
        --bless) bless=1 ;;
        -h | --help) usage && exit 0 ;;
        *) fail "unknown argument '$argument' (see --help)" 2 ;;
    esac
done
((!bless || only_bench)) || fail "--bless is for --bench (see --help)" 2

cd "$root"
if ((only_bench)); then
    bench
    exit 0
fi
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
