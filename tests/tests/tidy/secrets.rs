//! Nothing about a machine: no paths of people's folders, no registries but the public one.

use crate::text::{File, check, everything};

/// Folders of machines and people, written in two parts so that this file passes.
const FOLDERS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// What chooses another registry or index.
const REGISTRIES: [&str; 6] = [
    concat!("replace-", "with"),
    concat!("[regis", "tries"),
    concat!("index-", "url"),
    concat!("PIP_", "INDEX"),
    concat!("GO", "PROXY"),
    concat!("CARGO_REG", "ISTRIES"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Where a word is meant: `(path, word, why)`.
const MEANT: [(&str, &str, &str); 1] = [(
    "nats/server/src/obtain/examine.rs",
    FOLDERS[2],
    "where Homebrew on Linux puts programs, on every machine",
)];

fn machines(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let is_meant = |word: &str| {
            MEANT
                .iter()
                .any(|(path, meant, _)| file.path == *path && word == *meant)
        };
        let words: Vec<&str> = FOLDERS.iter().chain(&REGISTRIES).copied().collect();
        for (n, line) in file.text.lines().enumerate() {
            for word in words
                .iter()
                .filter(|it| line.contains(*it) && !is_meant(it))
            {
                problems.push(format!("{}:{}: {word}", file.path, n + 1));
            }
            if file.path == "Cargo.lock"
                && let Some(source) = line.strip_prefix("source = ")
                && source.trim_matches('"') != CRATES_IO
            {
                problems.push(format!("Cargo.lock:{}: {source}", n + 1));
            }
        }
    }
    problems
}

#[test]
fn nothing_tells_of_a_machine_or_its_registries() {
    check(machines(&everything()));
}

#[test]
fn a_path_and_a_registry_of_a_machine_are_seen() {
    let bad = format!(
        "let a = \"{}me/x\";\n[source.a]\n{} = \"b\"\n",
        FOLDERS[2], REGISTRIES[0]
    );
    let lock = "source = \"registry+https://mirror.example/index\"\n";
    let files = [
        File::made_up("a.rs", &bad),
        File::made_up("Cargo.lock", lock),
    ];
    assert_eq!(machines(&files).len(), 3, "{:?}", machines(&files));
}
