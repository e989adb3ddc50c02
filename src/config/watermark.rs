//! The text that is burnt into the pictures.

use jiff::tz::TimeZone;

use super::reader::Reader;
use super::setting::{Setting, Takes, time_zone};
use crate::encode::{Corner, Watermark};
use crate::pipeline::captions::{CaptionZone, Captions};

/// The word for the time zone that each frame brings.
const ZONE_OF_FRAME: &str = "frame";

static ENABLED: Setting = Setting {
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
    help: "How tall the text is, in pixels of the finished picture; smaller where the picture is \
           too small for it.",
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
    takes: Takes::TimeZoneOr(ZONE_OF_FRAME),
    secret: false,
    help: "The time zone it is written in; frame is the offset from UTC that each event's own \
           timestamp carries.",
};

static SHOW_TIMEZONE: Setting = Setting {
    variable: "WATERMARK_SHOW_TIMEZONE",
    flag: "watermark-show-timezone",
    default: Some("true"),
    takes: Takes::Bool,
    secret: false,
    help: "Whether the zone's short name, or its offset from UTC, is written behind it.",
};

/// The table of this concern.
pub(super) static SETTINGS: &[&Setting] =
    &[&ENABLED, &POSITION, &FONT_SIZE, &FORMAT, &TIMEZONE, &SHOW_TIMEZONE];

/// The text that is burnt in.
#[derive(Clone, Debug)]
pub struct WatermarkConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// How it is drawn.
    pub look: Watermark,
    /// How it is worded.
    pub captions: Captions,
}

/// Reads this concern's settings.
pub(super) fn read(reader: &mut Reader<'_>) -> WatermarkConfig {
    let utc = CaptionZone::Fixed(TimeZone::UTC);
    WatermarkConfig {
        enabled: reader.bool(&ENABLED),
        look: Watermark {
            position: reader.choice(&POSITION, Corner::TopRight, |word| match word {
                "top_left" => Some(Corner::TopLeft),
                "top_right" => Some(Corner::TopRight),
                "bottom_left" => Some(Corner::BottomLeft),
                "bottom_right" => Some(Corner::BottomRight),
                _ => None,
            }),
            font_size_px: reader.integer(&FONT_SIZE),
        },
        captions: Captions {
            format: reader.text(&FORMAT),
            zone: reader.choice(&TIMEZONE, utc, |name| match name {
                ZONE_OF_FRAME => Some(CaptionZone::Frame),
                name => time_zone(name).map(CaptionZone::Fixed),
            }),
            show_zone: reader.bool(&SHOW_TIMEZONE),
        },
    }
}
