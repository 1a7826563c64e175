//! The way in: one installation's images and containers.

mod boot;
mod containers;
mod df;
mod events;
mod gateway;
mod gc;
mod images;
mod network;
mod secrets;
mod start;
mod stats;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    BootFile, Container, ContainerName, Error, Hostname, ImageName, NoProgress, OverlayKind, Paths, Progress,
    container::{DEFAULT_STOP_TIMEOUT, Linked, NewContainer, create, recover},
    doctor::{self, Check},
    image::{Kind, Manifest, Store, base::Recipe},
    network::{NetworkMode, Reservations, policy::Egress},
    record::Init,
    session,
    settings::Settings,
    setup::{self, Change, SetupOptions},
    skeleton::Phase,
    state::ContainerLock,
};

pub use boot::Outcome;
pub use containers::ListedContainer;
pub use df::{DiskUsage, UsagePart};
pub use gateway::{PublishSiteOptions, SiteDetails, UpstreamDetails};
pub use gc::Garbage;
pub use network::{
    ContainerNetwork, ContainerTraffic, HostNetworkDetails, NetworkMeter, NetworkSummary, NetworkUsage, RuleTraffic,
    TrafficRate,
};

/// The base that is provisioned unless another is named.
pub const DEFAULT_BASE: &str = "busybox";

/// One installation of app containers on this host.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use appcontainers::{ExitStatus, setup_service};
///
/// let service = setup_service()?;
/// let container = service.provision()?;
/// container.load_archive("app.tar.gz")?;
/// assert_eq!(container.run("./app/install")?, ExitStatus::Code(0));
/// container.save_image("app.aimg")?;
///
/// let guest = service.load_image("app.aimg", true)?;
/// guest.start()?;
/// println!("{} runs at {}", guest.name(), guest.details()?.ip);
/// guest.stop(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    paths: Paths,
}

/// What to provision.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{ProvisionOptions, setup_service};
///
/// let options = ProvisionOptions { name: Some("web".parse()?), hostname: Some("www".parse()?), ..Default::default() };
/// let web = setup_service()?.provision_with(&options)?;
/// assert_eq!(web.details()?.hostname.as_str(), "www");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProvisionOptions {
    /// The base; [`DEFAULT_BASE`], built if it is not there, if absent.
    pub base: Option<ImageName>,
    /// The container's name; made up if absent.
    pub name: Option<ContainerName>,
    /// The host name inside; the container's name if absent.
    pub hostname: Option<Hostname>,
    /// Without a user namespace: the container's root is the host's root, held back by capabilities alone.
    pub privileged: bool,
    /// It is started when the host boots ([`Service::start_all_marked`]).
    pub autostart: bool,
    /// What its process 1 is.
    pub init: Init,
    /// Where it may connect to outside ([`Container::set_egress`]).
    pub egress: Egress,
    /// How it is connected to the host.
    pub network: NetworkMode,
    /// What it is given beyond its image.
    pub settings: Settings,
    /// Files of the host's that it has before it starts for the first time.
    pub files: Vec<BootFile>,
    /// Variables for its commands, beside and over the base's ([`crate::environment::collect`]). They are part of what is saved
    /// of it as an image.
    pub env: BTreeMap<String, String>,
}

/// How to make a container from an image.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{ImageSource, LoadOptions, NoProgress, setup_service};
///
/// let options = LoadOptions { ephemeral: true, name: Some("guest".parse()?), ..Default::default() };
/// let guest = setup_service()?.load_image_with(&ImageSource::from("app.aimg"), &options, &NoProgress)?;
/// assert_eq!(guest.name().as_str(), "guest");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The container is gone after its first stop, with all that was written in it.
    pub ephemeral: bool,
    /// The container's name; made up if absent.
    pub name: Option<ContainerName>,
    /// Without a user namespace: the container's root is the host's root, held back by capabilities alone.
    pub privileged: bool,
    /// What its process 1 is.
    pub init: Init,
    /// Where it may connect to outside ([`Container::set_egress`]).
    pub egress: Egress,
    /// How it is connected to the host.
    pub network: NetworkMode,
    /// What it is given beyond its image.
    pub settings: Settings,
    /// Files of the host's that it has before it starts for the first time.
    pub files: Vec<BootFile>,
    /// Variables for its commands, beside and over the image's ([`crate::environment::collect`]).
    pub env: BTreeMap<String, String>,
}

/// Where an image is.
///
/// # Examples
///
/// ```
/// use appcontainers::ImageSource;
///
/// assert_eq!(ImageSource::from("app"), ImageSource::Name("app".parse()?));
/// assert_eq!(ImageSource::from("app.aimg"), ImageSource::File("app.aimg".into()));
/// assert_eq!(ImageSource::from("./app"), ImageSource::File("./app".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// In a file.
    File(PathBuf),
    /// In the store, as an image or a base.
    Name(ImageName),
}

impl From<&str> for ImageSource {
    /// A name, unless it ends with `.aimg` or can't be one.
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(name) if !text.ends_with(".aimg") => ImageSource::Name(name),
            _ => ImageSource::File(text.into()),
        }
    }
}

impl From<&Path> for ImageSource {
    fn from(path: &Path) -> Self {
        ImageSource::File(path.to_owned())
    }
}

impl From<PathBuf> for ImageSource {
    fn from(path: PathBuf) -> Self {
        ImageSource::File(path)
    }
}

/// The service of this host, set up if it was not, with a base to provision from: works offline.
pub fn setup_service() -> Result<Service, Error> {
    let service = Service::open(Paths::from_env()?);
    service.prepare()?;
    service.default_base()?;
    Ok(service)
}

impl Service {
    /// The service whose files are at `paths`. Touches nothing.
    pub fn open(paths: Paths) -> Self {
        Self { paths }
    }

    /// Where its files are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Makes a container from the default base, with a name of its own.
    pub fn provision(&self) -> Result<Container, Error> {
        self.provision_with(&ProvisionOptions::default())
    }

    /// Makes a container from a base. Sets the host up first where that was not done.
    pub fn provision_with(&self, options: &ProvisionOptions) -> Result<Container, Error> {
        self.prepare()?;
        let manifest = match &options.base {
            Some(name) => self.find_base(name)?,
            None => self.default_base()?,
        };
        let new = NewContainer {
            name: options.name.as_ref(),
            hostname: options.hostname.as_ref(),
            privileged: options.privileged,
            overlay: OverlayKind::Raw,
            autostart: options.autostart,
            for_build: false,
            app_file: None,
            init: options.init,
            network: options.network,
            settings: &options.settings,
            files: &options.files,
            env: &options.env,
            manifest: &manifest,
        };
        self.make(&new, Phase::Provision, &options.egress)
    }

    /// Makes a container from an image, which is added to the store if it is a file.
    pub fn load_image(&self, source: impl Into<ImageSource>, ephemeral: bool) -> Result<Container, Error> {
        self.load_image_with(&source.into(), &LoadOptions { ephemeral, ..LoadOptions::default() }, &NoProgress)
    }

    /// As [`Service::load_image`], with more to choose.
    pub fn load_image_with(
        &self,
        source: &ImageSource,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Container, Error> {
        self.prepare()?;
        let _in_use = self.store().keep_layers()?;
        let manifest = match source {
            ImageSource::File(path) => self.store().load(path, progress)?.manifest,
            ImageSource::Name(name) => self.find_image(name)?,
        };
        let new = NewContainer {
            name: options.name.as_ref(),
            hostname: None,
            privileged: options.privileged,
            overlay: if options.ephemeral { OverlayKind::Tmp } else { OverlayKind::Raw },
            autostart: false,
            for_build: false,
            app_file: None,
            init: options.init,
            network: options.network,
            settings: &options.settings,
            files: &options.files,
            env: &options.env,
            manifest: &manifest,
        };
        self.make(&new, Phase::Load, &options.egress)
    }

    /// A container by name.
    pub fn container(&self, name: &ContainerName) -> Result<Container, Error> {
        Container::open(&self.paths, name)
    }

    /// The container that this session's commands are for unless they name another; none if it is gone.
    pub fn current_container(&self) -> Result<Option<ContainerName>, Error> {
        let current = session::current_container(&self.paths)?;
        Ok(current.filter(|name| self.container(name).is_ok()))
    }

    /// Makes a container this session's current one.
    pub fn set_current_container(&self, name: &ContainerName) -> Result<(), Error> {
        Ok(session::set_current_container(&self.paths, name)?)
    }

    pub(crate) fn make(&self, new: &NewContainer<'_>, phase: Phase, egress: &Egress) -> Result<Container, Error> {
        let _in_use = self.store().keep_layers()?;
        self.store().check_layers(new.manifest)?;
        let container = create(&self.paths, new, phase)?;
        // Nothing has run in it that could have connected anywhere.
        if !egress.is_all()
            && let Err(error) = container.set_egress(egress.clone())
        {
            if let Err(undo) = container.clone().remove(true) {
                tracing::warn!(name = %container.name(), %undo, "cannot undo the making of a container");
            }
            return Err(error);
        }
        Ok(container)
    }

    /// The links of all containers.
    pub fn links(&self) -> Result<Vec<Linked>, Error> {
        let mut links = Vec::new();
        for record in self.records()? {
            links.extend(self.container(&record.name)?.links()?);
        }
        Ok(links)
    }

    /// Sets the host up: directories, subordinate ids, skeletons, network. Says what it changed; nothing if there was
    /// nothing to do.
    pub fn set_up(&self, options: &SetupOptions) -> Result<Vec<Change>, Error> {
        let changes = setup::set_up(&self.paths, options)?;
        self.restore_egress(&changes)?;
        Ok(changes)
    }

    /// Brings back what was deleted of the containers' network, or left half done by a killed command, since it was set up;
    /// nothing where it was not since the host's boot (the next start does), and for others than root. A few system calls where
    /// nothing is missing: `appc` does it before every command.
    pub fn restore_network(&self) -> Result<Vec<Change>, Error> {
        let changes = setup::restore_network(&self.paths)?;
        self.restore_egress(&changes)?;
        Ok(changes)
    }

    /// Where the host's rules were gone, those that limit what a container sends may be, too.
    fn restore_egress(&self, changes: &[Change]) -> Result<(), Error> {
        if !changes.iter().any(|change| matches!(change, Change::FirewallLoaded { .. })) {
            return Ok(());
        }
        for record in self.find_containers()?.into_values().flatten() {
            if let Err(error) = self.container(&record.name)?.restore_egress() {
                tracing::warn!(name = %record.name, %error, "what it sends is not limited now");
            }
        }
        Ok(())
    }

    /// Looks the host and the state over; changes nothing.
    pub fn doctor(&self) -> Vec<Check> {
        doctor::examine(&self.paths)
    }

    /// Takes back what [`Service::set_up`] changed; refused while there are containers.
    pub fn undo_setup(&self) -> Result<Vec<Change>, Error> {
        crate::gateway::refuse_running(&self.paths)?;
        // An ephemeral container that has ended may still be on its way out: wait for that.
        if self.paths.resources().exists() {
            for reservation in Reservations::read(&self.paths)?.list() {
                let lock = ContainerLock::acquire_within(&self.paths, &reservation.name, DEFAULT_STOP_TIMEOUT)?;
                recover(&self.paths, &lock)?;
            }
        }
        Ok(setup::undo(&self.paths)?)
    }

    /// A base that is there.
    pub(crate) fn find_base(&self, name: &ImageName) -> Result<Manifest, Error> {
        self.store().find(Kind::Base, name)?.ok_or_else(|| no_base(name))
    }

    /// Sets the host up if that was not done.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        setup::ensure(&self.paths)?;
        Ok(())
    }

    pub(crate) fn default_base(&self) -> Result<Manifest, Error> {
        let name = ImageName::from_str(DEFAULT_BASE)?;
        if let Some(manifest) = self.store().find(Kind::Base, &name)? {
            return Ok(manifest);
        }
        self.build_base(DEFAULT_BASE, &NoProgress)?;
        Ok(self.store().manifest(Kind::Base, &name)?)
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.paths.clone())
    }
}

/// Why there is no base `name`: nobody has built it, or nobody can.
fn no_base(name: &ImageName) -> Error {
    let name = name.clone();
    match Recipe::find(name.as_str()) {
        Ok(_) => Error::BaseNotBuilt { name },
        Err(_) => Error::UnknownBase { name },
    }
}
