//! Every operation of the contract × everybody who could ask, so that no route is forgotten.
//!
//! Who may do what is read from `security` of `/openapi.json`, what a good answer is from
//! `responses`. How an operation is asked well stands in `matrix/requests.rs`; an operation without
//! a row there makes the test fail. Whoever may not gets the one right refusal, and leaves the device
//! as it was.

mod callers;
mod recorded;
mod requests;
mod stage;

use reqwest::Method;
use serde_json::Value;

use self::callers::{Caller, Who};
use self::requests::good;
use self::stage::Stage;
use crate::harness::Answer;

/// What somebody gets of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// One of the good statuses of the operation.
    Good,
    /// 401, with this error in its challenge.
    Unauthenticated(Option<&'static str>),
    /// 403.
    Forbidden,
    /// As in a place where nothing is: 404 for what is another tenant's, and nothing of it shown.
    Apart,
}

/// One operation of the document.
struct Operation {
    id: String,
    method: Method,
    path: String,
    good: Vec<u16>,
    /// Scopes that may; nobody is asked if there are neither scopes nor a device.
    scopes: Vec<String>,
    is_for_device: bool,
    /// Only keys of the tenant `main` may.
    is_of_main: bool,
}

impl Operation {
    fn read(method: Method, path: &str, document: &Value) -> Self {
        let security = document["security"].as_array().cloned().unwrap_or_default();
        let scopes = security.iter().filter_map(|it| it["key"].as_array());
        let scopes = scopes
            .flatten()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect();
        let statuses = document["responses"].as_object().unwrap().keys();
        let statuses = statuses.map(|it| it.parse::<u16>().unwrap());
        let id = document["operationId"].as_str();
        Self {
            id: id
                .unwrap_or_else(|| panic!("{method} {path} needs an operation_id"))
                .to_owned(),
            method,
            path: path.to_owned(),
            good: statuses.filter(|it| *it < 400).collect(),
            scopes,
            is_of_main: document["x-tenant"] == "main",
            is_for_device: security.iter().any(|it| it["device"].is_array()),
        }
    }

    fn verdict(&self, who: Who) -> Verdict {
        let invalid = Verdict::Unauthenticated(Some("invalid_token"));
        match who {
            _ if self.scopes.is_empty() && !self.is_for_device => Verdict::Good,
            Who::Nobody => Verdict::Unauthenticated(None),
            Who::Ended => invalid,
            Who::OfAnotherTenant(_) if self.is_of_main => Verdict::Forbidden,
            Who::OfAnotherTenant(right) => match self.verdict(Who::Key(right)) {
                Verdict::Good => Verdict::Apart,
                refused @ (Verdict::Unauthenticated(_) | Verdict::Forbidden | Verdict::Apart) => {
                    refused
                }
            },
            Who::Key(right) if self.scopes.iter().any(|it| it == right.as_str()) => Verdict::Good,
            Who::Itself if self.is_for_device => Verdict::Good,
            Who::AnotherDevice if self.is_for_device => invalid,
            Who::Key(_) | Who::KeyForOtherTopics | Who::Itself | Who::AnotherDevice => {
                Verdict::Forbidden
            }
        }
    }

    fn check(&self, who: &str, verdict: Verdict, answer: &Answer) {
        let cell = format!("{} ({} {}) as {who}", self.id, self.method, self.path);
        let status = answer.status.as_u16();
        let challenge = answer.header("www-authenticate");
        match verdict {
            Verdict::Good => assert!(
                self.good.contains(&status),
                "{cell}: one of {:?}, not {answer:?}",
                self.good
            ),
            Verdict::Apart => {
                let is_shared = self.id == "showApp";
                let is_there = self.path.contains('{') && self.method.is_safe() && !is_shared;
                let expected = if is_there { 404..=404 } else { 200..=404 };
                let is_refused = status == 401 || status == 403;
                let is_expected = expected.contains(&status) && !is_refused;
                assert!(is_expected, "{cell}: {answer:?}");
                if self.method.is_safe() {
                    let told = answer.body.to_string();
                    assert!(!told.contains(stage::DEVICE), "{cell}: {told}");
                    assert!(!told.contains(stage::TOPIC), "{cell}: {told}");
                }
            }
            Verdict::Unauthenticated(error) => {
                assert_eq!(status, 401, "{cell}: {answer:?}");
                let named = error.map(|it| format!(", error=\"{it}\""));
                let expected = format!("Bearer realm=\"fanfare\"{}", named.unwrap_or_default());
                assert_eq!(challenge, expected, "{cell}");
            }
            Verdict::Forbidden => {
                assert_eq!(status, 403, "{cell}: {answer:?}");
                let start = "Bearer realm=\"fanfare\", error=\"insufficient_scope\", scope=\"";
                let told = challenge
                    .strip_prefix(start)
                    .and_then(|it| it.strip_suffix('"'));
                let told = told.unwrap_or_else(|| panic!("{cell}: {challenge}"));
                for scope in told.split(' ') {
                    assert!(
                        self.scopes.iter().any(|it| it == scope),
                        "{cell}: {scope} would not help"
                    );
                }
            }
        }
        if !matches!(verdict, Verdict::Good | Verdict::Apart) && self.method != Method::HEAD {
            let code = if status == 401 {
                "unauthenticated"
            } else {
                "forbidden"
            };
            answer.check_problem(status, code);
        }
    }

    /// Asks, as somebody whose device is as it was registered.
    async fn ask(&self, stage: &Stage, caller: &Caller) -> Answer {
        let Some(request) = good(&self.id, stage).await else {
            panic!(
                "the operation {} ({} {}) is new: say in api/tests/api/matrix/requests.rs how it \
                 is asked well",
                self.id, self.method, self.path
            );
        };
        let own = stage.own();
        let shown = if caller.who == Who::Itself {
            Some(own.as_str())
        } else {
            caller.shown.as_deref()
        };
        let path = request.path(&self.path);
        stage
            .send(self.method.clone(), &path, shown, &request)
            .await
    }
}

#[tokio::test]
async fn everybody_may_do_what_the_contract_says_on_every_operation_and_nothing_else() {
    let stage = Stage::set().await;
    let callers = stage.callers().await;
    let mut n = 0;
    for (method, path, document) in stage.api.contract().operations() {
        let mut operations = vec![Operation::read(method.clone(), path, document)];
        if method == Method::GET {
            // What serves GET serves HEAD.
            operations.push(Operation::read(Method::HEAD, path, document));
        }
        for operation in operations {
            for caller in &callers {
                let before = stage.device().await;
                let verdict = operation.verdict(caller.who);
                let answer = operation.ask(&stage, caller).await;
                operation.check(&caller.name, verdict, &answer);
                if verdict == Verdict::Apart && answer.status == 201 {
                    stage.forget_other(&answer).await;
                }
                if verdict == Verdict::Good {
                    stage.reset().await;
                } else {
                    let after = stage.device().await;
                    assert_eq!(after, before, "{} as {}", operation.id, caller.name);
                }
                n += 1;
            }
        }
    }
    println!("{n} cells");
    stage.api.stop().await;
}
