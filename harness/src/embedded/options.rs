//! Options of the json-file driver, with its own rules (moby, `daemon/logger/jsonfilelog`): pure.

use std::collections::BTreeMap;

/// How a log is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Bytes from which on the next entry begins a new file; never, where it is left out.
    pub(super) max_bytes: Option<u64>,
    /// Files kept, the one that is written to included.
    pub(super) max_files: u32,
    /// Whether those that are over are packed with gzip.
    pub(super) compress: bool,
}

/// Reads them.
///
/// # Errors
/// In Docker's words.
pub(super) fn rotation(options: &BTreeMap<String, String>) -> Result<Rotation, String> {
    let known = [
        "max-size",
        "max-file",
        "compress",
        "labels",
        "labels-regex",
        "env",
        "env-regex",
        "tag",
        "mode",
        "max-buffer-size",
    ];
    if let Some(unknown) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("unknown log opt '{unknown}' for json-file log driver"));
    }
    let max_bytes = options.get("max-size").map(|text| human_bytes(text)).transpose()?;
    let max_files = options.get("max-file").map_or(Ok(1), |text| {
        text.parse().map_err(|_| format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
    })?;
    if max_files < 1 {
        return Err("max-file cannot be less than 1".to_owned());
    }
    let compress = options.get("compress").map_or(Ok(false), |text| {
        text.parse().map_err(|_| format!("strconv.ParseBool: parsing \"{text}\": invalid syntax"))
    })?;
    if compress && (max_files < 2 || max_bytes.is_none()) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned());
    }
    Ok(Rotation { max_bytes, max_files, compress })
}

/// `10m` is ten million: Docker's sizes of logs are decimal (go-units, `FromHumanSize`).
fn human_bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let times = match unit {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "p" => 1e15,
        _ => return Err(invalid()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its digits have no sign, and `as` stops at the largest"
    )]
    let bytes = (number * times) as u64;
    if bytes == 0 { Err("max-size must be a positive number".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Rotation, String> {
        rotation(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn sizes_are_decimal() {
        let bytes = |text: &str| human_bytes(text).unwrap();
        assert_eq!(
            [bytes("10m"), bytes("1.5kb"), bytes("2G"), bytes("800")],
            [10_000_000, 1500, 2_000_000_000, 800]
        );
        assert!(human_bytes("ten").is_err() && human_bytes("1x").is_err() && human_bytes("0").is_err());
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        assert_eq!(read(&[]).unwrap(), Rotation { max_bytes: None, max_files: 1, compress: false });
        let all = read(&[("max-size", "1k"), ("max-file", "3"), ("compress", "true")]).unwrap();
        assert_eq!(all, Rotation { max_bytes: Some(1000), max_files: 3, compress: true });
        for wrong in [
            [("max-file", "0"), ("max-size", "1k")],
            [("compress", "true"), ("max-size", "1k")],
            [("colour", "red"), ("max-size", "1k")],
            [("max-file", "two"), ("max-size", "1k")],
        ] {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }
}
