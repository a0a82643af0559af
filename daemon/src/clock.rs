//! The wall clock: what it says, whether it can be right, and when somebody sets it. Protocols never ask it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::{Interest, unix::AsyncFd};

/// When this was built: a clock that says less was not set yet. Packages are built with SOURCE_DATE_EPOCH; anything
/// else was not built before 2026-11-01.
const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
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
    timer: AsyncFd<Timer>,
}

impl ClockWatch {
    /// A timer that never expires, and is cancelled when the clock jumps (timerfd_create(2)).
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_REALTIME, flags)?);
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
            match nix::unistd::read(self.timer.get_ref().as_fd(), &mut count) {
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(nix::Error::ECANCELED) => return arm(self.timer.get_ref()),
                Err(error) => return Err(error.into()),
                Ok(_) => arm(self.timer.get_ref())?,
            }
        }
    }
}

/// In the year 2242, in seconds.
const NEVER: u64 = 1 << 33;

fn arm(timer: &Timer) -> io::Result<()> {
    let never = TimeSpec::from(libc::timespec {
        // 32 bits on some machines: 2038
        tv_sec: libc::time_t::try_from(NEVER).unwrap_or(libc::time_t::MAX),
        tv_nsec: 0,
    });
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    Ok(timer.0.set(Expiration::OneShot(never), flags)?)
}

/// tokio watches what has a raw descriptor.
struct Timer(TimerFd);

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
