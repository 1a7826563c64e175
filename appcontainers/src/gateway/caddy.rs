//! Caddy's configuration for what is published: a pure function. <https://caddyserver.com/docs/json/>, as of Caddy 2.6.
//!
//! What is chosen, and why:
//! - **No passive health checks.** Caddy counts against a container what is its clients' doing (an upload that is broken off),
//!   so a stranger could take every container out of turn.
//! - **Another container is tried** for `TRY_FOR` when one can't be connected to, and for GET also when it hangs up. A body is gone
//!   with the first attempt (Caddy 2.6 lets it be closed), so short ones are kept in memory first: asking for
//!   `{http.request.body}` does that.
//! - **Bodies and WebSockets are passed on as they come** (`flush_interval`).
//! - **No HTTP/3**: it is young in Caddy 2.6, and a port of UDP open to all.
//! - **Nothing automatic**: which names have certificates, and who is sent to HTTPS, stands in what is published.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
};

use serde_json::{Value, json};

use super::{
    Fqdn, Site, Sites, Tls,
    sites::{HTTP_PORT, HTTPS_PORT},
};
use crate::ContainerName;

/// For how long another container is tried, and a single one while it starts anew.
const TRY_FOR: &str = "5s";
/// Between two attempts.
const TRY_EVERY: &str = "25ms";
/// How long a container may take to accept a connection.
const CONNECT_WITHIN: &str = "1s";
/// How often a container is asked how it is, and how long it may take to say so.
const ASK_EVERY: &str = "1s";
const ANSWER_WITHIN: &str = "2s";
/// How long requests may go on when the gateway ends.
const END_WITHIN: &str = "10s";
/// The `Content-Length` of bodies that are kept until a container has taken them: up to five digits.
const SHORT_BODY: &str = "^[0-9]{1,5}$";

/// The configuration; `address` is that of a container, if it is there. Its admin endpoint is the unix socket.
pub(super) fn configuration(
    sites: &Sites,
    address: impl Fn(&ContainerName) -> Option<Ipv4Addr>,
    admin_socket: &Path,
) -> Value {
    json!({
        "admin": {
            "listen": format!("unix/{}", admin_socket.display()),
            // What Caddy would write into its own directory is in gateway.json.
            "config": {"persist": false},
        },
        "logging": {"logs": {"default": {
            "level": "INFO",
            // A line each second for each container that is not well.
            "exclude": ["http.handlers.reverse_proxy.health_checker"],
        }}},
        "apps": {
            "http": {
                "http_port": HTTP_PORT,
                "https_port": HTTPS_PORT,
                "grace_period": END_WITHIN,
                "servers": servers(sites, address),
            },
            "tls": tls(sites),
        },
    })
}

/// The ports on which a configuration listens.
pub(super) fn ports(configuration: &Value) -> BTreeSet<u16> {
    let servers = configuration["apps"]["http"]["servers"].as_object().into_iter().flatten();
    let listen = servers.filter_map(|(_, server)| server["listen"].as_array()).flatten();
    listen.filter_map(|address| address.as_str()?.rsplit_once(':')?.1.parse().ok()).collect()
}

/// What is said on one port.
#[derive(Default)]
struct Server {
    routes: Vec<Value>,
    /// Which certificates are used for which names, where TLS is spoken.
    policies: Option<Vec<Value>>,
}

fn servers(sites: &Sites, address: impl Fn(&ContainerName) -> Option<Ipv4Addr>) -> Value {
    let mut servers: BTreeMap<u16, Server> = BTreeMap::new();
    // A name of its own comes before the wildcard that it is one of.
    let mut sorted: Vec<_> = sites.sites.iter().collect();
    sorted.sort_by_key(|(name, _)| name.is_wildcard());
    for (name, site) in sorted {
        let server = servers.entry(site.port()).or_default();
        server.routes.push(route(name, handler(name, site, &address)));
        if let Some(tls) = &site.tls {
            server.policies.get_or_insert_default().extend(policy(name, tls));
        }
        if site.has_redirect() {
            servers.entry(HTTP_PORT).or_default().routes.push(route(name, redirect()));
        }
    }
    servers.into_iter().map(|(port, server)| (format!("port_{port}"), server.configuration(port))).collect()
}

impl Server {
    fn configuration(self, port: u16) -> Value {
        let keep_short_bodies = json!({
            "match": [{"header_regexp": {"Content-Length": {"pattern": SHORT_BODY}}}],
            "handle": [{"handler": "vars", "short_body": "{http.request.body}"}],
        });
        let nobody = json!({"handle": [answer(404, "nothing is published under this name\n")]});
        let mut routes = vec![keep_short_bodies];
        routes.extend(self.routes);
        routes.push(nobody);
        let mut server = json!({
            "listen": [format!(":{port}")],
            "protocols": ["h1", "h2"],
            "automatic_https": {"disable": true},
            "routes": routes,
        });
        if let Some(mut policies) = self.policies {
            // All other names, by whatever certificate there is for them.
            policies.push(json!({}));
            server["tls_connection_policies"] = policies.into();
        }
        server
    }
}

fn route(name: &Fqdn, handler: Value) -> Value {
    json!({"match": [{"host": [name]}], "terminal": true, "handle": [handler]})
}

fn answer(status: u16, body: &str) -> Value {
    json!({"handler": "static_response", "status_code": status, "body": body})
}

fn redirect() -> Value {
    json!({
        "handler": "static_response",
        "status_code": 308,
        "headers": {"Location": ["https://{http.request.host}{http.request.uri}"], "Connection": ["close"]},
    })
}

fn handler(name: &Fqdn, site: &Site, address: impl Fn(&ContainerName) -> Option<Ipv4Addr>) -> Value {
    let dial = site.upstreams.iter().filter_map(|one| Some(format!("{}:{}", address(&one.container)?, one.port)));
    let upstreams: Vec<Value> = dial.map(|dial| json!({"dial": dial})).collect();
    if upstreams.is_empty() {
        return answer(503, "no container is published under this name\n");
    }
    let mut handler = json!({
        "handler": "reverse_proxy",
        "upstreams": upstreams,
        "flush_interval": -1,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": TRY_FOR,
            "try_interval": TRY_EVERY,
        },
        "transport": {"protocol": "http", "dial_timeout": CONNECT_WITHIN},
    });
    if let Some(path) = &site.health {
        let mut active = json!({"uri": path, "interval": ASK_EVERY, "timeout": ANSWER_WITHIN});
        if !name.is_wildcard() {
            active["headers"] = json!({"Host": [name]});
        }
        handler["health_checks"] = json!({"active": active});
    }
    handler
}

/// By which certificate a name is known, where that does not go by the certificate's own names.
fn policy(name: &Fqdn, tls: &Tls) -> Option<Value> {
    match tls {
        Tls::Files(_) => Some(json!({"match": {"sni": [name]}, "certificate_selection": {"any_tag": [name]}})),
        Tls::Acme(_) => None,
    }
}

fn tls(sites: &Sites) -> Value {
    let (mut files, mut automate, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for (name, site) in &sites.sites {
        match &site.tls {
            Some(Tls::Files(pair)) => {
                files.push(json!({"certificate": pair.certificate, "key": pair.key, "tags": [name]}));
            }
            Some(Tls::Acme(acme)) => {
                let mut issuer = json!({"module": "acme", "email": acme.email});
                if let Some(directory) = &acme.directory {
                    issuer["ca"] = json!(directory);
                }
                if let Some(root) = &acme.root {
                    issuer["trusted_roots_pem_files"] = json!([root]);
                }
                automate.push(json!(name));
                policies.push(json!({"subjects": [name], "issuers": [issuer]}));
            }
            None => {}
        }
    }
    let mut tls = json!({});
    if !files.is_empty() {
        tls["certificates"]["load_files"] = files.into();
    }
    if !automate.is_empty() {
        tls["certificates"]["automate"] = automate.into();
        tls["automation"] = json!({"policies": policies});
    }
    tls
}

#[cfg(test)]
mod tests {
    use super::{
        super::{AcmeOptions, CertificateFiles, UpstreamPattern},
        *,
    };

    fn site(upstreams: &[&str], tls: Option<Tls>) -> Site {
        let mut site = Site { tls, ..Site::default() };
        let patterns: Vec<UpstreamPattern> = upstreams.iter().map(|text| text.parse().unwrap()).collect();
        site.add(&patterns).unwrap();
        site
    }

    fn configured(all: &[(&str, Site)]) -> Value {
        let sites = Sites { sites: all.iter().map(|(name, site)| (name.parse().unwrap(), site.clone())).collect() };
        sites.check().unwrap();
        let address = |name: &ContainerName| match name.as_str() {
            "web" => Some([10, 1, 0, 2].into()),
            "api" => Some([10, 1, 0, 3].into()),
            _ => None,
        };
        configuration(&sites, address, Path::new("/run/a/admin"))
    }

    fn files() -> Option<Tls> {
        Some(Tls::Files(CertificateFiles { certificate: "/etc/c.pem".into(), key: "/etc/k.pem".into() }))
    }

    #[test]
    fn with_nothing_published_it_only_listens_for_more() {
        let all = configured(&[]);
        assert_eq!(all["admin"]["listen"], "unix//run/a/admin");
        assert_eq!(all["apps"]["http"]["servers"], json!({}));
        assert!(ports(&all).is_empty());
    }

    #[test]
    fn containers_behind_a_name_take_turns_and_one_that_is_gone_has_none() {
        let all = configured(&[("a.test", site(&["web", "api:8080", "gone"], None))]);
        let routes = &all["apps"]["http"]["servers"]["port_80"]["routes"];
        assert_eq!(routes[1]["match"], json!([{"host": ["a.test"]}]));
        let proxy = &routes[1]["handle"][0];
        assert_eq!(proxy["upstreams"], json!([{"dial": "10.1.0.2:80"}, {"dial": "10.1.0.3:8080"}]));
        assert_eq!(proxy["load_balancing"]["selection_policy"]["policy"], "round_robin");
        assert_eq!(proxy.get("health_checks"), None);
        assert_eq!(routes[2]["handle"][0]["status_code"], 404);
        assert_eq!(ports(&all), BTreeSet::from([80]));
    }

    #[test]
    fn a_name_without_containers_answers_that() {
        let all = configured(&[("a.test", site(&["gone"], None)), ("b.test", site(&[], None))]);
        let routes = &all["apps"]["http"]["servers"]["port_80"]["routes"];
        for route in [&routes[1], &routes[2]] {
            assert_eq!(route["handle"][0]["status_code"], 503);
        }
    }

    #[test]
    fn a_name_of_its_own_comes_before_a_wildcard() {
        let all = configured(&[("*.a.test", site(&["web"], None)), ("z.a.test", site(&["api"], None))]);
        let routes = &all["apps"]["http"]["servers"]["port_80"]["routes"];
        assert_eq!(routes[1]["match"][0]["host"][0], "z.a.test");
        assert_eq!(routes[2]["match"][0]["host"][0], "*.a.test");
    }

    #[test]
    fn health_is_asked_for_under_the_name() {
        let health = Some("/healthz".parse().unwrap());
        let all = configured(&[("a.test", Site { health, port: Some(8080), ..site(&["web"], None) })]);
        let checks = &all["apps"]["http"]["servers"]["port_8080"]["routes"][1]["handle"][0]["health_checks"];
        assert_eq!(checks["active"]["uri"], "/healthz");
        assert_eq!(checks["active"]["headers"], json!({"Host": ["a.test"]}));
    }

    #[test]
    fn a_certificate_by_file_is_used_for_its_name_and_port_80_sends_there() {
        let all = configured(&[("a.test", site(&["web"], files())), ("b.test", site(&["api"], None))]);
        let servers = &all["apps"]["http"]["servers"];
        let policies = &servers["port_443"]["tls_connection_policies"];
        assert_eq!(
            policies[0],
            json!({"match": {"sni": ["a.test"]}, "certificate_selection": {"any_tag": ["a.test"]}})
        );
        assert_eq!(policies[1], json!({}));
        let loaded = &all["apps"]["tls"]["certificates"]["load_files"][0];
        assert_eq!(*loaded, json!({"certificate": "/etc/c.pem", "key": "/etc/k.pem", "tags": ["a.test"]}));
        let plain = &servers["port_80"];
        assert_eq!(plain.get("tls_connection_policies"), None);
        assert_eq!(plain["routes"][1]["handle"][0]["status_code"], 308);
        assert_eq!(plain["routes"][2]["handle"][0]["handler"], "reverse_proxy");
        // Another port of the host's says nothing of port 80.
        let other = configured(&[("a.test", Site { port: Some(8443), ..site(&["web"], files()) })]);
        assert_eq!(ports(&other), BTreeSet::from([8443]));
    }

    #[test]
    fn each_name_by_acme_has_its_own_account() {
        let acme = |directory: Option<&str>, root: Option<&str>| {
            Some(Tls::Acme(AcmeOptions {
                email: "admin@a.test".parse().unwrap(),
                directory: directory.map(|url| url.parse().unwrap()),
                root: root.map(Into::into),
            }))
        };
        let all = configured(&[
            ("a.test", site(&["web"], acme(None, None))),
            ("b.test", site(&["web"], acme(Some("https://ca.test/directory"), Some("/etc/root.pem")))),
        ]);
        let tls = &all["apps"]["tls"];
        assert_eq!(tls["certificates"], json!({"automate": ["a.test", "b.test"]}));
        let policies = &tls["automation"]["policies"];
        assert_eq!(policies[0]["issuers"], json!([{"module": "acme", "email": "admin@a.test"}]));
        assert_eq!(policies[1]["issuers"][0]["ca"], "https://ca.test/directory");
        assert_eq!(policies[1]["issuers"][0]["trusted_roots_pem_files"], json!(["/etc/root.pem"]));
        assert_eq!(ports(&all), BTreeSet::from([80, 443]));
    }
}
