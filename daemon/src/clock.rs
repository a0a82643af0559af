//! The wall clock, and a watch on changes of it.

use std::io;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdTimerFlags, Timespec};

pub use wharf_clock::{BUILT, after, is_set, now};

use crate::kernel_timer::{KernelTimer, Woken};

/// Reports when the clock is set.
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

/// In the year 2242. The kernel has 64 bits for a time, also on 32-bit machines.
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
