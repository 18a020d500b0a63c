//! What a configuration may say.

use super::*;

fn keys(config: &Config) -> Vec<String> {
    config.validate().into_iter().map(|it| it.key).collect()
}

#[test]
fn the_defaults_are_valid_and_all_problems_are_named_at_once() {
    assert!(Config::default().validate().is_empty());
    let broken = Config {
        listen: "localhost:80".into(),
        apps: Some(vec!["ios".into(), "My App".into()]),
        max_body_bytes: 0,
        max_import_bytes: 1,
        import_stall_s: 0,
        max_in_flight: 0,
        max_connections: 0,
        max_streams: 0,
        stream_backlog: 1,
        timeout_s: 1,
        standstill_s: 0,
        registration_expires_after: "9d".to_owned(),
        trusted_proxies: vec!["10.0.0.0/8".into(), "proxy".into()],
        cors_origins: vec!["https://app.example.org".into(), "*".into()],
        ..Config::default()
    };
    let expected = [
        "listen",
        "apps[1]",
        "trusted_proxies[1]",
        "cors_origins[1]",
        "registration_warning",
        "max_body_bytes",
        "max_import_bytes",
        "import_stall_s",
        "max_in_flight",
        "max_connections",
        "max_streams",
        "stream_backlog",
        "timeout_s",
        "standstill_s",
    ];
    assert_eq!(keys(&broken), expected);
}

#[track_caller]
fn check_listen(listen: &str, keys: Option<Keys>, is_allowed: bool) {
    let config = Config {
        listen: listen.into(),
        keys,
        ..Config::default()
    };
    assert_eq!(config.validate().is_empty(), is_allowed, "{listen}");
}

#[test]
fn an_address_that_others_can_reach_asks_for_keys() {
    let until_first = Some(Keys::UntilFirst);
    for loopback in [
        "127.0.0.1:0",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        check_listen(loopback, until_first, true);
        check_listen(loopback, None, true);
    }
    for public in ["0.0.0.0:80", "[::]:80", "192.168.1.4:80"] {
        check_listen(public, until_first, false);
        check_listen(public, None, true);
        check_listen(public, Some(Keys::Required), true);
    }
}

#[test]
fn without_a_word_every_request_needs_a_key() {
    let policy = |keys, insecure_no_auth| {
        let config = Config {
            keys,
            insecure_no_auth,
            ..Config::default()
        };
        config.policy()
    };
    assert_eq!(policy(None, false), Policy::Required);
    assert_eq!(policy(Some(Keys::Required), false), Policy::Required);
    assert_eq!(policy(Some(Keys::UntilFirst), false), Policy::UntilFirst);
    assert_eq!(policy(None, true), Policy::Open);
    let both = Config {
        keys: Some(Keys::Required),
        insecure_no_auth: true,
        ..Config::default()
    };
    assert_eq!(self::keys(&both), ["keys"]);
}
