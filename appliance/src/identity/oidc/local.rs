//! Whether people still sign in here by a password.

use crate::noun::Refusals;
use crate::settings::Setting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who signs in here by a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Local {
    /// Whoever has one.
    #[default]
    On,
    /// The owner alone.
    OwnerOnly,
    /// Nobody.
    Off,
}

/// The setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalSignIn {
    /// `on`, `owner-only` or `off`.
    pub local: Local,
}

impl LocalSignIn {
    /// Whether this one may.
    #[must_use]
    pub fn admits(self, owner: bool) -> bool {
        match self.local {
            Local::On => true,
            Local::OwnerOnly => owner,
            Local::Off => false,
        }
    }
}

impl Setting for LocalSignIn {
    const NAME: &'static str = "local-sign-in";

    fn check(&self, _: &mut Refusals) {}
}
