//! A router of the office that translates addresses (nftables) for three users behind it.

use anyhow::Result;

use super::quic;
use crate::{browsing, netns::Namespace, service::Service};

/// Makes a router of `router`, with what its users do and their namespaces.
pub fn start(router: &Namespace) -> Result<(Vec<Service>, Vec<Namespace>)> {
    for rule in [
        "add table ip nat",
        "add chain ip nat out { type nat hook postrouting priority 100 ; }",
        "add rule ip nat out oifname lan masquerade",
    ] {
        router.run(&format!("nft {rule}"))?;
    }
    let (mut services, mut users) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let user = Namespace::new("user")?;
        router.cable(&format!("user{number}"), &user, "lan")?;
        router.run(&format!("ip address add 192.168.{number}.1/24 dev user{number}"))?;
        user.run(&format!("ip address add 192.168.{number}.2/24 dev lan"))?;
        user.run(&format!("ip route add default via 192.168.{number}.1"))?;
        services.push(browsing::browse(&user)?);
        services.push(quic::browse(&user)?);
        users.push(user);
    }
    Ok((services, users))
}
