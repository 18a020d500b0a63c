//! Which letters are meant: `?reason=…&app=…&event=…`.

use axum::extract::FromRequestParts;
use fanfare_nats::dead::{Kind as Reason, Wanted};
use fanfare_nats::{AppName, EventId};
use http::request::Parts;

use crate::problem::Problem;
use crate::query::{Pairs, refuse};

/// What narrows the list down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) wanted: Wanted,
}

impl<S: Send + Sync> FromRequestParts<S> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::read(&Pairs::of(&parts.uri)?)
    }
}

impl Filter {
    fn read(query: &Pairs) -> Result<Self, Problem> {
        let kind = query.get("reason").map(|it| {
            let detail = "`reason` is `refused`, `invalid`, `poison` or `advisory`";
            Reason::parse(it).ok_or_else(|| refuse(detail))
        });
        let app = query
            .get("app")
            .map(|it| AppName::parse(it).map_err(|_| refuse("`app` is no app's name")));
        let event = query
            .get("event")
            .map(|it| EventId::parse(it).ok_or_else(|| refuse("`event` is no event's id")));
        let wanted = Wanted {
            kind: kind.transpose()?,
            app: app.transpose()?,
            event: event.transpose()?,
            since: None,
        };
        Ok(Self { wanted })
    }

    /// The same as the beginning of a query. The values are of alphabets that need no escape.
    pub(crate) fn query(&self) -> String {
        let Wanted {
            kind,
            app,
            event,
            since: _,
        } = &self.wanted;
        let mut query = String::new();
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                query.extend([name, "=", &value, "&"]);
            }
        };
        say("reason", kind.map(|it| it.as_str().to_owned()));
        say("app", app.as_ref().map(ToString::to_string));
        say("event", event.as_ref().map(ToString::to_string));
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_and_written_and_a_wrong_one_refused() {
        let read = |query: &str| {
            let address = format!("/v1/dead-letters?{query}").parse().unwrap();
            Filter::read(&Pairs::of(&address)?)
        };
        let id = "a".repeat(32);
        let filter = read(&format!("limit=2&event={id}&reason=poison&app=ios")).unwrap();
        assert_eq!(filter.query(), format!("reason=poison&app=ios&event={id}&"));
        assert_eq!(read("").unwrap().query(), "");
        for wrong in ["reason=poisn", "app=My+App", "event=us7000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
