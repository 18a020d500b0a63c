//! What the tests of the machine's parts share.

use std::time::Duration;

use fanfare_nats::receipt::Claim;
use jiff::Timestamp;

use super::{At, Budget, Rules, Start};

/// A budget without an end.
pub(super) struct Plenty;

impl Budget for Plenty {
    type Leave = ();

    fn try_admit(&mut self) -> Option<()> {
        Some(())
    }

    fn give_back(&mut self, _: usize) {}

    fn is_exhausted(&self) -> bool {
        false
    }
}

/// A moment.
pub(super) const AT: At = At {
    mono: Duration::ZERO,
    wall: Timestamp::UNIX_EPOCH,
    is_fresh: true,
};

/// The claim of the `delivered`-th delivery.
pub(super) fn claim(delivered: u64) -> Claim {
    Claim {
        epoch: 1,
        pass: 1,
        message: 1,
        delivered,
        nonce: delivered,
    }
}

/// What a machine with that claim is started with: `ack_wait` 30 s, a receipt after each outcome.
pub(super) fn start(claim: Claim) -> Start {
    Start {
        claim,
        node: "n".into(),
        expires_at: Timestamp::MAX,
        ack_wait: Duration::from_secs(30),
        stride: 1,
        stride_after: Duration::from_millis(100),
        rules: Rules::default(),
    }
}
