//! The web gateway: host names for the outside, each with one or more containers behind it.
//!
//! The proxy is Caddy, the distribution's. What it is to do is computed whole from `gateway.json` and the containers'
//! addresses (`caddy.rs`), so there is no second truth: the file is changed and Caddy is given the new configuration, under the
//! gateway's lock.
//!
//! ```text
//! publish, unpublish ─► Sites (gateway.json) ─┐
//! rename, removal, a new address ─────────────┴─► configuration ─► POST /load on Caddy's socket, if it runs
//! run ────────────────────────────────────────┴─► caddy.json    ─► becomes `caddy run`
//! ```
//!
//! Whether a gateway runs is what the identity of its process says (`process.json`), which stays the same from `appc gateway
//! run` to Caddy. One that is still starting is waited for, so no change falls between the file that Caddy has read and the
//! socket on which it listens.
//!
//! Where nothing is published there is no file, and following the containers costs a look for it.

mod apply;
mod caddy;
mod certificate;
mod error;
mod follow;
mod fqdn;
mod health;
mod load;
mod port;
mod process;
mod program;
mod sites;
mod upstream;

pub(crate) use apply::{Applied, apply, apply_checked, is_served, reapply, refuse_running};
pub use certificate::{AcmeOptions, CertificateFiles, DirectoryUrl, Email, InvalidDirectoryUrl, InvalidEmail, Tls};
pub use error::GatewayError;
pub use follow::refresh;
pub(crate) use follow::{forget, rename};
pub use fqdn::{Fqdn, InvalidFqdn};
pub use health::{HealthPath, InvalidHealthPath};
pub(crate) use program::become_caddy;
pub use sites::Site;
pub(crate) use sites::Sites;
pub use upstream::{InvalidUpstream, Upstream, UpstreamPattern};
