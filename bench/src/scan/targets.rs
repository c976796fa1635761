//! Answers for the hosts of a scenario: listens on what is open there.

use std::net::{SocketAddr, TcpListener};
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
    println!("ready");
    let ended = until_input_ends();
    while ended.recv_timeout(Duration::from_millis(500)) == Err(RecvTimeoutError::Timeout) {
        for listener in &listeners {
            while listener.accept().is_ok() {}
        }
    }
    Ok(())
}
