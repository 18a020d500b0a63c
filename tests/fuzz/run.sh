#!/usr/bin/env bash
# Fuzzes each parser for so many seconds (600), one after the other, with what it knows from last time.
#
# libFuzzer is guided by coverage that stable Rust can note; it needs a C++ compiler and no nightly.
# `tests/fuzz/run.sh 600 pattern receipt` runs only these. What it found stays in `tests/fuzz/found`,
# which is not committed; `tests/fuzz/corpus` is where it begins.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-600}"
shift || true
targets=("$@")
[[ $# -gt 0 ]] || targets=(device event mapping pattern receipt)

host="$(rustc -vV | sed -n 's/^host: //p')"
llvm=(level=4 inline-8bit-counters pc-table trace-compares)
flags="--cfg fuzzing -Cpasses=sancov-module -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1"
for it in "${llvm[@]}"; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$it"
done
# With a target named, build scripts and macros are built without these flags.
RUSTFLAGS="$flags" cargo build --target "$host" --target-dir ../../target/fuzz

for target in "${targets[@]}"; do
    mkdir -p "found/$target"
    "../../target/fuzz/$host/debug/$target" "found/$target" "corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0
done
