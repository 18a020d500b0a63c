//! Long lists in pages: at most 200 items, an opaque cursor, a `Link` to what follows.
//!
//! A cursor is the key of the last item that was shown, so a list that changes between two pages
//! neither repeats nor leaves out what did not change.

use std::fmt::Write;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::header::{CACHE_CONTROL, HeaderValue, LINK};
use http::request::Parts;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;
use crate::query::{Pairs, refuse};

/// The most items of a page, and how many there are if nobody says.
const MAX_LIMIT: usize = 200;

/// Which part of a list is wanted: `?limit=…&cursor=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    limit: usize,
    after: Option<Vec<u8>>,
}

/// `limit` and `cursor`, as the contract tells of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is read as a `Page`: this is for the contract")]
pub(crate) struct Params {
    /// Items of a page; 200 unless said
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
    /// `next_cursor` of the page before
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; absent on the last one. Send it back as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) next_cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::read(&Pairs::of(&parts.uri)?)
    }
}

impl Page {
    fn read(query: &Pairs) -> Result<Self, Problem> {
        let limit = query.get("limit").map(|it| {
            let limit = it.parse().ok().filter(|it| (1..=MAX_LIMIT).contains(it));
            limit.ok_or_else(|| refuse("`limit` is 1 to 200"))
        });
        let after = query
            .get("cursor")
            .map(|it| key_of(it).ok_or_else(|| refuse("`cursor` is none of this API's")));
        Ok(Self {
            limit: limit.transpose()?.unwrap_or(MAX_LIMIT),
            after: after.transpose()?,
        })
    }

    /// The most items of this page.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The key behind which this page begins; an unreadable one is a foreign one.
    pub(crate) fn after(&self) -> Option<&str> {
        let after = self.after.as_deref();
        after.map(|it| std::str::from_utf8(it).unwrap_or_default())
    }

    /// The same, for a list whose keys are of a kind.
    pub(crate) fn behind<K: FromStr>(&self) -> Result<Option<K>, Problem> {
        let key = self.after().map(str::parse).transpose();
        key.map_err(|_| refuse("`cursor` is none of this list's"))
    }

    /// The answer with a page that was read as one, and the key behind which the next begins.
    /// `address` is the list's own, ready to be followed by parameters.
    pub(crate) fn part<T: Serialize>(
        &self,
        address: &str,
        items: Vec<T>,
        next: Option<String>,
    ) -> Response {
        let next_cursor = next.as_deref().map(cursor_of);
        self.answer(address, Listed { items, next_cursor })
    }

    /// The answer with this page of `all`, in the order of their keys; `path` is the list's own.
    pub(crate) fn of<T: Serialize>(
        self,
        path: &str,
        all: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Response {
        let listed = self.cut(all, key);
        self.answer(&format!("{path}?"), listed)
    }

    /// This page of `all`, in the order of their keys. It is enough to give one more than a page of
    /// what stands behind [`Self::after`].
    pub(crate) fn cut<T>(&self, mut all: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
        all.sort_by_cached_key(&key);
        let is_next = |key: String| {
            let after = self.after.as_ref();
            after.is_none_or(|it| it.as_slice() < key.as_bytes())
        };
        all.retain(|it| is_next(key(it)));
        let has_more = all.len() > self.limit;
        all.truncate(self.limit);
        let next = all.last().filter(|_| has_more).map(key);
        Listed {
            items: all,
            next_cursor: next.as_deref().map(cursor_of),
        }
    }

    /// The answer with a page, and where the next one is; `address` as in [`Self::part`].
    pub(crate) fn answer<T: Serialize>(&self, address: &str, listed: Listed<T>) -> Response {
        let link = listed.next_cursor.as_ref().and_then(|cursor| {
            let limit = self.limit;
            let link = format!("<{address}limit={limit}&cursor={cursor}>; rel=\"next\"");
            HeaderValue::try_from(link).ok()
        });
        let private = [(CACHE_CONTROL, "private, no-cache")];
        let mut response = (private, axum::Json(listed)).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

/// The address of a list, to be followed by parameters, with those parameters of the same question that
/// each of its pages is asked with.
pub(crate) fn again(path: &str, asked: &Uri, names: &[&str]) -> String {
    let asked = asked.query().unwrap_or_default().split('&');
    let is_same = |pair: &&str| {
        let name = pair.split_once('=').map(|(name, _)| name);
        name.is_some_and(|it| names.contains(&it))
    };
    let same = asked.filter(is_same);
    same.fold(format!("{path}?"), |address, it| address + it + "&")
}

/// A key in hexadecimal digits.
fn cursor_of(key: &str) -> String {
    key.bytes().fold(String::new(), |mut cursor, it| {
        // Writing to a String cannot fail.
        let _ok = write!(cursor, "{it:02x}");
        cursor
    })
}

fn key_of(cursor: &str) -> Option<Vec<u8>> {
    let digit = |it: u8| {
        char::from(it)
            .to_digit(16)
            .filter(|_| !it.is_ascii_uppercase())
    };
    let digits: Option<Vec<u32>> = cursor.bytes().map(digit).collect();
    let digits = digits.filter(|it| !it.is_empty() && it.len().is_multiple_of(2))?;
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::Value;

    use super::*;

    fn read(query: &str) -> Result<Page, Problem> {
        let address = format!("/v1/x?{query}").parse().unwrap();
        Page::read(&Pairs::of(&address)?)
    }

    /// Follows the links from the first page on, and drops `gone` after the first.
    async fn walk(mut all: Vec<&'static str>, gone: &str) -> Vec<Vec<String>> {
        let (mut pages, mut query) = (Vec::new(), "limit=2".to_owned());
        loop {
            let response = read(&query)
                .unwrap()
                .of("/list", all.clone(), |it| (*it).to_owned());
            let link = response.headers().get(LINK).cloned();
            let body = to_bytes(response.into_body(), 4096).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            pages.push(serde_json::from_value(body["items"].clone()).unwrap());
            all.retain(|it| *it != gone);
            let Some(link) = link else {
                assert_eq!(body.get("next_cursor"), None);
                return pages;
            };
            let cursor = body["next_cursor"].as_str().unwrap();
            query = format!("limit=2&cursor={cursor}");
            assert_eq!(link, format!("</list?{query}>; rel=\"next\""));
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_and_leave_nothing_out() {
        let all = vec!["d", "b", "e", "a", "c"];
        let pages = walk(all.clone(), "").await;
        assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
        // The last item of a page goes away before the next page is asked for.
        let pages = walk(all, "b").await;
        assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
        assert_eq!(walk(vec!["a", "b"], "").await.len(), 1);
        assert_eq!(walk(Vec::new(), "").await, [Vec::<String>::new()]);
    }

    #[test]
    fn a_page_is_bounded_and_a_foreign_cursor_is_refused() {
        assert_eq!(read("").unwrap().limit, MAX_LIMIT);
        assert_eq!(read("limit=7&other=x").unwrap().limit, 7);
        for wrong in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=x",
            "cursor=6",
            "cursor=6G",
            "cursor=",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
