//! Gives up all that a parser of hostile bytes does not need, before it reads the first byte. Each step must succeed
//! except Landlock, which not every supported kernel has.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use libseccomp::{
    ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, error::SeccompError,
};
use nix::{
    sys::{
        prctl,
        resource::{Resource, rlim_t, setrlimit},
        signal::Signal,
    },
    unistd::{getegid, geteuid, getgid, getuid},
};

/// Memory: the widest window takes 128 MiB, and 64 MiB beside it while the decoder of zstd widens its buffer. The program
/// takes some megabytes, and so do a keyring and its parser.
const ADDRESS_SPACE: rlim_t = 256 * 1024 * 1024;

/// Processor time, in seconds, if the caller does not end the run. The caller allows 120 s and one second for each MiB by
/// the clock: a package of 1 GiB has about 20 minutes. SIGKILL by this limit would look like a device without memory.
const CPU_SECONDS: rlim_t = 24 * 3600;

#[rustfmt::skip]
const LIMITS: &[(Resource, rlim_t)] = &[
    (Resource::RLIMIT_AS, ADDRESS_SPACE),
    (Resource::RLIMIT_CPU, CPU_SECONDS),
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_FSIZE, 0),
    (Resource::RLIMIT_MEMLOCK, 0),
    (Resource::RLIMIT_NOFILE, 0), // those that are open stay usable
    (Resource::RLIMIT_NPROC, 0),
];

/// System calls of a program that reads two descriptors, allocates, and ends. Calls that this architecture lacks are
/// skipped.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    "pread64", "recvfrom", "sendto", "write", "close",
    "brk", "munmap", "mremap", "madvise",
    "futex", "futex_time64", "sched_yield", "getrandom", "clock_gettime", "clock_gettime64",
    "sigaltstack", "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
    "exit", "exit_group",
];

/// Allowed as long as nothing becomes executable (argument 2 is `prot` in each).
const ALLOWED_WITHOUT_EXEC: &[&str] = &["mmap", "mmap2", "mprotect"];

/// A step of the sandbox that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// Started with privileges that it must not have.
    #[error("wharf-inspect runs as root: start it with a user and a group of its own")]
    Root,
    /// A call to the kernel failed.
    #[error("{0}: {1}")]
    Kernel(&'static str, #[source] io::Error),
    /// The filter of system calls could not be made, or the kernel rejected it.
    #[error("seccomp: {0}")]
    Filter(#[from] SeccompError),
}

/// Keeps the descriptors 0, 1 and 2 and the memory, and nothing else.
pub(crate) fn enter() -> Result<(), SandboxError> {
    if getuid().is_root()
        || geteuid().is_root()
        || getgid().as_raw() == 0
        || getegid().as_raw() == 0
    {
        return Err(SandboxError::Root);
    }
    let kernel = |what| move |error: nix::Error| SandboxError::Kernel(what, error.into());
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(kernel("PR_SET_PDEATHSIG"))?;
    prctl::set_no_new_privs().map_err(kernel("PR_SET_NO_NEW_PRIVS"))?;
    prctl::set_dumpable(false).map_err(kernel("PR_SET_DUMPABLE"))?;
    close_others()?;
    forbid_files_and_sockets();
    for &(resource, limit) in LIMITS {
        setrlimit(resource, limit, limit).map_err(kernel("setrlimit"))?;
    }
    filter()?.load()?;
    Ok(())
}

/// Closes descriptors that the caller left open.
fn close_others() -> Result<(), SandboxError> {
    let (first, last, flags) = (3_u32, u32::MAX, 0_u32);
    #[allow(
        unsafe_code,
        reason = "nix has no close_range; nothing here owns a descriptor above 2"
    )]
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match result {
        0 => Ok(()),
        _ => Err(SandboxError::Kernel(
            "close_range",
            io::Error::last_os_error(),
        )),
    }
}

/// Landlock without any rule, as far as the kernel supports it.
fn forbid_files_and_sockets() {
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.restrict_self());
    // Landlock only adds to the filter of system calls, so a kernel without it is accepted.
    drop(ruleset);
}

fn filter() -> Result<ScmpFilterContext, SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::KillProcess)?;
    filter.set_act_badarch(ScmpAction::KillProcess)?;
    for name in ALLOWED {
        filter.add_rule(ScmpAction::Allow, ScmpSyscall::from_name(name)?)?;
    }
    let exec = ScmpCompareOp::MaskedEqual(libc::PROT_EXEC as u64);
    for name in ALLOWED_WITHOUT_EXEC {
        let without = [ScmpArgCompare::new(2, exec, 0)];
        filter.add_rule_conditional(ScmpAction::Allow, ScmpSyscall::from_name(name)?, &without)?;
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use std::{
        env::consts::ARCH,
        io::{Read, Seek},
    };

    use super::*;

    /// One step of the program that the kernel gets: its struct sock_filter.
    struct Step {
        code: u32,
        jump: [usize; 2],
        k: u32,
    }

    fn program() -> Vec<Step> {
        let mut file = tempfile::tempfile().unwrap();
        filter().unwrap().export_bpf(&file).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let step = |bytes: &[u8]| Step {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]).into(),
            jump: [bytes[2].into(), bytes[3].into()],
            k: u32::from_ne_bytes(bytes[4..].try_into().unwrap()),
        };
        bytes.chunks_exact(8).map(step).collect()
    }

    /// Evaluates the program as the kernel does: `data` is its struct seccomp_data, here in 32-bit words.
    fn verdict(program: &[Step], data: &[u32; 16]) -> u32 {
        let (mut accumulator, mut next) = (0, 0);
        loop {
            let step = &program[next];
            next += 1;
            match step.code & 0x07 {
                libc::BPF_LD => accumulator = data[step.k as usize / 4],
                libc::BPF_ALU => {
                    assert_eq!(step.code & 0xf0, libc::BPF_AND);
                    accumulator &= step.k;
                }
                libc::BPF_JMP if step.code & 0xf0 == libc::BPF_JA => next += step.k as usize,
                libc::BPF_JMP => {
                    let holds = match step.code & 0xf0 {
                        libc::BPF_JEQ => accumulator == step.k,
                        libc::BPF_JGE => accumulator >= step.k,
                        libc::BPF_JGT => accumulator > step.k,
                        other => panic!("a jump of kind {other:#x}"),
                    };
                    next += step.jump[usize::from(!holds)];
                }
                libc::BPF_RET => return step.k,
                other => panic!("a step of class {other:#x}"),
            }
        }
    }

    /// A call with this third argument on this architecture.
    fn call(number: libc::c_long, third: libc::c_int) -> [u32; 16] {
        const ARCHITECTURE: u32 = match ARCH.as_bytes() {
            b"aarch64" => 0xc000_00b7,
            b"arm" => 0x4000_0028,
            b"riscv64" => 0xc000_00f3,
            _ => 0xc000_003e,
        };
        let mut data = [0; 16];
        (data[0], data[1], data[8]) = (number as u32, ARCHITECTURE, third as u32);
        data
    }

    /// The numbers of the calls that this architecture has.
    fn numbers(names: &[&str]) -> Vec<libc::c_long> {
        let number =
            |name: &&str| libc::c_long::from(i32::from(ScmpSyscall::from_name(name).unwrap()));
        names
            .iter()
            .map(number)
            .filter(|&number| number >= 0)
            .collect()
    }

    #[test]
    fn a_call_that_is_not_needed_ends_the_process() {
        let program = program();
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
        for number in numbers(&[ALLOWED, ALLOWED_WITHOUT_EXEC].concat()) {
            let got = verdict(&program, &call(number, libc::PROT_READ));
            assert_eq!(got, libc::SECCOMP_RET_ALLOW, "call {number}");
        }
    }

    #[test]
    fn no_memory_becomes_executable() {
        let program = program();
        let numbers = numbers(ALLOWED_WITHOUT_EXEC);
        assert!(numbers.len() >= 2, "{numbers:?}");
        for number in numbers {
            let got = verdict(&program, &call(number, libc::PROT_READ | libc::PROT_EXEC));
            assert_eq!(got, libc::SECCOMP_RET_KILL_PROCESS, "call {number}");
        }
    }

    #[test]
    fn a_call_in_the_way_of_another_architecture_ends_the_process() {
        let mut data = call(libc::SYS_close, 0);
        data[1] = 0x4000_0003; // i386
        assert_eq!(verdict(&program(), &data), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
