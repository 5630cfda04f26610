//! `millrace streams`.

use super::*;

#[test]
fn the_command_line_starts_follows_and_ends_streams() {
    let server = Server::start(&["--no-outbox"], &[]);
    let at = server.url("");
    let streams = |args: &[&str]| {
        let (code, told) = command(&at, args);
        assert_eq!(code, Some(0), "{args:?}: {told}");
        told
    };
    let refused = |args: &[&str], word: &str| {
        let (code, told) = command(&at, args);
        assert_eq!(code, Some(2), "{args:?}: {told}");
        assert!(told.contains(word), "{args:?}: {told}");
    };
    assert_eq!(streams(&["list"]), "no streams run");
    let start = [
        "start",
        "pipelines/read-qr-codes.json",
        "--source",
        CAMERA,
        "--name",
        "gate",
        "--max-fps",
        "10",
    ];
    assert_eq!(streams(&start), "gate");
    refused(&start, "there is a pipeline gate already");
    let row = until("results", || {
        let rows: Json = serde_json::from_str(&streams(&["list", "--json"])).unwrap();
        (rows[0]["figures"]["results"].as_u64() > Some(3)).then(|| rows[0].clone())
    });
    assert_eq!(
        (&row["id"], &row["state"]),
        (&json!("gate"), &json!("running"))
    );
    let table = streams(&["list"]);
    assert!(
        table.starts_with("STREAM") && table.contains("gate"),
        "{table}"
    );
    let watched = streams(&["watch", "--every", "0.2", "--times", "3"]);
    assert_eq!(watched.matches("STREAM").count(), 3, "{watched}");
    assert!(streams(&["status", "gate"]).contains("processed_fps"));

    assert_eq!(streams(&["pause", "gate"]), "gate pauses");
    refused(
        &["pause", "gate"],
        "pipeline gate is paused; it cannot pause now",
    );
    assert_eq!(streams(&["resume", "gate"]), "gate goes on");
    assert_eq!(streams(&["add-source", "gate", CAMERA]), "1");
    until("the new source", || {
        streams(&["status", "gate"])
            .contains("source_id 1")
            .then_some(())
    });
    streams(&["remove-source", "gate", "0"]);
    refused(
        &["remove-source", "gate", "1"],
        "is the last of pipeline gate",
    );
    refused(&["remove-source", "gate", "7"], "no source 7");
    assert_eq!(streams(&["stop", "gate"]), "gate has ended");
    assert_eq!(streams(&["list"]), "no streams run");

    refused(&["status", "gate"], "there is no stream gate");
    refused(&["stop", "gate"], "there is no pipeline gate");
    refused(&["start", "none.json", "--source", "0"], "none.json");
    refused(
        &[
            "start",
            "pipelines/read-qr-codes.json",
            "--source",
            "gopher://x",
        ],
        "video_configuration.video_reference",
    );
    refused(
        &[
            "start",
            "pipelines/read-qr-codes.json",
            "--source",
            CAMERA,
            "--outputs",
            r#"{"jsonl": "/etc/x"}"#,
        ],
        "--client-outputs",
    );
    drop(server);
    let (code, told) = command(&at, &["list"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("no millrace answers"), "{told}");
}
