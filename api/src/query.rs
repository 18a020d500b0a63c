//! What stands behind the question mark.

use std::borrow::Cow;

use axum::extract::Query;
use http::Uri;
use jiff::Timestamp;

use crate::problem::{Kind, Problem};

/// Names and values, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads an address.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let query = query.map_err(|_| refuse("the query is not readable"))?;
        Ok(Self(query.0))
    }

    /// The values of a name that may be given several times.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + Clone {
        let pairs = self.0.iter().filter(move |(it, _)| it == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The value of a name, the last one if there are several.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().rev().find(|(it, _)| it == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// The value of a name that is a time.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let time = self.get(name).map(|it| {
            let detail = || refuse(format!("`{name}` is a time as in 2026-11-21T12:00:00Z"));
            time(it).ok_or_else(detail)
        });
        time.transpose()
    }
}

/// A time as people write it into an address, where a plus that nobody escaped is a space.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    text.replace(' ', "+").parse().ok()
}

/// The refusal of a request for what its address or its head says.
pub(crate) fn refuse(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Pairs {
        Pairs::of(&format!("/v1/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn of_several_values_the_last_one_counts_unless_all_are_asked_for() {
        let read = pairs("a=1&b=2&a=3%26");
        assert_eq!(read.get("a"), Some("3&"));
        assert_eq!(read.all("a").collect::<Vec<_>>(), ["1", "3&"]);
        assert_eq!(read.get("c"), None);
    }

    #[test]
    fn a_plus_that_nobody_escaped_is_part_of_a_time() {
        let expected = "2026-11-21T10:00:00Z".parse().unwrap();
        for text in ["2026-11-21T12:00:00+02:00", "2026-11-21T12:00:00%2B02:00"] {
            let read = pairs(&format!("since={text}"));
            assert_eq!(read.time("since").unwrap(), Some(expected));
        }
        assert!(pairs("since=noon").time("since").is_err());
        assert_eq!(pairs("").time("since").unwrap(), None);
    }
}
