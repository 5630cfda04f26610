//! Films in one file and in several, read back by a source.

use super::*;
use crate::sources::{Event, Source, SourceSpec, SourceUri};

/// Pictures of a file with the brightness of each.
fn decoded(path: &Path) -> Vec<u8> {
    let source = Source::open(SourceSpec::new(SourceUri::File(path.to_owned()))).unwrap();
    let mut seen = Vec::new();
    loop {
        match source.next(Duration::from_secs(10)).unwrap() {
            Some(Event::Frame(frame)) => {
                if seen.is_empty() {
                    assert!(frame.time.is_zero());
                }
                seen.push(frame.image.pixels().data[0]);
            }
            Some(Event::Ended(_)) => return seen,
            Some(_) => {}
            None => panic!("the film does not go on"),
        }
    }
}

fn moment(frame: u64) -> Moment {
    Moment {
        time: Duration::from_millis(frame * 100),
        at: Timestamp::from_unix_micros(1_700_000_000_000_000 + frame as i64 * 100_000),
        fps: Some(10.0),
    }
}

fn gray(level: u8) -> Arc<Matrix> {
    Arc::new(Matrix::filled(64, 48, &[level; 3]))
}

fn write(film: &mut Film, frames: std::ops::Range<u64>) {
    for frame in frames {
        let picture = gray((frame * 4) as u8);
        film.write(&picture, moment(frame)).unwrap();
    }
}

#[test]
fn a_film_cut_by_time_has_every_picture_once_and_keeps_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let plan = FilmPlan {
        path: folder.path().join("new/gate.mp4"),
        cut: Some(Cut::Time(Duration::from_secs(2))),
        keep: None,
    };
    let mut film = Film::new(plan.clone());
    write(&mut film, 0..50);
    let boundary = film.files().to_vec();
    assert_eq!(boundary.len(), 2);
    film.settle().unwrap();
    assert_eq!(decoded(&boundary[1]).len(), 20);
    film.finish().unwrap();
    let names: Vec<String> = film
        .files()
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "gate-000001-20231114T221320Z.mp4",
            "gate-000002-20231114T221322Z.mp4",
            "gate-000003-20231114T221324Z.mp4",
        ]
    );
    let levels: Vec<u8> = film.files().iter().flat_map(|p| decoded(p)).collect();
    assert_eq!(levels.len(), 50);
    for (frame, level) in levels.iter().enumerate() {
        let off = i32::from(*level) - frame as i32 * 4;
        assert!(off.abs() <= 2, "picture {frame} is {level}");
    }
    // A later run goes on with the numbers, and removes what is too old.
    std::fs::write(folder.path().join("new/gate-notes.mp4"), "mine").unwrap();
    let mut later = Film::new(FilmPlan {
        keep: Some(2),
        ..plan
    });
    write(&mut later, 50..60);
    later.finish().unwrap();
    let mut left: Vec<String> = std::fs::read_dir(folder.path().join("new"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            "gate-000003-20231114T221324Z.mp4",
            "gate-000004-20231114T221325Z.mp4",
            "gate-notes.mp4",
        ]
    );
}

#[test]
fn a_film_cut_by_size_stays_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let most = 150_000;
    let mut film = Film::new(FilmPlan {
        path: folder.path().join("noise.mp4"),
        cut: Some(Cut::Size(most)),
        keep: None,
    });
    let mut state = 1u32;
    let frames = 80;
    for frame in 0..frames {
        let data = (0..160 * 120 * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 26) as u8
        });
        let picture = Matrix::new(160, 120, 3, data.collect()).unwrap();
        film.write(&Arc::new(picture), moment(frame)).unwrap();
        // The encoder is given the time that a camera gives it.
        std::thread::sleep(Duration::from_millis(5));
    }
    film.finish().unwrap();
    assert!(film.files().len() > 1, "{:?}", film.files());
    let mut pictures = 0;
    for path in film.files() {
        let bytes = std::fs::metadata(path).unwrap().len();
        assert!(bytes < most * 2, "{bytes} bytes");
        pictures += decoded(path).len();
    }
    assert_eq!(pictures as u64, frames);
}

#[test]
fn another_size_or_a_new_beginning_of_time_begins_the_next_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut film = Film::new(FilmPlan {
        path: folder.path().join("a.mp4"),
        cut: None,
        keep: None,
    });
    write(&mut film, 0..12);
    let small = Arc::new(Matrix::filled(32, 32, &[9; 3]));
    film.write(&small, moment(12)).unwrap();
    film.write(&small, moment(30)).unwrap();
    film.write(&small, moment(0)).unwrap();
    film.finish().unwrap();
    let names = ["a.mp4", "a-2.mp4", "a-3.mp4"].map(|name| folder.path().join(name));
    assert_eq!(film.files(), names);
    assert_eq!(decoded(&names[0]).len(), 12);
    assert_eq!(decoded(&names[1]).len(), 2);
}

#[test]
fn cuts_are_read_and_names_of_others_are_left_alone() {
    let cut = |text: &str| text.parse::<Cut>().ok();
    assert_eq!(cut("10m"), Some(Cut::Time(Duration::from_secs(600))));
    assert_eq!(cut("1h"), Some(Cut::Time(Duration::from_secs(3600))));
    assert_eq!(cut("500MB"), Some(Cut::Size(500_000_000)));
    for wrong in ["", "10", "m", "0s", "10M", "-1s", "99999999999999999999h"] {
        assert_eq!(cut(wrong), None, "{wrong}");
    }
    let number = |name: &str| number_of(name, "gate");
    assert_eq!(number("gate-000017-20231114T221320Z.mp4"), Some(17));
    assert_eq!(number("gate-1234567-20231114T221320Z.mp4"), Some(1_234_567));
    for name in [
        "gate.mp4",
        "gate-2.mp4",
        "gate-north-000001-20231114T221320Z.mp4",
        "gate-000001-20231114T22132éZ.mp4",
        "yard-000001-20231114T221320Z.mp4",
    ] {
        assert_eq!(number(name), None, "{name}");
    }
}

#[test]
fn an_empty_film_does_not_stay_when_the_disk_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut film = Film::new(FilmPlan {
        path: path.clone(),
        cut: None,
        keep: None,
    });
    let picture = gray(90);
    let failed = (0..5_000).find_map(|frame| film.write(&picture, moment(frame)).err());
    assert!(
        matches!(failed, Some(VideoError::DiskFull { .. })),
        "{failed:?}"
    );
    assert!(path.symlink_metadata().is_err(), "its name is free");
    // The next picture begins another file, which the disk takes.
    film.write(&picture, moment(5_000)).unwrap();
    film.finish().unwrap();
    assert!(folder.path().join("film-2.mp4").metadata().unwrap().len() > 0);
}
