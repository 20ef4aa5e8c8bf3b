//! The schemas of `docs/json` (draft 2020-12), checked by the crate `jsonschema`.

use std::collections::BTreeMap;
use std::path::Path;

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// Where the schemas are.
pub(super) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json");
/// The dialect that each names.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What references between files are relative to.
const BASE: &str = "https://ditplan.invalid/";

/// All schemas, by file name without its ending.
pub(super) struct Schemas {
    texts: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
}

impl Schemas {
    /// Those of the repository.
    pub(super) fn read() -> Self {
        let entries = std::fs::read_dir(FOLDER).expect("docs/json is there");
        let paths = entries.map(|entry| entry.expect("docs/json can be listed").path());
        let named = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            Some(name.strip_suffix(".schema.json")?.to_owned())
        };
        let schemas = paths.filter_map(|path| {
            let name = named(&path)?;
            let text = std::fs::read_to_string(&path).expect("a schema can be read");
            let schema = serde_json::from_str(&text);
            Some((name, schema.unwrap_or_else(|error| panic!("{error}"))))
        });
        Self::of(schemas.collect())
    }

    fn of(texts: BTreeMap<String, Value>) -> Self {
        let at = |name: &str| format!("{BASE}{name}.schema.json");
        let mut registry = Registry::new();
        for (name, schema) in &texts {
            registry = registry
                .add(at(name), schema.clone())
                .expect("its name is an address");
        }
        let registry = registry.prepare().expect("every reference leads somewhere");
        let validator = |(name, schema): (&String, &Value)| {
            let options = jsonschema::options().with_base_uri(at(name));
            let built = options.with_registry(&registry).build(schema);
            (
                name.clone(),
                built.unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        };
        let validators = texts.iter().map(validator).collect();
        Self { texts, validators }
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    fn validator(&self, name: &str) -> &Validator {
        let found = self.validators.get(name);
        found.unwrap_or_else(|| panic!("docs/json has no schema of {name}"))
    }

    /// What is wrong with a value, each with its place; nothing where it is as the schema says.
    pub(super) fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        let faults = self.validator(name).iter_errors(value);
        faults
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect()
    }

    /// Whether a value is as the schema says.
    pub(super) fn is_valid(&self, name: &str, value: &Value) -> bool {
        self.validator(name).is_valid(value)
    }

    /// What is wrong with the schemas themselves: no schema, or objects that say too little.
    pub(super) fn shape(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (file, schema) in &self.texts {
            if schema["$schema"] != DIALECT {
                faults.push(format!("{file}: $schema is not {DIALECT}"));
            }
            if let Err(error) = jsonschema::meta::validate(schema) {
                faults.push(format!("{file}: {error}"));
            }
            self.collect(file, schema, file, &mut faults);
            for name in schema["$defs"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
            {
                let here = format!("\"#/$defs/{name}\"");
                let there = format!("\"{file}.schema.json#/$defs/{name}\"");
                let used = |(other, text): (&String, &Value)| {
                    let text = text.to_string();
                    text.contains(&there) || other == file && text.contains(&here)
                };
                if !self.texts.iter().any(used) {
                    faults.push(format!("{file}: nothing refers to {name}"));
                }
            }
        }
        faults
    }

    /// An object lists its properties, describes each in a sentence, and refuses others.
    fn collect(&self, file: &str, schema: &Value, path: &str, faults: &mut Vec<String>) {
        if let (true, Some(own)) = (schema["type"] != "string", schema["properties"].as_object()) {
            if schema["additionalProperties"] != false && schema["unevaluatedProperties"] != false {
                faults.push(format!("{path}: other properties are not refused"));
            }
            for (name, property) in own {
                let text = self.description(file, property);
                if !text.is_some_and(|text| text.len() > 3 && text.ends_with('.')) {
                    faults.push(format!("{path}/{name}: no description that is a sentence"));
                }
            }
        }
        let below: Vec<(String, &Value)> = match schema {
            Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), one)).collect(),
            Value::Array(all) => (0..).map(|index: u32| index.to_string()).zip(all).collect(),
            _ => Vec::new(),
        };
        for (name, below) in below {
            self.collect(file, below, &format!("{path}/{name}"), faults);
        }
    }

    /// Its own description, or that of what it refers to.
    fn description<'a>(&'a self, file: &'a str, schema: &'a Value) -> Option<&'a str> {
        schema["description"].as_str().or_else(|| {
            let (other, pointer) = schema["$ref"].as_str()?.split_once('#')?;
            let file = other.strip_suffix(".schema.json").unwrap_or(file);
            self.description(file, self.texts[file].pointer(pointer)?)
        })
    }
}
