//! A fake camera as a test holds it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::Films;

/// The test in the test's own binary that runs [`super::serve`].
const ENTRY: &str = "fake_camera_process";
/// The environment variable that makes a process a camera.
pub const MARK: &str = "MILLRACE_FAKE_CAMERA";
const SOON: Duration = Duration::from_secs(30);

/// A camera process; it ends when dropped.
pub struct FakeCamera {
    settings: String,
    port: u16,
    process: Option<Process>,
}

struct Process {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl FakeCamera {
    /// Starts a camera that shows `film`, with further settings of `start`.
    pub fn start(film: &str, settings: &str) -> Self {
        let films = Films::folder().display();
        let mut camera = Self {
            settings: format!("films={films} film={film} {settings}"),
            port: 0,
            process: None,
        };
        camera.restart();
        camera
    }

    /// The address after the scheme, host and port.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}/cam", self.port)
    }

    /// The camera's address.
    pub fn url(&self) -> String {
        format!("rtsp://{}", self.place())
    }

    /// Ends the process as a power cut does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    /// Starts the process, at the same address as before.
    pub fn restart(&mut self) {
        assert!(self.process.is_none());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ENTRY, "--ignored", "--nocapture"])
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, answer)) = line.split_once("camera: ") {
                    let _ = sender.send(answer.to_owned());
                }
            }
        });
        let orders = child.stdin.take().unwrap();
        self.process = Some(Process {
            child,
            orders,
            answers,
        });
        // Somebody's outgoing connection may have the port for a moment.
        let order = format!("start port={} {}", self.port, self.settings);
        for _ in 0..100 {
            let answer = self.ask(&order);
            if let Some(port) = answer.strip_prefix("ready ") {
                self.port = port.parse().unwrap();
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the camera does not start: {order}");
    }

    /// Has the camera do something; returns when it has.
    pub fn order(&mut self, order: &str) {
        assert_eq!(self.ask(order), "ok", "{order}");
    }

    fn ask(&mut self, order: &str) -> String {
        let process = self.process.as_mut().unwrap();
        writeln!(process.orders, "{order}").unwrap();
        process
            .answers
            .recv_timeout(SOON)
            .unwrap_or_else(|_| panic!("the camera does not answer: {order}"))
    }
}

impl Drop for FakeCamera {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
