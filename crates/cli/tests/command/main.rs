//! The command as users and scripts run it: the real binary, on real folders.

mod bundles;
mod cache;
mod changes;
mod doctor;
mod looks;
mod report;
mod surroundings;
