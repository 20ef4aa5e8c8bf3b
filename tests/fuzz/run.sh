#!/usr/bin/env bash
# Fuzzes every parser, one after another: tests/fuzz/run.sh [EXECUTIONS [PARSER...]], 1,000,000 executions unless told.
# Needs the nightly toolchain and cargo-fuzz (cargo install cargo-fuzz). What is found stands in tests/fuzz/artifacts, and
# `PARSER=name tests/fuzz/run.sh 1 FILE` repeats it; inputs that grew out of the seeds (tests/fuzz/corpus) stand in tests/fuzz/work.
#
# A finding is: a panic (overflow of numbers included), one input that takes 5 s, one allocation above 256 MB, 2 GB of
# memory. A table goes to standard output. No sanitizer: but for two modules that are not reached from here, the
# code has no `unsafe`, and without one there are three times as many executions.
set -euo pipefail
cd "$(dirname "$0")"

executions=${1:-1000000}
shift || true
cargo +nightly fuzz build --fuzz-dir . --sanitizer none any >&2
program=$(find "${CARGO_TARGET_DIR:-target}" -path "*/release/any" -type f | head -1)

if [ -n "${PARSER:-}" ]; then
    exec "$program" -timeout=5 -rss_limit_mb=2048 "$@"
fi
parsers=("$@")
if [ ${#parsers[@]} -eq 0 ]; then
    mapfile -t parsers < <(sed -n 's/^    ("\([a-z_]*\)", .*/\1/p' src/parsers.rs)
fi

failed=0
echo "| parser | executions | time, s | executions/s | peak memory, MB | kept inputs | findings |"
echo "|---|---|---|---|---|---|---|"
for parser in "${parsers[@]}"; do
    mkdir -p "work/$parser" "artifacts/$parser"
    log=work/$parser.log
    start=$(date +%s)
    # What is new goes to the first directory; the others are read.
    PARSER=$parser "$program" "work/$parser" "corpus/$parser" -runs="$executions" -max_len=4096 -timeout=5 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="artifacts/$parser/" >"$log" 2>&1 || failed=1
    seconds=$(($(date +%s) - start))
    stat() { grep -a "stat::$1:" "$log" | tail -1 | awk '{print $2}'; }
    echo "| $parser | $(stat number_of_executed_units) | $seconds | $(stat average_exec_per_sec) |" \
        "$(stat peak_rss_mb) | $(find "work/$parser" -type f | wc -l) |" \
        "$(find "artifacts/$parser" -type f | wc -l) |"
done
exit $failed
