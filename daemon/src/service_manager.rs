//! What the service manager is told (sd_notify(3)): that wharfd has started, how it stands, that it lives. Where none
//! listens nothing is said. Knows no instance and no server.

use std::{env, future};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager that started this process, if one did.
#[derive(Debug)]
pub struct ServiceManager {
    told: String,
    signs_of_life: Option<Interval>,
}

impl ServiceManager {
    /// The one that this process was started by.
    pub fn new() -> Self {
        let signs_of_life = sd_notify::watchdog_enabled().map(|limit| {
            let mut signs = interval(limit / 2); // as sd_watchdog_enabled(3) advises
            signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
            signs
        });
        Self {
            told: String::new(),
            signs_of_life,
        }
    }

    /// Whether it wants to be told anything.
    pub fn listens() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// wharfd has started, and stands so: one line for `systemctl status`.
    pub fn tell(&mut self, status: String) {
        if self.told != status {
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
            self.told = status;
        }
    }

    /// Gives a sign of life, each time that one is due.
    pub async fn stay_alive(&mut self) {
        match &mut self.signs_of_life {
            Some(signs) => {
                signs.tick().await;
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            None => future::pending().await,
        }
    }

    /// wharfd is about to end.
    pub fn end(&self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

/// wharfd ends, and why: `systemctl status` shows it until the next start.
pub fn give_up(why: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(why)]);
}

impl Default for ServiceManager {
    fn default() -> Self {
        Self::new()
    }
}
