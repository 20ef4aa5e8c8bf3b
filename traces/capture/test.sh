#!/usr/bin/env bash
# Tests of the capture package in a virtual environment of its own (traces/capture/.venv), kept while pyproject.toml
# stays the same. With --skip-if-offline a machine that cannot install says so and the script succeeds; everything
# else that goes wrong is a failure.
set -euo pipefail
cd "$(dirname "$0")"

skip_if_offline=no
for argument in "$@"; do
    case $argument in
        --skip-if-offline) skip_if_offline=yes ;;
        *) echo "usage: $0 [--skip-if-offline]" >&2; exit 2 ;;
    esac
done

python=${PYTHON:-python3}
key=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open("pyproject.toml", "rb").read() + sys.version.encode()).hexdigest())')
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Whether a registry answers: the build's own requirement, nothing installed. pip's configuration says which registry.
registry_answers() {
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 15 --no-deps \
        --dest .venv/probe "setuptools>=68" >"$log" 2>&1
}

if [ "$(cat .venv/ditplan-key 2>/dev/null || true)" != "$key" ]; then
    echo "== installing the capture package and its test requirements into traces/capture/.venv (minutes, once)"
    rm -rf .venv
    "$python" -m venv .venv
    if ! registry_answers; then
        rm -rf .venv
        if [ "$skip_if_offline" = yes ]; then
            echo "SKIPPED: tests of traces/capture, because pip cannot reach a package registry."
            exit 0
        fi
        cat "$log" >&2
        echo "pip cannot reach a package registry; give --skip-if-offline to pass without these tests." >&2
        exit 1
    fi
    rm -rf .venv/probe
    # uv unpacks what it downloads straight into place: a third of pip's time and half of its room on the disk.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir uv
    install() {
        UV_CACHE_DIR=.venv/uv-cache .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"
    }
    # PyTorch built for the CPU is a tenth of the size; CAPTURE_TORCH_INDEX names a registry that has it.
    if [ -n "${CAPTURE_TORCH_INDEX:-}" ]; then
        install --default-index "$CAPTURE_TORCH_INDEX" torch
    fi
    # Triton compiles for GPUs only: 1 GB that no test here uses.
    echo 'triton ; sys_platform == "never"' >.venv/without.txt
    install --override .venv/without.txt --editable ".[test]"
    rm -rf .venv/uv-cache
    echo "$key" >.venv/ditplan-key
fi

echo "== pytest traces/capture"
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -W ignore::DeprecationWarning

echo "== tests/gpu/run_all.sh --device cpu --toy (1 to 3 minutes)"
results=$(mktemp -d)
trap 'rm -rf "$log" "$results"' EXIT
PYTHON=$PWD/.venv/bin/python OMP_NUM_THREADS=1 ../../tests/gpu/run_all.sh "$results" --device cpu --toy
