//! Names that differ only in their numbers, made one: three hundred log files are one kind of file.

use std::fmt::Write as _;

/// A word of this many hexadecimal digits or more is an id (Docker's short ones have 12), so that it is one number
/// whichever letters it holds.
const ID_MIN: usize = 12;
/// Characters of a name that are kept.
const LONGEST: usize = 200;

/// The pattern of a name, as a shell would write it: `*` for each number and each id. What can't be printed becomes
/// `?`, and a name beyond 200 characters is cut.
#[must_use]
pub fn fold(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if word == 0 {
            push(&mut pattern, if first.is_control() { '?' } else { first });
            rest = rest.get(first.len_utf8()..).unwrap_or("");
        } else {
            let (head, tail) = rest.split_at(word);
            fold_word(&mut pattern, head);
            rest = tail;
        }
    }
    match pattern.char_indices().nth(LONGEST) {
        None => pattern,
        Some((cut, _)) => {
            pattern.truncate(cut);
            write!(pattern, "…").unwrap_or_default();
            pattern
        }
    }
}

/// A word has letters and digits of ASCII alone.
fn fold_word(pattern: &mut String, word: &str) {
    if is_id(word) {
        push(pattern, '*');
        return;
    }
    word.chars().for_each(|c| push(pattern, if c.is_ascii_digit() { '*' } else { c }));
}

fn is_id(word: &str) -> bool {
    let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit());
    hexadecimal && word.len() >= ID_MIN && word.contains(|c: char| c.is_ascii_digit())
}

/// Two stars beside each other say no more than one.
fn push(pattern: &mut String, c: char) {
    if c != '*' || !pattern.ends_with('*') {
        pattern.push(c);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_and_numbers_are_left_out() {
        let id = "4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2eabcd";
        let log = format!("/var/lib/docker/containers/{id}/{id}-json.log.3");
        assert_eq!(fold(&log), "/var/lib/docker/containers/*/*-json.log.*");
        assert_eq!(fold("/tmp/#8812 x"), "/tmp/#* x");
        assert_eq!(fold("tokio-runtime-w"), "tokio-runtime-w");
        assert_eq!(fold("worker-12"), "worker-*");
        assert_eq!(fold("/run/facade/added\n"), "/run/facade/added?");
    }

    /// Whether a text is one of those that the pattern stands for, by the rules of a shell.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                matches(rest, text) || text.split_first().is_some_and(|(_, text)| matches(pattern, text))
            }
            (Some(('?', rest)), Some((_, text))) => matches(rest, text),
            (Some((c, rest)), Some((other, text))) => c == other && matches(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_its_name_has_no_digit_and_is_its_own_pattern(name in "\\PC{0,60}|[a-f0-9/._*-]{0,40}") {
            let pattern = fold(&name);
            let (as_chars, name_chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert!(matches(&as_chars, &name_chars), "{pattern} is not {name}");
            prop_assert!(!pattern.contains(|c: char| c.is_ascii_digit()));
            prop_assert!(as_chars.len() <= name_chars.len());
            prop_assert_eq!(fold(&pattern), pattern);
        }

        #[test]
        fn names_that_differ_in_their_numbers_alone_have_one_pattern(
            parts in proptest::collection::vec("[g-z/._-]{1,6}", 1..5),
            one in 0_u64.., other in 0_u64..,
        ) {
            let with = |number: u64| parts.join(&number.to_string());
            prop_assert_eq!(fold(&with(one)), fold(&with(other)));
        }

        #[test]
        fn names_that_differ_in_their_ids_alone_have_one_pattern(
            one in "[a-f0-9]{31}[0-9]", other in "[0-9][a-f0-9]{63}", rest in "[g-z/.-]{0,9}",
        ) {
            prop_assert_eq!(fold(&format!("/{one}/{rest}")), fold(&format!("/{other}/{rest}")));
        }

        #[test]
        fn any_text_is_folded_within_the_bound(name in any::<String>(), times in 1_usize..40) {
            prop_assert!(fold(&name.repeat(times)).chars().count() <= LONGEST + 1);
        }
    }
}
