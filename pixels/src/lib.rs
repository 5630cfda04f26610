//! Pixel loops of millrace, kept in a crate of their own so that they are optimised in every profile.
//!
//! Every loop has a plain form, which defines the result, and where it pays a form for AVX2, chosen
//! at run time, that gives the same bytes.

#![warn(missing_docs)]

pub mod antialias;
mod order;
pub mod planes;
mod yuv;

pub use order::{drop_alpha, inks_to_bgr, repeat_gray, swap_red_blue};
pub use yuv::{Yuv, yuv_to_bgr};
