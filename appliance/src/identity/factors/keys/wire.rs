//! What goes to a browser and comes from it, in the words of `WebAuthn`. Bytes are URL-safe base64.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a browser needs to make a key for this site.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToMake {
    pub(super) challenge: String,
    pub(super) rp: Party,
    pub(super) user: Account,
    pub(super) pub_key_cred_params: Vec<Algorithm>,
    pub(super) timeout: u32,
    pub(super) exclude_credentials: Vec<Descriptor>,
    pub(super) authenticator_selection: Selection,
    pub(super) attestation: &'static str,
}

/// What a browser needs to ask a key for its signature.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToUse {
    pub(super) challenge: String,
    pub(super) rp_id: String,
    pub(super) timeout: u32,
    /// Empty: whichever key knows this site.
    pub(super) allow_credentials: Vec<Descriptor>,
    pub(super) user_verification: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Party {
    pub(super) id: String,
    pub(super) name: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) display_name: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Algorithm {
    pub(super) r#type: &'static str,
    pub(super) alg: i64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selection {
    pub(super) resident_key: &'static str,
    pub(super) user_verification: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Descriptor {
    pub(super) r#type: &'static str,
    pub(super) id: String,
    pub(super) transports: Vec<String>,
}

/// A key that a browser made. Bytes are URL-safe base64.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// `clientDataJSON`.
    #[serde(default)]
    pub client_data: String,
    /// `attestationObject`.
    #[serde(default)]
    pub attestation: String,
    /// How it is connected: `usb`, `nfc`, `ble`, `internal`, `hybrid`, with commas between.
    #[serde(default)]
    pub transports: String,
    /// The page to go on to.
    #[serde(default)]
    pub next: Option<String>,
}

/// A key's signature, as the browser brings it. Bytes are URL-safe base64.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// `rawId`.
    #[serde(default)]
    pub id: String,
    /// `clientDataJSON`.
    #[serde(default)]
    pub client_data: String,
    /// `authenticatorData`.
    #[serde(default)]
    pub authenticator_data: String,
    /// `signature`.
    #[serde(default)]
    pub signature: String,
    /// `userHandle`, where the key says whose it is.
    #[serde(default)]
    pub user_handle: String,
    /// The page to go on to.
    #[serde(default)]
    pub next: Option<String>,
}
