//! Writes programs: a handful of features each, with numbers and shapes drawn from a seed.
//!
//! A feature is a piece of source with a function `feature_N`, which prints what it found. Nothing
//! that is printed depends on addresses, time or the order of threads, so that two ways of running a
//! program can be compared.

// Each test program uses a part of this.
#![allow(dead_code)]

use crate::c_features::C_FEATURES;
use crate::cpp_features::CPP_FEATURES;
use crate::random::Random;

/// The languages that programs are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cpp,
}

/// A program, and what it needs.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) language: Language,
    pub(crate) source: String,
}

/// A feature's source: templates are filled in by [`fill`].
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    /// What it includes beside `<stdio.h>`.
    pub(crate) headers: &'static [&'static str],
    pub(crate) write: fn(&mut Random) -> String,
}

/// The program of `seed`. Odd seeds give C++.
pub(crate) fn program(seed: u64) -> Program {
    let mut random = Random::new(seed);
    let language = match seed % 2 {
        0 => Language::C,
        _ => Language::Cpp,
    };
    let mut features: Vec<&Feature> = Vec::new();
    // The first of each kind goes round, so that any run of seeds covers all features.
    let turn = (seed / 2) as usize;
    match language {
        Language::C => {
            features.push(&C_FEATURES[turn % C_FEATURES.len()]);
            features.extend(random.choose(C_FEATURES, 6));
        }
        Language::Cpp => {
            features.push(&CPP_FEATURES[turn % CPP_FEATURES.len()]);
            features.extend(random.choose(CPP_FEATURES, 4));
            features.extend(random.choose(C_FEATURES, 2));
        }
    }
    let source = write(&features, &mut random, language);
    let ending = match language {
        Language::C => "c",
        Language::Cpp => "cpp",
    };
    Program {
        name: format!("program-{seed}.{ending}"),
        language,
        source,
    }
}

/// A program for each feature of a language, called like it.
pub(crate) fn single(language: Language) -> Vec<Program> {
    let (features, ending) = match language {
        Language::C => (C_FEATURES, "c"),
        Language::Cpp => (CPP_FEATURES, "cpp"),
    };
    let program = |feature: &Feature| Program {
        name: format!("{}.{ending}", feature.name),
        language,
        source: write(&[feature], &mut Random::new(1), language),
    };
    features.iter().map(program).collect()
}

fn write(features: &[&Feature], random: &mut Random, language: Language) -> String {
    let mut headers: Vec<&str> = features
        .iter()
        .flat_map(|feature| feature.headers)
        .copied()
        .collect();
    headers.extend(["stdio.h", "stdlib.h"]);
    headers.sort_unstable();
    headers.dedup();
    let mut source = "#define _GNU_SOURCE 1\n".to_owned();
    if language == Language::Cpp {
        // The C++ compilers define it themselves.
        source.clear();
    }
    for header in headers {
        source += &format!("#include <{header}>\n");
    }
    let mut calls = String::new();
    for (number, feature) in features.iter().enumerate() {
        let code = (feature.write)(random).replace('@', &number.to_string());
        source += &format!("\n/* feature: {} */\n{code}\n", feature.name);
        calls += &format!(
            "    printf(\"-- {}\\n\"); feature_{number}();\n",
            feature.name
        );
    }
    let status = random.within(0, 119);
    let last = match random.one_in(3) {
        true => format!("exit({status});"),
        false => format!("return {status};"),
    };
    source += &format!(
        "\nint main(int argc, char **argv) {{
    printf(\"%d arguments, the last is %s\\n\", argc - 1, argv[argc - 1]);
{calls}    {last}
}}\n"
    );
    source
}

/// Puts random numbers in a template: `$s` becomes one of 1 to 9, `$m` of 10 to 99, `$l` of 1,000 to
/// a million, `$x` an odd one of 32 bits. `@` stays, for the feature's number.
pub(crate) fn fill(random: &mut Random, template: &str) -> String {
    let mut parts = template.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        let number = match letters.next() {
            Some('s') => random.within(1, 9),
            Some('m') => random.within(10, 99),
            Some('l') => random.within(1_000, 1_000_000),
            Some('x') => random.within(0, u32::MAX.into()) | 1,
            other => unreachable!("no such placeholder: {other:?}"),
        };
        filled += &format!("{number}");
        filled += letters.as_str();
    }
    filled
}
