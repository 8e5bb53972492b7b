#!/bin/sh
# Compares the server with the floor over loopback: server on core 0, generator on core 1.
# Usage: benches/run.sh [path of the noex-server binary]; without a path, the release build of this workspace.
# Environment: SECS (3) and RUNS (3) per row, WARMUP (1), NO_BUILD=1 to use the binaries as they are.
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
server=${1:-$target/release/noex-server}
secs=${SECS:-3} runs=${RUNS:-3} warmup=${WARMUP:-1}

if [ "$(nproc)" -lt 2 ]; then
    echo "run.sh: two cores are needed, one for the server and one for the generator" >&2
    exit 2
fi
if [ "${NO_BUILD:-0}" != 1 ]; then
    cargo build --release
    cargo build --release -p noex-bench
fi
load=$target/release/noex-load
floor=$target/release/noex-floor
for binary in "$server" "$load" "$floor"; do
    [ -x "$binary" ] || { echo "run.sh: no executable $binary" >&2; exit 2; }
done

work=$(mktemp -d)
child=
stop_child() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
        child=
    fi
}
cleanup() {
    stop_child
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start COMMAND...: runs it on core 0 and sets `child` and `port`. No limit on the child's own life: the trap ends it.
start() {
    : >"$work/ready"
    taskset -c 0 "$@" >"$work/ready" &
    child=$!
    port= tries=0
    while [ -z "$port" ]; do
        kill -0 "$child" 2>/dev/null || { echo "run.sh: $1 ended at start" >&2; exit 1; }
        [ "$tries" -lt 100 ] || { echo "run.sh: $1 not ready after 10 s" >&2; exit 1; }
        sleep 0.1
        tries=$((tries + 1))
        port=$(sed -n 's/^READY //p' "$work/ready")
    done
}

# The whole time of one row, with set-up, may be this many seconds.
limit=$(awk -v s="$secs" -v r="$runs" -v w="$warmup" 'BEGIN { print int(s * r + w) + 60 }')

# measure NAME CONNECTIONS WINDOW [flags]: one line "NAME rate p50 p99 server_us generator_us" in the results.
measure() {
    name=$1 connections=$2 window=$3
    shift 3
    timeout "$limit" taskset -c 1 "$load" throughput --url "ws://127.0.0.1:$port/" --op get \
        --connections "$connections" --window "$window" --seconds "$secs" --warmup "$warmup" --runs "$runs" \
        --pid "$child" "$@" >"$work/out" || { cat "$work/out"; echo "run.sh: $name failed" >&2; exit 1; }
    sed -n 's/^median: //p' "$work/out" | tr ' ' '\n' | awk -F= -v name="$name" '
        { value[$1] = $2 }
        END { print name, value["msgs_per_s"], value["p50_us"], value["p99_us"],
              value["server_cpu_us"], value["generator_cpu_us"] }' >>"$work/results"
}

start "$server" --host 127.0.0.1 --port 0 --ready-line --log-level error
measure server-1x1 1 1
measure server-50x16 50 16
stop_child
start "$floor" --mode envelope
measure floor-1x1 1 1 --no-setup
measure floor-50x16 50 16 --no-setup
stop_child

awk -v runs="$runs" -v secs="$secs" '
    BEGIN {
        printf "store.get, medians of %s runs of %s s\n", runs, secs
        printf "%-14s %10s %9s %9s %14s %17s\n", "", "msgs/s", "p50 us", "p99 us", "server us/msg", "generator us/msg"
    }
    {
        rate[$1] = $2
        printf "%-14s %10d %9.1f %9.1f %14.2f %17.2f\n", $1, $2, $3, $4, $5, $6
    }
    END {
        for (i = split("1x1 50x16", shape, " "); i > 0; i--)
            ratio[i] = rate["floor-" shape[i]] ? rate["server-" shape[i]] / rate["floor-" shape[i]] : 0
        printf "server/floor   1x1 %.2f   50x16 %.2f\n", ratio[1], ratio[2]
    }' "$work/results"
