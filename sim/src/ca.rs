//! Certificates and keys of the doubles, made on first start and kept in the sim's folder.
//!
//! A second start in the same folder uses the same ones, so that clients configured once go on.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Names a client may use for the doubles: the real ones too, for peers whose address is fixed.
const NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "fcm.googleapis.com",
    "oauth2.googleapis.com",
];

/// The doubles' certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The folder or a file in it.
    #[error("failed to keep certificates in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
    /// A kept file holds no certificate or key.
    #[error("failed to read the certificates in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// TLS does not take them.
    #[error("the kept certificates cannot be used")]
    Tls(#[source] rustls::Error),
    /// Client certificates cannot be checked against the kept authority.
    #[error("client certificates cannot be checked")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// The files of the doubles' certificate authority.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// Certificate of the authority, PEM: what a client must trust.
    pub ca: PathBuf,
    /// Certificate and key of an APNs client, PEM: certificate authentication.
    pub client: PathBuf,
    server: PathBuf,
}

impl Certificates {
    /// Finds the files in `folder` or makes them, for doubles that listen on `address`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Path, address: IpAddr) -> Result<Self, CertificateError> {
        let files = Self {
            ca: folder.join("ca.pem"),
            client: folder.join("apns-client.pem"),
            server: folder.join("server.pem"),
        };
        if !(files.ca.exists() && files.client.exists() && files.server.exists()) {
            files.make(address)?;
        }
        Ok(files)
    }

    fn make(&self, address: IpAddr) -> Result<(), CertificateError> {
        let mut authority = CertificateParams::new([]).map_err(CertificateError::Make)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "fanfare sim, never trust outside");
        let key = KeyPair::generate().map_err(CertificateError::Make)?;
        let ca = authority
            .self_signed(&key)
            .map_err(CertificateError::Make)?
            .pem();
        let issuer = Issuer::new(authority, key);

        let address = address.to_string();
        let mut names = NAMES.to_vec();
        if !names.contains(&address.as_str()) {
            names.push(&address);
        }
        let server = leaf(
            &issuer,
            &names,
            "fanfare sim",
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        let client = leaf(
            &issuer,
            &["apns-client.invalid"],
            "Apple Push Services: fanfare sim",
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        write(&self.server, &server)?;
        write(&self.client, &client)?;
        // Last: whoever sees the authority's file finds the others.
        write(&self.ca, &ca)
    }

    /// TLS 1.3 with ALPN `h2`. With `accepts_clients` a client certificate of this authority is
    /// asked for, and checked if sent.
    ///
    /// # Errors
    /// The files were damaged.
    pub(crate) fn server_config(
        &self,
        accepts_clients: bool,
    ) -> Result<rustls::ServerConfig, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CertificateError::Tls)?;
        let asking = if accepts_clients {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(&self.ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(CertificateError::Verifier)?;
            versions.with_client_cert_verifier(verifier)
        } else {
            versions.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(&self.server)
            .map_err(|cause| unread(&self.server, cause))?;
        let mut config = asking
            .with_single_cert(certificates(&self.server)?, key)
            .map_err(CertificateError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    names: &[&str],
    common_name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<String, CertificateError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(CertificateError::Make)?;
    let certificate = params
        .signed_by(&key, issuer)
        .map_err(CertificateError::Make)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|cause| unread(path, cause))
}

fn unread(path: &Path, cause: rustls_pki_types::pem::Error) -> CertificateError {
    CertificateError::Read {
        path: path.to_owned(),
        cause,
    }
}

fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    fs::write(path, text).map_err(|cause| CertificateError::Io {
        path: path.to_owned(),
        cause,
    })
}
