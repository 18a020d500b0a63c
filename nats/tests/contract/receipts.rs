//! The chain of receipts: compare-and-set decides whose a task is.

use fanfare_nats::receipt::{Claim, Receipt, Verdict};
use fanfare_nats::receipts::AppendError;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{DeviceHash, Task};

use super::support::{now, plan, raw, state, strike};

on_one_and_three!(
    receipts_are_a_chain_and_the_last_one_is_read_back,
    the_second_writer_is_fenced_and_reads_the_greater_claim,
    a_lost_answer_of_ones_own_append_is_no_fence,
    a_chain_goes_on_through_a_kill,
);

fn task() -> Task {
    plan("us1", &[("ios", 1)]).tasks().next().unwrap()
}

fn receipt(delivered: u64, nonce: u64) -> Receipt {
    let claim = Claim {
        epoch: 1,
        pass: 1,
        message: 0,
        delivered,
        nonce,
    };
    let at = jiff::Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    Receipt::first(claim, "n1", at)
}

async fn receipts_are_a_chain_and_the_last_one_is_read_back(server: TestServer) {
    let broker = server.broker("n1").await;
    let (mut chain, last) = broker.receipts(&task()).await.unwrap();
    assert_eq!(last, None);
    let mut seqs = vec![chain.append(&receipt(1, 7)).await.unwrap()];
    for low in 1..5 {
        let next = Receipt {
            low: Some(DeviceHash(low)),
            ..receipt(1, 7)
        };
        seqs.push(chain.append(&next).await.unwrap());
        let (_, last) = broker.receipts(&task()).await.unwrap();
        assert_eq!(last, Some(next));
    }
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert_eq!(
        state(&raw(&server).await, "FANFARE_RECEIPTS")
            .await
            .messages,
        5
    );
}

async fn the_second_writer_is_fenced_and_reads_the_greater_claim(server: TestServer) {
    let (first, second) = (server.broker("n1").await, server.broker("n2").await);
    let (mut mine, _) = first.receipts(&task()).await.unwrap();
    let (mut theirs, _) = second.receipts(&task()).await.unwrap();
    mine.append(&receipt(1, 7)).await.unwrap();
    let fenced = theirs.append(&receipt(1, 8)).await;
    assert!(matches!(fenced, Err(AppendError::Fenced)), "{fenced:?}");
    assert_eq!(second.metrics().fenced_claims.get(), 1);

    let (mut theirs, last) = second.receipts(&task()).await.unwrap();
    let recorded = last.unwrap().claim;
    assert_eq!(
        receipt(1, 8).claim.against(Some(&recorded)),
        Verdict::Refused
    );
    assert_eq!(receipt(2, 8).claim.against(Some(&recorded)), Verdict::Take);
    theirs.append(&receipt(2, 8)).await.unwrap();
    let stopped = mine
        .append(&Receipt {
            low: None,
            ..receipt(1, 7)
        })
        .await;
    assert!(matches!(stopped, Err(AppendError::Fenced)), "{stopped:?}");
    let (_, last) = first.receipts(&task()).await.unwrap();
    assert_eq!(last.unwrap().claim, receipt(2, 8).claim);
}

async fn a_lost_answer_of_ones_own_append_is_no_fence(server: TestServer) {
    let broker = server.broker("n1").await;
    let (chain, _) = broker.receipts(&task()).await.unwrap();
    let receipt = receipt(1, 7);
    // Two copies of the chain stand at the same place, as before and after a lost answer.
    let (mut asked, mut again) = (chain.clone(), chain);
    let seq = asked.append(&receipt).await.unwrap();
    assert_eq!(again.append(&receipt).await.unwrap(), seq);
    let next = Receipt {
        low: None,
        ..receipt
    };
    assert!(again.append(&next).await.unwrap() > seq);
    assert_eq!(
        state(&raw(&server).await, "FANFARE_RECEIPTS")
            .await
            .messages,
        2
    );
    assert_eq!(broker.metrics().fenced_claims.get(), 0);
}

async fn a_chain_goes_on_through_a_kill(mut server: TestServer) {
    let broker = server.broker("n1").await;
    let (mut chain, _) = broker.receipts(&task()).await.unwrap();
    chain.append(&receipt(1, 7)).await.unwrap();
    strike(&mut server, "FANFARE_RECEIPTS").await;
    for low in 1..=20 {
        let next = Receipt {
            low: Some(DeviceHash(low)),
            ..receipt(1, 7)
        };
        chain.append(&next).await.unwrap();
    }
    let (_, last) = broker.receipts(&task()).await.unwrap();
    assert_eq!(last.unwrap().low, Some(DeviceHash(20)));
    assert_eq!(
        state(&raw(&server).await, "FANFARE_RECEIPTS")
            .await
            .messages,
        21
    );
    let noticed = broker.metrics().publish_retries.get() + broker.metrics().reconnects.get();
    assert!(noticed > 0, "the kill did not bite");
}
