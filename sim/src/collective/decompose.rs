//! A collective as NCCL runs it over the links of a machine: for machines without a table.
//!
//! ```text
//! ring      0 -> 1 -> 3 -> 2 -> 0     every edge carries the same bytes
//!             all-gather, reduce-scatter  (n-1)/n·S,  latency base + (n-1)·hop
//!             all-reduce                 2(n-1)/n·S,  latency base + 2(n-1)·hop
//!             ring pass                          S,  latency base + hop
//! pairwise  every rank to every other   all-to-all  S/n each, latency base + hop
//!
//! time = latency + max over links of (flows on it · bytes · protocol overhead / effective rate)
//! ```
//! The ring visits the nearest unvisited rank next, so an island is finished before its slow
//! up-link is crossed: once out and once back. Over nodes there is a ring for each network card ([`super::nodes`]).
//!
//! | protocol | bytes on the wire | base, us | hop over NVLink, PCIe, network, us |
//! |---|---|---|---|
//! | LL | 2 | 6.6 | 0.6, 1.0, 2.7 |
//! | LL128 (NVLink only) | 128/120 | 14 | 1.9, 2.5, 4.0 |
//! | Simple | 1 | 8.4 | 3.4, 5.7, 14 |
//!
//! Source: NVIDIA/nccl `src/graph/tuning.cc`. The protocol with the least time is taken.
//!
//! Guarantees: payload bytes are the closed forms above; the bundle's uncontended time is `time`.
//!
//! Not modelled: trees inside a node, PAT; channel counts; the collapse of all-to-all on dual-socket PCIe
//! hosts beyond what their links explain (see [`super::rates`]).

use topologies::{Bandwidth, Bytes, CollectiveKind, LinkId, SimDuration};

/// What a hop between two ranks runs over: decides NCCL's per-hop latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HopKind {
    /// NVLink, directly or through a switch.
    NvLink,
    /// PCIe, host bridges, links between sockets.
    Pcie,
    /// A network card.
    Network,
}

/// The way from one rank to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Directed links in order.
    pub links: Vec<LinkId>,
    /// The route's own latency; NCCL's constant is used where that is longer.
    pub latency: SimDuration,
    /// Slowest kind of link on the way.
    pub kind: HopKind,
    /// Between nodes: the link on which the way leaves the sender's.
    pub wire: Option<LinkId>,
}

/// The ranks of a collective and the ways between them.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    hops: Vec<Vec<Option<Hop>>>,
    effective: &'a [Bandwidth],
}

/// Equal flows that start and end together: on link l the bundle consumes `weight` times the
/// rate of one flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Time before the first byte.
    pub latency: SimDuration,
    /// Links with their weights, by link.
    pub shares: Vec<(LinkId, f64)>,
    /// Highest rate of one flow, where one was measured.
    pub cap: Option<Bandwidth>,
    /// Payload bytes of one flow.
    pub bytes: Bytes,
}

/// NCCL's protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Flag with every 4 bytes.
    Ll,
    /// Flag with every 120 bytes; needs NVLink's ordering.
    Ll128,
    /// Fences around large chunks.
    Simple,
}

/// A collective over the links of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// The protocol taken.
    pub protocol: Protocol,
    /// Ranks in ring order, of several rings the first's; for all-to-all in their own order.
    pub order: Vec<usize>,
    /// The flows.
    pub bundle: Bundle,
    /// Time when nothing else uses the links.
    pub time: SimDuration,
}

impl Protocol {
    /// Every protocol.
    pub(super) const ALL: [Self; 3] = [Self::Ll, Self::Ll128, Self::Simple];

    /// Bytes on the wire per byte of payload.
    #[must_use]
    pub const fn overhead(self) -> f64 {
        match self {
            Self::Ll => 2.0,
            Self::Ll128 => 128.0 / 120.0,
            Self::Simple => 1.0,
        }
    }

    /// Latency of a ring with no hops.
    #[must_use]
    pub const fn base(self) -> SimDuration {
        SimDuration::new(match self {
            Self::Ll => 6_600_000,
            Self::Ll128 => 14_000_000,
            Self::Simple => 8_400_000,
        })
    }

    /// Latency of a hop; `None` where the protocol does not run.
    #[must_use]
    pub const fn hop(self, kind: HopKind) -> Option<SimDuration> {
        let ps = match (self, kind) {
            (Self::Ll, HopKind::NvLink) => 600_000,
            (Self::Ll, HopKind::Pcie) => 1_000_000,
            (Self::Ll, HopKind::Network) => 2_700_000,
            (Self::Ll128, HopKind::NvLink) => 1_900_000,
            (Self::Ll128, HopKind::Pcie | HopKind::Network) => return None,
            (Self::Simple, HopKind::NvLink) => 3_400_000,
            (Self::Simple, HopKind::Pcie) => 5_700_000,
            (Self::Simple, HopKind::Network) => 14_000_000,
        };
        Some(SimDuration::new(ps))
    }
}

impl<'a> Group<'a> {
    /// `ranks` ranks; `hop(from, to)` gives the way between two of them, `effective` the rate that
    /// payload reaches on each link.
    ///
    /// # Panics
    /// With fewer than two ranks, or when a hop uses a link that `effective` does not have.
    pub fn new(
        ranks: usize,
        effective: &'a [Bandwidth],
        hop: impl Fn(usize, usize) -> Hop,
    ) -> Self {
        assert!(ranks >= 2, "a collective has at least two ranks");
        let row = |from| {
            let way = |to| (from != to).then(|| hop(from, to));
            (0..ranks).map(way).collect::<Vec<_>>()
        };
        let hops: Vec<Vec<Option<Hop>>> = (0..ranks).map(row).collect();
        let mut links = hops.iter().flatten().flatten().flat_map(|hop| &hop.links);
        assert!(
            links.all(|link| link.index() < effective.len()),
            "every link of a route belongs to the machine"
        );
        Self { hops, effective }
    }

    /// How many ranks.
    #[must_use]
    pub fn ranks(&self) -> u32 {
        u32::try_from(self.hops.len()).expect("a group has fewer than 2^32 ranks")
    }

    /// The slowest kind of hop between any two ranks.
    #[must_use]
    pub fn slowest_kind(&self) -> HopKind {
        let kinds = self.hops.iter().flatten().flatten().map(|hop| hop.kind);
        kinds.max().expect("two ranks have a hop between them")
    }

    pub(super) fn hop(&self, from: usize, to: usize) -> &Hop {
        self.hops[from][to]
            .as_ref()
            .expect("a rank sends nothing to itself")
    }

    /// Ring order: the nearest rank next, by bottleneck rate, then by links, then by index.
    #[must_use]
    pub fn ring_order(&self) -> Vec<usize> {
        let mut order = vec![0];
        while order.len() < self.hops.len() {
            let last = order[order.len() - 1];
            let next = (0..self.hops.len())
                .filter(|rank| !order.contains(rank))
                .min_by_key(|rank| self.distance(last, *rank))
                .expect("a rank is left");
            order.push(next);
        }
        order
    }

    fn distance(&self, from: usize, to: usize) -> (std::cmp::Reverse<Bandwidth>, usize, usize) {
        let links = &self.hop(from, to).links;
        let rates = links.iter().map(|link| self.effective[link.index()]);
        let bottleneck = rates.min().unwrap_or(Bandwidth::new(u64::MAX));
        (std::cmp::Reverse(bottleneck), links.len(), to)
    }

    /// The pairs that exchange data in `kind`.
    pub(super) fn pairs(&self, kind: CollectiveKind, order: &[usize]) -> Vec<(usize, usize)> {
        let n = order.len();
        if kind == CollectiveKind::AllToAll {
            let pairs = (0..n).flat_map(|from| (0..n).map(move |to| (from, to)));
            return pairs.filter(|(from, to)| from != to).collect();
        }
        (0..n).map(|at| (order[at], order[(at + 1) % n])).collect()
    }

    /// How many of `pairs` cross each link.
    pub(super) fn crossings<'p>(
        &self,
        pairs: impl IntoIterator<Item = &'p (usize, usize)>,
    ) -> Vec<(LinkId, f64)> {
        let mut count = vec![0.0; self.effective.len()];
        let mut links = Vec::new();
        for (from, to) in pairs {
            for link in &self.hop(*from, *to).links {
                if count[link.index()] == 0.0 {
                    links.push(*link);
                }
                count[link.index()] += 1.0;
            }
        }
        links.sort();
        let counted = links.into_iter().map(|link| (link, count[link.index()]));
        counted.collect()
    }

    /// `kind` of `size` (nccl-tests' size, see [`CollectiveKind`]) over this group's links.
    #[must_use]
    pub fn decompose(&self, kind: CollectiveKind, size: Bytes) -> Decomposition {
        let orders = self.orders(kind);
        let pairs: Vec<Vec<(usize, usize)>> =
            orders.iter().map(|order| self.pairs(kind, order)).collect();
        let crossings = self.mean_crossings(&pairs);
        let order = &orders[0];
        let choices = Protocol::ALL.into_iter().filter_map(|protocol| {
            let overhead = protocol.overhead();
            let share = |(link, flows): &(LinkId, f64)| (*link, flows * overhead);
            let bundle = Bundle {
                latency: self.latency(kind, protocol, &pairs[0])?,
                shares: crossings.iter().map(share).collect(),
                cap: None,
                bytes: flow_bytes(kind, self.ranks(), size),
            };
            let time = bundle.uncontended(self.effective);
            Some(Decomposition {
                protocol,
                order: order.clone(),
                bundle,
                time,
            })
        });
        choices
            .min_by_key(|choice| choice.time)
            .expect("Simple runs over every kind of hop")
    }

    /// Base latency and one hop per ring step; `None` where the protocol does not run.
    fn latency(
        &self,
        kind: CollectiveKind,
        protocol: Protocol,
        pairs: &[(usize, usize)],
    ) -> Option<SimDuration> {
        let mut longest = SimDuration::ZERO;
        let mut around = SimDuration::ZERO;
        for (from, to) in pairs {
            let hop = self.hop(*from, *to);
            let latency = protocol.hop(hop.kind)?.max(hop.latency);
            longest = longest.max(latency);
            around += latency;
        }
        // A block crosses all edges of the ring but the one that would bring it home.
        let crossed = around.saturating_sub(longest);
        Some(
            protocol.base()
                + match kind {
                    CollectiveKind::AllGather | CollectiveKind::ReduceScatter => {
                        crossed.max(longest)
                    }
                    CollectiveKind::AllReduce => crossed.max(longest) * 2,
                    CollectiveKind::AllToAll | CollectiveKind::RingPass => longest,
                },
        )
    }

    /// Effective rates by link.
    #[must_use]
    pub const fn effective(&self) -> &'a [Bandwidth] {
        self.effective
    }
}

/// Payload that one flow carries: per ring edge, or per pair for all-to-all.
#[must_use]
pub fn flow_bytes(kind: CollectiveKind, ranks: u32, size: Bytes) -> Bytes {
    let n = u64::from(ranks);
    let part = |times: u64| {
        let bytes = (u128::from(size.get()) * u128::from(times)).div_ceil(u128::from(n));
        Bytes::new(u64::try_from(bytes).expect("twice a buffer's bytes fit in 64 bits"))
    };
    match kind {
        CollectiveKind::AllGather | CollectiveKind::ReduceScatter => part(n - 1),
        CollectiveKind::AllReduce => part(2 * (n - 1)),
        CollectiveKind::AllToAll => part(1),
        CollectiveKind::RingPass => size,
    }
}

impl Bundle {
    /// Latency plus the time of the busiest link, or of the cap, with the links to itself.
    #[must_use]
    pub fn uncontended(&self, effective: &[Bandwidth]) -> SimDuration {
        let load =
            |(link, weight): &(LinkId, f64)| self.bytes.scaled(*weight) / effective[link.index()];
        let busiest = self
            .shares
            .iter()
            .map(load)
            .max()
            .unwrap_or(SimDuration::ZERO);
        let capped = self.cap.map_or(SimDuration::ZERO, |cap| self.bytes / cap);
        self.latency + busiest.max(capped)
    }
}
