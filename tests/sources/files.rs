//! Recorded files: every frame once, the reference's pixels, and what is said about broken ones.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace::sources::{DropCause, ErrorOrigin, Source, SourceError, SourceState};
use millrace::values::image::YuvLayout;
use sha2::{Digest, Sha256};

use super::support::clips::{
    PEDESTRIANS, PERSON, SHAPES, changed_copy, number_in_picture, place_of, scramble,
};
use super::{failure, frames, make_clip, next_frame, open, spec};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn every_frame_of_a_file_comes_once_in_order() {
    let source = open(SHAPES);
    let (frames, end) = frames(&source);
    let ending = end.unwrap();
    assert_eq!((ending.frames, ending.expected), (300, Some(300)));
    assert_eq!(ending.warning(), None);
    assert_eq!(frames.len(), 300);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(number_in_picture(frame.image.pixels()), i as u32);
        assert_eq!(frame.number, i as i64 + 1);
        assert_eq!(frame.time, Duration::from_millis(40) * i as u32);
    }
    let stats = source.stats();
    assert_eq!((stats.frames, stats.delivered), (300, 300));
    assert_eq!((stats.drops.total(), stats.state), (0, SourceState::Ended));
}

#[test]
fn metadata_of_a_file_follow_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed_copy(SHAPES, dir.path(), "yard.mp4", |_| {});
    let changed = path.metadata().unwrap().modified().unwrap();
    let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap();
    let source = open(path.to_str().unwrap());
    let first = next_frame(&source);
    let video = &first.video;
    assert_eq!(&*video.video_identifier, "yard.mp4");
    assert_eq!(video.frame_number, 1);
    assert_eq!(video.fps, Some(25.0));
    assert_eq!(video.measured_fps, Some(25.0));
    assert_eq!(video.comes_from_video_file, Some(true));
    assert_eq!(video.total_frames, Some(300));
    let taken = video.frame_timestamp.unix_seconds();
    assert!((taken - (changed.as_secs_f64() - 12.0)).abs() < 1e-3);
    assert!(!video.frame_timestamp.is_zoned());
    let later = next_frame(&source).video.frame_timestamp.unix_seconds();
    assert!((later - taken - 0.04).abs() < 1e-5);
    let renamed = first.image_named("camera_input".into());
    assert_eq!(&*renamed.parent().id, "camera_input");
    assert_eq!(&**renamed.video_identifier(), "yard.mp4");
    assert!(renamed.same_pixels(&first.image));
}

/// Checksums of the BGR bytes that `cv2.VideoCapture` (opencv-python 4.12) gives.
#[test]
fn pixels_are_those_of_the_reference() {
    let cases: [(&str, [(usize, &str); 3]); 3] = [
        (
            SHAPES,
            [
                (
                    0,
                    "9b8754e67f45c16636faae682dfc505ae4bd11a36412127c8503c5a6a5fd7b26",
                ),
                (
                    99,
                    "59ee6b6186ec04aa8bb0ad73ab11207d579d82d6a37dc703239e453143b325da",
                ),
                (
                    299,
                    "e37d26c3c51a3b50b98bf70d8f0029a9c333fc9d554b8db9f1ef9478e4d663e8",
                ),
            ],
        ),
        (
            PERSON,
            [
                (
                    0,
                    "8b1fbed385ba552f4d503740749e886fdd39b56ca5029886f790d1666a669596",
                ),
                (
                    99,
                    "d933f7ae8a03e2adc53ea762249f165130414adc911ec7cec56d1b782c179f6e",
                ),
                (
                    179,
                    "19a0fa904d01600e8804155c8caf821e1bbe27edcd281053ed424c92c7990313",
                ),
            ],
        ),
        (
            PEDESTRIANS,
            [
                (
                    0,
                    "ecbc9ef4401ab5b1dfe9ff28bd5f447d5616a7b57cf4952aebe2fb27954e99d9",
                ),
                (
                    150,
                    "c342319fdd6ef25c2e955dbe34937a9f5cc22dedb75a0e419059f3ceedbbe05d",
                ),
                (
                    399,
                    "aa9e994623c2b3feff1e1dd47fa27d1adeb5eb5c218a74a01623211b7c67d29c",
                ),
            ],
        ),
    ];
    for (clip, expected) in cases {
        let (frames, _) = frames(&open(clip));
        for (index, checksum) in expected {
            let pixels = frames[index].image.pixels();
            assert_eq!(sha256(&pixels.data), checksum, "{clip} frame {index}");
        }
    }
}

#[test]
fn a_picture_that_is_stored_turned_is_turned_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed_copy(PERSON, dir.path(), "turned.mp4", |bytes| {
        let matrix = place_of(bytes, b"tkhd") + 44;
        let quarter = [0, 65536, 0, -65536, 0, 0, 360 * 65536, 0, 1 << 30];
        for (i, value) in quarter.iter().enumerate() {
            let at = matrix + 4 * i;
            bytes[at..at + 4].copy_from_slice(&i32::to_be_bytes(*value));
        }
    });
    let frame = next_frame(&open(path.to_str().unwrap()));
    assert_eq!((frame.image.width(), frame.image.height()), (360, 640));
    assert_eq!(
        sha256(&frame.image.pixels().data),
        "103950b6d5bacf8c3ad02810834b3b07ad027eaaa02fb2afc905893132f972cf"
    );
}

#[test]
fn other_pixel_formats_are_taken_too() {
    let dir = tempfile::tempdir().unwrap();
    // Format and colorimetry of the clip, layout of the planes (none: converted to BGR), luma range.
    let cases = [
        ("I420,colorimetry=1:4:0:0", Some(YuvLayout::I420), true),
        ("I420,colorimetry=bt601", Some(YuvLayout::I420), false),
        ("Y42B,colorimetry=bt601", Some(YuvLayout::I422), false),
        ("I420_10LE,colorimetry=bt601", Some(YuvLayout::I420), false),
        ("Y444,colorimetry=bt709", None, false),
    ];
    for (i, (format, layout, full_range)) in cases.into_iter().enumerate() {
        let path = dir.path().join(format!("{i}.mp4"));
        let path = path.to_str().unwrap();
        make_clip(&format!(
            "videotestsrc num-buffers=3 pattern=white ! \
             video/x-raw,width=322,height=242,framerate=10/1,format={format} ! \
             x264enc tune=zerolatency ! mp4mux ! filesink location={path}"
        ));
        let (frames, end) = frames(&open(path));
        assert_eq!(
            (frames.len(), end.unwrap().warning()),
            (3, None),
            "{format}"
        );
        let image = &frames[0].image;
        assert_eq!((image.width(), image.height()), (322, 242));
        let planes = image.planes().map(|p| (p.layout, p.full_range));
        assert_eq!(planes, layout.map(|l| (l, full_range)), "{format}");
        let white = image.pixels().data.iter().all(|&b| b >= 233);
        assert!(white, "{format}: {:?}", &image.pixels().data[..3]);
    }
}

#[test]
fn a_file_waits_for_a_slow_receiver() {
    let source = open(SHAPES);
    for i in 0..20 {
        if i == 5 {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(number_in_picture(next_frame(&source).image.pixels()), i);
    }
    assert_eq!(source.stats().drops.total(), 0);
    assert!(source.stats().frames <= 30, "{:?}", source.stats());
}

#[test]
fn a_file_in_real_time_keeps_its_own_speed() {
    let mut spec = spec(SHAPES);
    spec.realtime = true;
    let source = Source::open(spec).unwrap();
    next_frame(&source);
    let start = Instant::now();
    for _ in 0..10 {
        next_frame(&source);
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(350), "{took:?}");
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

#[test]
fn frames_beyond_the_asked_rate_are_left_out_evenly() {
    let mut spec = spec(PEDESTRIANS);
    spec.max_fps = Some(5.0);
    let source = Source::open(spec).unwrap();
    let (frames, end) = frames(&source);
    let numbers: Vec<i64> = frames.iter().map(|f| f.number).collect();
    assert_eq!(numbers, (1..=400).step_by(2).collect::<Vec<i64>>());
    assert_eq!(end.unwrap().warning(), None);
    assert_eq!(source.stats().drops.count(DropCause::Thinned), 200);
}

#[test]
fn a_file_that_is_cut_off_gives_what_it_has_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed_copy(SHAPES, dir.path(), "cut.mp4", |b| b.truncate(150_000));
    let (frames, end) = frames(&open(path.to_str().unwrap()));
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(number_in_picture(frame.image.pixels()), i as u32);
    }
    let ending = end.unwrap();
    assert_eq!(ending.frames, 150);
    assert_eq!(frames.len(), 150);
    assert_eq!(
        ending.warning().unwrap(),
        "the file ended after 150 of 300 frames; it is cut off or damaged"
    );
}

#[test]
fn files_that_cannot_be_played_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let broken = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = changed_copy(SHAPES, dir.path(), name, change);
        failure(path.to_str().unwrap())
    };
    let corrupt = [
        broken("index.mp4", &|b| scramble(&mut b[60..4000])),
        broken("cut_index.mp4", &|b| b.truncate(3000)),
        broken("no_pictures.mp4", &|b| b.truncate(4190)),
        broken("noise.mp4", &|b| scramble(&mut b[4300..])),
    ];
    for error in corrupt {
        let is_corrupt = matches!(error, SourceError::Corrupt { frames: 0, .. });
        assert!(is_corrupt, "{error:?}");
        assert!(!error.retry());
        assert_eq!(error.origin(), ErrorOrigin::File);
    }
    let no_video = [
        broken("text.mp4", &|b| *b = b"this is plain text\n".repeat(20)),
        broken("random.mp4", &|b| scramble(b)),
        broken("empty.mp4", &Vec::clear),
        failure(dir.path().to_str().unwrap()),
        failure("file:///dev/null"),
        failure(sound_only(dir.path()).as_str()),
    ];
    for error in no_video {
        assert!(matches!(error, SourceError::NotVideo { .. }), "{error:?}");
        assert!(!error.retry());
    }
    let error = failure("/nowhere/clip.mp4");
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/clip.mp4: not found")
    );
    assert!(!error.retry());
}

fn sound_only(dir: &Path) -> String {
    let path = dir.join("sound.mp4").to_str().unwrap().to_owned();
    make_clip(&format!(
        "audiotestsrc num-buffers=20 ! avenc_aac ! mp4mux ! filesink location={path}"
    ));
    path
}

#[test]
fn sound_beside_the_picture_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.mp4").to_str().unwrap().to_owned();
    make_clip(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         x264enc tune=zerolatency ! mp4mux name=m ! filesink location={path} \
         audiotestsrc num-buffers=90 ! avenc_aac ! m."
    ));
    let (frames, end) = frames(&open(&path));
    let ending = end.unwrap();
    assert_eq!((frames.len(), ending.expected), (30, Some(30)));
    assert_eq!(ending.warning(), None);
}

/// The decoders are hidden from a child process, which runs only [`missing_codec_child`].
#[test]
fn a_missing_codec_is_named_with_its_package() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "files::missing_codec_child",
            "--ignored",
            "--nocapture",
        ])
        .env(
            "GST_PLUGIN_FEATURE_RANK",
            "avdec_h264:NONE,openh264dec:NONE,vah264dec:NONE,v4l2slh264dec:NONE,nvh264dec:NONE",
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
}

#[test]
#[ignore = "needs an environment that hides the decoders; run by the test above"]
fn missing_codec_child() {
    let error = failure(SHAPES);
    let SourceError::Missing { what, package, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(what.contains("H.264"), "{what}");
    assert_eq!(package, "gstreamer1.0-libav");
}
