//! Films written and read back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::delivery::video::{VideoError, VideoOptions, VideoWriter};
use millrace::values::Matrix;

use super::support::clips::{number_in_picture, scramble};
use super::{frames, open};

/// A gray picture that shows `number` as the synthetic clip does.
fn numbered(width: usize, height: usize, number: u32) -> Arc<Matrix> {
    let mut picture = Matrix::filled(width, height, &[90, 120, 200]);
    for bit in 0..24 {
        let level = if number >> (23 - bit) & 1 == 1 {
            255
        } else {
            0
        };
        for y in height - 10..height {
            let start = (y * width + 10 * bit) * 3;
            picture.data[start..start + 30].fill(level);
        }
    }
    Arc::new(picture)
}

fn write_numbers(path: &Path, width: usize, height: usize, fps: f64, count: u32) {
    let mut film = VideoWriter::create(path, width, height, VideoOptions::new(fps)).unwrap();
    for number in 0..count {
        film.write(&numbered(width, height, number)).unwrap();
    }
    let summary = film.finish().unwrap();
    assert_eq!(summary.frames, u64::from(count));
    assert_eq!(summary.bytes, path.metadata().unwrap().len());
    let seconds = summary.duration.as_secs_f64();
    assert!((seconds - f64::from(count) / fps).abs() < 1e-3, "{seconds}");
}

#[test]
fn every_picture_of_a_film_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    // Even rows, rows that need describing, odd sides.
    for (width, height, fps) in [(320, 240, 25.0), (322, 242, 12.5), (321, 241, 29.97)] {
        let path = dir.path().join(format!("{width}.mp4"));
        write_numbers(&path, width, height, fps, 60);
        let (frames, end) = frames(&open(path.to_str().unwrap()));
        let ending = end.unwrap();
        assert_eq!((frames.len(), ending.expected), (60, Some(60)));
        for (i, frame) in frames.iter().enumerate() {
            let pixels = frame.image.pixels();
            assert_eq!(number_in_picture(pixels), i as u32, "{width}");
            let color = &pixels.data[(5 * pixels.width + 5) * 3..][..3];
            let near = color
                .iter()
                .zip([90, 120, 200])
                .all(|(a, b)| a.abs_diff(b) <= 4);
            assert!(near, "{color:?}");
        }
        let declared = frames[0].video.fps.unwrap();
        assert!((declared - fps).abs() < 0.01, "{declared}");
        let second = frames[1].time.as_secs_f64();
        assert!((second - 1.0 / fps).abs() < 1e-3, "{second}");
    }
}

#[test]
fn pictures_keep_the_times_that_they_were_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("times.mp4");
    let mut film = VideoWriter::create(&path, 320, 240, VideoOptions::new(10.0)).unwrap();
    let times = [0, 100, 700, 650, 1500];
    for (i, time) in times.into_iter().enumerate() {
        let picture = numbered(320, 240, i as u32);
        film.write_at(&picture, Duration::from_millis(time))
            .unwrap();
    }
    film.finish().unwrap();
    let (frames, _) = frames(&open(path.to_str().unwrap()));
    let read: Vec<u128> = frames.iter().map(|f| f.time.as_millis()).collect();
    assert_eq!(read, [0, 100, 700, 701, 1500]);
}

#[test]
fn a_film_that_was_not_finished_has_all_but_its_last_fragment() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("film.mp4"), dir.path().join("crashed.mp4"));
    let mut options = VideoOptions::new(20.0);
    options.fragment = Duration::from_millis(500);
    let mut film = VideoWriter::create(&path, 320, 240, options).unwrap();
    for number in 0..80 {
        film.write(&numbered(320, 240, number)).unwrap();
    }
    let deadline = Instant::now() + super::SOON;
    let read = loop {
        std::fs::copy(&path, &crashed).unwrap();
        let (frames, _) = frames(&open(crashed.to_str().unwrap()));
        if frames.len() >= 40 {
            break frames;
        }
        assert!(Instant::now() < deadline, "{} frames", frames.len());
        std::thread::sleep(Duration::from_millis(20));
    };
    for (i, frame) in read.iter().enumerate() {
        assert_eq!(number_in_picture(frame.image.pixels()), i as u32);
    }
    drop(film);
    let (frames, end) = frames(&open(path.to_str().unwrap()));
    assert_eq!((frames.len(), end.unwrap().expected), (80, Some(80)));
}

#[test]
fn what_cannot_be_written_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let options = VideoOptions::new(25.0);
    let nowhere = dir.path().join("nowhere/film.mp4");
    let error = VideoWriter::create(&nowhere, 64, 48, options.clone()).unwrap_err();
    assert!(matches!(error, VideoError::Open { .. }), "{error:?}");
    let error = VideoWriter::create(dir.path(), 64, 48, options.clone()).unwrap_err();
    assert!(matches!(error, VideoError::Open { .. }), "{error:?}");
    let path = dir.path().join("film.mp4");
    for (width, fps) in [(0, 25.0), (64, 0.0), (64, f64::NAN)] {
        let error = VideoWriter::create(&path, width, 48, VideoOptions::new(fps)).unwrap_err();
        assert!(matches!(error, VideoError::Option { .. }), "{error:?}");
    }
    let mut film = VideoWriter::create(&path, 64, 48, options).unwrap();
    let error = film.write(&numbered(320, 240, 0)).unwrap_err();
    assert!(matches!(error, VideoError::Picture { .. }), "{error:?}");
    assert_eq!(film.finish().unwrap().frames, 0);
    assert!(!path.exists(), "a film without a picture is removed");
}

#[test]
fn a_full_disk_is_reported_and_does_not_block() {
    let start = Instant::now();
    let path = Path::new("/dev/full");
    let full = VideoError::DiskFull { path: path.into() };
    let mut noise = Matrix::filled(320, 240, &[0, 0, 1]);
    scramble(&mut noise.data);
    let noise = Arc::new(noise);
    let mut film = VideoWriter::create(path, 320, 240, VideoOptions::new(25.0)).unwrap();
    let error = (0..400).find_map(|_| film.write(&noise).err());
    assert_eq!(error.expect("an error before 400 pictures"), full);
    drop(film);
    let mut short = VideoWriter::create(path, 320, 240, VideoOptions::new(25.0)).unwrap();
    short.write(&numbered(320, 240, 0)).unwrap();
    assert_eq!(short.finish().unwrap_err(), full);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}
