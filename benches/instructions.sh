#!/bin/sh
# Counts the instructions of each kind of work with callgrind and writes benches/instructions.md.
# Two runs of different lengths per work; their difference leaves out start and set-up. Needs valgrind.
# Environment: NO_BUILD=1 to use the binary as it is.
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
if [ "${NO_BUILD:-0}" != 1 ]; then
    cargo build --release -p noex-bench --bin noex-count
fi
count=$target/release/noex-count
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# collected WORK TIMES: instructions of the whole run.
collected() {
    valgrind --tool=callgrind --callgrind-out-file="$work/out" "$count" "$1" "$2" 2>&1 >"$work/answer" |
        sed -n 's/.*Collected : //p'
}

names=$("$count" 2>&1 | sed -n 's/^WORK: //p' || true)
[ -n "$names" ] || { echo "instructions.sh: $count names no works" >&2; exit 1; }
{
    echo '# Instructions per operation'
    echo
    echo 'Counted with callgrind: with one compiler the same everywhere within a percent (hash seeds are random), unlike time. `floor` is serde_json'
    echo 'reading the envelope of a `store.get`. `core-*` is the connection machine alone, the others include the store'
    echo '(10,000 records of 200 bytes, one index). `core-push-100` is one result to 100 connections.'
    echo 'Regenerate with `benches/instructions.sh`; the works are in `benches/src/bin/noex-count.rs`.'
    echo
    echo '| work | instructions | of the floor |'
    echo '|---|--:|--:|'
    floor=
    for name in $names; do
        less=$(collected "$name" 500)
        more=$(collected "$name" 2500)
        each=$(((more - less) / 2000))
        : "${floor:=$each}"
        awk -v name="$name" -v each="$each" -v floor="$floor" \
            'BEGIN { printf "| %s | %d | %.2f |\n", name, each, each / floor }'
    done
    echo
    rustc --version | sed 's/ (.*//'
} >"$work/table"
cp "$work/table" benches/instructions.md
cat benches/instructions.md
