// lowrank(r) and lowrank-int4(r): A = U V by subspace iteration from fixed signs.
//
// Reference: docs/wire-formats.md (lowrank(r), lowrank-int4(r)); kernels/src/wire/low_rank.rs,
// orthogonal.rs.
// Version: 1. Products are tiled fp32 kernels, not cuBLAS: bound by memory at r <= 32.
// Bytes an element: residual 8 (x, base read, A written in fp32); each of the six products reads A, 4;
// decode reads and writes the base, 4.
// Launches of an encode, 32 or 33: residual, start; A Q one, A^T Y two, QR six, that is twice (Gram
// matrices of slices, their sum and its Cholesky factor in one block, columns); factors, decode. `option` is r,
// at most 64. `stage` is the operand: see Buffers.
// Exactness: sums run in another order than the CPU's, and QR is by Cholesky factors of fp64 Gram
// matrices, twice, in the place of Gram-Schmidt: decoded values agree to 1e-2 of the residual's norm.
// Given the message, the decode's every byte is the CPU's. Equal inputs give equal bytes.
// Check and sweep: ditplan cuda check, ditplan cuda sweep.

#define THREADS 256
#define MOST_RANK 64
// Rows of the sum that a block of A^T Y, or of a Gram matrix, adds up.
#define SLICE 256
#define GRAM_SLICE 64
#define TILE 32

// A is N x C; tall matrices have r columns, row after row, fp32.
struct Buffers {
    float *greatest;  // bits of the greatest |R|, as an integer
    double *factor;   // r x r: the Cholesky factor, upper triangle
    float *a, *q, *y, *parts;
    double *grams;    // a Gram matrix for each slice

    __device__ __forceinline__ Buffers(void *work, int rows, int channels, int rank) {
        u8 *at = (u8 *)work;
        greatest = (float *)at;
        at += 16;
        factor = (double *)at;
        at += sizeof(double) * MOST_RANK * MOST_RANK;
        int longest = rows > channels ? rows : channels;
        grams = (double *)at;
        at += sizeof(double) * (size_t)ceil_div(longest, GRAM_SLICE) * rank * rank;
        a = (float *)at;
        at += sizeof(float) * (((size_t)rows * channels + 3) / 4 * 4);
        q = (float *)at;
        at += sizeof(float) * (((size_t)channels * rank + 3) / 4 * 4);
        y = (float *)at;
        at += sizeof(float) * (((size_t)rows * rank + 3) / 4 * 4);
        parts = (float *)at;
    }
    // The power of two that A is divided by: at or below the greatest magnitude; 1 for zeros.
    __device__ __forceinline__ float scale() const {
        u32 exponent = __float_as_uint(*greatest) & 0x7F800000u;
        return exponent ? __uint_as_float(exponent) : 1.0f;
    }
};

__device__ __forceinline__ int rank_of(int rows, int channels, int option) {
    int least = rows < channels ? rows : channels;
    return option < least ? option : least;
}

// The residual in fp32 and its greatest magnitude. Grid: channel tiles, strips of 8 rows.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void residuals(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option);
    Buffers buffers(work, rows, channels, rank);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    Place place = octet_at(rows, channels, blockIdx.y * 8 + warp, blockIdx.x * TILE_CHANNELS + lane * OCTET);
    float p[OCTET], r[OCTET], most = 0.0f;
    predict<B>(base, load_base<B, WIDE>(base, place), p);
    residual<X, B>(place, load_halves<WIDE>(x, place), p, r);
#pragma unroll
    for (int j = 0; j < OCTET; j++) {
        if (j < place.count) buffers.a[place.element() + j] = r[j];
        most = fmaxf(most, fabsf(r[j]));
    }
    most = warp_greatest(most);
    // Magnitudes order as integers do; the greatest is the same in any order.
    if (lane == 0) atomicMax((u32 *)buffers.greatest, __float_as_uint(most));
}

// The start: +1 or -1 by the top bit of splitmix64(c r + j); and a flag for null columns later.
__device__ __forceinline__ float start_sign(u64 n) {
    u64 z = n + 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return (z ^ z >> 31) >> 63 ? 1.0f : -1.0f;
}

template <class X, class B, bool WIDE>
__device__ __forceinline__ void start(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option);
    Buffers buffers(work, rows, channels, rank);
    int n = blockIdx.x * THREADS + threadIdx.x;
    if (n < channels * rank) buffers.q[n] = start_sign(n);
}

// Y = A Q. A warp has a row of A, a lane a column of Y, or two. Grid: strips of 8 rows.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void times(DITPLAN_PARAMETERS) {
    __shared__ float a_tile[8][TILE], q_tile[TILE][MOST_RANK];
    int rank = rank_of(rows, channels, option);
    Buffers buffers(work, rows, channels, rank);
    float inverse = 1.0f / buffers.scale();
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, row = blockIdx.x * 8 + warp;
    float sum[MOST_RANK / LANES] = {};
    for (int c = 0; c < channels; c += TILE) {
        bool inside = row < rows && c + lane < channels;
        a_tile[warp][lane] = inside ? buffers.a[(size_t)row * channels + c + lane] * inverse : 0.0f;
        for (int i = threadIdx.x; i < TILE * MOST_RANK; i += THREADS) {
            int k = i / MOST_RANK, j = i % MOST_RANK;
            if (j < rank) q_tile[k][j] = c + k < channels ? buffers.q[(size_t)(c + k) * rank + j] : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < TILE; k++)
#pragma unroll
            for (int h = 0; h < MOST_RANK / LANES; h++)
                if (h * LANES + lane < rank) sum[h] += a_tile[warp][k] * q_tile[k][h * LANES + lane];
        __syncthreads();
    }
#pragma unroll
    for (int h = 0; h < MOST_RANK / LANES; h++) {
        int j = h * LANES + lane;
        if (row < rows && j < rank) buffers.y[(size_t)row * rank + j] = sum[h];
    }
}

// Parts of A^T Y over slices of rows. Grid: (tiles of 32 channels, slices).
template <class X, class B, bool WIDE>
__device__ __forceinline__ void transposed(DITPLAN_PARAMETERS) {
    __shared__ float a_tile[TILE][TILE + 1], y_tile[TILE][MOST_RANK];
    int rank = rank_of(rows, channels, option);
    Buffers buffers(work, rows, channels, rank);
    float inverse = 1.0f / buffers.scale();
    int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, first = blockIdx.x * TILE;
    int end = min(rows, ((int)blockIdx.y + 1) * SLICE);
    float sum[TILE / 8][MOST_RANK / LANES] = {};
    for (int n = blockIdx.y * SLICE; n < end; n += TILE) {
        for (int k = group; k < TILE; k += 8) {
            bool inside = n + k < end && first + lane < channels;
            a_tile[k][lane] = inside ? buffers.a[(size_t)(n + k) * channels + first + lane] * inverse : 0.0f;
        }
        for (int i = threadIdx.x; i < TILE * MOST_RANK; i += THREADS) {
            int k = i / MOST_RANK, j = i % MOST_RANK;
            y_tile[k][j] = n + k < end && j < rank ? buffers.y[(size_t)(n + k) * rank + j] : 0.0f;
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < TILE; k++)
#pragma unroll
            for (int h = 0; h < MOST_RANK / LANES; h++) {
                float y = y_tile[k][h * LANES + lane];
#pragma unroll
                for (int i = 0; i < TILE / 8; i++) sum[i][h] += a_tile[k][group + 8 * i] * y;
            }
        __syncthreads();
    }
    float *part = buffers.parts + (size_t)blockIdx.y * channels * rank;
#pragma unroll
    for (int i = 0; i < TILE / 8; i++)
#pragma unroll
        for (int h = 0; h < MOST_RANK / LANES; h++) {
            int channel = first + group + 8 * i, j = h * LANES + lane;
            if (channel < channels && j < rank) part[(size_t)channel * rank + j] = sum[i][h];
        }
}

// Q = the sum of the parts, slice after slice.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void add_parts(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option);
    Buffers buffers(work, rows, channels, rank);
    size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x, count = (size_t)channels * rank;
    if (n >= count) return;
    float sum = 0.0f;
    for (int slice = 0; slice < ceil_div(rows, SLICE); slice++) sum += buffers.parts[slice * count + n];
    buffers.q[n] = sum;
}

// The tall matrix of a QR: stage 0 Q (C x r), 1 Y (N x r).
__device__ __forceinline__ float *tall(const Buffers &buffers, int stage) {
    return stage ? buffers.y : buffers.q;
}

// T^T T of a slice of rows, in fp64.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void gram(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option), length = stage ? rows : channels;
    Buffers buffers(work, rows, channels, rank);
    const float *matrix = tall(buffers, stage);
    int end = min(length, ((int)blockIdx.x + 1) * GRAM_SLICE);
    for (int pair = threadIdx.x; pair < rank * rank; pair += THREADS) {
        int i = pair / rank, j = pair % rank;
        double sum = 0.0;
        for (int n = blockIdx.x * GRAM_SLICE; n < end && i <= j; n++)
            sum += (double)matrix[(size_t)n * rank + i] * matrix[(size_t)n * rank + j];
        buffers.grams[(size_t)blockIdx.x * rank * rank + pair] = sum;
    }
}

// In one block: the sum of the Gram matrices and its Cholesky factor R; a column that the ones before
// it explain to 1e-6 gets a row of zeros in R and 0 on the diagonal.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void cholesky(DITPLAN_PARAMETERS) {
    DITPLAN_DYNAMIC_SHARED(memory);
    double *g = (double *)memory;
    int rank = rank_of(rows, channels, option), length = stage ? rows : channels;
    Buffers buffers(work, rows, channels, rank);
    double *before = g + rank * rank;
    for (int pair = threadIdx.x; pair < rank * rank; pair += THREADS) {
        double sum = 0.0;
        for (int slice = 0; slice < ceil_div(length, GRAM_SLICE); slice++)
            sum += buffers.grams[(size_t)slice * rank * rank + pair];
        g[pair] = sum;
        if (pair / rank == pair % rank) before[pair / rank] = sum;
    }
    __syncthreads();
    for (int k = 0; k < rank; k++) {
        double pivot = g[k * rank + k];
        // |column after projection| > 1e-6 |column|, squared.
        bool null = !(pivot > 1e-12 * before[k] && pivot > 0.0);
        double root = null ? 0.0 : sqrt(pivot);
        __syncthreads();
        for (int j = k + threadIdx.x; j < rank; j += THREADS)
            g[k * rank + j] = null ? 0.0 : j == k ? root : g[k * rank + j] / root;
        __syncthreads();
        for (int pair = threadIdx.x; pair < rank * rank; pair += THREADS) {
            int i = pair / rank, j = pair % rank;
            if (i > k && i <= j) g[pair] -= g[k * rank + i] * g[k * rank + j];
        }
        __syncthreads();
    }
    for (int pair = threadIdx.x; pair < rank * rank; pair += THREADS) buffers.factor[pair] = g[pair];
}

// T <- T R^-1, a row a thread; a null column becomes zeros.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void solve(DITPLAN_PARAMETERS) {
    DITPLAN_DYNAMIC_SHARED(memory);
    double *factor = (double *)memory;
    int rank = rank_of(rows, channels, option), length = stage ? rows : channels;
    Buffers buffers(work, rows, channels, rank);
    for (int pair = threadIdx.x; pair < rank * rank; pair += blockDim.x) factor[pair] = buffers.factor[pair];
    double *solved = factor + rank * rank + threadIdx.x;
    __syncthreads();
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= length) return;
    float *values = tall(buffers, stage) + (size_t)row * rank;
    for (int j = 0; j < rank; j++) {
        double value = values[j];
        for (int i = 0; i < j; i++) value -= solved[i * blockDim.x] * factor[i * rank + j];
        double pivot = factor[j * rank + j];
        solved[j * blockDim.x] = pivot > 0.0 ? value / pivot : 0.0;
        values[j] = (float)solved[j * blockDim.x];
    }
}

// Factor values: U in Y (N x r); V^T in Q (C x r), to be scaled.
struct Factors {
    Buffers buffers;
    int rows, channels, rank;
    float scale;
    __device__ __forceinline__ Factors(void *work, int n, int c, int r)
        : buffers(work, n, c, r), rows(n), channels(c), rank(r), scale(buffers.scale()) {}
    // The n-th value of the first `rank` lines, the columns of U, or of the others, the rows of V.
    __device__ __forceinline__ float get(int line, int n) const {
        if (line < rank) return buffers.y[(size_t)n * rank + line];
        return __fmul_rn(buffers.q[(size_t)n * rank + line - rank], scale);
    }
    __device__ __forceinline__ int length(int line) const { return line < rank ? rows : channels; }
};

// lowrank: U row after row, V row after row, fp16.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void write_f16(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option);
    Factors factors(work, rows, channels, rank);
    int n = blockIdx.x * THREADS + threadIdx.x, first = rows * rank;
    if (n < first)
        store_u16(message + 2 * (size_t)n, F16::narrow(factors.get(n % rank, n / rank)));
    else if (n < first + channels * rank)
        store_u16(
            message + 2 * (size_t)n, F16::narrow(factors.get(rank + (n - first) / channels, (n - first) % channels))
        );
}

// lowrank-int4, first: least and step of a line, a block a line.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void ranges(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option), line = blockIdx.x;
    Factors factors(work, rows, channels, rank);
    // The least is the negative of the greatest negative; both are taken above a common floor.
    float floor = -3.4028234663852886e38f, most = floor, least = floor;
    for (int n = threadIdx.x; n < factors.length(line); n += THREADS) {
        float value = factors.get(line, n);
        most = fmaxf(most, value);
        least = fmaxf(least, -value);
    }
    __shared__ float both[2][THREADS];
    both[0][threadIdx.x] = most;
    both[1][threadIdx.x] = least;
    __syncthreads();
    for (int step = THREADS / 2; step; step /= 2) {
        if ((int)threadIdx.x < step)
            for (int i = 0; i < 2; i++)
                both[i][threadIdx.x] = fmaxf(both[i][threadIdx.x], both[i][threadIdx.x + step]);
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        u8 *at = message + ((size_t)rank * (rows + channels) + 1) / 2 + 4 * (size_t)line;
        least = -both[1][0];
        store_u16(at, F16::narrow(least));
        store_u16(at + 2, F16::narrow(__fdiv_rn(__fsub_rn(both[0][0], least), 15.0f)));
    }
}

// The place of a half byte in the lines.
struct Half {
    int line, n;
    __device__ __forceinline__ Half(size_t at, int rows, int channels, int rank) {
        size_t first = (size_t)rank * rows;
        line = at < first ? (int)(at / rows) : rank + (int)((at - first) / channels);
        n = at < first ? (int)(at % rows) : (int)((at - first) % channels);
    }
};

__device__ __forceinline__ u32 affine_code(const Factors &factors, const u8 *scales, size_t at) {
    Half half(at, factors.rows, factors.channels, factors.rank);
    float least = F16::widen(load_u16(scales + 4 * half.line)), step = F16::widen(load_u16(scales + 4 * half.line + 2));
    if (step == 0.0f) return 0;
    float code = __fdiv_rn(__fsub_rn(factors.get(half.line, half.n), least), step);
    return (u32)fmaxf(fminf(rintf(code), 15.0f), 0.0f);
}

// lowrank-int4, second: the codes, a byte a thread.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void write_int4(DITPLAN_PARAMETERS) {
    int rank = rank_of(rows, channels, option);
    Factors factors(work, rows, channels, rank);
    size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x, count = (size_t)rank * (rows + channels);
    const u8 *scales = message + (count + 1) / 2;
    if (2 * n >= count) return;
    u32 low = affine_code(factors, scales, 2 * n);
    u32 high = 2 * n + 1 < count ? affine_code(factors, scales, 2 * n + 1) : 0;
    message[n] = (u8)(low | high << 4);
}

// A value of U (line < rank) or V as the receiver reads it.
template <bool INT4>
__device__ __forceinline__ float received(const u8 *message, int rows, int channels, int rank, int line, int n) {
    if (!INT4) {
        size_t at = line < rank ? (size_t)n * rank + line
                                : (size_t)rows * rank + (size_t)(line - rank) * channels + n;
        return F16::widen(load_u16(message + 2 * at));
    }
    size_t at = line < rank ? (size_t)line * rows + n : (size_t)rank * rows + (size_t)(line - rank) * channels + n;
    const u8 *scale = message + ((size_t)rank * (rows + channels) + 1) / 2 + 4 * (size_t)line;
    u32 code = message[at / 2] >> (at % 2 * 4) & 0xF;
    return __fadd_rn(F16::widen(load_u16(scale)), __fmul_rn((float)code, F16::widen(load_u16(scale + 2))));
}

// Decoded values, sums over the rank in order, each product and sum rounded. Grid: (tiles of 256
// channels, strips of 32 rows); U and V of the tile stand in shared memory, 8 ranks at a time.
#define RANKS 8
template <class X, class B, bool WIDE, bool INT4>
__device__ __forceinline__ void apply(DITPLAN_PARAMETERS) {
    __shared__ float u[TILE][RANKS];
    float(*v)[TILE_CHANNELS] = (float(*)[TILE_CHANNELS])block_memory();
    int rank = rank_of(rows, channels, option);
    int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    int first = blockIdx.y * TILE, channel = blockIdx.x * TILE_CHANNELS;
    float d[4][OCTET] = {};
    for (int j = 0; j < rank; j += RANKS) {
        for (int i = threadIdx.x; i < TILE * RANKS; i += THREADS) {
            int row = first + i / RANKS, k = j + i % RANKS;
            u[i / RANKS][i % RANKS] =
                row < rows && k < rank ? received<INT4>(message, rows, channels, rank, k, row) : 0.0f;
        }
        for (int k = 0; k < RANKS; k++) {
            int c = channel + threadIdx.x;
            v[k][threadIdx.x] = c < channels && j + k < rank
                ? received<INT4>(message, rows, channels, rank, rank + j + k, c) : 0.0f;
        }
        __syncthreads();
        int ranks = min(RANKS, rank - j);
        for (int k = 0; k < ranks; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int e = 0; e < OCTET; e++)
                    d[i][e] = __fadd_rn(d[i][e], __fmul_rn(u[warp * 4 + i][k], v[k][lane * OCTET + e]));
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        Place place = octet_at(rows, channels, first + warp * 4 + i, channel + lane * OCTET);
        float p[OCTET];
        predict<B>(base, load_base<B, WIDE>(base, place), p);
        advance<X, B, WIDE>(base, out, place, p, d[i]);
    }
}

// The greatest magnitude is forgotten before the next encode.
template <class X, class B, bool WIDE>
__device__ __forceinline__ void forget(DITPLAN_PARAMETERS) {
    if (threadIdx.x == 0) *(float *)work = 0.0f;
}

#define BODY(name, call)                                                                           \
    template <class X, class B, bool WIDE>                                                         \
    __device__ __forceinline__ void name(DITPLAN_PARAMETERS) {                                     \
        call(DITPLAN_ARGUMENTS);                                                                   \
    }
BODY(decode_f16, (apply<X, B, WIDE, false>))
BODY(decode_int4, (apply<X, B, WIDE, true>))

DITPLAN_ENTRIES(lowrank_residual, residuals, THREADS, 2)
DITPLAN_ENTRIES(lowrank_decode_1, decode_f16, THREADS, 2)
DITPLAN_ENTRIES(lowrank_int4_decode_1, decode_int4, THREADS, 2)

// The rest knows neither activation nor base.
DITPLAN_PLAIN(lowrank_forget, forget, THREADS, 2)
DITPLAN_PLAIN(lowrank_start, start, THREADS, 2)
DITPLAN_PLAIN(lowrank_times, times, THREADS, 2)
DITPLAN_PLAIN(lowrank_transposed, transposed, THREADS, 2)
DITPLAN_PLAIN(lowrank_add, add_parts, THREADS, 2)
DITPLAN_PLAIN(lowrank_gram, gram, THREADS, 2)
DITPLAN_PLAIN(lowrank_cholesky, cholesky, THREADS, 2)
DITPLAN_PLAIN(lowrank_solve, solve, THREADS, 2)
DITPLAN_PLAIN(lowrank_write, write_f16, THREADS, 2)
DITPLAN_PLAIN(lowrank_int4_ranges, ranges, THREADS, 2)
DITPLAN_PLAIN(lowrank_int4_write, write_int4, THREADS, 2)
