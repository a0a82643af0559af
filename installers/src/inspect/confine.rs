//! Giving up whatever a parser of hostile bytes does not need, before the first of those bytes is read. What every
//! supported kernel has must succeed; Landlock only adds to it.

use std::{collections::BTreeMap, env::consts::ARCH, io};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::{getegid, geteuid, getgid, getuid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Memory: xz -9 and zstd's widest window take 64 MiB; a keyring and its parser some megabytes.
const ADDRESS_SPACE: u64 = 256 * 1024 * 1024;

/// Processor time, in seconds: a package of 1 GiB on a slow gateway. The caller's limit is the clock on the wall.
const CPU_SECONDS: u64 = 600;

#[rustfmt::skip]
const LIMITS: &[(Resource, u64)] = &[
    (Resource::RLIMIT_AS, ADDRESS_SPACE),
    (Resource::RLIMIT_CPU, CPU_SECONDS),
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_FSIZE, 0),
    (Resource::RLIMIT_MEMLOCK, 0),
    (Resource::RLIMIT_NOFILE, 0), // those that are open stay usable
    (Resource::RLIMIT_NPROC, 0),
];

/// System calls of a program that reads two descriptors, allocates, and ends.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_pread64, libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_write, libc::SYS_close,
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_futex, libc::SYS_sched_yield, libc::SYS_getrandom, libc::SYS_clock_gettime,
    libc::SYS_sigaltstack, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_restart_syscall,
    libc::SYS_exit, libc::SYS_exit_group,
];

/// Allowed as long as nothing becomes executable (argument 2 is `prot` in both).
const ALLOWED_WITHOUT_EXEC: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// A wall that did not stand up.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfineError {
    /// Started with the privileges that it is there to be without.
    #[error("wharf-inspect runs as root: start it with a user and a group of its own")]
    Root,
    /// A call to the kernel failed.
    #[error("{0}: {1}")]
    Kernel(&'static str, #[source] io::Error),
    /// The filter of system calls could not be made.
    #[error("seccomp: {0}")]
    Filter(String),
}

/// Keeps the descriptors 0, 1 and 2 and the memory, and nothing else.
pub(super) fn confine() -> Result<(), ConfineError> {
    if getuid().is_root()
        || geteuid().is_root()
        || getgid().as_raw() == 0
        || getegid().as_raw() == 0
    {
        return Err(ConfineError::Root);
    }
    let kernel = |what| move |error: nix::Error| ConfineError::Kernel(what, error.into());
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(kernel("PR_SET_PDEATHSIG"))?;
    prctl::set_no_new_privs().map_err(kernel("PR_SET_NO_NEW_PRIVS"))?;
    prctl::set_dumpable(false).map_err(kernel("PR_SET_DUMPABLE"))?;
    close_others()?;
    forbid_files_and_sockets();
    for &(resource, limit) in LIMITS {
        setrlimit(resource, limit, limit).map_err(kernel("setrlimit"))?;
    }
    let program = filter().map_err(ConfineError::Filter)?;
    apply_filter(&program).map_err(|error| ConfineError::Filter(error.to_string()))
}

/// Whatever whoever started us left open.
fn close_others() -> Result<(), ConfineError> {
    let (first, last, flags) = (3_u32, u32::MAX, 0_u32);
    #[allow(
        unsafe_code,
        reason = "nix has no close_range; nothing here owns a descriptor above 2"
    )]
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match result {
        0 => Ok(()),
        _ => Err(ConfineError::Kernel(
            "close_range",
            io::Error::last_os_error(),
        )),
    }
}

/// Landlock without any rule: as much of it as the kernel knows, which may be nothing.
fn forbid_files_and_sockets() {
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.restrict_self());
    // Beneath the system call filter this is a second wall; a kernel without it is one wall short, no reason to stop.
    drop(ruleset);
}

fn filter() -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(ARCH).map_err(|error| error.to_string())?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    for &call in ALLOWED_WITHOUT_EXEC {
        rules.insert(
            call,
            vec![without_exec().map_err(|error| error.to_string())?],
        );
    }
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )
    .and_then(BpfProgram::try_from)
    .map_err(|error| error.to_string())
}

fn without_exec() -> Result<SeccompRule, seccompiler::BackendError> {
    let exec = libc::PROT_EXEC as u64;
    let operator = SeccompCmpOp::MaskedEq(exec);
    let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, operator, 0)?;
    SeccompRule::new(vec![condition])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: `data` is its struct seccomp_data, here in 32-bit words.
    fn verdict(program: &BpfProgram, data: &[u32; 16]) -> u32 {
        let (mut accumulator, mut next) = (0, 0);
        loop {
            let step = &program[next];
            next += 1;
            let code = u32::from(step.code);
            match code & 0x07 {
                libc::BPF_LD => accumulator = data[step.k as usize / 4],
                libc::BPF_ALU => {
                    assert_eq!(code & 0xf0, libc::BPF_AND);
                    accumulator &= step.k;
                }
                libc::BPF_JMP if code & 0xf0 == libc::BPF_JA => next += step.k as usize,
                libc::BPF_JMP => {
                    let holds = match code & 0xf0 {
                        libc::BPF_JEQ => accumulator == step.k,
                        libc::BPF_JGE => accumulator >= step.k,
                        libc::BPF_JGT => accumulator > step.k,
                        other => panic!("a jump of kind {other:#x}"),
                    };
                    next += usize::from(if holds { step.jt } else { step.jf });
                }
                libc::BPF_RET => return step.k,
                other => panic!("a step of class {other:#x}"),
            }
        }
    }

    /// A call with this third argument, made in the way of this architecture.
    fn call(number: libc::c_long, third: libc::c_int) -> [u32; 16] {
        const ARCHITECTURE: u32 = match ARCH.as_bytes() {
            b"aarch64" => 0xc000_00b7,
            b"riscv64" => 0xc000_00f3,
            _ => 0xc000_003e,
        };
        let mut data = [0; 16];
        (data[0], data[1], data[8]) = (number as u32, ARCHITECTURE, third as u32);
        data
    }

    #[test]
    fn a_call_that_is_not_needed_ends_the_process() {
        let program = filter().unwrap();
        for number in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_ioctl,
            libc::SYS_prctl,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            1_000_000,
        ] {
            let got = verdict(&program, &call(number, 0));
            assert_eq!(got, libc::SECCOMP_RET_KILL_PROCESS, "call {number}");
        }
        for &number in ALLOWED.iter().chain(ALLOWED_WITHOUT_EXEC) {
            let got = verdict(&program, &call(number, libc::PROT_READ));
            assert_eq!(got, libc::SECCOMP_RET_ALLOW, "call {number}");
        }
    }

    #[test]
    fn no_memory_becomes_executable() {
        let program = filter().unwrap();
        for &number in ALLOWED_WITHOUT_EXEC {
            let got = verdict(&program, &call(number, libc::PROT_READ | libc::PROT_EXEC));
            assert_eq!(got, libc::SECCOMP_RET_KILL_PROCESS, "call {number}");
        }
    }

    #[test]
    fn a_call_in_the_way_of_another_architecture_ends_the_process() {
        let program = filter().unwrap();
        let mut data = call(libc::SYS_close, 0);
        data[1] = 0x4000_0003; // i386
        assert_eq!(verdict(&program, &data), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
