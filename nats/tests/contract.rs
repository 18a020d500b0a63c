//! The contract with the broker, against a real nats-server: every case on one server and on three.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

/// Runs each case on one server and on three, with servers of its own.
macro_rules! on_one_and_three {
    ($($case:ident),+ $(,)?) => {
        mod on_one_server {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(fanfare_nats::testing::TestServer::start().await).await;
                }
            )+
        }

        mod on_three_servers {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(fanfare_nats::testing::TestServer::start_three().await).await;
                }
            )+
        }
    };
}

mod contract {
    mod ahead;
    mod audit;
    mod backup;
    mod claims;
    mod control;
    mod dead;
    mod devices;
    mod events;
    mod feed;
    mod follow;
    mod forced;
    mod grow;
    mod keys;
    mod leases;
    mod least_privilege;
    mod members;
    mod permissions;
    mod plans;
    mod receipts;
    mod services;
    mod strictness;
    mod support;
    mod survey;
    mod topology;
    mod wakeups;
}
