//! One device, changed through all nodes at once by clients that have read the same revision.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Node;
use super::waves::Tally;

/// What a client learned of its guarded write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Learned {
    /// It stands, at this revision; `None` for a removal.
    Won(Option<u64>),
    /// Another write came first.
    Late,
}

fn path(device: &str) -> String {
    format!("/v1/devices/{device}")
}

fn document(device: &str, mark: &str) -> Value {
    // The mark is in a field that is shown, so that a client recognises what it wrote.
    json!({"app": "ios", "token": token(device), "topics": ["nothing"], "locale": mark})
}

/// A token of the device's own.
fn token(device: &str) -> String {
    let digits = device.bytes().map(|it| format!("{it:02x}"));
    format!("{:0>64}", digits.collect::<String>())
}

/// A locale that says who wrote in which round.
fn mark(round: usize, n: usize) -> String {
    format!("en-{round}-{n}")
}

/// Sends a guarded write; where it is told nothing, it reads what became of it.
async fn guarded(
    node: &Node,
    device: &str,
    guard: (&str, String),
    mark: Option<&str>,
) -> (Learned, u64) {
    let body = mark.map(|it| document(device, it));
    let method = if mark.is_some() {
        Method::PUT
    } else {
        Method::DELETE
    };
    let mut n_unknown = 0;
    loop {
        let answer = node
            .ask(
                method.clone(),
                &path(device),
                Some(guard.clone()),
                body.as_ref(),
            )
            .await;
        let Some(answer) = answer else {
            n_unknown += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let learned = match answer.status {
            200 | 201 | 204 => Learned::Won(answer.revision),
            412 if n_unknown > 0 => {
                let found = node.insist(Method::GET, &path(device), None).await;
                let is_mine = match mark {
                    Some(mark) => found.body["locale"] == mark,
                    None => found.status == 404,
                };
                if is_mine {
                    Learned::Won(found.revision)
                } else {
                    Learned::Late
                }
            }
            412 => Learned::Late,
            _ => panic!("{device}: {answer:#?}"),
        };
        return (learned, n_unknown);
    }
}

/// A device and its latest revision; `None` when there is none.
pub(super) struct Contested {
    name: String,
    revision: Option<u64>,
    round: usize,
}

impl Contested {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            revision: None,
            round: 0,
        }
    }

    /// All nodes want to write what follows the revision that all have read: it is created, then
    /// replaced by different documents, by equal ones, and against a removal.
    pub(super) async fn round(&mut self, nodes: &[Node]) -> Tally {
        self.round += 1;
        let round = self.round;
        let guard = match self.revision {
            None => ("if-none-match", "*".to_owned()),
            Some(revision) => ("if-match", format!("\"{revision}\"")),
        };
        // One in eight rounds ends the device if the remover is the first; two in eight write alike.
        let is_removal = |n: usize| self.revision.is_some() && round.is_multiple_of(8) && n == 0;
        let is_alike = matches!(round % 8, 3 | 6);
        let marks: Vec<Option<String>> = (0..nodes.len())
            .map(|n| (!is_removal(n)).then(|| mark(round, if is_alike { 9 } else { n })))
            .collect();
        let writes = nodes
            .iter()
            .zip(&marks)
            .map(|(node, mark)| guarded(node, &self.name, guard.clone(), mark.as_deref()));
        let learned = join_all(writes).await;
        let winners: Vec<usize> = (0..nodes.len())
            .filter(|n| learned[*n].0 != Learned::Late)
            .collect();
        let n_unknown: u64 = learned.iter().map(|it| it.1).sum();
        // Equal documents cannot be told apart by a client that had to look.
        let most = if is_alike && n_unknown > 0 {
            nodes.len()
        } else {
            1
        };
        let what = format!("{} round {round}: {learned:?}", self.name);
        assert!((1..=most).contains(&winners.len()), "one is first: {what}");
        let winner = winners[0];
        let found = nodes[(winner + 1) % nodes.len()]
            .insist(Method::GET, &path(&self.name), None)
            .await;
        match &marks[winner] {
            Some(mark) => assert_eq!(found.body["locale"], *mark, "{what}"),
            None => assert_eq!(found.status, 404, "{what}"),
        }
        if let Learned::Won(Some(revision)) = learned[winner].0 {
            assert_eq!(found.revision, Some(revision), "{what}");
        }
        self.revision = found.revision;
        Tally {
            races: 1,
            unknown: n_unknown,
        }
    }
}
