//! The probes, over a real socket.

use super::*;

async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .get(format!("http://{address}{path}"))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn probes_tell_what_is_missing_and_metrics_are_there_from_the_start() {
    let config = AdminConfig {
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
    };
    let admin = Admin::bind(&config).await.unwrap();
    let address = admin.address().unwrap();
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    readiness.unmet("nats", "not connected yet");
    let serving = admin.serve(
        crate::telemetry::registry(),
        readiness.clone(),
        stop.clone(),
    );
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serving);
    assert_eq!(ask(address, "/livez").await.0, 200);
    assert_eq!(ask(address, "/startupz").await.0, 503);
    let (status, text) = ask(address, "/readyz").await;
    assert_eq!(status, 503);
    let since = text.strip_prefix("[-] nats: not connected yet (since 2");
    assert!(since.is_some_and(|it| it.ends_with("Z)\n")), "{text}");
    readiness.met("nats");
    assert_eq!(
        ask(address, "/readyz").await,
        (200, "[+] nats ok\n".to_owned())
    );
    readiness.unmet("nats", "gone");
    assert_eq!(ask(address, "/readyz").await.0, 503);
    assert_eq!(
        ask(address, "/startupz").await.0,
        200,
        "started stays started"
    );
    let (_, text) = ask(address, "/metrics").await;
    assert!(text.contains("fanfare_build_info{version="), "{text}");
    stop.cancel();
    assert!(tasks.join_next().await.unwrap().unwrap().is_ok());
}
