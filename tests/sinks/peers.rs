//! A real mail server (aiosmtpd, TLS and a login) and a real S3 server (moto), which
//! `scripts/setup.sh --test` installs.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace::delivery::Settings;
use serde_json::{Value as Json, json};

use crate::sink_step::{SinkStep, all_at};

const PYTHON: &str = ".cache/peers/bin/python";

/// A peer; it ends when dropped, or with the test.
struct Peer {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join(PYTHON))
            .arg(root.join("tests/sinks/peers.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run scripts/setup.sh --test once");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("a port").unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    fn mail(&mut self) -> (Json, String) {
        let mail: Json = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        let text = STANDARD.decode(mail["data"].as_str().unwrap()).unwrap();
        (mail, String::from_utf8(text).unwrap())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `millrace exec` prints for one step that trusts the authority in a folder.
fn exec(folder: &Path, step: &Json) -> Json {
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowParameter", "name": "text", "default_value": "1,2"}],
        "steps": [step],
        "outputs": [
            {"type": "JsonField", "name": "error", "selector": "$steps.sink.error_status"},
            {"type": "JsonField", "name": "message", "selector": "$steps.sink.message"},
        ],
    });
    let output = crate::exec(folder, "definition.json", &definition)
        .env("SSL_CERT_FILE", folder.join("ca.pem"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!shown.contains("s3cret"), "{shown}");
    let answer: Json = serde_json::from_str(printed.lines().next().expect(&shown)).expect(&shown);
    match &answer["outputs"][0] {
        Json::Null => panic!("{shown}"),
        outputs => outputs.clone(),
    }
}

fn mail_step(port: u16, version: u8) -> Json {
    json!({
        "type": format!("roboflow_core/email_notification@v{version}"), "name": "sink",
        "subject": "Gr\u{fc}\u{df}e", "message": "{{ $parameters.text }}\nend",
        "message_parameters": {"text": "$inputs.text"},
        "sender_email": "me@example.com", "sender_email_password": "s3cret",
        "receiver_email": ["to@example.com", "b@example.com"],
        "cc_receiver_email": "cc@example.com", "bcc_receiver_email": ["bcc@example.com"],
        "attachments": {"numbers.csv": "$inputs.text"},
        "smtp_server": "localhost", "smtp_port": port,
    })
}

#[test]
fn everybody_gets_the_mail_and_the_hidden_stand_in_no_header() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Peer::start(&["smtp", folder.path().to_str().unwrap()]);
    let sent = json!({"error": false, "message": "Notification sent successfully"});
    let all = [
        "to@example.com",
        "b@example.com",
        "cc@example.com",
        "bcc@example.com",
    ];
    assert_eq!(exec(folder.path(), &mail_step(server.port, 1)), sent);
    let (mail, text) = server.mail();
    assert_eq!(mail["from"], "me@example.com");
    assert_eq!(mail["to"], json!(all));
    assert!(text.contains("Cc: cc@example.com\r\n"), "{text}");
    assert!(!text.to_lowercase().contains("bcc"), "{text}");
    assert!(
        text.contains("text/plain") && text.contains("numbers.csv"),
        "{text}"
    );
    let mut step = mail_step(server.port, 2);
    step["email_provider"] = json!("Custom SMTP");
    assert_eq!(exec(folder.path(), &step), sent);
    let (mail, text) = server.mail();
    assert_eq!(mail["to"], json!(all));
    assert!(
        text.contains("multipart/related") && text.contains("text/html"),
        "{text}"
    );
}

#[test]
fn what_a_mail_server_says_against_a_mail_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Peer::start(&["smtp", folder.path().to_str().unwrap()]);
    let failed = |step: &Json| {
        let outputs = exec(folder.path(), step);
        assert_eq!(outputs["error"], true, "{outputs}");
        outputs["message"].as_str().unwrap().to_owned()
    };
    let mut step = mail_step(server.port, 1);
    step["sender_email_password"] = json!("wrong");
    assert!(failed(&step).contains("535"), "{}", failed(&step));
    let mut step = mail_step(server.port, 1);
    step["receiver_email"] = json!("unknown@example.com");
    assert!(
        failed(&step).contains("no such person"),
        "{}",
        failed(&step)
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("ca.pem"), "").unwrap();
    let outputs = exec(other.path(), &mail_step(server.port, 1));
    assert_eq!(
        outputs["error"], true,
        "a certificate that nobody vouches for: {outputs}"
    );
}

#[test]
fn objects_reach_s3_and_logs_grow() {
    let server = Peer::start(&["s3"]);
    let base = format!("http://127.0.0.1:{}", server.port);
    let fields = json!({
        "content": "h\n1\n", "output_mode": "append_log", "bucket_name": "data",
        "s3_prefix": "a b/", "file_name_prefix": "log", "max_entries_per_file": 2,
        "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "s3cret",
    });
    let settings = Settings {
        background: false,
        ..Settings::default()
    };
    let id = "roboflow_core/s3_sink@v1";
    let mut sink = SinkStep::new(id, fields.clone(), all_at(&base), settings.clone());
    let mut places = Vec::new();
    for _ in 0..3 {
        let (error, text) = sink.run();
        assert!(!error, "{text}");
        places.push(text.split_once("s3://data/").unwrap().1.to_owned());
        sink.clock.advance(std::time::Duration::from_secs(1));
    }
    assert!(
        places[0] == places[1] && places[1] != places[2],
        "{places:?}"
    );
    assert_eq!(
        object(&base, &places[0]),
        ("text/csv".into(), "h\n1\n1\n".into())
    );
    assert_eq!(object(&base, &places[2]).1, "h\n1\n");
    let mut elsewhere = fields;
    elsewhere["bucket_name"] = json!("nowhere");
    let (error, text) = SinkStep::new(id, elsewhere, all_at(&base), settings).run();
    assert!(error && text.starts_with("404"), "{text}");
    assert!(!text.contains("AKIDEXAMPLE"), "{text}");
}

/// Type and content of an object.
fn object(base: &str, key: &str) -> (String, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("{base}/data/{}", key.replace(' ', "%20"));
        // Objects are private; the server looks for a signature without checking it.
        let signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";
        let request = reqwest::Client::new().get(url);
        let response = request.header("authorization", signed).send().await;
        let response = response.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        (kind.to_owned(), response.text().await.unwrap())
    })
}
