//! What the lists allow, and how they are written down.

use super::*;
use crate::permissions::render::{accounts, isolated, users};

fn scope() -> Scope {
    Scope {
        lanes: ["ios-urgent", "ios-bulk"]
            .iter()
            .filter_map(|it| Lane::parse(it))
            .collect(),
        sources: vec![SourceName::parse("usgs").unwrap()],
        ..Scope::any(Names::default())
    }
}

#[test]
fn a_pattern_covers_what_it_matches_and_narrower_patterns() {
    for (pattern, subject, expected) in [
        ("a.>", "a.b", true),
        ("a.>", "a.b.*.>", true),
        ("a.>", "a", false),
        ("a.*", "a.b", true),
        ("a.*", "a.*", true),
        ("a.*", "a.>", false),
        ("a.*", "a.b.c", false),
        ("a.b", "a.*", false),
        (">", "$SYS.x", true),
    ] {
        assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
    }
}

#[test]
fn the_lists_are_as_they_were_reviewed() {
    check("src/permissions/tests/accounts.conf", &accounts(&scope()));
}

/// Checks that a file ends with what is printed; `FANFARE_RENEW=1` writes it, for review.
#[track_caller]
fn check(path: &str, printed: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let stored = std::fs::read_to_string(&path).unwrap();
    if std::env::var_os("FANFARE_RENEW").is_some() {
        let start = printed.lines().next().unwrap();
        let (head, _) = stored.split_once(&format!("{start}\n")).unwrap();
        std::fs::write(&path, format!("{head}{printed}")).unwrap();
        return;
    }
    assert!(
        stored.ends_with(printed),
        "{} is not as printed: renew it with FANFARE_RENEW=1, then review the difference\n{printed}",
        path.display()
    );
}

/// `deploy/nats` holds them for any lane and any source.
#[test]
fn what_is_shipped_is_what_is_printed() {
    let any = Scope::any(Names::default());
    check("../deploy/nats/accounts.conf", &accounts(&any));
    check("../deploy/nats/accounts-isolated.conf", &isolated(&any));
}

#[test]
fn another_prefix_and_domain_change_every_name() {
    let scope = Scope {
        api: "$JS.hub.API".to_owned(),
        ..Scope::any(Names::with_prefix("edge").unwrap())
    };
    for role in Role::ALL {
        let text = Permissions::of(role, &scope).conf("\"x\"");
        assert!(!text.to_lowercase().contains("fanfare_"), "{text}");
        assert!(!text.contains("\"fanfare."), "{text}");
        assert!(!text.contains("\"$JS.API"), "{text}");
    }
}

#[test]
fn without_lanes_and_sources_any_is_allowed() {
    let scope = Scope::any(Names::default());
    let notifier = Permissions::of(Role::Notifier, &scope);
    assert!(notifier.may_publish("$JS.API.CONSUMER.MSG.NEXT.FANFARE_TASKS.send-x-bulk"));
    let fetcher = Permissions::of(Role::Fetcher, &scope);
    assert!(fetcher.may_publish("fanfare.event.any.item.first"));
    let narrow = Permissions::of(Role::Fetcher, &self::scope());
    assert!(!narrow.may_publish("fanfare.event.any.item.first"));
    assert!(narrow.may_publish("fanfare.event.usgs.item.first"));
}

#[test]
fn nobody_hears_anothers_answers() {
    let scope = scope();
    for one in Role::ALL {
        let lists = Permissions::of(one, &scope);
        for other in Role::ALL {
            let inbox = format!("{}.x", other.inbox_prefix());
            assert_eq!(
                lists.may_subscribe(&inbox),
                one == other,
                "{one:?} {other:?}"
            );
            // A running role is a service, and answers those who look after it.
            let is_running = matches!(one, Role::Fetcher | Role::Notifier | Role::Api);
            let answers = is_running && other == Role::Ops;
            assert_eq!(lists.may_publish(&inbox), answers, "{one:?} {other:?}");
        }
    }
}

#[test]
fn every_user_has_the_password_that_it_is_given() {
    let text = users(&scope(), |role| format!("\"{}-secret\"", role.name()));
    for role in Role::ALL {
        let name = role.name();
        let head = format!("user: {name}, password: \"{name}-secret\"");
        assert!(text.contains(&head), "{name}");
        assert_eq!(Role::parse(name), Some(role));
    }
}

#[test]
fn json_has_the_same_subjects() {
    let lists = Permissions::of(Role::Api, &scope());
    let json = lists.json();
    assert_eq!(json["inbox_prefix"], "_INBOX_api");
    let n = |what: &str| json[what]["allow"].as_array().map_or(0, Vec::len);
    assert_eq!(n("publish"), lists.publish.len());
    assert_eq!(n("subscribe"), lists.subscribe.len());
}
