//! Peers that are not here, so that whoever reads the table knows which rows it lacks.

use std::{collections::BTreeSet, env, fmt};

/// The programs that were looked for in vain, each with its Debian package.
#[derive(Debug, Default)]
pub(crate) struct Missing(BTreeSet<(&'static str, &'static str)>);

impl Missing {
    /// Whether `program` is on `PATH`; one that is not is noted.
    pub(crate) fn has(&mut self, program: &'static str, package: &'static str) -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).any(|directory| directory.join(program).is_file());
        if !found {
            self.0.insert((program, package));
        }
        found
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "All peers were there.");
        }
        write!(f, "Not here, so their rows are left out:")?;
        self.0.iter().try_for_each(|(program, package)| write!(f, " {program} (apt-get install {package});"))
    }
}
