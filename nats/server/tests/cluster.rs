//! Three servers as one cluster: lost and brought back, kept in a folder, on ports that others want.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use fanfare_nats_server::server::StoreError;
use fanfare_nats_server::{
    Cluster, Download, Environment, Options, Server, StartError, Store, obtain,
};

async fn binary() -> PathBuf {
    let environment = Environment::of_process();
    let tell = |step: &_| eprintln!("{step}");
    let obtained = obtain(None, &environment, Download::Allowed, &tell).await;
    obtained.unwrap().path
}

fn in_folder(folder: &Path) -> Options {
    Options {
        store: Store::Folder(folder.to_owned()),
        ..Options::ephemeral()
    }
}

#[tokio::test]
async fn a_cluster_loses_a_server_and_gets_it_back() {
    let started = Cluster::start(&binary().await, 3, &Options::ephemeral()).await;
    let mut cluster = started.unwrap();
    assert_eq!(cluster.url().split(',').count(), 3);
    let server = &mut cluster.servers_mut()[1];
    assert_eq!(server.name(), "fanfare-2");
    let url = server.url();
    server.kill9().await.unwrap();
    assert!(!server.is_running());
    cluster.ready().await.unwrap();
    let server = &mut cluster.servers_mut()[1];
    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    cluster.ready().await.unwrap();
}

#[tokio::test]
async fn a_cluster_has_a_folder_of_its_own_and_changes_its_ports_if_somebody_took_one() {
    let folder = tempfile::tempdir().unwrap();
    let (binary, options) = (binary().await, in_folder(folder.path()));
    let cluster = Cluster::start(&binary, 3, &options).await.unwrap();
    let url = cluster.url();
    let error = Cluster::start(&binary, 3, &options).await.err().unwrap();
    let taken = |error: &StartError| {
        matches!(
            error,
            StartError::Store(StoreError::Taken {
                holder: Some(_),
                ..
            })
        )
    };
    assert!(taken(&error), "{error}");
    let stopped = cluster.stop().await;
    assert!(
        stopped
            .iter()
            .all(|it| !it.was_killed && it.status.success()),
        "{stopped:?}"
    );
    drop(cluster);

    let second = url.split(',').nth(1).unwrap();
    let in_the_way = TcpListener::bind(second.trim_start_matches("nats://")).unwrap();
    let cluster = Cluster::start(&binary, 3, &options).await.unwrap();
    assert_ne!(cluster.url(), url);
    drop((cluster, in_the_way));
}

#[tokio::test]
async fn named_ports_are_used_and_never_exchanged_for_others() {
    let binary = binary().await;
    // Found and let go of: the cluster is what tells whether they were free.
    let found = Cluster::start(&binary, 3, &Options::ephemeral())
        .await
        .unwrap();
    let first = found
        .url()
        .split(',')
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let options = Options {
        port: Some(first),
        ..Options::ephemeral()
    };
    let error = Cluster::start(&binary, 3, &options).await.err().unwrap();
    assert!(error.is_address_in_use(), "{error}");
}

#[tokio::test]
async fn a_folder_of_one_server_is_not_one_of_a_cluster_nor_the_other_way_round() {
    let binary = binary().await;
    let of_one = tempfile::tempdir().unwrap();
    drop(
        Server::start(&binary, in_folder(of_one.path()))
            .await
            .unwrap(),
    );
    let error = Cluster::start(&binary, 3, &in_folder(of_one.path()))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, StartError::Store(StoreError::OfOneServer { .. })),
        "{error}"
    );

    let of_three = tempfile::tempdir().unwrap();
    drop(
        Cluster::start(&binary, 3, &in_folder(of_three.path()))
            .await
            .unwrap(),
    );
    let error = Server::start(&binary, in_folder(of_three.path()))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, StartError::Store(StoreError::OfCluster { .. })),
        "{error}"
    );
}
