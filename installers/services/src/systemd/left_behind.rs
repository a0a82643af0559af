//! Daemons that maintainer scripts forked. They are no units, so no hold keeps them down. A daemon that detaches stays in the
//! control group of the job's unit.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_frames::Text;
use wharf_root::{
    limits,
    process::{pidfd, wait_for_event},
    session::RunningProcess,
};

/// Ends them, and returns their names. While a program of the package manager still runs there, nothing is ended.
pub(super) fn end(
    is_package_manager: &dyn Fn(&RunningProcess) -> bool,
) -> io::Result<Option<Text>> {
    let Some(group) = group_of_the_job()? else {
        return Ok(None);
    };
    let found = left_in(&group)?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let left = left_in(&group)?;
        if left.iter().any(|(process, _)| is_package_manager(process)) {
            return Ok(None);
        }
        for (process, _) in &left {
            let _ = kill(Pid::from_raw(process.pid), signal); // it may be gone by now
        }
        wait_for(&left)?;
    }
    let names = found
        .iter()
        .map(|(process, name)| format!("{name} ({})", process.pid));
    let names: Vec<String> = names.collect();
    Ok((!names.is_empty()).then(|| Text::from(names.join(", "))))
}

/// The control group of this process (cgroups(7)), if it is the group of a job.
fn group_of_the_job() -> io::Result<Option<PathBuf>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    Ok(unified(&groups).filter(|group| group.join("cgroup.procs").exists()))
}

fn unified(groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let unit = Path::new(path).file_name()?.to_str()?;
    unit.starts_with("wharf-job@")
        .then(|| Path::new("/sys/fs/cgroup").join(path))
}

/// The other processes of the group, with their names.
fn left_in(group: &Path) -> io::Result<Vec<(RunningProcess, String)>> {
    let this = i32::try_from(std::process::id()).unwrap_or_default();
    let pids = fs::read_to_string(group.join("cgroup.procs"))?;
    let pids = pids.lines().filter_map(|line| line.parse().ok());
    let others = pids.filter(|pid| *pid != this).filter_map(|pid| {
        let process = RunningProcess { pid };
        let name = process.name();
        (!name.is_empty()).then_some((process, name)) // it has ended meanwhile
    });
    Ok(others.collect())
}

/// Waits until all have ended, with a timeout.
fn wait_for(processes: &[(RunningProcess, String)]) -> io::Result<()> {
    let deadline = Instant::now() + limits::DAEMON_STOP;
    for (process, _) in processes {
        let Ok(end) = pidfd(process.pid) else {
            continue; // it has ended
        };
        wait_for_event(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], deadline)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_group_of_a_job_is_a_jobs_own() {
        let group = "/sys/fs/cgroup/system.slice/wharf-job@01.service";
        for (groups, expected) in [
            ("0::/system.slice/wharf-job@01.service\n", Some(group)),
            (
                "4:memory:/x\n0::/system.slice/wharf-job@01.service\n",
                Some(group),
            ),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("0::/\n", None),
            ("1:name=systemd:/system.slice/wharf-job@01.service\n", None),
        ] {
            assert_eq!(unified(groups), expected.map(PathBuf::from), "{groups}");
        }
    }
}
