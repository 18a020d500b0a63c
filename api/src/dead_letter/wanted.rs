//! Which letters are meant: `?reason=…&app=…&event=…`.

use axum::extract::{FromRequestParts, Query};
use fanfare_nats::dead::{Kind as Reason, Wanted};
use fanfare_nats::{AppName, EventId};
use http::request::Parts;

use crate::problem::{Kind, Problem};

/// What narrows the list down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) wanted: Wanted,
}

impl<S: Send + Sync> FromRequestParts<S> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Query(query)) = query else {
            return Err(refuse("the query is not readable"));
        };
        Self::read(&query)
    }
}

fn refuse(detail: &'static str) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

impl Filter {
    fn read(query: &[(String, String)]) -> Result<Self, Problem> {
        let mut wanted = Wanted::default();
        for (name, value) in query {
            match name.as_str() {
                "reason" => {
                    let reason = Reason::parse(value).ok_or_else(|| {
                        refuse("`reason` is `refused`, `invalid`, `poison` or `advisory`")
                    })?;
                    wanted.kind = Some(reason);
                }
                "app" => {
                    let app = AppName::parse(value);
                    wanted.app = Some(app.map_err(|_| refuse("`app` is no app's name"))?);
                }
                "event" => {
                    let event = EventId::parse(value);
                    let event = event.ok_or_else(|| refuse("`event` is no event's id"))?;
                    wanted.event = Some(event);
                }
                _ => {}
            }
        }
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
        let read = |pairs: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            Filter::read(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        let id = "a".repeat(32);
        let all = [
            ("limit", "2"),
            ("event", &id),
            ("reason", "poison"),
            ("app", "ios"),
        ];
        let filter = read(&all).unwrap();
        assert_eq!(filter.query(), format!("reason=poison&app=ios&event={id}&"));
        assert_eq!(read(&[]).unwrap().query(), "");
        for wrong in [("reason", "poisn"), ("app", "My App"), ("event", "us7000")] {
            assert!(read(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
