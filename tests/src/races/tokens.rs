//! One token, claimed by two devices of one user through two nodes at once.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::client::Node;
use super::waves::Tally;

/// The topics by which a push tells whose it is.
pub const SIDES: [&str; 2] = ["left", "right"];

/// A token and the device that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The token.
    pub token: String,
    /// Which of [`SIDES`] its owner follows.
    pub owner: &'static str,
}

/// Has two devices of each of `n` users claim one token, several times each, and says whose it is:
/// the one's that was stored last.
///
/// # Panics
/// If a device is not as its last answer said.
pub async fn claim(nodes: &[Node], n: usize) -> (Vec<Claimed>, Tally) {
    let claims = (0..n).map(|user| one(nodes, user));
    let (mut claimed, mut tally) = (Vec::new(), Tally::default());
    for (one, its) in join_all(claims).await {
        claimed.push(one);
        tally.add(its);
    }
    (claimed, tally)
}

async fn one(nodes: &[Node], user: usize) -> (Claimed, Tally) {
    let token = format!("{:064x}", 0xfa_0000 + user);
    let paths = SIDES.map(|side| format!("/v1/devices/claim-{user}-{side}"));
    let (mut revisions, mut tally) = ([0, 0], Tally::default());
    for round in 0..3 {
        let claims = SIDES.iter().enumerate().map(|(n, side)| {
            let node = &nodes[(user + round + n) % nodes.len()];
            let document = json!({
                "app": "ios",
                "token": token,
                "user": format!("user-{user}"),
                "topics": [side],
            });
            let path = &paths[n];
            async move { node.insist(Method::PUT, path, Some(&document)).await }
        });
        let answers = join_all(claims).await;
        tally.add(Tally::of(&answers));
        for (answer, revision) in answers.iter().zip(&mut revisions) {
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            *revision = answer.revision.unwrap();
        }
    }
    for (path, revision) in paths.iter().zip(revisions) {
        let found = nodes[user % nodes.len()]
            .insist(Method::GET, path, None)
            .await;
        assert_eq!(found.revision, Some(revision), "{path}");
    }
    let owner = SIDES[usize::from(revisions[1] > revisions[0])];
    (Claimed { token, owner }, tally)
}
