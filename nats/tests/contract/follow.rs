//! The devices, followed on a thread of their own.

use fanfare_nats::Readiness;
use fanfare_nats::bucket::Expect;
use fanfare_nats::follow::{Followed, NotCurrent};
use fanfare_nats::testing::TestServer;
use tokio_util::sync::CancellationToken;

use super::support::{connect, device, id};

on_one_and_three!(what_was_acknowledged_is_in_the_index_when_it_is_current,);

async fn what_was_acknowledged_is_in_the_index_when_it_is_current(server: TestServer) {
    let (writer, reader) = (server.broker("n1").await, server.broker("n2").await);
    let (stop, readiness) = (CancellationToken::new(), Readiness::new());
    let followed = Followed::start(reader.clone(), readiness, stop.clone());
    let (followed, ended) = followed.unwrap();
    let mut seen = followed.seen();
    seen.wait_for(Option::is_some).await.unwrap();
    for n in 0..50 {
        let phone = id(&format!("phone-{n}"));
        let put = writer.put_device(&phone, &device("t"), Expect::Any).await;
        put.unwrap();
        followed.current(&reader).await.unwrap();
        assert_eq!(followed.index().len(), n + 1);
    }
    // The last revision is one that nobody will see, and nobody waits for it.
    let reached = followed.index().reached();
    writer
        .delete_device(&id("phone-0"), Expect::Any)
        .await
        .unwrap();
    writer
        .delete_device(&id("phone-1"), Expect::Any)
        .await
        .unwrap();
    followed.current(&reader).await.unwrap();
    assert_eq!(followed.index().len(), 48);
    assert!(followed.index().reached() > reached);
    stop.cancel();
    assert!(ended.await.is_err());
}

#[tokio::test]
async fn an_index_without_a_bucket_is_loading() {
    let server = TestServer::start().await;
    let broker = connect(&server, "nothing").await;
    let stop = CancellationToken::new();
    let readiness = Readiness::new();
    let (followed, _ended) = Followed::start(broker.clone(), readiness, stop.clone()).unwrap();
    let current = followed.current(&broker).await;
    assert!(matches!(current, Err(NotCurrent::Loading)), "{current:?}");
    stop.cancel();
}
