#!/usr/bin/env bash
# Sweeps on 1, 2 and 3 ranks of MPI, and killed ones that go on, equal those of `ditplan` byte for byte.
# Needs mpirun, mpicc and libclang (Debian: apt-get install libopenmpi-dev openmpi-bin libclang-dev).
set -euo pipefail
cd "$(dirname "$0")"

for tool in mpirun mpicc; do
    if ! command -v "$tool" > /dev/null; then
        echo "SKIPPED: sweeps over MPI: no $tool here (Debian: apt-get install libopenmpi-dev openmpi-bin libclang-dev)."
        exit 0
    fi
done
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

cargo fmt --check
cargo clippy --release -- -D warnings
cargo build --release
(cd ../.. && cargo build --release -p ditplan)
plain=${CARGO_TARGET_DIR:-../../target}/release/ditplan
ranked=${CARGO_TARGET_DIR:-target}/release/ditplan-mpi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
question=(sweep --machine 4xL20@25GB/s --plan ulysses2 --plan ring4/1bit --resume
    --vary link.bandwidth=1GB/s..900GB/s:100:log --vary steps=11..40:30)
ranks() {
    mpirun --oversubscribe --bind-to none -n "$1" "$ranked" "${question[@]}" --out "$2" > /dev/null
}

"$plain" "${question[@]}" --out "$work/plain.csv" > /dev/null
for n in 1 2 3; do
    ranks "$n" "$work/$n.csv"
    cmp "$work/plain.csv" "$work/$n.csv"
    echo "$n ranks: the same $(wc -l < "$work/plain.csv") lines"
done

# Odd rounds kill one rank (the newest, never rank 0: mpirun then ends the others), even ones mpirun itself.
killed=0
for round in 1 2 3 4 5 6; do
    ranks 3 "$work/torn.csv" 2> /dev/null &
    run=$!
    sleep "$(awk -v seed="$RANDOM" 'BEGIN { srand(seed); print 0.4 + 1.6 * rand() }')"
    # The function runs in a shell of its own: mpirun is its child, the ranks are mpirun's.
    launcher=$(pgrep -P "$run" -x mpirun || true)
    if [ -n "$launcher" ]; then
        victim=$launcher
        if [ $((round % 2)) = 1 ]; then
            victim=$(pgrep -P "$launcher" | tail -1 || true)
        fi
        [ -z "$victim" ] || { kill -9 "$victim" && killed=$((killed + 1)); }
    fi
    wait "$run" || true
done
echo "killed $killed times, at $(($(wc -l < "$work/torn.csv") - 1)) rows of $(($(wc -l < "$work/plain.csv") - 1))"
ranks 2 "$work/torn.csv"
cmp "$work/plain.csv" "$work/torn.csv"

# A wrong question is one sentence, from rank 0, and exit code 2.
if mpirun --oversubscribe -n 2 "$ranked" sweep --vary gpus=0 > /dev/null 2> "$work/wrong"; then
    echo "a wrong question was answered" >&2
    exit 1
fi
[ "$(grep -c 'above 0' "$work/wrong")" = 1 ]
echo "1 passed in ditplan/mpi/check.sh: same bytes on 1, 2 and 3 ranks and after $killed kills"
