//! `gateway.json`: what is published. Owned by the gateway's lock; there is no file where nothing is published.

use std::{collections::BTreeMap, fs, io};

use serde::{Deserialize, Serialize};

use super::{Fqdn, GatewayError, HealthPath, Tls, Upstream, UpstreamPattern, error::step};
use crate::{
    ContainerName, Paths,
    state::{self, Durability, StateError, Versioned},
};

/// Where plain HTTP is spoken unless another port is said, and where names with TLS send those who come without.
pub(super) const HTTP_PORT: u16 = 80;
/// Where TLS is spoken unless another port is said.
pub(super) const HTTPS_PORT: u16 = 443;

/// What is published under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Who gets the requests, in turns. With nobody, all get 503.
    pub upstreams: Vec<Upstream>,
    /// The host's port, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Where its certificate comes from; without, plain HTTP is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What each container is asked for once a second: one that does not answer with 2xx or 3xx gets no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthPath>,
}

impl Site {
    /// The port of the host on which it is.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls.is_some() { HTTPS_PORT } else { HTTP_PORT })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether who comes to [`HTTP_PORT`] is sent to it.
    pub(super) fn has_redirect(&self) -> bool {
        self.tls.is_some() && self.port() == HTTPS_PORT
    }

    /// How it is asked for.
    pub fn url(&self, name: &Fqdn) -> String {
        match (self.scheme(), self.port()) {
            ("https", HTTPS_PORT) => format!("https://{name}"),
            ("http", HTTP_PORT) => format!("http://{name}"),
            (scheme, port) => format!("{scheme}://{name}:{port}"),
        }
    }

    /// Adds who gets requests; who does already goes on.
    pub(crate) fn add(&mut self, added: &[UpstreamPattern]) -> Result<(), GatewayError> {
        let mut named: Vec<Upstream> = Vec::new();
        for upstream in added.iter().map(UpstreamPattern::upstream) {
            if named.contains(&upstream) {
                return Err(GatewayError::Twice { upstream });
            }
            named.push(upstream);
        }
        self.upstreams.extend(named.into_iter().filter(|one| !self.upstreams.contains(one)).collect::<Vec<_>>());
        Ok(())
    }
}

/// All that is published, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sites {
    pub(crate) sites: BTreeMap<Fqdn, Site>,
}

impl Versioned for Sites {
    const KIND: &'static str = "list of what the gateway publishes";
    const VERSION: u32 = 1;
}

impl Sites {
    /// Whether anything is published: one look for a file.
    pub(super) fn is_any(paths: &Paths) -> bool {
        paths.gateway().exists()
    }

    /// Reads them; needs no lock.
    pub(crate) fn read(paths: &Paths) -> Result<Self, StateError> {
        Ok(state::read(&paths.gateway())?.unwrap_or_default())
    }

    /// Writes them; the caller has the gateway's lock.
    pub(crate) fn store(&self, paths: &Paths) -> Result<(), GatewayError> {
        let path = paths.gateway();
        if !self.sites.is_empty() {
            return Ok(state::write(&path, self, Durability::Durable)?);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(step("remove", path)(error)),
            _ => fs::File::open(paths.root()).and_then(|root| root.sync_all()).map_err(step("sync", paths.root())),
        }
    }

    /// Takes upstreams, or with none named the whole name, out.
    pub(crate) fn unpublish(&mut self, name: &Fqdn, patterns: &[UpstreamPattern]) -> Result<(), GatewayError> {
        let site = self.sites.get_mut(name).ok_or_else(|| GatewayError::NotPublished { name: name.clone() })?;
        for pattern in patterns {
            let before = site.upstreams.len();
            site.upstreams.retain(|upstream| !pattern.matches(upstream));
            if site.upstreams.len() == before {
                return Err(GatewayError::NotBehind { name: name.clone(), pattern: pattern.clone() });
            }
        }
        if patterns.is_empty() {
            self.sites.remove(name);
        }
        Ok(())
    }

    /// An error if one port would have to speak with and without TLS, or a certificate can't be had.
    pub(crate) fn check(&self) -> Result<(), GatewayError> {
        let mut ports: BTreeMap<u16, (&'static str, &Fqdn)> = BTreeMap::new();
        for (name, site) in &self.sites {
            if name.is_wildcard() && matches!(site.tls, Some(Tls::Acme(_))) {
                return Err(GatewayError::WildcardByAcme { name: name.clone() });
            }
            let redirect = site.has_redirect().then_some((HTTP_PORT, "http"));
            for (port, wanted) in [(site.port(), site.scheme())].into_iter().chain(redirect) {
                let (speaks, other) = *ports.entry(port).or_insert((wanted, name));
                if speaks != wanted {
                    let [other, name] = [other, name].map(Fqdn::clone);
                    return Err(GatewayError::PortSpeaks { port, speaks, other, wanted, name });
                }
            }
        }
        Ok(())
    }

    fn has(&self, container: &ContainerName) -> bool {
        self.upstreams().any(|upstream| upstream.container == *container)
    }

    /// Who gets requests under any name.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.sites.values().flat_map(|site| &site.upstreams)
    }

    /// Takes a container out everywhere; whether it was there. Names stay, also those with nobody left behind them.
    pub(super) fn forget(&mut self, container: &ContainerName) -> bool {
        let had = self.has(container);
        for site in self.sites.values_mut() {
            site.upstreams.retain(|upstream| upstream.container != *container);
        }
        had
    }

    /// Gives a container its new name everywhere; whether it was there.
    pub(super) fn rename(&mut self, old: &ContainerName, new: &ContainerName) -> bool {
        let had = self.has(old);
        for upstream in self.sites.values_mut().flat_map(|site| &mut site.upstreams) {
            if upstream.container == *old {
                upstream.container = new.clone();
            }
        }
        had
    }
}

#[cfg(test)]
mod tests {
    use super::{super::CertificateFiles, *};

    fn patterns(texts: &[&str]) -> Vec<UpstreamPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn sites(all: &[(&str, Site)]) -> Sites {
        Sites { sites: all.iter().map(|(name, site)| (name.parse().unwrap(), site.clone())).collect() }
    }

    fn with(upstreams: &[&str]) -> Site {
        let mut site = Site::default();
        site.add(&patterns(upstreams)).unwrap();
        site
    }

    fn secure(port: Option<u16>) -> Site {
        let files = CertificateFiles { certificate: "/c.pem".into(), key: "/k.pem".into() };
        Site { tls: Some(Tls::Files(files)), port, ..with(&["web"]) }
    }

    #[test]
    fn a_container_is_added_once_and_its_other_ports_too() {
        let mut site = with(&["web", "web:81"]);
        site.add(&patterns(&["web:80", "api"])).unwrap();
        let said: Vec<_> = site.upstreams.iter().map(Upstream::to_string).collect();
        assert_eq!(said, ["web:80", "web:81", "api:80"]);
        let error = site.add(&patterns(&["a", "a:80"])).unwrap_err().to_string();
        assert!(error.starts_with("a:80 is named twice"), "{error}");
    }

    #[test]
    fn a_name_stays_when_its_last_container_goes_and_goes_when_it_is_unpublished() {
        let name: Fqdn = "a.test".parse().unwrap();
        let mut all = sites(&[("a.test", with(&["web", "web:81", "api"]))]);
        all.unpublish(&name, &patterns(&["web"])).unwrap();
        assert!(
            all.unpublish(&name, &patterns(&["web"]))
                .unwrap_err()
                .to_string()
                .starts_with("web is not published as a.test")
        );
        assert!(all.forget(&"api".parse().unwrap()) && !all.forget(&"api".parse().unwrap()));
        assert!(all.sites[&name].upstreams.is_empty());
        all.unpublish(&name, &[]).unwrap();
        assert!(all.sites.is_empty());
        assert!(all.unpublish(&name, &[]).unwrap_err().to_string().starts_with("nothing is published as a.test"));
    }

    #[test]
    fn a_port_speaks_with_tls_or_without() {
        let conflict = |all: &[(&str, Site)]| sites(all).check().err().map(|error| error.to_string());
        assert_eq!(conflict(&[("a", with(&["web"])), ("b", secure(None)), ("c", secure(Some(8443)))]), None);
        let plain = |port| Site { port: Some(port), ..with(&["web"]) };
        assert!(conflict(&[("a", plain(443)), ("b", secure(None))]).unwrap().contains("port 443 speaks http for a"));
        // Those who come to port 80 are sent to 443.
        assert!(conflict(&[("a", secure(Some(80))), ("b", secure(None))]).unwrap().contains("--port"));
    }

    #[test]
    fn a_name_is_asked_for_at_its_port() {
        let name = "a.test".parse().unwrap();
        assert_eq!(with(&["web"]).url(&name), "http://a.test");
        assert_eq!(secure(None).url(&name), "https://a.test");
        assert_eq!(secure(Some(80)).url(&name), "https://a.test:80");
    }

    #[test]
    fn a_renamed_container_stays_published() {
        let mut all = sites(&[("a", with(&["web", "web:81"])), ("b", with(&["api"]))]);
        let [web, shop] = ["web", "shop"].map(|name| name.parse().unwrap());
        assert!(all.rename(&web, &shop) && !all.rename(&web, &shop));
        assert_eq!(all, sites(&[("a", with(&["shop", "shop:81"])), ("b", with(&["api"]))]));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Sites>(&text).unwrap(), all);
    }
}
