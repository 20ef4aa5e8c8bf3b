//! The command that runs a plan, or why an engine cannot run it.

/// Who executes a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// xDiT.
    Xdit,
    /// SGLang Diffusion.
    Sglang,
    /// Hugging Face diffusers.
    Diffusers,
}

/// The command that runs a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who executes it.
    pub engine: Engine,
    /// The command, or why there is none.
    pub command: Result<String, String>,
}
