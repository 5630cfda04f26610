//! Lets the flow pass at most once in so many seconds.
//!
//! # Inputs and outputs
//! `depends_on` only puts the step behind another one. With a `video_reference_image` whose frame
//! rate is known, time is `frame_number / fps`, for live streams too; else it is the clock's. No
//! outputs.
//!
//! # State
//! Per stream, the time of the last pass, by video time and by the clock.
//!
//! # Edge cases
//! A still image stands for frame 0 of a video of 30 frames a second, so that with one as reference
//! only the first call passes. A video whose frame numbers fall back waits until they overtake the
//! last pass.
//!
//! # Parity
//! `rate_limiter_by_video_time`, specification 3.2. State per stream is ours (decided V8).

use std::time::Duration;

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Decision, Family, Field, Inputs, Output, Role,
    Ty,
};
use crate::values::{Value, kind, python};

/// `roboflow_core/rate_limiter@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/rate_limiter@v1"],
    name: "Rate Limiter",
    family: Family::FlowControl,
    about: "Runs the next steps at most once per cooldown.",
    fields: &[
        Field::optional("cooldown_seconds", &[Ty::Float], "1.0")
            .bounds(Bounds::at_least(0.0))
            .about("Seconds from one pass to the next.")
            .always_visible(),
        Field::required("depends_on", &[Ty::Selector(&[kind::WILDCARD])])
            .about("The value behind which the step stands."),
        Field::required("next_steps", &[Ty::List(&[Ty::Step])]).about("Steps to limit."),
        Field::optional("video_reference_image", &[Ty::InputImage, Ty::Null], "null")
            .about("Image whose video time counts instead of the clock."),
    ],
    role: Role::FlowControl,
    build: |_, _| Ok(Box::<RateLimiter>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct RateLimiter {
    passes: PerStream<LastPass>,
}

#[derive(Default)]
struct LastPass {
    /// Microseconds of video time.
    video: Option<i64>,
    clock: Option<Duration>,
}

impl Block for RateLimiter {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let cooldown = inputs.float("cooldown_seconds")?;
        let last = self.passes.get(cx.stream, LastPass::default);
        let passes = match video_micros(inputs, cx) {
            Some(now) => pass(&mut last.video, now, |last| {
                now.saturating_sub(last) as f64 / 1e6 >= cooldown
            }),
            None => {
                let now = cx.services.clock.monotonic();
                pass(&mut last.clock, now, |last| {
                    now.saturating_sub(last).as_secs_f64() >= cooldown
                })
            }
        };
        Ok(Output::Next(match passes {
            true => Decision::All,
            false => Decision::None,
        }))
    }
}

/// Video time of the reference image in whole microseconds, to which the reference rounds too.
fn video_micros(inputs: &Inputs<'_>, cx: &Context<'_>) -> Option<i64> {
    let Value::Image(image) = inputs.value("video_reference_image") else {
        return None;
    };
    let video = image.video_or_synthetic(cx.now());
    let fps = video.fps.filter(|fps| *fps != 0.0)?;
    let seconds = 1.0 / fps * video.frame_number as f64;
    Some(python::round_half_even(seconds * 1e6) as i64)
}

fn pass<T: Copy>(last: &mut Option<T>, now: T, rested: impl FnOnce(T) -> bool) -> bool {
    let passes = last.is_none_or(rested);
    if passes {
        *last = Some(now);
    }
    passes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, step, values};
    use crate::values::{Image, Matrix, Timestamp, VideoMetadata};
    use serde_json::json;

    struct Trial {
        host: Host,
        block: Box<dyn Block>,
        cooldown: f64,
    }

    impl Trial {
        fn new(cooldown: f64) -> Self {
            let host = Host::default();
            let fields = json!({"depends_on": "$inputs.v", "next_steps": ["$steps.go"]});
            let block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
            Self {
                host,
                block,
                cooldown,
            }
        }

        fn passes(&mut self, stream: &str, reference: Value) -> bool {
            let values = values(
                &BLOCK,
                &[
                    ("cooldown_seconds", Value::Float(self.cooldown)),
                    ("video_reference_image", reference),
                ],
            );
            let stream: Arc<str> = stream.into();
            let cx = self.host.cx(&stream);
            let output = self.block.run(&Inputs::new(&BLOCK, &values), &cx).unwrap();
            matches!(output, Output::Next(Decision::All))
        }
    }

    fn frame(frame_number: i64, fps: Option<f64>) -> Value {
        let image = Image::new(Matrix::filled(2, 2, &[0, 0, 0]), "image".into());
        let video = VideoMetadata {
            frame_number,
            fps,
            ..VideoMetadata::synthetic("cam".into(), Timestamp::from_unix_micros(0))
        };
        image.with_video(Some(Arc::new(video))).into()
    }

    #[test]
    fn video_time_counts_in_whole_microseconds() {
        let mut trial = Trial::new(1.0);
        let passed: Vec<i64> = (1..=100)
            .filter(|&n| trial.passes("cam", frame(n, Some(30.0))))
            .collect();
        assert_eq!(passed, [1, 31, 61, 91]);
        let mut half = Trial::new(0.5);
        let passed: Vec<i64> = (1..=8)
            .filter(|&n| half.passes("cam", frame(n, Some(4.0))))
            .collect();
        assert_eq!(passed, [1, 3, 5, 7]);
    }

    #[test]
    fn the_clock_counts_without_a_usable_reference_and_per_stream() {
        let mut trial = Trial::new(1.0);
        for reference in [Value::None, frame(3, None), frame(4, Some(0.0))] {
            trial.host.advance(1.0);
            assert!(trial.passes("a", reference.clone()));
            trial.host.advance(0.5);
            assert!(!trial.passes("a", reference));
        }
        assert!(trial.passes("b", Value::None));
    }

    #[test]
    fn a_still_image_passes_once() {
        let mut trial = Trial::new(0.1);
        let still: Value = Image::new(Matrix::filled(2, 2, &[0, 0, 0]), "image".into()).into();
        assert!(trial.passes("image", still.clone()));
        trial.host.advance(5.0);
        assert!(!trial.passes("image", still));
    }
}
