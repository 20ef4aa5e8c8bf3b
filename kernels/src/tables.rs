//! All measured tables and the memory of what was asked: the cost of any operation on any GPU.
//!
//! ```text
//! Op ─┬─ Gemm, Attention ─▶ the GPU's own table │ a relative's, moved by datasheets │ sustained rate
//!     ├─ MemoryBound, Elementwise, Dense ─▶ bandwidth or sustained rate
//!     └─ Encode, Decode ─▶ published per-operation latencies, moved by bandwidth
//! ```
//! Guarantees: answers depend on the arguments alone (the memory only saves time); a substitute is
//! always named by [`Provenance`] and, in row predictions, by a note.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use topologies::{Gpu, SimDuration};

use crate::attention;
use crate::codec;
use crate::cost::{Cost, CostModel, Miss, Provenance};
use crate::gemm;
use crate::memory;
use crate::op::Op;
use crate::store::{DamagedTable, Kind, Mask, decode, fnv1a};
use crate::table::{Exclude, Table};

static GEMM: &[u8] = include_bytes!("../tables/gemm.bin");
static ATTENTION: &[u8] = include_bytes!("../tables/attention.bin");

/// The measured tables.
pub struct Tables {
    pub(crate) gemm: Vec<Table>,
    pub(crate) attention: Vec<Table>,
    memory: Mutex<BTreeMap<(Op, u64), Result<Cost, Miss>>>,
}

/// A time in microseconds with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub us: f64,
    pub provenance: Provenance,
    pub half_width: f64,
    pub note: String,
}

impl Answer {
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            time: SimDuration::from_us_f64(self.us),
            provenance: self.provenance,
            half_width: self.half_width,
        }
    }
}

impl Tables {
    /// The tables embedded in this program, read once.
    ///
    /// # Panics
    /// Never in a released build: the embedded bytes are decoded by the tests.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static BUILT_IN: OnceLock<Tables> = OnceLock::new();
        BUILT_IN.get_or_init(|| {
            Self::read(GEMM, ATTENTION).expect("the embedded tables are decoded by the tests")
        })
    }

    /// Tables from the bytes of a GEMM and an attention file.
    ///
    /// # Errors
    /// [`DamagedTable`] naming the file that cannot be read.
    pub fn read(gemm: &[u8], attention: &[u8]) -> Result<Self, DamagedTable> {
        let load = |bytes: &[u8], file: &str| -> Result<Vec<Table>, DamagedTable> {
            Ok(decode(bytes, file)?.into_iter().map(Table::new).collect())
        };
        Ok(Self {
            gemm: load(gemm, "tables/gemm.bin")?,
            attention: load(attention, "tables/attention.bin")?,
            memory: Mutex::new(BTreeMap::new()),
        })
    }

    /// The embedded tables but those of `system`: how well its relatives speak for it.
    ///
    /// # Panics
    /// As [`built_in`](Self::built_in).
    #[must_use]
    pub fn without(system: &str) -> Self {
        let mut tables =
            Self::read(GEMM, ATTENTION).expect("the embedded tables are decoded by the tests");
        tables.gemm.retain(|table| table.system != system);
        tables.attention.retain(|table| table.system != system);
        tables
    }

    /// What is measured: (system, software, kernel, kind) of every table.
    pub fn contents(&self) -> impl Iterator<Item = (&str, &str, &str, Kind)> {
        self.gemm.iter().chain(&self.attention).map(|table| {
            let names = (table.system.as_str(), table.software.as_str());
            (names.0, names.1, table.kernel.as_str(), table.kind)
        })
    }

    fn compute(&self, op: &Op, gpu: &Gpu) -> Result<Cost, Miss> {
        let answer = match *op {
            Op::Gemm { m, n, k, dtype } => {
                let shape = gemm::Shape { m, n, k };
                self.gemm_on(gpu, dtype, None, shape, Exclude::Nothing)?
            }
            Op::Attention {
                batch,
                heads,
                queries,
                keys,
                head_dim,
            } => {
                let shape = attention::Shape {
                    batch,
                    heads,
                    queries,
                    keys,
                    head_dim,
                };
                self.attention_on(gpu, Mask::Full, None, shape, Exclude::Nothing)?
            }
            Op::MemoryBound { bytes } => memory::passes(gpu, 1, bytes),
            Op::Elementwise { passes, bytes } => memory::passes(gpu, passes, bytes),
            Op::Dense { flops } => memory::dense(gpu, flops),
            Op::Encode {
                compressor,
                rows,
                channels,
            } => codec::encode(gpu, compressor, rows, channels),
            Op::Decode {
                compressor,
                rows,
                channels,
            } => codec::decode(gpu, compressor, rows, channels),
        };
        Ok(answer.cost())
    }
}

/// A number that differs between GPUs whose costs may differ.
fn fingerprint(gpu: &Gpu) -> u64 {
    let rate = |rate: Option<topologies::FlopRate>| rate.map_or(0, topologies::FlopRate::get);
    let figures = [
        u64::from(gpu.sm_count),
        gpu.memory_bandwidth.get(),
        gpu.l2.get(),
        gpu.peak_bf16.get(),
        rate(gpu.peak_fp8),
        rate(gpu.sustained_gemm),
        rate(gpu.sustained_attention),
        gpu.exponent_rate.map_or(0, f64::to_bits),
        gpu.architecture as u64,
    ];
    let by_head = gpu
        .sustained_attention_by_head
        .iter()
        .flat_map(|(head_dim, rate)| [u64::from(*head_dim), rate.get()]);
    let numbers = figures.into_iter().chain(by_head);
    fnv1a(gpu.name.bytes().chain(numbers.flat_map(u64::to_le_bytes)))
}

impl CostModel for Tables {
    fn cost(&self, op: &Op, gpu: &Gpu) -> Result<Cost, Miss> {
        let key = (*op, fingerprint(gpu));
        let known = |memory: &BTreeMap<_, Result<Cost, Miss>>| memory.get(&key).cloned();
        let lock = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known(&lock()) {
            return answer;
        }
        let answer = self.compute(op, gpu);
        lock().insert(key, answer.clone());
        answer
    }
}
