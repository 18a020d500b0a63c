//! The API that is asked, and what it says when it refuses.
#![expect(
    clippy::doc_markdown,
    reason = "comments on flags are help texts, shown as they are"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fanfare_nats_server::Environment;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use url::Url;

use crate::config::Config;
use crate::exit::Failure;

const KEY: &str = "FANFARE_API_KEY";
/// Where a connection is not made by then, nobody listens.
const CONNECT: Duration = Duration::from_secs(10);
/// Of a refusal, so much is read: a problem document is far smaller.
const MOST: usize = 64 * 1024;

#[derive(Args)]
pub(super) struct Flags {
    /// The API [default: where `[api] listen` says, on this machine]
    #[arg(long, value_name = "URL", help_heading = "API")]
    url: Option<Url>,
    /// File with the secret of a key, as `fanfare keys create` prints it [env: FANFARE_API_KEY, the
    /// secret itself]
    #[arg(long, value_name = "FILE", help_heading = "API")]
    key_file: Option<PathBuf>,
}

/// Where to ask, and as whom.
pub(super) struct Server {
    client: Client,
    url: Url,
    key: Option<HeaderValue>,
}

impl Flags {
    pub(super) fn server(
        self,
        config: &Config,
        environment: &Environment,
    ) -> Result<Server, Failure> {
        let url = match self.url {
            Some(url) => url,
            None => usual(&config.api.listen)?,
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::Usage(
                "--url: write it as http://host:port".to_owned(),
            ));
        }
        let secret =
            match self.key_file {
                Some(file) => {
                    let text = std::fs::read_to_string(&file);
                    Some(text.with_context(|| {
                        format!("the key file {} cannot be read", file.display())
                    })?)
                }
                None => environment.text(KEY).map(str::to_owned),
            };
        let key = secret.map(|it| bearer(it.trim())).transpose()?;
        let client = Client::builder()
            .connect_timeout(CONNECT)
            // A key is for whoever was named.
            .redirect(reqwest::redirect::Policy::none());
        let client = client.build().context("no HTTP client can be made")?;
        Ok(Server { client, url, key })
    }
}

/// Where the API of this machine's configuration listens.
fn usual(listen: &str) -> Result<Url, Failure> {
    let unknown =
        || Failure::Usage("name the API: --url http://host:port (`[api] listen` does not)".into());
    let address: SocketAddr = listen.parse().map_err(|_| unknown())?;
    if address.port() == 0 {
        return Err(unknown());
    }
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(ip, address.port()));
    Url::parse(&url).map_err(|_| unknown())
}

fn bearer(secret: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::try_from(format!("Bearer {secret}"));
    // The text of it is not repeated.
    let mut value = value.map_err(|_| Failure::Usage("that key is no secret of one".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Server {
    /// A request to `path` of it.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let base = self.url.as_str().trim_end_matches('/');
        let request = self.client.request(method, format!("{base}{path}"));
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
    }

    /// Sends it, and returns what is good.
    ///
    /// # Errors
    /// `NoServer` where nobody answers; what the API said where it refuses.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = request.send().await;
        let answer = answer.map_err(|error| {
            let error = anyhow::Error::from(error.without_url());
            let at = format!("the API at {} does not answer", self.shown());
            Failure::NoServer(error.context(at))
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem = problem(answer).await;
        let hint = match status.as_u16() {
            401 => "; name a key: --key-file FILE or FANFARE_API_KEY",
            403 => "; `fanfare keys list` shows what a key may do",
            404 => "; is it a fanfare API of this version?",
            _ => "",
        };
        let why = problem.unwrap_or_else(|| "no reason given".to_owned());
        Err(anyhow::anyhow!("the API refuses ({status}): {why}{hint}").into())
    }

    /// Where it is, without a user that may stand in it.
    fn shown(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// What a problem document says, in a line.
async fn problem(mut answer: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > MOST {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    reason(&serde_json::from_slice(&body).ok()?)
}

/// The reason that a problem document gives: the fields it names, or else its sentence.
pub(super) fn reason(problem: &Value) -> Option<String> {
    let text = |of: &Value, name: &str| of.get(name)?.as_str().map(str::to_owned);
    let fields = problem.get("errors").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(|field| {
        let (pointer, detail) = (text(field, "pointer")?, text(field, "detail")?);
        Some(format!("{pointer} {detail}"))
    });
    let fields: Vec<_> = fields.collect();
    if fields.is_empty() {
        return text(problem, "detail").or_else(|| text(problem, "title"));
    }
    Some(fields.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(listen: &str, expected: Option<&str>) {
        let found = usual(listen).ok().map(|it| it.to_string());
        assert_eq!(found.as_deref(), expected, "{listen}");
    }

    #[test]
    fn the_api_of_this_machine_is_where_it_listens() {
        check("127.0.0.1:8480", Some("http://127.0.0.1:8480/"));
        check("0.0.0.0:80", Some("http://127.0.0.1/"));
        check("[::]:8480", Some("http://127.0.0.1:8480/"));
        check("10.0.0.7:8480", Some("http://10.0.0.7:8480/"));
        check("127.0.0.1:0", None);
        check("here", None);
    }

    #[test]
    fn a_reason_names_all_fields() {
        let problem = json!({"title": "t", "detail": "two fields", "errors": [
            {"pointer": "/id", "detail": "is missing"}, {"pointer": "/app", "detail": "is no app"},
        ]});
        let expected = "/id is missing; /app is no app";
        assert_eq!(reason(&problem).as_deref(), Some(expected));
        assert_eq!(reason(&json!({"title": "gone"})).as_deref(), Some("gone"));
        assert_eq!(reason(&json!([])), None);
    }
}
