//! What a request shows of itself: RFC 6750's header, and nothing else. A key in an address would
//! stand in every log on the way.

use fanfare_nats::key::{DeviceSecret, KeySecret, Presented};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What was shown; as far as it can be read, not whether it is good.
#[derive(Debug)]
pub(super) enum Credential {
    /// Nothing.
    None,
    /// Something that is neither a key nor a device's secret, or more than one.
    Unreadable,
    /// A key.
    Key(KeySecret),
    /// A device's secret.
    Device(DeviceSecret),
}

impl Credential {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), more) = (values.next(), values.next()) else {
            return Self::None;
        };
        let shown = value.to_str().ok().filter(|_| more.is_none());
        let shown = shown.and_then(|it| it.split_once(' '));
        let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match token.and_then(|(_, it)| Presented::parse(it.trim())) {
            None => Self::Unreadable,
            Some(Presented::Key(key)) => Self::Key(key),
            Some(Presented::Device(secret)) => Self::Device(secret),
        }
    }
}
