// 1bit, 2bit, 2bit-fitted: signs, one magnitude bit, scales u_n v_c.
//
// Reference: docs/wire-formats.md (1bit, 2bit, 2bit-fitted); kernels/src/wire/sign.rs, histogram.rs.
// Version: 1.
// Bytes an element, fp16 or bf16 base (x, base read; codes; base read, written):
//   1bit encode         4 + .125, then .125 + 2 + 2      8.25
//   2bit encode         4,        then 4 + .25 + 2      10.25
//   2bit-fitted encode  4,  4,    then 4 + .25 + 2      14.25
//   decode              2 + 2 + .125 or .25              4.125, 4.25
// and 8 / (32 option) for the partial sums, which stay in the second-level cache.
// Launches: 1bit and 2bit encode 2 (sums, codes), 2bit-fitted 3 (2bit's sums, levels, codes), decode 1.
// Grid: (tiles of 256 channels, tiles of rows); a block is 8 warps of 4 rows, `option` times over in
// the sums and the levels.
// Exactness: sums run in another order than the CPU's, so u, v may be one fp16 apart, the fitted
// levels a few; codes of 2bit differ only where |R| is that near to the threshold. Given u and v,
// every byte is the CPU's. Sums are in a fixed order: equal inputs give equal bytes.
// Check and sweep: ditplan cuda check, ditplan cuda sweep.

#define WARPS 8
#define WARP_ROWS 4
#define STRIP (WARPS * WARP_ROWS)
#define THREADS (WARPS * LANES)
// The codes of 2bit keep x and base of fewer rows: registers.
#define CODE_ROWS 2
#define CODE_STRIP (WARPS * CODE_ROWS)
#define BINS 1024

struct Work {
    u32 *counters;        // one a channel tile, then one of the levels
    double *tile_sums;    // sum of |R| of each channel tile
    u64 *products;        // sums of |R| s by bin, fixed point
    u64 *squares;         // sums of s^2
    float *row_parts;     // [channel tile][row]
    float *channel_parts; // [row tile][channel, padded to tiles]
    int channel_tiles;

    __device__ __forceinline__ Work(void *work, int rows, int channels) {
        channel_tiles = ceil_div(channels, TILE_CHANNELS);
        u8 *at = (u8 *)work;
        counters = (u32 *)at;
        at += ceil_div(channel_tiles + 1, 4) * 16;
        tile_sums = (double *)at;
        at += ceil_div(channel_tiles, 2) * 16;
        products = (u64 *)at;
        squares = products + BINS;
        at += 2 * BINS * sizeof(u64);
        row_parts = (float *)at;
        at += (size_t)ceil_div(rows, 4) * 16 * channel_tiles;
        channel_parts = (float *)at;
    }
    __device__ __forceinline__ size_t row_part(int tile, int row, int rows) const {
        return (size_t)tile * (ceil_div(rows, 4) * 4) + row;
    }
    __device__ __forceinline__ size_t channel_part(int row_tile, int channel) const {
        return (size_t)row_tile * channel_tiles * TILE_CHANNELS + channel;
    }
};

// Where the parts of a message stand; BITS a code.
template <int BITS>
struct Layout {
    size_t row_bytes, u, v, levels;
    __device__ __forceinline__ Layout(int rows, int channels) {
        row_bytes = (size_t)(channels * BITS + 7) / 8;
        u = row_bytes * rows;
        v = u + 2 * (size_t)rows;
        levels = v + 2 * (size_t)channels;
    }
};

__device__ __forceinline__ float magnitude_sum(const float (&r)[OCTET]) {
    float four[4];
#pragma unroll
    for (int i = 0; i < 4; i++) four[i] = fabsf(r[2 * i]) + fabsf(r[2 * i + 1]);
    return (four[0] + four[1]) + (four[2] + four[3]);
}

// The last block of a channel tile: v and the tile's sum from the partial sums of all row tiles.
__device__ __forceinline__ void finish_channels(const Work &work, u8 *v_bytes, int rows, int channels) {
    double(*parts)[TILE_CHANNELS] = (double(*)[TILE_CHANNELS])block_memory();
    __shared__ double sums[WARPS];
    int quarter = threadIdx.x / 64, four = threadIdx.x % 64 * 4;
    int first = blockIdx.x * TILE_CHANNELS;
    double total[4] = {0.0, 0.0, 0.0, 0.0};
#pragma unroll 4
    for (int tile = quarter; tile < (int)gridDim.y; tile += 4) {
        float4 part = __ldcg((const float4 *)(work.channel_parts + work.channel_part(tile, first + four)));
        total[0] += part.x;
        total[1] += part.y;
        total[2] += part.z;
        total[3] += part.w;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) parts[quarter][four + i] = total[i];
    __syncthreads();
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, t = threadIdx.x;
    double sum = (parts[0][t] + parts[1][t]) + (parts[2][t] + parts[3][t]);
    if (first + t < channels)
        store_u16(v_bytes + 2 * (size_t)(first + t), F16::narrow((float)(sum / rows)));
    double all = warp_sum(sum);
    if (lane == 0) sums[warp] = all;
    __syncthreads();
    if (t == 0) {
        double tile = 0.0;
        for (int i = 0; i < WARPS; i++) tile += sums[i];
        work.tile_sums[blockIdx.x] = tile;
    }
}

// First pass: sums of |R| of rows and channels; with SIGNS also the codes of 1bit.
template <class X, class B, bool WIDE, bool SIGNS>
__device__ __forceinline__ void sums(DITPLAN_PARAMETERS) {
    float(*parts)[TILE_CHANNELS] = (float(*)[TILE_CHANNELS])block_memory();
    Work scratch(work, rows, channels);
    Layout<SIGNS ? 1 : 2> layout(rows, channels);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    float total[OCTET] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int strip = 0; strip < option; strip++) {
        int first = ((int)blockIdx.y * option + strip) * STRIP + warp * WARP_ROWS;
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
            float row = warp_sum(magnitude_sum(r));
            if (lane == 0 && first + i < rows)
                scratch.row_parts[scratch.row_part(blockIdx.x, first + i, rows)] = row;
            u32 code = 0;
#pragma unroll
            for (int j = 0; j < OCTET; j++) {
                total[j] += fabsf(r[j]);
                code |= (r[j] >= 0.0f && j < place.count ? 1u : 0u) << j;
            }
            if (SIGNS)
                store_bytes<WIDE, 1>(
                    message + place.row * layout.row_bytes + place.channel / 8, code, place.count > 0
                );
        }
    }
#pragma unroll
    for (int j = 0; j < OCTET; j += 4)
        *(float4 *)&parts[warp][lane * OCTET + j] =
            make_float4(total[j], total[j + 1], total[j + 2], total[j + 3]);
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) sum += parts[i][threadIdx.x];
    int at = blockIdx.x * TILE_CHANNELS + threadIdx.x;
    scratch.channel_parts[scratch.channel_part(blockIdx.y, at)] = sum;
    if (last_of(&scratch.counters[blockIdx.x], gridDim.y))
        finish_channels(scratch, message + layout.v, rows, channels);
}

// The u of a tile's rows: from the sums, stored by the first channel tile, or from the message.
template <bool FROM_SUMS, int ROWS>
__device__ __forceinline__ void tile_u(
    float (&u)[ROWS], void *work, u8 *u_bytes, int first_row, int rows, int channels
) {
    int row = first_row + threadIdx.x;
    if (threadIdx.x < ROWS) {
        u16 bits = 0;
        if (row < rows && FROM_SUMS) {
            Work scratch(work, rows, channels);
            double sum = 0.0, all = 0.0;
            for (int tile = 0; tile < scratch.channel_tiles; tile++) {
                sum += scratch.row_parts[scratch.row_part(tile, row, rows)];
                all += scratch.tile_sums[tile];
            }
            // t / g = (sum / C) / (all / (N C)).
            if (all > 0.0) bits = F16::narrow((float)(sum * rows / all));
            if (blockIdx.x == 0) store_u16(u_bytes + 2 * (size_t)row, bits);
        } else if (row < rows) {
            bits = load_u16(u_bytes + 2 * (size_t)row);
        }
        u[threadIdx.x] = F16::widen(bits);
    }
    __syncthreads();
}

// v of an octet; 0 outside.
__device__ __forceinline__ Halves octet_v(const u8 *v_bytes, const Place &place) {
    const u8 *at = v_bytes + 2 * (size_t)place.channel;
    if (place.count == OCTET && ((size_t)at & 15) == 0) {
        Halves halves;
        halves.bits = *(const uint4 *)at;
        return halves;
    }
    u16 h[OCTET] = {};
#pragma unroll
    for (int i = 0; i < OCTET; i++)
        if (i < place.count) h[i] = load_u16(at + 2 * i);
    return pack_halves(h);
}

struct Levels {
    float low, high, threshold;
};

template <bool FITTED>
__device__ __forceinline__ Levels levels_of(const u8 *bytes) {
    Levels levels = {0.5f, 2.0f, 1.0f};
    if (FITTED) {
        levels.low = F16::widen(load_u16(bytes));
        levels.high = F16::widen(load_u16(bytes + 2));
        levels.threshold = __fmul_rn(0.5f, __fadd_rn(levels.low, levels.high));
    }
    return levels;
}

// A positive magnitude with a sign.
__device__ __forceinline__ float with_sign(float magnitude, bool positive) {
    return positive ? magnitude : -magnitude;
}

template <int BITS>
__device__ __forceinline__ float decoded(u32 code, float s, const Levels &levels) {
    if (BITS == 1) return with_sign(s, code & 1);
    return with_sign(__fmul_rn(code & 1 ? levels.high : levels.low, s), code & 2);
}

// Codes to reconstruction and new base: every decode, and the second pass of 1bit's encode.
template <class X, class B, bool WIDE, int BITS, bool FITTED, bool FROM_SUMS>
__device__ __forceinline__ void apply(DITPLAN_PARAMETERS) {
    __shared__ float u[STRIP];
    Layout<BITS> layout(rows, channels);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * STRIP, channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    typename B::Raw raw[WARP_ROWS];
    u32 codes[WARP_ROWS];
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        Place place = octet_at(rows, channels, first + warp * WARP_ROWS + i, channel);
        raw[i] = load_base<B, WIDE>(base, place);
        const u8 *at = message + place.row * layout.row_bytes + place.channel * BITS / 8;
        codes[i] = (u32)load_bytes<WIDE, BITS>(at, (place.count * BITS + 7) / 8);
    }
    Halves v_bits = octet_v(message + layout.v, octet_at(rows, channels, 0, channel));
    tile_u<FROM_SUMS, STRIP>(u, work, message + layout.u, first, rows, channels);
    Levels levels = levels_of<FITTED>(message + layout.levels);
    float v[OCTET];
    widen<F16>(v_bits, v);
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
        int row = warp * WARP_ROWS + i;
        Place place = octet_at(rows, channels, first + row, channel);
        float p[OCTET], d[OCTET];
        predict<B>(base, raw[i], p);
#pragma unroll
        for (int j = 0; j < OCTET; j++)
            d[j] = decoded<BITS>(codes[i] >> (BITS * j), __fmul_rn(u[row], v[j]), levels);
        advance<X, B, WIDE>(base, out, place, p, d);
    }
}

// Last pass of a 2bit or 2bit-fitted encode: codes, reconstruction, new base.
template <class X, class B, bool WIDE, bool FITTED>
__device__ __forceinline__ void codes(DITPLAN_PARAMETERS) {
    __shared__ float u[CODE_STRIP];
    Layout<2> layout(rows, channels);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * CODE_STRIP, channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    Halves bits[CODE_ROWS];
    typename B::Raw raw[CODE_ROWS];
#pragma unroll
    for (int i = 0; i < CODE_ROWS; i++) {
        Place place = octet_at(rows, channels, first + warp * CODE_ROWS + i, channel);
        bits[i] = load_halves<WIDE>(x, place);
        raw[i] = load_base<B, WIDE>(base, place);
    }
    Halves v_bits = octet_v(message + layout.v, octet_at(rows, channels, 0, channel));
    tile_u<true, CODE_STRIP>(u, work, message + layout.u, first, rows, channels);
    Levels levels = levels_of<FITTED>(message + layout.levels);
    float v[OCTET];
    widen<F16>(v_bits, v);
#pragma unroll
    for (int i = 0; i < CODE_ROWS; i++) {
        int row = warp * CODE_ROWS + i;
        Place place = octet_at(rows, channels, first + row, channel);
        float p[OCTET], r[OCTET];
        predict<B>(base, raw[i], p);
        residual<X, B>(place, bits[i], p, r);
        u32 word = 0;
#pragma unroll
        for (int j = 0; j < OCTET; j++) {
            float s = __fmul_rn(u[row], v[j]);
            u32 code = (r[j] >= 0.0f ? 2u : 0u) | (fabsf(r[j]) > __fmul_rn(levels.threshold, s) ? 1u : 0u);
            r[j] = decoded<2>(code, s, levels);
            if (j < place.count) word |= code << (2 * j);
        }
        u8 *at = message + place.row * layout.row_bytes + place.channel / 4;
        store_bytes<WIDE, 2>(at, word, (place.count + 3) / 4);
        advance<X, B, WIDE>(base, out, place, p, r);
    }
}

// ---------------------------------------------------------------- fitted levels

// Fixed point: within a block s^2 in units of 2^(2 e - 18), e the exponent of the block's largest s;
// over all in units of 2^(2 e_g - fraction), e_g that of the mean of |R|. Integers add up in any order
// to the same sum.
#define BLOCK_FRACTION 18

// 2^e as a double.
__device__ __forceinline__ double power_of_two(int e) {
    return __longlong_as_double((long long)(e + 1023) << 52);
}

// The e with 2^e <= value < 2^(e+1), -126 for 0 and subnormal values.
__device__ __forceinline__ int exponent_of(float value) {
    int e = (int)(__float_as_uint(value) >> 23 & 0xFF);
    return (e ? e : 1) - 127;
}

// No sum of squares overflows 63 bits: s <= N C g.
__device__ __forceinline__ int fraction_bits(int rows, int channels) {
    int bits = 62 - 2 * (exponent_of((float)rows) + exponent_of((float)channels) + 2);
    return bits < 0 ? 0 : bits > 24 ? 24 : bits;
}

// Eight rounds of Lloyd-Max over the histogram, by the last block.
__device__ __forceinline__ void fit(const Work &work, u8 *levels) {
    __shared__ double products[BINS], squares[BINS];
    __shared__ double warps[2][WARPS];
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, t = threadIdx.x;
    // Sums up to and with each bin: four bins a thread.
    double p = 0.0, s = 0.0;
    for (int i = 0; i < 4; i++) {
        p += (double)__ldcg(&work.products[4 * t + i]);
        s += (double)__ldcg(&work.squares[4 * t + i]);
        products[4 * t + i] = p;
        squares[4 * t + i] = s;
        work.products[4 * t + i] = 0;
        work.squares[4 * t + i] = 0;
    }
    double before_p = p, before_s = s;
    for (int step = 1; step < LANES; step *= 2) {
        double left_p = __shfl_up_sync(EVERY_LANE, before_p, step);
        double left_s = __shfl_up_sync(EVERY_LANE, before_s, step);
        if (lane >= step) {
            before_p += left_p;
            before_s += left_s;
        }
    }
    if (lane == LANES - 1) {
        warps[0][warp] = before_p;
        warps[1][warp] = before_s;
    }
    __syncthreads();
    before_p -= p;
    before_s -= s;
    for (int i = 0; i < warp; i++) {
        before_p += warps[0][i];
        before_s += warps[1][i];
    }
    for (int i = 0; i < 4; i++) {
        products[4 * t + i] += before_p;
        squares[4 * t + i] += before_s;
    }
    __syncthreads();
    if (t == 0) {
        double level[2] = {0.5, 2.0};
        for (int round = 0; round < 8; round++) {
            double threshold = 0.5 * (level[0] + level[1]);
            // The first bin whose middle (bin + .5) / 128 is not below the threshold; not the open one's.
            double first = ceil(threshold * 128.0 - 0.5);
            int split = first < 0.0 ? 0 : first > BINS - 1 ? BINS - 1 : (int)first;
            double below_p = split ? products[split - 1] : 0.0, below_s = split ? squares[split - 1] : 0.0;
            double above_p = products[BINS - 1] - below_p, above_s = squares[BINS - 1] - below_s;
            if (below_s > 0.0) level[0] = below_p / below_s;
            if (above_s > 0.0) level[1] = above_p / above_s;
        }
        store_u16(levels, F16::narrow((float)level[0]));
        store_u16(levels + 2, F16::narrow((float)level[1]));
    }
}

// Second pass of 2bit-fitted: the histogram, then the levels.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void levels(DITPLAN_PARAMETERS) {
    __shared__ float u[STRIP];
    __shared__ u32 products[BINS], squares[BINS];
    __shared__ u64 open_products, open_squares;
    Layout<2> layout(rows, channels);
    Work scratch(work, rows, channels);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int channel = blockIdx.x * TILE_CHANNELS + lane * OCTET;
    float v[OCTET], most_v = 0.0f;
    widen<F16>(octet_v(message + layout.v, octet_at(rows, channels, 0, channel)), v);
    for (int j = 0; j < OCTET; j++) most_v = fmaxf(most_v, v[j]);
    most_v = block_greatest(most_v);
    double all = 0.0;
    for (int tile = 0; tile < scratch.channel_tiles; tile++) all += scratch.tile_sums[tile];
    // v saturates at 65504: where the mean is beyond, products are held so that their sum fits too.
    int mean_exponent = exponent_of((float)(all / ((double)rows * channels)));
    mean_exponent = mean_exponent < 15 ? mean_exponent : 15;
    int fraction = fraction_bits(rows, channels);
    double most_product = power_of_two(60 - exponent_of((float)rows) - exponent_of((float)channels));
    for (int strip = 0; strip < option; strip++) {
        int first = ((int)blockIdx.y * option + strip) * STRIP;
        for (int i = threadIdx.x; i < BINS; i += THREADS) products[i] = squares[i] = 0;
        if (threadIdx.x == 0) open_products = open_squares = 0;
        tile_u<true, STRIP>(u, work, message + layout.u, first, rows, channels);
        float most_u = warp_greatest(u[lane]);
        // s is below 2^(e + 1); a product of a bin below the open one has z < 8.
        int e = exponent_of(__fmul_rn(most_u, most_v)) + 1;
        float shrink = (float)power_of_two(-e), unit = (float)(1 << BLOCK_FRACTION);
        double to_block = power_of_two(BLOCK_FRACTION - 2 * e);
        double to_all = power_of_two(fraction - 2 * mean_exponent);
        for (int i = 0; i < WARP_ROWS; i++) {
            int row = warp * WARP_ROWS + i;
            Place place = octet_at(rows, channels, first + row, channel);
            Halves bits = load_halves<WIDE>(x, place);
            typename B::Raw raw = load_base<B, WIDE>(base, place);
            float p[OCTET], r[OCTET];
            predict<B>(base, raw, p);
            residual<X, B>(place, bits, p, r);
#pragma unroll
            for (int j = 0; j < OCTET; j++) {
                float s = __fmul_rn(u[row], v[j]), size = fabsf(r[j]);
                float z = __fmul_rn(__fdiv_rn(size, s), 128.0f);
                int bin = z < BINS - 1 ? (int)z : BINS - 1;
                if (j >= place.count || s == 0.0f) continue;
                if (bin < BINS - 1) {
                    float small = s * shrink;
                    atomicAdd(&squares[bin], (u32)(small * small * unit + 0.5f));
                    atomicAdd(&products[bin], (u32)(size * shrink * small * (unit / 8.0f) + 0.5f));
                } else {
                    atomicAdd(&open_squares, (u64)((double)s * s * to_all + 0.5));
                    atomicAdd(&open_products, (u64)(fmin((double)size * s * to_all, most_product) + 0.5));
                }
            }
        }
        __syncthreads();
        double from_block = to_all / to_block;
        for (int i = threadIdx.x; i < BINS - 1; i += THREADS) {
            if (squares[i]) atomicAdd(&scratch.squares[i], (u64)(squares[i] * from_block + 0.5));
            if (products[i]) atomicAdd(&scratch.products[i], (u64)(products[i] * 8.0 * from_block + 0.5));
        }
        if (threadIdx.x == 0 && open_squares) {
            atomicAdd(&scratch.squares[BINS - 1], open_squares);
            atomicAdd(&scratch.products[BINS - 1], open_products);
        }
        __syncthreads();
    }
    if (last_of(&scratch.counters[scratch.channel_tiles], gridDim.x * gridDim.y))
        fit(scratch, message + layout.levels);
}

// ---------------------------------------------------------------- entry points

#define BODY(name, call)                                                                           \
    template <class X, class B, bool WIDE>                                                         \
    __device__ __forceinline__ void name(DITPLAN_PARAMETERS) {                                     \
        call(DITPLAN_ARGUMENTS);                                                                   \
    }
BODY(one_bit_sums, (sums<X, B, WIDE, true>))
BODY(one_bit_codes, (apply<X, B, WIDE, 1, false, true>))
BODY(one_bit_decode, (apply<X, B, WIDE, 1, false, false>))
BODY(two_bit_sums, (sums<X, B, WIDE, false>))
BODY(two_bit_codes, (codes<X, B, WIDE, false>))
BODY(two_bit_decode, (apply<X, B, WIDE, 2, false, false>))
BODY(fitted_codes, (codes<X, B, WIDE, true>))
BODY(fitted_decode, (apply<X, B, WIDE, 2, true, false>))

DITPLAN_ENTRIES(1bit_encode_1, one_bit_sums, THREADS, 2)
DITPLAN_ENTRIES(1bit_encode_2, one_bit_codes, THREADS, 2)
DITPLAN_ENTRIES(1bit_decode_1, one_bit_decode, THREADS, 3)
DITPLAN_ENTRIES(2bit_encode_1, two_bit_sums, THREADS, 2)
DITPLAN_ENTRIES(2bit_encode_2, two_bit_codes, THREADS, 3)
DITPLAN_ENTRIES(2bit_decode_1, two_bit_decode, THREADS, 3)
DITPLAN_ENTRIES(2bit_fitted_encode_2, levels, THREADS, 3)
DITPLAN_ENTRIES(2bit_fitted_encode_3, fitted_codes, THREADS, 3)
DITPLAN_ENTRIES(2bit_fitted_decode_1, fitted_decode, THREADS, 3)
