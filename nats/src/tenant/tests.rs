//! Nothing that one tenant can write names what is another's.

use proptest::prelude::*;

use super::*;
use crate::DeviceHash;
use crate::event::{EventId, SourceName};
use crate::level::Level;
use crate::topic::user_hash;

/// Names that stand in the texts below, too.
fn tenant() -> impl Strategy<Value = Tenant> {
    let name = prop_oneof![
        Just("main".to_owned()),
        Just("acme".to_owned()),
        "[a-z0-9-]{1,20}"
    ];
    name.prop_map(|it| Tenant::parse(&it).unwrap())
}

/// Texts that are made of what the stored forms are made of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("acme".to_owned()),
        Just("main".to_owned()),
        Just("=".to_owned()),
        Just("%3D".to_owned()),
        Just("%1F".to_owned()),
        Just("\u{1f}".to_owned()),
        Just(".".to_owned()),
        Just("fanfare.tenant.acme.".to_owned()),
        Just("fanfare.device.".to_owned()),
        Just("fanfare.user.".to_owned()),
        Just("00ff00ff00ff00ff".to_owned()),
        Just("*".to_owned()),
        Just(">".to_owned()),
        "[a-zA-Z0-9_-]{1,4}",
        ".{0,4}",
    ];
    prop::collection::vec(piece, 1..6).prop_map(|it| it.concat())
}

/// What the API's readers take as a user or as the id of an event.
fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

proptest! {
    #[test]
    fn what_is_stored_is_shown_as_it_was_written(tenant in tenant(), text in hostile()) {
        if let Ok(id) = tenant.device_id(&text) {
            prop_assert_eq!(id.written(), &text);
            prop_assert_eq!(id.tenant(), tenant.clone());
            prop_assert_eq!(DeviceId::parse_stored(id.as_str()), Ok(id));
        }
        if let Ok(written) = Topic::parse(&text) {
            let topic = tenant.topic(&written);
            prop_assert_eq!(topic.written(), written);
            prop_assert_eq!(topic.tenant(), tenant.clone());
            prop_assert_eq!(Topic::parse_stored(topic.as_str()), Ok(topic));
        }
        if let Ok(written) = Pattern::parse(&text) {
            let pattern = tenant.pattern(&written);
            prop_assert_eq!(pattern.written(), written.as_str());
            prop_assert_eq!(Pattern::parse_stored(pattern.as_str()), Ok(pattern));
        }
        if is_text(&text) {
            let stored = tenant.text(&text);
            prop_assert_eq!(written_text(&stored), text);
        }
    }

    #[test]
    fn nothing_of_one_tenant_is_another_s(
        one in tenant(), two in tenant(), text in hostile(), other in hostile(),
    ) {
        prop_assume!(one != two);
        if let (Ok(a), Ok(b)) = (one.device_id(&text), two.device_id(&other)) {
            prop_assert_ne!(&a, &b);
            prop_assert_ne!(Topic::of_device(&a), Topic::of_device(&b));
        }
        let (a, b) = (one.text(&text), two.text(&other));
        if is_text(&text) && is_text(&other) {
            let id = |item: &str| EventId::new(&SourceName::api(), item, &Level::First);
            prop_assert_ne!(id(&a), id(&b));
            prop_assert_ne!(user_hash(&a), user_hash(&b));
            prop_assert_ne!(Topic::of_user(&a), Topic::of_user(&b));
        }
        if let (Ok(pattern), Ok(topic)) = (Pattern::parse(&text), Topic::parse(&other)) {
            prop_assert!(!one.pattern(&pattern).matches(&two.topic(&topic)));
            prop_assert_eq!(
                one.pattern(&pattern).matches(&one.topic(&topic)),
                pattern.matches(&topic)
            );
        }
    }
}

#[test]
fn what_main_writes_is_stored_as_it_is() {
    let main = Tenant::main();
    let topic = Topic::parse("news.x").unwrap();
    assert_eq!(main.device_id("phone-1"), DeviceId::parse("phone-1"));
    assert_eq!(main.topic(&topic), topic);
    assert_eq!(main.text("acme=ada"), "acme=ada");
    let ada = DeviceHash::of("ada");
    assert_eq!(user_hash("ada"), ada.0);
    assert_eq!(
        Topic::of_user("ada").as_str(),
        format!("fanfare.user.{ada}")
    );
}

#[test]
fn the_forms_stay_as_they_are() {
    let acme = Tenant::parse("acme").unwrap();
    let id = acme.device_id("phone-1").unwrap();
    assert_eq!(id.as_str(), "acme=phone-1");
    assert_eq!(acme.text("ada"), "acme\u{1f}ada");
    let pattern = acme.pattern(&Pattern::parse(">").unwrap());
    assert_eq!(pattern.as_str(), "fanfare.tenant.acme.>");
    let of_device = "fanfare.tenant.acme.fanfare.device.phone-1";
    assert_eq!(Topic::of_device(&id).as_str(), of_device);
    let of_user = acme.topic(&Topic::of_user("ada"));
    assert_eq!(Topic::of_user(&acme.text("ada")), of_user);
}

#[test]
fn a_written_text_cannot_stand_where_tenants_are() {
    for id in ["acme=phone-1", "=phone-1", "main=phone-1"] {
        assert!(DeviceId::parse(id).is_err(), "{id}");
    }
    // The one form of what is of `main` has no name in it.
    for id in [
        "main=phone-1",
        "Acme=phone-1",
        "=phone-1",
        "acme=b=c",
        "acme=",
    ] {
        assert!(DeviceId::parse_stored(id).is_err(), "{id}");
    }
    for topic in [
        "fanfare.tenant.acme.x",
        "fanfare.tenant.main.x",
        "fanfare.tenant.x",
        "fanfare.tenant.Acme.x",
    ] {
        assert!(Topic::parse(topic).is_err(), "{topic}");
        assert!(Pattern::parse(topic).is_err(), "{topic}");
    }
    for topic in [
        "fanfare.tenant.main.x",
        "fanfare.tenant.acme.fanfare.tenant.b.x",
    ] {
        assert!(Topic::parse_stored(topic).is_err(), "{topic}");
    }
    let longest = ["x"; 16].join(".") + &"y".repeat(200 - 31);
    assert!(Topic::parse_stored(&format!("fanfare.tenant.{}.{longest}", "a".repeat(20))).is_ok());
    assert!(Topic::parse_stored(&format!("fanfare.tenant.acme.{longest}y")).is_err());
}

#[test]
fn a_device_s_secret_says_whose_it_is() {
    use crate::key::{NewSecret, Presented};

    for tenant in [Tenant::main(), Tenant::parse("acme-2").unwrap()] {
        let secret = NewSecret::of_device(&tenant);
        let Some(Presented::Device(shown)) = Presented::parse(secret.reveal()) else {
            panic!("no device's secret");
        };
        assert_eq!(shown.tenant, tenant);
        // Another tenant's name before it makes it another secret.
        let (_, chance) = secret.reveal().rsplit_once('_').unwrap();
        let moved = Presented::parse(&format!("fanfare-device_b_{chance}"));
        let Some(Presented::Device(moved)) = moved else {
            panic!("no device's secret");
        };
        assert_ne!(moved.hash, shown.hash);
    }
}
