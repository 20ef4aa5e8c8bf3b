//! The plain filling: every link in every round. Slow and short, it says what the shares are.

use topologies::{Bytes, SimDuration};

use super::*;

impl Filling {
    /// The rate of every path, from nothing.
    ///
    /// All rise together; the next level at which some must stop is the least of all caps and of what
    /// the stopped leave of each link, over the weights of the others. All that this level stops, stop.
    pub(in crate::network) fn plain_rates(&self) -> Vec<u64> {
        let mut rates = vec![0; self.caps.len()];
        let mut rising: Vec<bool> = self.count.iter().map(|&count| count > 0).collect();
        let mut room: Vec<u128> = self.links.iter().map(|link| link.capacity).collect();
        let mut load: Vec<u64> = vec![0; self.links.len()];
        for path in 0..rates.len() as u32 {
            for share in &self.shares[self.range(path)] {
                load[share.link as usize] += share.weight * u64::from(self.count[path as usize]);
            }
        }
        while rising.contains(&true) {
            let levels: Vec<u64> = (0..room.len())
                .map(|link| match load[link] {
                    0 => UNLIMITED,
                    load => quotient(room[link], load),
                })
                .collect();
            let caps = (0..rates.len()).filter(|&path| rising[path]);
            let caps = caps.map(|path| self.caps[path]);
            let level = levels.iter().copied().chain(caps).min();
            let level = level.expect("a path that rises has a cap or a link");
            for path in 0..rates.len() {
                let shares = &self.shares[self.range(path as u32)];
                let full = |share: &Share| levels[share.link as usize] == level;
                if rising[path] && (self.caps[path] == level || shares.iter().any(full)) {
                    rising[path] = false;
                    rates[path] = level;
                    for share in shares {
                        let weight = share.weight * u64::from(self.count[path]);
                        room[share.link as usize] -= u128::from(weight) * u128::from(level);
                        load[share.link as usize] -= weight;
                    }
                }
            }
        }
        rates
    }

    /// Whether what is kept between fillings adds up.
    pub(in crate::network) fn assert_sound(&self) {
        for (index, link) in self.links.iter().enumerate() {
            let taken = |on: &OnLink| u128::from(on.weight) * u128::from(self.limit[on.path as usize]);
            assert_eq!(link.taken, link.paths.iter().map(taken).sum(), "link{index}");
            let weights = link.paths.iter().map(|on| on.weight);
            assert_eq!((link.weight, link.rising), (weights.sum(), 0), "link{index}");
            assert_eq!(link.status, Status::Idle);
            assert!(link.taken <= link.capacity, "link{index} is overfull");
        }
    }
}

/// What the plain engine needs of the network.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    paths: &'a [Path],
    capacities: &'a [Bandwidth],
    scale: Scale,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(paths: &'a [Path], capacities: &'a [Bandwidth]) -> Self {
        let scale = Scale::new(paths, capacities);
        Self {
            paths,
            capacities,
            scale,
        }
    }

    pub(crate) fn limits(&self, path: PathId) -> bool {
        let path = &self.paths[path.index()];
        !path.shares.is_empty() || path.cap.is_some()
    }

    pub(crate) fn work(&self, bytes: Bytes) -> u128 {
        self.scale.work(bytes)
    }

    /// Of transfers on these paths, and no others under way.
    pub(crate) fn rates(&self, under_way: &[PathId]) -> Vec<u64> {
        let mut filling = Filling::new(self.paths, self.capacities, self.scale);
        for path in under_way {
            filling.count[path.index()] += 1;
        }
        let rates = filling.plain_rates();
        under_way.iter().map(|path| rates[path.index()]).collect()
    }

    pub(crate) fn time(work: u128, rate: u64) -> SimDuration {
        Scale::time(work, rate).expect("no link is closed")
    }
}
