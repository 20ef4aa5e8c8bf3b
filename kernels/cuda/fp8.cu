// fp8: e4m3 codes with an fp16 scale a row.
//
// Reference: docs/wire-formats.md (fp8); kernels/src/wire/fp8.rs.
// Version: 1.
// Bytes an element, fp16 or bf16 base: encode 7 (x and base are read again from the first-level
// cache), decode 5.
// Launches: 1. Grid: a block a row, whose threads share its octets evenly.
// Exactness: every byte is the CPU's.
// Check and sweep: ditplan cuda check, ditplan cuda sweep.

#define MOST_THREADS 256

// The nearest e4m3, ties to even, at most 448.
__device__ __forceinline__ u32 narrow_e4m3(float value) {
    u32 sign = (__float_as_uint(value) >> 24) & 0x80u;
    float magnitude = fminf(fabsf(value), 448.0f);
    u32 bits = __float_as_uint(magnitude);
    u32 normal = ((bits + 0x7FFFFu + ((bits >> 20) & 1u)) >> 20) - ((127u - 7u) << 3);
    // Below 2^-6 the spacing is 2^-9, which is that of numbers from 2^14 to 2^15.
    u32 subnormal = __float_as_uint(__fadd_rn(magnitude, 16384.0f)) - __float_as_uint(16384.0f);
    return sign | ((magnitude < 0.015625f ? subnormal : normal) & 0x7Fu);
}

__device__ __forceinline__ float widen_e4m3(u32 code) {
    float magnitude = __uint_as_float((code & 0x7Fu) << 20);
    float scaled = __fmul_rn(magnitude, __uint_as_float((127u - 7u + 127u) << 23));
    return __uint_as_float(__float_as_uint(scaled) | (code & 0x80u) << 24);
}

template <class X, class B, bool WIDE>
__device__ __forceinline__ void octet_residual(
    const void *x, const void *base, const Place &place, float (&p)[OCTET], float (&r)[OCTET]
) {
    Halves bits = load_halves<WIDE>(x, place);
    predict<B>(base, load_base<B, WIDE>(base, place), p);
    residual<X, B>(place, bits, p, r);
}

template <class X, class B, bool WIDE>
__device__ __forceinline__ void encode(DITPLAN_PARAMETERS) {
    int row = blockIdx.x, step = blockDim.x * OCTET, first = threadIdx.x * OCTET;
    // Rounds are even in number for all threads: the groups of an integer base reduce by shuffles.
    int rounds = ceil_div(channels, step);
    float most = 0.0f;
    for (int round = 0; round < rounds; round++) {
        Place place = octet_at(rows, channels, row, first + round * step);
        float p[OCTET], r[OCTET];
        octet_residual<X, B, WIDE>(x, base, place, p, r);
#pragma unroll
        for (int j = 0; j < OCTET; j++) most = fmaxf(most, fabsf(r[j]));
    }
    u16 bits = narrow_up(__fdiv_rn(block_greatest(most), 448.0f));
    float scale = F16::widen(bits);
    if (threadIdx.x == 0) store_u16(message + (size_t)rows * channels + 2 * (size_t)row, bits);
    for (int round = 0; round < rounds; round++) {
        Place place = octet_at(rows, channels, row, first + round * step);
        float p[OCTET], r[OCTET];
        octet_residual<X, B, WIDE>(x, base, place, p, r);
        u64 codes = 0;
#pragma unroll
        for (int j = 0; j < OCTET; j++) {
            u32 code = bits ? narrow_e4m3(__fdiv_rn(r[j], scale)) : 0;
            codes |= (u64)code << (8 * j);
            r[j] = __fmul_rn(widen_e4m3(code), scale);
        }
        store_bytes<WIDE, 8>(message + place.element(), codes, place.count);
        advance<X, B, WIDE>(base, out, place, p, r);
    }
}

template <class X, class B, bool WIDE>
__device__ __forceinline__ void decode(DITPLAN_PARAMETERS) {
    int row = blockIdx.x, step = blockDim.x * OCTET, first = threadIdx.x * OCTET;
    float scale = F16::widen(load_u16(message + (size_t)rows * channels + 2 * (size_t)row));
    int rounds = ceil_div(channels, step);
    for (int round = 0; round < rounds; round++) {
        Place place = octet_at(rows, channels, row, first + round * step);
        u64 codes = load_bytes<WIDE, 8>(message + place.element(), place.count);
        float p[OCTET], d[OCTET];
        predict<B>(base, load_base<B, WIDE>(base, place), p);
#pragma unroll
        for (int j = 0; j < OCTET; j++)
            d[j] = __fmul_rn(widen_e4m3((u32)(codes >> (8 * j)) & 0xFFu), scale);
        advance<X, B, WIDE>(base, out, place, p, d);
    }
}

DITPLAN_ENTRIES(fp8_encode_1, encode, MOST_THREADS, 3)
DITPLAN_ENTRIES(fp8_decode_1, decode, MOST_THREADS, 3)
