//! Which attention kernel an engine takes on a GPU unless told: `data/attention_defaults.csv`.

use kernels::AttentionKernel;
use topologies::Gpu;

use super::Engine;

impl Engine {
    /// The kernel that it takes on `gpu` unless told: the newest flash attention, or what the table says
    /// in its place.
    ///
    /// # Panics
    /// Never in a released build: a test reads the table.
    #[must_use]
    pub fn attention(self, gpu: &Gpu) -> AttentionKernel {
        let newest = AttentionKernel::usual(gpu);
        let mut lines = include_str!("../../data/attention_defaults.csv").lines();
        let found = lines.find_map(|line| {
            let mut cells = line.splitn(4, ',');
            let mut is = |word: &str| cells.next() == Some(word);
            (is(self.word()) && is(newest.name())).then(|| cells.next())?
        });
        found.map_or(newest, |kernel| {
            AttentionKernel::named(kernel, gpu.architecture)
                .expect("a test reads the table of defaults")
        })
    }

    /// Its word on the command line and in tables.
    const fn word(self) -> &'static str {
        match self {
            Self::Xdit => "xdit",
            Self::Sglang => "sglang",
            Self::Diffusers => "diffusers",
            Self::CacheDit => "cache-dit",
            Self::PipeFusion => "pipefusion",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    #[test]
    fn engines_take_their_own_kernels() {
        let on = |engine: Engine, name: &str| engine.attention(gpu::find(name).unwrap()).name();
        for (engine, name, kernel) in [
            (Engine::Sglang, "H100-SXM", "fa3"),
            (Engine::Diffusers, "H100-SXM", "fa2"),
            (Engine::Diffusers, "B200", "cudnn"),
            (Engine::Sglang, "B200", "fa4"),
            (Engine::Xdit, "L20", "fa2"),
            (Engine::CacheDit, "RTX5090", "fa2"),
            (Engine::Xdit, "T4", "xformers"),
            (Engine::Xdit, "MI300X", "aiter"),
        ] {
            assert_eq!(on(engine, name), kernel, "{engine} {name}");
        }
    }

    #[test]
    fn every_default_runs_on_its_gpu() {
        let engines = [
            Engine::Xdit,
            Engine::Sglang,
            Engine::Diffusers,
            Engine::CacheDit,
            Engine::PipeFusion,
        ];
        for (gpu, engine) in gpu::known()
            .iter()
            .flat_map(|gpu| engines.map(|e| (gpu, e)))
        {
            assert!(engine.attention(gpu).runs_on(gpu), "{engine} {}", gpu.name);
        }
    }
}
