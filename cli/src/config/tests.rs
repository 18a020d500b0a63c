//! Configurations as people write them, wrong ones above all.

use std::path::PathBuf;

use super::*;

fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let file = folder.path().join(files[0].0);
    (folder, file)
}

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().copied().collect()
}

/// The problems of a file, without the folder's name.
#[track_caller]
fn problems(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let (folder, file) = written(&[("f.toml", text)]);
    let error = Config::load(Some(&file), &variables(pairs), &[]).unwrap_err();
    let folder = format!("{}/", folder.path().display());
    error
        .to_string()
        .replace(&folder, "")
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = Config::load(None, &variables(&[("FANFARE_BIN", "x")]), &[]).unwrap();
    assert_eq!(config.own.nats.url, None);
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "[nats]\nurl = 7\nprefixx = \"a\"\nreplicas = 2\n\n[log]\nformat = \"xml\"\n\n[nonsense]\na = 1\n";
    let problems = problems(text, &[]);
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(
        problems[0].starts_with("f.toml:2: nats.url: invalid type: integer `7`"),
        "{problems:#?}"
    );
    assert!(
        problems[1].starts_with("f.toml:3: nats.prefixx: unknown field"),
        "{problems:#?}"
    );
    assert!(
        problems[2].starts_with("f.toml:7: log.format: unknown variant `xml`"),
        "{problems:#?}"
    );
    assert!(
        problems[3].starts_with("f.toml:9: nonsense: there is no such table"),
        "{problems:#?}"
    );
}

#[test]
fn a_typed_value_that_is_not_allowed_is_told_with_its_line() {
    let problems = problems(
        "[nats]\n\nreplicas = 2\npassword = \"p\"\npassword_file = \"f\"\n",
        &[],
    );
    assert_eq!(problems[0], "f.toml:3: nats.replicas: write 1, 3 or 5");
    assert!(
        problems[1].starts_with("f.toml:4: nats.password: given twice"),
        "{problems:#?}"
    );
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let problems = problems("[nats]\nurl = \"x\nuser = 1\n", &[]);
    assert!(problems[0].starts_with("f.toml:2: "), "{problems:#?}");
}

#[test]
fn a_variable_lies_over_the_file_and_a_flag_over_both() {
    let (_folder, file) = written(&[(
        "f.toml",
        "[nats]\nurl = \"a\"\nuser = \"u\"\nreplicas = 1\n",
    )]);
    let pairs = [
        ("FANFARE__NATS__URL", "b"),
        ("FANFARE__NATS__PASSWORD", "12345"),
        ("FANFARE__NATS__REPLICAS", "3"),
        ("FANFARE__NATS__TLS_FIRST", "true"),
    ];
    let load = |set| {
        Config::load(Some(&file), &variables(&pairs), set)
            .unwrap()
            .own
            .nats
    };
    let nats = load(&[]);
    assert_eq!(
        (nats.url.as_deref(), nats.user.as_deref()),
        (Some("b"), Some("u"))
    );
    assert_eq!(
        (nats.password.as_deref(), nats.replicas),
        (Some("12345"), Some(3))
    );
    assert_eq!(nats.tls_first, Some(true));
    assert_eq!(load(&[("nats.url", "c".into())]).url.as_deref(), Some("c"));
}

#[test]
fn a_wrong_variable_is_named() {
    let pairs = [
        ("FANFARE__NATS__REPLICAS", "many"),
        ("FANFARE__NATS", "x"),
        ("FANFARE__X__Y", "z"),
    ];
    let problems = problems("", &pairs);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(
        problems[0].starts_with("FANFARE__NATS: write FANFARE__SECTION__KEY"),
        "{problems:#?}"
    );
    assert!(
        problems[1].starts_with("FANFARE__NATS__REPLICAS: nats.replicas: "),
        "{problems:#?}"
    );
    assert!(
        problems[2].starts_with("FANFARE__X__Y: x: there is no such table"),
        "{problems:#?}"
    );
}

#[test]
fn snippets_are_joined_in_the_order_of_their_names_and_their_problems_name_them() {
    let (folder, file) = written(&[
        ("f.toml", "[nats]\nurl = \"a\"\nuser = \"u\"\n"),
        ("conf.d/20.toml", "[nats]\nurl = \"c\"\n"),
        (
            "conf.d/10.toml",
            "[nats]\nurl = \"b\"\n[log]\nfilter = \"debug\"\n",
        ),
        ("conf.d/readme.txt", "not toml"),
    ]);
    let config = Config::load(Some(&file), &variables(&[]), &[]).unwrap();
    assert_eq!(config.own.nats.url.as_deref(), Some("c"));
    assert_eq!(config.own.nats.user.as_deref(), Some("u"));
    assert_eq!(config.own.log.filter.as_deref(), Some("debug"));
    std::fs::write(folder.path().join("conf.d/10.toml"), "\n[nats]\nnope = 1\n").unwrap();
    let error = Config::load(Some(&file), &variables(&[]), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("conf.d/10.toml:3: nats.nope: unknown field"),
        "{error}"
    );
}

#[test]
fn what_init_writes_is_a_configuration() {
    let (_folder, file) = written(&[("f.toml", &crate::command::init::template())]);
    let config = Config::load(Some(&file), &variables(&[]), &[]).unwrap();
    assert_eq!(config.notifier.app.len(), 1);
    assert_eq!(config.api.apps, Some(vec!["try".to_owned()]));
    let sources: Vec<_> = config.fetcher.source.iter().map(|it| &it.name).collect();
    assert_eq!(sources, ["usgs"]);
    let notes = config.notes();
    assert!(
        notes.iter().any(|it| it.key == "fetcher.contact"),
        "{notes:?}"
    );
}

#[test]
fn an_api_is_told_of_the_apps_beside_it_and_of_no_credentials() {
    let text = r#"
[[app]]
name = "ios"
provider = "apns"
environment = "sandbox"
bundle_id = "org.example.app"
key_file = "/secret/place/AuthKey.p8"
key_id = "ABCDE12345"
team_id = "TEAM123456"
[[app]]
name = "android"
provider = "fcm"
service_account = "{ \"canary\": 1 }"
[[app]]
name = "try"
provider = "log"
"#;
    let (_folder, file) = written(&[("f.toml", text)]);
    let config = Config::load(Some(&file), &variables(&[]), &[]).unwrap();
    let told = &config.api.known_apps;
    let word = |it: &Option<String>| it.clone().unwrap_or_default();
    let rows: Vec<_> = told
        .iter()
        .map(|it| {
            [
                &it.provider,
                &it.environment,
                &it.bundle_id,
                &it.credentials,
            ]
            .map(word)
        })
        .collect();
    let expected = [
        ["apns", "sandbox", "org.example.app", "reference"],
        ["fcm", "", "", "inline"],
        ["log", "", "", "none"],
    ];
    assert_eq!(rows, expected);
    let text = format!("{told:?}");
    for hidden in ["secret", "AuthKey", "ABCDE", "TEAM1", "canary"] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[test]
fn what_init_shows_in_comments_is_a_configuration_too() {
    let is_key = |line: &str| line.starts_with("# [") || line.split(' ').nth(2) == Some("=");
    let template = crate::command::init::template();
    let shown = template.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_key(line) => rest,
        _ => line,
    });
    let text = shown.collect::<Vec<_>>().join("\n");
    // Of those that exclude one another, one.
    let text = text.replace("_INBOX_<role>", "_INBOX_x");
    let (_folder, file) = written(&[("f.toml", &text)]);
    let config = Config::load(Some(&file), &variables(&[]), &[]).unwrap();
    assert_eq!(
        (config.fetcher.source.len(), config.notifier.app.len()),
        (2, 3)
    );
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let error = Config::load(Some(Path::new("/no/such.toml")), &variables(&[]), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/no/such.toml:1: cannot be read"),
        "{error}"
    );
}

#[test]
fn the_connection_of_operators_is_a_table_of_the_api() {
    let text = "[api]\nmax_in_flight = 7\n\n[api.operate]\nuser = \"ops\"\npassword = \"p\"\n";
    let (_folder, file) = written(&[("f.toml", text)]);
    let config = Config::load(Some(&file), &variables(&[]), &[]).unwrap();
    assert_eq!(config.api.max_in_flight, 7);
    assert_eq!(config.operate.unwrap().user.as_deref(), Some("ops"));
    assert!(
        Config::load(None, &variables(&[]), &[])
            .unwrap()
            .operate
            .is_none()
    );
    let variable = [("FANFARE__API__OPERATE__USER", "ops")];
    let config = Config::load(None, &variables(&variable), &[]).unwrap();
    assert_eq!(config.operate.unwrap().user.as_deref(), Some("ops"));

    let wrong = "[api.operate]\nuser = 7\n[api.operate.x]\n";
    let wrong = problems(wrong, &[]);
    assert!(
        wrong[0].starts_with("f.toml:2: api.operate.user: invalid type"),
        "{wrong:#?}"
    );
    assert!(
        wrong[1].contains("api.operate.x: unknown field"),
        "{wrong:#?}"
    );
    let wrong = "[api.operate]\nreplicas = 3\ntoken = \"a\"\ntoken_file = \"b\"\n";
    let wrong = problems(wrong, &[]);
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    assert!(
        wrong[0].contains("api.operate.replicas: is told once"),
        "{wrong:#?}"
    );
    assert!(
        wrong[1].contains("api.operate.token: given twice"),
        "{wrong:#?}"
    );
}
