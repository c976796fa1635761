//! What whoever makes a receiver decides, and what of it is never shown.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::store::Receiver;
use crate::error::Result;
use crate::noun::Refusals;
use crate::outward::{self, Url};

/// The longest address.
const ADDRESS_MAX: usize = 500;
/// The longest CA, in bytes of PEM.
const CA_MAX: usize = 64 * 1024;
/// Bytes of a webhook's secret: 16 to 200 characters are taken.
const SECRET: std::ops::RangeInclusive<usize> = 16..=200;

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// RFC 5424 in datagrams (RFC 5426). Nobody says whether they arrive.
    SyslogUdp,
    /// RFC 5424 over TCP, octet-counted (RFC 6587).
    SyslogTcp,
    /// RFC 5424 over TLS (RFC 5425).
    SyslogTls,
    /// A POST over HTTP or HTTPS, signed.
    Webhook,
}

/// How an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The entry as it was hashed, with its number and hash.
    Json,
    /// `ArcSight`'s Common Event Format.
    Cef,
}

impl Body {
    /// The media type of it.
    pub fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cef => "text/plain; charset=utf-8",
        }
    }
}

/// A word of an enum as SQL keeps it: as JSON spells it.
macro_rules! as_word {
    ($kind:ty) => {
        impl ToSql for $kind {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                match serde_json::to_value(self) {
                    Ok(serde_json::Value::String(word)) => Ok(word.into()),
                    _ => Err(rusqlite::Error::InvalidQuery),
                }
            }
        }

        impl FromSql for $kind {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                serde_json::from_value(value.as_str()?.into()).map_err(FromSqlError::other)
            }
        }
    };
}
as_word!(Kind);
as_word!(Body);

/// Stands where the hidden part of an address was.
const HIDDEN: &str = "…";

/// What whoever makes a receiver decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// What it is called.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// `host:port`, or a webhook's URL.
    pub address: String,
    /// How entries are written.
    pub body: Body,
    /// PEM of who signs its certificate; empty where there is no TLS.
    pub ca: String,
    /// Whether entries are sent.
    pub enabled: bool,
}

/// A receiver as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverInput {
    /// What it is called.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// `host:port`, or a webhook's URL.
    pub address: String,
    /// How entries are written.
    pub body: Body,
    /// PEM of who signs its certificate; needed for TLS.
    #[serde(default)]
    pub ca: String,
    /// A webhook's secret, 16 to 200 characters. Never shown again; on a change, empty keeps what is there.
    #[serde(default)]
    #[schemars(extend("format" = "password"))]
    pub secret: String,
    /// Whether entries are sent.
    #[serde(default)]
    pub enabled: bool,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

impl Fields {
    /// The address as anyone may see it: a webhook's ends at its host, as what stands behind it may be a secret.
    pub fn shown(&self) -> String {
        match (self.kind, Url::parse(&self.address)) {
            (Kind::Webhook, Ok(url)) if url.path != "/" => {
                let scheme = if url.secure { "https" } else { "http" };
                format!("{scheme}://{}/{HIDDEN}", url.authority)
            }
            _ => self.address.clone(),
        }
    }

    /// Reads what was typed. On a change, an address that is typed as it was shown stays as it is, and without a secret
    /// the one that is there stays.
    ///
    /// # Errors
    /// `Invalid`, with every field that is wrong.
    pub fn check(input: &ReceiverInput, before: Option<&Receiver>) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let kept = before.map(|before| &before.kept.fields);
        let kept = kept.filter(|kept| kept.kind == input.kind && kept.shown() == input.address.trim());
        let address = match kept {
            Some(kept) => kept.address.clone(),
            None => refusals.line("address", &input.address, ADDRESS_MAX),
        };
        let ca = input.ca.replace("\r\n", "\n").trim().to_owned();
        let mut secure = input.kind == Kind::SyslogTls;
        if input.kind == Kind::Webhook {
            match Url::parse(&address) {
                _ if address.contains(HIDDEN) => {
                    refusals.say("address", "is written whole: what stands behind the host is not shown");
                }
                Ok(url) => secure = url.secure,
                Err(wrong) => refusals.say("address", wrong),
            }
            let given = input.secret.len();
            let has_secret = before.is_some_and(|before| before.sealed.is_some());
            if !(SECRET.contains(&given) || given == 0 && has_secret) {
                refusals.say("secret", "takes 16 to 200 characters: it signs what the webhook gets");
            }
        } else {
            if !host_and_port(&address) {
                refusals.say("address", "is written as host:port, [IPv6]:port");
            }
            if !input.secret.is_empty() {
                refusals.say("secret", "is for a webhook alone");
            }
        }
        if ca.len() > CA_MAX {
            refusals.say("ca", format!("at most {CA_MAX} bytes are read"));
        } else if secure {
            refusals.take("ca", outward::trusting(&ca));
        } else if !ca.is_empty() {
            refusals.say("ca", "is for TLS alone");
        }
        refusals.end()?;
        Ok(Self { name, kind: input.kind, address, body: input.body, ca, enabled: input.enabled })
    }
}

/// What the audit tells: the address as it is shown, and that what is hidden of it differs.
impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told<'a> {
            name: &'a str,
            kind: Kind,
            address: String,
            /// Masked by its name.
            #[serde(skip_serializing_if = "Option::is_none")]
            secret_path: Option<&'a str>,
            body: Body,
            ca: &'a str,
            enabled: bool,
        }
        let Self { name, kind, body, ca, enabled, .. } = self;
        let address = self.shown();
        let secret_path = (address != self.address).then_some(self.address.as_str());
        let told = Told { name, kind: *kind, address, secret_path, body: *body, ca, enabled: *enabled };
        told.serialize(serializer)
    }
}

impl ReceiverInput {
    /// Whether entries go where they went before, in the same form, or nowhere: then whoever asks learns nothing new.
    pub fn leads_nowhere_else(&self, before: &Fields) -> bool {
        let Self { kind, address, body, ca, secret, enabled, .. } = self;
        let address = address.trim();
        let same = *kind == before.kind
            && (address == before.address || address == before.shown())
            && *body == before.body
            && ca.replace("\r\n", "\n").trim() == before.ca
            && secret.is_empty();
        same && (before.enabled || !enabled)
    }
}

/// `name:port`, `10.0.0.1:514` or `[::1]:514`.
fn host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |host: &str| {
        !host.is_empty()
            && host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(letter))
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.map_or_else(|| plain(host), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    host && port.parse::<u16>().is_ok_and(|port| port > 0)
}
