#!/usr/bin/env bash
# Every figure of speed, in one run: queue and engine, network, collectives, whole jobs; against SimGrid and
# nexosim where they can be built. Writes the raw runs beside the benchmarks. A few minutes on an idle machine,
# the first time also what building takes.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers=${PEERS:-${TMPDIR:-/tmp}/ditplan-peers}
sim/benches/peers/build.sh "$peers"
[ -x "$peers/simgrid" ] && export SIMGRID=$peers/simgrid
[ -x "$peers/nexosim" ] && export NEXOSIM=$peers/nexosim
cargo bench --no-run -p sim --bench hold --bench network
cargo bench --no-run -p planner --bench jobs

record() { # file, package, benchmark
    {
        echo "# cargo bench -p $2 --bench $3   ($(date +%F), load $(cut -d' ' -f1 /proc/loadavg) before)"
        echo "# $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $(nproc) cores; $(rustc --version)"
        cargo bench -q -p "$2" --bench "$3"
    } | tee "$1"
}
record sim/benches/hold.txt sim hold
record sim/benches/network.txt sim network
record planner/benches/jobs.txt planner jobs
