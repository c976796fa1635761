//! Answers for the hosts of a scenario: listens on what is open there.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::scenario::Scenario;
use super::until_input_ends;

/// Listens on all of it until the standard input ends; says `ready` when it does.
///
/// # Errors
/// A sentence, if it cannot listen.
pub fn serve(scenario: &Scenario) -> Result<(), String> {
    let listen = |at: SocketAddr| {
        let listener = TcpListener::bind(at).map_err(|error| format!("{at}: {error}"))?;
        listener.set_nonblocking(true).map_err(|error| format!("{at}: {error}"))?;
        Ok(listener)
    };
    let listeners: Vec<TcpListener> =
        scenario.truth().into_iter().map(listen).collect::<Result<_, String>>()?;
    // masscan looks at the time only when a frame comes: without other traffic on the wire it does not end.
    let other = UdpSocket::bind("10.97.0.2:0").map_err(|error| format!("10.97.0.2: {error}"))?;
    println!("ready");
    let ended = until_input_ends();
    while ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
        // Nobody listens there, which the next call is told of.
        let _ = other.send_to(b"traffic", "10.97.0.1:9");
        for listener in &listeners {
            while listener.accept().is_ok() {}
        }
    }
    Ok(())
}
