//! Networks by their links and routes: which links a message between two hosts crosses.

use sim::testing::Numbers;
use topologies::Bandwidth;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// 512 hosts, an up-link and a down-link of 12.5 GB/s each.
    Star,
    /// 16 GPUs, 4 on a switch, 2 switches on a socket, 2 sockets; 32 GB/s, and 20 GB/s between sockets.
    PcieTree,
    /// 512 hosts, three levels of switches of 8 ports down and 8 up, 12.5 GB/s, routed by destination.
    FatTree,
    /// 8 x 8 x 8 nodes, 12.5 GB/s each way, dimension by dimension, the short way round.
    Torus,
}

impl Topology {
    pub const ALL: [Self; 4] = [Self::Star, Self::PcieTree, Self::FatTree, Self::Torus];

    pub fn name(self) -> &'static str {
        match self {
            Self::Star => "star of 512",
            Self::PcieTree => "PCIe tree of 16",
            Self::FatTree => "fat tree of 512",
            Self::Torus => "torus 8x8x8",
        }
    }

    pub fn hosts(self) -> usize {
        match self {
            Self::PcieTree => 16,
            _ => 512,
        }
    }

    pub fn capacities(self) -> Vec<Bandwidth> {
        let gb = |rate: f64| Bandwidth::new((rate * 1e9) as u64);
        match self {
            Self::Star => vec![gb(12.5); 2 * 512],
            Self::PcieTree => {
                let mut links = vec![gb(32.0); 2 * 16 + 2 * 4];
                links.extend([gb(20.0); 2]);
                links
            }
            Self::FatTree | Self::Torus => vec![gb(12.5); 6 * 512],
        }
    }

    /// The links from one host to another.
    pub fn route(self, from: usize, to: usize) -> Vec<usize> {
        match self {
            Self::Star => vec![from, 512 + to],
            Self::PcieTree => pcie(from, to),
            Self::FatTree => fat_tree(from, to),
            Self::Torus => torus(from, to),
        }
    }

    /// Two different hosts.
    pub fn pair(self, numbers: &mut Numbers) -> (usize, usize) {
        let from = numbers.below(self.hosts());
        let to = (from + 1 + numbers.below(self.hosts() - 1)) % self.hosts();
        (from, to)
    }
}

/// GPUs up 0.., down 16..; switches up 32.., down 36..; sockets 40, 41.
fn pcie(from: usize, to: usize) -> Vec<usize> {
    let mut links = vec![from];
    if from / 4 != to / 4 {
        links.push(32 + from / 4);
        if from / 8 != to / 8 {
            links.push(40 + from / 8);
        }
        links.push(36 + to / 4);
    }
    links.push(16 + to);
    links
}

/// Three sets of 512 links up, and three down; the ports up are digits of the destination.
fn fat_tree(from: usize, to: usize) -> Vec<usize> {
    let (first, second) = (to % 8, to / 8 % 8);
    let leaf = |host: usize| host / 8 * 8 + first;
    let pod = |host: usize| host / 64 * 64 + first * 8 + second;
    let mut links = vec![from];
    if from / 8 != to / 8 {
        links.push(512 + leaf(from));
        if from / 64 != to / 64 {
            links.extend([1024 + pod(from), 1536 + pod(to)]);
        }
        links.push(2048 + leaf(to));
    }
    links.push(2560 + to);
    links
}

/// Link `6 node + 2 dimension + direction`.
fn torus(from: usize, to: usize) -> Vec<usize> {
    let mut at = [from % 8, from / 8 % 8, from / 64];
    let goal = [to % 8, to / 8 % 8, to / 64];
    let mut links = Vec::new();
    for dimension in 0..3 {
        let ahead = (goal[dimension] + 8 - at[dimension]) % 8;
        let (steps, direction, step) = if ahead <= 4 {
            (ahead, 0, 1)
        } else {
            (8 - ahead, 1, 7)
        };
        for _ in 0..steps {
            let node = at[0] + 8 * at[1] + 64 * at[2];
            links.push(6 * node + 2 * dimension + direction);
            at[dimension] = (at[dimension] + step) % 8;
        }
    }
    links
}
