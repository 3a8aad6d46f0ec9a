#!/usr/bin/env bash
# Usage: scripts/bench.sh [--quick | --full] [--out DIR]
#
# Measures this build on this machine. --quick (the default) takes under 3 minutes, --full under
# 20, the build not counted. Results go to DIR (default target/bench) as JSON lines and CSV, and
# to stdout as Markdown tables. As root each run gets a network namespace of its own, so that
# nobody else's packets are counted. See bench/README.md for what the figures mean.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mode=quick
target=${CARGO_TARGET_DIR:-$root/target}
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
csv=$out/$mode-$stamp-api.csv

alone=()
if ((EUID == 0)) && unshare --net true 2>/dev/null && command -v ip >/dev/null; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    alone=(unshare --net bash -c 'ip link set lo up && exec "$@"' bash)
else
    note "no network namespace: traffic of others on the loopback interface is counted too"
fi

failed=0
run() {
    note "$(date -u +%T) bench $*"
    "${alone[@]}" "$target/release/bench" "$@" >/dev/null || {
        note "failed: bench $*"
        failed=1
    }
}
measure() { run run "$@" --json "$results"; }

started=$SECONDS
if [[ $mode == quick ]]; then
    for scenario in s1 s2 s2w s3; do measure "$scenario" --n 16 --secs 8 --warmup 2; done
    measure s5 --n 64
    run api --peers 1,4 --topics 400 --ops 1000 --csv "$csv"
else
    for n in 4 16 64; do
        for scenario in s1 s2 s2w s3; do measure "$scenario" --n "$n" --secs 15; done
    done
    for payload in 100 16384; do measure s2 --n 16 --payload "$payload"; done
    for rep in 0 1 2; do measure s5 --n 64 --rep "$rep"; done
    measure s5 --n 256
    for scenario in s1 s2; do measure "$scenario" --n 16 --processes; done
    run api --peers 1,4,16,64 --topics 10000 --ops 10000 --csv "$csv"
fi
"$target/release/bench" table "$results"
say ""
say "#### Control port"
say ""
cat "$csv"
note ""
note "$results and $csv, after $((SECONDS - started)) s; load now $(cut -d' ' -f1-3 /proc/loadavg)"
exit "$failed"
