//! The wall clock: what it says, whether it can be right, and when somebody sets it. Protocols never ask it.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdTimerFlags, Timespec};

use crate::kernel_timer::{KernelTimer, Woken};

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
    timer: KernelTimer,
}

impl ClockWatch {
    /// A timer that never expires, and is cancelled when the clock jumps.
    pub fn new() -> io::Result<Self> {
        let timer = KernelTimer::new(TimerfdClockId::Realtime)?;
        arm(&timer)?;
        Ok(Self { timer })
    }

    /// Waits until the clock is set.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let woken = self.timer.woken().await?;
            arm(&self.timer)?;
            if woken == Woken::Cancelled {
                return Ok(());
            }
        }
    }
}

/// In the year 2242: also on 32-bit machines, whose libc may end in 2038, time has 64 bits for the kernel.
const NEVER: Timespec = Timespec {
    tv_sec: 1 << 33,
    tv_nsec: 0,
};

fn arm(timer: &KernelTimer) -> io::Result<()> {
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: NEVER,
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timer.arm(flags, &once)
}
