//! What predictions have in common that decides how far off they are, and by how much their intervals follow it.
//!
//! ```text
//! half-width of the interval = 1.645 sigma x factor(evidence) x factor(strategy) x factor(GPUs)
//! ```
//! Source: the factors of `data/intervals.csv`, at which nine of ten published runs lie inside, drawn from the built-in
//! runs with their host's runs, without their project's, and without any (`validate/published/conformal.rs`). A class of
//! fewer than 20 predictions has the factor 1.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use sim::plan::{Exchange, Plan};

/// What a prediction rests on as a whole, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestsOn {
    /// Runs of this host on several GPUs: its launch time or a rate.
    OwnSeveral,
    /// One-GPU runs of this model on this host, or its blocks in a profile.
    OwnOne,
    /// One-GPU runs of this model on other hosts with this GPU.
    SameGpu,
    /// Datasheets, kernel tables, and runs of other models or GPUs.
    #[default]
    Datasheets,
}

/// How the ranks of a plan share the work, as far as its error depends on it: of two ways the one named first here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// PipeFusion.
    Pipeline,
    /// Tensor parallel.
    Tensor,
    /// DistriFusion.
    Displaced,
    /// Gathered K and V, or Q.
    Gather,
    /// Ulysses and a ring.
    UlyssesRing,
    /// Ulysses.
    Ulysses,
    /// A ring.
    Ring,
    /// Guidance branches or images of a batch: nothing within a forward pass.
    Branches,
    /// One GPU.
    Nothing,
}

/// How many GPUs a plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gpus {
    /// 1.
    One,
    /// 2.
    Two,
    /// 3 or 4.
    Four,
    /// 5 to 8.
    Eight,
    /// More than 8.
    More,
}

/// One class of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// By what they rest on.
    Evidence(RestsOn),
    /// By how ranks share the work.
    Strategy(Sharing),
    /// By the number of GPUs.
    Gpus(Gpus),
}

impl Class {
    /// Every class.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        use RestsOn::{Datasheets, OwnOne, OwnSeveral, SameGpu};
        use Sharing::{
            Branches, Displaced, Gather, Nothing, Pipeline, Ring, Tensor, Ulysses, UlyssesRing,
        };
        let evidence = [OwnSeveral, OwnOne, SameGpu, Datasheets].map(Self::Evidence);
        let strategies = [
            Pipeline,
            Tensor,
            Displaced,
            Gather,
            UlyssesRing,
            Ulysses,
            Ring,
            Branches,
            Nothing,
        ]
        .map(Self::Strategy);
        let gpus = [Gpus::One, Gpus::Two, Gpus::Four, Gpus::Eight, Gpus::More].map(Self::Gpus);
        evidence.into_iter().chain(strategies).chain(gpus)
    }

    /// The classes of a plan's prediction.
    #[must_use]
    pub fn of(plan: &Plan, rests_on: RestsOn) -> [Self; 3] {
        [
            Self::Evidence(rests_on),
            Self::Strategy(Sharing::of(plan)),
            Self::Gpus(Gpus::of(plan.ranks())),
        ]
    }
}

impl Sharing {
    fn of(plan: &Plan) -> Self {
        let exchanged = plan.exchange.degree() > 1;
        match plan.exchange {
            _ if plan.pipeline.stages > 1 => Self::Pipeline,
            _ if plan.tensor > 1 => Self::Tensor,
            Exchange::Displaced(_) if exchanged => Self::Displaced,
            Exchange::Gather(_) | Exchange::Attention2d { .. } if exchanged => Self::Gather,
            Exchange::Ring(_) if exchanged && plan.ulysses > 1 => Self::UlyssesRing,
            _ if plan.ulysses > 1 => Self::Ulysses,
            Exchange::Ring(_) if exchanged => Self::Ring,
            _ if plan.ranks() > 1 => Self::Branches,
            _ => Self::Nothing,
        }
    }
}

impl Gpus {
    const fn of(ranks: u32) -> Self {
        match ranks {
            0 | 1 => Self::One,
            2 => Self::Two,
            3 | 4 => Self::Four,
            5..=8 => Self::Eight,
            _ => Self::More,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(of) => write!(out, "evidence {of}"),
            Self::Strategy(of) => write!(out, "strategy {of}"),
            Self::Gpus(of) => write!(out, "GPUs {of}"),
        }
    }
}

impl fmt::Display for RestsOn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OwnSeveral => "own runs on several GPUs",
            Self::OwnOne => "own runs on one GPU",
            Self::SameGpu => "runs of the model on this GPU elsewhere",
            Self::Datasheets => "datasheets and runs of other models or GPUs",
        })
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pipeline => "pipefusion",
            Self::Tensor => "tensor",
            Self::Displaced => "distrifusion",
            Self::Gather => "gather",
            Self::UlyssesRing => "ulysses+ring",
            Self::Ulysses => "ulysses",
            Self::Ring => "ring",
            Self::Branches => "cfg",
            Self::Nothing => "none",
        })
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::One => "1",
            Self::Two => "2",
            Self::Four => "3 to 4",
            Self::Eight => "5 to 8",
            Self::More => "more than 8",
        })
    }
}

/// Factors of classes.
pub(crate) type Factors = BTreeMap<Class, f64>;

/// The committed factors.
static FACTORS: LazyLock<Factors> =
    LazyLock::new(|| read(include_str!("../../data/intervals.csv")));

fn read(text: &str) -> Factors {
    let names: BTreeMap<String, Class> = Class::all()
        .map(|class| (class.to_string(), class))
        .collect();
    let line = |line: &str| {
        let mut cells = line.split(',');
        let class = names[cells.next().expect("a test reads the factors")];
        let factor = cells.next().and_then(|cell| cell.parse().ok());
        (class, factor.expect("a test reads the factors"))
    };
    text.lines().skip(1).map(line).collect()
}

/// By how much the half-width of an interval is that of its terms.
pub(super) fn factor(classes: [Class; 3]) -> f64 {
    product(&FACTORS, classes)
}

/// The factors of some classes, multiplied.
pub(crate) fn product(factors: &Factors, classes: [Class; 3]) -> f64 {
    let of = |class: Class| factors.get(&class).copied().unwrap_or(1.0);
    classes.map(of).into_iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_in_the_class_of_its_first_way_of_sharing() {
        for (plan, sharing, gpus) in [
            ("none", "none", "1"),
            ("cfg2", "cfg", "2"),
            ("ring3", "ring", "3 to 4"),
            ("cfg2+ulysses2", "ulysses", "3 to 4"),
            ("ulysses2+ring2", "ulysses+ring", "3 to 4"),
            ("allgather-kv5", "gather", "5 to 8"),
            ("cfg2+distrifusion4 warmup=4", "distrifusion", "5 to 8"),
            ("tp2+ulysses4", "tensor", "5 to 8"),
            ("ulysses2+pipefusion8 warmup=1", "pipefusion", "more than 8"),
        ] {
            let classes = Class::of(&plan.parse().expect(plan), RestsOn::OwnOne);
            let expected = [
                "evidence own runs on one GPU".to_owned(),
                format!("strategy {sharing}"),
                format!("GPUs {gpus}"),
            ];
            assert_eq!(classes.map(|class| class.to_string()), expected, "{plan}");
        }
    }

    #[test]
    fn factors_multiply_and_a_class_without_one_changes_nothing() {
        let text =
            "class,factor,predictions\nevidence own runs on one GPU,0.5,30\nstrategy ring,3,40\n";
        let factors = read(text);
        let of = |plan: &str, rests_on| {
            product(&factors, Class::of(&plan.parse().expect(plan), rests_on))
        };
        assert!((of("ring4", RestsOn::OwnOne) - 1.5).abs() < 1e-12);
        assert!((of("ring4", RestsOn::SameGpu) - 3.0).abs() < 1e-12);
        assert!((of("ulysses4", RestsOn::SameGpu) - 1.0).abs() < 1e-12);
    }
}
