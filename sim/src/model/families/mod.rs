//! One file per family: its widths as data, and the blocks that follow from them.

use crate::workload::{AttentionCall, AttentionKind, CONDITION, Linear, Role, Split, Tokens};

pub(crate) mod joint;

/// `k -> n` on the conditioning token, replicated.
pub(crate) const fn condition(role: Role, n: u64, k: u64) -> Linear {
    Linear::new(role, CONDITION, n, k, Split::Replicated)
}

/// The two-layer embedder of a sinusoidal time (or guidance): `256 -> hidden -> hidden`.
pub(crate) const fn time_embedder(hidden: u64) -> [Linear; 2] {
    pooled_embedder(256, hidden)
}

/// A two-layer embedder of one vector: `from -> hidden -> hidden`.
pub(crate) const fn pooled_embedder(from: u64, hidden: u64) -> [Linear; 2] {
    [
        condition(Role::Embed, hidden, from),
        condition(Role::Embed, hidden, hidden),
    ]
}

/// Separate Q, K and V projections of one width.
pub(crate) const fn qkv(on: Tokens, width: u64, from: u64) -> Linear {
    Linear::new(Role::Qkv, on, width, from, Split::Column).times(3)
}

/// An attention call over all tokens of both groups.
pub(crate) const fn attend(
    kind: AttentionKind,
    heads: u64,
    head_dim: u64,
    queries: Tokens,
    keys: Tokens,
) -> AttentionCall {
    AttentionCall {
        kind,
        heads,
        head_dim,
        queries,
        keys,
        sequences: 1,
    }
}
