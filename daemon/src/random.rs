//! Random bytes of the kernel.

/// Random bytes that nobody can guess. The kernel has them from early boot. Without them no key, token or operation ID
/// would be safe, so wharfd aborts.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}
