//! What the three presets mean to the engine.

use portolan_scanner::wire::{Preset, Timing};

use super::watch::{self, Limits};

/// How open connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// As a client does that has nothing to say: FIN, and the kernel sees it through.
    Orderly,
    /// At once and without a trace on either side: RST.
    Reset,
}

/// What a preset stands for. Rates and times are what a scan by hand starts from when nothing else is asked for;
/// the in-flight bounds and the way of closing belong to the preset and cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// Rates and times.
    pub timing: Timing,
    /// Connections being opened at any moment, over all hosts; fewer where descriptors are short.
    pub in_flight: u32,
    /// Connections being opened at any moment to one host.
    pub host_in_flight: u32,
    /// How open connections are ended.
    pub close: Close,
    /// The shortest that an answer is waited for, in milliseconds; the timeout is the longest.
    pub floor_ms: u32,
    /// At most one pair of so many is probed a second time, to measure the recall.
    pub sample: u32,
    /// From when on a host is left alone.
    pub distress: Limits,
}

#[rustfmt::skip]
const GENTLE: Numbers = Numbers { timing: Preset::Gentle.timing(), in_flight:   256, host_in_flight:     1, close: Close::Orderly, floor_ms: 1_000, sample: 100, distress: watch::TIGHT };
#[rustfmt::skip]
const NORMAL: Numbers = Numbers { timing: Preset::Normal.timing(), in_flight: 2_048, host_in_flight:    32, close: Close::Orderly, floor_ms:   250, sample:  50, distress: watch::USUAL };
#[rustfmt::skip]
const FAST:   Numbers = Numbers { timing: Preset::Fast.timing(),   in_flight: 8_192, host_in_flight: 4_096, close: Close::Reset, floor_ms:   100, sample:  50, distress: watch::USUAL };

/// The numbers of a preset.
pub const fn numbers(preset: Preset) -> &'static Numbers {
    match preset {
        Preset::Gentle => &GENTLE,
        Preset::Normal => &NORMAL,
        Preset::Fast => &FAST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gentle_opens_one_connection_a_host_at_a_time_and_closes_it_in_order() {
        let gentle = numbers(Preset::Gentle);
        assert_eq!((gentle.host_in_flight, gentle.timing.host_rate, gentle.close), (1, 10, Close::Orderly));
    }

    #[test]
    fn presets_rise_from_gentle_to_fast() {
        let rates = Preset::ALL.map(|preset| numbers(preset).timing.rate);
        assert!(rates.is_sorted());
    }
}
