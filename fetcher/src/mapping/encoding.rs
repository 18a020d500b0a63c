//! Feeds in whatever encoding → text.
//!
//! The XML parser decodes too, but panics when a declaration comes late (quick-xml 0.42,
//! `set_encoding() called after prefix buffer was drained`, seen with a recorded malformed
//! feed). It is given UTF-8 without a declaration, so that it has nothing to decide.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The text of a feed, without byte-order mark and XML declaration. Bytes that mean nothing in the
/// feed's encoding become U+FFFD.
pub(super) fn to_text(bytes: &[u8]) -> String {
    let text = decode(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let start = text.trim_start();
    let declared = start.strip_prefix("<?xml");
    let text = declared
        .and_then(|it| it.split_once("?>"))
        .map_or(text, |(_, after)| after);
    // A later one is no declaration, only an instruction: its name is another then.
    text.replace("<?xml", "<?XML")
}

fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => return utf_32(rest, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, rest @ ..] => return utf_32(rest, u32::from_be_bytes),
        _ => {}
    }
    let encoding = match bytes {
        // A mark decides, and after it the width of the first character (XML 1.0, appendix F).
        [0xff, 0xfe, ..] | [b'<', 0, ..] => UTF_16LE,
        [0xfe, 0xff, ..] | [0, b'<', ..] => UTF_16BE,
        [0xef, 0xbb, 0xbf, ..] => UTF_8,
        _ => declared(bytes).unwrap_or(UTF_8),
    };
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// `<?xml version="1.0" encoding="…"?>`
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..bytes.len().min(256))?;
    let head: String = head.iter().map(|it| char::from(*it)).collect();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split_once("?>")?.0;
    let value = declaration
        .split_once("encoding")?
        .1
        .trim_start()
        .strip_prefix('=')?;
    let label = value.trim_start().split(['"', '\'']).nth(1)?;
    // Whoever can write the declaration in single bytes does not write UTF-16.
    Encoding::for_label(label.trim().as_bytes()).filter(|it| *it != UTF_16LE && *it != UTF_16BE)
}

fn utf_32(bytes: &[u8], read: fn([u8; 4]) -> u32) -> String {
    let (characters, _) = bytes.as_chunks::<4>();
    let character = |it: &[u8; 4]| char::from_u32(read(*it)).unwrap_or(char::REPLACEMENT_CHARACTER);
    characters.iter().map(character).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wide(text: &str, mark: bool) -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    #[test]
    fn a_late_declaration_decides_nothing() {
        let late = "<?xml version='1.0'?>\u{1}<?xml version='1.0' encoding='iso-8859-1'?><t>é</t>";
        let text = to_text(late.as_bytes());
        assert!(!text.contains("<?xml"), "{text}");
    }

    #[test]
    fn every_encoding_ends_as_the_same_text() {
        let xml = "<?xml version='1.0' encoding='utf-16'?><t>é</t>";
        assert_eq!(to_text(&wide(xml, true)), "<t>é</t>");
        assert_eq!(to_text(&wide(xml, false)), "<t>é</t>");
        assert_eq!(
            to_text(b"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><t>\xe9</t>"),
            "<t>é</t>"
        );
        assert_eq!(
            to_text("\u{feff}<?xml version='1.0'?><t>é</t>".as_bytes()),
            "<t>é</t>"
        );
        assert_eq!(
            to_text("<?xml encoding='utf-16'?><t>é</t>".as_bytes()),
            "<t>é</t>"
        );
        assert_eq!(
            to_text("<?xml encoding='nonsense'?><t>é</t>".as_bytes()),
            "<t>é</t>"
        );
        let wider: Vec<u8> = "\u{feff}<t>é</t>"
            .chars()
            .flat_map(|it| u32::from(it).to_be_bytes())
            .collect();
        assert_eq!(to_text(&wider), "<t>é</t>");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = to_text(&bytes);
            let _ = super::super::feed::read_feed(&bytes);
        }
    }
}
