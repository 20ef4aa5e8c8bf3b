#!/usr/bin/env bash
# The commands that ditplan emits, passed to the engines' own parsers and configurations.
#   tests/engines/run.sh [COUNT]     COUNT: commands an engine (50)
# The engines' wheels (60 MB, wheels.txt) are fetched once and unpacked under target/engines; nothing of them is installed.
# Exit code: 0 all accepted; 1 one refused, or failed; 2 wrong arguments; 77 skipped, the reason is printed.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ $# -gt 1 ] || ! [[ ${1:-50} =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 [COUNT]" >&2
    exit 2
fi

skip() {
    echo "SKIPPED: emitted commands against the engines (tests/engines): $1"
    exit 77
}

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || skip "they are read by Python 3.11 or newer"

# One platform and one Python, whatever runs here: the wheels are read, their compiled parts are not loaded.
fetch() {
    "$python" -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 30 --no-deps --only-binary=:all: \
        --platform manylinux_2_34_x86_64 --python-version 3.11 --implementation cp --abi cp311 --abi none "$@"
}

target=${CARGO_TARGET_DIR:-target}
wheels=$target/engines/$(sha256sum tests/engines/wheels.txt | cut -c1-16)
if [ ! -d "$wheels" ]; then
    echo "== fetching the wheels of the engines into $target/engines (60 MB, once)"
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    if ! fetch --require-hashes -r tests/engines/wheels.txt --dest "$fresh" 2> "$fresh/log"; then
        fetch --dest "$fresh/probe" "setuptools>=68" 2> /dev/null || skip "pip cannot reach a package registry"
        cat "$fresh/log" >&2
        exit 1
    fi
    mkdir -p "$target/engines"
    for wheel in "$fresh"/*.whl; do
        name=$(basename "$wheel")
        "$python" -m zipfile -e "$wheel" "$fresh/unpacked/${name%%-*}"
    done
    rm -rf "$target"/engines/*
    mv "$fresh/unpacked" "$wheels"
fi

cargo build --quiet --release -p ditplan
"$python" tests/engines/check.py "$target/release/ditplan" "$wheels" "${1:-50}"
