//! The names under which the sensor is asked.
//!
//! A web site can let its own name point to a sensor's address (DNS rebinding): to the browser, what the
//! sensor answers then is that site's own, addresses and alerts included. Nothing else in such a request
//! gives it away: over plain HTTP a browser says neither `Origin` nor `Sec-Fetch-Site`, and the site chooses
//! the rest. But it must be asked by a name of the public DNS, which is the site's to give. Addresses are
//! not, nor are the names of this machine, nor those that the public DNS does not have: without a dot, or in
//! domains set aside for local use.

use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Domains that the public DNS does not have: RFC 6761, 6762 and 8375, and for `internal` the board of ICANN,
/// 29 July 2024.
const LOCAL_DOMAINS: [&str; 4] = ["localhost", "local", "home.arpa", "internal"];

/// Names that are answered to, beside addresses and local names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashSet<String>);

impl Hosts {
    /// This machine's name, by itself and in the domains in which it looks for names, and `names`.
    #[must_use]
    pub fn of_this_machine(names: impl IntoIterator<Item = String>) -> Self {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let own = own.trim().to_lowercase();
        let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let in_domains = search_domains(&resolver).map(|domain| format!("{own}.{domain}"));
        let own = (!own.is_empty()).then(|| in_domains.chain([own.clone()]));
        let names = names.into_iter().map(|name| name.to_lowercase());
        Self(names.chain(own.into_iter().flatten()).collect())
    }

    /// Whether a request with this `Host` is answered; `host` may have a port.
    pub(super) fn allow(&self, host: &str) -> bool {
        let Some((name, is_bracketed)) = without_port(host) else { return false };
        if is_bracketed {
            return name.parse::<Ipv6Addr>().is_ok();
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
        is_local(&name) || name.parse::<Ipv4Addr>().is_ok() || self.0.contains(&name)
    }
}

/// The name or address in `host`, and whether it stands in brackets; none where what follows is no port.
fn without_port(host: &str) -> Option<(&str, bool)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some((name, host.starts_with('[')))
}

/// Whether the public DNS cannot have this name.
fn is_local(name: &str) -> bool {
    let in_domain = |domain: &&str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let has_dot = name.contains('.');
    !name.is_empty() && !has_dot || LOCAL_DOMAINS.iter().any(in_domain)
}

/// The domains in which a machine with this `resolv.conf` looks for names; the root is none.
fn search_domains(resolver: &str) -> impl Iterator<Item = String> {
    let lines = resolver.lines().map(str::split_whitespace);
    let named = lines.filter_map(|mut words| {
        let keyword = words.next()?;
        matches!(keyword, "search" | "domain").then_some(words)
    });
    let domains = named.flatten().map(|domain| domain.trim_matches('.').to_lowercase());
    domains.filter(|domain| !domain.is_empty())
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
            "flow-sensor:19810",
            "sensor.monitoring.svc.cluster.local:19810",
            "sensor.corp.internal",
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
            "..",
            ".",
            "evillocal.example",
            "local.example",
            "evil.notlocal",
            "1.2.3.4.5",
            "1.2.3.4.evil.example",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(hosts.allow(&format!("{}:19810", own.trim())));
    }

    #[test]
    fn a_machine_has_a_name_in_every_domain_in_which_it_looks_for_names() {
        let resolver = "# generated\nnameserver 10.0.0.1\nsearch Example.org lan.\n\
            options edns0\ndomain a.example\nsearch .\n";
        let domains: Vec<String> = search_domains(resolver).collect();
        assert_eq!(domains, ["example.org", "lan", "a.example"]);
    }
}
