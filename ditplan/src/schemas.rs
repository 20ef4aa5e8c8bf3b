//! The schemas of `docs/json`: made of the structs that are printed, their docs and types.
//!
//! `UPDATE_SCHEMAS=1 cargo test -p ditplan --lib schemas` writes them.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use kernels::AttentionKernel;
use planner::sweep::Field;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use sim::model::Guidance;
use sim::plan::Precision;
use sim::serving::Routing;
use topologies::host::Compilation;
use traces::timeline::SpanClass;

use crate::commands::calibrate::CalibrateAnswer;
use crate::commands::capacity::json::CapacityAnswer;
use crate::commands::compare::CompareAnswer;
use crate::commands::list::{GpuRow, ModelRow};
use crate::commands::machines::MachineRow;
use crate::commands::plan::json::{Assignment, PlanAnswer};
use crate::commands::plan::robust::json::RobustAnswer;
use crate::commands::replay::json::ReplayAnswer;
use crate::commands::report::ReportData;
use crate::commands::simulate::SimulateAnswer;
use crate::commands::sweep::json::SweepAnswer;
use crate::commands::sweep::tornado::TornadoAnswer;
use crate::commands::trace::check::CheckAnswer;
use crate::commands::trace::info::InfoAnswer;
use crate::commands::trace::kineto::KinetoAnswer;
use crate::commands::trace::quality::QualityAnswer;
use crate::commands::trace::stats::StatsAnswer;
use crate::commands::validate::json::ValidateAnswer;
use crate::render::json::{Amount, ByClass, Word};

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

impl<T: JsonSchema> JsonSchema for ByClass<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByClass".into()
    }

    fn json_schema(made: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": made.subschema_for::<T>(),
            "propertyNames": { "enum": SpanClass::words() },
        })
    }
}

/// A closed list of words.
trait Closed: Sized {
    /// All of them.
    fn words() -> Vec<String>;
}

impl<T: Closed> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": T::words() })
    }
}

/// Declares the words of types that have no list of their own.
macro_rules! closed {
    ($($of:ty: $all:expr;)+) => {
        $(impl Closed for $of {
            fn words() -> Vec<String> {
                $all.iter().map(ToString::to_string).collect()
            }
        })+
    };
}

closed! {
    SpanClass: Self::ALL;
    Compilation: Self::ALL;
    AttentionKernel: Self::ALL;
    Precision: Self::ALL;
    Routing: [Self::Fifo, Self::Shortest, Self::LeastLoaded];
    Guidance: [Self::None, Self::Batched, Self::Sequential, Self::Triple];
    Field: Self::names().collect::<Vec<_>>();
}

/// Refuses properties that are not listed, and leaves out what is no part of the standard.
fn strict(schema: &mut Schema) {
    let Some(own) = schema.as_object_mut() else {
        return;
    };
    if own.contains_key("properties") {
        own.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::String(text)) = own.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    own.remove("format");
}

/// The schema of what a command prints, as the text of its file.
fn text<T: JsonSchema>(title: &str, description: Option<&str>) -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    if let Some(text) = description {
        schema.insert("description".to_owned(), text.into());
    }
    RecursiveTransform(strict).transform(&mut schema);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

/// File, title and text of every schema that is made here.
fn all() -> Vec<(&'static str, String)> {
    vec![
        ("plan", text::<PlanAnswer>("ditplan plan --json", None)),
        (
            "plan-robust",
            text::<RobustAnswer>("ditplan plan --robust --json", None),
        ),
        (
            "assignment",
            text::<Assignment>("ditplan plan --emit assignment", None),
        ),
        (
            "simulate",
            text::<SimulateAnswer>("ditplan simulate --json", None),
        ),
        ("sweep", text::<SweepAnswer>("ditplan sweep --json", None)),
        (
            "sweep-tornado",
            text::<TornadoAnswer>("ditplan sweep --tornado --json", None),
        ),
        (
            "compare",
            text::<CompareAnswer>("ditplan compare --json", None),
        ),
        (
            "capacity",
            text::<CapacityAnswer>("ditplan capacity --json", None),
        ),
        (
            "calibrate",
            text::<CalibrateAnswer>("ditplan calibrate --json (also with --summary)", None),
        ),
        (
            "validate",
            text::<ValidateAnswer>("ditplan validate --json", None),
        ),
        (
            "replay",
            text::<ReplayAnswer>("ditplan replay --json", None),
        ),
        ("report", text::<ReportData>("ditplan report --data", None)),
        (
            "trace-info",
            text::<InfoAnswer<'_>>("ditplan trace info --json", None),
        ),
        (
            "trace-check",
            text::<CheckAnswer>("ditplan trace check --json", None),
        ),
        (
            "trace-stats",
            text::<StatsAnswer>("ditplan trace stats --json", None),
        ),
        (
            "trace-quality",
            text::<QualityAnswer>("ditplan trace quality --json", None),
        ),
        (
            "trace-kineto",
            text::<KinetoAnswer>("ditplan trace kineto --json", None),
        ),
        (
            "models",
            text::<Vec<ModelRow>>("ditplan models --json", Some("The known models.")),
        ),
        (
            "machines",
            text::<Vec<MachineRow>>("ditplan machines --json", Some("The preset machines.")),
        ),
        (
            "gpus",
            text::<Vec<GpuRow>>("ditplan gpus --json", Some("The known GPUs.")),
        ),
    ]
}

#[test]
fn committed_schemas_are_those_of_the_structs() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/json");
    for (name, text) in all() {
        let path = folder.join(format!("{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &text).expect("a schema can be written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{}: run `UPDATE_SCHEMAS=1 cargo test -p ditplan --lib schemas` and commit what changed",
            path.display()
        );
    }
}
