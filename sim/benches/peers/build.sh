#!/usr/bin/env bash
# Builds the peers into the folder given; skips, with a printed reason, what is not installed.
# SimGrid: Debian's libsimgrid-dev (3.32). nexosim: a crate, fetched by cargo.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
if [ -f /usr/include/simgrid/s4u.hpp ] && command -v g++ >/dev/null; then
    g++ -O2 -std=c++17 "$here/simgrid.cpp" -lsimgrid -o "$out/simgrid"
else
    echo "SKIPPED simgrid: needs g++ and libsimgrid-dev (apt-get install libsimgrid-dev)"
fi
cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "$out/target" &&
    cp "$out/target/release/peers" "$out/nexosim" ||
    echo "SKIPPED nexosim: its crate does not build here"
