#!/bin/sh
# Transfers (two updates in a transaction) per second against a server in each durability, next to plain SQLite that
# writes as many records per transaction as the server's journal did in the same run.
# Usage: benches/durability.sh [path of the noex-server binary]; without a path, the release build of this workspace.
# Environment: SECS (3) and RUNS (3) per row, NO_BUILD=1, FOLDER for the databases (a temporary one).
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
server=${1:-$target/release/noex-server}
secs=${SECS:-3} runs=${RUNS:-3}
if [ "${NO_BUILD:-0}" != 1 ]; then
    cargo build --release
    cargo build --release -p noex-bench
fi

work=$(mktemp -d ${FOLDER:+-p "$FOLDER"})
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

# value NAME TEXT: the value of NAME=VALUE in TEXT.
value() {
    printf '%s\n' "$2" | tr ' ' '\n' | sed -n "s/^$1=//p" | tail -n 1
}

# start FOLDER: starts the server with the configuration in the folder and sets `child` and `port`.
start() {
    : >"$1/ready"
    "$server" --config "$1/config.json" --host 127.0.0.1 --port 0 --ready-line >"$1/ready" 2>"$1/log" &
    child=$!
    port= tries=0
    while [ -z "$port" ]; do
        kill -0 "$child" 2>/dev/null || { cat "$1/log" >&2; exit 1; }
        [ "$tries" -lt 100 ] || { echo "durability.sh: server not ready after 10 s" >&2; exit 1; }
        sleep 0.1
        tries=$((tries + 1))
        port=$(sed -n 's/^READY //p' "$1/ready")
    done
}

# load FOLDER [flags]: transfers, with the result in the folder.
load() {
    folder=$1
    shift
    "$target/release/noex-load" throughput --url "ws://127.0.0.1:$port/" --op transfer "$@" >"$folder/out" || {
        cat "$folder/out" "$folder/log" >&2
        exit 1
    }
}

# row NAME CONFIG CONNECTIONS WINDOW: one server, one load, one line.
row() {
    name=$1 connections=$3 window=$4
    folder=$(mktemp -d -p "$work")
    printf '%s' "$2" | sed "s#FOLDER#$folder#" >"$folder/config.json"
    start "$folder"
    bare=
    if [ "$name" != memory ]; then
        # The records are made in a run of their own, so that the journal's totals are those of the transfers.
        load "$folder" --seconds 0.1 --warmup 0.1 --runs 1
        stop_child
        start "$folder"
        bare=--no-setup
    fi
    load "$folder" --connections "$connections" --window "$window" --seconds "$secs" --runs "$runs" $bare
    stop_child
    median=$(sed -n 's/^median: //p' "$folder/out")
    totals=$(sed -n '/journal closed/p' "$folder/log" | tail -n 1)
    rate=$(value msgs_per_s "$median") p50=$(value p50_us "$median") p99=$(value p99_us "$median")
    groups=$(value groups "$totals") entries=$(value entries "$totals") group_us=$(value us_per_group "$totals")
    floor= size=
    if [ -n "$groups" ] && [ "$groups" -gt 0 ]; then
        size=$(((entries + groups - 1) / groups))
        line=$("$target/release/noex-durability" floor --folder "$folder" --records 10000 --group "$size" --seconds "$secs")
        floor=$(value records_per_s "$line")
    fi
    awk -v name="$name" -v shape="${connections}x$window" -v rate="$rate" -v p50="$p50" -v p99="$p99" -v size="$size" \
        -v us="$group_us" -v floor="$floor" 'BEGIN {
            printf "%-9s %6s %11d %10.0f %10.0f", name, shape, rate, p50, p99
            if (floor) printf " %9d %10d %9.1f %12d %7.2f", size, us, p99 / us, floor, 2 * rate / floor
            printf "\n"
        }'
}

printf '%-9s %6s %11s %10s %10s %9s %10s %9s %12s %7s\n' "" shape transfers/s "p50 us" "p99 us" \
    rec/group us/group p99/group "SQLite rec/s" ratio
db='"persistence":"sqlite","db":"FOLDER/noex.db"'
for shape in "64 40" "64 1" "1 1"; do
    # shellcheck disable=SC2086
    {
        row sync "{$db,\"store\":{\"durability\":\"sync\",\"autoDefine\":true}}" $shape
        row interval "{$db,\"store\":{\"durability\":\"interval\",\"autoDefine\":true}}" $shape
        row memory "{}" $shape
    }
done
