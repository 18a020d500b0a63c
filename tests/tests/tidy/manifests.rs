//! What the manifests have to say.

use fanfare_tests::workspace;

use crate::text::{File, check, one};

fn members() -> Vec<File> {
    let folders = workspace::PRODUCT.iter().copied().chain(["tests"]);
    folders.map(|it| one(&format!("{it}/Cargo.toml"))).collect()
}

/// Every crate takes the workspace's lints and nothing of its own.
fn lints(manifests: &[File]) -> Vec<String> {
    let table = |it: &File| it.text.parse::<toml::Table>().unwrap();
    let inherits = |it: &&File| {
        let lints = table(it).get("lints").cloned();
        lints == Some(toml::toml! { workspace = true }.into())
    };
    let without = manifests.iter().filter(|it| !inherits(it));
    without.map(|it| format!("{} does not inherit the lints", it.path)).collect()
}

/// The members of the workspace, so that no crate escapes the checks.
fn unknown_members(workspace_manifest: &File) -> Vec<String> {
    let table: toml::Table = workspace_manifest.text.parse().unwrap();
    let members = table["workspace"]["members"].as_array().unwrap();
    let names = members.iter().filter_map(|it| it.as_str());
    let known = |it: &&str| workspace::PRODUCT.contains(it) || *it == "tests";
    names.filter(|it| !known(it)).map(|it| format!("tidy does not know the member {it}")).collect()
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
            let has_reason = line.rsplit_once(" # ").is_some_and(|(_, why)| why.len() > 2);
            if !is_ours && !has_reason && !before.starts_with("# ") {
                problems.push(format!("no reason is given for: {line}"));
            }
        }
        before = line;
    }
    problems
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    check(lints(&members()));
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
    let without = File::made_up("a/Cargo.toml", "[package]\nname = \"a\"\n");
    let own = File::made_up("a/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n");
    assert_eq!(lints(&[without, own]).len(), 2);
    let bad = "[workspace]\nmembers = [\"nats\", \"common\"]\n[workspace.dependencies]\n\
               # For a reason.\na = \"1\"\nb = \"1\"\nc = \"1\" # why\nfanfare-x = { path = \"x\" }\n";
    let bad = File::made_up("Cargo.toml", bad);
    assert_eq!(unknown_members(&bad), ["tidy does not know the member common"]);
    assert_eq!(reasons(&bad), ["no reason is given for: b = \"1\""]);
}
