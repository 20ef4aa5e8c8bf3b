//! The part of JSON Schema (draft 2020-12) that `docs/json` uses, checked by the letter.
//!
//! ```text
//! docs/json/*.schema.json ─▶ Schemas ─▶ faults(schema, value): "/choice/gap: is a string, not number"
//! ```
//! Guarantees: a keyword that is not checked here is refused by [`Schemas::shape`], so that nothing passes for being
//! unknown. `title` and `description` constrain nothing, as in the standard. Not a library: `jsonschema` would bring 36
//! more crates to build, `boon` 39 and two minutes of processor time.

mod shape;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Where the schemas are.
pub(super) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json");

/// All schemas, by file name.
pub(super) struct Schemas(BTreeMap<String, Value>);

/// A schema and the file it stands in.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    schema: &'a Value,
}

impl<'a> Place<'a> {
    fn at(self, schema: &'a Value) -> Self {
        Self { schema, ..self }
    }
}

impl Schemas {
    /// Those of the repository.
    pub(super) fn read() -> Self {
        let entries = std::fs::read_dir(FOLDER).expect("docs/json is there");
        let paths = entries.map(|entry| entry.expect("docs/json can be listed").path());
        let named = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let schemas = paths.filter_map(|path| {
            let name = named(&path).filter(|name| name.ends_with(".schema.json"))?;
            let text = std::fs::read_to_string(&path).expect("a schema can be read");
            let schema = serde_json::from_str(&text);
            Some((name, schema.unwrap_or_else(|error| panic!("{error}"))))
        });
        Self(schemas.collect())
    }

    /// One schema alone, named `x`.
    fn of(schema: Value) -> Self {
        Self(BTreeMap::from([("x.schema.json".to_owned(), schema)]))
    }

    /// The names without their ending.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys();
        names.map(|name| name.trim_end_matches(".schema.json"))
    }

    fn place(&self, name: &str) -> Place<'_> {
        let found = self.0.get_key_value(&format!("{name}.schema.json"));
        let (file, schema) = found.unwrap_or_else(|| panic!("docs/json has no schema of {name}"));
        Place { file, schema }
    }

    /// Where a reference leads.
    fn follow<'a>(&'a self, from: Place<'a>, reference: &str) -> Place<'a> {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if file.is_empty() { from.file } else { file };
        let found = self.0.get_key_value(file);
        let (file, schema) = found.unwrap_or_else(|| panic!("{}: no file {file}", from.file));
        let schema = schema.pointer(pointer);
        let schema = schema.unwrap_or_else(|| panic!("{}: {reference} is not there", from.file));
        Place { file, schema }
    }

    /// What is wrong with a value, each with its place; nothing where it is as the schema says.
    pub(super) fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(self.place(name), value, "", &mut faults);
        faults
    }

    fn check(&self, at: Place<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
        let Some(schema) = at.schema.as_object() else {
            if at.schema == &Value::Bool(false) {
                out.push(format!("{path}: is not described"));
            }
            return;
        };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            self.check(self.follow(at, reference), value, path, out);
        }
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let mut of_branches = branches.iter().map(|branch| {
                let mut faults = Vec::new();
                self.check(at.at(branch), value, path, &mut faults);
                faults
            });
            let first = of_branches.next().unwrap_or_default();
            if !first.is_empty() && !of_branches.any(|faults| faults.is_empty()) {
                out.extend(first);
            }
        }
        if let Some(fault) = own_fault(schema, value) {
            out.push(format!("{path}: {fault}"));
        }
        match value {
            Value::Object(object) => self.check_object(at, schema, object, path, out),
            Value::Array(items) => {
                if let Some(of_items) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.check(at.at(of_items), item, &format!("{path}/{index}"), out);
                    }
                }
            }
            _ => {}
        }
    }

    fn check_object(
        &self,
        at: Place<'_>,
        schema: &Map<String, Value>,
        object: &Map<String, Value>,
        path: &str,
        out: &mut Vec<String>,
    ) {
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                out.push(format!("{path}/{name}: is missing"));
            }
        }
        for (name, value) in object {
            let path = format!("{path}/{name}");
            if let Some(names) = schema.get("propertyNames") {
                self.check(at.at(names), &Value::from(name.as_str()), &path, out);
            }
            let own = schema.get("properties").and_then(|own| own.get(name));
            if let Some(schema) = own.or_else(|| schema.get("additionalProperties")) {
                self.check(at.at(schema), value, &path, out);
            }
        }
    }
}

/// What is wrong with a value alone, without what it holds.
fn own_fault(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let is = |one: &Value| match one.as_str() {
        Some("array") => value.is_array(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        _ => false,
    };
    let (size, length) = (
        value.as_array().map(Vec::len),
        value.as_str().map(|text| text.chars().count()),
    );
    let number = |argument: &Value| Some((value.as_f64()?, argument.as_f64()?));
    let count = |size: Option<usize>, argument: &Value| Some((size? as u64, argument.as_u64()?));
    for (keyword, argument) in schema {
        let right = match keyword.as_str() {
            "type" => match argument {
                Value::Array(types) => types.iter().any(is),
                one => is(one),
            },
            "enum" => argument.as_array().is_some_and(|all| all.contains(value)),
            "const" => argument == value,
            "minimum" => number(argument).is_none_or(|(own, least)| own >= least),
            "maximum" => number(argument).is_none_or(|(own, most)| own <= most),
            "exclusiveMaximum" => number(argument).is_none_or(|(own, limit)| own < limit),
            "minItems" => count(size, argument).is_none_or(|(own, least)| own >= least),
            "maxItems" => count(size, argument).is_none_or(|(own, most)| own <= most),
            "minLength" => count(length, argument).is_none_or(|(own, least)| own >= least),
            "maxLength" => count(length, argument).is_none_or(|(own, most)| own <= most),
            _ => true,
        };
        if !right {
            let text: String = value.to_string().chars().take(80).collect();
            return Some(format!("{text} breaks {keyword} {argument}"));
        }
    }
    None
}

/// Each keyword, with a value that keeps it and one that does not.
#[test]
fn every_keyword_is_kept_or_broken() {
    for (schema, kept, broken) in [
        (json!({"type": "integer"}), json!(2.0), json!(2.5)),
        (json!({"type": ["number", "null"]}), json!(null), json!("1")),
        (json!({"enum": ["a", null]}), json!("a"), json!("b")),
        (json!({"const": "ps"}), json!("ps"), json!("us")),
        (json!({"minimum": 0}), json!(0), json!(-0.5)),
        (json!({"maximum": 1}), json!(1), json!(1.5)),
        (json!({"exclusiveMaximum": 1}), json!(0.5), json!(1)),
        (json!({"minItems": 1}), json!([1]), json!([])),
        (json!({"maxItems": 1}), json!([1]), json!([1, 2])),
        (json!({"minLength": 2}), json!("ab"), json!("a")),
        (json!({"maxLength": 2}), json!("ab"), json!("abc")),
        (
            json!({"items": {"type": "null"}}),
            json!([null]),
            json!([null, 1]),
        ),
        (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
        (
            json!({"properties": {"a": {"type": "null"}}}),
            json!({"a": null}),
            json!({"a": 1}),
        ),
        (
            json!({"additionalProperties": false}),
            json!({}),
            json!({"a": 1}),
        ),
        (
            json!({"additionalProperties": {"type": "null"}}),
            json!({"a": null}),
            json!({"a": 1}),
        ),
        (
            json!({"propertyNames": {"enum": ["a"]}}),
            json!({"a": 1}),
            json!({"b": 1}),
        ),
        (
            json!({"anyOf": [{"type": "object"}, {"type": "null"}]}),
            json!(null),
            json!(1),
        ),
        (
            json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}),
            json!(null),
            json!(1),
        ),
    ] {
        let schemas = Schemas::of(schema.clone());
        assert_eq!(schemas.faults("x", &kept), [""; 0], "{schema} {kept}");
        assert_eq!(schemas.faults("x", &broken).len(), 1, "{schema} {broken}");
    }
}
