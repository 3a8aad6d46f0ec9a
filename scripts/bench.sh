#!/usr/bin/env bash
# Usage: scripts/bench.sh [--quick | --full] [--out DIR]
#
# Measures this build on this machine. --quick (the default) takes under 3 minutes, --full under
# 20, the build not counted. Results go to DIR (default target/bench) as JSON lines, CSV and SVG,
# and to stdout as Markdown tables. --full takes medians of three where a target is a median. As
# root each run gets a network namespace of its own, so that nobody else's packets are counted.
# Ctrl-C ends all of it. See bench/README.md for what the figures mean.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mode=quick
out=$target/bench
while (($#)); do
    case $1 in
        --quick) mode=quick ;;
        --full) mode=full ;;
        --out) [[ $# -ge 2 ]] || fail "--out needs a directory" 2; out=$2 && shift ;;
        -h | --help) usage && exit 0 ;;
        *) fail "unknown argument '$1' (see --help)" 2 ;;
    esac
    shift
done

cd "$root"
note "building (minutes, the first time)"
cargo build --release --locked --bins -p tidings-bench -p tidings >&2 || fail "the build failed"
mkdir -p "$out"
stamp=$(date -u +%Y%m%dT%H%M%SZ)
results=$out/$mode-$stamp.jsonl
runs=$out/$mode-$stamp.csv
plot=$out/$mode-$stamp.svg
csv=$out/$mode-$stamp-api.csv
api_plot=$out/$mode-$stamp-api.svg

alone=()
if ((EUID == 0)) && unshare --net true 2>/dev/null && command -v ip >/dev/null; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    alone=(unshare --net bash -c 'ip link set lo up && exec "$@"' bash)
else
    note "no network namespace: traffic of others on the loopback interface is counted too"
fi

# On a virtual machine memory that was never used costs several times as much when it is first
# touched, and the first run would pay for all that follow. Something is filled with zeros once:
# half of what is there, at most 8 GiB.
touch_memory() {
    local kib
    kib=$(awk '/^MemAvailable:/ { print int($2 / 2) }' /proc/meminfo)
    ((kib <= 8 << 20)) || kib=$((8 << 20))
    note "$(date -u +%T) touching $((kib >> 10)) MiB of memory"
    # `tail` holds a line until it ends, and zeros have no end of a line.
    head -c "${kib}K" /dev/zero | tail >/dev/null || note "not all memory could be touched"
}

# A signal to this script alone ends the run too, and with it the processes of the run.
running=
end_run() {
    trap - INT TERM
    [[ -z $running ]] || kill -TERM "$running" 2>/dev/null || true
    [[ -z $running ]] || wait "$running" || true
    exit "$1"
}
trap 'end_run 130' INT
trap 'end_run 143' TERM

failed=0
run() {
    local code=0
    note "$(date -u +%T) bench $*"
    "${alone[@]}" "$target/release/bench" "$@" >/dev/null &
    running=$!
    wait "$running" || code=$?
    running=
    case $code in
        0) ;;
        # Ended by a signal: so is this script.
        130 | 143) exit "$code" ;;
        *) note "failed: bench $*" && failed=1 ;;
    esac
}
measure() { run run "$@" --json "$results"; }

started=$SECONDS
api() { run api "$@" --csv "$csv" --plot "$api_plot"; }
touch_memory
if [[ $mode == quick ]]; then
    short=(--secs 5 --warmup 1 --settle 1)
    for scenario in s1 s2 s2w s3; do measure "$scenario" --n 16 "${short[@]}"; done
    measure s2 --n 4 "${short[@]}"
    measure s2 --n 16 --payload 100 "${short[@]}"
    measure s5 --n 64
    api --peers 1,4 --topics 400 --ops 1000 --sessions 100
else
    short=(--secs 4 --warmup 1 --settle 1)
    for rep in 0 1 2; do
        # What the targets are about.
        # The first message of each publisher is checked at every hop: enough others beside those.
        measure s1 --n 64 --secs 15 --warmup 3 --rep "$rep"
        for scenario in s2 s2w s3; do
            measure "$scenario" --n 64 --secs 8 --warmup 2 --rep "$rep"
            # Like with like: others retain nothing.
            [[ $scenario == s2* ]] || continue
            measure "$scenario" --n 64 --secs 8 --warmup 2 --rep "$rep" --retention 4MiB
        done
        # Like with like: what others leave out.
        measure s2 --n 64 "${short[@]}" --no-tls --rep "$rep"
        measure s1 --n 64 --secs 15 --warmup 3 --verify links --rep "$rep"
        measure s3 --n 64 "${short[@]}" --verify links --rep "$rep"
        for n in 64 256; do measure s5 --n "$n" --rep "$rep"; done
    done
    # Growth with peers, sizes and topics.
    for n in 4 16 256; do measure s2 --n "$n" "${short[@]}"; done
    for topics in 100 1000; do measure s2 --n 16 --topics "$topics" "${short[@]}"; done
    for payload in 100 16384; do measure s2 --n 16 --payload "$payload" "${short[@]}"; done
    for scenario in s1 s2; do measure "$scenario" --n 16 --processes --secs 8; done
    api --peers 1,4,16,64 --topics 100000 --ops 1000 --sessions 100,1000
fi
"$target/release/bench" table "$results" --csv "$runs"
"$target/release/bench" plot "$results" --out "$plot" || failed=1
say ""
say "#### Control port"
say ""
cat "$csv"
note ""
note "$results, $runs, $plot, $csv and $api_plot"
note "after $((SECONDS - started)) s; load now $(cut -d' ' -f1-3 /proc/loadavg)"
exit "$failed"
