//! A program at one moment of its history, with all of the outside that it looks at.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// The program's main file.
pub const MAIN: &str = "program.em";

/// The environment variable that programs look at.
pub const VARIABLE: &str = "EMBER_TEST_SETTING";

/// Files, data and a variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    /// Whether its names are few, and defined over and over.
    pub is_dense: bool,
    /// How many names each file defines.
    pub ranks: usize,
    /// Each file's top-level forms and comments, in order.
    pub files: BTreeMap<String, Vec<String>>,
    /// What lies beside the program; a file may be absent.
    pub data: BTreeMap<String, Option<String>>,
    /// The value of [`VARIABLE`], if it is set.
    pub setting: Option<String>,
}

impl Scene {
    /// A file's text.
    pub fn text(forms: &[String]) -> String {
        let mut text = forms.join("\n");
        text.push('\n');
        text
    }
}

impl Display for Scene {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (name, forms) in &self.files {
            writeln!(out, "--- {name}\n{}", Scene::text(forms).trim_end())?;
        }
        for (name, content) in &self.data {
            writeln!(out, "--- {name}: {content:?}")?;
        }
        match &self.setting {
            Some(setting) => writeln!(out, "--- {VARIABLE}={setting:?}"),
            None => Ok(()),
        }
    }
}
