//! How fast a scan goes and how patiently: a preset, and what a template asks for instead.

use portolan_scanner::wire;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::Refusals;

/// Probes a second, over all hosts.
const RATE: Bounds = Bounds { least: 1, most: 1_000_000, unit: "probes/s" };
/// Probes a second to one host.
const HOST_RATE: Bounds = Bounds { least: 1, most: 100_000, unit: "probes/s" };
/// How long an answer is waited for.
const TIMEOUT: Bounds = Bounds { least: 50, most: 60_000, unit: "ms" };
/// How often a probe without an answer is tried again.
const RETRIES: Bounds = Bounds { least: 0, most: 10, unit: "times" };

/// The manner of probing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// One connection a host at a time, closed in order, at most 10 probes a second to a host.
    Gentle,
    /// What most networks bear.
    #[default]
    Normal,
    /// As fast as the rate allows.
    Fast,
}

impl Preset {
    /// All of them, from the slowest to the fastest.
    pub const ALL: [Self; 3] = [Self::Gentle, Self::Normal, Self::Fast];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        wire::Preset::from(self).as_str()
    }

    /// The numbers it stands for.
    #[must_use]
    pub fn timing(self) -> Timing {
        let wire::Timing { rate, host_rate, timeout_ms, retries } = wire::Preset::from(self).timing();
        Timing { preset: self, rate, host_rate, timeout_ms, retries }
    }
}

impl From<Preset> for wire::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Gentle => Self::Gentle,
            Preset::Normal => Self::Normal,
            Preset::Fast => Self::Fast,
        }
    }
}

impl ToSql for Preset {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Preset {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|preset| preset.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}

/// How fast and how patiently, each number decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Timing {
    /// The manner of probing.
    pub preset: Preset,
    /// Probes a second from one vantage, over all hosts; its scanners share it.
    pub rate: u32,
    /// Probes a second to one host.
    pub host_rate: u32,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u32,
    /// How often a probe without an answer is tried again.
    pub retries: u32,
}

/// What a template asks for: a number that is absent follows the preset, also when the preset is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Asked {
    pub preset: Preset,
    pub rate: Option<u32>,
    pub host_rate: Option<u32>,
    pub timeout_ms: Option<u32>,
    pub retries: Option<u32>,
}

impl Asked {
    /// Reads what was typed; each number outside its bounds is refused by name.
    pub fn check(
        refusals: &mut Refusals,
        preset: Preset,
        [rate, host_rate, timeout_ms, retries]: [Option<i64>; 4],
    ) -> Self {
        // What "gentle" promises is not to be taken back by a number beside it.
        let gentle = Preset::Gentle.timing().host_rate;
        let asked = Self {
            preset,
            rate: RATE.check(refusals, "rate", rate),
            host_rate: HOST_RATE.check(refusals, "host_rate", host_rate),
            timeout_ms: TIMEOUT.check(refusals, "timeout_ms", timeout_ms),
            retries: RETRIES.check(refusals, "retries", retries),
        };
        if let Some(rate) = asked.host_rate.filter(|rate| preset == Preset::Gentle && *rate > gentle) {
            refusals.say(
                "host_rate",
                format!("gentle sends at most {gentle} probes/s to one host, not {rate}: take another preset or less"),
            );
        }
        asked
    }

    /// Every number decided.
    pub fn timing(self) -> Timing {
        let preset = self.preset.timing();
        Timing {
            preset: self.preset,
            rate: self.rate.unwrap_or(preset.rate),
            host_rate: self.host_rate.unwrap_or(preset.host_rate),
            timeout_ms: self.timeout_ms.unwrap_or(preset.timeout_ms),
            retries: self.retries.unwrap_or(preset.retries),
        }
    }
}

struct Bounds {
    least: u32,
    most: u32,
    unit: &'static str,
}

impl Bounds {
    fn check(&self, refusals: &mut Refusals, field: &str, asked: Option<i64>) -> Option<u32> {
        let Self { least, most, unit } = *self;
        let within = |asked| u32::try_from(asked).ok().filter(|number| (least..=most).contains(number));
        let read = within(asked?).ok_or_else(|| {
            let asked = asked.unwrap_or_default();
            format!("{asked} is outside {least} to {most} {unit}; leave it empty for the preset's own")
        });
        refusals.take(field, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn check(preset: Preset, numbers: [Option<i64>; 4]) -> Result<Timing, Vec<(String, String)>> {
        let mut refusals = Refusals::new();
        let asked = Asked::check(&mut refusals, preset, numbers);
        match refusals.end() {
            Ok(()) => Ok(asked.timing()),
            Err(Error::Invalid(fields)) => Err(fields.into_iter().map(|f| (f.field, f.message)).collect()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_not_asked_for_follows_the_preset() {
        let gentle = check(Preset::Gentle, [None; 4]).unwrap();
        assert_eq!(gentle, Preset::Gentle.timing());
        let fast = check(Preset::Fast, [Some(7), None, None, Some(0)]).unwrap();
        assert_eq!(fast, Timing { rate: 7, retries: 0, ..Preset::Fast.timing() });
    }

    #[test]
    fn a_number_outside_its_bounds_is_refused_by_name_with_the_bounds() {
        let refused = check(Preset::Normal, [Some(0), Some(-1), Some(49), Some(11)]).unwrap_err();
        let fields: Vec<&str> = refused.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["rate", "host_rate", "timeout_ms", "retries"]);
        assert!(refused[0].1.contains("0 is outside 1 to 1000000 probes/s"), "{}", refused[0].1);
        assert!(check(Preset::Normal, [Some(i64::MAX), None, None, None]).is_err());
    }

    #[test]
    fn gentle_stays_gentle() {
        let refused = check(Preset::Gentle, [None, Some(11), None, None]).unwrap_err();
        assert_eq!(refused[0].0, "host_rate");
        assert!(check(Preset::Gentle, [Some(5_000), Some(10), None, None]).is_ok());
    }

    #[test]
    fn every_presets_own_numbers_lie_within_the_bounds() {
        for preset in Preset::ALL {
            let Timing { rate, host_rate, timeout_ms, retries, .. } = preset.timing();
            let own = [rate, host_rate, timeout_ms, retries].map(|number| Some(i64::from(number)));
            assert_eq!(check(preset, own), Ok(preset.timing()));
        }
    }
}
