//! The names under which the page is served.
//!
//! A web site can let its own name point to a sensor's address (DNS rebinding): to the browser, what the sensor answers
//! then is that site's own. Addresses cannot be made to lie like this, and the names of this machine are not the
//! site's to give.

use std::{collections::HashSet, fs, net::IpAddr};

/// Names that are answered to, beside addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashSet<String>);

impl Hosts {
    /// `localhost`, this machine's name, and `names`.
    #[must_use]
    pub fn of_this_machine(names: impl IntoIterator<Item = String>) -> Self {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = own.trim().to_lowercase();
        let local = format!("{own}.local");
        let names = names.into_iter().map(|name| name.to_lowercase()).chain([own, local]);
        Self(names.filter(|name| !name.is_empty()).collect())
    }

    /// Whether a request with this `Host` is answered; `host` may have a port.
    pub(super) fn allow(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local || name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

/// The name or address in `host`; none where what follows is no port.
fn without_port(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_answered_to_and_foreign_names_are_not() {
        let hosts = Hosts::of_this_machine(["Sensor.example.org".to_owned()]);
        for host in [
            "127.0.0.1:19810",
            "192.168.1.5",
            "[::1]:19810",
            "[fd00::1]",
            "localhost:19810",
            "LOCALHOST",
            "sensor.example.org:443",
            "sensor.example.org.",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "sensor.example.org.evil.example",
            "[evil]",
            "[::1]evil",
            "[::1]:evil",
            "[::1",
            "localhost:80:80",
            "localhost..",
            "1.2.3.4.evil.example",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(hosts.allow(&format!("{}:19810", own.trim())));
    }
}
