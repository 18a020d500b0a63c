//! Every answer of this suite against the contract: none is undocumented.

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Answer, Api};

/// The document, as it was served.
#[derive(Debug)]
pub struct Contract(Value);

impl Contract {
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    /// The operation of a request, if there is one.
    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let given: Vec<&str> = path.split('/').collect();
        let is_same = |template: &str| {
            let wanted: Vec<&str> = template.split('/').collect();
            let is_part = |(wanted, given): (&&str, &&str)| {
                let is_open = wanted.starts_with('{') && !given.is_empty();
                is_open || wanted == given
            };
            wanted.len() == given.len() && wanted.iter().zip(&given).all(is_part)
        };
        let items = self.0["paths"].as_object().unwrap();
        let (_, item) = items.iter().find(|(template, _)| is_same(template))?;
        // What serves GET serves HEAD.
        let method = if *method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        item.get(method.as_str().to_lowercase())
    }

    /// Checks that an answer is one that the contract knows.
    #[track_caller]
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let Some(operation) = self.operation(method, path) else {
            assert!([404, 405].contains(&answer.status.as_u16()), "{answer:?}");
            return;
        };
        let status = answer.status.as_str();
        let described = &operation["responses"][status];
        assert!(described.is_object(), "{method} {path}: {answer:?}");
        let kind = answer.header("content-type");
        match described["content"].as_object() {
            Some(content) => assert!(content.contains_key(kind), "{method} {path}: {answer:?}"),
            None => assert_eq!(kind, "", "{method} {path}: {answer:?}"),
        }
        if let Some(code) = answer.body["code"].as_str() {
            let told = described["description"].as_str().unwrap();
            let code = format!("`{code}`");
            assert!(told.contains(&code), "{method} {path}: {answer:?}");
        }
    }

    /// Every operation, with its method and path.
    pub fn operations(&self) -> Vec<(Method, &str, &Value)> {
        let items = self.0["paths"].as_object().unwrap().iter();
        let operations = items.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| {
                let method = method.to_uppercase().parse().unwrap();
                (method, path.as_str(), operation)
            })
        });
        operations.collect()
    }

    /// The paths with their methods.
    fn routes(&self) -> Vec<(&str, Vec<String>)> {
        let items = self.0["paths"].as_object().unwrap().iter();
        let routes = items.map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            (path.as_str(), methods.map(|it| it.to_uppercase()).collect())
        });
        routes.collect()
    }
}

#[tokio::test]
async fn the_router_has_the_paths_and_methods_of_the_contract() {
    let api = Api::start().await;
    let odd = Method::from_bytes(b"BREW").unwrap();
    for (path, mut methods) in api.contract().routes() {
        let path = path.replace(['{', '}'], "");
        let answer = api.send(odd.clone(), &path, &[], None).await;
        answer.check_problem(405, "method_not_allowed");
        if methods.iter().any(|it| it == "GET") {
            methods.push("HEAD".to_owned());
        }
        let mut allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        methods.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn the_contract_is_served_to_whoever_asks() {
    let api = Api::start().await;
    let answer = api.get("/openapi.json").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["openapi"]),
        (200, &"3.1.0".into())
    );
    let printed: Value = serde_json::from_str(&fanfare_api::openapi()).unwrap();
    assert_eq!(answer.body, printed);
}
