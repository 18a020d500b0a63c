//! Fan-out to 100,000 devices beside a bare HTTP/2 client loop and h2load, on the same double.
//!
//! Rates drift with the machine; read the ratios. CPU is that of the sending process alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on stops"
)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::event::Urgency;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Readiness};
use fanfare_notifier::{Config, Metrics, lanes, run};
use futures::stream::{FuturesUnordered, StreamExt};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request};
use support::{Double, cpu, event, median, register, token};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const DEVICES: usize = 100_000;
const STREAMS: usize = 128; // The shipped concurrency, for all three.
const ROUNDS: usize = 5;

/// Pushes per second and CPU microseconds of the sender per push.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    cpu_us: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures")]
fn figure(n: usize, wall: Duration, cpu: Duration) -> Figure {
    Figure {
        rate: n as f64 / wall.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / n as f64,
    }
}

fn main() {
    support::be_double_if_asked();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let double = Double::start(Duration::ZERO);
    let body = body();
    let jwt = jwt(&double);
    println!(
        "fan-out to {DEVICES} devices, {STREAMS} streams, APNs double, body {} bytes",
        body.len()
    );
    let sending = runtime.block_on(Sending::start(&double));
    let mut rows: [Vec<Figure>; 3] = [vec![], vec![], vec![]];
    for round in 1..=ROUNDS {
        let bare = bare(&double, &jwt, &body);
        let h2load = h2load(&double, &jwt, &body);
        let ours = runtime.block_on(sending.fan_out(&double, round));
        println!(
            "  round {round}: fanfare {:>7.0}/s {:>5.1} us | bare h2 {:>7.0}/s {:>5.1} us | h2load {}",
            ours.rate,
            ours.cpu_us,
            bare.rate,
            bare.cpu_us,
            h2load.map_or("not installed".to_owned(), |it| format!(
                "{:>7.0}/s {:>5.1} us",
                it.rate, it.cpu_us
            )),
        );
        rows[0].push(ours);
        rows[1].push(bare);
        rows[2].extend(h2load);
    }
    let of = |row: &[Figure], what: fn(&Figure) -> f64| median(row.iter().map(what).collect());
    let (ours, bare) = (of(&rows[0], |it| it.rate), of(&rows[1], |it| it.rate));
    println!(
        "median: fanfare {ours:.0}/s = {:.0} % of the bare loop's {bare:.0}/s",
        ours / bare * 100.0
    );
    let (ours, bare) = (of(&rows[0], |it| it.cpu_us), of(&rows[1], |it| it.cpu_us));
    println!(
        "median CPU per push: fanfare {ours:.1} us, bare loop {bare:.1} us, ratio {:.2}",
        ours / bare
    );
    if rows[2].is_empty() {
        println!("h2load is not installed: no comparison with it (Debian: nghttp2-client)");
    } else {
        let h2load = of(&rows[2], |it| it.cpu_us);
        println!(
            "bare loop's CPU per push: {:.2} x h2load's {h2load:.1} us",
            bare / h2load
        );
    }
    runtime.block_on(sending.end());
}

/// A body like the one fanfare sends.
fn body() -> Bytes {
    Bytes::from_static(br#"{"aps":{"alert":{"title":"M 6.1 - 12 km S of Example","body":"A strong earthquake was reported near the coast."}},"fanfare":{"event":"00112233445566778899aabbccddeeff","screen":"00112233445566778899aabbccddeeff","level":"first","url":"https://example.org/quakes/1"}}"#)
}

/// A provider token for the double.
fn jwt(double: &Double) -> HeaderValue {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

    let key = PrivatePkcs8KeyDer::from_pem_file(&double.at.apns_key).unwrap();
    let random = ring::rand::SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        key.secret_pkcs8_der(),
        &random,
    )
    .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let head = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, double.at.apns_key_id);
    let claims = format!(
        r#"{{"iss":"{}","iat":{}}}"#,
        double.at.apns_team_id,
        now.as_secs()
    );
    let signed = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let signature = BASE64.encode(pair.sign(&random, signed.as_bytes()).unwrap());
    HeaderValue::from_str(&format!("bearer {signed}.{signature}")).unwrap()
}

/// The least that a client of this crate can do: one thread, fixed slots, everything prepared.
fn bare(double: &Double, jwt: &HeaderValue, body: &Bytes) -> Figure {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", jwt.clone());
        headers.insert(
            "apns-topic",
            HeaderValue::from_str(&double.at.apns_topics[0]).unwrap(),
        );
        headers.insert("apns-push-type", HeaderValue::from_static("alert"));
        headers.insert("apns-priority", HeaderValue::from_static("10"));
        headers.insert("apns-expiration", HeaderValue::from_static("0"));
        headers.insert(
            "apns-collapse-id",
            HeaderValue::from_static("00112233445566778899aabbccddeeff"),
        );
        let mut sender = connect(double).await;
        push(&mut sender, &headers, 0, body).await; // Alone: the double allows one stream first.
        let (start, cpu_start) = (Instant::now(), cpu());
        let mut slots = FuturesUnordered::new();
        let mut next = 0;
        while next < DEVICES || !slots.is_empty() {
            while next < DEVICES && slots.len() < STREAMS {
                let (mut sender, headers, body) = (sender.clone(), &headers, body);
                let n = next;
                slots.push(async move { push(&mut sender, headers, n, body).await });
                next += 1;
            }
            slots.next().await;
        }
        figure(DEVICES, start.elapsed(), cpu().saturating_sub(cpu_start))
    })
}

async fn connect(double: &Double) -> SendRequest<Bytes> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&double.at.ca).unwrap())
        .unwrap();
    let mut tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let socket = tokio::net::TcpStream::connect(double.at.apns.unwrap())
        .await
        .unwrap();
    socket.set_nodelay(true).unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
        .connect(name, socket)
        .await
        .unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_max_send_streams(1)
        .handshake(stream)
        .await
        .unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the runtime of this round"
    )]
    tokio::spawn(connection);
    sender
}

async fn push(sender: &mut SendRequest<Bytes>, headers: &HeaderMap, n: usize, body: &Bytes) {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("https://127.0.0.1/3/device/{}", token(n, false))
        .parse()
        .unwrap();
    *request.headers_mut() = headers.clone();
    // The same bytes on the wire as ours: each push has an `apns-id` of its own.
    let id = HeaderValue::from_str(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap();
    request.headers_mut().insert("apns-id", id);
    std::future::poll_fn(|cx| sender.poll_ready(cx))
        .await
        .unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(body.clone(), true).unwrap();
    let response = response.await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
}

/// h2load on the same double; `None` where it is not installed.
fn h2load(double: &Double, jwt: &HeaderValue, body: &Bytes) -> Option<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("body");
    std::fs::write(&data, body).unwrap();
    let url = format!(
        "https://{}/3/device/{}",
        double.at.apns.unwrap(),
        token(0, false)
    );
    // The shell's clock tells the CPU time of its child.
    let script = format!(
        "TIMEFORMAT='cpu %U %S'; time h2load -t1 -c1 -m{STREAMS} -n{DEVICES} -d '{}' -H 'authorization: {}' -H 'apns-topic: {}' -H 'apns-push-type: alert' -H 'apns-priority: 10' -H 'apns-expiration: 0' '{url}'",
        data.display(),
        jwt.to_str().unwrap(),
        double.at.apns_topics[0],
    );
    let output = Command::new("bash").args(["-c", &script]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|it| it.starts_with("finished in"))?;
    let rate: f64 = line
        .split(", ")
        .nth(1)?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let cpu: f64 = text
        .lines()
        .find_map(|it| it.strip_prefix("cpu "))?
        .split_whitespace()
        .map(|it| it.parse::<f64>().unwrap_or(0.0))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    let cpu_us = cpu * 1e6 / DEVICES as f64;
    Some(Figure { rate, cpu_us })
}

/// A notifier in this process, with everybody registered.
struct Sending {
    _server: TestServer,
    broker: Broker,
    stop: CancellationToken,
    notifier: tokio::task::JoinHandle<()>,
}

impl Sending {
    async fn start(double: &Double) -> Self {
        let server = TestServer::start().await;
        let config = Config {
            app: vec![double.app()],
            ..Config::default()
        };
        let topology = Topology::new(1, lanes(&config).unwrap());
        let broker = server.broker_with("bench", &topology).await;
        let start = Instant::now();
        register(&broker, DEVICES, 0).await;
        println!(
            "registered {DEVICES} devices in {:.1} s",
            start.elapsed().as_secs_f64()
        );
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let running = run(
            config,
            broker.clone(),
            Metrics::default(),
            readiness.clone(),
            stop.clone(),
        );
        #[expect(clippy::disallowed_methods, reason = "the bench waits for it in `end`")]
        let notifier = tokio::spawn(async move { running.await.unwrap() });
        while !(readiness.is_ready() && readiness.conditions().len() >= 2) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            _server: server,
            broker,
            stop,
            notifier,
        }
    }

    /// One event to everybody.
    async fn fan_out(&self, double: &Double, round: usize) -> Figure {
        let before = double.accepted().await;
        let messages = self.messages().await;
        let (start, cpu_start) = (Instant::now(), cpu());
        let event = event(&format!("round-{round}"), "all", Urgency::Urgent);
        self.broker.publish(&event, false).await.unwrap();
        let all = before + u64::try_from(DEVICES).unwrap();
        while double.accepted().await < all {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let figure = figure(DEVICES, start.elapsed(), cpu().saturating_sub(cpu_start));
        assert_eq!(double.accepted().await, all, "somebody got it twice");
        #[expect(clippy::cast_precision_loss, reason = "figures")]
        let per_push = (self.messages().await - messages) as f64 / DEVICES as f64;
        println!("  round {round}: {per_push:.4} stored messages per push");
        figure
    }

    async fn messages(&self) -> u64 {
        self.broker.n_messages().await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.notifier.await.unwrap();
    }
}
