//! Wrong input is told apart by its exit code.

use fanfare_tests::process::run;

#[tokio::test]
async fn each_kind_of_wrong_input_has_its_exit_code_and_says_what_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    std::fs::write(
        &file,
        "[notifier]\nwindow = 1\n[api]\nlisten_on = 1\n[notfier]\n",
    )
    .unwrap();
    let missing = folder.path().join("missing");
    let (file, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    let cases: [(&[&str], i32, &[&str]); 5] = [
        (
            &["--config", file, "up"],
            78,
            &["listen_on", "wrong.toml:5: notfier"],
        ),
        (&["--config", missing, "up"], 78, &["missing"]),
        (&["up", "--nats-server", missing], 69, &["missing"]),
        (&["up", "--no-such-flag"], 2, &["--no-such-flag"]),
        (&["up", "postman"], 2, &["postman", "notifier"]),
    ];
    for (arguments, code, words) in cases {
        let ended = run(folder.path(), arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.printed);
        for word in words {
            assert!(
                ended.printed.contains(word),
                "{arguments:?}: {}",
                ended.printed
            );
        }
    }
}
