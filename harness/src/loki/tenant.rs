//! Whose push it is: the rules for `X-Scope-OrgID`.

use super::answer::Answer;

/// The only tenant, where `auth_enabled` is off.
pub const ONLY: &str = "fake";
/// Loki's bound on an id.
const BYTES_MAX: usize = 150;

/// The tenant that a header names, or the answer for one that names none.
///
/// # Errors
/// The answer of Loki: 401 without an id, 400 for one that it does not take.
pub fn named(auth_enabled: bool, header: Option<&[u8]>) -> Result<&str, Answer> {
    if !auth_enabled {
        return Ok(ONLY);
    }
    let ids = header.unwrap_or_default();
    if ids.is_empty() {
        return Err(Answer::text(401, "no org id"));
    }
    let mut ids = ids.split(|byte| *byte == b'|').map(without_subtenant);
    let id = valid(ids.next().unwrap_or_default())?;
    if ids.any(|other| other != id.as_bytes()) {
        return Err(Answer::text(400, "multiple org IDs present"));
    }
    Ok(id)
}

/// `tenant:subtenant` is the tenant's.
fn without_subtenant(id: &[u8]) -> &[u8] {
    id.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn valid(id: &[u8]) -> Result<&str, Answer> {
    let bad = id.iter().find(|byte| !byte.is_ascii_alphanumeric() && !b"!-_.*'()".contains(byte));
    if let Some(&bad) = bad {
        let (id, bad) = (String::from_utf8_lossy(id), char::from(bad));
        return Err(Answer::text(400, format!("tenant ID '{id}' contains unsupported character '{bad}'")));
    }
    if id.len() > BYTES_MAX {
        return Err(Answer::text(400, format!("tenant ID is too long: max {BYTES_MAX} characters")));
    }
    if id == b"." || id == b".." {
        return Err(Answer::text(400, "tenant ID is '.' or '..'"));
    }
    // Every byte of it was looked at above.
    str::from_utf8(id).map_err(|_| Answer::text(400, "no org id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(id: &str) -> String {
        match named(true, Some(id.as_bytes())) {
            Ok(tenant) => tenant.to_owned(),
            Err(answer) => format!("{} {}", answer.status, answer.text.unwrap_or_default()),
        }
    }

    #[test]
    fn an_id_is_checked_as_loki_does() {
        let long = "a".repeat(151);
        for (id, expected) in [
            ("team-1_a.b*'()!", "team-1_a.b*'()!"),
            ("", "401 no org id"),
            ("a|b", "400 multiple org IDs present"),
            ("a|a", "a"),
            ("a:k6", "a"),
            ("a b", "400 tenant ID 'a b' contains unsupported character ' '"),
            ("a/b", "400 tenant ID 'a/b' contains unsupported character '/'"),
            ("..", "400 tenant ID is '.' or '..'"),
            (&long, "400 tenant ID is too long: max 150 characters"),
        ] {
            assert_eq!(words(id), expected, "{id}");
        }
        assert_eq!(named(true, None), Err(Answer::text(401, "no org id")));
    }

    #[test]
    fn without_auth_the_header_says_nothing() {
        assert_eq!(named(false, Some(b"a|b")), Ok(ONLY));
    }
}
