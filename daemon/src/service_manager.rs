//! Notifications for the service manager (sd_notify(3)): ready, status, watchdog, stopping. Without a service manager
//! they do nothing.

use std::{future, io, time::Duration};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdTimerFlags, Timespec};
use sd_notify::NotifyState;

use crate::kernel_timer::KernelTimer;

/// The service manager that started this process, if one did.
#[derive(Debug)]
pub struct ServiceManager {
    told: String,
    signs_of_life: Option<KernelTimer>,
}

impl ServiceManager {
    /// The service manager of this process, from its environment.
    pub fn new() -> io::Result<Self> {
        // half of the limit, as sd_watchdog_enabled(3) advises
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Ok(Self {
            told: String::new(),
            signs_of_life: period.map(every).transpose()?,
        })
    }

    /// Reports that wharfd is ready, with one line for `systemctl status`. Sends only a new line.
    pub fn tell(&mut self, status: String) {
        if self.told != status {
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
            self.told = status;
        }
    }

    /// Waits until a watchdog notification is due, and sends it.
    pub async fn stay_alive(&self) {
        let due = match &self.signs_of_life {
            Some(signs) => signs.woken().await.is_ok(),
            None => false,
        };
        match due {
            true => drop(sd_notify::notify(&[NotifyState::Watchdog])),
            false => future::pending().await,
        }
    }

    /// Reports that wharfd is stopping.
    pub fn end(&self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }
}

/// Reports why wharfd ends. `systemctl status` shows it until the next start.
pub fn give_up(why: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(why)]);
}

fn every(period: Duration) -> io::Result<KernelTimer> {
    let timer = KernelTimer::new(TimerfdClockId::Monotonic)?;
    let period = Timespec::try_from(period).map_err(io::Error::other)?;
    let each = Itimerspec {
        it_interval: period,
        it_value: period,
    };
    timer.arm(TimerfdTimerFlags::empty(), &each)?;
    Ok(timer)
}
