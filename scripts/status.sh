#!/usr/bin/env bash
# Usage: scripts/status.sh [--run FOLDER]
#
# Shows what scripts/launch.sh started: seeds, peers with their neighbours, topics.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

parse() {
    while (($#)); do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --run) (($# > 1)) || fail "--run needs a value" 2 ;;
            *) fail "unknown argument '$1' (see --help)" 2 ;;
        esac
        run=$2
        shift 2
    done
    [[ ! -d $run ]] || run=$(cd "$run" && pwd)
}

seed_row() {
    local pid status http
    http=$(address "$1" http) || http=
    if ! pid=$(pid_of "$1"); then
        printf '%-10s %-21s %-21s %8s %s\n' "$1" "$(address "$1" listen)" "$http" - "not running"
    elif status=$("$bin/seed" status --json --http "$http" 2>/dev/null); then
        printf '%-10s %-21s %-21s %8s %5s %7s %6s\n' "$1" "$(address "$1" listen)" "$http" \
            "$pid" "$(field "$status" peers)" "$(field "$status" reachable)" \
            "$(field "$status" topics)"
    else
        printf '%-10s %-21s %-21s %8s %s\n' "$1" "$(address "$1" listen)" "$http" "$pid" \
            "does not answer"
    fi
}

peer_row() {
    local pid status control joined
    control=$(address "$1" control) || control=
    if ! pid=$(pid_of "$1"); then
        printf '%-10s %-21s %-21s %8s %s\n' "$1" "$(address "$1" listen)" "$control" - \
            "not running"
    elif status=$("$bin/peer" status --json --control "$control" 2>/dev/null); then
        joined=$(field "$status" seeds_joined)/$(field "$status" quorum)
        printf '%-10s %-21s %-21s %8s %5s %10s %6s\n' "$1" "$(address "$1" listen)" "$control" \
            "$pid" "$joined" "$(count "$status" neighbors node)" "$(count "$status" topics topic)"
        any=$control
    else
        printf '%-10s %-21s %-21s %8s %s\n' "$1" "$(address "$1" listen)" "$control" "$pid" \
            "does not answer"
    fi
}

parse "$@"
mapfile -t names < <(launched)
if ((${#names[@]} == 0)); then
    say "nothing is launched; scripts/launch.sh does it"
    exit 0
fi
any=
printf '%-10s %-21s %-21s %8s %5s %7s %6s\n' SEED LISTEN HTTP PID PEERS SEEDS TOPICS
for name in "${names[@]}"; do
    if [[ $name == seed-* ]]; then seed_row "$name"; fi
done
say ""
printf '%-10s %-21s %-21s %8s %5s %10s %6s\n' PEER LISTEN CONTROL PID JOINED NEIGHBOURS TOPICS
for name in "${names[@]}"; do
    if [[ $name == peer-* ]]; then peer_row "$name"; fi
done
if [[ -n $any ]]; then
    say ""
    "$bin/peer" topic list --control "$any" || true
fi
