//! How fast the double of APNs is: a bare client on one thread, the double on another.
//!
//! `cargo run --release -p fanfare-sim --example rate -- [counts|file] [streams] [seconds]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement by hand"
)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fanfare_sim::ledger::LedgerMode;
use fanfare_sim::{ApnsConfig, Sim, SimConfig, Whereabouts};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::Request;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = match arguments.next().as_deref() {
        Some("file") => LedgerMode::File,
        _ => LedgerMode::Counts,
    };
    let n_streams = arguments.next().map_or(1000, |it| it.parse().unwrap());
    let seconds = arguments.next().map_or(3, |it| it.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = SimConfig {
        ledger: mode,
        apns: Some(ApnsConfig {
            cleartext_port: Some(0),
            ..ApnsConfig::default()
        }),
        fcm: None,
        ..SimConfig::in_folder(folder.path())
    };
    let doubles = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let sim = doubles.block_on(Sim::start(config)).unwrap();
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rate = client.block_on(rate(
        sim.whereabouts(),
        n_streams,
        Duration::from_secs(seconds),
    ));
    println!(
        "{mode:?}, {n_streams} streams, cleartext: {rate:.0} accepted/s, {:?}",
        sim.counts()
    );
    doubles.block_on(sim.stop());
}

async fn rate(sim: &Whereabouts, n_streams: usize, time: Duration) -> f64 {
    let socket = TcpStream::connect(sim.apns_cleartext.unwrap())
        .await
        .unwrap();
    socket.set_nodelay(true).unwrap();
    let mut builder = h2::client::Builder::new();
    builder
        .initial_max_send_streams(1)
        .initial_connection_window_size(1 << 24);
    let (send, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
    let driving = async { connection.await.unwrap() };
    let bearer = bearer(sim);
    let body = Bytes::from(
        r#"{"aps":{"alert":{"title":"M 6.1","body":"somewhere"}},"fanfare":{"event":"0123456789abcdef0123456789abcdef","screen":"0123456789abcdef0123456789abcdef","level":"6"}}"#,
    );
    let one = || {
        let (send, bearer, body) = (send.clone(), bearer.clone(), body.clone());
        async move {
            let request = Request::post(format!("https://localhost/3/device/{TOKEN}"))
                .header("authorization", bearer)
                .header("apns-topic", "org.example.app")
                .header("apns-push-type", "alert")
                .body(())
                .unwrap();
            let mut send = send.ready().await.unwrap();
            let (response, mut stream) = send.send_request(request, false).unwrap();
            stream.send_data(body, true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
    };
    let asking = async {
        one().await;
        while send.current_max_send_streams() < n_streams {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut open: FuturesUnordered<_> = (0..n_streams).map(|_| one()).collect();
        let start = Instant::now();
        let mut n_done = 0_u32;
        while start.elapsed() < time {
            open.next().await;
            n_done += 1;
            open.push(one());
        }
        f64::from(n_done) / start.elapsed().as_secs_f64()
    };
    tokio::select! {
        rate = asking => rate,
        () = driving => 0.0,
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens are dated")]
fn bearer(sim: &Whereabouts) -> String {
    let random = SystemRandom::new();
    let der = PrivatePkcs8KeyDer::from_pem_file(&sim.apns_key).unwrap();
    let form = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(form, der.secret_pkcs8_der(), &random).unwrap();
    let segment = |it: serde_json::Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let header = segment(serde_json::json!({ "alg": "ES256", "kid": sim.apns_key_id }));
    let now_s = jiff::Timestamp::now().as_second();
    let claims = segment(serde_json::json!({ "iss": sim.apns_team_id, "iat": now_s }));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, signed.as_bytes()).unwrap().as_ref());
    format!("bearer {signed}.{signature}")
}
