//! JSON contract.
