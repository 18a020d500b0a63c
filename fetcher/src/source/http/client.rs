//! One request: redirects by hand, so that each hop is admitted, and bodies within a limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::Url;

use super::super::SourceError;
use super::super::address::{Guard, is_this_machine};
use super::reply::{lower_bound, next_page, retry_after};
use crate::clock;
use crate::config::HttpConfig;
use crate::cursor::Page;

/// RFC 9110 section 15.4 asks for a limit; five is what feeds need.
const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a complete exchange brought.
#[derive(Debug)]
pub(super) struct Reply {
    /// `None`: not modified.
    pub(super) body: Option<Bytes>,
    pub(super) page: Page,
    pub(super) next: Option<Url>,
    pub(super) lower_bound: Option<Duration>,
    /// Where it was for good, if every hop was permanent.
    pub(super) moved_to: Option<Url>,
}

/// An exchange that brought nothing, and how long the publisher asks to wait.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SourceError,
    pub(super) wait: Option<Duration>,
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { error, wait: None }
    }
}

/// The clients of one input.
#[derive(Debug)]
pub(super) struct Exchange {
    /// For this machine: never through a proxy.
    direct: Client,
    /// For everything else: through the system's proxies, if there are any.
    outward: Client,
    guard: Guard,
    headers: HeaderMap,
    timeout: Duration,
    max_bytes: usize,
}

impl Exchange {
    pub(super) fn new(input: &HttpConfig, agent: &str) -> Result<Self, SourceError> {
        let guard = Guard::new(input.allow_private);
        let builder = || {
            Client::builder()
                .user_agent(agent)
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(1)
                .dns_resolver(Arc::new(guard.clone()))
        };
        let direct = builder()
            .no_proxy()
            .build()
            // A machine without any certificate authority can still poll itself in plain text.
            .or_else(|_| builder().no_proxy().tls_certs_only([]).build())
            .map_err(SourceError::Http)?;
        let outward = builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())
            .map_err(SourceError::Http)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &input.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| SourceError::Address)?;
            let value = value.text().ok_or(SourceError::Address)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| SourceError::Address)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            direct,
            outward,
            guard,
            headers,
            timeout: input.timeout.0,
            max_bytes: input.max_bytes,
        })
    }

    /// Gets a page, conditionally if something is known of it.
    pub(super) async fn get(&self, url: &Url, known: Option<&Page>) -> Result<Reply, Failure> {
        match tokio::time::timeout(self.timeout, self.follow(url, known)).await {
            Ok(result) => result,
            Err(_) => Err(SourceError::TimedOut(self.timeout).into()),
        }
    }

    async fn follow(&self, start: &Url, known: Option<&Page>) -> Result<Reply, Failure> {
        let mut url = start.clone();
        let mut is_permanent = true;
        for n_hops in 0..=MAX_REDIRECTS {
            let response = self.send(&url, start, known).await?;
            let status = response.status();
            if !is_redirect(status) {
                let moved_to = (n_hops > 0 && is_permanent).then(|| url.clone());
                return self.read(response, &url, moved_to).await;
            }
            is_permanent &= matches!(
                status,
                StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
            );
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|it| it.to_str().ok());
            url = target
                .and_then(|it| url.join(it).ok())
                .filter(|it| matches!(it.scheme(), "http" | "https"))
                // Never from an encrypted to an open connection.
                .filter(|it| it.scheme() == "https" || start.scheme() == "http")
                .ok_or(SourceError::Redirect)?;
        }
        Err(SourceError::Redirect.into())
    }

    async fn send(
        &self,
        url: &Url,
        start: &Url,
        known: Option<&Page>,
    ) -> Result<Response, SourceError> {
        self.guard.admit(url)?;
        let client = if is_this_machine(url) {
            &self.direct
        } else {
            &self.outward
        };
        let mut request = client.get(url.clone());
        // Tokens are for the configured origin alone.
        if url.origin() == start.origin() {
            request = request.headers(self.headers.clone());
        }
        for (name, value) in [
            (IF_NONE_MATCH, known.and_then(|it| it.etag.as_ref())),
            (
                IF_MODIFIED_SINCE,
                known.and_then(|it| it.last_modified.as_ref()),
            ),
        ] {
            if let Some(value) = value.and_then(|it| HeaderValue::from_str(it).ok()) {
                request = request.header(name, value);
            }
        }
        request.send().await.map_err(failure_of)
    }

    async fn read(
        &self,
        response: Response,
        url: &Url,
        moved_to: Option<Url>,
    ) -> Result<Reply, Failure> {
        let status = response.status();
        let headers = response.headers().clone();
        let text = |name| {
            headers
                .get(name)
                .and_then(|it| it.to_str().ok())
                .map(str::to_owned)
        };
        let mut reply = Reply {
            body: None,
            page: Page {
                etag: text(ETAG),
                last_modified: text(LAST_MODIFIED),
                ..Page::default()
            },
            next: next_page(&headers, url),
            lower_bound: lower_bound(&headers),
            moved_to,
        };
        match status {
            StatusCode::NOT_MODIFIED => Ok(reply),
            StatusCode::OK => {
                let body = self.body(response).await?;
                reply.page.hash = crate::cursor::hash(&body);
                reply.page.next = reply.next.as_ref().map(Url::to_string);
                reply.body = Some(body);
                Ok(reply)
            }
            StatusCode::GONE => Err(SourceError::Gone.into()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(Failure {
                error: SourceError::Throttled { status },
                wait: retry_after(&headers, clock::now()),
            }),
            _ => Err(Failure {
                error: SourceError::Status(status),
                wait: retry_after(&headers, clock::now()),
            }),
        }
    }

    /// The whole body, decompressed. One that ends early is an error of the transport.
    async fn body(&self, mut response: Response) -> Result<Bytes, SourceError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failure_of)? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(SourceError::TooLarge {
                    limit: self.max_bytes,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The error without its address, whose query may hold a key. A refusal of ours inside it is told
/// as such.
fn failure_of(error: reqwest::Error) -> SourceError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(it) = cause {
        if let Some(SourceError::Private { host }) = it.downcast_ref() {
            return SourceError::Private { host: host.clone() };
        }
        cause = it.source();
    }
    SourceError::Http(error.without_url())
}
