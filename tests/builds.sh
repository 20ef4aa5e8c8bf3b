#!/usr/bin/env bash
# Debug and release builds give the same bytes, on every command of tests/commands.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p ditplan
DITPLAN_OTHER_BUILD="$(realpath "${CARGO_TARGET_DIR:-target}")/release/ditplan" \
    cargo test -p ditplan --test integration -- --nocapture two_builds_answer_alike
