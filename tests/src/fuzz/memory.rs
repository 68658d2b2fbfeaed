//! How much memory a piece of work takes.

/// The allocator that counts. Fuzzers and their test make it the global one; where it is not, the
/// figures are 0 and nothing is checked.
pub type Heap = peak_alloc::PeakAlloc;

const HEAP: Heap = peak_alloc::PeakAlloc;

/// What small results and texts of errors may take, whatever came.
const CONSTANT: usize = 16 << 10;

/// The value of `work`, which may have at most `factor` times `len` bytes, and a constant, allocated at
/// one time. [F-8]
pub(super) fn bounded<T>(len: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let value = work();
    let used = HEAP.peak_usage().saturating_sub(before);
    assert!(used <= factor * len + CONSTANT, "{len} bytes came, {used} bytes of memory taken");
    value
}
