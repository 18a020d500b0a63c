//! APNs: credentials, headers, limits.

use std::time::Duration;

use bytes::Bytes;
use fanfare_sim::ledger::ProviderKind;
use fanfare_sim::{ApnsConfig, Latency, RenewalsPer, Sim};
use http::Request;
use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;

use crate::client::*;
use crate::started;

async fn apns(sim: &Sim) -> Client {
    Client::tls(sim.whereabouts().apns.unwrap(), sim.whereabouts()).await
}

#[tokio::test]
async fn a_push_is_accepted_and_its_id_comes_back() {
    let (sim, _folder) = started(|_| {}).await;
    let client = apns(&sim).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    let mut request = push(&bearer, TOKEN, "e1");
    let id = "123e4567-e89b-12d3-a456-426614174000";
    request.headers_mut().insert("apns-id", id.parse().unwrap());
    let answer = client.ask(request).await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("apns-id").as_str()),
        (200, id)
    );
    let answer = client.ask(push(&bearer, TOKEN, "e2")).await.unwrap();
    assert_eq!(
        answer.header("apns-id").len(),
        36,
        "one is made where none was sent"
    );
    sim.stop().await;
}

#[tokio::test]
async fn der_signatures_and_padded_segments_are_taken() {
    let (sim, _folder) = started(|_| {}).await;
    let der = provider_token_der(sim.whereabouts(), now_s());
    assert_eq!(
        apns(&sim)
            .await
            .ask(push(&der, TOKEN, "e"))
            .await
            .unwrap()
            .status(),
        200
    );
    let padded = provider_token(sim.whereabouts(), now_s() - 1) + "==";
    assert_eq!(
        apns(&sim)
            .await
            .ask(push(&padded, TOKEN, "e"))
            .await
            .unwrap()
            .status(),
        200
    );
    sim.stop().await;
}

#[tokio::test]
async fn bad_credentials_are_named() {
    let (sim, _folder) = started(|_| {}).await;
    let at = sim.whereabouts();
    let form = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let good = provider_token(at, now_s());
    let mut forged = good.clone();
    forged.truncate(good.len() - 8);
    forged.push_str("AAAAAAAA");
    for (bearer, reason) in [
        (
            provider_token_of(at, now_s(), "OTHERKEY01", form),
            "InvalidProviderToken",
        ),
        (forged, "InvalidProviderToken"),
        ("bearer nonsense".to_owned(), "InvalidProviderToken"),
        (provider_token(at, now_s() - 3700), "ExpiredProviderToken"),
        (provider_token(at, now_s() + 600), "InvalidProviderToken"),
    ] {
        let answer = apns(&sim)
            .await
            .ask(push(&bearer, TOKEN, "e"))
            .await
            .unwrap();
        assert_eq!((answer.status(), answer.reason().as_str()), (403, reason));
    }
    let mut request = push(&good, TOKEN, "e");
    request.headers_mut().remove("authorization");
    let answer = apns(&sim).await.ask(request).await.unwrap();
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (403, "MissingProviderToken")
    );
    sim.stop().await;
}

#[tokio::test]
async fn a_second_new_token_within_twenty_minutes_is_too_many() {
    for per in [
        RenewalsPer::Connection,
        RenewalsPer::Key,
        RenewalsPer::Nothing,
    ] {
        let (sim, _folder) = started(|it| {
            it.apns = Some(ApnsConfig {
                renewals_per: per,
                ..ApnsConfig::default()
            });
        })
        .await;
        let first = provider_token(sim.whereabouts(), now_s());
        let second = provider_token(sim.whereabouts(), now_s() - 5);
        let one = apns(&sim).await;
        let other = apns(&sim).await;
        assert_eq!(
            one.ask(push(&first, TOKEN, "e")).await.unwrap().status(),
            200
        );
        let expected = |is_too_many| if is_too_many { 429 } else { 200 };
        let again = one.ask(push(&second, TOKEN, "e")).await.unwrap();
        assert_eq!(
            again.status(),
            expected(per != RenewalsPer::Nothing),
            "{per:?}"
        );
        let elsewhere = other.ask(push(&second, TOKEN, "e")).await.unwrap();
        assert_eq!(
            elsewhere.status(),
            expected(per == RenewalsPer::Key),
            "{per:?}"
        );
        assert_eq!(
            one.ask(push(&first, TOKEN, "e")).await.unwrap().status(),
            200
        );
        sim.stop().await;
    }
}

#[tokio::test]
async fn each_broken_header_has_its_reason() {
    let (sim, _folder) = started(|_| {}).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    let client = apns(&sim).await;
    let long = "x".repeat(65);
    for (name, value, status, reason) in [
        ("apns-topic", None, 400, "MissingTopic"),
        ("apns-topic", Some("com.other.app"), 400, "TopicDisallowed"),
        (
            "apns-topic",
            Some("org.example.apple"),
            400,
            "TopicDisallowed",
        ),
        ("apns-push-type", None, 400, "InvalidPushType"),
        ("apns-push-type", Some("shout"), 400, "InvalidPushType"),
        ("apns-push-type", Some("background"), 400, "BadPriority"),
        ("apns-priority", Some("7"), 400, "BadPriority"),
        ("apns-expiration", Some("soon"), 400, "BadExpirationDate"),
        (
            "apns-collapse-id",
            Some(long.as_str()),
            400,
            "BadCollapseId",
        ),
        ("apns-id", Some("12"), 400, "BadMessageId"),
    ] {
        let mut request = push(&bearer, TOKEN, "e");
        match value {
            None => drop(request.headers_mut().remove(name)),
            Some(value) => drop(request.headers_mut().insert(name, value.parse().unwrap())),
        }
        let answer = client.ask(request).await.unwrap();
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (status, reason),
            "{name}"
        );
    }
    let mut twice = push(&bearer, TOKEN, "e");
    twice
        .headers_mut()
        .append("apns-priority", "5".parse().unwrap());
    assert_eq!(
        client.ask(twice).await.unwrap().reason(),
        "DuplicateHeaders"
    );
    assert_eq!(sim.counts().accepted, 0);
    sim.stop().await;
}

#[tokio::test]
async fn paths_tokens_and_payloads_are_checked() {
    let (sim, _folder) = started(|_| {}).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    let client = apns(&sim).await;
    let check = async |path: &str, body: Bytes, push_type: &str, status, reason: &str| {
        let mut request = push(&bearer, "", "e");
        *request.uri_mut() = format!("https://api.push.apple.com{path}").parse().unwrap();
        *request.body_mut() = body;
        request
            .headers_mut()
            .insert("apns-push-type", push_type.parse().unwrap());
        let answer = client.ask(request).await.unwrap();
        let found = if answer.status() == 200 {
            String::new()
        } else {
            answer.reason()
        };
        assert_eq!(
            (answer.status(), found.as_str()),
            (status, reason),
            "{path}"
        );
    };
    let device = format!("/3/device/{TOKEN}");
    let alert = Bytes::from_static(br#"{"aps":{"alert":"hello"}}"#);
    let sized = |n: usize| Bytes::from(format!(r#"{{"aps":{{}},"x":"{}"}}"#, "x".repeat(n - 17)));
    assert_eq!(sized(4096).len(), 4096);
    check(&device, alert.clone(), "alert", 200, "").await;
    check(
        "/3/device/",
        alert.clone(),
        "alert",
        400,
        "MissingDeviceToken",
    )
    .await;
    check(
        "/3/device/xyz",
        alert.clone(),
        "alert",
        400,
        "BadDeviceToken",
    )
    .await;
    check("/2/device/00", alert.clone(), "alert", 404, "BadPath").await;
    check(&device, Bytes::new(), "alert", 400, "PayloadEmpty").await;
    check(
        &device,
        Bytes::from_static(b"[1]"),
        "alert",
        400,
        "PayloadEmpty",
    )
    .await;
    check(&device, sized(4096), "alert", 200, "").await;
    check(&device, sized(4097), "alert", 413, "PayloadTooLarge").await;
    check(&device, sized(5120), "voip", 200, "").await;
    check(&device, sized(5121), "voip", 413, "PayloadTooLarge").await;
    sim.stop().await;
}

#[tokio::test]
async fn only_post_is_a_push() {
    let (sim, _folder) = started(|_| {}).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    let client = apns(&sim).await;
    let device = format!("/3/device/{TOKEN}");
    let get = Request::get(format!("https://api.push.apple.com{device}"));
    let get = get
        .header("authorization", &bearer)
        .body(Bytes::new())
        .unwrap();
    assert_eq!(client.ask(get).await.unwrap().status(), 405);
    sim.stop().await;
}

#[tokio::test]
async fn the_stream_limit_rises_with_the_first_valid_token() {
    let (sim, _folder) = started(|_| {}).await;
    let mut client = apns(&sim).await;
    let invalid = client.ask(push("bearer a.b.c", TOKEN, "e")).await.unwrap();
    assert_eq!(invalid.status(), 403);
    client.sees_limit(1).await;
    let bearer = provider_token(sim.whereabouts(), now_s());
    assert_eq!(
        client
            .ask(push(&bearer, TOKEN, "e"))
            .await
            .unwrap()
            .status(),
        200
    );
    client.sees_limit(1000).await;
    sim.stop().await;
}

#[tokio::test]
async fn streams_beyond_the_first_limit_are_refused_unprocessed() {
    let (sim, _folder) = started(|_| {}).await;
    // Long enough that the streams overlap.
    sim.set_latency(
        ProviderKind::Apns,
        Latency::fixed(Duration::from_millis(50)),
    );
    let address = sim.whereabouts().apns_cleartext.unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    // A client that does not wait for the double's SETTINGS.
    let mut builder = h2::client::Builder::new();
    let (mut send, connection) = builder
        .initial_max_send_streams(100)
        .handshake::<_, Bytes>(socket)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for n in 0..20 {
        let request = push("bearer a.b.c", TOKEN, &format!("e{n}"));
        let (head, body) = request.into_parts();
        let (answer, mut stream) = send
            .send_request(Request::from_parts(head, ()), false)
            .unwrap();
        stream.send_data(body, true).unwrap();
        answers.push(answer);
    }
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut n_refused = 0;
    for answer in answers {
        match read(answer).await {
            Ok(answer) => assert_eq!(answer.status(), 403),
            Err(error) => {
                assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
                n_refused += 1;
            }
        }
    }
    assert!(n_refused > 0, "nothing was refused");
    assert_eq!(sim.counts().unavailable, n_refused);
    sim.stop().await;
}

#[tokio::test]
async fn a_client_certificate_needs_no_token() {
    let (sim, _folder) = started(|it| {
        it.apns = Some(ApnsConfig {
            accepts_certificates: true,
            ..ApnsConfig::default()
        });
    })
    .await;
    let at = sim.whereabouts();
    let mut client = Client::tls_as(at.apns.unwrap(), at, Some(&at.apns_client)).await;
    client.sees_limit(1000).await;
    let mut request = push("bearer x", TOKEN, "e");
    request.headers_mut().remove("authorization");
    assert_eq!(client.ask(request).await.unwrap().status(), 200);
    let without = apns(&sim).await;
    let mut request = push("bearer x", TOKEN, "e");
    request.headers_mut().remove("authorization");
    assert_eq!(
        without.ask(request).await.unwrap().reason(),
        "MissingProviderToken"
    );
    sim.stop().await;
}
