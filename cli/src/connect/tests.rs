//! Which place wins, and what never gets mixed.

use super::*;

fn environment(home: &std::path::Path, pairs: &[(&str, &str)]) -> Environment {
    let environment: Environment = pairs.iter().copied().collect();
    environment.with("HOME", home)
}

fn home_with_contexts() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let nats = home.path().join(".config/nats");
    std::fs::create_dir_all(nats.join("context")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(nats.join(name), text).unwrap();
    write("context.txt", "prod\n");
    write(
        "context/prod.json",
        r#"{"url":"nats://prod:1","user":"boss","password":"p","x":1}"#,
    );
    write(
        "context/dev.json",
        r#"{"url":"nats://dev:1, nats://dev:2","token":"t","tls_first":true}"#,
    );
    write("context/nsc.json", r#"{"nsc":"nsc://o/a/u"}"#);
    home
}

fn resolved(
    flags: &NatsFlags,
    pairs: &[(&str, &str)],
    selected: Selected,
) -> Result<ConnectOptions, ConfigError> {
    let home = home_with_contexts();
    options(
        flags,
        &NatsConfig::default(),
        &environment(home.path(), pairs),
        selected,
    )
}

fn flags(server: Option<&str>, context: Option<&str>, user: Option<&str>) -> NatsFlags {
    let owned = |it: Option<&str>| it.map(str::to_owned);
    NatsFlags {
        server: owned(server),
        context: owned(context),
        user: owned(user),
        ..NatsFlags::default()
    }
}

#[track_caller]
fn check(flags: &NatsFlags, pairs: &[(&str, &str)], selected: Selected, servers: &[&str]) {
    assert_eq!(resolved(flags, pairs, selected).unwrap().servers, servers);
}

#[test]
fn flags_win_over_variables_over_the_named_context_over_the_selected_one() {
    let none = NatsFlags::default();
    let dev = [("NATS_CONTEXT", "dev")];
    let both = [("NATS_URL", "nats://b:1"), ("NATS_CONTEXT", "dev")];
    check(
        &flags(Some("nats://a:1"), Some("dev"), None),
        &both,
        Selected::Counts,
        &["nats://a:1"],
    );
    check(&none, &both, Selected::Counts, &["nats://b:1"]);
    check(
        &none,
        &dev,
        Selected::Counts,
        &["nats://dev:1", "nats://dev:2"],
    );
    check(&none, &[], Selected::Counts, &["nats://prod:1"]);
    check(&none, &[], Selected::IsIgnored, &[USUAL_URL]);
}

#[test]
fn a_selected_context_lends_its_password_to_nobody_else_s_server() {
    let options = resolved(
        &flags(Some("nats://a:1"), None, None),
        &[],
        Selected::Counts,
    )
    .unwrap();
    assert_eq!((options.user, options.token), (None, None));
}

#[test]
fn an_identity_is_taken_as_a_whole() {
    let flags = flags(None, Some("prod"), None);
    let options = resolved(&flags, &[("NATS_TOKEN", "other")], Selected::Counts).unwrap();
    assert_eq!(
        (options.user, options.token.as_deref()),
        (None, Some("other"))
    );
    let options = resolved(&flags, &[], Selected::Counts).unwrap();
    assert_eq!(options.user, Some(("boss".into(), "p".into())));
}

#[test]
fn a_user_without_a_password_is_a_token() {
    let options = resolved(&flags(None, None, Some("t0k")), &[], Selected::IsIgnored).unwrap();
    assert_eq!(
        (options.user, options.token.as_deref()),
        (None, Some("t0k"))
    );
}

#[test]
fn a_context_that_cannot_be_used_is_refused_by_name() {
    let refused = |name| {
        let flags = flags(None, Some(name), None);
        resolved(&flags, &[], Selected::Counts)
            .unwrap_err()
            .to_string()
    };
    assert!(refused("nsc").contains("`nsc`"));
    assert!(refused("nobody").contains("nobody.json"));
}

/// Every key that natscli 0.4 writes, with what `nats context save` was told.
#[test]
fn a_context_as_the_nats_command_writes_it_is_read() {
    let home = home_with_contexts();
    let file = home.path().join(".config/nats/context/ops.json");
    let text = r#"{
        "description": "", "url": "nats://127.0.0.1:14222,nats://127.0.0.1:14223",
        "socks_proxy": "", "token": "", "user": "ops", "password": "p", "creds": "", "nkey": "",
        "cert": "", "key": "", "ca": "", "nsc": "", "jetstream_domain": "",
        "jetstream_api_prefix": "", "jetstream_event_prefix": "", "inbox_prefix": "_INBOX_ops",
        "user_jwt": "", "user_seed": "", "color_scheme": "", "tls_first": false,
        "windows_cert_store": "", "windows_cert_match_by": "", "windows_cert_match": "",
        "windows_ca_certs_match": null
    }"#;
    std::fs::write(&file, text).unwrap();
    let read = |flags: &NatsFlags| {
        let environment = environment(home.path(), &[]);
        options(
            flags,
            &NatsConfig::default(),
            &environment,
            Selected::IsIgnored,
        )
    };
    let by_name = read(&flags(None, Some("ops"), None)).unwrap();
    assert_eq!(by_name.servers.len(), 2);
    assert_eq!(by_name.user, Some(("ops".into(), "p".into())));
    assert_eq!(by_name.inbox_prefix, "_INBOX_ops");
    assert_eq!((by_name.creds, by_name.token), (None, None));
    // A path does as well as a name.
    let by_path = read(&flags(None, file.to_str(), None)).unwrap();
    assert_eq!(by_path.servers, by_name.servers);
    // What it asks for and cannot be had is said, not left out.
    std::fs::write(
        &file,
        text.replace(r#""socks_proxy": """#, r#""socks_proxy": "a:1""#),
    )
    .unwrap();
    let refused = read(&flags(None, Some("ops"), None)).unwrap_err();
    assert!(refused.to_string().contains("SOCKS"), "{refused}");
}

#[test]
fn a_jwt_and_its_seed_become_credentials() {
    let pairs = [("NATS_JWT", "eyJ0eXAi"), ("NATS_SEED", "SUAXYZ")];
    let creds = resolved(&NatsFlags::default(), &pairs, Selected::IsIgnored)
        .unwrap()
        .creds;
    let creds = creds.unwrap();
    assert!(creds.contains("\neyJ0eXAi\n") && creds.contains("\nSUAXYZ\n"));
    assert!(resolved(&NatsFlags::default(), &pairs[..1], Selected::IsIgnored).is_err());
}

#[test]
fn only_what_is_named_keeps_up_from_starting_a_server() {
    let home = home_with_contexts();
    let names = |flags: &NatsFlags, pairs: &[(&str, &str)]| {
        names_a_server(
            flags,
            &NatsConfig::default(),
            &environment(home.path(), pairs),
        )
    };
    assert!(!names(&NatsFlags::default(), &[]));
    assert!(names(&flags(Some("nats://a:1"), None, None), &[]));
    assert!(names(&flags(None, Some("dev"), None), &[]));
    assert!(names(&NatsFlags::default(), &[("NATS_URL", "nats://b:1")]));
}

#[test]
fn a_second_user_of_a_pipeline_has_its_own_identity_and_the_rest_of_the_first() {
    let home = home_with_contexts();
    let environment = environment(home.path(), &[]);
    let file = home.path().join("ops.password");
    std::fs::write(&file, "secret\n").unwrap();
    let first = ConnectOptions {
        servers: vec!["nats://a:1".to_owned()],
        user: Some(("api".to_owned(), "p".to_owned())),
        inbox_prefix: "_INBOX_api".to_owned(),
        domain: Some("hub".to_owned()),
        ..ConnectOptions::default()
    };
    let ops = NatsConfig {
        user: Some("ops".to_owned()),
        password_file: Some(file),
        ..NatsConfig::default()
    };
    let second = as_second(&first, &ops, "api.operate", &environment).unwrap();
    assert_eq!(second.user, Some(("ops".to_owned(), "secret".to_owned())));
    assert_eq!(second.servers, first.servers);
    assert_eq!(second.domain, first.domain);
    assert_eq!(second.inbox_prefix, "", "the first one's is not its own");

    let of_context = NatsConfig {
        context: Some("dev".to_owned()),
        ..NatsConfig::default()
    };
    let second = as_second(&first, &of_context, "api.operate", &environment).unwrap();
    assert_eq!((second.user, second.token), (None, Some("t".to_owned())));
    assert_eq!(second.servers, ["nats://dev:1", "nats://dev:2"]);

    let nothing = NatsConfig::default();
    let same = as_second(&first, &nothing, "api.operate", &environment).unwrap();
    assert_eq!(same.user, first.user, "one user may do everything");

    let missing = NatsConfig {
        password_file: Some(home.path().join("no")),
        ..ops
    };
    let error = as_second(&first, &missing, "api.operate", &environment).unwrap_err();
    assert_eq!(error.0[0].key, "api.operate.password_file");
}
