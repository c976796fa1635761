//! How long sessions last: a setting.

use crate::noun::Refusals;
use crate::settings::Setting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Minutes without a request: least and most that may be chosen.
pub const IDLE: (u32, u32) = (5, 7 * 24 * 60);
/// Hours from the sign-in: least and most.
pub const ABSOLUTE: (u32, u32) = (1, 30 * 24);

/// How long sessions last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Minutes after which a session ends that nobody used.
    pub idle_minutes: u32,
    /// Hours after which every session ends.
    pub absolute_hours: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle_minutes: 60, absolute_hours: 12 }
    }
}

impl Setting for Limits {
    const NAME: &'static str = "sessions";

    fn check(&self, refusals: &mut Refusals) {
        let mut within = |field: &str, value: u32, (least, most): (u32, u32), unit: &str| {
            if !(least..=most).contains(&value) {
                refusals.say(field, format!("{value} is not between {least} and {most} {unit}"));
            }
        };
        within("idle_minutes", self.idle_minutes, IDLE, "minutes");
        within("absolute_hours", self.absolute_hours, ABSOLUTE, "hours");
        if u64::from(self.idle_minutes) > u64::from(self.absolute_hours) * 60 {
            refusals.say("idle_minutes", "is more than the hours after which every session ends");
        }
    }
}

impl Limits {
    /// Without a request.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_minutes) * 60)
    }

    /// From the sign-in.
    #[must_use]
    pub fn absolute(&self) -> Duration {
        Duration::from_secs(u64::from(self.absolute_hours) * 3600)
    }
}
