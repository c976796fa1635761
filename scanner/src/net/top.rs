//! Ports that are worth a look when there is no time for all of them.
//!
//! The choice is our own, by hand: services of IANA's registry that are in use, documented defaults of products that
//! are met in offices, data centres and plants, and the first ports that systems hand out by themselves. It is no
//! measurement of how often a port is open; nobody else's figures are in it. Each list holds the shorter ones.

use super::{Ports, cut};

/// The ports of each list that are not in the shorter one before it, an empty line between them.
const LISTS: &str = include_str!("top.txt");

/// The ports of `top:20`, `top:100` or `top:1000`.
///
/// # Errors
/// A sentence that names the lists there are.
pub fn top(list: &str) -> Result<Ports, String> {
    let lists = ["top:20", "top:100", "top:1000"].iter().position(|name| *name == list);
    let lists = lists.ok_or_else(|| format!("{} is not top:20, top:100 or top:1000", cut(list)))?;
    let text: Vec<&str> = LISTS.split("\n\n").take(lists + 1).collect();
    Ok(Ports::parse(&text.join(",")).expect("the lists are ports: a test reads them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_ports_as_its_name_says_and_holds_the_shorter_ones() {
        let lists = ["top:20", "top:100", "top:1000"].map(|name| top(name).unwrap());
        assert_eq!(lists.each_ref().map(Ports::count), [20, 100, 1_000]);
        for pair in lists.windows(2) {
            assert!(pair[0].each().all(|port| pair[1].contains(port)));
        }
    }

    #[test]
    fn another_number_is_refused_with_those_there_are() {
        for wrong in ["top:", "top:50", "top:x", "20", "top:65536"] {
            assert!(top(wrong).unwrap_err().contains("top:20, top:100 or top:1000"), "{wrong}");
        }
    }
}
