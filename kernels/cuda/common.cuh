// What all compressors share: 16-bit floats, bases in 16, 8 or 4 bits, tiles of a matrix.
//
// Reference: docs/wire-formats.md ("Common to all formats", "Protocol"); kernels/src/wire on the CPU.
// Version: 1.
// Loading: the text of this file, then that of one .cu, compiled as one source; no header is needed.
//
// Every entry point has the same nine parameters (DITPLAN_PARAMETERS):
//   x        N x C activations, 16 bits each, row after row
//   base     the base, changed in place; null for order 0 (prediction 0)
//   out      null, or N x C activations that get the reconstruction
//   message  the wire format, byte by byte
//   work     scratch memory; zeroed once when allocated, left ready for the next launch
//   rows, channels   N, C
//   option   meaning by family: M of sparse, rank, strips of rows a block
//   stage    meaning by family
// An integer base is its codes, row after row, then its fp16 scales, as an int8 or int4 message.
//
// Work is cut into tiles of 256 channels: lane l of a warp has the octet of channels 8 l to 8 l + 7,
// so the eight lanes of a group of 64 channels reduce by shuffles. No thread leaves before the last
// barrier or shuffle. Products and sums are written as intrinsics that no compiler contracts: the
// CPU rounds each.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DITPLAN_PARAMETERS                                                                         \
    const void *x, void *base, void *out, u8 *message, void *work, int rows, int channels,         \
        int option, int stage
#define DITPLAN_ARGUMENTS x, base, out, message, work, rows, channels, option, stage

#ifdef DITPLAN_EMULATE
#define DITPLAN_DYNAMIC_SHARED(name) u8 *name = emulate::dynamic_shared()
#else
#define DITPLAN_DYNAMIC_SHARED(name) extern __shared__ __align__(16) u8 name[]
#endif

// Channels of a thread, of a quantiser's group, of a tile.
#define OCTET 8
#define GROUP 64
#define TILE_CHANNELS 256
#define LANES 32
#define EVERY_LANE 0xFFFFFFFFu

// ---------------------------------------------------------------- 16-bit floats

// Held within +-limit; a NaN becomes the limit.
__device__ __forceinline__ float saturated(float value, float limit) {
    return fmaxf(fminf(value, limit), -limit);
}

struct F16 {
    static const bool LIMITED = false;
    static const u16 NOT_FINITE = 0x7C00;

    __device__ static __forceinline__ float widen(u16 bits) {
#ifdef __CUDA_ARCH__
        float value;
        asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
        return value;
#else
        u32 extended = (u32)(int)(short)bits;
        return __uint_as_float((extended << 13) & 0x8FFFE000u) * __uint_as_float((112u + 127u) << 23);
#endif
    }

    // To nearest, ties to even, at most 65504.
    __device__ static __forceinline__ u16 narrow(float value) {
        value = saturated(value, 65504.0f);
#ifdef __CUDA_ARCH__
        u16 bits;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
        return bits;
#else
        u32 sign = (__float_as_uint(value) >> 16) & 0x8000u;
        float magnitude = fabsf(value);
        u32 bits = __float_as_uint(magnitude);
        u32 normal = (bits + 0xFFFu - (112u << 23) + ((bits >> 13) & 1u)) >> 13;
        u32 subnormal = __float_as_uint(magnitude + 0.5f) - __float_as_uint(0.5f);
        return (u16)(sign | (magnitude < 6.103515625e-5f ? subnormal : normal));
#endif
    }
};

struct Bf16 {
    static const bool LIMITED = true;
    static const u16 NOT_FINITE = 0x7F80;

    __device__ static __forceinline__ float widen(u16 bits) {
        return __uint_as_float((u32)bits << 16);
    }

    // To nearest, ties to even, at most the largest finite one.
    __device__ static __forceinline__ u16 narrow(float value) {
        u32 all = __float_as_uint(value);
        u32 bits = all & 0x7FFFFFFFu;
        bits = bits < 0x7F7F0000u ? bits : 0x7F7F0000u;
        return (u16)(((all >> 16) & 0x8000u) | ((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16));
    }
};

// The least fp16 that is not below a value of zero or more; 65504 where there is none.
__device__ __forceinline__ u16 narrow_up(float value) {
    u16 nearest = F16::narrow(value);
    return F16::widen(nearest) < value && nearest < 0x7BFF ? nearest + 1 : nearest;
}

// A 16-bit number at any address.
__device__ __forceinline__ void store_u16(u8 *at, u16 bits) {
    if (((size_t)at & 1) == 0) {
        *(u16 *)at = bits;
    } else {
        at[0] = (u8)bits;
        at[1] = (u8)(bits >> 8);
    }
}

__device__ __forceinline__ u16 load_u16(const u8 *at) {
    return ((size_t)at & 1) == 0 ? *(const u16 *)at : (u16)(at[0] | ((u16)at[1] << 8));
}

// ---------------------------------------------------------------- octets

struct Place {
    int rows, channels;
    int row, channel;
    // Channels of the octet inside the matrix: 8, fewer at a row's end, 0 outside.
    int count;
    // The octet's place in the matrix; where it lies outside, of another one that may be read.
    __device__ __forceinline__ size_t element() const { return (size_t)row * channels + channel; }
};

// The octet at `channel` of `row`, or an empty one.
__device__ __forceinline__ Place octet_at(int rows, int channels, int row, int channel) {
    Place place;
    place.rows = rows;
    place.channels = channels;
    bool inside = row < rows && channel < channels;
    int left = channels - channel;
    place.count = inside ? (left < OCTET ? left : OCTET) : 0;
    place.row = row < rows ? row : rows - 1;
    place.channel = channel < channels ? channel : (channels - 1) / OCTET * OCTET;
    return place;
}

struct Halves {
    uint4 bits;
    __device__ __forceinline__ u16 get(int i) const {
        u32 word = i < 2 ? bits.x : i < 4 ? bits.y : i < 6 ? bits.z : bits.w;
        return (u16)(i % 2 ? word >> 16 : word);
    }
};

__device__ __forceinline__ Halves pack_halves(const u16 (&h)[OCTET]) {
    Halves out;
    out.bits.x = h[0] | (u32)h[1] << 16;
    out.bits.y = h[2] | (u32)h[3] << 16;
    out.bits.z = h[4] | (u32)h[5] << 16;
    out.bits.w = h[6] | (u32)h[7] << 16;
    return out;
}

// WIDE: every octet is whole and 16-byte aligned.
template <bool WIDE>
__device__ __forceinline__ Halves load_halves(const void *from, const Place &place) {
    const u16 *at = (const u16 *)from + place.element();
    if (WIDE) {
        Halves out;
        out.bits = *(const uint4 *)at;
        return out;
    } else {
        u16 h[OCTET] = {};
#pragma unroll
        for (int i = 0; i < OCTET; i++)
            if (i < place.count) h[i] = at[i];
        return pack_halves(h);
    }
}

template <class H, bool WIDE>
__device__ __forceinline__ void store_halves(void *to, const Place &place, const float (&v)[OCTET]) {
    u16 h[OCTET];
#pragma unroll
    for (int i = 0; i < OCTET; i++) h[i] = H::narrow(v[i]);
    u16 *at = (u16 *)to + place.element();
    if (WIDE) {
        if (place.count) *(uint4 *)at = pack_halves(h).bits;
    } else {
#pragma unroll
        for (int i = 0; i < OCTET; i++)
            if (i < place.count) at[i] = h[i];
    }
}

template <class H>
__device__ __forceinline__ void widen(const Halves &halves, float (&v)[OCTET]) {
#pragma unroll
    for (int i = 0; i < OCTET; i++) v[i] = H::widen(halves.get(i));
}

// ---------------------------------------------------------------- bytes of an octet

// The codes of an octet take BYTES bytes, `present` of which exist.
template <bool WIDE, int BYTES>
__device__ __forceinline__ void store_bytes(u8 *at, u64 bytes, int present) {
    if (WIDE) {
        if (present == 0) return;
        if (BYTES == 8) *(u64 *)at = bytes;
        if (BYTES == 4) *(u32 *)at = (u32)bytes;
        if (BYTES == 2) *(u16 *)at = (u16)bytes;
        if (BYTES == 1) *at = (u8)bytes;
    } else {
#pragma unroll
        for (int i = 0; i < BYTES; i++)
            if (i < present) at[i] = (u8)(bytes >> (8 * i));
    }
}

template <bool WIDE, int BYTES>
__device__ __forceinline__ u64 load_bytes(const u8 *at, int present) {
    if (WIDE) {
        if (BYTES == 8) return *(const u64 *)at;
        if (BYTES == 4) return *(const u32 *)at;
        if (BYTES == 2) return *(const u16 *)at;
        return *at;
    } else {
        u64 bytes = 0;
#pragma unroll
        for (int i = 0; i < BYTES; i++)
            if (i < present) bytes |= (u64)at[i] << (8 * i);
        return bytes;
    }
}

// ---------------------------------------------------------------- integers with a scale a group

// The greatest of the eight lanes of a group of 64 channels.
__device__ __forceinline__ float group_greatest(float value) {
#pragma unroll
    for (int step = 1; step < OCTET; step *= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    return value;
}

template <int BITS>
struct Codes {
    typedef u64 Word;
};
template <>
struct Codes<4> {
    typedef u32 Word;
};

template <int BITS>
struct Integer {
    static const int BYTES = BITS;  // of an octet
    typedef typename Codes<BITS>::Word Word;
    struct Raw {
        Word codes;
        u16 scale;
    };

    __device__ static __forceinline__ float largest() { return BITS == 8 ? 127.0f : 7.0f; }
    __device__ static __forceinline__ size_t row_bytes(int channels) {
        return BITS == 8 ? (size_t)channels : (size_t)(channels + 1) / 2;
    }
    __device__ static __forceinline__ size_t code_at(const Place &p) {
        return p.row * row_bytes(p.channels) + (BITS == 8 ? p.channel : p.channel / 2);
    }
    __device__ static __forceinline__ size_t scale_at(const Place &p) {
        size_t groups = (size_t)(p.channels + GROUP - 1) / GROUP;
        return p.rows * row_bytes(p.channels) + 2 * (p.row * groups + p.channel / GROUP);
    }
    __device__ static __forceinline__ int bytes_of(int count) {
        return BITS == 8 ? count : (count + 1) / 2;
    }

    template <bool WIDE>
    __device__ static __forceinline__ Raw load(const void *from, const Place &place) {
        const u8 *at = (const u8 *)from;
        Raw raw;
        raw.codes = (Word)load_bytes<WIDE, BYTES>(at + code_at(place), bytes_of(place.count));
        raw.scale = load_u16(at + scale_at(place));
        return raw;
    }

    __device__ static __forceinline__ void widen(const Raw &raw, float (&v)[OCTET]) {
        float scale = F16::widen(raw.scale);
#pragma unroll
        for (int i = 0; i < OCTET; i++) {
            int code = (int)((u32)(raw.codes >> (BITS * i)) << (32 - BITS)) >> (32 - BITS);
            v[i] = __fmul_rn((float)code, scale);
        }
    }

    // The codes of an octet and the scale of its group. Every lane of a warp calls it.
    __device__ static __forceinline__ Raw quantise(const Place &place, const float (&v)[OCTET]) {
        float most = 0.0f;
#pragma unroll
        for (int i = 0; i < OCTET; i++)
            if (i < place.count) most = fmaxf(most, fabsf(v[i]));
        Raw raw;
        raw.scale = narrow_up(__fdiv_rn(group_greatest(most), largest()));
        raw.codes = 0;
        float scale = F16::widen(raw.scale);
#pragma unroll
        for (int i = 0; i < OCTET; i++) {
            float code = saturated(__fdiv_rn(v[i], scale), largest());
            // 1.5 x 2^23 rounds half to even and leaves the integer in the low bits.
            Word bits = __float_as_uint(__fadd_rn(code, 12582912.0f)) & ((1u << BITS) - 1);
            if (raw.scale != 0 && i < place.count) raw.codes |= bits << (BITS * i);
        }
        return raw;
    }

    template <bool WIDE>
    __device__ static __forceinline__ void store(void *to, const Place &place, const Raw &raw) {
        u8 *at = (u8 *)to;
        store_bytes<WIDE, BYTES>(at + code_at(place), raw.codes, bytes_of(place.count));
        if (place.count && place.channel % GROUP == 0) store_u16(at + scale_at(place), raw.scale);
    }
};

// ---------------------------------------------------------------- bases

template <class H>
struct HalfBase {
    static const bool LIMITED = H::LIMITED;
    typedef Halves Raw;

    template <bool WIDE>
    __device__ static __forceinline__ Raw load(const void *base, const Place &place) {
        return load_halves<WIDE>(base, place);
    }
    __device__ static __forceinline__ void widen(const Raw &raw, float (&p)[OCTET]) {
        ::widen<H>(raw, p);
    }
    template <bool WIDE>
    __device__ static __forceinline__ void write(void *base, const Place &place, const float (&v)[OCTET]) {
        store_halves<H, WIDE>(base, place, v);
    }
};

template <int BITS>
struct IntegerBase {
    static const bool LIMITED = false;
    typedef typename Integer<BITS>::Raw Raw;

    template <bool WIDE>
    __device__ static __forceinline__ Raw load(const void *base, const Place &place) {
        return Integer<BITS>::template load<WIDE>(base, place);
    }
    __device__ static __forceinline__ void widen(const Raw &raw, float (&p)[OCTET]) {
        Integer<BITS>::widen(raw, p);
    }
    template <bool WIDE>
    __device__ static __forceinline__ void write(void *base, const Place &place, const float (&v)[OCTET]) {
        Integer<BITS>::template store<WIDE>(base, place, Integer<BITS>::quantise(place, v));
    }
};

// The prediction of an octet: the base, or 0 where there is none.
template <class B>
__device__ __forceinline__ void predict(const void *base, const typename B::Raw &raw, float (&p)[OCTET]) {
    B::widen(raw, p);
#pragma unroll
    for (int i = 0; i < OCTET; i++) p[i] = base ? p[i] : 0.0f;
}

template <class B, bool WIDE>
__device__ __forceinline__ typename B::Raw load_base(const void *base, const Place &place) {
    if (base) return B::template load<WIDE>(base, place);
    return typename B::Raw();
}

// x - p, within +-2^96; 0 outside the matrix.
template <class X, class B>
__device__ __forceinline__ void residual(
    const Place &place, const Halves &bits, const float (&p)[OCTET], float (&r)[OCTET]
) {
    widen<X>(bits, r);
#pragma unroll
    for (int i = 0; i < OCTET; i++) {
        r[i] = __fsub_rn(r[i], p[i]);
        if (X::LIMITED || B::LIMITED) r[i] = saturated(r[i], 7.922816251426434e28f);
        if (i >= place.count) r[i] = 0.0f;
    }
}

// The new base and the reconstruction of an octet: p + d. Every lane of a warp calls it.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void advance(
    void *base, void *out, const Place &place, const float (&p)[OCTET], const float (&d)[OCTET]
) {
    float v[OCTET];
#pragma unroll
    for (int i = 0; i < OCTET; i++) v[i] = base ? __fadd_rn(p[i], d[i]) : d[i];
    if (out) store_halves<X, WIDE>(out, place, v);
    if (base) B::template write<WIDE>(base, place, v);
}

// Whether octets are whole and aligned.
__device__ __forceinline__ bool is_wide(
    const void *x, const void *base, const void *out, const void *message, int channels
) {
    size_t addresses = (size_t)x | (size_t)base | (size_t)out | (size_t)message;
    return channels % OCTET == 0 && (addresses & 15) == 0;
}

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Sums and maxima over a warp, in a fixed order.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    return value;
}

__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    return value;
}

__device__ __forceinline__ float warp_greatest(float value) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    return value;
}

// The greatest of a block, given to every thread. At most 32 warps.
__device__ __forceinline__ float block_greatest(float value) {
    __shared__ float greatest[LANES];
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    value = warp_greatest(value);
    if (lane == 0) greatest[warp] = value;
    __syncthreads();
    float all = 0.0f;
    for (int i = 0; i < (int)blockDim.x / LANES; i++) all = fmaxf(all, greatest[i]);
    __syncthreads();
    return all;
}

// True in every thread of the block that is the last of `count` to come here; what the others wrote
// before may then be read with __ldcg. The counter is 0 again afterwards.
__device__ __forceinline__ bool last_of(u32 *counter, int count) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) == (u32)count - 1;
        if (last) *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}

// Memory of a block that its parts use one after the other, a barrier between them.
__device__ __forceinline__ void *block_memory() {
    __shared__ u64 memory[1024];
    return memory;
}

// Entry points ditplan_<what>_<activation>_<base>: all, or with DITPLAN_ACTIVATION and DITPLAN_BASE
// defined as one of f16, bf16 and of f16, bf16, int8, int4 only those (compiling takes an eighth).
// `blocks` of `threads` fit a multiprocessor: the registers that the compiler may use.
typedef F16 Activation_f16;
typedef Bf16 Activation_bf16;
typedef HalfBase<F16> Base_f16;
typedef HalfBase<Bf16> Base_bf16;
typedef IntegerBase<8> Base_int8;
typedef IntegerBase<4> Base_int4;

#define DITPLAN_ENTRY(what, body, threads, blocks, xn, bn)                                         \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                  \
        ditplan_##what##_##xn##_##bn(DITPLAN_PARAMETERS) {                                         \
        if (is_wide(x, base, out, message, channels))                                              \
            body<Activation_##xn, Base_##bn, true>(DITPLAN_ARGUMENTS);                             \
        else                                                                                       \
            body<Activation_##xn, Base_##bn, false>(DITPLAN_ARGUMENTS);                            \
    }
#ifdef DITPLAN_BASE
#define DITPLAN_ONE(what, body, threads, blocks, xn, bn) DITPLAN_ENTRY(what, body, threads, blocks, xn, bn)
#define DITPLAN_ENTRIES(what, body, threads, blocks)                                               \
    DITPLAN_ONE(what, body, threads, blocks, DITPLAN_ACTIVATION, DITPLAN_BASE)
#else
#define DITPLAN_BASES(what, body, threads, blocks, xn)                                             \
    DITPLAN_ENTRY(what, body, threads, blocks, xn, f16)                                            \
    DITPLAN_ENTRY(what, body, threads, blocks, xn, bf16)                                           \
    DITPLAN_ENTRY(what, body, threads, blocks, xn, int8)                                           \
    DITPLAN_ENTRY(what, body, threads, blocks, xn, int4)
#define DITPLAN_ENTRIES(what, body, threads, blocks)                                               \
    DITPLAN_BASES(what, body, threads, blocks, f16)                                                \
    DITPLAN_BASES(what, body, threads, blocks, bf16)
#endif

// An entry point that is the same for every activation and base: ditplan_<what>.
#define DITPLAN_PLAIN(what, body, threads, blocks)                                                 \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                  \
        ditplan_##what(DITPLAN_PARAMETERS) {                                                       \
        body<F16, HalfBase<F16>, false>(DITPLAN_ARGUMENTS);                                        \
    }
