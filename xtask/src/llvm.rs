//! The backends of LLVM and clang, which the default build leaves out: their features, by name, since the
//! versions of LLVM exclude each other.

use crate::packages::is_installed;
use crate::steps::Steps;
use crate::workspace::{BIN_DIR, target_folder};
use anyhow::Result;
use xshell::{Shell, cmd};

/// Features that are built together.
struct FeatureSet {
    package: &'static str,
    features: &'static str,
    /// What has to be there to build them.
    needs: Option<Llvm>,
}

/// A version of LLVM.
#[derive(Clone, Copy)]
struct Llvm {
    config: &'static str,
    /// By which llvm-sys finds it.
    variable: &'static str,
    package: &'static str,
}

const LLVM_22: Llvm = Llvm {
    config: "llvm-config-22",
    variable: "LLVM_SYS_221_PREFIX",
    package: "llvm-22-dev",
};

const LLVM_19: Llvm = Llvm {
    config: "llvm-config-19",
    variable: "LLVM_SYS_191_PREFIX",
    package: "llvm-19-dev",
};

const LLVM_16: Llvm = Llvm {
    config: "llvm-config-16",
    variable: "LLVM_SYS_160_PREFIX",
    package: "llvm-16-dev",
};

const LLVM_15: Llvm = Llvm {
    config: "llvm-config-15",
    variable: "LLVM_SYS_150_PREFIX",
    package: "llvm-15-dev",
};

const LLVM_14: Llvm = Llvm {
    config: "llvm-config-14",
    variable: "LLVM_SYS_140_PREFIX",
    package: "llvm-14-dev",
};

/// Programs of which ember's tests want one.
const CLANGS: [&str; 2] = ["clang++-22", "clang++"];

const BACKEND: &str = "rekindle-backend-llvm";

const HOOKS: &str = "rekindle-runtime-hooks";
const EMBER: &str = "ember";

const SETS: &[FeatureSet] = &[
    FeatureSet {
        package: HOOKS,
        features: "llvm,clang",
        needs: Some(LLVM_22),
    },
    FeatureSet {
        package: EMBER,
        features: "llvm,clang",
        needs: Some(LLVM_22),
    },
    FeatureSet {
        package: EMBER,
        features: "clang",
        needs: None,
    },
    FeatureSet {
        package: BACKEND,
        features: "clang",
        needs: None,
    },
    FeatureSet {
        package: BACKEND,
        features: "ir",
        needs: Some(LLVM_22),
    },
    FeatureSet {
        package: BACKEND,
        features: "ir-llvm19",
        needs: Some(LLVM_19),
    },
    FeatureSet {
        package: BACKEND,
        features: "ir-llvm16",
        needs: Some(LLVM_16),
    },
    FeatureSet {
        package: BACKEND,
        features: "ir-llvm15",
        needs: Some(LLVM_15),
    },
    FeatureSet {
        package: BACKEND,
        features: "ir-llvm14",
        needs: Some(LLVM_14),
    },
];

/// Checks that clippy has nothing to say of them.
pub(crate) fn clippy(steps: &mut Steps) -> Result<()> {
    each(steps, "clippy of LLVM and clang", |shell, set| {
        let FeatureSet {
            package, features, ..
        } = set;
        Ok(cmd!(
            shell,
            "cargo clippy --package {package} --features {features} --all-targets -- -D warnings"
        )
        .run()?)
    })
}

/// Checks that their documentation builds.
pub(crate) fn doc(steps: &mut Steps) -> Result<()> {
    each(steps, "documentation of LLVM and clang", |shell, set| {
        let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
        let FeatureSet {
            package, features, ..
        } = set;
        Ok(cmd!(
            shell,
            "cargo doc --no-deps --package {package} --features {features}"
        )
        .run()?)
    })
}

/// Runs their tests.
pub(crate) fn test(steps: &mut Steps) -> Result<()> {
    each(steps, "test LLVM and clang", |shell, set| {
        let FeatureSet {
            package, features, ..
        } = set;
        Ok(cmd!(
            shell,
            "cargo test --package {package} --features {features}"
        )
        .run()?)
    })?;
    // The binary that is last built stays, so this is last.
    steps.step("test ember on LLVM and clang", |shell| {
        let (features, backends) = match is_installed(LLVM_22.config) {
            true => ("llvm,clang", "cranelift,llvm,clang"),
            false => {
                eprintln!(
                    "   left out: ember on LLVM, as {} is not installed",
                    LLVM_22.package
                );
                ("clang", "cranelift,clang")
            }
        };
        if !CLANGS.iter().any(|name| is_installed(name)) {
            eprintln!("   left out: ember on clang, which is not installed");
            return Ok(());
        }
        cmd!(shell, "cargo build --package ember --features {features}").run()?;
        let _binaries = shell.push_env(BIN_DIR, target_folder(shell)?.join("debug"));
        let _backends = shell.push_env("REKINDLE_BACKENDS", backends);
        Ok(cmd!(
            shell,
            "cargo test --package rekindle-tests --test backends --test cpp --test tiers"
        )
        .run()?)
    })
}

/// Does `task` with each set that can be built here, and names the others.
fn each(
    steps: &mut Steps,
    name: &'static str,
    task: impl Fn(&Shell, &FeatureSet) -> Result<()>,
) -> Result<()> {
    steps.step(name, |shell| {
        for set in SETS {
            let Some(llvm) = set.needs else {
                task(shell, set)?;
                continue;
            };
            let FeatureSet {
                package, features, ..
            } = set;
            if !is_installed(llvm.config) {
                let missing = llvm.package;
                eprintln!("   left out: {package} with {features}, as {missing} is not installed");
                continue;
            }
            let config = llvm.config;
            let prefix = cmd!(shell, "{config} --prefix").quiet().read()?;
            let _prefix = shell.push_env(llvm.variable, prefix.trim());
            task(shell, set)?;
        }
        Ok(())
    })
}
