//! Who may ask. This is the place of keys, scopes and tenants; until there are keys, only this
//! machine may ask, and of its web pages none.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::problem::{Kind, Problem};

/// What is asked of a request before its body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// The operator said that others may ask without keys.
    pub(crate) is_open: bool,
}

impl Access {
    /// Whether this request may go on.
    ///
    /// Loopback is no protection from a web page: its host name can be made to resolve to 127.0.0.1
    /// (DNS rebinding), and the browser then takes our answers for that page's. So a request must
    /// name us by number or as `localhost`.
    pub(crate) fn judge(self, parts: &Parts) -> Result<(), Problem> {
        if self.is_open || names_this_machine(parts) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Misdirected,
            "without keys this server is asked by number or as localhost, not by a host name",
        ))
    }
}

fn names_this_machine(parts: &Parts) -> bool {
    let host = match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(value)) => match value.to_str() {
            Ok(host) => host,
            Err(_) => return false,
        },
        // HTTP/1.0; no browser asks like this.
        (None, None) => return true,
    };
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let number = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || number.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, is_open: bool, may_ask: bool) {
        let request = http::Request::builder()
            .header(HOST, host)
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        assert_eq!(Access { is_open }.judge(&parts).is_ok(), may_ask, "{host}");
    }

    #[test]
    fn without_keys_a_request_must_name_this_machine() {
        check("127.0.0.1:8480", false, true);
        check("[::1]:8480", false, true);
        check("localhost", false, true);
        check("LOCALHOST:8480", false, true);
        check("rebound.example.org:8480", false, false);
        check("127.0.0.1.example.org", false, false);
        check("", false, false);
        check("api.example.org", true, true);
    }
}
