//! What is found of fleets, in words.

use planner::capacity::{
    CapacityError, Finding, Missed, Objective, Offer, Overloaded, Shortfall, Slo,
};

/// What a replica is called: its plan without its settings.
pub(crate) fn replica(offer: &Offer) -> String {
    if offer.gpus == 1 {
        return "one GPU".to_owned();
    }
    let plan = offer.plan.to_string();
    plan.split(" warmup").next().unwrap_or_default().to_owned()
}

/// Why there is no fleet.
pub(crate) fn no_fleet(error: CapacityError) -> anyhow::Error {
    match error {
        CapacityError::NoFleet { slo, offers } => anyhow::anyhow!(none_keeps(&slo, &offers)),
        other => other.into(),
    }
}

fn none_keeps(slo: &Slo, offers: &[(Offer, Shortfall)]) -> String {
    let reason =
        |(offer, why): &(Offer, Shortfall)| format!("{}: {}", replica(offer), shortfall(why));
    let reasons: Vec<String> = offers.iter().take(4).map(reason).collect();
    let hopeless = |(_, why): &(Offer, Shortfall)| matches!(why, Shortfall::TooSlow { .. });
    let (reasons, remedy) = match reasons.join("; ") {
        none if offers.is_empty() => (
            none + "no plan serves all shapes, and no pools for some of them suffice",
            "loosen it, take a faster machine, or raise --max-gpus",
        ),
        all if offers.iter().all(hopeless) => (all, "loosen it, or take a faster machine"),
        all => (all, "loosen it, take a faster machine, or raise --max-gpus"),
    };
    format!("no fleet keeps {slo}: {reasons}: {remedy}")
}

/// Why no number of equal replicas keeps the objective.
pub(crate) fn shortfall(why: &Shortfall) -> String {
    match why {
        Shortfall::TooSlow {
            criterion,
            shape,
            alone_s,
        } => format!(
            "{criterion} cannot be kept by any number: {shape} takes {} without waiting",
            seconds(*alone_s)
        ),
        Shortfall::Load { gpus, most } => {
            format!("the load alone takes at least {gpus} GPUs, more than --max-gpus {most}")
        }
        Shortfall::Misses { gpus, missed } => format!("{gpus} GPUs: {}", self::missed(missed)),
    }
}

/// Which criteria are missed, and by what.
fn missed(all: &[Missed]) -> String {
    let one = |Missed { criterion, found }: &Missed| {
        let value = seconds(found.value);
        if found.value > criterion.limit.as_secs_f64() {
            format!("{criterion} is missed: {value}")
        } else {
            let end = seconds(found.hi);
            format!("{criterion} is not sure: {value}, {end} at the upper end")
        }
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The proof that a pool is overloaded.
pub(crate) fn overloaded(of: &Overloaded) -> String {
    let plural = if of.replicas == 1 { "" } else { "s" };
    format!(
        "overloaded: {} replica{plural} for a load of {:.2}",
        of.replicas, of.load
    )
}

/// What the comparison of fleets shows, one sentence each.
pub(crate) fn fleet_findings(all: &[Finding], objective: Objective) -> Vec<String> {
    all.iter().map(|one| finding(one, objective)).collect()
}

fn finding(finding: &Finding, objective: Objective) -> String {
    let cost = |cost: f64| match objective {
        Objective::Gpus => format!("{cost:.0} GPUs"),
        Objective::Dollars => format!("{cost:.2} dollars an hour"),
    };
    match finding {
        Finding::PoolsPay { pools, equal } => format!(
            "pools of their own for different shapes take {}, the best fleet of equal replicas {}: {:.0} % more",
            cost(*pools),
            cost(*equal),
            100.0 * (equal / pools - 1.0)
        ),
        Finding::OnlyPools => {
            "only pools of their own for different shapes keep the objective: no fleet of equal replicas does".to_owned()
        }
        Finding::EqualReplicas {
            simulated: 0,
            cut: false,
        } => {
            "equal replicas are the cheapest: no pools for some shapes each can cost less and keep the objective"
                .to_owned()
        }
        Finding::EqualReplicas { simulated, cut } => format!(
            "equal replicas are the cheapest: {simulated} fleets of pools for some shapes each would cost less, and none \
             keeps the objective{}",
            if *cut {
                "; some more were left out, there are too many"
            } else {
                ""
            }
        ),
        Finding::FewerKeep => {
            "one replica fewer would keep the objective too in this simulation: it is not monotone with batches, \
             failures or another routing than fifo"
                .to_owned()
        }
        Finding::SlowKeeps => {
            "the objective is kept even if every service takes as long as the upper end of its 90 % interval".to_owned()
        }
        Finding::SlowMisses(all) => format!(
            "were every service as long as the upper end of its 90 % interval, this fleet would not do: {}",
            missed(all)
        ),
        Finding::SlowOverloaded => {
            "were every service as long as the upper end of its 90 % interval, this fleet would never catch up".to_owned()
        }
        Finding::ClosedForm {
            closed_s,
            simulated_s,
        } => format!(
            "the closed form says p95 {}, the simulation {}: {:+.0} %",
            seconds(*closed_s),
            seconds(*simulated_s),
            100.0 * (closed_s / simulated_s - 1.0)
        ),
    }
}

/// Seconds with three digits or so.
fn seconds(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0} s"),
        10.0.. => format!("{value:.1} s"),
        _ => format!("{value:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use sim::serving::statistics::Estimate;

    use super::super::tests::assert_distinct;
    use super::*;

    fn missed(value: f64) -> Missed {
        Missed {
            criterion: "p95<=6s".parse().expect("a criterion"),
            found: Estimate {
                value,
                lo: value - 1.0,
                hi: value + 1.0,
            },
        }
    }

    fn too_slow() -> Shortfall {
        Shortfall::TooSlow {
            criterion: missed(7.0).criterion,
            shape: "1024x1024".to_owned(),
            alone_s: 12.34,
        }
    }

    #[test]
    fn every_finding_and_shortfall_has_words_of_its_own() {
        let findings = [
            Finding::PoolsPay {
                pools: 4.0,
                equal: 5.0,
            },
            Finding::OnlyPools,
            Finding::EqualReplicas {
                simulated: 0,
                cut: false,
            },
            Finding::EqualReplicas {
                simulated: 0,
                cut: true,
            },
            Finding::EqualReplicas {
                simulated: 3,
                cut: false,
            },
            Finding::FewerKeep,
            Finding::SlowKeeps,
            Finding::SlowMisses(vec![missed(7.0)]),
            Finding::SlowOverloaded,
            Finding::ClosedForm {
                closed_s: 5.0,
                simulated_s: 6.0,
            },
        ];
        let shortfalls = [
            too_slow(),
            Shortfall::Load { gpus: 8, most: 4 },
            Shortfall::Misses {
                gpus: 8,
                missed: vec![missed(5.5)],
            },
        ];
        let said = fleet_findings(&findings, Objective::Gpus).into_iter();
        assert_distinct(said.chain(shortfalls.iter().map(shortfall)));
    }

    #[test]
    fn numbers_are_said() {
        assert_eq!(
            self::shortfall(&too_slow()),
            "p95<=6s cannot be kept by any number: 1024x1024 takes 12.3 s without waiting"
        );
        assert_eq!(
            super::missed(&[missed(7.0), missed(5.5)]),
            "p95<=6s is missed: 7.00 s; p95<=6s is not sure: 5.50 s, 6.50 s at the upper end"
        );
        let pays = Finding::PoolsPay {
            pools: 4.0,
            equal: 5.0,
        };
        assert!(finding(&pays, Objective::Dollars).ends_with("5.00 dollars an hour: 25 % more"));
        let one = Overloaded {
            replicas: 1,
            load: 1.5,
        };
        assert_eq!(overloaded(&one), "overloaded: 1 replica for a load of 1.50");
    }

    #[test]
    fn without_offers_the_reason_is_that() {
        let slo = "p95<=6s".parse().expect("an objective");
        assert_eq!(
            none_keeps(&slo, &[]),
            "no fleet keeps p95<=6s: no plan serves all shapes, and no pools for some of them suffice: loosen it, take a \
             faster machine, or raise --max-gpus"
        );
    }
}
