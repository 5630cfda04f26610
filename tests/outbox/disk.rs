//! Disks that take nothing any more. They are real ones: small file systems, mounted for the test.
//! Where mounting is not allowed the tests say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, DropCause, Overflow, PostError};

use super::receiver::{Receiver, Reply};
use super::{event, integrity, quick};

/// A small ext4 file system in a file; it goes when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk of 18 MB; none if this machine does not allow it.
    fn mount() -> Option<Self> {
        let disk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let image = disk.folder.path().join("image");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(18 << 20)
            .unwrap();
        std::fs::create_dir(disk.path()).unwrap();
        let made = run("mkfs.ext4", &["-q", "-m", "0", path(&image)]);
        let mounted = made && run("mount", &["-o", "loop", path(&image), path(&disk.path())]);
        if !mounted {
            println!("not tested: this machine does not let the test mount a disk");
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn outbox(&self) -> PathBuf {
        self.path().join("outbox")
    }

    /// As after an error of the device: nothing can be written from now on.
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

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a failed test may still have files open.
        run("umount", &["-l", path(&self.path())]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

fn dispatcher(disk: &Disk, overflow: Overflow) -> Arc<Dispatcher> {
    let mut settings = OutboxSettings::new(disk.outbox());
    settings.overflow = overflow;
    Arc::new(Dispatcher::with_outbox(quick(), settings))
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

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
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

fn whole(disk: &Disk) {
    assert_eq!(integrity(&disk.outbox()), "ok");
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_says_so() {
    let Some(disk) = Disk::mount() else { return };
    let dispatcher = dispatcher(&disk, Overflow::Refuse);
    let address = nobody();
    let url = format!("http://{address}/");
    let taken = fill(&dispatcher, &url, 200);
    let refused = dispatcher.counts().dropped[&DropCause::Storage];
    assert!(refused > 0);
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
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
    whole(&disk);
}

#[test]
fn a_full_disk_does_not_stop_new_events_where_the_oldest_make_room() {
    let Some(disk) = Disk::mount() else { return };
    let dispatcher = dispatcher(&disk, Overflow::DropOldest);
    let address = nobody();
    let taken = fill(&dispatcher, &format!("http://{address}/"), 500);
    assert_eq!(
        taken.len() as u64,
        taken.last().unwrap() + 1,
        "none is refused"
    );
    let receiver = Receiver::start_at(address, Vec::new(), Reply::status(200));
    wait_until("everything arrives", || dispatcher.counts().waiting == 0);
    assert_eq!(numbers(&receiver), taken);
    wait_until("the disk takes events again", || !trouble(&dispatcher));
    dispatcher.close(Duration::from_secs(20));
    drop(dispatcher);
    println!(
        "full disk, drop-oldest: {} taken and delivered",
        taken.len()
    );
    whole(&disk);
}

#[test]
fn a_full_disk_makes_those_wait_who_chose_to() {
    let Some(disk) = Disk::mount() else { return };
    let dispatcher = dispatcher(&disk, Overflow::Block);
    dispatcher.resume().unwrap();
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
    poster.join().unwrap();
    wait_until("everything arrives", || dispatcher.counts().waiting == 0);
    assert_eq!(numbers(&receiver), (0..3000).collect::<Vec<u64>>());
    dispatcher.close(Duration::from_secs(20));
    drop(dispatcher);
    whole(&disk);
}

#[test]
fn a_disk_that_becomes_read_only_applies_the_policy_and_loses_nothing_it_took() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest] {
        let Some(disk) = Disk::mount() else { return };
        let one = dispatcher(&disk, overflow);
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
        wait_until("everything arrives", || one.counts().waiting == 0);
        assert_eq!(numbers(&receiver), taken);
        one.close(Duration::from_secs(5));
        drop(one);

        // Nothing can be opened there, and it says what to do.
        let refused = dispatcher(&disk, overflow)
            .resume()
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--no-outbox"), "{refused}");
        disk.repair();
        dispatcher(&disk, overflow).resume().unwrap();
        whole(&disk);
    }
}
