//! Which ranks take equally long: all of them where nothing is wrong, else those whose GPUs are equally fast
//! and whose groups are the same where a narrow link lengthens their messages. On several nodes, those whose groups
//! lie on the nodes alike.
//!
//! ```text
//! gpu2=80%        ring4: ranks 0, 1, 3 | rank 2
//! gpu2-link=50%   ulysses2+ring2: ranks 0, 1, 3 by their groups | those that share one with rank 2
//! ```

use topologies::DeviceId;

use super::Setup;
use super::sequence::groups;
use crate::plan::{Coordinates, Exchange};

/// Ranks by what they take.
pub(super) struct Classes {
    /// The first rank of each class.
    pub leads: Vec<u32>,
    of: Vec<usize>,
}

impl Classes {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let ranks = setup.plan.ranks() as usize;
        let spans: Vec<Vec<Vec<usize>>> = match setup.platform.has_nodes() {
            true => (0..ranks).map(|rank| spans(setup, rank as u32)).collect(),
            false => Vec::new(),
        };
        let all_alike = spans.iter().all(|of_rank| *of_rank == spans[0]);
        if setup.platform.is_sound() && all_alike {
            return Self {
                leads: vec![0],
                of: vec![0; ranks],
            };
        }
        let narrow = narrow_groups(setup);
        let speed_factor = |rank: usize| setup.platform.speed_factor(setup.plan.placement[rank]);
        let mut classes = Self {
            leads: Vec::new(),
            of: Vec::with_capacity(ranks),
        };
        for rank in 0..ranks {
            let alike = |lead: &u32| {
                let lead = *lead as usize;
                speed_factor(lead) == speed_factor(rank)
                    && narrow[lead] == narrow[rank]
                    && (all_alike || spans[lead] == spans[rank])
            };
            let class = classes.leads.iter().position(alike);
            classes.of.push(class.unwrap_or(classes.leads.len()));
            if class.is_none() {
                let lead = u32::try_from(rank).expect("a machine has fewer than 2^32 GPUs");
                classes.leads.push(lead);
            }
        }
        classes
    }

    /// The class of a rank: a position in `leads`.
    pub(super) fn of(&self, rank: u32) -> usize {
        self.of[rank as usize]
    }
}

/// How each group of a rank lies on the nodes.
fn spans(setup: &Setup<'_>, rank: u32) -> Vec<Vec<usize>> {
    let plan = setup.plan;
    let outer = setup.group_of(rank, plan.exchange.degree(), |at, position| {
        at.outer = position
    });
    let across = match plan.exchange {
        Exchange::Attention2d { columns, .. } => columns as usize,
        _ => outer.len(),
    };
    let at = plan.coordinates(rank).outer as usize;
    let row = &outer[at / across * across..][..across];
    let column: Vec<DeviceId> = outer[at % across..]
        .iter()
        .copied()
        .step_by(across)
        .collect();
    let ulysses = setup.group_of(rank, plan.ulysses, |at, position| at.ulysses = position);
    let tensor = setup.group_of(rank, plan.tensor, |at, position| at.tensor = position);
    let groups = [row, &column, &ulysses, &tensor];
    groups.map(|group| setup.platform.span(group)).to_vec()
}

/// A rank's place in one dimension.
type Place = fn(&mut Coordinates) -> &mut u32;

/// The groups of each rank that a narrow link concerns, by dimension and first rank.
fn narrow_groups(setup: &Setup<'_>) -> Vec<Vec<(usize, u32)>> {
    let plan = setup.plan;
    let grid = matches!(plan.exchange, Exchange::Attention2d { .. });
    let mut narrow = vec![Vec::new(); plan.ranks() as usize];
    let dimensions: [(u32, Place); 4] = [
        (plan.pipeline.stages, |at| &mut at.stage),
        (plan.exchange.degree(), |at| &mut at.outer),
        (plan.ulysses, |at| &mut at.ulysses),
        (plan.tensor, |at| &mut at.tensor),
    ];
    for (dimension, (degree, of)) in dimensions.into_iter().enumerate() {
        for group in groups(setup, degree, of) {
            let devices: Vec<DeviceId> = group
                .iter()
                .map(|&rank| plan.placement[rank as usize])
                .collect();
            if setup.platform.is_narrow(&devices) {
                for &rank in &group {
                    // Rows and columns of a grid are groups of their own within it.
                    let first = if grid && dimension == 1 {
                        rank
                    } else {
                        group[0]
                    };
                    narrow[rank as usize].push((dimension, first));
                }
            }
        }
    }
    narrow
}
