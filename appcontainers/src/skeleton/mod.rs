//! Files that containers get from the host when they are made and when they start, some of them
//! templates. Ours are in `skeletons/default`, the user's in `skeletons/user` go over them.
//!
//! This renders to memory. Who puts the files where: `provision` and `load` go into the container
//! through its agent, `start` is bind-mounted at each start.

mod defaults;
mod find;
mod template;
mod tree;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    Hostname, Paths,
    network::{PoolSettings, Reservation},
};

pub use defaults::install_defaults;
pub use find::SkeletonError;
pub(crate) use tree::{TreeFile, tree};

/// When files are put into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is made from a base.
    Provision,
    /// It is made from an image.
    Load,
    /// It starts.
    Start,
}

impl Phase {
    /// All, in the order in which they come.
    pub const ALL: [Phase; 3] = [Phase::Provision, Phase::Load, Phase::Start];

    /// The name of its directory.
    pub fn directory(self) -> &'static str {
        match self {
            Phase::Provision => "provision",
            Phase::Load => "load",
            Phase::Start => "start",
        }
    }
}

/// A file for a container.
///
/// # Examples
///
/// ```
/// use appcontainers::skeleton::{RenderedFile, to_tar};
///
/// let file = RenderedFile { path: "etc/motd".into(), mode: 0o644, bytes: b"hello\n".to_vec() };
/// let tar = to_tar(&[file])?;
/// assert!(tar.starts_with(b"etc/motd\0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Its path in the container, without the leading `/`; never with `..`.
    pub path: PathBuf,
    /// Its permissions, at most 0777.
    pub mode: u32,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What a template knows as `reservation`.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{
///     Hostname, Paths,
///     network::Reservations,
///     skeleton::{self, Phase, SkeletonContext},
/// };
///
/// let paths = Paths::from_env()?;
/// let reservations = Reservations::read(&paths)?;
/// let web = reservations.get(&"web".parse()?).expect("a container web");
/// let context = SkeletonContext::new(&web, reservations.settings(), &Hostname::of(&web.name));
/// for file in skeleton::render(&paths, Phase::Start, &context)? {
///     println!("/{} {:o}, {} bytes", file.path.display(), file.mode, file.bytes.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkeletonContext {
    name: String,
    hostname: String,
    ip: String,
    mac: String,
    gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway6: Option<String>,
    subnet: String,
    privileged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_base: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_count: Option<u32>,
}

impl SkeletonContext {
    /// What there is to know about a container.
    pub fn new(reservation: &Reservation, settings: &PoolSettings, hostname: &Hostname) -> Self {
        Self {
            name: reservation.name.to_string(),
            hostname: hostname.to_string(),
            ip: reservation.ip.to_string(),
            mac: reservation.mac.to_string(),
            gateway: settings.gateway.to_string(),
            ip6: settings.addresses(reservation.ip).v6.map(|address| address.to_string()),
            gateway6: settings.addresses(settings.gateway).v6.map(|address| address.to_string()),
            subnet: settings.subnet.to_string(),
            privileged: reservation.id_range.is_none(),
            id_base: reservation.id_range.map(|range| range.base()),
            id_count: reservation.id_range.map(|range| range.count()),
        }
    }
}

/// The files of one phase, sorted by path.
pub fn render(paths: &Paths, phase: Phase, context: &SkeletonContext) -> Result<Vec<RenderedFile>, SkeletonError> {
    let renderer = template::Renderer::new(context);
    find::find(paths, phase)?
        .into_iter()
        .map(|(path, source)| {
            let bytes = find::read(&source.path)?;
            let bytes = if source.is_template { renderer.render(&source.path, bytes)? } else { bytes };
            Ok(RenderedFile { path, mode: source.mode, bytes })
        })
        .collect()
}

/// The files as a tar stream, owned by root; nothing in it but files.
pub fn to_tar(files: &[RenderedFile]) -> Result<Vec<u8>, SkeletonError> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(file.bytes.len() as u64);
        let pack = |source| SkeletonError::Pack { path: file.path.clone(), source };
        archive.append_data(&mut header, &file.path, file.bytes.as_slice()).map_err(pack)?;
    }
    archive.into_inner().map_err(|source| SkeletonError::Pack { path: PathBuf::new(), source })
}

#[cfg(test)]
mod tests;
