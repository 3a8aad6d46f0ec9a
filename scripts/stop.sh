#!/usr/bin/env bash
# Usage: scripts/stop.sh [--run FOLDER]
#
# Ends exactly what scripts/launch.sh started: peers first, then seeds. Each is asked to leave,
# and killed if it has not ended after 5 seconds. A process that was not launched, or that got
# the number of one that was, is left alone.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# In tenths of a second.
patience=50

parse() {
    while (($#)); do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --run) (($# > 1)) || fail "--run needs a value" 2 ;;
            *) fail "unknown argument '$1' (see --help)" 2 ;;
        esac
        [[ ! -d $2 ]] && say "nothing is launched in $2" && exit 0
        run=$(cd "$2" && pwd)
        shift 2
    done
}

# stop_all NAMES…: ends these processes, all at once.
stop_all() {
    local name pid left tenths=0
    for name in "$@"; do
        if pid=$(pid_of "$name"); then kill -TERM "$pid" 2>/dev/null || true; fi
    done
    while left=0; ((tenths < patience)); do
        for name in "$@"; do
            if pid_of "$name" >/dev/null; then left=$((left + 1)); fi
        done
        ((left > 0)) || break
        sleep 0.1
        tenths=$((tenths + 1))
    done
    for name in "$@"; do
        if pid=$(pid_of "$name"); then
            note "$name did not leave, killing it"
            kill -KILL "$pid" 2>/dev/null || true
        fi
        rm -f "$run/$name.pid" "$run/$name.json"
    done
}

parse "$@"
mapfile -t peers < <(launched | while read -r name; do
    if [[ $name == peer-* ]]; then say "$name"; fi
done)
mapfile -t seeds < <(launched | while read -r name; do
    if [[ $name == seed-* ]]; then say "$name"; fi
done)
if ((${#peers[@]} + ${#seeds[@]} == 0)); then
    say "nothing is launched"
    exit 0
fi
stop_all "${peers[@]}"
stop_all "${seeds[@]}"
say "stopped ${#peers[@]} peers and ${#seeds[@]} seeds"
