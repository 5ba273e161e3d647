//! `eval_def` with the real compiler, loader and store.

#![cfg(feature = "cranelift")]

mod children;
mod crowd;
mod deaths;
mod dependencies;
mod environments;
mod evaluation;
mod explaining;
mod faults;
mod improving;
mod improving_faults;
mod modes;
mod reading;
mod sharing;
mod statistics;
mod sums;
mod tiers;
mod verifying;
mod warming;
