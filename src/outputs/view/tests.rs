//! What viewers see, and how many may.

use super::*;
use crate::values::codec::decode_image;

fn image(level: u8) -> Image {
    Image::new(Matrix::filled(64, 40, &[level; 3]), "i".into())
}

fn shot(view: &View, number: i64) -> Arc<Shot> {
    let frame = |name: &str, level: u8| ShotFrame {
        name: name.into(),
        number,
        shown: Shown {
            outputs: vec![("drawn".into(), image(level)), ("zoom".into(), image(250))],
            frame: image(0),
        },
    };
    let shot = Arc::new(Shot {
        frames: vec![frame("yard/n", 100), frame("yard/s", 200)],
        encodings: Mutex::default(),
        encoded: view.encoded.clone(),
    });
    view.put(shot.clone());
    shot
}

fn level(shot: &Shot, wish: &Wish) -> Result<(usize, u8), ViewError> {
    let picture = decode_image(&shot.jpeg(wish)?, 10_000).unwrap();
    Ok((picture.width, picture.data[0]))
}

#[test]
fn a_picture_is_encoded_once_in_each_form() {
    let view = Arc::new(View::default());
    let shot = shot(&view, 1);
    let wish = Wish::default();
    assert_eq!(view.encoded(), 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(level(&shot, &wish), Ok((64, 100))));
        }
    });
    assert_eq!(view.encoded(), 1);
    let other = Wish {
        source: Some("s".into()),
        width: Some(32),
        ..wish.clone()
    };
    assert_eq!(level(&shot, &other), Ok((32, 200)));
    let wide = Wish {
        width: Some(9_999),
        ..wish.clone()
    };
    assert_eq!(level(&shot, &wide), Ok((64, 100)));
    assert_eq!(view.encoded(), 2, "a picture is never made larger");
    for (source, output, word) in [
        (Some("x"), None, "yard/n, yard/s"),
        (None, Some("x"), "drawn, zoom"),
    ] {
        let wish = Wish {
            source: source.map(str::to_owned),
            output: output.map(str::to_owned),
            ..wish.clone()
        };
        let refused = level(&shot, &wish).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

#[tokio::test]
async fn a_slow_viewer_sees_the_newest_and_viewers_are_bounded() {
    let view = Arc::new(View::default());
    let mut viewer = view.look().unwrap();
    for number in 1..=10 {
        shot(&view, number);
    }
    let seen = viewer.next().await.unwrap();
    assert_eq!(seen.number(None), Some(10));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(20), viewer.next());
    assert!(waits.await.is_err(), "the same picture is not seen twice");
    let mut late = view.look().unwrap();
    assert_eq!(late.next().await.unwrap().number(None), Some(10));
    let others: Vec<Viewer> = (2..MOST_VIEWERS).map(|_| view.look().unwrap()).collect();
    assert_eq!(view.look().unwrap_err(), ViewError::Full(MOST_VIEWERS));
    assert_eq!(view.viewers(), MOST_VIEWERS);
    // Who takes no pictures loses the place to who wants it.
    let mut stuck = others;
    let taken = Instant::now() - Duration::from_secs(1);
    *stuck[3].place.taken() = taken;
    assert!(view.look_beside(Duration::from_secs(2)).is_err());
    let new = view.look_beside(Duration::from_millis(500)).unwrap();
    assert_eq!(view.viewers(), MOST_VIEWERS);
    shot(&view, 11);
    assert!(stuck[3].next().await.is_none());
    assert!(stuck[4].next().await.is_some());
    drop((stuck, new));
    assert_eq!(view.viewers(), 2);
    assert!(view.look().is_ok());
    view.close();
    assert!(viewer.next().await.is_none());
}
