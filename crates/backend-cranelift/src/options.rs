//! The options of the code generator, and the target they lead to.

use crate::error::Error;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable, Flags, SetError};

/// Flags that this backend sets by itself, and why they are not the caller's.
const RESERVED: &[(&str, &str)] = &[
    (
        "is_pic",
        "objects are position-independent and code in the JIT is not",
    ),
    (
        "use_colocated_libcalls",
        "routines of the host are reached through slots",
    ),
    ("opt_level", "`Options::opt_level` sets it"),
    ("unwind_info", "`Options::unwind_tables` sets it"),
    ("enable_verifier", "`Options::verify` sets it"),
];

/// How much Cranelift optimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Fast code.
    Speed,
    /// Fast code that is also small.
    SpeedAndSize,
}

/// Which CPU the code may run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cpu {
    /// This machine's, with every feature that Cranelift finds and uses.
    Native,
    /// Any of this architecture: no optional features, so the code moves between machines.
    Baseline,
}

/// What a compiler is made with: by default, for optimised code for this machine's CPU, with unwind
/// tables and a section for each function.
///
/// Bodies are verified in builds with debug assertions. Without the verifier, CLIF that is wrong in
/// itself may panic inside Cranelift or give wrong code.
///
/// ```
/// use rekindle_backend_cranelift::{CraneliftCompiler, Options};
///
/// let options = Options::default().flag("preserve_frame_pointers", "true");
/// let compiler = CraneliftCompiler::new(&options)?;
/// let plain = CraneliftCompiler::native()?;
/// # use rekindle_cache_core::artifact::Compiler;
/// assert_ne!(compiler.fingerprint(), plain.fingerprint());
/// # Ok::<(), rekindle_backend_cranelift::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub(crate) opt_level: OptLevel,
    pub(crate) cpu: Cpu,
    pub(crate) unwind_tables: bool,
    pub(crate) verify: bool,
    pub(crate) section_per_symbol: bool,
    flags: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            opt_level: OptLevel::Speed,
            cpu: Cpu::Native,
            unwind_tables: true,
            verify: cfg!(debug_assertions),
            section_per_symbol: true,
            flags: Vec::new(),
        }
    }
}

impl Options {
    /// How much to optimise.
    #[must_use]
    pub fn opt_level(mut self, level: OptLevel) -> Self {
        self.opt_level = level;
        self
    }

    /// Which CPU the code may run on.
    #[must_use]
    pub fn cpu(mut self, cpu: Cpu) -> Self {
        self.cpu = cpu;
        self
    }

    /// Whether objects carry unwind tables, so that exceptions and panics cross their frames.
    #[must_use]
    pub fn unwind_tables(mut self, on: bool) -> Self {
        self.unwind_tables = on;
        self
    }

    /// Whether every body is verified before it is compiled. It does not change the code.
    #[must_use]
    pub fn verify(mut self, on: bool) -> Self {
        self.verify = on;
        self
    }

    /// Whether each function and data object has a section of its own, as by default, so that a loader
    /// leaves out those that its roots do not reach. It costs the object some 80 bytes for each.
    #[must_use]
    pub fn section_per_symbol(mut self, on: bool) -> Self {
        self.section_per_symbol = on;
        self
    }

    /// Sets a flag of Cranelift's by name: a shared one such as `preserve_frame_pointers`, or one of
    /// the target's such as `has_avx2`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The target of these options: position-independent, or with absolute addresses for the JIT.
    pub(crate) fn isa(&self, position_independent: bool) -> Result<OwnedTargetIsa, Error> {
        let host = |reason: &str| Error::Host {
            reason: reason.to_owned(),
        };
        let mut shared = settings::builder();
        let mut target =
            cranelift_native::builder_with_options(self.cpu == Cpu::Native).map_err(host)?;

        let opt_level = match self.opt_level {
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed_and_size",
        };
        let own = [
            ("is_pic", truth(position_independent)),
            ("use_colocated_libcalls", "false"),
            ("opt_level", opt_level),
            ("unwind_info", truth(self.unwind_tables)),
            ("enable_verifier", truth(self.verify)),
            // Frames larger than a page touch each page in turn, so that running out of stack meets
            // the guard page and not what lies behind it.
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
        ];
        for (name, value) in own {
            shared
                .set(name, value)
                .map_err(|error| refused(name, value, &error))?;
        }
        for (name, value) in &self.flags {
            if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
                return Err(Error::Flag {
                    flag: name.clone(),
                    value: value.clone(),
                    reason: (*reason).to_owned(),
                });
            }
            match shared.set(name, value) {
                Err(SetError::BadName(_)) => target.set(name, value),
                other => other,
            }
            .map_err(|error| refused(name, value, &error))?;
        }
        target
            .finish(Flags::new(shared))
            .map_err(|error| host(&error.to_string()))
    }
}

fn truth(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}

fn refused(flag: &str, value: &str, error: &SetError) -> Error {
    Error::Flag {
        flag: flag.to_owned(),
        value: value.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_both_sorts_are_set() {
        let isa = Options::default()
            .cpu(Cpu::Baseline)
            .flag("preserve_frame_pointers", "true")
            .isa(true)
            .unwrap();
        assert!(isa.flags().is_pic());
        assert!(isa.flags().preserve_frame_pointers());
        assert!(!Options::default().isa(false).unwrap().flags().is_pic());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_feature_can_be_required() {
        let options = Options::default()
            .cpu(Cpu::Baseline)
            .flag("has_sse41", "true");
        let isa = options.isa(true).unwrap();
        let flag = isa
            .isa_flags()
            .into_iter()
            .find(|flag| flag.name == "has_sse41");
        assert_eq!(flag.unwrap().as_bool(), Some(true));
    }

    #[test]
    fn bad_flags_are_named() {
        for (name, value) in [
            ("no_such_flag", "true"),
            ("preserve_frame_pointers", "maybe"),
        ] {
            let error = Options::default()
                .flag(name, value)
                .isa(true)
                .err()
                .unwrap();
            assert!(
                matches!(error, Error::Flag { ref flag, .. } if flag == name),
                "{error}"
            );
        }
        for (name, _) in RESERVED {
            let error = Options::default()
                .flag(name, "true")
                .isa(true)
                .err()
                .unwrap();
            assert!(
                matches!(error, Error::Flag { ref flag, .. } if flag == name),
                "{error}"
            );
        }
    }
}
