//! What a device shows: one line per screen id, replaced in place.
//!
//! The model of a well-behaved app: a push with a known screen id replaces that line, unless the
//! line already shows a higher level.

use std::collections::HashMap;

use crate::ledger::Request;

/// One line on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Event shown.
    pub event: Option<String>,
    /// Its level.
    pub level: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// How many pushes this line has shown, the first included.
    pub n_shown: u32,
    /// Ledger sequence of the push shown.
    pub seq: u64,
}

/// All devices, by token.
#[derive(Debug, Clone, Default)]
pub struct Screens {
    devices: HashMap<String, HashMap<String, Line>>,
    n_lowered: u64,
}

impl Screens {
    /// Takes in an accepted push. Without a screen id each push is a line of its own.
    pub fn show(&mut self, push: &Request) {
        let screen = push
            .screen
            .clone()
            .unwrap_or_else(|| format!("push {}", push.seq));
        let lines = self.devices.entry(push.token.clone()).or_default();
        let shown = lines.get(&screen);
        if shown.is_some_and(|line| is_lower(push.level.as_deref(), line.level.as_deref())) {
            self.n_lowered += 1;
            return;
        }
        let line = Line {
            event: push.event.clone(),
            level: push.level.clone(),
            title: push.title.clone(),
            n_shown: shown.map_or(0, |line| line.n_shown) + 1,
            seq: push.seq,
        };
        lines.insert(screen, line);
    }

    /// The line of `screen` on the device of `token`.
    pub fn line(&self, token: &str, screen: &str) -> Option<&Line> {
        self.devices.get(token)?.get(screen)
    }

    /// All lines of a device by screen id, in no order.
    pub fn lines(&self, token: &str) -> impl Iterator<Item = (&str, &Line)> {
        self.devices
            .get(token)
            .into_iter()
            .flatten()
            .map(|(screen, line)| (screen.as_str(), line))
    }

    /// Tokens that show something.
    pub fn n_devices(&self) -> usize {
        self.devices.len()
    }

    /// Pushes accepted although a higher level of the same screen id was shown: 0 is right.
    pub fn n_lowered(&self) -> u64 {
        self.n_lowered
    }
}

/// Levels compare as numbers; what is no number has no order.
fn is_lower(level: Option<&str>, shown: Option<&str>) -> bool {
    let number = |level: Option<&str>| level.and_then(|it| it.parse::<f64>().ok());
    matches!((number(level), number(shown)), (Some(level), Some(shown)) if level < shown)
}

#[cfg(test)]
mod tests {
    use super::is_lower;

    #[test]
    fn only_numbers_have_an_order() {
        assert!(is_lower(Some("4.5"), Some("6")));
        assert!(!is_lower(Some("10"), Some("9")));
        assert!(!is_lower(Some("a"), Some("b")));
        assert!(!is_lower(None, Some("6")));
    }
}
