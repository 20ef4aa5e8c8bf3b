//! Theorems first, then worked examples.
