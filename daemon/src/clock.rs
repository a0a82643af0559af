//! The wall clock: what it says, whether it can be right, and when somebody sets it. Protocols never ask it.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    io::{Errno, read},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

/// When this was built: a clock that says less was not set yet. Packages are built with SOURCE_DATE_EPOCH; anything
/// else was not built before 2026-11-01.
pub(crate) const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => number(seconds),
    None => 1_793_491_200,
};

const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// Whether the clock can be right: many gateways start in 1970, where no certificate is valid yet.
pub fn is_set() -> bool {
    now() >= BUILT
}

/// Tells when the clock is set.
pub struct ClockWatch {
    timer: AsyncFd<OwnedFd>,
}

impl ClockWatch {
    /// A timer that never expires, and is cancelled when the clock jumps (timerfd_create(2)).
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        arm(&timer)?;
        #[allow(
            unsafe_code,
            reason = "the timer owns its descriptor and never replaces it"
        )]
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE)? };
        Ok(Self { timer })
    }

    /// Waits until the clock is set.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut count = [0; 8];
            match read(self.timer.get_ref(), &mut count) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::CANCELED) => return arm(self.timer.get_ref()),
                Err(error) => return Err(error.into()),
                Ok(_) => arm(self.timer.get_ref())?,
            }
        }
    }
}

/// In the year 2242: also on 32-bit machines, whose libc may end in 2038, time has 64 bits for the kernel.
const NEVER: Timespec = Timespec {
    tv_sec: 1 << 33,
    tv_nsec: 0,
};

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: NEVER,
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &once)?;
    Ok(())
}
