// int8 and int4: two's complement codes with an fp16 scale for every 64 channels of a row; also the
// raw step, which makes an activation the base.
//
// Reference: docs/wire-formats.md (int8 and int4, Raw); kernels/src/wire/integer.rs.
// Version: 1.
// Bytes an element, fp16 or bf16 base: int8 encode 7.03, decode 5.03; int4 6.53, 4.53; raw step 4.
// Launches: 1. Grid: (tiles of 256 channels, strips of 16 rows); a block is 8 warps of 2 rows.
// Exactness: every byte is the CPU's.
// Check and sweep: ditplan cuda check, ditplan cuda sweep.

#define WARPS 8
#define WARP_ROWS 2
#define STRIP (WARPS * WARP_ROWS)
#define THREADS (WARPS * LANES)

template <class X, class B, bool WIDE, int BITS>
__device__ __forceinline__ void encode(DITPLAN_PARAMETERS) {
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * STRIP + warp * WARP_ROWS;
    int channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    Halves bits[WARP_ROWS];
    typename B::Raw raw[WARP_ROWS];
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        Place place = octet_at(rows, channels, first + i, channel);
        bits[i] = load_halves<WIDE>(x, place);
        raw[i] = load_base<B, WIDE>(base, place);
    }
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        Place place = octet_at(rows, channels, first + i, channel);
        float p[OCTET], r[OCTET];
        predict<B>(base, raw[i], p);
        residual<X, B>(place, bits[i], p, r);
        typename Integer<BITS>::Raw codes = Integer<BITS>::quantise(place, r);
        Integer<BITS>::template store<WIDE>(message, place, codes);
        Integer<BITS>::widen(codes, r);
        advance<X, B, WIDE>(base, out, place, p, r);
    }
}

template <class X, class B, bool WIDE, int BITS>
__device__ __forceinline__ void decode(DITPLAN_PARAMETERS) {
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * STRIP + warp * WARP_ROWS;
    int channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    typename Integer<BITS>::Raw codes[WARP_ROWS];
    typename B::Raw raw[WARP_ROWS];
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        Place place = octet_at(rows, channels, first + i, channel);
        codes[i] = Integer<BITS>::template load<WIDE>(message, place);
        raw[i] = load_base<B, WIDE>(base, place);
    }
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        Place place = octet_at(rows, channels, first + i, channel);
        float p[OCTET], d[OCTET];
        predict<B>(base, raw[i], p);
        Integer<BITS>::widen(codes[i], d);
        advance<X, B, WIDE>(base, out, place, p, d);
    }
}

// The base becomes x.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void raw_step(DITPLAN_PARAMETERS) {
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * STRIP + warp * WARP_ROWS;
    int channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    Halves bits[WARP_ROWS];
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++)
        bits[i] = load_halves<WIDE>(x, octet_at(rows, channels, first + i, channel));
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        float v[OCTET];
        widen<X>(bits[i], v);
        B::template write<WIDE>(base, octet_at(rows, channels, first + i, channel), v);
    }
}

#define BODY(name, call)                                                                           \
    template <class X, class B, bool WIDE>                                                         \
    __device__ __forceinline__ void name(DITPLAN_PARAMETERS) {                                     \
        call(DITPLAN_ARGUMENTS);                                                                   \
    }
BODY(int8_encode, (encode<X, B, WIDE, 8>))
BODY(int8_decode, (decode<X, B, WIDE, 8>))
BODY(int4_encode, (encode<X, B, WIDE, 4>))
BODY(int4_decode, (decode<X, B, WIDE, 4>))

DITPLAN_ENTRIES(int8_encode_1, int8_encode, THREADS, 3)
DITPLAN_ENTRIES(int8_decode_1, int8_decode, THREADS, 3)
DITPLAN_ENTRIES(int4_encode_1, int4_encode, THREADS, 3)
DITPLAN_ENTRIES(int4_decode_1, int4_decode, THREADS, 3)
DITPLAN_ENTRIES(raw_encode_1, raw_step, THREADS, 3)
