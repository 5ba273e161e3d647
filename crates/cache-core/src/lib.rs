//! Keys, metadata, the four traits and the store of the Rekindle code cache.
//!
//! This crate knows no object format and runs no code. It has two halves that do not look into each
//! other: [`artifact`] holds the traits by which backends and loaders are joined, and [`store`] keeps
//! what they made. [`key`] and [`metadata`] are the vocabulary of both.
//!
//! ```
//! use rekindle_cache_core::Digest;
//! use rekindle_cache_core::artifact::{Hasher, Image};
//! use rekindle_cache_core::key::{Definition, Environment};
//! use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
//! use rekindle_cache_core::store::{Found, MemoryStore, NewRecord, Provenance, Store};
//! use std::ops::ControlFlow;
//!
//! let environment = Environment::new("x86_64-unknown-linux-gnu").finish();
//! let definition = Definition { name: "user/one", text: "(def one 1)", context: "user" };
//! let key = environment.form_key(&definition);
//!
//! // What a compiler and a loader made of it:
//! let image = Image::new(b"machine code, linked".to_vec());
//! let unit = Digest::of("example", b"the unit");
//! let metadata = Metadata {
//!     manifest: Manifest {
//!         object_key: environment.object_key(&unit, &[]).0.0,
//!         ..Manifest::default()
//!     },
//!     entry: Entry {
//!         name: definition.name.to_owned(),
//!         factory: "factory".to_owned(),
//!         image_checksum: image.checksum,
//!         compile_ns: 75_000,
//!         ..Entry::default()
//!     },
//! };
//! let store = MemoryStore::new();
//! store.put(NewRecord {
//!     key,
//!     metadata: &metadata,
//!     image: image.as_ref(),
//!     provenance: Provenance::OWN,
//! })?;
//!
//! // Another evaluation of the same text finds it, without reading the text.
//! let mut found = None;
//! store.get(&environment.form_key(&definition), &mut |candidate| {
//!     if let Found::Record(record) = candidate {
//!         found = Some(record.image.bytes.to_vec());
//!     }
//!     ControlFlow::Break(())
//! });
//! assert_eq!(found, Some(image.bytes));
//! # Ok::<(), rekindle_cache_core::store::StoreError>(())
//! ```

pub mod artifact;
pub mod bundle;
pub mod digest;
pub mod folder;
pub mod fork;
pub mod history;
pub mod journal;
pub mod key;
pub mod latency;
pub mod lifetime;
pub mod metadata;
mod notes;
pub mod pages;
pub mod store;
pub mod timeline;

pub use digest::{Digest, DigestBuilder, checksum, copy_with_checksum, symbol_hash};
