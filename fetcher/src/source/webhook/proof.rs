//! Whether a document comes from whom it should (pure).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use ring::hmac;

use crate::config::WebhookConfig;

/// How old or early a signature may be (Standard Webhooks, "Verifying webhooks": the timestamp is to
/// be held against the clock; its libraries allow five minutes).
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// The least of a secret, in bytes; Standard Webhooks asks for 24 to 64.
const LEAST: usize = 16;

/// How a sender proves itself.
#[derive(Debug)]
pub(crate) struct Proof {
    key: hmac::Key,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The secret itself, in a header.
    Shared { header: HeaderName, secret: String },
    /// A signature over id, time and body (Standard Webhooks).
    Signed,
}

impl Proof {
    /// The proof that an input asks for.
    ///
    /// # Errors
    /// Key and complaint, without the secret.
    pub(crate) fn of(config: &WebhookConfig) -> Result<Self, (&'static str, String)> {
        let secret = config.secret.text().unwrap_or_default();
        let short = || ("secret", format!("is shorter than {LEAST} bytes"));
        let Some(header) = &config.secret_header else {
            let text = secret.strip_prefix("whsec_").unwrap_or(secret);
            let complaint = "is no base64, with or without `whsec_` before it; a secret that is sent \
                             as it is needs `secret_header`";
            let key = BASE64.decode(text);
            let key = key.map_err(|_| ("secret", complaint.to_owned()))?;
            if key.len() < LEAST {
                return Err(short());
            }
            return Ok(Self {
                key: hmac::Key::new(hmac::HMAC_SHA256, &key),
                kind: Kind::Signed,
            });
        };
        let header = HeaderName::try_from(header.as_str());
        let header = header.map_err(|_| ("secret_header", "is no header".to_owned()))?;
        if secret.len() < LEAST {
            return Err(short());
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            kind: Kind::Shared {
                header,
                secret: secret.to_owned(),
            },
        })
    }

    /// Whether a head proves its body. As long for what is nearly right as for what is wrong.
    pub(crate) fn holds(&self, head: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
        match &self.kind {
            Kind::Shared { header, secret } => {
                let Some(given) = text(head, header.as_str()) else {
                    return false;
                };
                let given = given.strip_prefix("Bearer ").unwrap_or(given);
                let given = hmac::sign(&self.key, given.as_bytes());
                hmac::verify(&self.key, secret.as_bytes(), given.as_ref()).is_ok()
            }
            Kind::Signed => self.is_signed(head, body, now).unwrap_or(false),
        }
    }

    /// `webhook-signature: v1,<base64> v1,<base64> …` over `<id>.<seconds>.<body>`; one is enough.
    fn is_signed(&self, head: &HeaderMap, body: &[u8], now: Timestamp) -> Option<bool> {
        let (id, seconds) = (text(head, "webhook-id")?, text(head, "webhook-timestamp")?);
        let at = Timestamp::from_second(seconds.parse().ok()?).ok()?;
        if now.duration_since(at).abs() > TOLERANCE {
            return Some(false);
        }
        let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat();
        let signatures = text(head, "webhook-signature")?.split(' ').take(8);
        let is_right = |it: &str| {
            let signature = it.strip_prefix("v1,").and_then(|it| BASE64.decode(it).ok());
            signature.is_some_and(|it| hmac::verify(&self.key, &signed, &it).is_ok())
        };
        // Each is looked at, whichever is right.
        Some(signatures.map(is_right).fold(false, |any, it| any | it))
    }
}

fn text<'a>(head: &'a HeaderMap, name: &str) -> Option<&'a str> {
    head.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(secret: &str, header: Option<&str>) -> Result<Proof, (&'static str, String)> {
        Proof::of(&WebhookConfig {
            webhook: "127.0.0.1:0".to_owned(),
            items: "$".to_owned(),
            reshape: None,
            secret: secret.into(),
            secret_header: header.map(str::to_owned),
            max_bytes: 1,
        })
    }

    fn head(of: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = of
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    /// The example of the specification (Standard Webhooks, "Signature scheme", its libraries' test
    /// vector).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signed(signature: &str, at: &str) -> HeaderMap {
        head(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ])
    }

    #[test]
    fn a_signature_holds_for_its_body_and_its_time_alone() {
        let proof = proof(SECRET, None).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let now = at(1_614_265_330);
        let right = signed(SIGNATURE, "1614265330");
        assert!(proof.holds(&right, BODY, now));
        assert!(proof.holds(&right, BODY, at(1_614_265_330 + 300)));
        assert!(!proof.holds(&right, BODY, at(1_614_265_330 + 301)));
        assert!(!proof.holds(&right, BODY, at(1_614_265_330 - 301)));
        assert!(!proof.holds(&right, b"{}", now));
        assert!(!proof.holds(&signed(SIGNATURE, "1614265331"), BODY, now));
        for rotated in [
            format!("v1,AAAA v2,x {SIGNATURE}"),
            format!("{SIGNATURE} v1,AAAA"),
        ] {
            assert!(proof.holds(&signed(&rotated, "1614265330"), BODY, now));
        }
        for wrong in ["", "v1,", "v1,AAAA", &SIGNATURE[3..]] {
            assert!(
                !proof.holds(&signed(wrong, "1614265330"), BODY, now),
                "{wrong}"
            );
        }
        assert!(!proof.holds(&HeaderMap::new(), BODY, now));
    }

    #[test]
    fn a_shared_secret_is_the_whole_secret() {
        let proof = proof("0123456789abcdef", Some("authorization")).unwrap();
        let holds =
            |it: &str| proof.holds(&head(&[("authorization", it)]), b"", Timestamp::UNIX_EPOCH);
        assert!(holds("Bearer 0123456789abcdef"));
        assert!(holds("0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "bearer 0123456789abcdef",
        ] {
            assert!(!holds(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_not_quoted() {
        for (secret, header, key) in [
            ("whsec_canary!", None, "secret"),
            ("Y2FuYXJ5", None, "secret"),
            ("canary", Some("x-secret"), "secret"),
            ("0123456789abcdef", Some("x secret"), "secret_header"),
        ] {
            let (at, complaint) = proof(secret, header).unwrap_err();
            assert_eq!(at, key, "{complaint}");
            assert!(!complaint.contains("canary"), "{complaint}");
        }
    }
}
