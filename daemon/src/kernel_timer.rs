//! A kernel timer (timerfd_create(2)). It reports a change of the clock, and wakes the processor once. For a deadline
//! minutes away, the timer of tokio wakes it up to three times.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::{Errno, read},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

#[derive(Debug)]
pub(crate) struct KernelTimer(AsyncFd<OwnedFd>);

/// The result of the wait for a timer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Expired,
    /// The clock was set, which stopped the timer.
    Cancelled,
}

impl KernelTimer {
    pub(crate) fn new(clock: TimerfdClockId) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(clock, flags)?;
        #[allow(
            unsafe_code,
            reason = "the timer owns its descriptor and never replaces it"
        )]
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE)? };
        Ok(Self(timer))
    }

    pub(crate) fn arm(&self, flags: TimerfdTimerFlags, at: &Itimerspec) -> io::Result<()> {
        timerfd_settime(self.0.get_ref(), flags, at)?;
        Ok(())
    }

    pub(crate) async fn woken(&self) -> io::Result<Woken> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match read(self.0.get_ref(), &mut count) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::CANCELED) => return Ok(Woken::Cancelled),
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(Woken::Expired),
            }
        }
    }
}
