//! The same event id, posted through all nodes at once.

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Node};
use super::waves::Tally;
use crate::pipeline::connect;

const EVENTS: &str = "FANFARE_EVENTS";

/// Whose content was said to be stored: id to title.
pub(super) type Winners = BTreeMap<String, String>;

async fn post_all(nodes: &[Node], id: &str, title: impl Fn(usize) -> String) -> Vec<Answer> {
    let posts = nodes.iter().enumerate().map(|(n, node)| {
        let document = json!({"id": id, "topics": ["races"], "title": title(n)});
        async move {
            node.insist(Method::POST, "/v1/events", Some(&document))
                .await
        }
    });
    join_all(posts).await
}

/// Other content from each: one is told that it is stored, all others that something else is.
pub(super) async fn different(nodes: &[Node], id: &str) -> (String, Tally) {
    let title = |n: usize| format!("{id} from {n}");
    let answers = post_all(nodes, id, title).await;
    let mut winners = Vec::new();
    for (n, answer) in answers.iter().enumerate() {
        match answer.status {
            201 => winners.push(n),
            // What it posted before it was told nothing is stored.
            200 if answer.is_after_unknown => winners.push(n),
            409 => {}
            _ => panic!("{id}: {answers:#?}"),
        }
    }
    assert_eq!(winners.len(), 1, "{id}: one is the one: {answers:#?}");
    (title(winners[0]), Tally::of(&answers))
}

/// The same content from each: one is told that it is new, all others that it is there.
pub(super) async fn same(nodes: &[Node], id: &str) -> (String, Tally) {
    let answers = post_all(nodes, id, |_| id.to_owned()).await;
    let n_new = answers.iter().filter(|it| it.status == 201).count();
    let n_known = answers.iter().filter(|it| it.status == 200).count();
    assert_eq!(n_new + n_known, nodes.len(), "{id}: {answers:#?}");
    // Whoever stored it may be one that was told nothing at first.
    let least = usize::from(!answers.iter().any(|it| it.is_after_unknown));
    assert!((least..=1).contains(&n_new), "{id}: {answers:#?}");
    (id.to_owned(), Tally::of(&answers))
}

/// Checks that of each id the content is stored that its poster was told, and once.
pub(super) async fn check(url: &str, winners: &Winners) {
    let context = async_nats::jetstream::new(connect(url).await);
    let stream = context.get_stream(EVENTS).await.unwrap();
    let mut stored = Winners::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let item = message.headers.get("ce-item").unwrap().to_string();
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        let title = payload["title"].as_str().unwrap_or_default().to_owned();
        let before = stored.insert(item.clone(), title);
        assert_eq!(before, None, "{item} is stored twice");
    }
    for (id, title) in winners {
        assert_eq!(stored.get(id), Some(title), "{id}");
    }
}
