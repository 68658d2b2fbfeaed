//! What all fuzz targets have in common: they count memory, and hand the bytes over.

#[doc(hidden)]
pub use libfuzzer_sys;
#[doc(hidden)]
pub use tests::fuzz::{Heap, target};

/// The program that fuzzes the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        #[global_allocator]
        static HEAP: $crate::Heap = $crate::Heap {};

        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            static RUN: std::sync::LazyLock<fn(&[u8])> =
                std::sync::LazyLock::new(|| $crate::target($name).run);
            RUN(data);
        });
    };
}
