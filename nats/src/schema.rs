//! Versions of stored shapes. Fields that nobody here knows are ignored, so a shape may grow without a
//! new number; a number that is not known means that a later version wrote what this one cannot
//! judge. It is left for a later version: refused loudly, tried again, never given up.

use serde::Deserialize;

#[derive(Deserialize)]
struct Numbered {
    schema: u32,
}

/// The schema of stored JSON if it is later than the latest that is known here; whatever else the
/// bytes may hold.
pub(crate) fn later_than(latest: u32, bytes: &[u8]) -> Option<u32> {
    let numbered: Numbered = serde_json::from_slice(bytes).ok()?;
    (numbered.schema > latest).then_some(numbered.schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<u32>) {
        assert_eq!(later_than(2, bytes.as_bytes()), expected, "{bytes}");
    }

    #[test]
    fn only_a_later_number_is_a_later_version() {
        check(r#"{"schema":3,"everything":{"else":[]}}"#, Some(3));
        check(r#"{"schema":2}"#, None);
        check(r#"{"schema":0}"#, None);
        check(r#"{"schema":"3"}"#, None);
        check(r#"{"schema":-3}"#, None);
        check(r#"{"other":3}"#, None);
        check(r#"{"schema":3"#, None);
    }
}
