//! Cameras by number: their keys, when each takes which frame, and the message of it.

use stream_processor::demo::feed::frame_message;
use stream_processor::model::{DeviceKey, EventId, UtcMillis};

use super::footage::Failure;

/// Cameras of one name that take turns evenly within the interval.
pub struct Cameras {
    devices: Vec<DeviceKey>,
    tag: u16,
    began_at: UtcMillis,
    interval_millis: i64,
}

impl Cameras {
    /// `tag` keeps their events' ids apart from those of other cameras.
    pub fn new(
        name: &str,
        tag: u16,
        devices: usize,
        began_at: UtcMillis,
        interval_millis: i64,
    ) -> Result<Self, Failure> {
        let key = |number| DeviceKey::new("bench", &format!("{name}-{number:05}"));
        let devices = (0..devices).map(key).collect::<Result<_, _>>()?;
        Ok(Self { devices, tag, began_at, interval_millis })
    }

    /// Every one of them.
    pub fn devices(&self) -> &[DeviceKey] {
        &self.devices
    }

    /// The id of a camera's frame, both by number.
    pub fn event(&self, camera: usize, frame: usize) -> Result<EventId, Failure> {
        Ok(EventId::new(&format!("{camera:08}-{:04x}-4000-8000-{frame:012}", self.tag))?)
    }

    /// When a camera takes a frame.
    pub fn taken_at(&self, camera: usize, frame: usize) -> Result<UtcMillis, Failure> {
        let (camera, cameras) = (i64::try_from(camera)?, i64::try_from(self.devices.len())?);
        let turn = camera * self.interval_millis / cameras.max(1);
        Ok(self.began_at.plus_millis(i64::try_from(frame)? * self.interval_millis + turn))
    }

    /// The key and the text of the message of a camera's frame, whose JPEG is at `path`.
    pub fn message(
        &self,
        camera: usize,
        frame: usize,
        path: &str,
    ) -> Result<(&str, String), Failure> {
        let device = self.devices.get(camera).ok_or("there is no such camera")?;
        let event = self.event(camera, frame)?;
        let payload = frame_message(device, &event, self.taken_at(camera, frame)?, path)?;
        Ok((device.device.as_str(), String::from_utf8(payload)?))
    }
}
