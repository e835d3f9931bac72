//! `${NAME}` and `${NAME:-default}` in a config's values, from the environment. Only in values, and only after
//! they are read as such: whatever a variable holds, it becomes no other value and no key. `$$` is a dollar.

use super::tree::{Mistake, Node, Value};

/// Expands all values; what can't be is added to `mistakes`, with its name.
pub(super) fn expand(
    node: &mut Node,
    variable: &dyn Fn(&str) -> Option<String>,
    mistakes: &mut Vec<(String, Mistake)>,
) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, variable, mistakes)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| expand(value, variable, mistakes));
        }
        Value::Scalar { text, plain } => match expand_text(text, variable) {
            Ok(Expanded { text: expanded, from_outside }) => {
                *text = expanded;
                // What comes from outside is a text, even if it says `null`.
                *plain &= !from_outside;
            }
            Err(reason) => {
                let words = format!("{} {reason}", node.path);
                mistakes.push((node.path.clone(), Mistake { at: Some(node.at), words }));
            }
        },
    }
}

/// The other way: a dollar in a value becomes two, so that it is read as it was.
pub(super) fn double_dollars(tree: &mut serde_json::Value) {
    match tree {
        serde_json::Value::String(text) => *text = text.replace('$', "$$"),
        serde_json::Value::Array(items) => items.iter_mut().for_each(double_dollars),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(double_dollars),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

struct Expanded {
    text: String,
    from_outside: bool,
}

fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), from_outside: false };
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        expanded.text.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            expanded.text.push('$');
            rest = behind;
        } else if let Some(inside) = behind.strip_prefix('{') {
            let (inside, behind) =
                inside.split_once('}').ok_or("has a `${` without its `}` (for a dollar write `$$`)")?;
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
            if !is_name(name) {
                return Err(format!(
                    "names the variable {name:?}: a name has letters, digits and _ (for a dollar write `$$`)"
                ));
            }
            match (variable(name), default) {
                (Some(value), None) => {
                    expanded.text.push_str(&value);
                    expanded.from_outside = true;
                }
                (Some(value), Some(_)) if !value.is_empty() => {
                    expanded.text.push_str(&value);
                    expanded.from_outside = true;
                }
                (_, Some(default)) => expanded.text.push_str(default),
                (None, None) => {
                    return Err(format!(
                        "names ${{{name}}}, which is not in the environment: set it, or write ${{{name}:-default}}"
                    ));
                }
            }
            rest = behind;
        } else {
            // The end of a pattern, say.
            expanded.text.push('$');
            rest = behind;
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(name: &str) -> Option<String> {
        [("HOST", "loki"), ("EMPTY", ""), ("EVIL", "x\"\nadmin: {listen: 0.0.0.0:1}")]
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    }

    fn text(text: &str) -> Result<String, String> {
        expand_text(text, &environment).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_and_their_defaults_are_filled_in() {
        for (from, to) in [
            ("http://${HOST}:3100", "http://loki:3100"),
            ("${NONE:-x}${HOST:-y}", "xloki"),
            ("${EMPTY:-full}", "full"),
            ("[${EMPTY}]", "[]"),
            ("${NONE:-}", ""),
            ("$${HOST} $5 a$", "${HOST} $5 a$"),
            ("${NONE:-a:-b}", "a:-b"),
        ] {
            assert_eq!(text(from).as_deref(), Ok(to), "{from}");
        }
    }

    #[test]
    fn what_is_not_there_or_no_name_is_a_mistake() {
        assert!(text("${NONE}").unwrap_err().starts_with("names ${NONE}, which is not in the environment"));
        assert!(text("${HOST").unwrap_err().starts_with("has a `${` without its `}`"));
        for name in ["${}", "${1A}", "${A B}", "${A:?}", "${:-x}"] {
            assert!(text(name).unwrap_err().starts_with("names the variable"), "{name}");
        }
    }

    #[test]
    fn what_comes_from_outside_stays_one_value_and_keys_are_left_alone() {
        let mut mistakes = Vec::new();
        let text = "${HOST}: ${EVIL}\nb: [\"${HOST}\", '${NONE}']";
        let mut root = super::super::tree::parse(text, &mut Vec::new());
        let root = root.as_mut().unwrap().as_mut().unwrap();
        expand(root, &environment, &mut mistakes);
        let Value::Map(entries) = &root.value else { panic!() };
        assert_eq!(entries[0].0.text, "${HOST}");
        let evil = Value::Scalar { text: environment("EVIL").unwrap(), plain: false };
        assert_eq!(entries[0].1.value, evil);
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].1.words.starts_with("b.1 names ${NONE}"), "{mistakes:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_one_without_a_dollar_is_left_as_it_is(text in "[a$\\{}:-]{0,20}") {
            let expanded = expand_text(&text, &environment).map(|expanded| expanded.text);
            prop_assert!(text.contains('$') || expanded == Ok(text));
        }
    }
}
