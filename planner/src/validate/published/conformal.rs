//! The factors of `data/intervals.csv`: drawn from the built-in runs, and held on projects left out.
//!
//! ```text
//! z        = |ln(measured / predicted)| / 1.645 sigma             of every scored run, in each tier
//! factor   = (90th percentile of z / the other factors of its classes) ^ (n / (n + m)),   class by class, until still
//! m        = 20 where that widens an interval, 100 where it makes it narrower
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rayon::prelude::*;

use super::tiers::{self, Source, Tier};
use super::{Read, score};
use crate::interval::{self, Class, Factors};
use crate::validate::built_in_published;

/// Predictions that a class must have.
const LEAST: usize = 20;

/// How far one run is from its prediction.
struct Miss {
    tier: Tier,
    project: String,
    classes: [Class; 3],
    /// Over 1.645 sigma.
    z: f64,
}

fn misses() -> Vec<Miss> {
    let tables = built_in_published().expect("the built-in tables are read");
    let read = Read::of(&tables).expect("the built-in tables are read");
    let (flags, hosts) = read.hosts(Source::Shipped);
    let several = score::predictions(&read.runs, &hosts, &flags);
    let several = several.iter().filter(|one| one.is_scored());
    let several: Vec<usize> = several.map(|one| one.run).collect();
    let alone = score::alone(&read.runs, &flags);
    let tiers = [
        (Tier::InSample, &several),
        (Tier::ProjectLeftOut, &several),
        (Tier::NothingKnown, &several),
        (Tier::NothingKnown, &alone),
    ];
    let asked: Vec<(Tier, usize)> = tiers
        .into_iter()
        .flat_map(|(tier, runs)| runs.iter().map(move |run| (tier, *run)))
        .collect();
    let miss = |(tier, run): (Tier, usize)| {
        let run = &read.runs[run];
        let (candidate, predicted, _) = tiers::predict(run, &hosts, tier)?;
        let sigma = candidate.uncertainty.sigma();
        Some(Miss {
            tier,
            project: run.project.clone(),
            classes: candidate.uncertainty.classes,
            z: (run.measured()? / predicted).ln().abs() / (interval::SPREAD * sigma),
        })
    };
    asked.into_par_iter().filter_map(miss).collect()
}

/// The share of `z` that is at most this is 90 %, also of one more: the quantile of conformal prediction.
fn ninetieth(mut z: Vec<f64>) -> f64 {
    z.sort_by(f64::total_cmp);
    let rank = ((z.len() + 1) as f64 * 0.9).ceil() as usize;
    z[rank.min(z.len()) - 1]
}

fn draw<'a>(misses: impl Iterator<Item = &'a Miss> + Clone) -> (Factors, BTreeMap<Class, usize>) {
    let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
    for class in misses.clone().flat_map(|one| one.classes) {
        *counts.entry(class).or_default() += 1;
    }
    counts.retain(|_, n| *n >= LEAST);
    let mut factors = Factors::new();
    for _ in 0..60 {
        for (&class, &n) in &counts {
            factors.remove(&class);
            let inside = misses.clone().filter(|one| one.classes.contains(&class));
            let others = |one: &Miss| one.z / interval::product(&factors, one.classes);
            let wanted = ninetieth(inside.map(others).collect());
            let prior = if wanted > 1.0 { LEAST } else { 5 * LEAST };
            factors.insert(class, wanted.powf(n as f64 / (n + prior) as f64));
        }
    }
    (factors, counts)
}

#[test]
fn intervals_are_drawn_from_the_built_in_runs_and_hold_on_projects_left_out() {
    let misses = misses();
    let (factors, counts) = draw(misses.iter());
    let mut drawn = String::from("class,factor,predictions\n");
    for (class, factor) in &factors {
        let _ = writeln!(drawn, "{class},{factor:.2},{}", counts[class]);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/intervals.csv");
    if std::env::var_os("UPDATE_INTERVALS").is_some() {
        std::fs::write(path, &drawn).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(path).expect("the file is there");
    assert!(
        committed == drawn,
        "UPDATE_INTERVALS=1 cargo test -p planner --lib intervals_are_drawn writes {path}: {drawn}"
    );

    let projects: BTreeSet<&String> = misses.iter().map(|one| &one.project).collect();
    let mut inside: BTreeMap<(Tier, Option<Class>), (usize, usize)> = BTreeMap::new();
    for project in projects {
        let (factors, _) = draw(misses.iter().filter(|one| one.project != *project));
        for one in misses.iter().filter(|one| one.project == *project) {
            let is_inside = one.z <= interval::product(&factors, one.classes);
            let classes = one.classes.map(Some).into_iter().chain([None]);
            for class in classes {
                let (held, all) = inside.entry((one.tier, class)).or_default();
                *held += usize::from(is_inside);
                *all += 1;
            }
        }
    }
    for ((tier, class), (held, all)) in inside {
        let share = 100.0 * held as f64 / all as f64;
        let name = class.map_or("all".to_owned(), |class| class.to_string());
        println!("{tier:?}, {name}: {share:.1} % of {all}");
        let wanted = match class {
            None => 87.0..=93.0,
            Some(_) => 78.0..=97.5,
        };
        assert!(
            all < LEAST || wanted.contains(&share),
            "{tier:?}, {name}: {share:.1} % of {all}"
        );
    }
}
