//! `appc gateway`

use std::path::PathBuf;

use appcontainers::{
    PublishSiteOptions, SiteDetails, UpstreamDetails,
    gateway::{AcmeOptions, CertificateFiles, DirectoryUrl, Email, Fqdn, HealthPath, Tls, UpstreamPattern},
};

use super::values;
use crate::{context::Context, render, stdio};

/// Publish containers on the web, under host names
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Publish(Publish),
    Unpublish(Unpublish),
    Ls(Ls),
    Run(Run),
    Reload(Reload),
}

impl Command {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Command::Publish(args) => args.execute(context),
            Command::Unpublish(args) => args.execute(context),
            Command::Ls(args) => args.execute(context),
            Command::Run(args) => args.execute(context),
            Command::Reload(args) => args.execute(context),
        }
    }
}

/// Publish one or more containers under a host name
///
/// Requests for the name go to its containers in turns; one that can't be reached is passed over. Named again, with other
/// containers, the name has all of them. Options that are not given stay as they were. Without any, it is plain HTTP.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc gateway publish shop.example.org web
  appc gateway publish shop.example.org web-1:8080 web-2:8080 --health /healthz
  appc gateway publish shop.example.org web --acme admin@example.org
  appc gateway publish '*.example.org' web --tls-cert /etc/ssl/example.pem --tls-key /etc/ssl/private/example.key")]
pub(crate) struct Publish {
    /// The name, or '*.example.org' for all names of one label more
    #[arg(value_name = "FQDN")]
    name: Fqdn,
    /// A container, and the port of the web server in it [default port: 80]
    #[arg(required = true, value_name = "NAME[:PORT]")]
    upstreams: Vec<UpstreamPattern>,
    /// Listen on this port of the host [default: 80, and with TLS 443]
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    port: Option<u16>,
    /// Speak HTTPS with this certificate (PEM, with those between it and the authority's); port 80 sends there
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM); the user caddy has to be able to read it
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak HTTPS with a certificate from Let's Encrypt, which writes to this address; port 80 sends there
    #[arg(long, value_name = "EMAIL", conflicts_with = "tls_cert")]
    acme: Option<Email>,
    /// The ACME directory of another authority
    #[arg(long, value_name = "URL", requires = "acme")]
    acme_directory: Option<DirectoryUrl>,
    /// The root certificate (PEM) of a private authority
    #[arg(long, value_name = "FILE", requires = "acme")]
    acme_root: Option<PathBuf>,
    /// Speak plain HTTP again
    #[arg(long, conflicts_with_all = ["tls_cert", "acme"])]
    no_tls: bool,
    /// Ask each container for this path once a second; without a 2xx or 3xx it gets no requests
    #[arg(long, value_name = "PATH")]
    health: Option<HealthPath>,
    /// Ask for no path any more
    #[arg(long, conflicts_with = "health")]
    no_health: bool,
}

impl Publish {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let options = PublishSiteOptions { port: self.port, tls: self.tls(), health: self.health() };
        let site = context.service.publish_site(&self.name, &self.upstreams, &options)?;
        say_unless_served(&site);
        context.print(&site, |site| format!("{}\n", site.url))
    }

    fn tls(&self) -> Option<Option<Tls>> {
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            return Some(Some(Tls::Files(CertificateFiles { certificate, key })));
        }
        let (directory, root) = (self.acme_directory.clone(), self.acme_root.clone());
        let acme = self.acme.clone().map(|email| Some(Tls::Acme(AcmeOptions { email, directory, root })));
        acme.or(self.no_tls.then_some(None))
    }

    fn health(&self) -> Option<Option<HealthPath>> {
        self.health.clone().map(Some).or(self.no_health.then_some(None))
    }
}

/// Take containers from behind a host name, or the name itself
///
/// Without containers, nothing is published under the name any more. A name whose last container is taken away stays, and answers
/// with 503.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc gateway unpublish shop.example.org
  appc gateway unpublish shop.example.org web-1")]
pub(crate) struct Unpublish {
    /// The name
    #[arg(value_name = "FQDN")]
    name: Fqdn,
    /// A container, all its ports or one
    #[arg(value_name = "NAME[:PORT]")]
    upstreams: Vec<UpstreamPattern>,
}

impl Unpublish {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.unpublish_site(&self.name, &self.upstreams)?)
    }
}

/// List what is published
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

impl Ls {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        let sites = context.service.sites()?;
        sites.first().into_iter().for_each(say_unless_served);
        context.print(&sites, |sites| table(sites))
    }
}

/// Run the gateway, in the foreground
///
/// Becomes Caddy (the package caddy), as the user caddy, with no right but to listen on ports below 1024. It does what is
/// published, at once when that changes, and ends with Ctrl-C. With systemd: systemctl enable --now appcontainers-gateway
#[derive(Debug, clap::Args)]
pub(crate) struct Run {}

impl Run {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        match context.service.run_gateway()? {}
    }
}

/// Have the gateway read certificates anew
///
/// For whoever has replaced the files of --tls-cert and --tls-key. All else it does by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {}

impl Reload {
    fn execute(self, context: &Context) -> anyhow::Result<()> {
        Ok(context.service.reload_gateway()?)
    }
}

fn say_unless_served(site: &SiteDetails) {
    if !site.served {
        stdio::note(
            "warning: the gateway does not run, or not with this; start it: systemctl enable --now appcontainers-gateway, or \
             appc gateway run",
        );
    }
}

fn table(sites: &[SiteDetails]) -> String {
    let rows = sites.iter().flat_map(|site| {
        // One line for each container, and one for a name without.
        let upstreams: Vec<_> = site.upstreams.iter().map(Some).collect();
        let upstreams = if upstreams.is_empty() { vec![None] } else { upstreams };
        upstreams.into_iter().map(|upstream| row(site, upstream)).collect::<Vec<_>>()
    });
    render::table(["URL", "CONTAINER", "ADDRESS", "STATUS", "TLS", "HEALTH"], rows)
}

fn row(site: &SiteDetails, upstream: Option<&UpstreamDetails>) -> [String; 6] {
    let address = |one: &UpstreamDetails| Some(format!("{}:{}", one.ip?, one.port));
    let tls = site.tls.as_ref().map(|tls| match tls {
        Tls::Files(_) => "files",
        Tls::Acme(_) => "acme",
    });
    [
        site.url.clone(),
        render::or_dash(upstream.map(|one| &one.container)),
        render::or_dash(upstream.and_then(address)),
        render::or_dash(upstream.map(|one| one.status.map_or("gone", |status| status.as_str()))),
        render::or_dash(tls),
        render::or_dash(site.health.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use appcontainers::Status;

    use super::*;

    #[test]
    fn each_container_behind_a_name_is_a_line() {
        let upstream = |container: &str, ip: Option<[u8; 4]>, status| UpstreamDetails {
            container: container.parse().unwrap(),
            port: 80,
            ip: ip.map(Into::into),
            status,
        };
        let shop = SiteDetails {
            name: "shop.example.org".parse().unwrap(),
            url: "https://shop.example.org".to_owned(),
            port: 443,
            tls: Some(Tls::Files(CertificateFiles { certificate: "/c".into(), key: "/k".into() })),
            health: Some("/healthz".parse().unwrap()),
            served: true,
            upstreams: vec![upstream("web", Some([10, 88, 0, 2]), Some(Status::Running)), upstream("old", None, None)],
        };
        let (name, url) = ("a.test".parse().unwrap(), "http://a.test".to_owned());
        let empty = SiteDetails { name, url, port: 80, tls: None, health: None, upstreams: Vec::new(), ..shop.clone() };
        let expected = "\
URL                       CONTAINER  ADDRESS       STATUS   TLS    HEALTH
https://shop.example.org  web        10.88.0.2:80  running  files  /healthz
https://shop.example.org  old        -             gone     files  /healthz
http://a.test             -          -             -        -      -
";
        render::assert_documented("appc gateway ls", &shop);
        assert_eq!(table(&[shop, empty]), expected);
    }
}
