#!/usr/bin/env bash
# Usage: scripts/launch.sh [--seeds 3] [--peers 10] [--offset 0] [--run FOLDER]
#
# Builds Tidings, starts seeds and peers on this machine, waits until they are one overlay,
# publishes a message and shows who received it.
#
#   seed i    listens on 7100+i, HTTP on 8100+i          i = 1 …
#   peer i    listens on 7200+i, control port 5555+i     i = 0 …
#
#   --offset N     added to all ports, for a second cluster beside the first
#   --run FOLDER   pid files, data and config of this cluster (default: run)
#
# Logs are in logs/, or with --run in FOLDER/logs. scripts/status.sh shows the cluster,
# scripts/stop.sh ends it. The environment variable TIDINGS_BIN names a folder with programs
# that are built already.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seeds=3 peers=10 offset=0 logs=$root/logs
topic=Sports message='Football match tonight!'
# Seconds for each step; a hundred peers on two cores need a quarter of it.
limit=60

parse() {
    while (($#)); do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --seeds | --peers | --offset | --run) (($# > 1)) || fail "$1 needs a value" 2 ;;
            *) fail "unknown argument '$1' (see --help)" 2 ;;
        esac
        case $1 in
            --seeds) number "$2" 1 99 --seeds && seeds=$((10#$2)) ;;
            --peers) number "$2" 1 800 --peers && peers=$((10#$2)) ;;
            --offset) number "$2" 0 50000 --offset && offset=$((10#$2)) ;;
            --run) mkdir -p "$2" && run=$(cd "$2" && pwd) && logs=$run/logs ;;
        esac
        shift 2
    done
}

check_nothing_runs() {
    local name running=0
    for name in $(launched); do
        if pid_of "$name" >/dev/null; then running=$((running + 1)); else rm -f "$run/$name.pid"; fi
    done
    ((running == 0)) ||
        fail "$running processes are already running; scripts/status.sh shows them, scripts/stop.sh ends them"
}

check_ports() {
    local i
    for ((i = 1; i <= seeds; i++)); do
        check_port $((7100 + i + offset)) "seed-$i" && check_port $((8100 + i + offset)) "HTTP of seed-$i"
    done
    for ((i = 0; i < peers; i++)); do
        check_port $((7200 + i + offset)) "peer-$i" && check_port $((5555 + i + offset)) "control of peer-$i"
    done
}

check_port() {
    ! is_open "$1" || fail "port $1 ($2) is in use by another program; end it, or use --offset"
}

build() {
    [[ -z $built ]] || return 0
    command -v cargo >/dev/null ||
        fail "cargo is missing: install Rust from https://rustup.rs, then run this again"
    note "building (the first time takes a few minutes) …"
    (cd "$root" && cargo build --release --locked --bins -p tidings-seed -p tidings)
}

# The project's config file with as many seeds as asked for.
write_config() {
    local line skip=0 i
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line == '[[seeds]]'* ]]; then skip=1; elif [[ $line == '['* ]]; then skip=0; fi
        ((skip)) || say "$line"
    done <"$root/config.toml" >"$run/config.toml"
    for ((i = 1; i <= seeds; i++)); do
        printf '\n[[seeds]]\naddr = "127.0.0.1:%d"\nhttp = "127.0.0.1:%d"\n' \
            $((7100 + i + offset)) $((8100 + i + offset))
    done >>"$run/config.toml"
}

# start PROGRAM NAME FLAGS…
start() {
    local program=$1 name=$2
    shift 2
    rm -f "$run/$name.json"
    nohup "$bin/$program" run --config "$run/config.toml" --name "$name" --log-dir "$logs" \
        --data "$run/data/$name" --ports-file "$run/$name.json" "$@" \
        </dev/null >/dev/null 2>"$run/$name.stderr" &
    say $! >"$run/$name.pid"
    # Its end is reported by this script, not by bash.
    disown
    started+=("$name")
}

start_all() {
    local i
    for ((i = 1; i <= seeds; i++)); do
        start seed "seed-$i" --listen "127.0.0.1:$((7100 + i + offset))"
    done
    for ((i = 0; i < peers; i++)); do
        start peer "peer-$i" --listen "127.0.0.1:$((7200 + i + offset))" \
            --control "127.0.0.1:$((5555 + i + offset))"
    done
}

# Ends what was started when the launch does not succeed: nothing stays half launched.
give_up() {
    local name
    trap - INT TERM
    note ""
    note "${0##*/}: $1"
    for name in "${started[@]}"; do
        runs "$name" || { note "$name ended:" && tail -n 3 "$run/$name.stderr" >&2; }
    done
    note "logs are in $logs"
    "$root/scripts/stop.sh" --run "$run" >&2
    exit 1
}

runs() { kill -0 "$(<"$run/$1.pid")" 2>/dev/null; }

# progress TEXT: a line that is overwritten on a terminal.
progress() { if [[ -t 2 ]]; then printf '\r%s ' "$1" >&2; fi; }

# wait_for COUNT WHAT COMMAND: until the command prints that number, which is asked again and
# again.
wait_for() {
    local wanted=$1 what=$2 start=$SECONDS n=0 name
    shift 2
    while n=$("$@") && ((n < wanted)); do
        progress "$what: $n of $wanted"
        for name in "${started[@]}"; do
            runs "$name" || give_up "$name does not run"
        done
        ((SECONDS - start < limit)) || give_up "after $limit s only $n of $wanted: $what"
        sleep 0.1
    done
    progress "$what: $n of $wanted"
    if [[ -t 2 ]]; then note ""; else note "$what: $n of $wanted"; fi
}

serving() {
    local name n=0
    for name in "${started[@]}"; do
        if [[ -e $run/$name.json ]]; then n=$((n + 1)); fi
    done
    say "$n"
}

control() { say "127.0.0.1:$((5555 + $1 + offset))"; }

# Peers that have joined a majority of the seeds and have neighbours.
linked() {
    local i status n=0
    for ((i = 0; i < peers; i++)); do
        status=$("$bin/peer" status --json --control "$(control "$i")" 2>/dev/null) || continue
        [[ $(field "$status" joined) == true ]] || continue
        if ((peers == 1 || $(count "$status" neighbors node) > 0)); then n=$((n + 1)); fi
    done
    say "$n"
}

# Peers that subscribe to the topic and have a neighbour that does.
subscribed() {
    local i status n=0
    for ((i = 0; i < peers; i++)); do
        status=$(ask "$(control "$i")" '{"command":"status"}') || continue
        status=${status#*"\"topic\":\"$topic\""}
        if ((peers == 1 || $(field "$status" neighbors || say 0) > 0)); then n=$((n + 1)); fi
    done
    say "$n"
}

subscribe_all() {
    local i answer
    "$bin/peer" topic create "$topic" --exist-ok --control "$(control 0)" >/dev/null ||
        give_up "the topic $topic cannot be created"
    for ((i = 0; i < peers; i++)); do
        answer=$(ask "$(control "$i")" "{\"command\":\"subscribe\",\"topic\":\"$topic\"}") || answer=
        [[ $(field "$answer" status) == ok ]] || give_up "peer-$i does not subscribe: $answer"
    done
}

# receipt PEER: in how many microseconds the publication of peer 0 was first received there, from
# the log of that peer.
receipt() {
    local line received="" published="" us
    local pattern="([0-9-]+T[0-9:.]+Z).*[^0-9]([0-9]+)[.]([0-9]{6}):127.0.0.1:$((7200 + offset)):${seq}[ \"]"
    while IFS= read -r line; do
        if [[ $line =~ $pattern && ! ${BASH_REMATCH[1]} < $since ]]; then
            received=${BASH_REMATCH[1]} published=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
        fi
    done < <(tail -n 500 "$logs/peer-$((7200 + $1 + offset)).log" 2>/dev/null)
    [[ -n $received ]] || return 1
    us=$(($(date -ud "$received" +%s%6N) - published))
    say $((us > 0 ? us : 0))
}

receipts() {
    local i n=0
    for ((i = 1; i < peers; i++)); do
        if receipt "$i" >/dev/null; then n=$((n + 1)); fi
    done
    say "$n"
}

publish() {
    local i answer us sorted
    since=$(date -u +%FT%T.%6NZ)
    answer=$("$bin/peer" pub "$topic" "$message" --json --control "$(control 0)") ||
        give_up "peer-0 cannot publish"
    seq=$(field "$answer" first_seq) || give_up "peer-0 cannot publish: $answer"
    say ""
    say "peer-0 published '$message' to $topic."
    ((peers > 1)) || return 0
    wait_for $((peers - 1)) "received" receipts
    for ((i = 1; i < peers; i++)); do
        us=$(receipt "$i")
        sorted+="$us peer-$i"$'\n'
    done
    say "Received by $((peers - 1)) of $((peers - 1)) other peers:"
    while read -r us name; do
        [[ -z $us ]] || printf '  %-8s after %3d.%d ms\n' "$name" $((us / 1000)) $((us / 100 % 10))
    done < <(sort -n <<<"$sorted")
}

farewell() {
    local next=$((peers > 1 ? 1 : 0)) show=${bin#"$PWD"/} scripts=${root#"$PWD"}
    scripts=${scripts:+$scripts/}scripts
    scripts=${scripts#/}
    [[ $root == "$PWD" || $root == "$PWD"/* ]] || scripts=$root/scripts
    local where=""
    [[ $run == "$root/run" ]] || where=" --run $run"
    cat <<EOF

Logs        ${logs#"$PWD"/}/ (one file per node)
Seeds       http://127.0.0.1:$((8101 + offset))/v1/peers, /v1/topics, /metrics
Next        export TIDINGS_CONTROL=$(control $next)
            $show/peer pull $topic                 what was kept for peer-$next
            $show/peer sub $topic                  show what comes
            $show/peer pub $topic "Half time"      in another shell
            $show/peer status
            $scripts/status.sh$where
            $scripts/stop.sh$where
EOF
}

started=()
parse "$@"
mkdir -p "$run" "$logs"
check_nothing_runs
check_ports
build
write_config
trap 'give_up "interrupted"' INT TERM
start_all
wait_for $((seeds + peers)) "serving" serving
wait_for "$peers" "joined and linked" linked
subscribe_all
wait_for "$peers" "subscribed to $topic" subscribed
publish
trap - INT TERM
farewell
