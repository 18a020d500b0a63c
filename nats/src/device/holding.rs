//! Whose a token is, where several documents name it. Pure, and of the documents alone: whoever reads
//! the same documents, in whatever order and however many of their predecessors are gone, says the same.
//!
//! A token is whose it was first, by the order of revisions. Another device of the same user takes it
//! over as it comes. Another user's, or one of another tenant, has to show first that it holds the token
//! ([`Holding::is_proven`]); until then its document stands there and is sent nothing. So nothing depends
//! on what an API knew when it took the registration.

use std::collections::BTreeMap;

/// How a document stands to its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The revision since which the device has this token; `None` where this document is the first.
    pub since: Option<u64>,
    /// Whoever holds the token has confirmed it, or nobody asked in the version that wrote it.
    pub is_proven: bool,
}

impl Holding {
    /// What a document says of itself that says nothing: one of a version that challenged nobody.
    pub(crate) const UNSAID: Self = Self {
        since: None,
        is_proven: true,
    };
    /// Of a document whose challenge is answered: from then on.
    pub(super) const PROVEN: Self = Self::UNSAID;

    /// The same, of a document that is stored at this revision.
    #[must_use]
    pub fn at(self, revision: u64) -> Self {
        // Less than its number where a bucket was filled anew, and counts from the beginning.
        let since = self.since.map_or(revision, |it| it.min(revision));
        Self {
            since: Some(since),
            ..self
        }
    }
}

/// One of the documents that name a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender<'a> {
    /// `None` is `main`.
    pub tenant: Option<&'a str>,
    /// A hash of the user, 0 for none.
    pub user: u64,
    /// Since when it has the token.
    pub since: u64,
    /// Its own.
    pub revision: u64,
    pub is_proven: bool,
}

/// What a document's token is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its own.
    Owned,
    /// Another device's of its tenant, and it would be its own without that.
    Lost,
    /// Somebody else's, until it is shown to be held.
    Contested,
}

/// Says what the token is to each of all those who name it. Each tenant has an owner of its own: a
/// tenant takes no token away from another.
pub(crate) fn judge(contenders: &[Contender<'_>]) -> Vec<Standing> {
    let mut order: Vec<(usize, &Contender<'_>)> = contenders.iter().enumerate().collect();
    order.sort_unstable_by_key(|(_, it)| (it.since, it.revision));
    let mut standings = vec![Standing::Contested; contenders.len()];
    let mut holders: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    for (place, it) in order {
        if it.is_proven || !is_anothers(&holders, it) {
            holders.insert(it.tenant, it.user);
            set(&mut standings, place, Standing::Lost);
        }
    }
    for (tenant, user) in holders {
        let places = contenders.iter().zip(&standings).enumerate();
        let his = places.filter(|(_, (it, standing))| {
            **standing != Standing::Contested && (it.tenant, it.user) == (tenant, user)
        });
        if let Some((place, _)) = his.max_by_key(|(_, (it, _))| it.revision) {
            set(&mut standings, place, Standing::Owned);
        }
    }
    standings
}

/// Whether those who hold the token are others. Who is nobody's loses it to anybody of his tenant.
fn is_anothers(holders: &BTreeMap<Option<&str>, u64>, it: &Contender<'_>) -> bool {
    match holders.get(&it.tenant) {
        Some(user) if *user != 0 => *user != it.user,
        Some(_) | None => holders.keys().any(|tenant| *tenant != it.tenant),
    }
}

fn set(standings: &mut [Standing], place: usize, standing: Standing) {
    if let Some(it) = standings.get_mut(place) {
        *it = standing;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Standing::{Contested, Lost, Owned};
    use super::*;

    const ADA: u64 = 1;
    const BOB: u64 = 2;
    const NOBODY: u64 = 0;

    fn holding(user: u64, since: u64, revision: u64) -> Contender<'static> {
        Contender {
            tenant: None,
            user,
            since,
            revision,
            is_proven: false,
        }
    }

    fn proven(it: Contender<'static>) -> Contender<'static> {
        Contender {
            is_proven: true,
            ..it
        }
    }

    fn of(tenant: &'static str, it: Contender<'static>) -> Contender<'static> {
        Contender {
            tenant: Some(tenant),
            ..it
        }
    }

    #[track_caller]
    fn check(contenders: &[(Contender<'static>, Standing)]) {
        let (contenders, expected): (Vec<_>, Vec<_>) = contenders.iter().copied().unzip();
        assert_eq!(judge(&contenders), expected, "{contenders:?}");
    }

    #[test]
    fn a_token_is_whose_it_was_first_however_often_he_writes_again() {
        check(&[(holding(ADA, 1, 1), Owned), (holding(BOB, 2, 2), Contested)]);
        check(&[(holding(ADA, 1, 9), Owned), (holding(BOB, 2, 2), Contested)]);
        check(&[
            (holding(ADA, 1, 1), Owned),
            (holding(NOBODY, 2, 9), Contested),
        ]);
    }

    #[test]
    fn who_shows_that_he_holds_it_has_it_until_another_shows_it() {
        check(&[
            (holding(ADA, 1, 9), Lost),
            (proven(holding(BOB, 5, 5)), Owned),
        ]);
        let (hers, his) = (proven(holding(ADA, 9, 9)), proven(holding(BOB, 5, 5)));
        check(&[(hers, Owned), (his, Lost)]);
    }

    #[test]
    fn of_one_user_and_of_nobody_the_latest_has_it() {
        check(&[(holding(ADA, 1, 1), Lost), (holding(ADA, 2, 2), Owned)]);
        check(&[(holding(ADA, 1, 3), Owned), (holding(ADA, 2, 2), Lost)]);
        check(&[
            (holding(NOBODY, 1, 3), Owned),
            (holding(NOBODY, 2, 2), Lost),
        ]);
        check(&[(holding(NOBODY, 1, 3), Lost), (holding(ADA, 2, 2), Owned)]);
    }

    #[test]
    fn a_tenant_takes_nothing_away_and_gets_nothing_for_nothing() {
        let hers = holding(ADA, 1, 1);
        let theirs = of("acme", holding(BOB, 2, 2));
        check(&[(hers, Owned), (theirs, Contested)]);
        check(&[(hers, Owned), (proven(theirs), Owned)]);
        // Her next device is hers, although they hold it too.
        let next = holding(ADA, 3, 3);
        check(&[(hers, Lost), (proven(theirs), Owned), (next, Owned)]);
        // Whose it is in no tenant needs a proof in another one, too.
        let nobodys = holding(NOBODY, 1, 1);
        check(&[
            (nobodys, Owned),
            (of("acme", holding(NOBODY, 2, 2)), Contested),
        ]);
    }

    #[test]
    fn documents_that_say_nothing_are_taken_as_before_the_latest_has_it() {
        let unsaid = |user, revision| {
            let holding = Holding::UNSAID.at(revision);
            Contender {
                is_proven: holding.is_proven,
                ..self::holding(user, holding.since.unwrap(), revision)
            }
        };
        check(&[(unsaid(ADA, 1), Lost), (unsaid(BOB, 2), Owned)]);
        check(&[(unsaid(ADA, 1), Owned), (of("acme", unsaid(BOB, 2)), Owned)]);
    }

    #[test]
    fn a_bucket_that_was_filled_anew_counts_from_its_own_beginning() {
        let said = Holding {
            since: Some(50_000),
            is_proven: false,
        };
        assert_eq!(said.at(12).since, Some(12));
        assert_eq!(said.at(60_000).since, Some(50_000));
        assert_eq!(Holding::default().at(7).since, Some(7));
    }

    proptest! {
        #[test]
        fn somebody_has_it_in_each_tenant_that_held_it_and_the_order_of_reading_does_not_matter(
            drawn in prop::collection::vec(
                (0_usize..3, 0_u64..3, 1_u64..9, any::<bool>()), 1..8,
            ),
            turn in 0_usize..8,
        ) {
            let tenants = [None, Some("acme"), Some("b")];
            let made = drawn.iter().enumerate().map(|(n, (tenant, user, since, is_proven))| {
                let revision = u64::try_from(n).unwrap() + 9;
                Contender {
                    tenant: tenants[*tenant],
                    user: *user,
                    since: *since,
                    revision,
                    is_proven: *is_proven,
                }
            });
            let mut contenders: Vec<_> = made.collect();
            let mut standings = judge(&contenders);
            for tenant in tenants {
                let its = || contenders.iter().zip(&standings).filter(|(it, _)| it.tenant == tenant);
                let n_owners = its().filter(|(_, it)| **it == Owned).count();
                let holds = its().any(|(_, it)| *it != Contested);
                prop_assert_eq!(n_owners, usize::from(holds));
            }
            prop_assert!(standings.contains(&Owned));
            let turn = turn % contenders.len();
            contenders.rotate_left(turn);
            standings.rotate_left(turn);
            prop_assert_eq!(judge(&contenders), standings);
        }
    }
}
