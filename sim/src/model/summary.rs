//! One row of the model listing.

use topologies::{Bytes, Flops};

use super::Model;

/// A model at its default request, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The family.
    pub kind: &'static str,
    /// Blocks.
    pub blocks: usize,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Attention heads.
    pub heads: u64,
    /// Image tokens.
    pub image_tokens: u64,
    /// Text tokens.
    pub text_tokens: u64,
    /// Weights of the transformer, all experts.
    pub parameters: u64,
    /// Bytes of those weights in bf16.
    pub weight_bytes: Bytes,
    /// Linears and convolutions of one row of one forward pass.
    pub linear: Flops,
    /// Attention of one row of one forward pass.
    pub attention: Flops,
    /// Degrees that Ulysses may have.
    pub ulysses_degrees: Vec<u64>,
    /// Where the shapes come from.
    pub source: String,
}

impl Model {
    /// The model at its default request.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let work = self
            .workload(&self.default)
            .expect("every built-in model serves its own default request");
        let rows = work.rows;
        let per_row = |flops: Flops| Flops::new(flops.get() / rows);
        Summary {
            name: self.name.clone(),
            kind: self.architecture.label(),
            blocks: work.layers.order.len(),
            hidden: self.hidden,
            heads: self.heads,
            image_tokens: work.tokens.image,
            text_tokens: work.tokens.text,
            parameters: work.parameters() * self.experts.count(),
            weight_bytes: work.weight_bytes() * self.experts.count(),
            linear: per_row(work.linear_flops() + work.convolution_flops()),
            attention: per_row(work.attention_flops()),
            ulysses_degrees: self.ulysses_degrees(),
            source: self.source.clone(),
        }
    }
}
