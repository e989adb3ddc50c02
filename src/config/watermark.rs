//! The text that is burnt into the pictures.

use super::reader::Reader;
use super::setting::{Setting, Takes};

pub(super) static ENABLED: Setting = Setting {
    variable: "WATERMARK_ENABLED",
    flag: "watermark-enabled",
    default: Some("false"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether the capture time is burnt into every picture.",
};

static POSITION: Setting = Setting {
    variable: "WATERMARK_POSITION",
    flag: "watermark-position",
    default: Some("top_right"),
    takes: Takes::OneOf(&["top_left", "top_right", "bottom_left", "bottom_right"]),
    secret: false,
    help: "Which corner it is in.",
};

static FONT_SIZE: Setting = Setting {
    variable: "WATERMARK_FONT_SIZE",
    flag: "watermark-font-size",
    default: Some("24"),
    takes: Takes::Integer { min: 8, max: 200 },
    secret: false,
    help: "How tall the text is, in pixels of the finished picture.",
};

static FORMAT: Setting = Setting {
    variable: "WATERMARK_FORMAT",
    flag: "watermark-format",
    default: Some("%Y-%m-%d %H:%M:%S"),
    takes: Takes::TimeFormat,
    secret: false,
    help: "How the capture time is written.",
};

static TIMEZONE: Setting = Setting {
    variable: "WATERMARK_TIMEZONE",
    flag: "watermark-timezone",
    default: Some("UTC"),
    takes: Takes::TimeZone,
    secret: false,
    help: "The time zone it is written in.",
};

static SHOW_TIMEZONE: Setting = Setting {
    variable: "WATERMARK_SHOW_TIMEZONE",
    flag: "watermark-show-timezone",
    default: Some("true"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether the zone is written behind it.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] =
    &[&ENABLED, &POSITION, &FONT_SIZE, &FORMAT, &TIMEZONE, &SHOW_TIMEZONE];

/// The text that is burnt in.
#[derive(Clone, Debug)]
pub struct WatermarkConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is.
    pub position: WatermarkPosition,
    /// How tall, in pixels of the finished picture.
    pub font_size: u32,
    /// A strftime pattern.
    pub format: String,
    /// The name of a time zone, of the right shape; whether the machine knows it is not.
    pub timezone: String,
    /// Whether the zone is written too.
    pub show_timezone: bool,
}

/// A corner of the picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatermarkPosition {
    /// Top left.
    TopLeft,
    /// Top right.
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    BottomRight,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> WatermarkConfig {
    WatermarkConfig {
        enabled: reader.bool(&ENABLED),
        position: reader.choice(&POSITION, WatermarkPosition::TopRight, |word| match word {
            "top_left" => Some(WatermarkPosition::TopLeft),
            "top_right" => Some(WatermarkPosition::TopRight),
            "bottom_left" => Some(WatermarkPosition::BottomLeft),
            "bottom_right" => Some(WatermarkPosition::BottomRight),
            _ => None,
        }),
        font_size: reader.integer(&FONT_SIZE),
        format: reader.text(&FORMAT),
        timezone: reader.text(&TIMEZONE),
        show_timezone: reader.bool(&SHOW_TIMEZONE),
    }
}
