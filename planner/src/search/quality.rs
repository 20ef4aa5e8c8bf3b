//! Output quality of stale and compressed plans: published, and predicted from a trace.

use std::sync::LazyLock;

use kernels::AttentionKernel;
use serde::Deserialize;
use sim::model::{Architecture, Latent, Model, Request, Resolution};
use sim::plan::{Fidelity, Plan};
use sim::quality::QualityError;

use super::evaluator::Evaluator;
use super::{Budget, Predicted};

/// Figures published for one transformer and one request: `data/quality.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    source: String,
    size: Resolution,
    steps: u32,
    warmup: u32,
    hidden: u64,
    heads: u64,
    head_dim: u64,
    family: Architecture,
    latent: Latent,
    rows: Vec<Row>,
}

/// What was published of the output of some plans.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    fid: f64,
    lpips: f64,
    plans: Vec<String>,
}

impl Table {
    fn is_of(&self, model: &Model) -> bool {
        let widths = (self.hidden, self.heads, self.head_dim);
        widths == (model.hidden, model.heads, model.head_dim)
            && self.family == model.architecture
            && self.latent == model.latent
    }
}

impl Row {
    fn is_of(&self, plan: &Plan) -> bool {
        let any_vae = Plan {
            vae: 1,
            ..plan.clone()
        };
        let text = any_vae.to_string();
        let layout = text.split(' ').next();
        self.plans.iter().any(|plan| Some(plan.as_str()) == layout)
    }
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        tables: Vec<Table>,
    }
    let file: File = toml::from_str(include_str!("../../data/quality.toml"))
        .expect("a test reads the published quality");
    file.tables
});

/// Quality of a plan's output against the one-GPU output: published figures, and what a trace predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Frechet inception distance.
    pub fid: Option<f64>,
    /// Learned perceptual image patch similarity.
    pub lpips: Option<f64>,
    /// Predicted from a recorded trace of the model.
    pub predicted: Option<Predicted>,
    /// Where the figures are from; or why there are none.
    pub source: QualitySource,
}

/// Where figures of quality are from, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QualitySource {
    /// The output is the one-GPU output up to the order of floating-point sums.
    Exact,
    /// They are published.
    Published {
        /// Where.
        source: &'static str,
    },
    /// None are published for the model.
    NoneForModel,
    /// Those of the model are for 1024x1024 in 28 steps with one of warm-up.
    NoneForRequest,
    /// Those of the model and request are for other layouts.
    NoneForLayout,
    /// The attention kernel has an error of its own, that nothing here predicts.
    LossyAttention(AttentionKernel),
    /// They are predicted from a trace.
    Trace {
        /// Its name.
        name: String,
    },
    /// There is a trace, but it says nothing about the plan.
    Unpredicted {
        /// What is published.
        published: Box<QualitySource>,
        /// Why not.
        error: QualityError,
    },
}

impl Evaluator<'_> {
    /// What is known of the output of `plan`.
    pub(super) fn quality(&self, plan: &Plan) -> Quality {
        let kernel = self.execution.attention;
        if kernel.is_lossy() {
            return none(QualitySource::LossyAttention(kernel));
        }
        let published = published(self.question.model, &self.question.request, plan);
        let Some(trace) = &self.question.quality else {
            return published;
        };
        match trace.predict(plan) {
            Ok(predicted) => Quality {
                predicted: Some(predicted),
                source: match plan.fidelity() {
                    Fidelity::Exact => published.source,
                    Fidelity::Stale | Fidelity::Lossy => QualitySource::Trace {
                        name: trace.name.clone(),
                    },
                },
                ..published
            },
            Err(error) => Quality {
                source: QualitySource::Unpredicted {
                    published: Box::new(published.source),
                    error,
                },
                ..published
            },
        }
    }

    /// The largest deviation that keeps a budget; none where no trace can tell.
    pub(super) fn limit(&self, budget: Budget) -> Option<f64> {
        self.question.quality.as_ref()?.limit(budget)
    }
}

/// No figures, and why.
fn none(source: QualitySource) -> Quality {
    Quality {
        fid: None,
        lpips: None,
        predicted: None,
        source,
    }
}

/// The published quality of `plan` for a request, if there is one.
fn published(model: &Model, request: &Request, plan: &Plan) -> Quality {
    if plan.fidelity() == Fidelity::Exact {
        return none(QualitySource::Exact);
    }
    let Some(table) = TABLES.iter().find(|table| table.is_of(model)) else {
        return none(QualitySource::NoneForModel);
    };
    let asked = (request.resolution, request.steps, plan.warmup);
    if asked != (table.size, table.steps, table.warmup) {
        return none(QualitySource::NoneForRequest);
    }
    match table.rows.iter().find(|row| row.is_of(plan)) {
        Some(row) => Quality {
            fid: Some(row.fid),
            lpips: Some(row.lpips),
            predicted: None,
            source: QualitySource::Published {
                source: &table.source,
            },
        },
        None => none(QualitySource::NoneForLayout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_belong_to_a_transformer_whatever_it_is_called() {
        let flux = sim::model::find("FLUX.1-dev").expect("a known model");
        let of = |model: &Model, plan: &Plan| published(model, &flux.default, plan).fid;
        let mut renamed = flux.clone();
        renamed.name = "mine".to_owned();
        let mut other = flux.clone();
        other.hidden += 1;
        for row in TABLES.iter().flat_map(|table| &table.rows) {
            for text in &row.plans {
                let mut plan: Plan = text.parse().expect("a plan");
                plan.vae = plan.ranks();
                assert_eq!(of(flux, &plan), Some(row.fid), "{text}");
                assert_eq!(of(&renamed, &plan), Some(row.fid), "{text}");
                assert_eq!(of(&other, &plan), None, "{text}");
            }
        }
        let published = sim::model::known()
            .iter()
            .filter(|model| TABLES.iter().any(|table| table.is_of(model)));
        let names: Vec<&str> = published.map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["FLUX.1-dev"]);
    }
}
