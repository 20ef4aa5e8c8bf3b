//! Instances for tests and benchmarks, random from a seed.
//!
//! Guarantees: equal kinds, sizes and seeds give equal instances on every machine. Only
//! [`Kind::Realistic`] resembles a model; its constants are round, not measured.

use sim::testing::Numbers;

use super::{Instance, Item};

/// What cost and weight of an option have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: both uniform.
    Uncorrelated,
    /// The cost falls with the weight, with 10 % noise.
    Weakly,
    /// Cost and weight add up to a constant: every slope is equal.
    Strongly,
    /// As strongly, on small whole numbers: many ties, sums that collide.
    Ties,
    /// Layers of equal time tables (bytes of 16 to 1 bit over a link), errors of 4^-bits times a
    /// sensitivity that spans 70x.
    Realistic,
    /// Cost and weight over twelve decades.
    Wide,
    /// One class outweighs all others, so that the relaxation is far from the optimum.
    Giant,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Uncorrelated,
        Self::Weakly,
        Self::Strongly,
        Self::Ties,
        Self::Realistic,
        Self::Wide,
        Self::Giant,
    ];
}

/// Uniform in [0, 1).
fn unit(numbers: &mut Numbers) -> f64 {
    numbers.below(1 << 53) as f64 / (1_u64 << 53) as f64
}

/// `classes` classes of `options` options each; `share` of the way from the least weight to that of
/// the cheapest assignment is the budget.
///
/// # Panics
/// If `options` is zero.
#[must_use]
pub fn random(kind: Kind, classes: usize, options: usize, share: f64, seed: u64) -> Instance {
    let mut numbers = Numbers::new(seed);
    let mut all = Vec::with_capacity(classes);
    for class in 0..classes {
        let sensitivity = 70_f64.powf(unit(&mut numbers));
        let item = |option| item(kind, class, option, options, sensitivity, &mut numbers);
        all.push((0..options).map(item).collect());
    }
    let budget = budget(&all, share);
    Instance::new(all, budget).expect("finite numbers, none negative")
}

fn item(
    kind: Kind,
    class: usize,
    option: usize,
    options: usize,
    sensitivity: f64,
    numbers: &mut Numbers,
) -> Item {
    let (x, y) = (unit(numbers), unit(numbers));
    let (cost, weight) = match kind {
        Kind::Uncorrelated => (x, y),
        Kind::Weakly => (1.1 - x + 0.1 * y, x),
        Kind::Strongly => (1.0 - x, x),
        Kind::Ties => {
            let x = numbers.below(20) as f64 * 0.1;
            (2.0 - x + 0.1 * numbers.below(2) as f64, x)
        }
        Kind::Realistic => {
            let bits = 16.0 - 15.0 * option as f64 / options.max(2) as f64;
            let whole = if class.is_multiple_of(3) {
                18.9e6
            } else {
                14.2e6
            };
            let bytes = whole * bits / 16.0;
            // Microseconds: a link of 20 GB/s, and a codec of 30 us for all but 16 bits.
            let codec = if option == 0 { 0.0 } else { 30.0 };
            let error = if option == 0 { 0.0 } else { 4_f64.powf(-bits) };
            (
                bytes / 20e3 + codec,
                error * sensitivity * (0.8 + 0.4 * x) * 1e-3,
            )
        }
        Kind::Wide => (10_f64.powf(12.0 * x), 10_f64.powf(12.0 * y)),
        Kind::Giant if class == 0 => (1000.0 * (1.0 - x), 1000.0 * x),
        Kind::Giant => (x, y),
    };
    Item { cost, weight }
}

/// Between the weight of the lightest and that of the cheapest assignment.
fn budget(classes: &[Vec<Item>], share: f64) -> f64 {
    let sum = |pick: fn(&Item, &Item) -> std::cmp::Ordering| -> f64 {
        let of = |items: &Vec<Item>| items.iter().copied().min_by(pick);
        classes.iter().filter_map(of).map(|item| item.weight).sum()
    };
    let least = sum(|a, b| a.weight.total_cmp(&b.weight));
    let most = sum(|a, b| {
        (a.cost, a.weight)
            .partial_cmp(&(b.cost, b.weight))
            .expect("finite")
    });
    least + share * (most - least)
}
