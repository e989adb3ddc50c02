//! `spec.watermark`: the capture time burnt into every picture.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A corner of the picture.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Position {
    /// The upper left one.
    TopLeft,
    /// The upper right one.
    #[default]
    TopRight,
    /// The lower left one.
    BottomLeft,
    /// The lower right one.
    BottomRight,
}

impl Position {
    /// As the settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TopLeft => "top_left",
            Self::TopRight => "top_right",
            Self::BottomLeft => "bottom_left",
            Self::BottomRight => "bottom_right",
        }
    }
}

/// The capture time burnt into every picture.
#[derive(KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkSpec {
    /// Whether it is.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Which corner it is in.
    #[serde(default)]
    pub position: Position,
    /// How tall the text is, in pixels of the finished picture.
    #[schemars(range(min = 8, max = 200))]
    #[serde(default = "font_size")]
    pub font_size: i32,
    /// How the capture time is written: a strftime pattern.
    #[schemars(length(min = 1, max = 100))]
    #[serde(default = "pattern")]
    pub format: String,
    /// The time zone it is written in, such as America/Santiago; frame is the offset that each
    /// event's own timestamp carries.
    #[schemars(length(min = 1, max = 100))]
    #[serde(default = "timezone")]
    pub timezone: String,
    /// Whether the zone's short name is written behind it.
    #[serde(default = "show_timezone")]
    pub show_timezone: bool,
}

impl Default for WatermarkSpec {
    fn default() -> Self {
        Self {
            enabled: enabled(),
            position: Position::default(),
            font_size: font_size(),
            format: pattern(),
            timezone: timezone(),
            show_timezone: show_timezone(),
        }
    }
}

fn enabled() -> bool {
    true
}

fn font_size() -> i32 {
    24
}

fn pattern() -> String {
    "%Y-%m-%d %H:%M:%S".into()
}

fn timezone() -> String {
    "UTC".into()
}

fn show_timezone() -> bool {
    true
}
