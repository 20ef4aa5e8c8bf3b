//! What a profile says of a model on a host: where calibration starts, and which numbers it replaced.

use std::collections::{BTreeMap, BTreeSet};

use sim::execution::Software;
use sim::model::Model;
use sim::workload::BlockKind;
use topologies::host::Compilation;

use super::points::{Part, What};
use super::{Profile, Statement, block_fit, rates};

/// What a profile says beside its tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Memory-bound passes over a block's activation, by kind of block, where blocks were measured.
    pub passes: BTreeMap<BlockKind, f64>,
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
        let (passes, own) = block_fit::passes(blocks, model, compiled, rate, costs);
        Host {
            passes,
            blocks_measured: own,
            launch: block_fit::launch_factor(blocks),
        }
    }

    /// Which numbers of an answer about `model` this profile replaced.
    #[must_use]
    pub fn says(
        &self,
        model: &Model,
        compilation: Compilation,
        launch_used: bool,
    ) -> Vec<Statement> {
        let title = self.title();
        let mut said = vec![Statement::Profile { title }];
        let count = |part| self.points(part).len();
        let gpu = || self.gpu.name.clone();
        if count(Part::Gemm) > 0 {
            said.push(Statement::Products {
                count: count(Part::Gemm),
                gpu: gpu(),
            });
        }
        let attention = count(Part::Attention) + count(Part::Rectangular);
        if attention > 0 {
            said.push(Statement::Attention {
                count: attention,
                head_dims: self.head_dims(),
                gpu: gpu(),
            });
        }
        let host = self.host(model, compilation);
        let usual = sim::lower::elementwise_passes(model, compilation, Software::Other, &self.gpu);
        if let Some(rate) = self.memory() {
            said.push(Statement::Memory {
                rate,
                datasheet: self.gpu.memory_bandwidth,
                passes: host.passes,
                own_blocks: host.blocks_measured,
                published: usual.round() as u64,
            });
        }
        let codecs = self.points(Part::Compressors).iter();
        let codecs = codecs.filter_map(super::codec).count();
        if codecs > 0 {
            said.push(Statement::Codecs { count: codecs });
        }
        said.extend(host.launch.map(|factor| match launch_used {
            true => Statement::Launch { factor },
            false => Statement::LaunchUnused,
        }));
        if rates::copy(self.points(Part::Copies), "h2d").is_some() {
            said.push(Statement::CopiesUnused);
        }
        said
    }

    /// The measured widths of heads, ascending.
    fn head_dims(&self) -> Vec<u32> {
        let parts = [Part::Attention, Part::Rectangular];
        let points = parts.into_iter().flat_map(|part| self.points(part));
        let widths = points.filter_map(|point| match &point.what {
            What::Attention(attention) => Some(attention.head_dim),
            _ => None,
        });
        BTreeSet::from_iter(widths).into_iter().collect()
    }
}
