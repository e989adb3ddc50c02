//! A dry run tells exactly what the run then does, whatever state the devices are in.

use serde_json::json;
use stream_processor::model::{Clock, DeviceKey};
use stream_processor::retention::{RetentionSettings, Run};

use crate::rig::*;
use crate::store_fixture::{key, segment};

/// The same numbers every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Settings of every kind.
fn any_settings(dice: &mut Dice) -> RetentionSettings {
    let limit = |dice: &mut Dice, segments: u64| {
        (dice.roll(2) == 0).then(|| segments * 6_752 + dice.roll(6_752))
    };
    RetentionSettings {
        grace: if dice.roll(3) == 0 { std::time::Duration::ZERO } else { GRACE },
        archives: dice.roll(3) == 0,
        idle_after: MINUTE * u32::try_from(dice.roll(20)).unwrap(),
        device_max_bytes: limit(dice, 14),
        total_max_bytes: limit(dice, 30),
        unencoded_frames: (dice.roll(2) == 0).then_some(DAY),
        ..settings()
    }
}

async fn compare(rig: &Rig, orphans_now: bool, what: &str) {
    let before = rig.everything();
    let told = [Told::default(), Told::default()];
    let dry = Run { dry_run: true, orphans_now, ..Run::default() };
    let said = rig.cleaner().run(&dry, &told[0]).await.unwrap();
    assert_eq!(rig.everything(), before, "{what}: a dry run changes nothing");
    let real = Run { orphans_now, ..Run::default() };
    let did = rig.cleaner().run(&real, &told[1]).await.unwrap();
    assert_eq!(said, did, "{what}");
    let gone = before.keys().filter(|path| !path.exists()).count() as u64;
    let done = &did.done;
    let counted = [done.segments, done.frames, done.orphans, done.unencoded_removed];
    let counted: u64 = counted.iter().map(|tally| tally.files).sum();
    assert_eq!(counted + done.other_files, gone, "{what}: {done:?}");
}

#[tokio::test]
async fn a_dry_run_says_what_the_run_then_does() {
    for seed in 0..25 {
        let mut dice = Dice(seed);
        let rig = Rig::new(any_settings(&mut dice));
        let other = DeviceKey::new("client-2", "camera-2").unwrap();
        let formats = dice.roll(3);
        for step in 0..12 {
            let until = rig.next_segment(&key()).await + dice.roll(30);
            rig.fill_device(&key(), until, |number| match formats {
                0 => segment(number),
                _ => with_init(number, &format!("{}", number / 25)),
            })
            .await;
            if dice.roll(3) == 0 {
                let until = rig.next_segment(&other).await + dice.roll(10);
                let now = rig.clock.now();
                rig.fill_device(&other, until, segment).await;
                rig.clock.set(now.max(rig.clock.now()));
            }
            match dice.roll(6) {
                0 => rig.write_archived(&json!({ "archived_below": dice.roll(until + 1) })),
                1 => drop(std::fs::remove_file(rig.hls().join("cleaned.json"))),
                2 => drop(std::fs::write(rig.hls().join("segments/seg_000001.m4s"), "left")),
                3 => drop(std::fs::write(rig.frames_folder(&key()).join("lost.jpg"), "left")),
                _ => {}
            }
            for name in names(&rig.frames_folder(&key())).iter().filter(|name| *name == "lost.jpg")
            {
                let path = rig.frames_folder(&key()).join(name);
                set_modified(&path, rig.clock.now().plus_millis(-40 * 3_600_000));
            }
            rig.clock.advance(MINUTE * u32::try_from(dice.roll(15)).unwrap());
            compare(&rig, dice.roll(4) == 0, &format!("seed {seed}, step {step}")).await;
        }
    }
}
