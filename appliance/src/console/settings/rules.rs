//! What settings must be as a whole, so that the machine is reached with them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::values::Net;
use super::{Link, LinkName, Settings, V4, V6};

/// The networks that a link is in by its own addresses.
fn nets(link: &Link) -> Vec<Net<IpAddr>> {
    let mut nets = Vec::new();
    if let V4::Static(own) = &link.ipv4 {
        nets.extend(own.iter().map(|net| net.any()));
    }
    if let V6::Static(own) = &link.ipv6 {
        nets.extend(own.iter().map(|net| net.any()));
    }
    nets
}

/// Whether addresses of this family come from others.
fn told(link: &Link, ipv4: bool) -> bool {
    if ipv4 { link.ipv4 == V4::Dhcp } else { link.ipv6 == V6::Auto }
}

/// All that does not fit together, in words.
#[must_use]
pub fn check(settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut gateways: BTreeMap<bool, &LinkName> = BTreeMap::new();
    let mut vlans = BTreeMap::new();
    for (name, link) in &settings.links {
        if let Some(vlan) = &link.vlan {
            let parent = settings.links.get(&vlan.on);
            if vlan.on == *name || parent.is_some_and(|parent| parent.vlan.is_some()) {
                wrong.push(format!("{name}: a VLAN is on a card, and {} is none", vlan.on));
            }
            if let Some(other) = vlans.insert((vlan.on.clone(), vlan.id), name) {
                wrong.push(format!("{name} and {other} are the same VLAN, {} on {}", vlan.id, vlan.on));
            }
        }
        for gateway in &link.gateway {
            let ipv4 = gateway.is_ipv4();
            if let Some(other) = gateways.insert(ipv4, name) {
                let family = if ipv4 { "IPv4" } else { "IPv6" };
                wrong.push(format!(
                    "{name} and {other}: there is one gateway for {family}, and two are named"
                ));
            }
            if told(link, ipv4) {
                let who = if ipv4 { "DHCP" } else { "its routers" };
                wrong.push(format!(
                    "{name}: its addresses come from {who}, and so does its gateway: {gateway}"
                ));
            } else {
                reached(name, link, *gateway, &mut wrong);
            }
        }
        for route in &link.routes {
            if !told(link, route.via.is_ipv4()) {
                reached(name, link, route.via, &mut wrong);
            }
        }
    }
    let all: Vec<(&LinkName, Net<IpAddr>)> = settings
        .links
        .iter()
        .flat_map(|(name, link)| nets(link).into_iter().map(move |net| (name, net)))
        .collect();
    for (at, (name, net)) in all.iter().enumerate() {
        for (other, second) in &all[..at] {
            if net.address == second.address {
                wrong.push(format!("{} is there twice", net.address));
            } else if name != other && net.meets(*second) {
                wrong.push(format!("{net} on {name} and {second} on {other} are one network on two links"));
            }
        }
    }
    wrong
}

/// Whoever passes packets on must be in a network of the link, and not be this machine.
fn reached(name: &LinkName, link: &Link, via: IpAddr, wrong: &mut Vec<String>) {
    let by_itself = match via {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() && link.ipv6 != V6::Off,
    };
    let nets = nets(link);
    if nets.iter().any(|net| net.address == via) {
        wrong.push(format!("{name}: {via} is this machine itself"));
    } else if !by_itself && !nets.iter().any(|net| net.holds(via)) {
        wrong.push(format!("{name}: {via} is in no network of this link, so nothing would reach it"));
    }
}
