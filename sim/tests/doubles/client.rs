//! A bare HTTP/2 client with credentials: what a sender does, without its cleverness.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fanfare_sim::Whereabouts;
use h2::client::{Connection, SendRequest};
use http::{Request, Response};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// A connection to a double, driven until this is dropped.
pub struct Client {
    pub send: SendRequest<Bytes>,
    /// The end of the connection, with its error.
    pub driver: JoinSet<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Bytes,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn reason(&self) -> String {
        self.json()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn header(&self, name: &str) -> String {
        self.head
            .headers()
            .get(name)
            .map_or(String::new(), |it| it.to_str().unwrap().to_owned())
    }
}

impl Client {
    pub async fn tls(address: SocketAddr, sim: &Whereabouts) -> Self {
        Self::tls_as(address, sim, None).await
    }

    pub async fn tls_as(address: SocketAddr, sim: &Whereabouts, client: Option<&Path>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&sim.ca).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let chain = CertificateDer::pem_file_iter(path)
                    .unwrap()
                    .map(Result::unwrap);
                let key = PrivateKeyDer::from_pem_file(path).unwrap();
                builder.with_client_auth_cert(chain.collect(), key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("api.push.apple.com").unwrap();
        let socket = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        Self::over(socket).await
    }

    pub async fn cleartext(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket).await
    }

    async fn over<S>(socket: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection): (_, Connection<S, Bytes>) = h2::client::Builder::new()
            .initial_max_send_streams(1)
            .handshake(socket)
            .await
            .unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self { send, driver }
    }

    /// Sends and reads the whole answer.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Answer, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (head, body) = request.into_parts();
        let (response, mut stream) = send.send_request(Request::from_parts(head, ()), false)?;
        stream.send_data(body, true)?;
        read(response).await
    }

    /// The stream limit the double announces once it settles at `expected`.
    pub async fn sees_limit(&mut self, expected: usize) {
        for _ in 0..2000 {
            if self.send.current_max_send_streams() == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!(
            "limit is {}, not {expected}",
            self.send.current_max_send_streams()
        );
    }
}

pub async fn read(response: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(Answer {
        head: Response::from_parts(head, ()),
        body: whole.into(),
    })
}

#[expect(clippy::disallowed_methods, reason = "tokens are dated")]
pub fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn segment(value: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A provider token as `authorization` carries it.
pub fn provider_token(sim: &Whereabouts, issued_s: i64) -> String {
    provider_token_of(
        sim,
        issued_s,
        &sim.apns_key_id,
        &ECDSA_P256_SHA256_FIXED_SIGNING,
    )
}

pub fn provider_token_der(sim: &Whereabouts, issued_s: i64) -> String {
    provider_token_of(
        sim,
        issued_s,
        &sim.apns_key_id,
        &ECDSA_P256_SHA256_ASN1_SIGNING,
    )
}

pub fn provider_token_of(
    sim: &Whereabouts,
    issued_s: i64,
    key_id: &str,
    form: &'static EcdsaSigningAlgorithm,
) -> String {
    let random = SystemRandom::new();
    let der = PrivatePkcs8KeyDer::from_pem_file(&sim.apns_key).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(form, der.secret_pkcs8_der(), &random).unwrap();
    let header = segment(&serde_json::json!({ "alg": "ES256", "kid": key_id }));
    let claims = segment(&serde_json::json!({ "iss": sim.apns_team_id, "iat": issued_s }));
    let signed = format!("{header}.{claims}");
    let signature = key.sign(&random, signed.as_bytes()).unwrap();
    format!(
        "bearer {signed}.{}",
        URL_SAFE_NO_PAD.encode(signature.as_ref())
    )
}

/// A token request body made from the sim's service account file.
pub fn token_request(sim: &Whereabouts, scope: &str, issued_s: i64) -> String {
    let file = std::fs::read(&sim.fcm_service_account).unwrap();
    let account: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let pem = account["private_key"].as_str().unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let header = segment(&serde_json::json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = segment(&serde_json::json!({
        "iss": account["client_email"],
        "scope": scope,
        "aud": account["token_uri"],
        "iat": issued_s,
        "exp": issued_s + 3600,
    }));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let signature = URL_SAFE_NO_PAD.encode(signature);
    format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer\
         &assertion={signed}.{signature}=="
    )
}

pub const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

/// A push that APNs accepts.
pub fn push(bearer: &str, token: &str, event: &str) -> Request<Bytes> {
    let body = serde_json::json!({
        "aps": { "alert": { "title": "M 6.1", "body": "somewhere" } },
        "fanfare": { "event": event, "screen": "s1", "level": "6" },
    });
    Request::post(format!("https://api.push.apple.com/3/device/{token}"))
        .header("authorization", bearer)
        .header("apns-topic", "org.example.app")
        .header("apns-push-type", "alert")
        .header("apns-priority", "10")
        .body(Bytes::from(body.to_string()))
        .unwrap()
}

/// A message that FCM accepts.
pub fn message(access_token: &str, message: &serde_json::Value) -> Request<Bytes> {
    Request::post("https://fcm.googleapis.com/v1/projects/sim-project/messages:send")
        .header("authorization", format!("Bearer {access_token}"))
        .header("content-type", "application/json")
        .body(Bytes::from(
            serde_json::json!({ "message": message }).to_string(),
        ))
        .unwrap()
}
