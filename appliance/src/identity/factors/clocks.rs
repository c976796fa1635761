//! Clocks against the appliance's: those of authenticator apps, whose codes tell the time, and those of scanners. Behind
//! an air gap there may be nothing else that says which clock is wrong.

use super::{Factors, store};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::noun::Link;
use crate::web::Call;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

/// How long a measurement counts.
const COUNTS: Duration = Duration::from_secs(30 * 86_400);
/// Clocks that differ by no more than this agree, in seconds: an app's is known to one step of 30.
const AGREE: u64 = 60;
/// How many clocks it takes to say of the appliance's that it is wrong.
const WITNESSES: usize = 3;

/// The appliance's time, and what others' clocks say.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Clocks {
    /// The appliance's time.
    pub now: Timestamp,
    /// By how many seconds the appliance is probably behind (negative: ahead): at least three clocks were measured, two
    /// thirds of them agree with each other, and not with it. Absent: nothing speaks against it.
    pub behind_s: Option<i64>,
    /// Authenticator apps whose codes came in the last 30 days, the newest first; at most 200.
    pub devices: Vec<Device>,
    /// Scanners heard of in the last 30 days, for who may see scanners.
    pub scanners: Vec<Measured>,
}

/// The clock of a person's authenticator app.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Device {
    /// Whose it is.
    pub user: Link,
    /// How far it was ahead of the appliance's, in seconds, to 30 s; negative: behind.
    pub ahead_s: i64,
    /// When a code of it last came.
    pub seen_at: Timestamp,
}

/// The clock of a scanner.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Measured {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// How far it was ahead of the appliance's, in seconds; negative: behind.
    pub ahead_s: i64,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

/// By how much the others are ahead, if they bear each other out and not us.
fn behind(ahead_s: &[i64]) -> Option<i64> {
    let mut sorted = ahead_s.to_vec();
    sorted.sort_unstable();
    let middle = *sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= WITNESSES)?;
    let agree = sorted.iter().filter(|ahead| ahead.abs_diff(middle) <= AGREE).count();
    (middle.unsigned_abs() > AGREE && agree * 3 >= sorted.len() * 2).then_some(middle)
}

impl Factors {
    /// What others' clocks say.
    ///
    /// # Errors
    /// The databases'.
    pub async fn clocks(&self, call: &Call) -> Result<Clocks, Error> {
        let now = self.0.clock.now();
        let since = now - COUNTS;
        let devices = self.0.store.read(move |db| store::devices(db, since)).await?;
        let measured = |scanner: crate::fleet::Scanner| {
            let seen_at = scanner.last_seen.filter(|at| *at > since)?;
            let ahead_s = -(scanner.clock_offset_us? / 1_000_000);
            Some(Measured { id: scanner.id, name: scanner.name, ahead_s, seen_at })
        };
        let all: Vec<Measured> = call.app.fleet.scanners().await?.into_iter().filter_map(measured).collect();
        let said =
            devices.iter().map(|device| device.ahead_s).chain(all.iter().map(|scanner| scanner.ahead_s));
        let behind_s = behind(&said.collect::<Vec<_>>());
        let scanners = if call.caller.may("scanners:view") { all } else { vec![] };
        Ok(Clocks { now, behind_s, devices, scanners })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_appliance_is_called_wrong_only_by_clocks_that_bear_each_other_out() {
        for (ahead, said) in [
            (&[][..], None),
            (&[300, 300], None),
            (&[0, 30, -30], None),
            (&[60, 60, 60], None),
            (&[300, 330, 290], Some(300)),
            (&[-7200, -7200, -7230, 0], Some(-7200)),
            (&[300, 900, -40], None),
            (&[300, 0, 310, 0], None),
            (&[i64::MAX, i64::MIN, 0], None),
        ] {
            assert_eq!(behind(ahead), said, "{ahead:?}");
        }
    }
}
