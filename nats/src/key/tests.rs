//! Keys: what a secret is worth, what a scope reaches, and that nothing prints a secret.

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::Topic;

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|it| it.parse().unwrap()).collect()
}

fn key(texts: &[&str]) -> (Key, NewSecret) {
    Key::create(Tenant::main(), "backend", scopes(texts), None, noon()).unwrap()
}

fn hash_of(text: &str) -> SecretHash {
    match Presented::parse(text).unwrap() {
        Presented::Key(key) => key.hash,
        Presented::Device(device) => device.hash,
    }
}

#[test]
fn a_key_is_good_until_it_ends_and_no_other_secret_is() {
    let (mut key, secret) = key(&["read"]);
    let hash = hash_of(secret.reveal());
    assert_eq!(key.judge(&hash, noon()), Standing::Good);
    let (_, other) = self::key(&["read"]);
    assert_eq!(key.judge(&other.hash(), noon()), Standing::Wrong);

    key.expires_at = Some(noon() + 1.hour());
    let last = noon() + 1.hour() - 1.nanosecond();
    assert_eq!(key.judge(&hash, last), Standing::Good);
    assert_eq!(key.judge(&hash, noon() + 1.hour()), Standing::Expired);
    key.revoked_at = Some(noon());
    assert_eq!(key.judge(&hash, noon()), Standing::Revoked);
    // Whoever does not have the secret learns nothing of what became of the key.
    assert_eq!(key.judge(&other.hash(), noon()), Standing::Wrong);
}

#[test]
fn a_rotated_key_has_two_secrets_for_the_overlap_and_never_three() {
    let (mut key, first) = key(&["read"]);
    let second = key.rotate(SignedDuration::from_hours(2), noon());
    let judge = |key: &Key, secret: &NewSecret, at| key.judge(&secret.hash(), at);
    assert_eq!(judge(&key, &first, noon() + 119.minutes()), Standing::Good);
    assert_eq!(judge(&key, &first, noon() + 2.hours()), Standing::Replaced);
    assert_eq!(judge(&key, &second, noon() + 9.hours()), Standing::Good);
    let third = key.rotate(SignedDuration::from_hours(24), noon() + 1.hour());
    assert_eq!(judge(&key, &first, noon() + 1.hour()), Standing::Wrong);
    assert_eq!(judge(&key, &second, noon() + 2.hours()), Standing::Good);
    assert_eq!(judge(&key, &third, noon() + 2.hours()), Standing::Good);
    let last = key.rotate(SignedDuration::ZERO, noon() + 2.hours());
    assert_eq!(judge(&key, &third, noon() + 2.hours()), Standing::Replaced);
    assert_eq!(judge(&key, &last, noon() + 2.hours()), Standing::Good);
    assert_eq!(key.proofs.len(), 2);
}

#[test]
fn a_key_is_read_back_as_it_was_written_and_the_document_proves_nothing() {
    let (mut key, secret) = key(&["devices:write", "events:publish:news.>"]);
    let _second = key.rotate(SignedDuration::from_hours(1), noon());
    key.expires_at = Some(noon() + 24.hours());
    let bytes = key.encode();
    let read = |id: &KeyId| Key::decode(Tenant::main(), id.clone(), &bytes).unwrap();
    assert_eq!(read(&key.id), key);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let (_, letters) = secret.reveal().rsplit_once('_').unwrap();
    assert!(!text.contains(letters), "{text}");
    // A copy under another id is a key that nobody has: the id is part of what is hashed.
    let copy = read(&KeyId::random());
    let forged = secret.reveal().replace(key.id.as_str(), copy.id.as_str());
    assert_eq!(copy.judge(&hash_of(&forged), noon()), Standing::Wrong);
}

#[test]
fn what_a_later_version_wrote_gives_nothing() {
    let read = |text: &str| Key::decode(Tenant::main(), KeyId::random(), text.as_bytes());
    let tail = r#""name":"x","created_at":"2026-03-01T12:00:00Z","proofs":[]}"#;
    let known = read(&format!(r#"{{"schema":1,"scopes":["fly","read"],{tail}"#)).unwrap();
    assert_eq!(known.scopes, [Scope::Read]);
    let later = read(&format!(r#"{{"schema":2,"scopes":[],{tail}"#)).unwrap_err();
    assert!(matches!(later, DecodeKeyError::Schema(2)), "{later:?}");
    assert!(matches!(read("{").unwrap_err(), DecodeKeyError::Shape(_)));
}

#[test]
fn nothing_prints_a_secret() {
    let (key, secret) = key(&["read"]);
    let presented = Presented::parse(secret.reveal()).unwrap();
    let (_, letters) = secret.reveal().rsplit_once('_').unwrap();
    let hash = secret.hash().to_hex();
    for printed in [
        format!("{secret:?}"),
        format!("{presented:?}"),
        format!("{key:?}"),
    ] {
        assert!(!printed.contains(letters), "{printed}");
        assert!(!printed.contains(&hash), "{printed}");
    }
}

#[track_caller]
fn check_publish(pattern: &str, topic: &Topic, expected: bool) {
    let (key, _) = key(&[&format!("events:publish:{pattern}")]);
    assert_eq!(key.may_publish(topic), expected, "{pattern} {topic}");
}

#[test]
fn a_pattern_reaches_its_topics_and_devices_and_users_only_by_name() {
    let topic = |it: &str| Topic::parse(it).unwrap();
    let phone = Topic::of_device(&crate::DeviceId::parse("phone-1").unwrap());
    let ada = Topic::of_user("ada");
    check_publish("news.>", &topic("news.local"), true);
    check_publish("news.>", &topic("quakes.us"), false);
    check_publish(">", &topic("quakes.us"), true);
    for everybody in [&phone, &ada] {
        check_publish(">", everybody, false);
        check_publish("*.device.*", everybody, false);
    }
    check_publish("fanfare.device.*", &phone, true);
    check_publish("fanfare.device.phone-1", &phone, true);
    check_publish("fanfare.device.phone-10", &phone, false);
    check_publish("fanfare.device.phone", &phone, false);
    check_publish("fanfare.device.*", &ada, false);
    check_publish("fanfare.user.*", &ada, true);
    let (admin, _) = key(&["admin"]);
    assert!(admin.may_publish(&ada));
    for others in ["read", "operate", "devices:write", "devices:write:self"] {
        assert!(
            !key(&[others]).0.may_publish(&topic("news.local")),
            "{others}"
        );
    }
}

#[test]
fn what_is_no_scope_is_refused() {
    for text in [
        "",
        "write",
        "Admin",
        "events:publish",
        "events:publish:",
        "events:publish:a..b",
        "events:publish:fanfare.>",
        "events:publish:fanfare.device.>",
        "events:publish:fanfare.other.x",
        "events:publish:fanfare.device.a.b",
        "read ",
    ] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
    let create = |name: &str, scopes, end| Key::create(Tenant::main(), name, scopes, end, noon());
    let refused = |it: Result<(Key, NewSecret), KeyError>| it.unwrap_err();
    assert_eq!(refused(create("x", Vec::new(), None)), KeyError::Scopes);
    let read = || scopes(&["read"]);
    assert_eq!(refused(create("", read(), None)), KeyError::Name);
    assert_eq!(refused(create("a\nb", read(), None)), KeyError::Name);
    assert_eq!(
        refused(create("x", read(), Some(noon()))),
        KeyError::Expired
    );
}

#[test]
fn admin_has_every_right_and_the_others_have_their_own() {
    for text in [
        "devices:write",
        "devices:write:self",
        "events:publish:a",
        "read",
        "operate",
    ] {
        let (key, _) = key(&[text]);
        let right = key.scopes[0].right();
        let has: Vec<Right> = Right::ALL.into_iter().filter(|it| key.has(*it)).collect();
        assert_eq!(has, [right], "{text}");
        assert_eq!(key.scopes[0].to_string(), text);
        assert!(key.scopes[0].to_string().starts_with(right.as_str()));
    }
    let (admin, _) = key(&["admin"]);
    assert!(Right::ALL.into_iter().all(|it| admin.has(it)));
}

#[test]
fn only_whole_texts_are_read() {
    let (_, secret) = key(&["read"]);
    let text = secret.reveal();
    assert!(matches!(Presented::parse(text), Some(Presented::Key(_))));
    let device = NewSecret::of_device(&Tenant::main());
    let device = Presented::parse(device.reveal());
    assert!(matches!(device, Some(Presented::Device(_))));
    for wrong in [
        &text[..text.len() - 1],
        &format!("{text}0"),
        &format!("{text}_0"),
        &text.replacen("main", "Main", 1),
        &text.replacen("fanfare_", "fanfare-device_", 1),
        "fanfare_main_",
        "",
    ] {
        assert!(Presented::parse(wrong).is_none(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _read = Presented::parse(&text);
        let _read = Presented::parse(&format!("fanfare_{text}"));
        let _read = text.parse::<Scope>();
        let _read = format!("events:publish:{text}").parse::<Scope>();
        let _read = Key::decode(Tenant::main(), KeyId::random(), &bytes);
        let _read = SecretHash::parse(&text);
    }
}
