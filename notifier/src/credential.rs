//! How we prove to a provider who we are.
//!
//! Both schemes sign with ring, which TLS needs anyway: ES256 for Apple's provider token, RS256 for
//! Google's assertion. Both are made once for many pushes and replaced before they end, by one
//! task, while the others go on with the old one.

pub(crate) mod jwt;
pub(crate) mod keyring;
pub(crate) mod oauth;
pub(crate) mod provider_token;
pub(crate) mod secret;

pub use keyring::Keyring;
pub use provider_token::KeyError;
pub use secret::Secret;
