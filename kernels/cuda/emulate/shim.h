// CUDA's words for g++: enough to compile the .cu files unmodified and run them on the CPU.
//
// Threads of a block are fibers of one CPU thread, blocks run one after the other, so __shared__ is
// static and atomics are plain. A barrier or shuffle that not every thread reaches stops the program.
// What it does not show: races between blocks that are not ordered by an atomic (blocks may be run in
// reverse, see driver.cpp), weak memory ordering, speed.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DITPLAN_EMULATE 1
#define __global__ __attribute__((visibility("default")))
#define __device__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct dim3_ {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulate {
struct Engine {
    dim3_ thread, block, threads, blocks;
    unsigned char *shared;
    void (*barrier)();
    // Lets the lanes of a warp exchange 8 bytes: gives that of lane `from`.
    uint64_t (*exchange)(uint64_t value, unsigned from);
};
extern "C" __attribute__((visibility("default"))) Engine *ditplan_engine;
static inline unsigned char *dynamic_shared() { return ditplan_engine->shared; }

template <class T>
static inline T exchange(T value, unsigned from) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = ditplan_engine->exchange(bits, from);
    memcpy(&value, &bits, sizeof value);
    return value;
}
}  // namespace emulate

#define threadIdx (emulate::ditplan_engine->thread)
#define blockIdx (emulate::ditplan_engine->block)
#define blockDim (emulate::ditplan_engine->threads)
#define gridDim (emulate::ditplan_engine->blocks)

static inline void __syncthreads() { emulate::ditplan_engine->barrier(); }
static inline void __threadfence() {}
template <class T>
static inline T __shfl_xor_sync(unsigned, T value, unsigned mask) {
    return emulate::exchange(value, threadIdx.x % 32 ^ mask);
}
template <class T>
static inline T __shfl_sync(unsigned, T value, unsigned lane) {
    return emulate::exchange(value, lane % 32);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T value, unsigned step) {
    unsigned lane = threadIdx.x % 32;
    return emulate::exchange(value, lane >= step ? lane - step : lane);
}
template <class T>
static inline T __shfl_down_sync(unsigned, T value, unsigned step) {
    unsigned lane = threadIdx.x % 32;
    return emulate::exchange(value, lane + step < 32 ? lane + step : lane);
}
template <class T>
static inline T atomicAdd(T *at, T value) {
    T old = *at;
    *at = old + value;
    return old;
}
template <class T>
static inline T atomicMax(T *at, T value) {
    T old = *at;
    if (value > old) *at = value;
    return old;
}
template <class T>
static inline T __ldcg(const T *at) {
    return *at;
}

static inline int min(int a, int b) { return a < b ? a : b; }
static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
