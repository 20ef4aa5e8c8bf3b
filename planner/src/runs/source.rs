//! What published tables mean beyond their cells, by who published them: `data/sources.toml`.

use std::sync::LazyLock;

use serde::Deserialize;
use sim::model::Model;

use crate::launch::Engine;

/// The file's entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    facts: Vec<Facts>,
}

/// What one source's tables mean; absent is what the file's head says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The row's source starts with one of these; `*word`: contains it.
    source: Vec<String>,
    /// The row's model is one of these.
    models: Vec<String>,
    /// Whose machine it is.
    pub owner: Option<String>,
    /// Who measured.
    pub project: Option<String>,
    /// What a "latency" covers.
    pub times: Option<Times>,
    /// Who executed the runs.
    pub engine: Option<Executor>,
    /// Who computed attention, where it is not what the engine takes.
    pub attention: Option<String>,
    /// Synchronous first steps of a pipeline.
    pub pipeline_warmup: Option<u32>,
    /// Uncompressed first steps of a compressed plan.
    pub compressed_warmup: Option<u32>,
    /// What compressed rings run in.
    pub compressed_loop: Option<Loop>,
    /// What a cell of the column batch counts.
    pub batch: Option<Batch>,
    /// What a precision called "fp8" is.
    pub fp8: Option<String>,
    /// Text tokens.
    pub text_tokens: Option<u32>,
    /// Whether rows without a size are of the model's usual one.
    pub usual_shape: Option<bool>,
    /// What stands in memory.
    pub memory: MemoryFacts,
}

/// What a time covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Encoders, loop and VAE.
    Request,
    /// The denoising loop.
    Loop,
}

/// Who executed a source's runs; none is named for xDiT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// The code of the PipeFusion paper.
    Pipefusion,
    /// SGLang Diffusion.
    Sglang,
    /// Hugging Face diffusers.
    Diffusers,
    /// cache-dit.
    CacheDit,
}

/// What stands in memory in one source's runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryFacts {
    /// Whose counter.
    pub counter: Option<Counter>,
    /// Whether a "GB" is 2^30 bytes.
    pub gibibytes: Option<bool>,
    /// Which rank's peak.
    pub rank: Option<Rank>,
    /// The transformer's precision.
    pub weights: Option<Precision>,
    /// The encoders' precision.
    pub encoder_weights: Option<Precision>,
    /// Where the encoders are.
    pub encoders: Option<Encoders>,
    /// Where the latent is decoded.
    pub decoding: Option<Decoding>,
    /// Whether weights are quantised on the GPU, after they came there in 16 bits.
    pub quantised_there: Option<bool>,
    /// How runs on one GPU keep components.
    pub alone: Option<Alone>,
    /// How DistriFusion keeps guidance branches.
    pub displaced_guidance: Option<Branches>,
}

/// Declares an enum of words.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$of])* $variant),+ }
    };
}

word!(/** What a ring runs in. */ Loop { /** The engine's own loop. */ Engine, /** CompactFusion's fused loop. */ Fused });
word!(/** What a batch counts. */ Batch { /** Rows of a forward pass. */ Rows, /** Images, each with the model's usual guidance. */ Images });
word!(/** Whose counter. */ Counter { /** The device's. */ Device, /** PyTorch's. */ Allocator });
word!(/** Which rank. */ Rank { /** The last. */ Last, /** The fullest. */ Fullest });
word!(/** A stored number format. */ Precision { /** bf16. */ Bf16, /** fp16. */ Fp16, /** fp32. */ Fp32 });
word!(/** Where encoders are. */ Encoders { /** On every rank. */ Whole, /** Split. */ Sharded, /** Copied for encoding. */ InTurn, /** On another GPU. */ Elsewhere });
word!(/** Where the latent is decoded. */ Decoding { /** By the ranks. */ Here, /** Nowhere. */ Skipped, /** On another GPU. */ Elsewhere });
word!(/** How runs on one GPU keep components. */ Alone { /** All the run. */ Together, /** Each in its phase. */ InTurn });
word!(/** Guidance branches on a rank. */ Branches { /** One. */ Split, /** Both. */ Whole });

static ENTRIES: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("../../data/sources.toml"))
        .expect("a test reads the built-in sources");
    file.facts
});

/// Takes what `from` says over what `to` says.
macro_rules! overlay {
    ($to:expr, $from:expr, $($field:ident),+) => {
        $(if $from.$field.is_some() { $to.$field.clone_from(&$from.$field); })+
    };
}

/// Whose machine rows of a source ran on, whatever the model.
#[must_use]
pub fn owner_of(source: &str) -> String {
    Facts::merged(source, None).owner.unwrap_or_default()
}

impl Facts {
    /// The facts of a row of `source` about `model`.
    #[must_use]
    pub fn of(source: &str, model: &Model) -> Self {
        Self::merged(source, Some(model))
    }

    fn merged(source: &str, model: Option<&Model>) -> Self {
        let lower = source.to_lowercase();
        let starts = |pattern: &String| match pattern.strip_prefix('*') {
            Some(word) => lower.contains(&word.to_lowercase()),
            None => source.starts_with(pattern.as_str()),
        };
        let any = |list: &[String], holds: &dyn Fn(&String) -> bool| {
            list.is_empty() || list.iter().any(holds)
        };
        let mut all = Self::default();
        for facts in ENTRIES.iter() {
            if any(&facts.source, &starts)
                && any(&facts.models, &|name| {
                    model.is_some_and(|model| *name == model.name)
                })
            {
                overlay!(all, facts, owner, project, times, engine, pipeline_warmup);
                overlay!(
                    all,
                    facts,
                    compressed_warmup,
                    compressed_loop,
                    batch,
                    fp8,
                    text_tokens,
                    usual_shape,
                    attention
                );
                let (to, from) = (&mut all.memory, &facts.memory);
                overlay!(to, from, counter, gibibytes, rank, weights, encoder_weights);
                overlay!(to, from, encoders, decoding, alone, displaced_guidance);
                overlay!(to, from, quantised_there);
            }
        }
        if all.owner.is_none() {
            all.owner = Some(first_word(source));
        }
        if all.project.is_none() {
            all.project.clone_from(&all.owner);
        }
        all
    }

    /// Who executed the runs, as far as that changes a time.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.engine {
            Some(Executor::Pipefusion) => Engine::PipeFusion,
            Some(Executor::Sglang) => Engine::Sglang,
            Some(Executor::Diffusers) => Engine::Diffusers,
            Some(Executor::CacheDit) => Engine::CacheDit,
            None => Engine::Xdit,
        }
    }
}

/// The text before `@` or a blank; of an issue or request its number too: a user's own machine.
fn first_word(source: &str) -> String {
    let mut words = source.split_whitespace();
    if let (Some(owner), Some(kind @ ("issue" | "PR")), Some(number)) =
        (words.next(), words.next(), words.next())
    {
        let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        return format!("{owner} {kind} {number}");
    }
    let end = source.find(['@', ' ', '\t']).unwrap_or(source.len());
    source[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_names_built_in_models() {
        for name in ENTRIES.iter().flat_map(|entry| &entry.models) {
            assert_eq!(sim::model::find(name).expect("a built-in").name, *name);
        }
    }

    #[test]
    fn owners_and_projects_are_who_published() {
        let model = sim::model::find("PixArt-alpha").expect("a built-in");
        for (source, owner, project) in [
            ("xdit-project/xdit_assets@e051d26 x", "xDiT", "xDiT"),
            (
                "xDiT issue #416 comment",
                "xDiT issue #416",
                "xDiT issue #416",
            ),
            (
                "PipeFusion/PipeFusion@6d0d12b x",
                "PipeFusion",
                "PipeFusion",
            ),
            (
                "vipshop/cache-dit@f86744a docs",
                "vipshop/cache-dit",
                "vipshop/cache-dit",
            ),
            ("OpenReview jqDtzUQkmu", "CompactFusion", "CompactFusion"),
            (
                "github Cobalt-27/CompactFusion@c30d06b",
                "CompactFusion",
                "CompactFusion",
            ),
            ("Wan-Video/Wan2.2 assets", "Wan-Video/Wan2.2", "Wan-Video"),
            (
                "sgl-project/sglang[0.5.8]@PyPI-wheel x",
                "sgl-project/sglang[0.5.8]",
                "sglang",
            ),
        ] {
            let facts = Facts::of(source, model);
            assert_eq!(facts.owner.as_deref(), Some(owner));
            assert_eq!(facts.project.as_deref(), Some(project));
        }
    }

    /// The charts of the loop alone are those of two projects and three models.
    #[test]
    fn a_chart_of_the_loop_is_a_property_of_its_rows() {
        let times = |source: &str, model: &str| {
            Facts::of(source, sim::model::find(model).expect("a built-in")).times
        };
        assert_eq!(times("xdit-project/x@1", "PixArt-alpha"), Some(Times::Loop));
        assert_eq!(times("somebody@1", "PixArt-alpha"), None);
        assert_eq!(times("xdit-project/x@1", "FLUX.1-dev"), None);
    }
}
