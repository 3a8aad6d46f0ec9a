# shellcheck shell=bash
# What the scripts share. Needs bash and coreutils, nothing else.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where launched processes keep pid files, ports files, data and what they print.
run=$root/run
# Where cargo builds.
# shellcheck disable=SC2034 # used by the scripts that source this
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$root/$target
# Set to a folder with `seed` and `peer` to use those instead of building them.
# shellcheck disable=SC2034 # used by the scripts that source this
built=${TIDINGS_BIN:-}
# shellcheck disable=SC2034
bin=${built:-$target/release}

# Environment variables override the config file: a launched cluster must not depend on them.
for variable in "${!TIDINGS_@}"; do unset "$variable"; done

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [EXIT CODE]
fail() {
    note "${0##*/}: $1"
    exit "${2:-1}"
}

# usage: prints the comment at the top of the script that was started.
usage() {
    local line
    while IFS= read -r line; do
        case $line in
            '#!'*) ;;
            '#'*) line=${line#'#'} && say "${line# }" ;;
            *) break ;;
        esac
    done <"$0"
}

# number TEXT MINIMUM MAXIMUM WHAT
number() {
    if [[ ! $1 =~ ^[0-9]{1,6}$ ]] || ((10#$1 < $2 || 10#$1 > $3)); then
        fail "$4 is a number from $2 to $3, not '$1'" 2
    fi
}

# field JSON KEY: the first value of that key, if it is a text, a number or a truth value.
field() {
    local pattern="\"$2\": *(\"([^\"]*)\"|[0-9]+|true|false)"
    [[ $1 =~ $pattern ]] || return 1
    if [[ ${BASH_REMATCH[1]} == '"'* ]]; then say "${BASH_REMATCH[2]}"; else say "${BASH_REMATCH[1]}"; fi
}

# count JSON LIST KEY: how often the key stands in that list.
count() {
    local json=${1//\": /\":} rest n=0 depth=1 part
    rest=${json#*"\"$2\":["}
    [[ $rest != "$json" ]] || { say 0 && return; }
    # The list ends where its bracket is closed.
    while ((depth > 0)) && [[ $rest == *[][]* ]]; do
        part=${rest%%[][]*}
        case ${rest:${#part}:1} in
            '[') depth=$((depth + 1)) ;;
            *) depth=$((depth - 1)) ;;
        esac
        rest=${rest:${#part}+1}
        while [[ $part == *"\"$3\":"* ]]; do
            part=${part#*"\"$3\":"}
            n=$((n + 1))
        done
    done
    say "$n"
}

# launched: the names of the processes that have a pid file.
launched() {
    local file
    for file in "$run"/*.pid; do
        if [[ -e $file ]]; then file=${file##*/} && say "${file%.pid}"; fi
    done | sort -V
}

# pid_of NAME: the process id, if that process runs and is still the one that was launched.
pid_of() {
    local pid arguments
    [[ -r $run/$1.pid ]] && read -r pid <"$run/$1.pid" || return 1
    [[ $pid =~ ^[0-9]+$ ]] && kill -0 "$pid" 2>/dev/null || return 1
    if [[ -d /proc/self ]]; then
        [[ -r /proc/$pid/cmdline ]] || return 1
        # An ended process that nobody has waited for has no arguments.
        { arguments=$(tr '\0' '\n' <"/proc/$pid/cmdline"); } 2>/dev/null || return 1
    else
        arguments=$(ps -p "$pid" -o args=) || return 1
    fi
    [[ $arguments == *"$run/$1.json"* ]] || return 1
    say "$pid"
}

# address NAME KIND: what the ports file says of listen, control or http.
address() {
    local ports
    [[ -r $run/$1.json ]] && ports=$(<"$run/$1.json") && field "$ports" "$2"
}

# is_open PORT: whether somebody listens there on the loopback interface.
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ask ADDRESS REQUEST: one line to a control port, and its answer.
ask() {
    local line fd
    { exec {fd}<>"/dev/tcp/${1%:*}/${1##*:}"; } 2>/dev/null || return 1
    printf '%s\n' "$2" >&"$fd" && IFS= read -r -t 15 line <&"$fd"
    exec {fd}>&-
    say "$line"
}
