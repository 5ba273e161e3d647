//! `eval_def` with the real compiler, loader and store.

#![cfg(feature = "cranelift")]

mod crowd;
mod dependencies;
mod environments;
mod evaluation;
mod explaining;
mod modes;
mod sums;
