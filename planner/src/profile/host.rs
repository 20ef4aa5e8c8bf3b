//! What a profile says of a model on a host: where calibration starts, and which numbers it replaced.

use std::collections::BTreeMap;

use sim::model::Model;
use sim::workload::BlockKind;
use topologies::host::Compilation;

use super::points::{Part, What};
use super::{Profile, block_fit, rates};

/// What a profile says beside its tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Memory-bound passes over a block's activation, by kind of block.
    pub passes: BTreeMap<BlockKind, f64>,
    /// Those of them that blocks were measured for.
    pub measured: BTreeMap<BlockKind, f64>,
    /// Whether they are of blocks of this very model, so that its GPU time is measured.
    pub blocks_measured: bool,
    /// Launch time over that of xDiT's A100 host.
    pub launch: Option<f64>,
}

impl Profile {
    /// What this profile says of `model` on its GPU.
    #[must_use]
    pub fn host(&self, model: &Model, compilation: Compilation) -> Host {
        let compiled = compilation == Compilation::Compiled;
        let blocks = self.points(Part::Blocks);
        let Some(rate) = self.memory() else {
            return Host {
                launch: block_fit::launch_factor(blocks),
                ..Host::default()
            };
        };
        let costs = (self.tables() as &dyn kernels::CostModel, &self.gpu);
        let (measured, own) = block_fit::passes(blocks, model, compiled, rate, costs);
        // The published passes were fitted with the datasheet's bandwidth: elsewhere their time stays.
        let share = rate.bytes_per_us * 1e6 / self.gpu.memory_bandwidth.as_f64();
        let published = sim::lower::elementwise_passes(compilation) as f64 * share;
        let kinds = BlockKind::ALL.into_iter().map(|kind| (kind, published));
        let mut passes: BTreeMap<BlockKind, f64> = kinds.collect();
        passes.extend(&measured);
        Host {
            passes,
            measured,
            blocks_measured: own,
            launch: block_fit::launch_factor(blocks),
        }
    }

    /// Which numbers of an answer about `model` this profile replaced, one sentence each.
    #[must_use]
    pub fn says(&self, model: &Model, compilation: Compilation, launch_used: bool) -> Vec<String> {
        let gpu = &self.gpu.name;
        let mut said = vec![format!("profile {}", self.title())];
        let count = |part| self.points(part).len();
        let (gemm, square, rectangular) = (
            count(Part::Gemm),
            count(Part::Attention),
            count(Part::Rectangular),
        );
        if gemm > 0 {
            said.push(format!(
                "profile: {gemm} measured matrix products in place of the built-in table of {gpu}, which stays for shapes beyond them"
            ));
        }
        if square + rectangular > 0 {
            let widths = self.widths();
            said.push(format!(
                "profile: {} measured attention calls with heads of {widths} in place of the built-in tables of {gpu}",
                square + rectangular
            ));
        }
        let host = self.host(model, compilation);
        if let Some(rate) = self.memory() {
            said.push(format!(
                "profile: memory-bound work at {:.0} GB/s in place of the datasheet's {:.0} GB/s; passes of a block {}",
                rate.bytes_per_us / 1e3,
                self.gpu.memory_bandwidth.as_f64() / 1e9,
                passes_in_words(&host, compilation)
            ));
        }
        let codecs = self
            .points(Part::Compressors)
            .iter()
            .filter_map(super::codec)
            .count();
        if codecs > 0 {
            said.push(format!(
                "profile: {codecs} measured encodes and decodes in place of published ones moved by bandwidth"
            ));
        }
        match host.launch {
            Some(launch) if launch_used => said.push(format!(
                "profile: launch factor {launch:.2} from blocks that launching bounds, in place of the assumed one"
            )),
            Some(_) => said.push("profile: its launch factor is not used: the machine's host has one of its own".into()),
            None => {}
        }
        if rates::copy(self.points(Part::Copies), "h2d").is_some() {
            said.push("profile: its copy rates are used by `validate --timeline` only".into());
        }
        said
    }

    /// The measured widths of heads, in words.
    fn widths(&self) -> String {
        let parts = [Part::Attention, Part::Rectangular];
        let mut widths: Vec<u32> = parts
            .into_iter()
            .flat_map(|part| self.points(part))
            .filter_map(|point| match &point.what {
                What::Attention(attention) => Some(attention.head_dim),
                _ => None,
            })
            .collect();
        widths.sort_unstable();
        widths.dedup();
        let words: Vec<String> = widths.iter().map(u32::to_string).collect();
        words.join(", ")
    }
}

fn passes_in_words(host: &Host, compilation: Compilation) -> String {
    if host.measured.is_empty() {
        return "take as long as the published fit of them".into();
    }
    let of = |(kind, passes): (&BlockKind, &f64)| format!("{passes:.0} ({kind:?})");
    let words: Vec<String> = host.measured.iter().map(of).collect();
    format!(
        "{} from measured blocks{}, in place of {}",
        words.join(", "),
        if host.blocks_measured {
            ""
        } else {
            " of other models"
        },
        sim::lower::elementwise_passes(compilation)
    )
}
