//! Why an image can't be built.

use std::{io, path::PathBuf};

use appcontainers_wire::ExitStatus;

use crate::{ContainerName, image::pack::PackError};

/// Why an image can't be built, or its container not be brought up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A step's command failed.
    #[error("{}:{line}: step {number} of {count} {}: {what}", path.display(), ended(*status))]
    StepFailed {
        /// The app file.
        path: PathBuf,
        /// The line at which the step begins.
        line: usize,
        /// Which step, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// The step, in a line.
        what: String,
        /// How its command ended.
        status: ExitStatus,
    },
    /// A step could not be done.
    #[error("{}:{line}: step {number} of {count}: {what}", path.display())]
    Step {
        /// The app file.
        path: PathBuf,
        /// The line at which the step begins.
        line: usize,
        /// Which step, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// The step, in a line.
        what: String,
        /// Why not.
        #[source]
        source: Box<crate::Error>,
    },
    /// What is to be copied can't be read.
    #[error("cannot copy {}", path.display())]
    Source {
        /// What.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What is to be copied can't be looked through.
    #[error("cannot copy {}", path.display())]
    Walk {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: PackError,
    },
    /// Neither a file, nor a directory, nor a link.
    #[error("cannot copy {}: it is neither a file, nor a directory, nor a symbolic link; leave it out with `ignore`", path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// It was written to while it was read.
    #[error("{} was changed while it was copied; build again", path.display())]
    Changed {
        /// What.
        path: PathBuf,
    },
    /// Neither the file nor its directory gives a name.
    #[error("{} has no `name`, and that of its directory can't be an image's: add name = \"NAME\"", path.display())]
    NoName {
        /// The app file.
        path: PathBuf,
    },
    /// More layers than an image can have.
    #[error("the image would have {count} layers, {} are possible: do more in one step", crate::image::MAX_LAYERS)]
    TooManyLayers {
        /// How many.
        count: usize,
    },
    /// A signal came between two steps.
    #[error("interrupted; what was built so far is kept for the next time")]
    Interrupted,
    /// The container's name is another's.
    #[error(
        "there is a container {name} that `appc up` has not made from {}: remove it (appc rm {name}), or name another: container.name",
        path.display()
    )]
    NotOurs {
        /// The name.
        name: ContainerName,
        /// The app file.
        path: PathBuf,
    },
    /// What a container can't change once it is there.
    #[error("container {name} is there, and {what} can't be changed any more: `appc down` first, which removes it")]
    Fixed {
        /// The container.
        name: ContainerName,
        /// Which key.
        what: &'static str,
    },
}

fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("failed with exit code {code}"),
        ExitStatus::Signal(signal) => format!("was ended by signal {signal}"),
    }
}
