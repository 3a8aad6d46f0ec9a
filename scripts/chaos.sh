#!/usr/bin/env bash
# Usage: scripts/chaos.sh [--minutes 5] [--seeds 3] [--peers 20] [--faults kill,wipe,stop,partition,full] …
#
# Starts a cluster of its own, in a temporary folder and on free ports, has an application at each
# peer create, subscribe, publish, look up and delete, some topics of its own and some that all
# want, and meanwhile does to a minority of the seeds, one after the other: kill -9 and start
# again, the same without the data folder, SIGSTOP for 5 s, a partition of 5 s (in network
# namespaces, where the machine allows them), a disk that is full. --faults kill-all kills all
# seeds at once. At the end every record that was acknowledged is read back from every seed, and
# what was seen of the topics that all want is to be linearizable. Ends with figures and a
# verdict: 0 when no call failed, nothing was lost, all was in order and every seed came back,
# else 1. --help shows all arguments; the environment variable TIDINGS_BIN names a folder with
# `seed`, `peer` and `chaos` that are built already.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ -z $built ]]; then
    command -v cargo >/dev/null ||
        fail "cargo is missing: install Rust from https://rustup.rs, then run this again"
    (cd "$root" && cargo build --release --locked --bins -p tidings-seed -p tidings -p tidings-tests)
fi
# In a process group of its own, so that an interrupt ends its cluster with it.
set -m
"$bin/chaos" "$@" &
set +m
chaos=$!
trap 'kill -KILL -- -"$chaos" 2>/dev/null; exit 130' INT TERM
wait "$chaos"
