//! Service names in port lists: `ssh,https` beside `22,443`, and the well-known lists `top:20`, `top:100`, `top:1000`.
//!
//! The names are those of IANA's Service Name and Transport Protocol Port Number Registry (RFC 6335,
//! <https://www.iana.org/assignments/service-names-port-numbers>), TCP alone, cut to what is met in plants, ships
//! and offices. A few words that people say instead stand below, each for one name of the registry.

use portolan_scanner::net::{self, Error, Ports};

/// The registry's names, by port. A name stands for one port.
const REGISTERED: &[(&str, u16)] = &[
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("nicname", 43),
    ("tacacs", 49),
    ("domain", 53),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("kerberos", 88),
    ("iso-tsap", 102),
    ("acr-nema", 104),
    ("pop3", 110),
    ("sunrpc", 111),
    ("auth", 113),
    ("nntp", 119),
    ("epmap", 135),
    ("netbios-ssn", 139),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("svrloc", 427),
    ("https", 443),
    ("microsoft-ds", 445),
    ("kpasswd", 464),
    ("submissions", 465),
    ("mbap", 502),
    ("exec", 512),
    ("login", 513),
    ("shell", 514),
    ("printer", 515),
    ("rtsp", 554),
    ("submission", 587),
    ("ipp", 631),
    ("ldaps", 636),
    ("kerberos-adm", 749),
    ("mbap-s", 802),
    ("netconf-ssh", 830),
    ("domain-s", 853),
    ("rsync", 873),
    ("ftps-data", 989),
    ("ftps", 990),
    ("telnets", 992),
    ("imaps", 993),
    ("pop3s", 995),
    ("socks", 1080),
    ("rmiregistry", 1099),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("ms-sql-m", 1434),
    ("mqtt", 1883),
    ("nfs", 2049),
    ("ethernet-ip-s", 2221),
    ("ethernet-ip-1", 2222),
    ("docker", 2375),
    ("docker-s", 2376),
    ("etcd-client", 2379),
    ("etcd-server", 2380),
    ("iec-104", 2404),
    ("gpsd", 2947),
    ("iscsi-target", 3260),
    ("mysql", 3306),
    ("ms-wbt-server", 3389),
    ("nut", 3493),
    ("svn", 3690),
    ("opcua-tcp", 4840),
    ("opcua-tls", 4843),
    ("radmin-port", 4899),
    ("sip", 5060),
    ("sips", 5061),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
    ("postgresql", 5432),
    ("amqps", 5671),
    ("amqp", 5672),
    ("coap", 5683),
    ("coaps", 5684),
    ("rfb", 5900),
    ("wsman", 5985),
    ("wsmans", 5986),
    ("redis", 6379),
    ("netconf-tls", 6513),
    ("syslog-tls", 6514),
    ("ircs-u", 6697),
    ("http-alt", 8080),
    ("pcsync-https", 8443),
    ("secure-mqtt", 8883),
    ("pdl-datastream", 9100),
    ("git", 9418),
    ("zabbix-agent", 10050),
    ("zabbix-trapper", 10051),
    ("dicom", 11112),
    ("memcache", 11211),
    ("dnp-sec", 19_999),
    ("dnp", 20_000),
    ("mongodb", 27_017),
    ("profinet-rt", 34_962),
    ("profinet-rtm", 34_963),
    ("profinet-cm", 34_964),
    ("ethercat", 34_980),
    ("ethernet-ip-2", 44_818),
    ("bacnet", 47_808),
];

/// What people say, and the registry's name for it.
const SAID: &[(&str, &str)] = &[
    ("dns", "domain"),
    ("whois", "nicname"),
    ("s7", "iso-tsap"),
    ("msrpc", "epmap"),
    ("smb", "microsoft-ds"),
    ("smtps", "submissions"),
    ("modbus", "mbap"),
    ("modbus-tls", "mbap-s"),
    ("iec104", "iec-104"),
    ("ms-sql", "ms-sql-s"),
    ("iscsi", "iscsi-target"),
    ("rdp", "ms-wbt-server"),
    ("opcua", "opcua-tcp"),
    ("postgres", "postgresql"),
    ("vnc", "rfb"),
    ("winrm", "wsman"),
    ("winrm-https", "wsmans"),
    ("mqtts", "secure-mqtt"),
    ("jetdirect", "pdl-datastream"),
    ("memcached", "memcache"),
    ("dnp3", "dnp"),
    ("enip", "ethernet-ip-2"),
];

/// How many refused pieces of one kind a message names.
const NAMED_MAX: usize = 5;

/// The port of a service name, in any case.
#[must_use]
pub fn port_of(name: &str) -> Option<u16> {
    let find =
        |name: &str| REGISTERED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, p)| *p);
    find(name).or_else(|| {
        SAID.iter()
            .find(|(said, _)| said.eq_ignore_ascii_case(name))
            .and_then(|(_, registered)| find(registered))
    })
}

/// Reads `22,80-90,https,top:100`: ports, ranges, service names and well-known lists, separated by commas or white space, in any order.
///
/// # Errors
/// A sentence that names the pieces that are none of these, or says that there is no port at all.
pub fn parse(text: &str) -> Result<Ports, String> {
    let mut runs = Vec::new();
    let (mut numbers, mut reversed, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for piece in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|piece| !piece.is_empty()) {
        if let Some(port) = port_of(piece) {
            runs.push((port, port));
            continue;
        }
        if let Ok(list) = net::top(piece) {
            runs.extend(list.iter());
            continue;
        }
        match Ports::parse(piece) {
            Ok(ports) => runs.extend(ports.iter()),
            Err(_) if piece.starts_with(|c: char| c.is_alphabetic()) => names.push(piece),
            Err(Error::Reversed(_)) => reversed.push(piece),
            Err(_) => numbers.push(piece),
        }
    }
    let said: Vec<String> = [
        (numbers, "is not a port", "are not ports", ": write numbers from 1 to 65535, or ranges like 80-90"),
        (reversed, "ends before it begins", "end before they begin", ""),
        (names, "is not a service name known here", "are not service names known here", ": write the port"),
    ]
    .into_iter()
    .filter(|(pieces, ..)| !pieces.is_empty())
    .map(|(pieces, one, many, more)| {
        format!("{} {}{more}", listed(&pieces), if pieces.len() == 1 { one } else { many })
    })
    .collect();
    if !said.is_empty() {
        return Err(said.join("; "));
    }
    if runs.is_empty() {
        return Err(
            "at least one port is needed: numbers from 1 to 65535, ranges like 80-90, names like https"
                .into(),
        );
    }
    Ok(runs.into_iter().collect())
}

/// `"0", "70000" and 3 more`, each cut to what can be shown.
fn listed(pieces: &[&str]) -> String {
    let cut = |piece: &&str| format!("{:?}", piece.chars().take(40).collect::<String>());
    let shown: Vec<String> = pieces.iter().take(NAMED_MAX).map(cut).collect();
    match pieces.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_numbers_mix_and_become_canonical() {
        assert_eq!(parse("https, 22 80-90,SSH,85").unwrap().to_string(), "22,80-90,443");
        assert_eq!(parse("modbus,dnp3,rdp,http-alt").unwrap().to_string(), "502,3389,8080,20000");
        assert_eq!(parse("1-65535").unwrap().count(), 65_535);
        assert_eq!(parse("top:20 ssh,7").unwrap().count(), 21);
        assert!(parse("top:50").unwrap_err().contains("\"top:50\" is not a service name"));
    }

    #[test]
    fn every_bad_piece_is_named_and_the_good_ones_are_not() {
        let said = parse("0,70000,http").unwrap_err();
        assert_eq!(
            said,
            "\"0\", \"70000\" are not ports: write numbers from 1 to 65535, or ranges like 80-90"
        );
        let said = parse("90-80,htttp,1..5").unwrap_err();
        assert!(said.starts_with("\"1..5\" is not a port: "), "{said}");
        assert!(said.contains("\"90-80\" ends before it begins; \"htttp\" is not a service name"), "{said}");
        let said = parse("a,b,c,d,e,f,g").unwrap_err();
        assert!(said.contains("\"e\" and 2 more are not service names"), "{said}");
        for nothing in ["", " , ,"] {
            assert!(parse(nothing).unwrap_err().contains("at least one port"), "{nothing:?}");
        }
    }

    #[test]
    fn the_table_ascends_by_port_and_every_word_leads_to_it_once() {
        assert!(REGISTERED.windows(2).all(|pair| pair[0].1 < pair[1].1));
        let mut names: Vec<_> =
            REGISTERED.iter().map(|(name, _)| *name).chain(SAID.iter().map(|(said, _)| *said)).collect();
        assert!(names.iter().all(|name| port_of(name).is_some()));
        // A name never reads as a number or a range.
        assert!(names.iter().all(|name| Ports::parse(name).is_err()));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_back_as_itself(text in "[0-9a-z ,-]{0,60}") {
            if let Ok(ports) = parse(&text) {
                prop_assert_eq!(parse(&ports.to_string()), Ok(ports));
            }
        }
    }
}
