//! The files of `deploy/nats` as an operator lays them out, on this machine instead of three.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch};
use fanfare_nats_server::server::free_ports;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use reqwest::Client;

use crate::fanfare::eventually;

/// Every file that is shipped.
const FILES: [(&str, &str); 7] = [
    (
        "single.conf",
        include_str!("../../../deploy/nats/single.conf"),
    ),
    ("node.conf", include_str!("../../../deploy/nats/node.conf")),
    (
        "witness.conf",
        include_str!("../../../deploy/nats/witness.conf"),
    ),
    ("tls.conf", include_str!("../../../deploy/nats/tls.conf")),
    (
        "route-tls.conf",
        include_str!("../../../deploy/nats/route-tls.conf"),
    ),
    (
        "accounts.conf",
        include_str!("../../../deploy/nats/accounts.conf"),
    ),
    (
        "accounts-isolated.conf",
        include_str!("../../../deploy/nats/accounts-isolated.conf"),
    ),
];

const ROLES: [&str; 6] = ["fetcher", "notifier", "api", "ops", "auditor", "owner"];

/// The password of a role here.
pub(crate) fn password(role: &str) -> String {
    format!("pw-of-{role}")
}

/// A folder with a machine's folder for each server, and one authority for all.
pub(crate) struct Shipped {
    binary: PathBuf,
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    client: Client,
}

/// A server of a shipped file, running.
pub(crate) struct Machine {
    pub(crate) child: Child,
    pub(crate) client_port: u16,
    monitoring_port: u16,
    client: Client,
    folder: PathBuf,
}

/// How the text of a file is to differ from what is shipped.
pub(crate) type Edit = (&'static str, &'static str);

impl Shipped {
    pub(crate) fn new(binary: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            binary,
            folder,
            issuer: Issuer::new(params, key),
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> String {
        self.path().join("ca.pem").display().to_string()
    }

    /// Lays out the files of one machine: paths and ports are this machine's, nothing else differs.
    fn lay_out(&self, name: &str, ports: [u16; 3], edits: &[Edit]) -> PathBuf {
        let folder = self.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let at = folder.display();
        let [client, route, monitoring] = ports;
        for (file, text) in FILES {
            let mut text = text
                .replace("\"0.0.0.0:4222\"", &format!("\"127.0.0.1:{client}\""))
                .replace("\"127.0.0.1:4222\"", &format!("\"127.0.0.1:{client}\""))
                .replace("\"0.0.0.0:6222\"", &format!("\"127.0.0.1:{route}\""))
                .replace("\"127.0.0.1:8222\"", &format!("\"127.0.0.1:{monitoring}\""))
                .replace("/var/lib/nats", &format!("{at}/data"))
                .replace("/etc/nats/", &format!("{at}/"));
            for (from, to) in edits {
                text = text.replace(from, to);
            }
            std::fs::write(folder.join(file), text).unwrap();
        }
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server-key.pem"), key.serialize_pem()).unwrap();
        std::fs::copy(self.path().join("ca.pem"), folder.join("ca.pem")).unwrap();
        folder
    }

    /// The server with its environment, as the head of node.conf lists it.
    fn launch(&self, folder: &Path, name: &str, routes: [u16; 3], route_password: &str) -> Launch {
        let mut launch = Launch::new(&self.binary)
            .env("FANFARE_NATS_NAME", name)
            .env("FANFARE_ROUTE_PASSWORD", route_password);
        for (route, number) in routes.iter().zip(1..) {
            let url = format!("\"nats://route:{route_password}@127.0.0.1:{route}\"");
            launch = launch.env(format!("FANFARE_ROUTE_{number}"), url);
        }
        for role in ROLES {
            let variable = format!("FANFARE_{}_PASSWORD", role.to_uppercase());
            launch = launch.env(variable, password(role));
        }
        launch.folder(folder)
    }

    /// What the server's own check says of a file.
    pub(crate) async fn check(&self, file: &str) -> (bool, Vec<String>) {
        let folder = self.lay_out("check", [1, 2, 3], &[]);
        let launch = self.launch(&folder, "check", [2, 4, 5], "pw");
        let child = launch.args(["-t", "-c", file]).start().unwrap();
        let status = child.ended().await;
        (status.success(), child.last_lines())
    }

    /// Starts a file as a server that is alone.
    pub(crate) async fn single(&self, edits: &[Edit]) -> Machine {
        let ports = free_ports(3).unwrap();
        let ports = [ports[0], ports[1], ports[2]];
        let machine = self.start("single", "single.conf", ports, ports, edits);
        machine.ready(1).await;
        machine
    }

    /// Starts three files as one cluster.
    pub(crate) async fn three(&self, files: [&str; 3]) -> [Machine; 3] {
        let ports = free_ports(9).unwrap();
        let routes = [ports[3], ports[4], ports[5]];
        let machines = [0, 1, 2].map(|it| {
            let name = ["nats-1", "nats-2", "nats-3"][it];
            let own = [ports[it], routes[it], ports[6 + it]];
            self.start(name, files[it], own, routes, &[])
        });
        for machine in &machines {
            machine.ready(3).await;
        }
        machines
    }

    fn start(
        &self,
        name: &str,
        file: &str,
        ports: [u16; 3],
        routes: [u16; 3],
        edits: &[Edit],
    ) -> Machine {
        let folder = self.lay_out(name, ports, edits);
        let launch = self.launch(&folder, name, routes, "pwroute");
        let launch = launch.args(["-c", file, "-l", "log"]);
        Machine {
            child: launch.start().unwrap(),
            client_port: ports[0],
            monitoring_port: ports[2],
            client: self.client.clone(),
            folder,
        }
    }

    /// A server that knows the routes and neither password nor certificate of theirs.
    pub(crate) async fn intruder(&self, machines: &[Machine; 3], edits: &[Edit]) -> Machine {
        let ports = free_ports(3).unwrap();
        let folder = self.lay_out("intruder", [ports[0], ports[1], ports[2]], edits);
        let mut routes = [0; 3];
        for (route, machine) in routes.iter_mut().zip(machines) {
            let page = machine.page("varz").await;
            *route = u16::try_from(page["cluster"]["cluster_port"].as_u64().unwrap()).unwrap();
        }
        let launch = self.launch(&folder, "intruder", routes, "pwwrong");
        Machine {
            child: launch
                .args(["-c", "node.conf", "-l", "log"])
                .start()
                .unwrap(),
            client_port: ports[0],
            monitoring_port: ports[2],
            client: self.client.clone(),
            folder,
        }
    }
}

impl Machine {
    /// A page of its monitoring.
    pub(crate) async fn page(&self, name: &str) -> serde_json::Value {
        let url = format!("http://127.0.0.1:{}/{name}", self.monitoring_port);
        let answer = self
            .client
            .get(url)
            .timeout(Duration::from_secs(20))
            .send()
            .await;
        let text = answer.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits until it says that all is well, with so many servers.
    async fn ready(&self, size: u64) {
        let url = format!("http://127.0.0.1:{}/healthz", self.monitoring_port);
        eventually("a healthy server", async || {
            assert!(self.child.status().is_none(), "{}", self.log());
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let page = self.page("varz").await;
        let others = page["cluster"]["urls"].as_array().map_or(0, Vec::len);
        if size > 1 {
            assert!(others > 0, "{page:#}");
        }
    }
}
