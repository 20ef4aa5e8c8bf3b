// sparse(1:M): of each block of M channels the value of largest magnitude, and its position.
//
// Reference: docs/wire-formats.md (sparse(1:M)); kernels/src/wire/sparse.rs.
// Version: 1.
// Bytes an element, fp16 or bf16 base: encode 6 + 2.5/M, decode 4 + 2.5/M.
// Launches: 1. Grid: a block for two rows, whose half bytes end on a byte; its threads share a row's
// octets evenly. `option` is M. Dynamic shared memory of an encode: a byte for each of the 2 ceil(C/M)
// positions.
// Exactness: every byte is the CPU's.
// Check and sweep: ditplan cuda check, ditplan cuda sweep.

#define MOST_THREADS 256
#define PAIR 2

// What an octet has of its blocks: one value and position for each M channels, of M = 16 half a block.
template <int M>
struct Kept {
    static const int COUNT = M < OCTET ? OCTET / M : 1;
    float value[COUNT];
    int position[COUNT];
};

// The first of largest magnitude. Every lane of a warp calls it.
template <int M>
__device__ __forceinline__ Kept<M> largest(const float (&r)[OCTET]) {
    Kept<M> kept;
#pragma unroll
    for (int b = 0; b < Kept<M>::COUNT; b++) {
        kept.value[b] = r[b * M % OCTET];
        kept.position[b] = 0;
#pragma unroll
        for (int i = 1; i < (M < OCTET ? M : OCTET); i++) {
            float value = r[(b * M + i) % OCTET];
            if (fabsf(value) > fabsf(kept.value[b])) {
                kept.value[b] = value;
                kept.position[b] = i;
            }
        }
    }
    if (M == 16) {
        // Octets of a block are neighbouring lanes, the even one first.
        bool second = threadIdx.x % 2;
        float other = __shfl_xor_sync(EVERY_LANE, kept.value[0], 1);
        int there = __shfl_xor_sync(EVERY_LANE, kept.position[0], 1);
        bool mine = second ? fabsf(kept.value[0]) > fabsf(other) : fabsf(kept.value[0]) >= fabsf(other);
        kept.value[0] = mine ? kept.value[0] : other;
        kept.position[0] = mine ? kept.position[0] + (second ? OCTET : 0) : there + (second ? 0 : OCTET);
    }
    return kept;
}

// The decoded octet at `channel`.
template <int M>
__device__ __forceinline__ void scatter(const Kept<M> &kept, int channel, float (&d)[OCTET]) {
#pragma unroll
    for (int j = 0; j < OCTET; j++) {
        int b = j / M % Kept<M>::COUNT, position = M == 16 ? j + channel % 16 : j % M;
        d[j] = kept.position[b] == position ? kept.value[b] : 0.0f;
    }
}

template <class X, class B, bool WIDE, int M>
__device__ __forceinline__ void encode_blocks(DITPLAN_PARAMETERS) {
    DITPLAN_DYNAMIC_SHARED(positions);
    int step = blockDim.x * OCTET, rounds = ceil_div(channels, step), blocks = ceil_div(channels, M);
    int first = blockIdx.x * PAIR;
    for (int i = 0; i < PAIR * rounds; i++) {
        int side = i / rounds;
        Place place =
            octet_at(rows, channels, first + side, (i % rounds * (int)blockDim.x + (int)threadIdx.x) * OCTET);
        Halves bits = load_halves<WIDE>(x, place);
        float p[OCTET], r[OCTET];
        predict<B>(base, load_base<B, WIDE>(base, place), p);
        residual<X, B>(place, bits, p, r);
        Kept<M> kept = largest<M>(r);
        u64 values = 0;
#pragma unroll
        for (int b = 0; b < Kept<M>::COUNT; b++) {
            u16 value = F16::narrow(kept.value[b]);
            values |= (u64)value << (16 * b);
            kept.value[b] = F16::widen(value);
        }
        int block = place.channel / M;
        int present = ceil_div(place.count, M);
        if (M == 16 && place.channel % M) present = 0;
        u8 *at = message + 2 * ((size_t)place.row * blocks + block);
        store_bytes<WIDE, 2 * Kept<M>::COUNT>(at, values, 2 * present);
#pragma unroll
        for (int b = 0; b < Kept<M>::COUNT; b++)
            if (b < present) positions[side * blocks + block + b] = (u8)kept.position[b];
        scatter<M>(kept, place.channel, r);
        advance<X, B, WIDE>(base, out, place, p, r);
    }
    __syncthreads();
    int count = (rows - first < PAIR ? rows - first : PAIR) * blocks;
    u8 *at = message + 2 * (size_t)rows * blocks + (size_t)blockIdx.x * blocks;
    for (int i = threadIdx.x; i < ceil_div(count, 2); i += blockDim.x)
        at[i] = (u8)(positions[2 * i] | (2 * i + 1 < count ? positions[2 * i + 1] << 4 : 0));
}

template <class X, class B, bool WIDE, int M>
__device__ __forceinline__ void decode_blocks(DITPLAN_PARAMETERS) {
    int step = blockDim.x * OCTET, rounds = ceil_div(channels, step), blocks = ceil_div(channels, M);
    const u8 *positions = message + 2 * (size_t)rows * blocks;
    for (int i = 0; i < PAIR * rounds; i++) {
        int row = blockIdx.x * PAIR + i / rounds;
        Place place = octet_at(rows, channels, row, (i % rounds * (int)blockDim.x + (int)threadIdx.x) * OCTET);
        size_t block = (size_t)place.row * blocks + place.channel / M;
        int present = ceil_div(place.count, M);
        u64 values = load_bytes<WIDE, 2 * Kept<M>::COUNT>(message + 2 * block, 2 * present);
        Kept<M> kept;
#pragma unroll
        for (int b = 0; b < Kept<M>::COUNT; b++) {
            kept.value[b] = F16::widen((u16)(values >> (16 * b)));
            size_t n = block + b;
            kept.position[b] = b < present ? positions[n / 2] >> (n % 2 * 4) & 0xF : 0;
        }
        float p[OCTET], d[OCTET];
        predict<B>(base, load_base<B, WIDE>(base, place), p);
        scatter<M>(kept, place.channel, d);
        advance<X, B, WIDE>(base, out, place, p, d);
    }
}

#define BY_M(name, call)                                                                           \
    template <class X, class B, bool WIDE>                                                         \
    __device__ __forceinline__ void name(DITPLAN_PARAMETERS) {                                     \
        if (option == 2) call<X, B, WIDE, 2>(DITPLAN_ARGUMENTS);                                   \
        else if (option == 4) call<X, B, WIDE, 4>(DITPLAN_ARGUMENTS);                              \
        else if (option == 8) call<X, B, WIDE, 8>(DITPLAN_ARGUMENTS);                              \
        else call<X, B, WIDE, 16>(DITPLAN_ARGUMENTS);                                              \
    }
BY_M(encode, encode_blocks)
BY_M(decode, decode_blocks)

DITPLAN_ENTRIES(sparse_encode_1, encode, MOST_THREADS, 3)
DITPLAN_ENTRIES(sparse_decode_1, decode, MOST_THREADS, 3)
