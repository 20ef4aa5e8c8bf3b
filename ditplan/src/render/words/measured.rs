//! What is said of measured rows: why one has no prediction, why one is not scored, what one calibrates.

use planner::runs::{Doubt, Lever, NoRun};
use planner::validate::live::Note;
use planner::validate::published::hygiene::Flag;
use planner::validate::published::tiers::Says;
use planner::validate::reason::Reason;

/// Why a measured row has no prediction.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NoRun(why) => no_run(why),
        Reason::OutOfMemory => "it ran out of memory: scored by the memory model".to_owned(),
        Reason::NoValue => "there is no value".to_owned(),
        Reason::Illegal(why) => why.to_string(),
        Reason::BeyondPeak(times) => {
            format!("its value takes {times:.2} times the peak of its GPUs")
        }
        Reason::NoCost => {
            "no measured or assumed cost covers its operations or messages".to_owned()
        }
        Reason::SplitNotStated => "the split of ranks is not stated".to_owned(),
        Reason::Miss(miss) => miss.to_string(),
        Reason::Multiplications(count) => {
            format!("{count:.1e} multiplications in one call were never measured")
        }
        Reason::KernelFormat(cell) => {
            format!("dtype \"{cell}\" is not modelled: bfloat16, fp8 and nvfp4 are")
        }
        Reason::MessageFormat(cell) => {
            format!("dtype \"{cell}\" is not modelled: half and int8 are")
        }
        Reason::ShortAttention => "attention in fp8 or nvfp4 is not modelled".to_owned(),
        Reason::Mask(cell) => format!("causal \"{cell}\" is neither True nor False"),
        Reason::Gpu(error) => error.to_string(),
        Reason::Kernel(error) => error.to_string(),
        Reason::CausalOverOthers => {
            "causal attention is known over as many keys as queries".to_owned()
        }
        Reason::Operation(name) => format!(
            "operation \"{name}\" is not known: give it a line in planner/data/operations.csv"
        ),
        Reason::Operands(name) => {
            format!("the shapes of \"{name}\" are not those that this operation has")
        }
        Reason::NotModelled(what) => format!("{what} are not predicted"),
        Reason::Sum {
            count,
            median_us,
            sum_us,
        } => format!(
            "sum_us is {sum_us}, which {count} calls with a median of {median_us} us cannot take: correct one of the three"
        ),
        Reason::Shapes => {
            "input_dims and input_types are no tuples, such as ((768, 64), (64, 8))".to_owned()
        }
        Reason::Collective(cell) => format!(
            "op \"{cell}\" is not modelled: all_gather, reduce_scatter, all_reduce, alltoall and sendrecv are"
        ),
        Reason::UnknownModel(error) => error.to_string(),
        Reason::Blocks(model) => {
            format!("the blocks of {model} are not those that virtual ranks run")
        }
        Reason::Kinds { model, kinds } => {
            format!("{model} has no blocks of the kinds {}", kinds.join(", "))
        }
        Reason::Heads { model, has, ran } => format!(
            "{model} has {} heads of {}, the run {} of {}",
            has.0, has.1, ran.0, ran.1
        ),
        Reason::Request(error) => error.to_string(),
        Reason::Plan(error) => error.to_string(),
        Reason::Ranks { plan, has, ran } => format!("{plan} has {has} ranks, the run {ran}"),
        Reason::Simulation(error) => error.to_string(),
    }
}

fn no_run(why: &NoRun) -> String {
    match why {
        NoRun::UnknownModel { cell, nearest } => {
            format!("no model is called \"{cell}\" (nearest: {nearest})")
        }
        NoRun::Odd {
            column,
            cell,
            wanted,
        } => format!("column \"{column}\": \"{cell}\" is not read: write {wanted}"),
        NoRun::UNet(model) => format!("{model} is a U-Net"),
        NoRun::Lever(lever, cell) => {
            let (column, what) = match lever {
                Lever::Cache => ("cache", "steps that are skipped"),
                Lever::Precision => ("precision", "weights other than bf16 and fp16"),
                Lever::Attention => ("attention", "this attention kernel"),
                Lever::Offload => ("offload", "weights that are not resident"),
                Lever::Notes => ("notes", "a lever that the remarks name"),
            };
            format!("{column} is \"{cell}\": {what} cannot be predicted yet")
        }
        NoRun::GpusNotStated => "the number of GPUs is not stated".to_owned(),
        NoRun::GpuNotStated(cell) if cell.is_empty() => "the GPU is not stated".to_owned(),
        NoRun::GpuNotStated(cell) => format!("the GPU is not stated (\"{cell}\")"),
        NoRun::UnknownGpu(cell) => format!("no figures for the GPU \"{cell}\""),
        NoRun::EmulatedLink(gigabytes) => format!("an emulated link of {gigabytes} GB/s"),
        NoRun::BoxesNotJoined => "what joins its boxes is not stated".to_owned(),
        NoRun::Links(error) => error.to_string(),
        NoRun::NoPlatform(miss) => miss.to_string(),
        NoRun::ResolutionNotStated => "the resolution is not stated".to_owned(),
        NoRun::FramesNotStated => "the frames of the video are not stated".to_owned(),
        NoRun::StepsNotStated => "the steps are not stated".to_owned(),
        NoRun::Stages(cell) => {
            format!("steps are \"{cell}\": stages of different sizes are not simulated")
        }
        NoRun::Batch(cell) => format!(
            "batch is \"{cell}\": write rows of a forward pass, as in 1, 2 (CFG) or 2 (CFG, sequential)"
        ),
        NoRun::TooLarge { tokens, steps } => {
            format!("{tokens:.0} tokens for {steps} steps is no request that was ever run")
        }
        NoRun::Request(error) => error.to_string(),
        NoRun::Cell(error) => error.to_string(),
    }
}

/// Why a row is not scored.
pub(crate) fn flag(flag: &Flag) -> String {
    match flag {
        Flag::Doubt(Doubt::Marked(word)) => format!("the source marks it {word}"),
        Flag::Doubt(Doubt::Replaced) => {
            "a state of the code that the source itself replaced".to_owned()
        }
        Flag::Doubt(Doubt::Steps(steps)) => format!("the steps are an assumption: {steps}"),
        Flag::Doubt(Doubt::Compiling) => "compile time is suspected in the value".to_owned(),
        Flag::TooFast(times) => {
            format!("a one-GPU row of the table is {times:.2} x as fast as the GPU sustains")
        }
        Flag::SuperLinear(times) => format!("super-linear: {times:.2} x as fast as T1/N"),
        Flag::SlowLink(share) => {
            format!(
                "implies a link at {:.0} % of NVLink's figure",
                100.0 * share
            )
        }
        Flag::FarRate { kind, times } => {
            format!(
                "implies an {kind} rate {times:.2} x that of the host's rows that fit its label"
            )
        }
        Flag::Contradicted => {
            "the table contradicts its interconnect label (implied link rates)".to_owned()
        }
        Flag::NoGain {
            few,
            many,
            measured,
            predicted,
        } => format!("no gain from {few} to {many} GPUs ({measured:.2}), predicted {predicted:.2}"),
    }
}

/// What a row that calibrates says of its host.
pub(crate) fn says(says: Says) -> String {
    match says {
        Says::GpuTime => "GPU time".to_owned(),
        Says::Launch(factor) => format!("launch factor x {factor:.2}"),
        Says::Rate(kind, factor) => format!("{kind} rate x {factor:.2}"),
    }
}

/// What a reader of live runs must know.
pub(crate) fn note(note: &Note) -> String {
    match note {
        Note::Processor => {
            "runs on a processor (cpu): they test the path and validate nothing of a GPU".to_owned()
        }
        Note::Profile(title) => format!("costs: profile {title}"),
        Note::BuiltIn => {
            "costs: built-in tables of the GPU; copies at the datasheet's PCIe rate".to_owned()
        }
        Note::OtherCompressors(runs) => {
            format!("{runs} runs used PyTorch's compressors, whose times are not in the tables")
        }
        Note::WrongResults(runs) => {
            format!("{runs} runs did not compute what they should: see numerics_ok")
        }
    }
}

#[cfg(test)]
mod tests {
    use planner::runs::CellError;
    use topologies::CollectiveKind;

    use super::super::tests::assert_distinct;
    use super::*;

    fn cell() -> String {
        "x".to_owned()
    }

    #[test]
    fn every_reason_has_words_of_its_own() {
        let levers = [
            Lever::Cache,
            Lever::Precision,
            Lever::Attention,
            Lever::Offload,
            Lever::Notes,
        ];
        let no_runs = [
            NoRun::UnknownModel {
                cell: cell(),
                nearest: "y",
            },
            NoRun::UNet("y"),
            NoRun::Odd {
                column: "warmup",
                cell: cell(),
                wanted: "y",
            },
            NoRun::GpusNotStated,
            NoRun::GpuNotStated(String::new()),
            NoRun::GpuNotStated(cell()),
            NoRun::UnknownGpu(cell()),
            NoRun::EmulatedLink(0.001),
            NoRun::BoxesNotJoined,
            NoRun::ResolutionNotStated,
            NoRun::FramesNotStated,
            NoRun::StepsNotStated,
            NoRun::Stages(cell()),
            NoRun::Batch(cell()),
            NoRun::TooLarge {
                tokens: 1e9,
                steps: 28,
            },
            NoRun::Cell(CellError::Compressor(cell())),
        ];
        let levers = levers.map(|lever| NoRun::Lever(lever, cell()));
        let rows = no_runs.into_iter().chain(levers).map(Reason::NoRun);
        let others = [
            Reason::OutOfMemory,
            Reason::NoValue,
            Reason::NoCost,
            Reason::BeyondPeak(1.25),
            Reason::Sum {
                count: 10.0,
                median_us: 200.0,
                sum_us: 2.0,
            },
            Reason::SplitNotStated,
            Reason::Multiplications(1e18),
            Reason::KernelFormat(cell()),
            Reason::MessageFormat(cell()),
            Reason::ShortAttention,
            Reason::CausalOverOthers,
            Reason::Mask(cell()),
            Reason::Collective(cell()),
            Reason::Blocks(cell()),
            Reason::Kinds {
                model: cell(),
                kinds: vec![cell()],
            },
            Reason::Heads {
                model: cell(),
                has: (24, 128),
                ran: (4, 16),
            },
            Reason::Ranks {
                plan: cell(),
                has: 2,
                ran: 3,
            },
        ];
        assert_distinct(rows.chain(others).map(|one| reason(&one)));
    }

    #[test]
    fn every_flag_has_words_of_its_own() {
        let doubts = [
            Doubt::Marked("suspect".to_owned()),
            Doubt::Replaced,
            Doubt::Steps("20(assumed)".to_owned()),
            Doubt::Compiling,
        ];
        let rules = [
            Flag::TooFast(1.8),
            Flag::SuperLinear(1.8),
            Flag::SlowLink(0.1),
            Flag::FarRate {
                kind: CollectiveKind::AllToAll,
                times: 1.8,
            },
            Flag::Contradicted,
            Flag::NoGain {
                few: 2,
                many: 4,
                measured: 0.9,
                predicted: 0.5,
            },
        ];
        let all = doubts.map(Flag::Doubt).into_iter().chain(rules);
        assert_distinct(all.map(|one| flag(&one)));
    }

    #[test]
    fn every_note_and_use_has_words_of_its_own() {
        let notes = [
            Note::Processor,
            Note::Profile(cell()),
            Note::BuiltIn,
            Note::OtherCompressors(2),
            Note::WrongResults(2),
        ];
        assert_distinct(notes.iter().map(note));
        let rate = Says::Rate(CollectiveKind::AllToAll, 0.6);
        assert_distinct([Says::GpuTime, Says::Launch(0.5), rate].map(says));
    }
}
