//! What a scan by hand writes for other programs.

use crate::common::{complaint, listen, probe, text};

#[test]
fn csv_has_a_row_for_each_run_of_ports_and_covers_every_pair() {
    let (_open, at) = listen("127.85.0.2");
    let (_six, six) = listen("::1");
    let ports = format!("1-9,{},{}", at.port(), six.port());
    let line = format!("--targets 127.85.0.0/30,::1 --ports {ports} --preset fast --output csv");
    let output = probe(&line);
    let mut lines = text(&output).lines();
    assert_eq!(
        lines.next(),
        Some("first_address,last_address,first_port,last_port,state,reason,rtt_us,hint")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let open: Vec<_> = rows.iter().filter(|row| row[4] == "open").collect();
    assert_eq!(open.len(), 2);
    for (address, port) in [("127.85.0.2", at.port()), ("::1", six.port())] {
        let port = port.to_string();
        let wanted = [address, address, &port, &port, "open", "syn-ack"];
        assert!(open.iter().any(|row| row[..6] == wanted), "{open:?}");
    }
    let number = |text: &str| portolan_scanner::net::addr_to_u128(text.parse().unwrap());
    let span = |row: &Vec<&str>| {
        let ports = row[3].parse::<u128>().unwrap() - row[2].parse::<u128>().unwrap() + 1;
        (number(row[1]) - number(row[0]) + 1) * ports
    };
    assert_eq!(rows.iter().map(span).sum::<u128>(), 55);
    assert!(complaint(&output).contains("2 open, 53 closed, 0 filtered"), "{}", complaint(&output));
}

#[test]
fn nmap_xml_lists_the_hosts_that_answered() {
    let (_open, at) = listen("127.85.1.1");
    let port = at.port();
    let output =
        probe(&format!("--targets 127.85.1.1,::1 --ports 1-9,{port} --preset fast --output nmap-xml"));
    let xml = text(&output);
    assert!(
        xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE nmaprun>\n<nmaprun "),
        "{xml}"
    );
    for part in [
        "<address addr=\"127.85.1.1\" addrtype=\"ipv4\"/>",
        "<address addr=\"::1\" addrtype=\"ipv6\"/>",
        &format!("portid=\"{port}\"><state state=\"open\" reason=\"syn-ack\""),
        "<extraports state=\"closed\" count=\"9\">",
        "exit=\"success\"/><hosts up=\"2\" down=\"0\" total=\"2\"/>",
    ] {
        assert!(xml.contains(part), "{part} is missing in {xml}");
    }
    assert!(xml.ends_with("</nmaprun>\n"));
}

#[test]
fn targets_come_from_a_file_as_well() {
    let file = std::env::temp_dir().join(format!("portolan-targets-{}", std::process::id()));
    std::fs::write(&file, "# two\n127.85.2.1\n127.85.2.2/31 # a pair\n::1\n").unwrap();
    let name = file.to_str().unwrap();
    let output = probe(&format!("--targets-file {name} --targets 127.85.2.9 --ports 1 --preset fast"));
    assert!(text(&output).contains("5 hosts, 5 probes"), "{}{}", text(&output), complaint(&output));
    std::fs::write(&file, "127.85.2.1\n127.85.2.1/31\n").unwrap();
    let output = probe(&format!("--targets-file {name} --ports 1"));
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("line 2: \"127.85.2.1/31\" has bits"), "{}", complaint(&output));
    std::fs::remove_file(&file).unwrap();
}
