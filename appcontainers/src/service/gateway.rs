//! What is published by the web gateway, and the gateway itself.

use std::{
    convert::Infallible,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Service;
use crate::{
    ContainerName, Error, Status,
    gateway::{self, Applied, CertificateFiles, Fqdn, GatewayError, HealthPath, Site, Sites, Tls, UpstreamPattern},
    network::Reservations,
    runtime,
    state::GatewayLock,
};

/// How to publish. What is absent stays as it was for the name, or is the default of a new one.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{Paths, PublishSiteOptions, Service};
///
/// let service = Service::open(Paths::from_env()?);
/// let options = PublishSiteOptions { health: Some(Some("/healthz".parse()?)), ..Default::default() };
/// let shop = service.publish_site(&"shop.example.org".parse()?, &["web-1".parse()?, "web-2".parse()?], &options)?;
/// println!("{}", shop.url);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PublishSiteOptions {
    /// The port of the host.
    pub port: Option<u16>,
    /// Where the certificate comes from; `Some(None)` is plain HTTP.
    pub tls: Option<Option<Tls>>,
    /// What containers are asked for once a second; `Some(None)` is nothing.
    pub health: Option<Option<HealthPath>>,
}

/// What is published under one name, and whether it can be had.
#[derive(Debug, Clone, Serialize)]
pub struct SiteDetails {
    /// The name.
    pub name: Fqdn,
    /// How it is asked for.
    pub url: String,
    /// The port of the host.
    pub port: u16,
    /// Where its certificate comes from.
    pub tls: Option<Tls>,
    /// What containers are asked for once a second.
    pub health: Option<HealthPath>,
    /// Whether a gateway runs and does all this.
    pub served: bool,
    /// Who gets the requests, in turns.
    pub upstreams: Vec<UpstreamDetails>,
}

/// A container behind a name.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamDetails {
    /// Its name.
    pub container: ContainerName,
    /// The port in it.
    pub port: u16,
    /// Its address; none if the container is gone.
    pub ip: Option<Ipv4Addr>,
    /// Whether it runs; none if it is gone.
    pub status: Option<Status>,
}

impl Service {
    /// Publishes containers under a host name, beside those that are published under it already. A gateway that runs does so at
    /// once; one that does not, when it runs.
    pub fn publish_site(
        &self,
        name: &Fqdn,
        upstreams: &[UpstreamPattern],
        options: &PublishSiteOptions,
    ) -> Result<SiteDetails, Error> {
        let reservations = Reservations::read(&self.paths)?;
        if let Some(unknown) = upstreams.iter().find(|upstream| reservations.get(&upstream.container).is_none()) {
            return Err(GatewayError::NoContainer { name: unknown.container.clone() }.into());
        }
        let tls = options.tls.clone().map(|tls| tls.map(check_files).transpose()).transpose()?;
        self.change_sites(gateway::apply_checked, |sites| {
            let site = sites.sites.entry(name.clone()).or_default();
            site.add(upstreams)?;
            site.port = options.port.or(site.port);
            if let Some(tls) = &tls {
                site.tls.clone_from(tls);
            }
            if let Some(health) = &options.health {
                site.health.clone_from(health);
            }
            sites.check()
        })?;
        let mut sites = self.sites()?;
        sites.retain(|site| site.name == *name);
        sites.pop().ok_or_else(|| GatewayError::NotPublished { name: name.clone() }.into())
    }

    /// Takes containers from behind a host name; without any, the name itself goes. A name without containers answers with 503.
    pub fn unpublish_site(&self, name: &Fqdn, upstreams: &[UpstreamPattern]) -> Result<(), Error> {
        self.change_sites(gateway::apply, |sites| sites.unpublish(name, upstreams))
    }

    /// All that is published, by name.
    pub fn sites(&self) -> Result<Vec<SiteDetails>, Error> {
        let sites = Sites::read(&self.paths)?;
        if sites.sites.is_empty() {
            return Ok(Vec::new());
        }
        let reservations = Reservations::read(&self.paths)?;
        let served = gateway::is_served(&self.paths, &sites)?;
        sites.sites.into_iter().map(|(name, site)| self.site_details(name, site, &reservations, served)).collect()
    }

    /// Has the gateway, which must run, read certificates anew.
    pub fn reload_gateway(&self) -> Result<(), Error> {
        let lock = GatewayLock::acquire(&self.paths)?;
        match gateway::reapply(&self.paths, &lock, &Sites::read(&self.paths)?)? {
            Applied::Live => Ok(()),
            Applied::Stored => Err(GatewayError::DoesNotRun.into()),
        }
    }

    /// Becomes the gateway: Caddy, as a user of its own, until it is ended. Returns only if that fails.
    pub fn run_gateway(&self) -> Result<Infallible, Error> {
        Ok(gateway::become_caddy(&self.paths)?)
    }

    /// Changes what is published and has it done; neither if one of the two fails.
    fn change_sites(
        &self,
        apply: impl Fn(&crate::Paths, &GatewayLock, &Sites) -> Result<Applied, GatewayError>,
        change: impl FnOnce(&mut Sites) -> Result<(), GatewayError>,
    ) -> Result<(), Error> {
        let lock = GatewayLock::acquire(&self.paths)?;
        let before = Sites::read(&self.paths)?;
        let mut sites = before.clone();
        change(&mut sites)?;
        apply(&self.paths, &lock, &sites)?;
        if let Err(error) = sites.store(&self.paths) {
            if let Err(undo) = gateway::apply(&self.paths, &lock, &before) {
                tracing::warn!(%undo, "the gateway does what could not be kept; `appc gateway reload` ends that");
            }
            return Err(error.into());
        }
        Ok(())
    }

    fn site_details(
        &self,
        name: Fqdn,
        site: Site,
        reservations: &Reservations,
        served: bool,
    ) -> Result<SiteDetails, Error> {
        let (url, port) = (site.url(&name), site.port());
        let upstreams = site.upstreams.into_iter().map(|upstream| {
            let ip = reservations.get(&upstream.container).map(|reservation| reservation.ip);
            let status = ip.map(|_| runtime::status(&self.paths, &upstream.container)).transpose()?;
            Ok(UpstreamDetails { container: upstream.container, port: upstream.port, ip, status })
        });
        let upstreams = upstreams.collect::<Result<_, Error>>()?;
        Ok(SiteDetails { name, url, port, tls: site.tls, health: site.health, served, upstreams })
    }
}

/// The same with absolute paths, of files that are there.
fn check_files(tls: Tls) -> Result<Tls, GatewayError> {
    Ok(match tls {
        Tls::Files(files) => {
            Tls::Files(CertificateFiles { certificate: check_file(&files.certificate)?, key: check_file(&files.key)? })
        }
        Tls::Acme(mut acme) => {
            acme.root = acme.root.as_deref().map(check_file).transpose()?;
            Tls::Acme(acme)
        }
    })
}

/// Not resolved: what a link leads to is often replaced.
fn check_file(path: &Path) -> Result<PathBuf, GatewayError> {
    let failed = |source| GatewayError::File { path: path.to_owned(), source };
    fs::File::open(path).map_err(failed)?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    match absolute.to_str() {
        Some(text) if !text.chars().any(|c| c.is_control() || "{}".contains(c)) => Ok(absolute),
        _ => Err(GatewayError::FileName { path: path.to_owned() }),
    }
}
