//! What the manifests have to say.

use fanfare_tests::workspace;

use crate::text::{File, check, one};

fn members() -> Vec<File> {
    let folders = workspace::PRODUCT.iter().copied().chain(["tests"]);
    folders.map(|it| one(&format!("{it}/Cargo.toml"))).collect()
}

/// Crates with a table of their own: `(manifest, lint that differs, why)`. All else is the same.
const OWN_LINTS: [(&str, &str, &str); 1] = [(
    "nats/server/Cargo.toml",
    "unsafe_code",
    "a parent-death signal is set between fork and exec, which the standard library calls unsafe",
)];

/// Every crate takes the workspace's lints and nothing of its own.
fn lints(manifests: &[File], workspace_manifest: &File) -> Vec<String> {
    let table = |it: &File| it.text.parse::<toml::Table>().unwrap();
    let wanted = table(workspace_manifest)["workspace"]["lints"].clone();
    let inherited = toml::Value::from(toml::toml! { workspace = true });
    let mut problems = Vec::new();
    for manifest in manifests {
        let found = table(manifest)
            .get("lints")
            .cloned()
            .unwrap_or(toml::Table::new().into());
        let own = OWN_LINTS.iter().find(|(path, _, _)| *path == manifest.path);
        let is_right = match own {
            None => found == inherited,
            Some((_, lint, _)) => without(found, lint) == without(wanted.clone(), lint),
        };
        if !is_right {
            problems.push(format!(
                "{} does not have the lints of the workspace",
                manifest.path
            ));
        }
    }
    problems
}

/// Tables of lints without one of `rust`.
fn without(mut lints: toml::Value, lint: &str) -> toml::Value {
    if let Some(rust) = lints.get_mut("rust").and_then(toml::Value::as_table_mut) {
        rust.remove(lint);
    }
    lints
}

/// The members of the workspace, so that no crate escapes the checks.
fn unknown_members(workspace_manifest: &File) -> Vec<String> {
    let table: toml::Table = workspace_manifest.text.parse().unwrap();
    let members = table["workspace"]["members"].as_array().unwrap();
    let names = members.iter().filter_map(|it| it.as_str());
    let known = |it: &&str| workspace::PRODUCT.contains(it) || *it == "tests";
    names
        .filter(|it| !known(it))
        .map(|it| format!("tidy does not know the member {it}"))
        .collect()
}

/// Every dependency says what it is for: behind it, or in the line above.
fn reasons(workspace_manifest: &File) -> Vec<String> {
    let mut problems = Vec::new();
    let mut is_inside = false;
    let mut before = "";
    for line in workspace_manifest.text.lines() {
        if line.starts_with('[') {
            is_inside = line == "[workspace.dependencies]";
        } else if is_inside && line.contains('=') && !line.starts_with('#') {
            let is_ours = line.starts_with("fanfare-");
            let has_reason = line
                .rsplit_once(" # ")
                .is_some_and(|(_, why)| why.len() > 2);
            if !is_ours && !has_reason && !before.starts_with("# ") {
                problems.push(format!("no reason is given for: {line}"));
            }
        }
        before = line;
    }
    problems
}

/// Who asks for fail points, but for the tests' dev-dependencies: those are in no build that is run.
fn fail_points(manifests: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for manifest in manifests {
        let mut table = manifest.text.parse::<toml::Table>().unwrap();
        if manifest.path == "tests/Cargo.toml" {
            table.remove("dev-dependencies");
        }
        table.remove("lints");
        if toml::to_string(&table).unwrap().contains("\"fail-points\"") {
            problems.push(format!("{} turns fail points on", manifest.path));
        }
    }
    problems
}

#[test]
fn fail_points_are_in_no_build_that_is_run() {
    check(fail_points(&members()));
    let wrong = File::made_up(
        "cli/Cargo.toml",
        "[dependencies]\nfanfare-nats = { path = \"../nats\", features = [\"fail-points\"] }\n",
    );
    assert_eq!(fail_points(&[wrong]).len(), 1);
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    check(lints(&members(), &one("Cargo.toml")));
}

#[test]
fn every_member_is_known_here() {
    check(unknown_members(&one("Cargo.toml")));
}

#[test]
fn every_dependency_has_its_reason() {
    check(reasons(&one("Cargo.toml")));
}

#[test]
fn a_bad_manifest_is_seen() {
    let none = File::made_up("a/Cargo.toml", "[package]\nname = \"a\"\n");
    let own = File::made_up("a/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n");
    let less = File::made_up(OWN_LINTS[0].0, "[lints.rust]\nunsafe_code = \"deny\"\n");
    let root = File::made_up(
        "Cargo.toml",
        "[workspace.lints.rust]\nmissing_docs = \"warn\"\n",
    );
    assert_eq!(lints(&[none, own, less], &root).len(), 3);
    let bad = "[workspace]\nmembers = [\"nats\", \"common\"]\n[workspace.dependencies]\n\
               # For a reason.\na = \"1\"\nb = \"1\"\nc = \"1\" # why\nfanfare-x = { path = \"x\" }\n";
    let bad = File::made_up("Cargo.toml", bad);
    assert_eq!(
        unknown_members(&bad),
        ["tidy does not know the member common"]
    );
    assert_eq!(reasons(&bad), ["no reason is given for: b = \"1\""]);
}
