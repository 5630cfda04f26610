//! The real binary as a server: `millrace serve` on a free port, stopped when dropped.
#![allow(dead_code)] // each test binary uses its part

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// Folder of its caches.
    pub cache: tempfile::TempDir,
    /// Time from the start of the process to the line that tells the address.
    pub started_in: Duration,
}

impl Server {
    /// Starts the binary with further arguments and environment variables.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let cache = tempfile::tempdir().expect("folder");
        Self::start_in(cache, args, env)
    }

    /// The same with a folder of caches that may hold something.
    pub fn start_in(cache: tempfile::TempDir, args: &[&str], env: &[(&str, &str)]) -> Self {
        let begun = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command
            .args(["serve", "--port", "0"])
            .args(args)
            // Nothing of the machine's own settings, and no way to the real platform.
            .env_remove("ROBOFLOW_API_KEY")
            .env_remove("API_KEY")
            .env("API_BASE_URL", "http://127.0.0.1:9")
            .env("ROBOFLOW_API_HOST", "http://127.0.0.1:9")
            .env("MODEL_CACHE_DIR", cache.path())
            .env("XDG_STATE_HOME", cache.path().join("state"))
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| eprintln!("server: {line}"))
            .find_map(|line| {
                let rest = line.split("http://").nth(1)?;
                rest.split(';').next()?.parse().ok()
            })
            .expect("a line with the address");
        let started_in = begun.elapsed();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("server: {line}");
            }
        });
        Self {
            child,
            address,
            cache,
            started_in,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let words = line.expect("VmRSS").split_whitespace();
        words
            .skip(1)
            .find_map(|n| n.parse().ok())
            .expect("a number")
    }

    /// Whether the process lives.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits; answers its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        self.child.wait().expect("exit").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
