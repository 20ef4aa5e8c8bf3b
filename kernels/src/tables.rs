//! All measured tables and the memory of what was asked: the cost of any operation on any GPU.
//!
//! ```text
//! Op ─┬─ Gemm, Attention ─▶ the GPU's own table │ a relative's, moved by datasheets │ sustained rate
//!     ├─ MemoryBound ─▶ bandwidth
//!     └─ Encode, Decode ─▶ published per-operation latencies, moved by bandwidth
//! ```
//! Guarantees: answers depend on the arguments alone (the memory only saves time); a substitute is
//! always named by [`Provenance`] and, in row predictions, by a note.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use topologies::{Gpu, SimDuration};

use crate::attention;
use crate::attention_kernel::AttentionKernel;
use crate::charts::Charts;
use crate::codec;
use crate::compressor::Compressor;
use crate::cost::{Cost, CostModel, Miss, Provenance};
use crate::gemm;
use crate::measured::{Own, Way};
use crate::memory;
use crate::op::Op;
use crate::store::{DamagedTable, Kind, decode_packed, fnv1a};
use crate::table::{Exclude, Table};

static GEMM: &[u8] = include_bytes!("../tables/gemm.bin");
static ATTENTION: &[u8] = include_bytes!("../tables/attention.bin");

/// The measured tables.
pub struct Tables {
    pub(crate) gemm: Vec<Table>,
    pub(crate) attention: Vec<Table>,
    /// Charts of attention; none for those that ship.
    charts: Option<Charts<'static>>,
    /// What stands in place of the tables of one GPU.
    pub(crate) own: Option<Own>,
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
        BUILT_IN.get_or_init(Self::fresh)
    }

    /// Tables from the bytes of a GEMM and an attention file.
    ///
    /// # Errors
    /// [`DamagedTable`] naming the file that cannot be read.
    pub fn read(gemm: &[u8], attention: &[u8]) -> Result<Self, DamagedTable> {
        let load = |bytes: &[u8], file: &str| -> Result<Vec<Table>, DamagedTable> {
            let tables = decode_packed(bytes, file)?;
            Ok(tables.into_iter().map(Table::new).collect())
        };
        Ok(Self {
            gemm: load(gemm, "tables/gemm.bin")?,
            attention: load(attention, "tables/attention.bin")?,
            charts: None,
            own: None,
            memory: Mutex::new(BTreeMap::new()),
        })
    }

    /// The embedded tables, with a memory of their own.
    pub(crate) fn fresh() -> Self {
        Self::read(GEMM, ATTENTION).expect("the embedded tables are decoded by the tests")
    }

    /// The embedded tables but those of `system`: how well its relatives speak for it.
    ///
    /// # Panics
    /// As [`built_in`](Self::built_in).
    #[must_use]
    pub fn without(system: &str) -> Self {
        let mut tables = Self::fresh();
        tables.gemm.retain(|table| table.system != system);
        tables.attention.retain(|table| table.system != system);
        tables
    }

    /// The embedded tables but all that is of one attention kernel on one GPU.
    ///
    /// # Panics
    /// As [`built_in`](Self::built_in).
    #[must_use]
    pub fn without_attention(gpu: &Gpu, kernel: AttentionKernel) -> Self {
        let mut tables = Self::fresh();
        let of_it = |table: &Table| table.gpu.name == gpu.name && table.attention == Some(kernel);
        tables.attention.retain(|table| !of_it(table));
        tables.charts = Some(Charts::built_in().without_kernel(gpu, kernel));
        tables
    }

    pub(crate) fn charts(&self) -> &Charts<'static> {
        self.charts.as_ref().unwrap_or_else(|| Charts::built_in())
    }

    /// What is measured: (system, software, kernel, kind) of every table.
    pub fn contents(&self) -> impl Iterator<Item = (&str, &str, &str, Kind)> {
        self.gemm.iter().chain(&self.attention).map(|table| {
            let names = (table.system.as_str(), table.software.as_str());
            (names.0, names.1, table.kernel.as_str(), table.kind)
        })
    }

    /// What the times of a compressor on `gpu` rest on, in words; nothing where they were published or measured for it.
    #[must_use]
    pub fn codec_doubt(&self, gpu: &Gpu, compressor: Compressor) -> Option<String> {
        let measured = self.own_codec(gpu, compressor, Way::Encode, 4096, 3072);
        let doubt = || codec::doubt(gpu, compressor);
        if measured.is_some() { None } else { doubt() }
    }

    fn own_codec(
        &self,
        gpu: &Gpu,
        compressor: Compressor,
        way: Way,
        rows: u64,
        channels: u64,
    ) -> Option<Answer> {
        let own = self.own.as_ref()?;
        own.codec(gpu, (compressor, way), rows, channels)
    }

    fn compute(&self, op: &Op, gpu: &Gpu) -> Result<Cost, Miss> {
        let answer = match *op {
            Op::Gemm { m, n, k, dtype } => {
                let shape = gemm::Shape { m, n, k };
                self.gemm_on(gpu, dtype, None, shape, Exclude::Nothing)?
            }
            Op::Attention {
                kernel,
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
                self.attention(gpu, kernel, shape, Exclude::Nothing)?
            }
            Op::MemoryBound { bytes, kernels } => {
                let own = self.own.as_ref();
                let own = own.and_then(|own| own.moved(gpu, bytes, kernels));
                own.unwrap_or_else(|| memory::moved(gpu, bytes, kernels))
            }
            Op::Encode {
                compressor,
                rows,
                channels,
            } => {
                let own = self.own_codec(gpu, compressor, Way::Encode, rows, channels);
                own.unwrap_or_else(|| codec::encode(gpu, compressor, rows, channels))
            }
            Op::Decode {
                compressor,
                rows,
                channels,
            } => {
                let own = self.own_codec(gpu, compressor, Way::Decode, rows, channels);
                own.unwrap_or_else(|| codec::decode(gpu, compressor, rows, channels))
            }
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
        rate(gpu.peak_fp4),
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

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::{DType, gpu};

    fn gemm(m: u64) -> Op {
        Op::Gemm {
            m,
            n: 12_288,
            k: 3072,
            dtype: DType::Bf16,
        }
    }

    /// By the GPU's usual kernel.
    fn attention(name: &str, queries: u64, keys: u64, head_dim: u64) -> Op {
        Op::Attention {
            kernel: AttentionKernel::usual(gpu::find(name).unwrap()),
            batch: 1,
            heads: 24,
            queries,
            keys,
            head_dim,
        }
    }

    fn cost(op: Op, name: &str) -> Cost {
        let gpu = gpu::find(name).unwrap();
        Tables::built_in().cost(&op, gpu).unwrap()
    }

    fn us(op: Op, name: &str) -> f64 {
        cost(op, name).time.as_us_f64()
    }

    #[test]
    fn the_provenance_says_how_far_the_shape_is_from_the_measured() {
        assert_eq!(
            cost(gemm(4096), "H100-SXM").provenance,
            Provenance::Measured
        );
        assert_eq!(
            cost(gemm(4500), "H100-SXM").provenance,
            Provenance::Interpolated
        );
        assert_eq!(
            cost(gemm(100_000), "H100-SXM").provenance,
            Provenance::Extrapolated
        );
        assert_eq!(
            cost(gemm(4096), "H800-SXM").provenance,
            Provenance::Borrowed
        );
        assert_eq!(cost(gemm(4096), "L20").provenance, Provenance::Datasheet);
    }

    #[test]
    fn every_known_gpu_has_a_cost_for_every_bf16_operation() {
        let ops = |name: &str| {
            [
                gemm(4608),
                attention(name, 4608, 4608, 128),
                attention(name, 1152, 4608, 72),
                Op::MemoryBound {
                    bytes: 1 << 26,
                    kernels: 1,
                },
                Op::Encode {
                    compressor: Compressor::OneBit,
                    rows: 1088,
                    channels: 3072,
                },
            ]
        };
        for gpu in gpu::known() {
            for op in ops(&gpu.name) {
                let cost = Tables::built_in().cost(&op, gpu);
                let cost = cost.unwrap_or_else(|miss| panic!("{}: {miss}", gpu.name));
                assert!(cost.time.get() > 0 && cost.half_width > 0.0 && cost.half_width <= 0.9);
            }
        }
    }

    #[test]
    fn a_gpu_without_the_number_format_is_a_miss() {
        let op = Op::Gemm {
            m: 4096,
            n: 4096,
            k: 4096,
            dtype: DType::Fp8,
        };
        let miss = Tables::built_in().cost(&op, gpu::find("A100-80-SXM").unwrap());
        assert!(miss.unwrap_err().to_string().contains("plan with bf16"));
    }

    #[test]
    fn heads_wider_than_any_table_are_a_miss() {
        let h100 = gpu::find("H100-SXM").unwrap();
        assert!(
            Tables::built_in()
                .cost(&attention("H100-SXM", 64, 64, 512), h100)
                .is_err()
        );
    }

    #[test]
    fn a_sustained_rate_is_approached_from_below() {
        // L20: 109 TFLOP/s, L40: 134 in attention; 2 * 32768 * 12288 * 3072 FLOPs take 22.7 ms at that rate.
        let flops = 2.0 * 32_768.0 * 12_288.0 * 3072.0;
        let rate = flops / us(gemm(32_768), "L20") / 1e6;
        assert!((93.0..109.0).contains(&rate), "{rate}");
        let flops = 4.0 * 24.0 * 128.0 * 16_384.0_f64.powi(2);
        let rate = flops / us(attention("L40", 16_384, 16_384, 128), "L40") / 1e6;
        assert!((124.0..134.0).contains(&rate), "{rate}");
    }

    #[test]
    fn implied_rates_of_wide_heads_are_those_expected() {
        // Non-causal heads of 128 at 4096 tokens and more: TFLOP/s within 12 %.
        let expected = [
            ("H100-SXM", 658.0),
            ("H200-SXM", 643.0),
            ("L40S", 225.0),
            ("RTX PRO 6000 Server", 410.0),
            ("B200", 1500.0),
        ];
        for (name, rate) in expected {
            let flops = 4.0 * 24.0 * 128.0 * 16_384.0_f64.powi(2);
            let found = flops / us(attention(name, 16_384, 16_384, 128), name) / 1e6;
            assert!((found / rate - 1.0).abs() < 0.12, "{name}: {found}");
        }
    }

    #[test]
    fn hops_of_a_ring_and_gathered_keys_do_the_same_work() {
        // 4 hops of S/4 x S/4 and one S/4 x S are a quarter of the attention each.
        for name in ["H100-SXM", "L40S", "L20", "A100-80-SXM"] {
            let hops = 4.0 * us(attention(name, 4096, 4096, 64), name);
            let gathered = us(attention(name, 4096, 16_384, 64), name);
            let whole = us(attention(name, 16_384, 16_384, 64), name) / 4.0;
            assert!(
                (gathered / whole - 1.0).abs() < 0.15,
                "{name}: {gathered} {whole}"
            );
            assert!(
                (0.75..1.35).contains(&(hops / gathered)),
                "{name}: {hops} {gathered}"
            );
        }
    }

    #[test]
    fn a_remembered_answer_is_the_same_answer() {
        let fresh = Tables::read(GEMM, ATTENTION).unwrap();
        let h100 = gpu::find("H100-SXM").unwrap();
        let first = fresh.cost(&gemm(4500), h100);
        assert_eq!(first, fresh.cost(&gemm(4500), h100));
        assert_eq!(first, Tables::built_in().cost(&gemm(4500), h100));
    }

    #[test]
    fn a_damaged_table_is_named() {
        let mut bytes = GEMM.to_vec();
        bytes[1000] ^= 4;
        let error = Tables::read(&bytes, ATTENTION).err().unwrap();
        assert!(error.to_string().contains("tables/gemm.bin is damaged"));
    }
}
