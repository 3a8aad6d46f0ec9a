#!/usr/bin/env bash
# Usage: scripts/check.sh
#        scripts/check.sh --bench [--bless]
#
# Everything but the tests: format, lints, documentation, and the licences and advisories of
# dependencies if cargo-deny is installed.
#
# --bench counts the instructions and the allocations that a delivery takes, under valgrind, and
# compares them with bench/counted.txt: more than 2% above what is recorded there fails, and so does
# more than 2% below it, which has to be recorded. --bless records, for a change that is meant.
# Exit codes: 0 as recorded, 1 not, 2 usage, 3 valgrind is not installed.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# In per cent. Runs of the same program are within 0.1 of each other.
tolerance=2
recorded=$root/bench/counted.txt

step() {
    note "== $1"
    shift
    "$@" || fail "failed: $*"
}

# counted PROGRAM LOAD VERIFY: instructions and allocations per delivery.
counted() {
    local profile log ran instructions allocations
    profile=$(mktemp)
    log=$(mktemp)
    ran=$(valgrind --tool=callgrind --callgrind-out-file="$profile" --compress-strings=no \
        --collect-atstart=no --toggle-collect='*counted_step*' "$@" 2>"$log") || {
        cat "$log" >&2
        rm -f "$profile" "$log"
        fail "the load $2 $3 does not run under valgrind"
    }
    instructions=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")
    # A call is a line that names what is called, then one with how often.
    allocations=$(awk '/^cfn=/ { called = $0 }
        /^calls=/ && called ~ /^cfn=(malloc|calloc|realloc|posix_memalign|aligned_alloc)$/ {
            split($1, calls, "="); sum += calls[2] }
        END { print sum + 0 }' "$profile")
    rm -f "$profile" "$log"
    [[ $instructions =~ ^[1-9][0-9]*$ && $allocations =~ ^[1-9][0-9]*$ ]] ||
        fail "valgrind counted nothing in the load $2 $3"
    awk -v instructions="$instructions" -v allocations="$allocations" -v deliveries="${ran% *}" \
        'BEGIN { printf "%.0f %.3f", instructions / deliveries, allocations / deliveries }'
}

# compared LOAD VERIFY WHAT NOW BEFORE: says how they differ. Fails when that is beyond tolerance.
compared() {
    local change=none verdict='not recorded'
    if [[ -n $5 ]]; then
        change=$(awk -v now="$4" -v before="$5" \
            'BEGIN { printf "%+.2f%%", (now / before - 1) * 100 }')
        verdict=$(awk -v change="${change%\%}" -v most=$tolerance 'BEGIN {
            if (change > most) print "worse"
            else if (change < -most) print "better, not recorded"
            else print "as recorded" }')
    fi
    say "$1 $2: $4 $3 per delivery, recorded ${5:-nothing}, $change: $verdict"
    [[ $verdict == "as recorded" ]]
}

bench() {
    command -v valgrind >/dev/null || fail "valgrind is not installed: apt-get install valgrind" 3
    note "building (minutes, the first time)"
    local old_compiler built program compiler load verify now before lines off=0
    built=$(cargo bench --locked -p tidings-proto --bench forward --no-run 2>&1) ||
        { note "$built" && fail "the build failed"; }
    program=$(sed -n 's/.*Executable .*(\(.*\)).*/\1/p' <<<"$built")
    [[ -x $program ]] || fail "cargo does not say where the program is: $built"
    compiler="# $(rustc --version), $(uname -m). Per delivery: load, verify, instructions, allocations."
    lines=$compiler$'\n'
    for load in small large; do
        for verify in every links; do
            now=$(counted "$program" "$load" "$verify")
            lines+="$load $verify $now"$'\n'
            before=$(sed -n "s/^$load $verify //p" "$recorded" 2>/dev/null || true)
            compared "$load" "$verify" instructions "${now% *}" "${before% *}" || off=1
            compared "$load" "$verify" allocations "${now#* }" "${before#* }" || off=1
        done
    done
    if ((bless)); then
        printf '%s' "$lines" >"$recorded"
        say "OK: recorded in bench/counted.txt"
    elif ((off)); then
        old_compiler=$(sed -n 1p "$recorded" 2>/dev/null || true)
        [[ $old_compiler == "$compiler" ]] || note "recorded: ${old_compiler:-nothing}"
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
