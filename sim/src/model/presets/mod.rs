//! The built-in models.

use super::{Architecture, Guidance, GuidanceEmbedding, Joint, Latent, Model, Request, Resolution};

/// All built-in models.
pub(super) const MODELS: &[Model] = &[FLUX_1_DEV];

const FLUX_1_DEV: Model = Model {
    name: "FLUX.1-dev",
    aliases: &["FLUX.1-dev (inferred)"],
    hidden: 3072,
    heads: 24,
    head_dim: 128,
    architecture: Architecture::Joint(Joint {
        double: 19,
        single: 38,
        feed_forward: 12_288,
        text_width: 4096,
        pooled_width: Some(768),
        guidance: GuidanceEmbedding::Embedded,
    }),
    latent: Latent::image(16, 2),
    default: Request {
        resolution: Resolution::square(1024),
        frames: 1,
        steps: 28,
        batch: 1,
        guidance: Guidance::None,
        text_tokens: 512,
    },
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_flux.py; black-forest-labs/flux util.py",
};

#[cfg(test)]
mod tests {
    use crate::model::find;

    #[test]
    fn flux_matches_the_counted_flops() {
        let model = find("flux.1-dev").unwrap();
        let work = model.workload(&model.default).unwrap();
        assert!((work.linear_flops().as_f64() / 1e12 - 59.512).abs() < 6e-4);
        assert!((work.attention_flops().as_f64() / 1e12 - 14.872).abs() < 6e-4);
    }
}
