//! Where notifications are posted to: a URL with the scheme `http`.
//!
//! TLS is left to a proxy on this host: a sensor with a certificate store would need an update for every
//! change in it, and whoever has Alertmanager behind TLS has such a proxy.

use std::{fmt, net::Ipv6Addr};

use super::{ConfigError, validate::invalid};

const HTTP: u16 = 80;

/// A URL that is posted to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Endpoint {
    /// Reads the value of `key`.
    pub(super) fn parse(key: &'static str, text: &str) -> Result<Self, ConfigError> {
        let refuse = |problem: &str| Err(invalid(key, format!("{text:?}"), problem));
        let Some(rest) = text.strip_prefix("http://") else {
            return match text.strip_prefix("https://") {
                Some(_) => refuse(
                    "asks for TLS, which the sensor leaves to a proxy: write the http:// URL of one on this host",
                ),
                None => refuse("is no URL to post to: write one such as http://127.0.0.1:9093"),
            };
        };
        if text.contains(|letter: char| !letter.is_ascii_graphic()) {
            return refuse("has blanks or letters that a URL cannot have: write them percent-encoded");
        }
        if text.contains('#') {
            return refuse("has a fragment, which is never sent: leave out what begins with #");
        }
        let begin = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(begin);
        if authority.contains('@') {
            return refuse("has a user name, which would be sent in the clear: leave it out");
        }
        let Some((host, port)) = split(authority) else {
            return refuse("has no host, or a port that is none: write one such as http://127.0.0.1:9093");
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host: host.to_owned(), port, path })
    }

    /// Host and port as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

/// Host and port.
fn split(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (host, port)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    let port = match port {
        "" => HTTP,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    (!host.is_empty()).then_some((host, port))
}
