//! Devices in a file, through the executable: into an API, out of it, and into another one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fanfare_tests::process::run;
use fanfare_tests::{Pipeline, Registrations, Setup};
use serde_json::{Value, json};

use crate::support::many;

const N_DEVICES: usize = 3000;

/// The lines of an export, in the order of their ids.
fn exported(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|it| serde_json::from_str(it).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    lines.sort_by_key(|it| it["id"].to_string());
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_go_from_a_file_into_the_api_and_into_a_file_and_back_as_they_were() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (process, api) = pipeline.api().await;
    let at = process.address("the API listens", "address").await;
    let (folder, at) = (pipeline.folder(), format!("http://{at}"));
    let [mine, out, again] = ["mine", "out", "again"].map(|it| folder.join(it));
    let mut lines = Vec::new();
    let topics = ["all", "quakes.>"];
    for (id, mut document) in many(N_DEVICES, &topics, &mut Registrations::default()) {
        document["id"] = json!(id);
        lines.push(document.to_string());
    }
    lines.insert(7, "{\"id\": \"seven\"}".to_owned());
    std::fs::write(&mine, lines.join("\n")).unwrap();

    let import = async |file: &Path, code: i32, words: &[&str]| {
        let file = file.to_str().unwrap();
        let told = run(folder, &["devices", "import", file, "--url", &at]).await;
        assert_eq!(told.code, Some(code), "{}", told.printed);
        for word in words {
            assert!(told.printed.contains(word), "{word}: {}", told.printed);
        }
    };
    let export = async |file: &Path| {
        let file = file.to_str().unwrap();
        let arguments = ["devices", "export", "--tokens", "--url", &at, "-o", file];
        let told = run(folder, &arguments).await;
        assert_eq!(told.code, Some(0), "{}", told.printed);
        assert!(
            told.printed.contains("devices exported: 3000"),
            "{}",
            told.printed
        );
    };
    let refused = "line 8 (device seven): /app is missing; /token is missing";
    let counts = "3000 created, 0 replaced, 1 failed";
    import(&mine, 1, &[refused, counts]).await;
    export(&out).await;
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "push tokens are nobody else's");

    let gone: Vec<String> = (0..100).map(|it| format!("device-{it}")).collect();
    api.delete_all(&gone).await;
    import(&out, 0, &["100 created, 2900 replaced, 0 failed"]).await;
    export(&again).await;
    assert_eq!(exported(&out), exported(&again));
    assert_eq!(exported(&out).len(), N_DEVICES);

    process.kill().await;
    import(&out, 69, &["does not answer"]).await;
}
