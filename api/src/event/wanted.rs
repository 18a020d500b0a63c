//! Which events somebody asks for: those of his tenant, on topics that his patterns match.

use fanfare_nats::{Pattern, Tenant, Topic};

use crate::problem::Problem;
use crate::query::{Pairs, refuse};
use crate::text;

/// The most patterns that one request may name.
const MAX_PATTERNS: usize = 32;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    tenant: Tenant,
    /// As they are stored; none are all topics.
    patterns: Vec<Pattern>,
    /// Whether what is told of registrations is asked for, which no pattern reaches.
    has_expiring: bool,
}

impl Wanted {
    /// Reads `?topic=…`, which may be given several times.
    pub(crate) fn read(tenant: Tenant, query: &Pairs) -> Result<Self, Problem> {
        let expiring = Topic::of_expiring(&Tenant::main());
        let is_expiring = |text: &str| text == expiring.as_str();
        let named = query.all("topic");
        let has_expiring = named.clone().any(is_expiring);
        let named = named.filter(|it| !is_expiring(it));
        let patterns: Vec<Pattern> = named
            .map(|text| {
                let pattern = Pattern::parse(text).map(|it| tenant.pattern(&it));
                pattern.map_err(|error| {
                    let complaint = text::topic_complaint(&error);
                    refuse(format!("the topic {complaint}"))
                })
            })
            .collect::<Result<_, _>>()?;
        if patterns.len() > MAX_PATTERNS {
            return Err(refuse(format!("name at most {MAX_PATTERNS} topics")));
        }
        Ok(Self {
            tenant,
            patterns,
            has_expiring,
        })
    }

    /// Whether an event on these topics, all of one tenant, is among it. One on no topic, of which
    /// nobody knows whose it is, never is; nor is a challenge, whose nonce only a push may tell.
    pub(crate) fn holds(&self, topics: &[Topic]) -> bool {
        if topics.iter().any(Topic::is_of_challenge) {
            return false;
        }
        let is_own = topics.first().is_some_and(|it| it.tenant() == self.tenant);
        let is_matched = |it: &Pattern| topics.iter().any(|topic| it.matches(topic));
        let is_all = self.patterns.is_empty() && !self.has_expiring;
        let is_named = self.has_expiring && topics.contains(&Topic::of_expiring(&self.tenant));
        is_own && (is_all || is_named || self.patterns.iter().any(is_matched))
    }
}
