//! The store against a model, against damage, against other processes and against bad folders.

mod bad_days;
mod bounds;
mod damage;
mod fault_layer;
mod faults;
mod faults_import;
mod forged;
mod kills;
mod layers;
mod maintenance;
mod model;
mod pages;
mod permissions;
mod processes;
mod records;
mod set_aside;
mod state_machine;
mod threads;
mod warnings;
