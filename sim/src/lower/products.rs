//! Matrix products in the plan's precision, and what quantising takes beside them.
//!
//! | | product | beside it |
//! |---|---|---|
//! | 8 and 4-bit floats | measured table, one quantising kernel in it; compiled, which quantises in the kernel before: at most half the 16-bit time | eager code of torchao: passes over the activations |
//! | 8-bit integers | half the 16-bit time | the same; one kernel where fused |
//! | SVDQuant, 4-bit integers | a third of the 16-bit time | two products of rank 32 |
//! | weights only | 16 bits | unpacking every weight |
//!
//! Not modelled: which layers a checkpoint leaves in 16 bits beyond [`Precision::quantises`].

use kernels::Op;
use topologies::host::Compilation;
use topologies::{DType, SimDuration};

use super::{LowerError, Setup};
use crate::plan::{Precision, SVDQ_RANK};
use crate::workload::{ELEMENT_BYTES, Gemm, Role};

/// Bytes that torchao's eager code moves to quantise an activation: twelve passes. From FLUX.1 on H100,
/// `float8_dynamic_activation_float8_weight` without compilation, batches of 1, 4 and 8.
const EAGER_QUANTISING_BYTES: u64 = 24;
/// Its kernels.
const EAGER_QUANTISING_KERNELS: u64 = 12;

/// Bytes that unpacking a weight moves: eager (torchao: to 16 bits in several passes), in one kernel (compiled), and
/// bitsandbytes' kernel. From the weight-only rows of the same tables, and diffusers' benchmark of nf4 on A100.
const EAGER_UNPACKING_BYTES: u64 = 20;
const FUSED_UNPACKING_BYTES: u64 = 3;

/// 4-bit integer products over 16-bit ones: FLUX.2-klein on L20 is 1.7 times as fast with SVDQuant.
const INT4_SHARE: f64 = 1.0 / 3.0;

impl Setup<'_> {
    /// Time of a product of a rank's share, in the plan's precision.
    pub(super) fn product(&self, gemm: &Gemm) -> Result<SimDuration, LowerError> {
        let (m, n, k) = (gemm.m, gemm.n, gemm.k);
        if gemm.role == Role::Depthwise {
            return self.gpu_time(Op::MemoryBound {
                bytes: 2 * m * n * ELEMENT_BYTES,
                kernels: 1,
            });
        }
        let of = |dtype: DType| self.gpu_time(Op::Gemm { m, n, k, dtype });
        let precision = self.plan.execution.precision;
        if !precision.quantises(gemm.role) {
            return of(DType::Bf16);
        }
        let compiled = self.execution.compilation == Compilation::Compiled;
        let product = match (precision.products(), precision) {
            (Some(DType::Fp8), _) if compiled => of(DType::Fp8)?.min(of(DType::Bf16)?.scaled(0.5)),
            (Some(dtype), _) => of(dtype)?,
            (None, Precision::SvdqInt4) => of(DType::Bf16)?.scaled(INT4_SHARE),
            (None, _) => of(DType::Bf16)?.scaled(0.5),
        };
        let mut beside = SimDuration::ZERO;
        if precision.has_branch() {
            let rank = SVDQ_RANK;
            for (n, k) in [(rank, k), (n, rank)] {
                let dtype = DType::Bf16;
                beside += self.gpu_time(Op::Gemm { m, n, k, dtype })?;
            }
        } else if precision.is_weights_only() {
            beside += self.unpacking(n * k)?;
        } else if self.quantises_eagerly() {
            beside += self.gpu_time(Op::MemoryBound {
                bytes: EAGER_QUANTISING_BYTES * m * k,
                kernels: EAGER_QUANTISING_KERNELS,
            })?;
        }
        Ok(product + beside)
    }

    /// Whether activations are quantised by several kernels of eager code: torchao's, where nothing compiles them.
    pub(super) fn quantises_eagerly(&self) -> bool {
        let eager = self.execution.compilation == Compilation::Eager;
        eager && !self.execution.software.fuses_quantising()
    }

    fn unpacking(&self, weights: u64) -> Result<SimDuration, LowerError> {
        let one_kernel = self.plan.execution.precision == Precision::Nf4Weights;
        let (bytes, kernels) = match self.quantises_eagerly() && !one_kernel {
            true => (EAGER_UNPACKING_BYTES, 6),
            false => (FUSED_UNPACKING_BYTES, 1),
        };
        self.gpu_time(Op::MemoryBound {
            bytes: bytes * weights,
            kernels,
        })
    }
}
