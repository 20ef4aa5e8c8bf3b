//! Where numbers come from, in words.

use kernels::Provenance as Costs;
use planner::calibrate::{LaunchSource, Note, Unused};
use planner::capacity;
use planner::interval::ComputeEvidence;
use planner::profile::Statement;
use planner::search::{Evaluation, Provenance};
use sim::platform::Reach;
use traces::timeline::Timeline;

/// Where the numbers of an answer come from, one sentence each.
pub(crate) fn sources(all: &[Provenance]) -> Vec<String> {
    all.iter().map(source).collect()
}

/// What ran where and when; where its numbers come from stands in it.
pub(crate) fn timeline(found: &Evaluation) -> Timeline {
    found.timeline(sources(&found.provenance).join("; "))
}

/// Where the numbers of a fleet come from, each sentence once.
pub(crate) fn fleet_sources(all: &[capacity::Provenance]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in all.iter().map(fleet_source) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn fleet_source(provenance: &capacity::Provenance) -> String {
    match provenance {
        capacity::Provenance::Recorded => {
            "one run of the recorded requests: exact for them, so that its figures have no interval"
                .to_owned()
        }
        capacity::Provenance::Replications {
            count,
            measured,
            warmup,
            seed,
        } => {
            let left = match warmup {
                0 => String::new(),
                warmup => format!(" (after {warmup} that are not)"),
            };
            format!(
                "{count} independent replications of {measured} measured requests{left}, seed {seed}; intervals are \
                 Student's t over them, 95 %"
            )
        }
        capacity::Provenance::Price {
            gpu,
            dollars_per_hour,
            source,
        } => format!("{dollars_per_hour} dollars for a {gpu} and hour: {source}"),
        capacity::Provenance::Planner(provenance) => source(provenance),
    }
}

fn source(provenance: &Provenance) -> String {
    match provenance {
        Provenance::Machine { name, host, source } => format!("machine: {name} ({host}), {source}"),
        Provenance::Faults(faults) => {
            format!("faults: {faults}, for the whole run; by what assumptions: docs/faults.md")
        }
        Provenance::Model { name, source } => format!("model: {name}, {source}"),
        Provenance::Calibration(note) => self::note(note),
        Provenance::Kernels { gpu, from } => {
            format!("matrix products of {gpu}: {}", kernel_costs(*from))
        }
        Provenance::Attention(how) => format!("attention by {how}"),
        Provenance::Codec { gpu, how } => format!("encoding and decoding on {gpu}: {how}"),
        Provenance::Weights => "weights that move: copies at three quarters of PCIe's rate (pageable memory: a sixth of that), gathers at \
             the usual rates; read from published runs, timed by nobody on this machine"
            .to_owned(),
        Provenance::Scaled(precision) => {
            format!("products in {precision}: scaled from those in 16 bits, measured by nobody")
        }
        Provenance::Profile(statement) => self::statement(statement),
    }
}

const fn kernel_costs(from: Option<Costs>) -> &'static str {
    match from {
        Some(Costs::Measured | Costs::Interpolated) => "measured tables of this GPU",
        Some(Costs::Extrapolated) => "measured tables of this GPU, beyond their shapes",
        Some(Costs::Borrowed) => "measured tables of a related GPU, moved by the datasheets",
        Some(Costs::Datasheet) => "sustained rates (no measured table)",
        None => "none",
    }
}

/// A number of a calibration.
fn note(note: &Note) -> String {
    match note {
        Note::GpuTime {
            factor,
            evidence,
            runs,
            first,
        } => format!(
            "GPU time x {factor:.2} of the kernel costs: {}",
            gpu_time(*evidence, runs, *first)
        ),
        Note::Launch { factor, from } => format!("launch factor {factor:.2}: {}", launch(from)),
        Note::Unused { run, why } => format!("NOT USED: the run {run} {}", unused(why)),
        Note::Contradiction([one, other]) => format!(
            "CONTRADICTION: the runs {one} and {other} are of one request; the interval holds both: remove the wrong one"
        ),
        Note::Rate {
            kind,
            reach,
            factor,
            run,
        } => {
            let between = match reach {
                Reach::Host => "",
                Reach::Network => " between boxes",
            };
            format!("{kind}{between} x {factor:.2} of the usual rate: from {run}")
        }
    }
}

/// Why a run is not used, and what to do.
fn unused(why: &Unused) -> String {
    match why {
        Unused::GpuTime((least, most)) => format!(
            "would need GPU time below {least} or above {most} times the kernel costs: check its time, its request and that \
             weights were resident"
        ),
        Unused::Rate(kind) => format!(
            "would need a rate of {kind} below 0.1 or above 20 times the usual one: check its time, its request and its strategy"
        ),
        Unused::Launch => {
            "would need a launch factor below 0.15 or above 2.5: check its time, its request and its strategy".to_owned()
        }
        Unused::Given => "says the launch factor, which the file gives: remove one of them".to_owned(),
        Unused::Split => {
            "does not say how ranks are split: write its degrees, as in ulysses2+ring2".to_owned()
        }
        Unused::Tables => "says nothing new: rates among GPUs joined by NVLink are measured tables, and launching does not bound \
             it"
            .to_owned(),
        Unused::Hidden => "says nothing new: too little of it is messages or launching".to_owned(),
        Unused::Another(other) => format!("says what {other} says better"),
        Unused::Contradicts(other) => {
            format!("contradicts {other}, which is used: remove the wrong one")
        }
    }
}

fn gpu_time(evidence: ComputeEvidence, runs: &[String], first_evidence: ComputeEvidence) -> String {
    let [first, others @ ..] = runs else {
        return match evidence {
            ComputeEvidence::Profile => {
                "from blocks of the model in the profile, this host has no one-GPU run of the model"
            }
            ComputeEvidence::None => "assumed, no one-GPU run is known",
            _ => "what one-GPU runs of other models and GPUs have in common",
        }
        .to_owned();
    };
    let more = match others.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let of = match first_evidence {
        ComputeEvidence::SameShape => "this request",
        ComputeEvidence::OtherShape => "another shape of this model",
        ComputeEvidence::OtherCompilation => "this model, compiled otherwise",
        ComputeEvidence::Profile => "blocks of the model in the profile",
        ComputeEvidence::OtherHost => "other machines with this GPU",
        ComputeEvidence::OtherModel => "another model on this machine",
        ComputeEvidence::Alike => "runs of other models or GPUs",
        ComputeEvidence::None => "nothing",
    };
    format!("from {first} ({of}){more}")
}

fn launch(from: &LaunchSource) -> String {
    match from {
        LaunchSource::Run(run) => return format!("from {run}"),
        LaunchSource::File => "given by the machine file",
        LaunchSource::Profile => "from blocks of the profile, this host has no launch-bound run",
        LaunchSource::Assumed => "assumed, this host has no launch-bound run",
    }
    .to_owned()
}

/// What a profile replaced.
fn statement(statement: &Statement) -> String {
    match statement {
        Statement::Profile { title } => format!("profile {title}"),
        Statement::Products { count, gpu } => format!(
            "profile: {count} measured matrix products in place of the built-in table of {gpu}, which stays for shapes \
             beyond them"
        ),
        Statement::Attention {
            count,
            head_dims,
            gpu,
        } => {
            let widths: Vec<String> = head_dims.iter().map(u32::to_string).collect();
            format!(
                "profile: {count} measured attention calls with heads of {} in place of the built-in tables of {gpu}",
                widths.join(", ")
            )
        }
        Statement::Memory {
            rate,
            datasheet,
            passes,
            own_blocks,
            published,
        } => {
            let of = |(kind, passes): (_, &f64)| format!("{passes:.0} ({kind:?})");
            let measured: Vec<String> = passes.iter().map(of).collect();
            let passes = match (measured.as_slice(), own_blocks) {
                ([], _) => "take as long as the published fit of them".to_owned(),
                (all, own) => format!(
                    "{} from measured blocks{}, in place of {published}",
                    all.join(", "),
                    if *own { "" } else { " of other models" }
                ),
            };
            format!(
                "profile: memory-bound work at {:.0} GB/s in place of the datasheet's {:.0} GB/s; passes of a block {passes}",
                rate.bytes_per_us / 1e3,
                datasheet.as_f64() / 1e9
            )
        }
        Statement::Codecs { count } => format!(
            "profile: {count} measured encodes and decodes in place of published ones moved by bandwidth"
        ),
        Statement::Launch { factor } => format!(
            "profile: launch factor {factor:.2} from blocks that launching bounds, in place of the assumed one"
        ),
        Statement::LaunchUnused => {
            "profile: its launch factor is not used: the machine's host has one of its own"
                .to_owned()
        }
        Statement::CopiesUnused => {
            "profile: its copy rates are used by `validate --timeline` only".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kernels::MemoryRate;
    use sim::workload::BlockKind;
    use topologies::{Bandwidth, CollectiveKind, Faults};

    use super::*;
    use crate::render::words::tests::assert_distinct;

    fn notes() -> Vec<Note> {
        let run = || "a run".to_owned();
        let mut all = Vec::new();
        for (evidence, runs) in [
            (ComputeEvidence::None, Vec::new()),
            (ComputeEvidence::Profile, Vec::new()),
            (ComputeEvidence::Alike, Vec::new()),
            (ComputeEvidence::Alike, vec![run()]),
            (ComputeEvidence::SameShape, vec![run()]),
            (ComputeEvidence::OtherShape, vec![run()]),
            (ComputeEvidence::OtherCompilation, vec![run()]),
            (ComputeEvidence::OtherHost, vec![run()]),
            (ComputeEvidence::OtherHost, vec![run(), run()]),
            (ComputeEvidence::OtherModel, vec![run()]),
        ] {
            all.push(Note::GpuTime {
                factor: 1.2,
                evidence,
                runs,
                first: evidence,
            });
        }
        for from in [
            LaunchSource::File,
            LaunchSource::Run(run()),
            LaunchSource::Profile,
            LaunchSource::Assumed,
        ] {
            all.push(Note::Launch { factor: 1.2, from });
        }
        all.push(Note::Contradiction([run(), "another".to_owned()]));
        let why = [
            Unused::GpuTime((0.2, 6.0)),
            Unused::Rate(CollectiveKind::AllGather),
            Unused::Launch,
            Unused::Given,
            Unused::Split,
            Unused::Tables,
            Unused::Hidden,
            Unused::Another(run()),
            Unused::Contradicts(run()),
        ];
        all.extend(why.map(|why| Note::Unused { run: run(), why }));
        all.extend([Reach::Host, Reach::Network].map(|reach| Note::Rate {
            kind: CollectiveKind::AllGather,
            reach,
            factor: 1.2,
            run: run(),
        }));
        all
    }

    fn statements() -> Vec<Statement> {
        let gpu = || "H200".to_owned();
        let memory = |passes, own_blocks| Statement::Memory {
            rate: MemoryRate {
                bytes_per_us: 4.0e6,
                floor_us: 2.0,
            },
            datasheet: Bandwidth::new(4_800_000_000_000),
            passes,
            own_blocks,
            published: 117,
        };
        let measured = BTreeMap::from([(BlockKind::Double, 90.0)]);
        vec![
            Statement::Profile { title: gpu() },
            Statement::Products {
                count: 3,
                gpu: gpu(),
            },
            Statement::Attention {
                count: 3,
                head_dims: vec![64, 128],
                gpu: gpu(),
            },
            memory(BTreeMap::new(), false),
            memory(measured.clone(), false),
            memory(measured, true),
            Statement::Codecs { count: 3 },
            Statement::Launch { factor: 1.2 },
            Statement::LaunchUnused,
            Statement::CopiesUnused,
        ]
    }

    fn provenances() -> Vec<Provenance> {
        let word = |word: &str| word.to_owned();
        let mut all = vec![
            Provenance::Machine {
                name: word("a"),
                host: word("b"),
                source: word("c"),
            },
            Provenance::Faults("gpu0=80%".parse::<Faults>().expect("a fault")),
            Provenance::Model {
                name: word("a"),
                source: word("c"),
            },
        ];
        all.extend(notes().into_iter().map(Provenance::Calibration));
        let costs = [
            Costs::Interpolated,
            Costs::Extrapolated,
            Costs::Borrowed,
            Costs::Datasheet,
        ];
        all.extend(costs.map(Some).into_iter().chain([None]).map(|from| {
            let gpu = word("L20");
            Provenance::Kernels { gpu, from }
        }));
        all.push(Provenance::Codec {
            gpu: word("H100-SXM"),
            how: word("scaled from L20"),
        });
        all.push(Provenance::Weights);
        all.push(Provenance::Scaled(sim::plan::Precision::Int8));
        all.extend(statements().into_iter().map(Provenance::Profile));
        all
    }

    #[test]
    fn every_source_has_words_of_its_own() {
        assert_distinct(sources(&provenances()));
    }

    #[test]
    fn a_fleet_says_each_source_once() {
        let planned = |_| provenances().into_iter().map(capacity::Provenance::Planner);
        let mut all: Vec<_> = (0..2).flat_map(planned).collect();
        all.push(capacity::Provenance::Recorded);
        all.push(capacity::Provenance::Price {
            gpu: "L20".to_owned(),
            dollars_per_hour: 1.5,
            source: "a list".to_owned(),
        });
        all.extend([0, 10].map(|warmup| capacity::Provenance::Replications {
            count: 8,
            measured: 100,
            warmup,
            seed: 1,
        }));
        let said = fleet_sources(&all);
        assert_eq!(said.len(), provenances().len() + 4);
        assert_distinct(said);
    }
}
