//! One thing with all its fields, for `inspect`.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::plain;

/// The fields of `value`, one a line: at each level `name` first, then the plain ones in alphabetical
/// order, then those with fields of their own. What is absent or empty is left out.
pub(crate) fn fields(value: &impl Serialize) -> anyhow::Result<String> {
    let value = serde_json::to_value(value).context("cannot render the result")?;
    let mut text = String::new();
    write(&value, 0, &mut text);
    Ok(text)
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().filter(|(_, value)| !is_empty(value)).collect();
            members.sort_by_key(|(key, value)| (is_nested(value), *key != "name"));
            let plain_keys = members.iter().filter(|(_, value)| !is_nested(value)).map(|(key, _)| plain(key));
            let width = plain_keys.map(|key| key.chars().count()).max().unwrap_or(0);
            for (key, value) in members {
                if is_nested(value) {
                    text.push_str(&format!("{indent}{}\n", plain(key)));
                    write(value, depth + 1, text);
                } else {
                    text.push_str(&format!("{indent}{:<width$}  {}\n", plain(key), scalar(value)));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_nested(item) {
                    let mut lines = String::new();
                    write(item, depth + 1, &mut lines);
                    // The first field of an item stands behind its dash.
                    text.push_str(&format!("{indent}- {}", lines.trim_start()));
                } else {
                    text.push_str(&format!("{indent}- {}\n", scalar(item)));
                }
            }
        }
        scalar_value => text.push_str(&format!("{indent}{}\n", scalar(scalar_value))),
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text).into_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_line_up_and_what_is_absent_is_left_out() {
        let value = json!({
            "name": "web",
            "ip": "10.88.0.2",
            "privileged": false,
            "image": null,
            "layers": ["sha256:ab", "sha256:cd"],
            "config": {"env": {"LANG": "C"}, "startup_commands": [], "user": "app"},
        });
        let text = "\
name        web
ip          10.88.0.2
privileged  no
config
  user  app
  env
    LANG  C
layers
  - sha256:ab
  - sha256:cd
";
        assert_eq!(fields(&value).unwrap(), text);
    }

    #[test]
    fn an_item_with_fields_stands_behind_one_dash() {
        let value = json!({"layers": [{"digest": "a", "size": 1}, {"digest": "b", "size": 2}]});
        let text = "\
layers
  - digest  a
    size    1
  - digest  b
    size    2
";
        assert_eq!(fields(&value).unwrap(), text);
    }

    #[test]
    fn a_label_cannot_speak_to_the_terminal() {
        assert_eq!(fields(&json!({"a\x1b": "\x1b[2J"})).unwrap(), "a\\u{1b}  \\u{1b}[2J\n");
    }
}
