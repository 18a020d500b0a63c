//! The part of a payload that names event, screen and level.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The `fanfare` object beside `aps`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Named<'a> {
    #[serde(borrow, default)]
    pub(crate) event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) screen: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) level: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) challenge: Option<Cow<'a, str>>,
}

/// What is read of an APNs body: a JSON object with `aps`.
#[derive(Debug, Deserialize)]
pub(crate) struct ApnsBody<'a> {
    #[serde(borrow, default)]
    pub(crate) aps: Option<Aps<'a>>,
    #[serde(borrow, default)]
    pub(crate) fanfare: Option<Named<'a>>,
}

/// The part of `aps` that the ledger keeps.
#[derive(Debug, Deserialize)]
pub(crate) struct Aps<'a> {
    #[serde(borrow, default)]
    pub(crate) alert: Option<Alert<'a>>,
}

/// An alert's title, whichever form the alert has.
#[derive(Debug, Default)]
pub(crate) struct Alert<'a>(pub(crate) Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Alert<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Alert<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an object")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Alert(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Alert(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut alert = Alert(None);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "title" {
                        alert.0 = map.next_value::<Option<String>>()?.map(Cow::Owned);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(alert)
            }
        }
        input.deserialize_any(Form)
    }
}

pub(crate) fn owned(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(|it| it.clone().into_owned())
}
