//! The README's schema of `--json`: the same notation is read here, and everything printed is held
//! to it.
//!
//! A document is an example whose values name types: `"string"`, `"integer"`, `"number"`,
//! `"boolean"`, `"null"`, anything else is the text itself, `|` is between alternatives. A key that
//! ends in `?` may be `null`. An array holds any number of what it shows.

use serde_json::Value;

/// The last of the integers that a parser of double-precision numbers keeps apart. What may exceed
/// it is text.
const INTEGER_MAX: u64 = 1 << 53;

const README: &str = include_str!("../../README.md");

/// Asserts that a document is as the README's section with this heading says.
#[track_caller]
pub(crate) fn check(heading: &str, document: &str) -> Value {
    let section = README.split(&format!("#### `{heading}`")).nth(1).expect("there is a section");
    let block = section.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let schema = serde_json::from_str(block.unwrap()).unwrap();
    let value =
        serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    if let Err(wrong) = matches(&schema, &value, heading) {
        panic!("{wrong}\n{document}");
    }
    value
}

fn matches(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    match (schema, value) {
        (Value::Object(schema), Value::Object(value)) => {
            let plain = |key: &str| key.trim_end_matches('?').to_owned();
            let mut keys: Vec<_> = schema.keys().map(|key| plain(key)).collect();
            let mut found: Vec<_> = value.keys().cloned().collect();
            keys.sort();
            found.sort();
            if keys != found {
                return Err(format!("{at}: {found:?} instead of {keys:?}"));
            }
            schema.iter().try_for_each(|(key, schema)| {
                let value = &value[&plain(key)];
                match key.ends_with('?') && value.is_null() {
                    true => Ok(()),
                    false => matches(schema, value, &format!("{at}.{key}")),
                }
            })
        }
        (Value::Array(schema), Value::Array(values)) => {
            values.iter().try_for_each(|value| matches(&schema[0], value, &format!("{at}[]")))
        }
        (Value::String(types), value) if types.split('|').any(|name| is(name, value)) => Ok(()),
        _ => Err(format!("{at}: {value} is no {schema}")),
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.as_u64().is_some_and(|number| number <= INTEGER_MAX),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        text => value == text,
    }
}

#[test]
fn the_check_can_fail() {
    let schema = serde_json::json!({"a": "integer|null", "b?": {"c": ["string"]}});
    for (good, document) in [
        (true, serde_json::json!({"a": 1, "b": {"c": ["x", "y"]}})),
        (true, serde_json::json!({"a": null, "b": null})),
        (false, serde_json::json!({"a": "1", "b": null})),
        (false, serde_json::json!({"a": 1})),
        (false, serde_json::json!({"a": 1, "b": null, "c": 1})),
        (false, serde_json::json!({"a": 1, "b": {"c": [1]}})),
        (true, serde_json::json!({"a": 1_u64 << 53, "b": null})),
        (false, serde_json::json!({"a": (1_u64 << 53) + 1, "b": null})),
    ] {
        assert_eq!(matches(&schema, &document, "").is_ok(), good, "{document}");
    }
}

/// A fencing token as JSON, read by a parser that knows double-precision numbers only, as
/// JavaScript's and that of jq before 1.7.
#[test]
fn a_token_survives_as_text_only() {
    let scene = crate::scene::Scene::new();
    let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", "echo $TREELOCK_TOKEN"]);
    let token: u64 = done.stdout().trim().parse().unwrap();
    assert!(token > INTEGER_MAX);
    let odd = token | 1; // half of all tokens are
    let read = |document: &Value| match document {
        Value::Number(number) => (number.as_f64().unwrap() as u64).to_string(),
        other => other.as_str().unwrap().to_owned(),
    };
    assert_eq!(read(&odd.to_string().into()), odd.to_string());
    assert_ne!(read(&odd.into()), odd.to_string());
}
