#!/usr/bin/env bash
# Fuzz every parser of the engine for SECONDS in all: scripts/fuzz.sh [SECONDS] [TARGET…]
#
# Needs Rust and a C++ compiler, no nightly and no cargo-fuzz: the compiler's own coverage pass and libFuzzer do it.
# Fails when anything was found; the input that did it is named, and running the target with it shows it again.
# The corpus grows in target/fuzz/corpus; RAVEN_RECORDINGS adds real frames to its seeds.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_IN_ALL=${1:-40}
shift || true
TARGETS=("$@")
[ ${#TARGETS[@]} -gt 0 ] || TARGETS=(frame snapshot decimal record inlet)
HOME_OF_FUZZ=crates/raven-core/fuzz
WORK=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
RECORDINGS=${RAVEN_RECORDINGS:-../shared/data}
HOST=$(rustc -vV | sed -n 's/^host: //p')

command -v c++ >/dev/null || command -v g++ >/dev/null || {
    echo "libFuzzer needs a C++ compiler; install one: apt-get install g++" >&2
    exit 1
}

# What cargo-fuzz passes too. Giving --target keeps the coverage out of build scripts.
COVERAGE="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    COVERAGE="$COVERAGE -Cllvm-args=-sanitizer-coverage-$option"
done
echo "building the fuzz targets (first time about a minute)"
RUSTFLAGS="$COVERAGE" CARGO_TARGET_DIR="$WORK/build" \
    cargo build -q --release --locked --target "$HOST" --manifest-path "$HOME_OF_FUZZ/Cargo.toml"

mkdir -p "$WORK"/corpus/{frame,snapshot,decimal,record,inlet} "$WORK/found"
if [ -d "$RECORDINGS/frames" ] && command -v python3 >/dev/null; then
    python3 "$HOME_OF_FUZZ/add_real_seeds.py" "$RECORDINGS/frames" "$WORK/corpus"
else
    echo "no real frames at $RECORDINGS/frames; fuzzing from the committed seeds alone"
fi

EACH=$((SECONDS_IN_ALL / ${#TARGETS[@]}))
[ "$EACH" -ge 1 ] || EACH=1
FAILED=0
for target in "${TARGETS[@]}"; do
    echo "fuzzing $target for $EACH s"
    log="$WORK/$target.log"
    if "$WORK/build/$HOST/release/$target" -max_total_time="$EACH" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$WORK/found/$target-" \
        "$WORK/corpus/$target" "$HOME_OF_FUZZ/seeds/$target" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        [ "${runs:-0}" -gt 100 ] || { echo "$target ran only ${runs:-0} inputs; see $log" >&2; FAILED=1; continue; }
        echo "$target: $runs inputs, nothing found"
    else
        tail -n 40 "$log" >&2
        echo "$target: FAILED; show it again with $WORK/build/$HOST/release/$target FILE, files are in $WORK/found" >&2
        FAILED=1
    fi
done
exit "$FAILED"
