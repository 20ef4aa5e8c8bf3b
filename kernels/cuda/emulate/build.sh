#!/usr/bin/env bash
# Builds the emulated driver and kernels into build/ beside this file: libcuda.so and kernels_*.so.
# Undefined behaviour (misaligned vectors, shifts, overflow, array bounds) traps.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p build
flags=(-std=c++17 -O1 -g -fPIC -shared -ffp-contract=off -fvisibility=hidden -fno-gnu-unique -w
    -fsanitize=undefined -fsanitize-undefined-trap-on-error)
g++ "${flags[@]}" -Wl,-soname,libcuda.so -o build/libcuda.so driver.cpp engine.cpp -ldl
for source in ../*.cu; do
    name=$(basename "$source" .cu)
    out=build/kernels_$name.so
    if [[ ! $out -nt $source || ! $out -nt ../common.cuh || ! $out -nt shim.h ]]; then
        g++ "${flags[@]}" -o "$out" -Wl,-rpath,'$ORIGIN' -Lbuild -include shim.h -include ../common.cuh \
            -x c++ "$source" -lcuda
    fi
done
