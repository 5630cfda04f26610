//! Draws a text as a QR code.
//!
//! # Inputs and outputs
//! `text`, the share of damage that may be repaired, the width of the margin in modules and two colours
//! → `qr_code`, ten pixels a module (see [`symbol`]).
//!
//! # State
//! The last hundred codes, or fewer if they are large: the same request gives the same image, its
//! identifier included.
//!
//! # Edge cases
//! Colours are `#RRGGBB`, `rgb(r, g, b)`, `bgr(b, g, r)`, the names of the drawing blocks or those of
//! CSS. A text that fits no code, an unknown colour and a margin that is negative or wider than 200 modules
//! fail the step.

mod names;
mod symbol;
mod words;

use indexmap::IndexMap;
use symbol::{Level, Symbol};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging::Color;
use crate::row;
use crate::values::detections::new_id;
use crate::values::{Image, Matrix, kind};

/// Pixels of a module.
const MODULE: usize = 10;
/// Codes remembered.
const REMEMBERED: usize = 100;
/// Bytes of all codes remembered; the newest is in any case.
const REMEMBERED_BYTES: usize = 64 << 20;
/// Widest margin, in modules.
const WIDEST: i64 = 200;

/// `roboflow_core/qr_code_generator@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/qr_code_generator@v1", "QRCodeGenerator"],
    name: "QR Code Generator",
    family: Family::Transformation,
    about: "Draws a text as a QR code.",
    fields: &[
        Field::required("text", TEXT).about("The text."),
        Field::optional(
            "error_correct",
            &[Ty::OneOf(&[
                "Low (~7% word recovery / highest data capacity)",
                "Medium (~15% word recovery)",
                "Quartile (~25% word recovery)",
                "High (~30% word recovery / lowest data capacity)",
            ])],
            "\"Medium (~15% word recovery)\"",
        )
        .about("How much damage the code survives."),
        Field::optional("border", &[Ty::Int, Ty::Selector(&[kind::INTEGER])], "4")
            .about("Width of the margin in modules."),
        Field::optional("fill_color", TEXT, "\"BLACK\"").about("Colour of the dark modules."),
        Field::optional("back_color", TEXT, "\"WHITE\"").about("Colour of the others."),
    ],
    outputs: &[output("qr_code", &[kind::IMAGE])],
    build: |_, _| Ok(Box::<QrCodeGenerator>::default()),
    ..BlockSpec::DEFAULT
};

const TEXT: &[Ty] = &[Ty::Str, Ty::Selector(&[kind::STRING])];

#[derive(Default)]
struct QrCodeGenerator {
    /// Codes by request, the oldest first.
    drawn: IndexMap<Request, Image>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Request {
    text: String,
    level: Level,
    border: usize,
    dark: [u8; 3],
    light: [u8; 3],
}

impl Block for QrCodeGenerator {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let border = inputs.int("border")?;
        if !(0..=WIDEST).contains(&border) {
            return Err(BlockError::failed(format!(
                "`border` must be from 0 to {WIDEST}, got {border}"
            )));
        }
        let request = Request {
            text: inputs.text("text")?.to_owned(),
            level: Level::named(inputs.text("error_correct")?),
            border: border as usize,
            dark: color(inputs.text("fill_color")?)?.bgr(),
            light: color(inputs.text("back_color")?)?.bgr(),
        };
        if let Some(image) = self.drawn.get(&request) {
            return Ok(Output::One(row![image.clone()]));
        }
        let symbol = Symbol::of(request.text.as_bytes(), request.level).ok_or_else(|| {
            BlockError::failed(format!(
                "a text of {} bytes does not fit into a QR code; shorten it or ask for less recovery",
                request.text.len()
            ))
        })?;
        let id = format!("qr_code.{}", new_id());
        let image = Image::new(request.draw(&symbol), id.into());
        self.drawn.insert(request, image.clone());
        self.forget();
        Ok(Output::One(row![image]))
    }
}

impl QrCodeGenerator {
    /// Forgets the oldest codes of too many.
    fn forget(&mut self) {
        let size = |image: &Image| image.pixels().data.len();
        let mut bytes: usize = self.drawn.values().map(size).sum();
        while self.drawn.len() > REMEMBERED || (bytes > REMEMBERED_BYTES && self.drawn.len() > 1) {
            let oldest = self.drawn.shift_remove_index(0);
            bytes -= oldest.map_or(0, |(_, image)| size(&image));
        }
    }
}

impl Request {
    fn draw(&self, symbol: &Symbol) -> Matrix {
        let modules = symbol.size + 2 * self.border;
        let side = modules * MODULE;
        let mut data = Vec::with_capacity(side * side * 3);
        for y in 0..modules {
            let start = data.len();
            for x in 0..modules {
                let inner = |v: usize| v.checked_sub(self.border).filter(|v| *v < symbol.size);
                let dark = inner(x)
                    .zip(inner(y))
                    .is_some_and(|(x, y)| symbol.is_dark(x, y));
                let pixel = if dark { self.dark } else { self.light };
                (0..MODULE).for_each(|_| data.extend(pixel));
            }
            let line = data[start..].to_vec();
            (1..MODULE).for_each(|_| data.extend_from_slice(&line));
        }
        Matrix {
            width: side,
            height: side,
            channels: 3,
            data,
        }
    }
}

fn color(text: &str) -> Result<Color, BlockError> {
    let known = Color::parse(text);
    known.or_else(|error| names::css(text).ok_or_else(|| BlockError::failed(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;
    use crate::values::Value;
    use serde_json::{Value as Json, json};

    fn draw(fields: &[(&str, Json)]) -> Result<Image, BlockError> {
        let row = Bench::new(&BLOCK, fields).run(&[])?;
        Ok(row[0].as_image().unwrap().clone())
    }

    #[test]
    fn modules_are_ten_pixels_wide() {
        let fields = [
            ("text", json!("x")),
            ("border", json!(1)),
            ("fill_color", json!("DarkGreen")),
            ("back_color", json!("bgr(200, 220, 255)")),
        ];
        let image = draw(&fields).unwrap();
        assert_eq!((image.width(), image.height()), (230, 230));
        assert_eq!(image.pixels().data[..3], [200, 220, 255]);
        let corner = (10 * 230 + 10) * 3;
        assert_eq!(image.pixels().data[corner..corner + 3], [0, 100, 0]);
        assert!(image.parent().id.starts_with("qr_code."));
    }

    #[test]
    fn the_same_request_gives_the_same_image() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let mut id = |text: &str| {
            let row = bench.run(&[("text", Value::from(text))]).unwrap();
            row[0].as_image().unwrap().parent().id.clone()
        };
        let first = id("a");
        assert!(id("b") != first && id("a") == first);
    }

    #[test]
    fn what_cannot_be_drawn() {
        let with = |name: &'static str, value: Json| draw(&[("text", json!("x")), (name, value)]);
        assert!(with("fill_color", json!("no such colour")).is_err());
        assert!(with("border", json!(-1)).is_err());
        assert!(draw(&[("text", json!("x".repeat(2400)))]).is_err());
        assert!(with("fill_color", json!("#1144aa")).is_ok());
    }
}
