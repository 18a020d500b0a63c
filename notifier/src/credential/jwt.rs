//! JSON Web Tokens in compact form (RFC 7515), as far as the two providers need them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The signature could not be made: the random source or the key failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing failed")]
pub(crate) struct SignError;

/// Signs `header.claims` and joins the three parts, base64url without padding.
pub(crate) fn encode(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SignError>,
) -> Result<String, SignError> {
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_signature_covers_header_and_claims() {
        let token = encode(&json!({"alg": "none"}), &json!({"iss": "x"}), |signed| {
            assert_eq!(signed, b"eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0");
            Ok(vec![0xfb, 0xff])
        });
        assert_eq!(
            token.as_deref(),
            Ok("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.-_8")
        );
    }
}
