//! The plain filling: every link in every round. Slow and short, it says what the shares are.

use proptest::prelude::*;
use topologies::{Bytes, LinkId, SimDuration};

use super::*;
use crate::testing::Numbers;

impl Filling {
    /// The rate of every path, from nothing.
    ///
    /// All rise together; the next level at which some must stop is the least of all caps and of what
    /// the stopped leave of each link, over the weights of the others. All that this level stops, stop.
    pub(in crate::network) fn plain_rates(&self) -> Vec<u64> {
        let mut rates = vec![0; self.ways.len()];
        let mut rising: Vec<bool> = self.ways.iter().map(|way| way.count > 0).collect();
        let mut room: Vec<u128> = self
            .capacities
            .iter()
            .map(|room| room.cast_unsigned())
            .collect();
        let mut load: Vec<u64> = vec![0; self.links.len()];
        for path in 0..rates.len() as u32 {
            for share in &self.shares[self.range(path)] {
                load[share.link as usize] +=
                    share.weight * u64::from(self.ways[path as usize].count);
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
            let caps = caps.map(|path| self.ways[path].cap);
            let level = levels.iter().copied().chain(caps).min();
            let level = level.expect("a path that rises has a cap or a link");
            for path in 0..rates.len() {
                let shares = &self.shares[self.range(path as u32)];
                let full = |share: &Share| levels[share.link as usize] == level;
                if rising[path] && (self.ways[path].cap == level || shares.iter().any(full)) {
                    rising[path] = false;
                    rates[path] = level;
                    for share in shares {
                        let weight = share.weight * u64::from(self.ways[path].count);
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
            let taken =
                |on: &OnLink| product(self.weight_of(on), self.ways[on.path as usize].limit);
            let taken: i128 = self.on[index].iter().map(taken).sum();
            assert_eq!(link.room, self.capacities[index] - taken, "link{index}");
            let weights = self.on[index].iter().map(|on| self.weight_of(on));
            assert_eq!(
                (link.weight, link.rising),
                (weights.sum(), 0),
                "link{index}"
            );
            assert_eq!(link.status, Status::Idle);
            assert!(link.room >= 0, "link{index} is overfull");
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
            filling.ways[path.index()].count += 1;
        }
        let rates = filling.plain_rates();
        under_way.iter().map(|path| rates[path.index()]).collect()
    }

    pub(crate) fn time(work: u128, rate: u64) -> SimDuration {
        Scale::time(work, rate).expect("no link is closed")
    }
}

/// Changes of a network whose rates are small whole numbers, so that levels are often equal, or differ by
/// what rounding leaves: the cases that matter. Some in a row are full fillings with many marks.
fn coarse_changes(seed: u64, links: usize, paths: usize, changes: usize) {
    let mut numbers = Numbers::new(seed);
    let wide = [4, 30, 200, 5000][numbers.below(4)];
    let capacities: Vec<Bandwidth> = (0..links)
        .map(|_| Bandwidth::new(numbers.below(wide) as u64))
        .collect();
    let longest = 1 + numbers.below(5);
    let mut path = || {
        let mut on: Vec<usize> = (0..1 + numbers.below(longest))
            .map(|_| numbers.below(links))
            .collect();
        on.sort_unstable();
        on.dedup();
        let weight = [1.0, 1.0, 1.0, 2.0, 3.0];
        let shares = on
            .into_iter()
            .map(|link| (LinkId::new(link), weight[numbers.below(5)]));
        Path {
            latency: SimDuration::ZERO,
            shares: shares.collect(),
            cap: (numbers.below(4) == 0).then(|| Bandwidth::new(1 + numbers.below(wide) as u64)),
        }
    };
    let paths: Vec<Path> = (0..paths).map(|_| path()).collect();
    let mut filling = Filling::new(&paths, &capacities, Scale::WHOLE);
    let mut under_way: Vec<u32> = Vec::new();
    let mut known = vec![0; paths.len()];
    let mut full = false;
    for _ in 0..changes {
        // Only what has had a rate can leave.
        let mut old = under_way.len();
        for _ in 0..1 + numbers.below(3) {
            if old == 0 || numbers.below(7) < 4 {
                let path = numbers.below(paths.len()) as u32;
                under_way.push(path);
                filling.enter(path);
            } else {
                old -= 1;
                let path = under_way.remove(numbers.below(old + 1));
                assert_eq!(filling.leave(path), !under_way.contains(&path));
            }
        }
        full ^= numbers.below(8) == 0;
        if full {
            filling.fill_fully(1 + numbers.below(20));
        } else {
            filling.fill();
        }
        for &path in filling.changed() {
            known[path as usize] = filling.rate(path);
        }
        filling.settle();
        filling.assert_sound();
        let rates: Vec<u64> = filling.ways.iter().map(|way| way.limit).collect();
        for &path in &under_way {
            assert_eq!(known[path as usize], rates[path as usize], "not reported");
        }
        assert!(
            rates == filling.plain_rates(),
            "differs from the plain filling"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_filling_is_the_plain_filling_to_the_unit(
        seed: u64,
        links in 1..25_usize,
        paths in 1..60_usize,
        changes in 1..60_usize,
    ) {
        coarse_changes(seed, links, paths, changes);
    }
}
