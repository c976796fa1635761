//! The demo's story, and that it can be told through every way of running the appliance.

use portolan_tests::{Site, story};

#[test]
fn the_diff_is_exactly_what_was_changed() {
    let site = Site::start();
    let owner = site.set_up();
    let told = story::tell(&site, &owner, |_| {});
    assert_eq!(told.found, told.truth);
}
