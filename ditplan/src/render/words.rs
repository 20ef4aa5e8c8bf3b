//! The planner's typed answers in words: one phrase for each.

mod fleet;
mod launch;
mod measured;
mod sources;

use planner::search::{Finding, Gain, Lever, Pays, QualitySource, StopReason, Timed};
use sim::memory::Phase;
use topologies::SimDuration;
use traces::timeline::SpanClass;

pub(crate) use self::fleet::{fleet_findings, no_fleet, overloaded, replica, shortfall};
pub(crate) use self::launch::command;
pub(crate) use self::measured::{flag, note, reason, says};
pub(crate) use self::sources::{fleet_sources, sources, timeline};

/// What the comparison of plans shows, one sentence.
pub(crate) fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Lever {
            lever,
            pays,
            probability,
            with,
            without,
        } => self::lever(*lever, (*pays, *probability), with, without),
        Finding::Gain(gain) => self::gain(gain),
        Finding::Compiling { eager, compiled } => format!(
            "compiled, {} takes {}; eager, {} takes {}: {:.2}x. Compiling takes minutes at the first start, which is not counted",
            compiled.plan,
            compiled.latency,
            eager.plan,
            eager.latency,
            compiled.gain_over(eager)
        ),
        Finding::OneGpuIsFastest => {
            "more GPUs do not pay here: no plan is faster than one GPU".to_owned()
        }
        Finding::CriticalPath { class, share } => format!(
            "{:.0} % of the chosen plan's critical path is {}",
            100.0 * share,
            work(*class)
        ),
        Finding::PerLayer {
            gain,
            holds,
            uniform: Timed { plan, latency },
        } => {
            let percent = 100.0 * (gain - 1.0);
            let uniform = format!("{plan} ({:.3} s)", latency.as_secs_f64());
            if *holds {
                format!(
                    "a compressor per layer gains {percent:.1} % over the best uniform plan that keeps the budget, {uniform}"
                )
            } else {
                format!(
                    "a compressor per layer would gain {percent:.1} %, less than the 5 % that hold up in closed loop: {uniform} stays"
                )
            }
        }
    }
}

/// Whether a lossy or stale plan gains over the best plan without it.
fn lever(lever: Lever, (pays, probability): (Pays, f64), with: &Timed, without: &Timed) -> String {
    let (what, plain) = match lever {
        Lever::Compression => ("compression", "uncompressed"),
        Lever::Staleness => ("staleness", "exact"),
    };
    let timed =
        |Timed { plan, latency }: &Timed| format!("{plan} ({:.2} s)", latency.as_secs_f64());
    let gain = with.gain_over(without);
    let (with, without) = (timed(with), timed(without));
    let likely = share(probability);
    match pays {
        Pays::No => format!(
            "{what} does not pay here: {with} against {without} {plain} ({likely} likely to be faster)"
        ),
        Pays::Tie => format!(
            "whether {what} pays here is not known, a tie: {with} against {without} {plain} ({likely} likely to be faster)"
        ),
        Pays::Yes => format!(
            "{what} pays here ({likely} likely): {with} is {gain:.2}x faster than {without} {plain}"
        ),
    }
}

/// What the fastest compressed plan saves, its ring's loop told apart.
fn gain(gain: &Gain) -> String {
    let all = gain.raw.latency.as_secs_f64() - gain.with.latency.as_secs_f64();
    let (by_loop, rest) = (gain.by_loop().as_secs_f64(), gain.by_compression_s());
    format!(
        "of the {all:.2} s between {} ({:.2} s) and {} ({:.2} s), {by_loop:.2} s come from the fused ring loop ({} takes {:.2} s uncompressed), {rest:.2} s from compression",
        gain.raw.plan,
        gain.raw.latency.as_secs_f64(),
        gain.with.plan,
        gain.with.latency.as_secs_f64(),
        gain.same_loop.plan,
        gain.same_loop.latency.as_secs_f64(),
    )
}

/// A probability in whole percent, never sure.
pub(crate) fn share(probability: f64) -> String {
    match 100.0 * probability {
        percent if percent > 99.0 => "over 99 %".to_owned(),
        percent if percent < 1.0 => "under 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// What a plan's critical path has more of than the best plan's: `+0.41 s waiting for messages`.
pub(crate) fn why_slower(more: &[(SpanClass, SimDuration)]) -> String {
    let one = |(class, extra): &(SpanClass, SimDuration)| {
        format!("+{:.2} s {}", extra.as_secs_f64(), work(*class))
    };
    more.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Where figures of quality are from, or why there are none.
pub(crate) fn quality(source: &QualitySource) -> String {
    match source {
        QualitySource::Exact => "exact up to the order of floating-point sums",
        QualitySource::Published { source } => source,
        QualitySource::NoneForModel => "no published figure for this model",
        QualitySource::NoneForRequest => {
            "published for 1024x1024 in 28 steps with one of warm-up, not for this run"
        }
        QualitySource::NoneForLayout => "no published figure for this layout",
        QualitySource::LossyAttention(kernel) => {
            return format!("{kernel} has an error of its own, which nothing here predicts");
        }
        QualitySource::Trace { name } => return format!("predicted from {name}"),
        QualitySource::Unpredicted { published, error } => {
            return format!("{}; {error}", quality(published));
        }
    }
    .to_owned()
}

/// Why a search stopped.
pub(crate) fn stop_reason(stop: StopReason) -> String {
    match stop {
        StopReason::Proved { next_bound } => format!(
            "no plan of this space that was not simulated takes less than {:.2} s on this model of the machine",
            next_bound.as_secs_f64()
        ),
        StopReason::Exhausted => "every plan of this space was simulated".to_owned(),
    }
}

/// A phase of a request, in a word.
pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Encode => "encode",
        Phase::Denoise => "denoise",
        Phase::Decode => "decode",
    }
}

/// What a kind of work is called in a sentence.
const fn work(class: SpanClass) -> &'static str {
    match class {
        SpanClass::Linear => "matrix products",
        SpanClass::Attention => "attention",
        SpanClass::Elementwise => "memory-bound passes",
        SpanClass::Encode => "compressing",
        SpanClass::Decode => "decompressing",
        SpanClass::Launch => "launch gaps",
        SpanClass::Communication => "waiting for messages",
        SpanClass::Weights => "fetching weights",
        SpanClass::TextEncoder => "text encoding",
        SpanClass::Vae => "decoding the latent",
        SpanClass::Other => "compute slowed by messages beside it",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sim::quality::QualityError;

    use super::*;

    /// All are said, and no two alike.
    pub(super) fn assert_distinct(said: impl IntoIterator<Item = String>) {
        let mut seen = BTreeSet::new();
        for one in said {
            assert!(!one.trim().is_empty());
            assert!(seen.insert(one.clone()), "said twice: {one}");
        }
    }

    fn timed(plan: &str, seconds: f64) -> Timed {
        Timed {
            plan: plan.parse().expect("a plan"),
            latency: SimDuration::from_secs_f64(seconds),
        }
    }

    #[test]
    fn every_finding_has_words_of_its_own() {
        let mut all = vec![Finding::OneGpuIsFastest];
        for lever in [Lever::Compression, Lever::Staleness] {
            all.extend([Pays::Yes, Pays::Tie, Pays::No].map(|pays| Finding::Lever {
                lever,
                pays,
                probability: 0.5,
                with: timed("ring4/1bit warmup=1", 2.0),
                without: timed("ring4", 4.0),
            }));
        }
        all.push(Finding::Compiling {
            eager: timed("ring4", 4.0),
            compiled: timed("ring4", 2.0),
        });
        all.push(Finding::Gain(Box::new(Gain {
            with: timed("ring4/1bit warmup=1 loop=fused", 2.0),
            raw: timed("ring4", 4.0),
            same_loop: timed("ring4 loop=fused", 3.5),
        })));
        all.extend([true, false].map(|holds| Finding::PerLayer {
            gain: 1.04,
            holds,
            uniform: timed("ring4/1bit warmup=1", 2.0),
        }));
        all.extend(CLASSES.map(|class| Finding::CriticalPath { class, share: 0.5 }));
        assert_distinct(all.iter().map(finding));
    }

    const CLASSES: [SpanClass; 11] = [
        SpanClass::Linear,
        SpanClass::Attention,
        SpanClass::Elementwise,
        SpanClass::Encode,
        SpanClass::Decode,
        SpanClass::Launch,
        SpanClass::Communication,
        SpanClass::Weights,
        SpanClass::TextEncoder,
        SpanClass::Vae,
        SpanClass::Other,
    ];

    #[test]
    fn numbers_are_said() {
        let pays = Finding::Lever {
            lever: Lever::Compression,
            pays: Pays::Yes,
            probability: 0.973,
            with: timed("ring4/1bit warmup=1", 2.0),
            without: timed("ring4", 3.0),
        };
        assert_eq!(
            finding(&pays),
            "compression pays here (97 % likely): ring4/1bit warmup=1 (2.00 s) is 1.50x faster than ring4 (3.00 s) uncompressed"
        );
        let more = [
            (SpanClass::Communication, SimDuration::from_secs_f64(0.41)),
            (SpanClass::Launch, SimDuration::from_secs_f64(0.1)),
        ];
        assert_eq!(
            why_slower(&more),
            "+0.41 s waiting for messages, +0.10 s launch gaps"
        );
        assert_eq!(why_slower(&[]), "");
    }

    #[test]
    fn every_source_of_quality_has_words_of_its_own() {
        let error = QualityError::NoConfidence;
        let all = [
            QualitySource::Exact,
            QualitySource::Published { source: "a paper" },
            QualitySource::NoneForModel,
            QualitySource::NoneForRequest,
            QualitySource::NoneForLayout,
            QualitySource::Trace {
                name: "a trace".to_owned(),
            },
            QualitySource::Unpredicted {
                published: Box::new(QualitySource::NoneForModel),
                error,
            },
        ];
        assert_distinct(all.iter().map(quality));
    }

    #[test]
    fn every_stop_has_words_of_its_own() {
        let next_bound = SimDuration::from_secs_f64(2.5);
        let all = [StopReason::Proved { next_bound }, StopReason::Exhausted];
        assert_distinct(all.map(stop_reason));
    }
}
