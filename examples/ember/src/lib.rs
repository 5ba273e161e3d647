//! Ember: a small Clojure-like language on the Rekindle code cache.

pub mod compiler;
pub mod context;
pub mod error;
pub mod namespace;
pub mod natives;
pub mod number;
pub mod reader;
pub mod report;
pub mod runtime;
pub mod value;
pub mod vm;
