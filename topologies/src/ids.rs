//! Opaque identifiers: dense `u32` indices that never mix and carry no arithmetic.

/// Declares an identifier type: a `u32` index into one dense `Vec`.
///
/// `index()` is the position; identifiers are made only by whoever owns the `Vec`.
#[macro_export]
macro_rules! define_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The identifier of position `index`.
            ///
            /// # Panics
            /// If `index` does not fit in 32 bits: no model or machine comes near that size.
            #[must_use]
            pub const fn new(index: usize) -> Self {
                assert!(index <= u32::MAX as usize, "an index fits in 32 bits");
                Self(index as u32)
            }

            /// The position in the owning `Vec`.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, "{}{}", $prefix, self.0)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, "{}{}", $prefix, self.0)
            }
        }
    };
}

define_id!(
    /// A GPU of a machine. `DeviceId` 0 is the first GPU the machine file lists.
    DeviceId,
    "gpu"
);
define_id!(
    /// A directed link of a machine.
    LinkId,
    "link"
);
