//! The app file, `appc.toml`: a program's image and container, described beside the program. `docs/appc.toml.md` is its
//! reference, `docs/appc.schema.json` its JSON Schema.
//!
//! [`AppFile`] is what the file says; [`Service::build`](crate::Service::build) makes an image of it,
//! [`Service::up`](crate::Service::up) a container of that. Steps run in a container, and what each of them writes is a
//! layer. The cache (`build-cache/` in the state directory) remembers which layer came of which step on which layers; it is
//! believed only where the layer is there and is what its name says.

mod app_file;
mod apply;
mod builder;
mod cache;
mod context;
mod copy;
mod error;
mod hashes;
mod health;
mod ignore;
mod key;
mod parse;
mod room;
mod section;
mod text;
mod up;

pub use app_file::{AppFile, Copy, FileMode, InvalidMode, Step, StepNetwork};
pub use builder::{BuildOptions, Built, BuiltStep, DEFAULT_SOURCE_DATE_EPOCH};
pub(crate) use cache::{BuildCache, UNUSED_FOR};
pub use error::BuildError;
pub use health::HealthSection;
pub use parse::AppFileError;
pub(crate) use room::sweep;
pub use section::{ContainerSection, WaitFor};
pub use text::{AllowRule, BindMount, InvalidAllow, InvalidProvider, InvalidTime, Provider, Text, Time, VolumeMount};
pub use up::{Up, UpAction, UpOptions};
