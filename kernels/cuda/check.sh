#!/usr/bin/env bash
# Checks the GPU kernels without a GPU:
#   1. every .cu compiles to PTX and machine code for sm_80, sm_89, sm_90, without spilled registers
#   2. run on the CPU (emulate/), every compressor agrees with the CPU reference, blocks and threads
#      in order and in reverse
#   3. no driver, and a driver without a device, are one sentence
# The compiler comes from pinned wheels in .venv beside this file, installed once.
# `check.sh ptx` does only 1, `check.sh run` only 2 and 3.
set -euo pipefail
cd "$(dirname "$0")"
what=${1:-all}
if [[ $what != ptx ]] && ! command -v g++ > /dev/null; then
    echo "the emulator needs g++: install it (Debian: apt install g++), or run \"$0 ptx\"" >&2
    exit 1
fi

wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88)
if [[ ! -x .venv/bin/pip ]]; then
    python3 -m venv .venv
fi
cuda=$(echo .venv/lib/python3*/site-packages/nvidia/cu13)
if [[ ! -x $cuda/bin/nvcc ]]; then
    .venv/bin/pip install --quiet "${wheels[@]}"
    cuda=$(echo .venv/lib/python3*/site-packages/nvidia/cu13)
fi
cuda=$PWD/$cuda

compile() {
    mkdir -p build
    local arch jobs=()
    for arch in 80 89 90; do
        compile_for "$arch" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

compile_for() {
    local arch=$1 source name
    for source in *.cu; do
        name=build/${source%.cu}_sm_$arch
        cat common.cuh "$source" > "$name.cu"
        "$cuda/bin/nvcc" -ptx -arch=compute_$arch -Werror all-warnings -o "$name.ptx" "$name.cu"
        "$cuda/bin/ptxas" -v -arch=sm_$arch -o "$name.cubin" "$name.ptx" > "$name.log" 2>&1 ||
            { cat "$name.log"; exit 1; }
        python3 - "$name.log" "$source" "sm_$arch" <<'PYTHON'
import re, sys

log, source, arch = open(sys.argv[1]).read(), sys.argv[2], sys.argv[3]
names = re.findall(r"Compiling entry function '(\w+)'", log)
registers = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
bad = [name for name, stack in zip(names, stacks) if any(int(n) for n in stack)]
print(f"{source:12} {arch}: {len(names):3} kernels, {min(registers)} to {max(registers)} registers, {len(bad)} with spills")
if bad or len(names) != len(registers) or len(names) != len(stacks):
    sys.exit("spilled registers or a stack: " + " ".join(bad))
PYTHON
    done
}

run() {
    ./emulate/build.sh
    local emulated=$PWD/emulate/build nvrtc=$cuda/lib
    local test=(cargo test --quiet -p kernels --features cuda --test cuda)
    (
        cd ../..
        "${test[@]}" --no-run
        echo "emulated, in order"
        LD_LIBRARY_PATH=$emulated:$nvrtc DITPLAN_CUDA=emulated "${test[@]}" -- --nocapture
        echo "emulated, in reverse"
        LD_LIBRARY_PATH=$emulated:$nvrtc DITPLAN_CUDA=emulated DITPLAN_EMULATE_REVERSE=1 \
            DITPLAN_CUDA_ONLY=bit "${test[@]}" -- --nocapture
        echo "a driver without a device"
        LD_LIBRARY_PATH=$emulated DITPLAN_CUDA=absent DITPLAN_EMULATE_DEVICES=0 "${test[@]}"
    )
}

if [[ $what != run ]]; then compile; fi
if [[ $what != ptx ]]; then run; fi
echo "the GPU kernels are sound"
