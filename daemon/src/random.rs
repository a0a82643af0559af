//! Random bytes of the kernel.

/// Random bytes for keys, tokens and operation IDs. The kernel has them from early boot. If that fails, wharfd aborts:
/// guessable bytes would not be safe.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}
