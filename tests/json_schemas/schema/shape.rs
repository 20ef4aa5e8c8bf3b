//! Whether the schemas are schemas: known keywords with arguments of their kind, references that lead somewhere,
//! objects that describe every property and refuse others.

use serde_json::{Map, Value, json};

use super::{Place, Schemas};

/// The dialect that each names.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Every keyword that may be used.
const KEYWORDS: [&str; 21] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "description",
    "enum",
    "exclusiveMaximum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
];

impl Schemas {
    /// What is wrong with the schemas themselves.
    pub(in super::super) fn shape(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut used = Vec::new();
        for (file, schema) in &self.0 {
            if schema["$schema"] != DIALECT {
                faults.push(format!("{file}: $schema is not {DIALECT}"));
            }
            let at = Place { file, schema };
            self.shape_of(at, "#", &mut faults, &mut used);
        }
        for (file, schema) in &self.0 {
            for name in schema["$defs"].as_object().into_iter().flat_map(Map::keys) {
                if !used.contains(&format!("{file}#/$defs/{name}")) {
                    faults.push(format!("{file}: nothing refers to {name}"));
                }
            }
        }
        faults
    }

    fn shape_of(&self, at: Place<'_>, path: &str, out: &mut Vec<String>, used: &mut Vec<String>) {
        let Some(schema) = at.schema.as_object() else {
            if !at.schema.is_boolean() {
                out.push(format!("{} {path}: is no schema", at.file));
            }
            return;
        };
        for (keyword, argument) in schema {
            if let Some(fault) = argument_fault(keyword, argument) {
                out.push(format!("{} {path}/{keyword}: {fault}", at.file));
            }
            let path = format!("{path}/{keyword}");
            match (keyword.as_str(), argument) {
                ("properties" | "$defs", Value::Object(all)) => {
                    for (name, schema) in all {
                        self.shape_of(at.at(schema), &format!("{path}/{name}"), out, used);
                    }
                }
                ("items" | "additionalProperties" | "propertyNames", schema) => {
                    self.shape_of(at.at(schema), &path, out, used);
                }
                ("anyOf", Value::Array(all)) => {
                    for schema in all {
                        self.shape_of(at.at(schema), &path, out, used);
                    }
                }
                ("$ref", Value::String(reference)) => {
                    let target = self.follow(at, reference).file;
                    let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
                    used.push(format!("{target}#{pointer}"));
                }
                _ => {}
            }
        }
        out.extend(self.object_faults(at, schema, path));
    }

    /// An object lists its properties, describes each, and refuses others.
    fn object_faults(&self, at: Place<'_>, schema: &Map<String, Value>, path: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |what: &str| faults.push(format!("{} {path}: {what}", at.file));
        let is_object = match schema.get("type") {
            Some(Value::Array(types)) => types.iter().any(|one| one == "object"),
            one => one.is_some_and(|one| one == "object"),
        };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            if is_object && !schema.contains_key("additionalProperties") {
                fault("an object without properties or additionalProperties");
            }
            return faults;
        };
        if !is_object || schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            fault("properties need \"type\": \"object\" and \"additionalProperties\": false");
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !properties.contains_key(name) {
                fault(&format!("{name} is required and no property"));
            }
        }
        for (name, property) in properties {
            let text = self.description(at.at(property));
            if !text.is_some_and(|text| text.len() > 3 && text.ends_with('.')) {
                fault(&format!("{name} has no description that is a sentence"));
            }
        }
        faults
    }

    /// Its own description, or that of what it refers to.
    fn description<'a>(&'a self, at: Place<'a>) -> Option<&'a str> {
        let own = at.schema.get("description").and_then(Value::as_str);
        own.or_else(|| {
            let reference = at.schema.get("$ref")?.as_str()?;
            self.description(self.follow(at, reference))
        })
    }
}

/// What is wrong with a keyword or its argument.
fn argument_fault(keyword: &str, argument: &Value) -> Option<String> {
    let types = |one: &Value| {
        let known = [
            "array", "boolean", "integer", "null", "number", "object", "string",
        ];
        one.as_str().is_some_and(|one| known.contains(&one))
    };
    let list = |all: &Value, each: fn(&Value) -> bool| {
        all.as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(each))
    };
    let right = match keyword {
        _ if !KEYWORDS.contains(&keyword) => {
            return Some("is a keyword that is not checked here".to_owned());
        }
        "$defs" | "properties" => argument.is_object(),
        "$ref" | "$schema" | "description" | "title" => argument.is_string(),
        "anyOf" => list(argument, Value::is_object),
        "enum" => list(argument, |one| one.is_string() || one.is_null()),
        "required" => argument
            .as_array()
            .is_some_and(|all| all.iter().all(Value::is_string)),
        "type" => types(argument) || argument.as_array().is_some_and(|all| all.iter().all(types)),
        "exclusiveMaximum" | "maximum" | "minimum" => argument.is_number(),
        "maxItems" | "maxLength" | "minItems" | "minLength" => argument.is_u64(),
        _ => true,
    };
    (!right).then(|| format!("{argument} is no argument of it"))
}

#[test]
fn a_schema_that_says_too_little_is_refused() {
    let right = json!({
        "$schema": DIALECT, "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "number", "description": "Seconds." } },
    });
    assert_eq!(Schemas::of(right.clone()).shape(), [""; 0]);
    for (pointer, wrong) in [
        ("/$schema", json!("draft-07")),
        ("/properties/a/description", json!("")),
        ("/properties/a/type", json!("float")),
        ("/properties/a/minimum", json!("0")),
        ("/properties/a/pattern", json!("^a")),
        ("/properties/a/propertees", json!({})),
        ("/additionalProperties", json!(true)),
        ("/required", json!(["b"])),
        ("/$defs", json!({ "unused": { "type": "null" } })),
    ] {
        let mut changed = right.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = wrong;
        assert!(!Schemas::of(changed).shape().is_empty(), "{pointer}");
    }
}
