#!/bin/sh
# Compares the server with the floor over loopback: server on core 0, generator on core 1. For the scaling the server has
# both cores and shares them with the generator, so look at its CPU time per message, not at the rate.
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

cores=0
# start COMMAND...: runs it on the cores $cores and sets `child` and `port`. No limit on the child's own life: the trap ends it.
start() {
    : >"$work/ready"
    taskset -c "$cores" "$@" >"$work/ready" &
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

# measure NAME CONNECTIONS WINDOW OPERATION [flags]: one line "NAME rate p50 p99 server_us generator_us" in the results.
measure() {
    name=$1 connections=$2 window=$3 operation=$4
    shift 4
    timeout "$limit" taskset -c 1 "$load" throughput --url "ws://127.0.0.1:$port/" --op "$operation" \
        --connections "$connections" --window "$window" --seconds "$secs" --warmup "$warmup" --runs "$runs" \
        --pid "$child" "$@" >"$work/out" || { cat "$work/out"; echo "run.sh: $name failed" >&2; exit 1; }
    sed -n 's/^median: //p' "$work/out" | tr ' ' '\n' | awk -F= -v name="$name" '
        { value[$1] = $2 }
        END { print name, value["msgs_per_s"], value["p50_us"], value["p99_us"],
              value["server_cpu_us"], value["generator_cpu_us"] }' >>"$work/results"
}

# fanout NAME WINDOW: one line "NAME deliveries_per_s states_per_push" in the deliveries, the median by rate.
fanout() {
    for _ in $(seq "$runs"); do
        timeout "$limit" taskset -c 1 "$load" fanout --url "ws://127.0.0.1:$port/" --subscribers 1000 \
            --window "$2" --seconds "$secs" >"$work/out" || { cat "$work/out" >&2; echo "run.sh: $1 failed" >&2; exit 1; }
        sed -n 's/^fanout: //p' "$work/out" | tr ' ' '\n' | awk -F= -v name="$1" '
            { value[$1] = $2 } END { print name, value["deliveries_per_s"], value["states_per_push"] }'
    done >"$work/runs"
    sort -k2n "$work/runs" | sed -n "$(((runs + 1) / 2))p" >>"$work/deliveries"
}

serve() { start "$server" --host 127.0.0.1 --port 0 --ready-line --log-level error; }

serve
measure server-1x1 1 1 get
measure server-50x16 50 16 get
for operation in insert update transaction; do measure "$operation-50x16" 50 16 "$operation"; done
fanout server-1 1
fanout server-8 8
stop_child
start "$floor" --mode envelope
measure floor-1x1 1 1 get --no-setup
measure floor-50x16 50 16 get --no-setup
stop_child
start "$floor" --mode fanout
fanout floor-1 1
fanout floor-8 8
stop_child
cores=0,1
serve
for operation in get insert update; do measure "2-threads-$operation" 50 16 "$operation"; done
stop_child

awk -v runs="$runs" -v secs="$secs" '
    BEGIN {
        printf "medians of %s runs of %s s; store.get unless another operation is named\n", runs, secs
        printf "%-18s %10s %9s %9s %14s %17s\n", "", "msgs/s", "p50 us", "p99 us", "server us/msg", "generator us/msg"
    }
    {
        rate[$1] = $2; cpu[$1] = $5
        printf "%-18s %10d %9.1f %9.1f %14.2f %17.2f\n", $1, $2, $3, $4, $5, $6
    }
    function ratio(of, to) { return to ? of / to : 0 }
    END {
        printf "server/floor rate  1x1 %.2f   50x16 %.2f", ratio(rate["server-1x1"], rate["floor-1x1"]), \
            ratio(rate["server-50x16"], rate["floor-50x16"])
        printf "   insert %.2f", ratio(rate["insert-50x16"], rate["floor-50x16"])
        printf "\nfloor/server CPU   50x16 %.2f", ratio(cpu["floor-50x16"], cpu["server-50x16"])
        printf "   insert %.2f\n", ratio(cpu["floor-50x16"], cpu["insert-50x16"])
        printf "CPU per message, two threads/one (1 = perfect scaling)  get %.2f   insert %.2f   update %.2f\n", \
            ratio(cpu["2-threads-get"], cpu["server-50x16"]), ratio(cpu["2-threads-insert"], cpu["insert-50x16"]), \
            ratio(cpu["2-threads-update"], cpu["update-50x16"])
    }' "$work/results"
# A push may show several writes: the server sends the latest result only, the floor every one.
awk '
    BEGIN { printf "fan-out to 1000 subscribers, so many writes in flight\n%-18s %14s %17s\n", "", "deliveries/s", "writes shown/s" }
    { rate[$1] = $2; shown[$1] = $2 * $3; printf "%-18s %14d %17d\n", $1, $2, shown[$1] }
    END {
        for (i = 1; i <= 8; i += 7)
            if (rate["floor-" i])
                printf "server/floor, %d in flight  deliveries %.2f   writes shown %.2f\n", i, \
                    rate["server-" i] / rate["floor-" i], shown["server-" i] / shown["floor-" i]
    }' "$work/deliveries"
