//! The signals that end the agent.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{AgentEnd, AgentError, system};

/// SIGTERM, SIGINT and SIGHUP.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, AgentError> {
        Ok(Self {
            terminate: system("cannot wait for SIGTERM", signal(SignalKind::terminate()))?,
            interrupt: system("cannot wait for SIGINT", signal(SignalKind::interrupt()))?,
            hangup: system("cannot wait for SIGHUP", signal(SignalKind::hangup()))?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> AgentEnd {
        tokio::select! {
            _ = self.terminate.recv() => AgentEnd::Terminate,
            _ = self.interrupt.recv() => AgentEnd::Terminate,
            _ = self.hangup.recv() => AgentEnd::Reload,
        }
    }
}
