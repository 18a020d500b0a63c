//! TLS of a pool: the system's roots, the operator's own, and a client certificate.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not PEM, or holds nothing of the kind.
    #[error("{what} is not readable PEM")]
    Pem {
        /// Which of the files.
        what: &'static str,
    },
    /// rustls does not take them.
    #[error("certificate or key is not usable")]
    Unusable(#[source] rustls::Error),
}

/// A client certificate with its key, both as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// What ALPN offers to providers.
pub(crate) const HTTP2: &[&[u8]] = &[b"h2"];

/// What ALPN offers to the token endpoint.
pub(crate) const HTTP2_OR_1: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Builds the configuration of all connections of a pool.
pub(crate) fn client_config(
    protocols: &[&[u8]],
    extra_roots: Option<&[u8]>,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system without roots is no error while the operator brings his own; a connection that
    // finds no root says so itself.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_roots {
        for certificate in certificates(pem, "ca_file")? {
            roots.add(certificate).map_err(TlsError::Unusable)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificate, "certificate_file")?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| TlsError::Pem {
                what: "certificate_key_file",
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsError::Unusable)?
        }
    };
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Pem { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let error = client_config(HTTP2, Some(b"not a certificate"), None).unwrap_err();
        assert_eq!(error.to_string(), "ca_file is not readable PEM");
    }

    #[test]
    fn only_http2_is_offered_to_providers() {
        let config = client_config(HTTP2, None, None).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2"]);
    }
}
