//! Secrets and names that are planted, and looked for where they must not be: whole, in parts, and in
//! other spellings.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// So much of a secret is already too much.
const PART: usize = 12;

/// Something that must not be told.
#[derive(Clone, Debug)]
pub struct Canary {
    /// What it is, for people.
    pub what: String,
    /// Any of these gives it away.
    needles: Vec<String>,
}

impl Canary {
    /// A text of which no end may be told, in plain, hexadecimal or base64.
    ///
    /// # Panics
    /// If it is too short to be found for sure.
    pub fn new(what: &str, text: &str) -> Self {
        assert!(text.is_ascii() && text.len() >= PART, "{what}");
        let hex = hex(text);
        let mut needles = vec![
            text[..PART].to_owned(),
            text[text.len() - PART..].to_owned(),
            hex[..2 * PART].to_owned(),
        ];
        // Its letters fall differently where other text stands before it.
        for (before, n_touched) in ["", "-", "--"].iter().zip([0, 2, 3]) {
            let written = STANDARD_NO_PAD.encode(format!("{before}{text}"));
            needles.push(written[n_touched..n_touched + PART].to_owned());
        }
        let what = what.to_owned();
        Self { what, needles }
    }

    fn is_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut needles = self.needles.iter();
        needles.any(|it| text.contains(&it.to_ascii_lowercase()))
    }
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, it| {
        let _always = write!(all, "{it:02x}");
        all
    })
}

/// Where it was looked, and what stood there, line by line.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// What stood there.
    pub lines: Vec<String>,
}

impl Place {
    /// Such a place.
    pub fn new(name: &str, lines: Vec<String>) -> Self {
        let name = name.to_owned();
        Self { name, lines }
    }
}

/// What was found where it must not be, with the line.
pub fn scan(canaries: &[Canary], places: &[Place]) -> Vec<String> {
    let mut hits = Vec::new();
    for place in places {
        for line in &place.lines {
            let found = canaries.iter().filter(|it| it.is_in(line));
            hits.extend(found.map(|it| format!("{} in {}: {line}", it.what, place.name)));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sesame-open-5d1e-0123456789";

    fn n_found(line: &str) -> usize {
        let place = Place::new("log", vec!["nothing".to_owned(), line.to_owned()]);
        scan(&[Canary::new("secret", SECRET)], &[place]).len()
    }

    #[test]
    fn a_secret_is_found_in_any_spelling_and_in_parts() {
        let inside = format!("{{\"error\":\"no {SECRET}\"}}");
        let in_base64 = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{SECRET}"));
        let hex = hex(SECRET).to_uppercase();
        for line in [
            &inside,
            &SECRET[..14],
            &SECRET[10..],
            &hex,
            &in_base64(""),
            &in_base64("fanfare:"),
            &in_base64("a"),
            &SECRET.to_uppercase(),
        ] {
            assert_eq!(n_found(line), 1, "{line}");
        }
        assert_eq!(n_found("sesame"), 0);
    }
}
