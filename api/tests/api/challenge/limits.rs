//! How often a token is challenged, for how long and how often a challenge may be answered.

use fanfare_nats::DeviceId;
use fanfare_nats::bucket::Expect;
use fanfare_nats::key::SecretHash;
use jiff::SignedDuration;

use super::{HERS, HIS, confirm, device, loaded, nonce, pending, sent, stored, told, window};
use crate::harness::Api;

/// As if what a device was challenged by had been asked for and sent so long ago.
async fn aged(api: &Api, id: &str, ago: SignedDuration) -> String {
    let mut waiting = stored(api, id).await;
    let pending = waiting.pending.as_mut().unwrap();
    let mut event = sent(api, pending).await;
    pending.asked_at -= ago;
    pending.expires_at -= ago;
    let (alias, window) = (pending.token.alias(), window(pending));
    event.item = format!("Challenge\u{1f}{alias}-{window}");
    api.broker.publish(&event, false).await.unwrap();
    let id = DeviceId::parse_stored(id).unwrap();
    let put = api.broker.put_device(&id, &waiting, Expect::Any);
    put.await.unwrap();
    told(&event)
}

#[tokio::test]
async fn who_lost_his_push_is_sent_another_when_a_minute_has_passed_and_not_before() {
    let api = loaded().await;
    let his = device("token", "bob");
    api.put(HERS, &[], &device("token", "ada")).await;
    pending(&api, HIS, &his).await;
    let first = nonce(&api, "his").await;
    // Seconds that the test itself takes are among them.
    aged(&api, "his", SignedDuration::from_secs(40)).await;
    let again = pending(&api, HIS, &his).await;
    assert_eq!(again.header("retry-after"), "");
    let asked = stored(&api, "his").await.pending.unwrap();
    assert!(asked.nonce.is_same(&SecretHash::of_nonce(&first).unwrap()));

    aged(&api, "his", SignedDuration::from_secs(40)).await;
    pending(&api, HIS, &his).await;
    let asked = stored(&api, "his").await.pending.unwrap();
    assert!(!asked.nonce.is_same(&SecretHash::of_nonce(&first).unwrap()));
}

#[tokio::test]
async fn a_challenge_may_be_answered_for_ten_minutes() {
    let api = loaded().await;
    api.put(HERS, &[], &device("token", "ada")).await;
    let waiting = pending(&api, HIS, &device("token", "bob")).await;
    let asked = stored(&api, "his").await.pending.unwrap();
    let until = asked.asked_at + SignedDuration::from_mins(10);
    assert_eq!(waiting.body["pending_until"], until.to_string());
    let push = sent(&api, &asked).await;
    assert_eq!(push.expires_at.as_second(), until.as_second());
    let nonce = aged(&api, "his", SignedDuration::from_secs(9 * 60 + 30)).await;
    let confirmed = confirm(&api, HIS, &nonce).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
}

/// Nobody gets more tries by asking all at once.
#[tokio::test]
async fn wrong_answers_that_come_at_once_are_five_too() {
    let api = loaded().await;
    api.put(HERS, &[], &device("token", "ada")).await;
    pending(&api, HIS, &device("token", "bob")).await;
    let right = nonce(&api, "his").await;
    let wrong = "0".repeat(52);
    let answers = (0..20).map(|_| confirm(&api, HIS, &wrong));
    let answers = futures::future::join_all(answers).await;
    let mut left: Vec<_> = answers
        .iter()
        .map(|it| it.body["attempts_left"].as_u64().unwrap())
        .collect();
    left.sort_unstable();
    let n_over = left.len() - 4;
    assert_eq!(
        left[n_over..],
        [1, 2, 3, 4],
        "each try is counted: {left:?}"
    );
    assert!(left[..n_over].iter().all(|it| *it == 0), "{left:?}");
    let late = confirm(&api, HIS, &right).await;
    late.check_problem(409, "challenge_failed");
}
