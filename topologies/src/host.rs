//! Hosts: what one particular machine has been measured to do.

/// A pattern of communication among a group of ranks.
///
/// "size" below is the `size_bytes` of nccl-tests, *S*; *n* is the number of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CollectiveKind {
    /// Every rank ends with everyone's part; *S* is the gathered total, each rank sends S/n (n-1) times.
    AllGather,
    /// Every rank ends with its part of the sum; *S* is a rank's input.
    ReduceScatter,
    /// Every rank ends with the sum; *S* is a rank's buffer.
    AllReduce,
    /// Every rank sends a different S/n to each other; *S* is a rank's buffer.
    AllToAll,
    /// Every rank sends *S* to its successor and receives *S* from its predecessor: one hop of a ring.
    RingPass,
}

impl CollectiveKind {
    /// Bytes that cross the busiest rank's link, over `size_bytes`: the factor between
    /// `size / time` and nccl-tests' bus bandwidth.
    ///
    /// Source: NVIDIA/nccl-tests `doc/PERFORMANCE.md`.
    #[must_use]
    pub fn bus_factor(self, ranks: u32) -> f64 {
        let n = f64::from(ranks);
        match self {
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => (n - 1.0) / n,
            Self::AllReduce => 2.0 * (n - 1.0) / n,
            Self::RingPass => 1.0,
        }
    }
}
