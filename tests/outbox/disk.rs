//! Disks that take nothing any more.
//!
//! The disk is a real one where the machine allows it: a small file system, mounted for the test, or
//! one of memory in a namespace of its own. Everywhere, with or without privileges, the same is
//! tested with a process whose files may not grow. What is not tested is said on the error output.
//! `OUTBOX_DISKS=mounted`, `namespace` or `limits` insists on one form.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, DropCause, Overflow, PostError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::receiver::{Receiver, Reply};
use super::{event, integrity, quick};

/// Name of the variable that tells [`another_process`] what to do: the form of the disk and the
/// scenario.
const TOLD: &str = "OUTBOX_DISK";
const OTHER: &str = "disk::another_process";
/// Size of small file systems.
const SIZE: u64 = 18 << 20;

/// What an outbox lies on.
trait Disk {
    /// Where.
    fn outbox(&self) -> PathBuf;
    /// An outbox was opened on it.
    fn begin(&self) {}
    /// What was in the way of growing goes.
    fn make_room(&self) {}
    /// Nothing can be written from now on.
    fn make_read_only(&self);
    /// It can be written again.
    fn repair(&self);
}

type Scenario = fn(&dyn Disk);

const SCENARIOS: &[(&str, Scenario)] = &[
    ("refuse", refuses_what_it_cannot_keep),
    ("drop-oldest", lets_the_oldest_make_room),
    ("block", makes_those_wait_who_chose_to),
    ("read-only, refuse", |disk| {
        become_read_only(disk, Overflow::Refuse)
    }),
    ("read-only, drop-oldest", |disk| {
        become_read_only(disk, Overflow::DropOldest)
    }),
];

fn scenario(name: &str) -> Scenario {
    let found = SCENARIOS.iter().find(|(known, _)| *known == name);
    found.expect(name).1
}

/// A small ext4 file system in a file; it goes when dropped.
struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// A disk; none if this machine does not allow it.
    fn new() -> Option<Self> {
        let disk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let image = disk.folder.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(SIZE).unwrap();
        std::fs::create_dir(disk.path()).unwrap();
        let made = run("mkfs.ext4", &["-q", "-m", "0", path(&image)]);
        let mounted = made && run("mount", &["-o", "loop", path(&image), path(&disk.path())]);
        mounted.then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }
}

impl Disk for Mounted {
    fn outbox(&self) -> PathBuf {
        self.path().join("outbox")
    }

    /// As after an error of the device.
    fn make_read_only(&self) {
        assert!(run("mount", &["-o", "remount,abort", path(&self.path())]));
    }

    /// Mounts it anew, as after a repair.
    fn repair(&self) {
        assert!(run("umount", &[path(&self.path())]));
        let image = self.folder.path().join("image");
        let _ = run("fsck.ext4", &["-p", "-f", path(&image)]);
        assert!(run(
            "mount",
            &["-o", "loop", path(&image), path(&self.path())]
        ));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a failed test may still have files open.
        run("umount", &["-l", path(&self.path())]);
    }
}

/// A small file system of memory, for a process in a namespace of its own; it goes with that.
struct OfMemory {
    folder: tempfile::TempDir,
}

impl OfMemory {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={SIZE}");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs", path(folder.path())];
        assert!(run("mount", &arguments));
        Self { folder }
    }
}

impl Disk for OfMemory {
    fn outbox(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    fn make_read_only(&self) {
        unreachable!("files that are open keep such a file system from it");
    }

    fn repair(&self) {}
}

impl Drop for OfMemory {
    fn drop(&mut self) {
        run("umount", &["-l", path(self.folder.path())]);
    }
}

/// Any folder, for a process whose files may not grow beyond a limit.
struct Limited {
    folder: tempfile::TempDir,
}

impl Limited {
    /// Bytes of one file, as if the disk were full beyond.
    const FULL: u64 = 4 << 20;

    fn limit(bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = bytes.or(maximum);
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
    }
}

impl Disk for Limited {
    fn outbox(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    fn begin(&self) {
        Self::limit(Some(Self::FULL));
    }

    fn make_room(&self) {
        Self::limit(None);
    }

    fn make_read_only(&self) {
        Self::limit(Some(0));
    }

    fn repair(&self) {
        Self::limit(None);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// Says what is not tested where nobody can overlook it: past what the harness captures.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

/// The other process: runs one scenario on one form of disk.
#[test]
fn another_process() {
    let Ok(told) = std::env::var(TOLD) else {
        return;
    };
    let (form, name) = told.split_once(' ').unwrap();
    match form {
        "namespace" => scenario(name)(&OfMemory::new()),
        _ => scenario(name)(&Limited {
            folder: tempfile::tempdir().unwrap(),
        }),
    }
    println!("done: {told}");
}

/// Runs a scenario in a process of its own that these words start.
fn in_another_process(launcher: &[&str], form: &str, name: &str) {
    let told = format!("{form} {name}");
    let output = Command::new(launcher[0])
        .args(&launcher[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", OTHER, "--nocapture"])
        .env(TOLD, &told)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(&format!("done: {told}")),
        "{told}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in text.lines().filter(|line| line.starts_with("full disk")) {
        println!("{form}: {line}");
    }
}

const NAMESPACE: &[&str] = &["unshare", "-Urm"];
/// Without the signal that would end the process at the limit; writing fails then.
const IGNORING: &[&str] = &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];

fn wanted(form: &str) -> bool {
    std::env::var("OUTBOX_DISKS").map_or(true, |only| only == form)
}

/// On a file system of its own, whichever this machine allows.
fn on_a_small_disk(name: &str) {
    if wanted("mounted") {
        if let Some(disk) = Mounted::new() {
            return scenario(name)(&disk);
        }
        assert!(
            std::env::var("OUTBOX_DISKS").is_err(),
            "no disk can be mounted"
        );
    }
    let probe = ["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"];
    if name.starts_with("read-only") {
        skipped("a disk that becomes read-only: this machine mounts none; limits stand in for it");
    } else if wanted("namespace") && run("unshare", &probe) {
        in_another_process(NAMESPACE, "namespace", name);
    } else {
        skipped("full disks: this machine mounts none, not even in a namespace; limits stand in");
    }
}

fn where_files_may_not_grow(name: &str) {
    in_another_process(IGNORING, "limits", name);
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_says_so() {
    on_a_small_disk("refuse");
}

#[test]
fn a_full_disk_does_not_stop_new_events_where_the_oldest_make_room() {
    on_a_small_disk("drop-oldest");
}

#[test]
fn a_full_disk_makes_those_wait_who_chose_to() {
    on_a_small_disk("block");
}

#[test]
fn a_disk_that_becomes_read_only_applies_the_policy_and_loses_nothing_it_took() {
    on_a_small_disk("read-only, refuse");
    on_a_small_disk("read-only, drop-oldest");
}

#[test]
fn files_that_may_not_grow_refuse_what_they_cannot_keep() {
    where_files_may_not_grow("refuse");
}

#[test]
fn files_that_may_not_grow_do_not_stop_new_events_where_the_oldest_make_room() {
    where_files_may_not_grow("drop-oldest");
}

#[test]
fn files_that_may_not_grow_make_those_wait_who_chose_to() {
    where_files_may_not_grow("block");
}

#[test]
fn files_that_may_not_be_written_apply_the_policy_and_lose_nothing_they_took() {
    where_files_may_not_grow("read-only, refuse");
    where_files_may_not_grow("read-only, drop-oldest");
}

fn dispatcher(disk: &dyn Disk, overflow: Overflow) -> Arc<Dispatcher> {
    let mut settings = OutboxSettings::new(disk.outbox());
    settings.overflow = overflow;
    let dispatcher = Dispatcher::with_outbox(quick(), settings);
    dispatcher.resume().unwrap();
    disk.begin();
    Arc::new(dispatcher)
}

fn trouble(dispatcher: &Dispatcher) -> bool {
    let figures = dispatcher.outbox_figures().unwrap();
    figures.trouble.is_some() && figures.write_failures_total > 0
}

/// An address at which nobody listens yet.
fn nobody() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn numbers(receiver: &Receiver) -> Vec<u64> {
    let mut numbers: Vec<u64> = receiver
        .received()
        .iter()
        .map(|r| r.text().split(' ').next().unwrap().parse().unwrap())
        .collect();
    numbers.dedup();
    numbers
}

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(|| what.to_owned(), holds);
}

fn wait_for(what: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{}", what());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Posts until the disk is full, and then some; answers the numbers that were taken.
fn fill(dispatcher: &Dispatcher, url: &str, beyond: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    let mut in_trouble = 0;
    for n in 0..20_000 {
        let event = event(url, "camera", format!("{n} {}", "x".repeat(4000)));
        match dispatcher.post(event) {
            Ok(()) => taken.push(n),
            Err(PostError::Storage) => {}
            Err(error) => panic!("{error}"),
        }
        if n % 50 == 0 {
            // As fast as events come, the thread that writes comes along.
            std::thread::sleep(Duration::from_millis(2));
        }
        if trouble(dispatcher) {
            in_trouble += 1;
        }
        if in_trouble > beyond {
            return taken;
        }
    }
    panic!("the disk does not fill up");
}

fn whole(disk: &dyn Disk) {
    assert_eq!(integrity(&disk.outbox()), "ok");
}

fn refuses_what_it_cannot_keep(disk: &dyn Disk) {
    let dispatcher = dispatcher(disk, Overflow::Refuse);
    let address = nobody();
    let url = format!("http://{address}/");
    let taken = fill(&dispatcher, &url, 200);
    let refused = dispatcher.counts().dropped[&DropCause::Storage];
    assert!(refused > 0);
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    disk.make_room();
    wait_until("everything arrives", || dispatcher.counts().waiting == 0);
    assert_eq!(numbers(&receiver), taken, "all that was taken, in order");
    wait_until("the disk takes events again", || !trouble(&dispatcher));
    dispatcher.post(event(&url, "camera", "99999 ")).unwrap();
    receiver.wait_for(taken.len() + 1);
    dispatcher.close(Duration::from_secs(20));
    drop(dispatcher);
    println!(
        "full disk, refuse: {} taken and delivered, {refused} refused",
        taken.len()
    );
    whole(disk);
}

fn lets_the_oldest_make_room(disk: &dyn Disk) {
    let dispatcher = dispatcher(disk, Overflow::DropOldest);
    let address = nobody();
    let taken = fill(&dispatcher, &format!("http://{address}/"), 500);
    assert_eq!(
        taken.len() as u64,
        taken.last().unwrap() + 1,
        "none is refused"
    );
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    disk.make_room();
    wait_until("everything arrives", || dispatcher.counts().waiting == 0);
    assert_eq!(numbers(&receiver), taken);
    wait_until("the disk takes events again", || !trouble(&dispatcher));
    dispatcher.close(Duration::from_secs(20));
    drop(dispatcher);
    println!(
        "full disk, drop-oldest: {} taken and delivered",
        taken.len()
    );
    whole(disk);
}

fn makes_those_wait_who_chose_to(disk: &dyn Disk) {
    let dispatcher = dispatcher(disk, Overflow::Block);
    let address = nobody();
    let url = format!("http://{address}/");
    let poster = {
        let (dispatcher, url) = (dispatcher.clone(), url.clone());
        std::thread::spawn(move || {
            for n in 0..3000 {
                let event = event(&url, "camera", format!("{n} {}", "x".repeat(4000)));
                dispatcher.post(event).unwrap();
            }
        })
    };
    wait_until("the disk is full", || trouble(&dispatcher));
    let before = dispatcher.counts().waiting;
    std::thread::sleep(Duration::from_millis(300));
    assert!(!poster.is_finished() && dispatcher.counts().waiting <= before + 1000);
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    disk.make_room();
    poster.join().unwrap();
    wait_until("everything arrives", || dispatcher.counts().waiting == 0);
    assert_eq!(numbers(&receiver), (0..3000).collect::<Vec<u64>>());
    dispatcher.close(Duration::from_secs(20));
    drop(dispatcher);
    whole(disk);
}

fn become_read_only(disk: &dyn Disk, overflow: Overflow) {
    let one = dispatcher(disk, overflow);
    let address = nobody();
    let url = format!("http://{address}/");
    let post = |n: u64| one.post(event(&url, "camera", n.to_string()));
    for n in 0..100 {
        post(n).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    disk.make_read_only();
    let mut taken: Vec<u64> = (0..100).collect();
    for n in 100..200 {
        match post(n) {
            Ok(()) => taken.push(n),
            Err(PostError::Storage) => assert_eq!(overflow, Overflow::Refuse),
            Err(error) => panic!("{error}"),
        }
    }
    wait_until("it is said", || trouble(&one));
    let refused = one.counts().dropped.get(&DropCause::Storage).copied();
    assert_eq!(refused.is_some(), overflow == Overflow::Refuse);
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    let report = || format!("everything arrives: {}", one.outbox_report());
    wait_for(report, || one.counts().waiting == 0);
    assert_eq!(numbers(&receiver), taken);
    one.close(Duration::from_secs(5));
    drop(one);

    // Nothing can be opened there, and it says what to do.
    let again = Dispatcher::with_outbox(quick(), OutboxSettings::new(disk.outbox()));
    let refused = again.resume().unwrap_err().to_string();
    assert!(refused.contains("--no-outbox"), "{refused}");
    disk.repair();
    drop(dispatcher(disk, overflow));
    whole(disk);
}
