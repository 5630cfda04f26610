//! What tracking by detection is made of, for all trackers: a constant-velocity Kalman filter over
//! boxes, optimal assignment, and matching of tracks with detections by cost or similarity.
//!
//! Matrix sizes are fixed and working memory is kept from frame to frame. Ties are broken exactly as
//! in the reference's solver, so equal detections give equal track ids.

pub mod assignment;
pub mod kalman;
pub mod matching;

pub use kalman::Kalman;
pub use matching::Matcher;
