//! Pictures made of a few words: the same words give the same picture, so its address is all there is to keep.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::png;

/// Width and height, in points.
pub(super) const SIDE: u16 = 64;
/// The longest prompt, in characters.
pub(super) const MAX_PROMPT: usize = 500;
/// How many pictures can be blended: each keeps an equal share of the sixteen colours.
pub(super) const MAX_BLEND: usize = 4;

const SCHEME: &str = "picture://";
const COLOURS: usize = 16;

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Squares, the left half mirrored on the right.
    Mosaic,
    /// Circles around a point.
    Rings,
    /// Bands that rise and fall.
    Waves,
}

impl Style {
    pub(super) const ALL: [Self; 3] = [Self::Mosaic, Self::Rings, Self::Waves];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Mosaic => "mosaic",
            Self::Rings => "rings",
            Self::Waves => "waves",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.as_str() == name)
    }
}

/// Names a picture: `picture://waves/a%20red%20boat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) style: Style,
    pub(super) prompt: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prompt = utf8_percent_encode(&self.prompt, NON_ALPHANUMERIC);
        write!(f, "{SCHEME}{}/{prompt}", self.style.as_str())
    }
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (style, prompt) = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'))
            .ok_or(())?;
        let style = Style::named(style).ok_or(())?;
        let prompt = percent_decode_str(prompt).decode_utf8().map_err(|_| ())?;
        let fits = (1..=MAX_PROMPT).contains(&prompt.chars().count());
        fits.then(|| Self {
            style,
            prompt: prompt.into_owned(),
        })
        .ok_or(())
    }
}

/// A square of points in sixteen colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    palette: [[u8; 3]; COLOURS],
    points: Vec<u8>,
}

impl Picture {
    /// Draws the picture of an address.
    pub(super) fn imagine(address: &Address) -> Self {
        let seed: [u8; 32] = Sha256::digest(address.to_string()).into();
        let mut points = Vec::with_capacity(usize::from(SIDE) * usize::from(SIDE));
        for y in 0..u32::from(SIDE) {
            for x in 0..u32::from(SIDE) {
                points.push(point(address.style, &seed, x, y));
            }
        }
        Self {
            palette: palette(&seed),
            points,
        }
    }

    /// Weaves pictures together: neighbouring points come from different ones, in fewer colours each.
    pub(super) fn blend(pictures: &[Picture]) -> Self {
        let count = pictures.len().clamp(1, MAX_BLEND);
        let share = COLOURS / count;
        let source = |at: usize| {
            let (y, x) = (at / usize::from(SIDE), at % usize::from(SIDE));
            (x + y) % count
        };
        let coarse = |colour: u8| usize::from(colour) * share / COLOURS;
        let palette = std::array::from_fn(|index| {
            let picture = pictures.get((index / share).min(count - 1));
            let colour = (index % share) * COLOURS / share;
            picture
                .and_then(|picture| picture.palette.get(colour))
                .copied()
                .unwrap_or_default()
        });
        let points = (0..usize::from(SIDE) * usize::from(SIDE)).map(|at| {
            let from = source(at);
            let colour = pictures
                .get(from)
                .and_then(|picture| picture.points.get(at));
            u8::try_from(from * share + coarse(colour.copied().unwrap_or(0))).unwrap_or(0)
        });
        Self {
            palette,
            points: points.collect(),
        }
    }

    /// The picture as a PNG file.
    pub(super) fn to_png(&self) -> Vec<u8> {
        png::write(SIDE, &self.palette, &self.points)
    }

    /// The colours that cover most, as `#rrggbb` with their share in percent, rounded down.
    pub(super) fn main_colours(&self, count: usize) -> Vec<(String, usize)> {
        let mut covered: Vec<(usize, [u8; 3])> = self
            .palette
            .iter()
            .zip(0_u8..)
            .map(|(colour, index)| {
                let points = self.points.iter().filter(|point| **point == index).count();
                (points, *colour)
            })
            .collect();
        covered.sort_unstable_by(|a, b| b.cmp(a));
        covered
            .into_iter()
            .take(count)
            .map(|(points, [r, g, b])| {
                let percent = points * 100 / self.points.len().max(1);
                (format!("#{r:02x}{g:02x}{b:02x}"), percent)
            })
            .collect()
    }
}

/// Sixteen steps from one colour of the seed to another.
fn palette(seed: &[u8; 32]) -> [[u8; 3]; COLOURS] {
    let [a, b, c, d, e, f, ..] = *seed;
    std::array::from_fn(|step| [mix(a, d, step), mix(b, e, step), mix(c, f, step)])
}

fn mix(from: u8, to: u8, step: usize) -> u8 {
    let last = COLOURS - 1;
    let sum = usize::from(from) * (last - step) + usize::from(to) * step;
    u8::try_from(sum / last).unwrap_or(u8::MAX)
}

/// The number of the colour at one point.
fn point(style: Style, seed: &[u8; 32], x: u32, y: u32) -> u8 {
    let side = u32::from(SIDE);
    let [.., centre_x, centre_y, width, height] = seed.map(u32::from);
    let colour = match style {
        Style::Mosaic => {
            let column = x.min(side - 1 - x) / 8;
            let square = usize::try_from(y / 8 * 4 + column).unwrap_or(0);
            return seed.get(square % seed.len()).copied().unwrap_or(0) & 15;
        }
        Style::Rings => {
            let (dx, dy) = (x.abs_diff(centre_x % side), y.abs_diff(centre_y % side));
            (dx * dx + dy * dy).isqrt() / (2 + width % 3)
        }
        Style::Waves => {
            let period = 16 + width % 32;
            let rise = (x % period).abs_diff(period / 2);
            (y + rise * (1 + height % 3) / 2) / 4
        }
    };
    u8::try_from(colour % 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_reads_as_it_prints() {
        let boat = address("picture://waves/a%20red%20boat%2C%20gr%C3%BCn");
        assert_eq!(boat.prompt, "a red boat, grün");
        assert_eq!(address(&boat.to_string()), boat);
        for wrong in [
            "",
            "picture://waves",
            "picture://waves/",
            "picture://oil/boat",
            "https://waves/boat",
            "picture://waves/%ff",
        ] {
            assert_eq!(wrong.parse::<Address>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn the_same_words_give_the_same_picture_and_others_another() {
        for style in Style::ALL {
            let draw = |prompt: &str| {
                Picture::imagine(&Address {
                    style,
                    prompt: prompt.into(),
                })
            };
            assert_eq!(draw("boat").to_png(), draw("boat").to_png());
            assert_ne!(draw("boat").to_png(), draw("goat").to_png());
            assert!(draw("boat").points.iter().all(|point| *point < 16));
        }
    }

    #[test]
    fn a_blend_takes_points_of_every_picture() {
        let pictures = [
            "picture://rings/a",
            "picture://waves/b",
            "picture://mosaic/c",
        ]
        .map(|text| Picture::imagine(&address(text)));
        let blend = Picture::blend(&pictures);
        assert_eq!(blend.points.len(), 64 * 64);
        for part in 0..3_u8 {
            let colours = part * 5..(part + 1) * 5;
            assert!(
                blend.points.iter().any(|point| colours.contains(point)),
                "{part}"
            );
        }
        assert!(blend.points.iter().all(|point| *point < 15));
    }
}
