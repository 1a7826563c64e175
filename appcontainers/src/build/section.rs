//! What an app file says of its container, and what that is as settings.

use std::{collections::BTreeMap, num::NonZeroU16, path::Path, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    HealthSection,
    text::{AllowRule, BindMount, Provider, Text, VolumeMount},
};
use crate::{
    ContainerName, Hostname, HttpPath, Mount, MountSource, SecretGrant, Settings, VolumeName,
    life::{Dependency, Life, Restart},
    limits::{LimitChange, Limits, Size},
    network::{
        NetworkMode,
        policy::{Egress, Publication},
    },
    record::Init,
};

/// The container that `appc up` makes of the image. It grants rights, so no image has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerSection {
    /// What it is called; as the image if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub name: Option<ContainerName>,
    /// Whether it is started when the host boots.
    pub autostart: bool,
    /// Without a user namespace: the container's root is the host's root.
    pub privileged: bool,
    /// Its process 1: `app`, the agent, or `system`, the image's own `/sbin/init`.
    #[schemars(with = "InitName")]
    pub init: Init,
    /// How it is connected to the host: `routed`, or `bridge`.
    #[schemars(with = "NetworkName")]
    pub network: NetworkMode,
    /// Where it may connect to outside: `all`, `none`, or networks with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Text<Egress>>,
    /// Ports of the host that are its own: `8080:80`, `53/udp:53`, `8000-8010:9000`, `192.0.2.1:443:443`.
    pub publish: Vec<Text<Publication>>,
    /// Services of other containers by the names that it knows them by: `db = "postgres:5432"`.
    #[schemars(with = "BTreeMap<String, String>")]
    pub links: BTreeMap<Hostname, Text<Provider>>,
    /// Who may connect to it: `web`, `web:80`, `192.0.2.0/24`.
    pub allow: Vec<Text<AllowRule>>,
    /// What it may use of the host, in the words of `appc set`: `memory=512M`, `cpus=1.5`, `pids=200`.
    pub limits: Vec<Text<LimitChange>>,
    /// Variables of its commands, over those of the image. Another value restarts it.
    pub env: BTreeMap<String, String>,
    /// Volumes that are mounted in it: `data:/srv/data`, `data:/srv/data:ro`. One that is not there is made.
    pub volumes: Vec<Text<VolumeMount>>,
    /// What volumes that `appc up` makes can hold at the most: `data = "1G"`; as much as the host's disk if absent.
    #[schemars(with = "BTreeMap<String, String>")]
    pub volume_sizes: BTreeMap<VolumeName, Text<Size>>,
    /// Files and directories of the host that are mounted in it: `/srv/site:/var/www:ro`; a relative path begins at the directory of
    /// this file.
    pub binds: Vec<Text<BindMount>>,
    /// How much it can write beside its image, without volumes: `2G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Text<Size>>,
    /// Secrets that it is given: `NAME[:PATH[:MODE[:OWNER]]]`.
    pub secrets: Vec<Text<SecretGrant>>,
    /// When it ends unasked: `no`, `on-failure`, `on-failure:5`, `always`, or `unless-stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Text<Restart>>,
    /// How its health is looked at; `appc up` waits until it is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSection>,
    /// What it is started after: `db`, or `db:healthy`.
    pub after: Vec<Text<Dependency>>,
    /// A line of shell that is run in it at each start, before its startup commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_start: Option<String>,
    /// A line of shell that is run in it when it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<String>,
    /// A line of shell that is run in it when it is asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_stop: Option<String>,
    /// What `appc up` waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
}

/// What must be ready before `appc up` is done, and for how long it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// A TCP port of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// A path that must be answered with 2xx or 3xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Text<HttpPath>>,
    /// Seconds until it is given up.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
}

impl ContainerSection {
    /// All limits together.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        self.limits.iter().for_each(|limit| limits.apply(&limit.value));
        limits
    }

    /// All that is mounted, what is below something else behind it. `context` is the directory of the app file.
    pub fn mounts(&self, context: &Path) -> Vec<Mount> {
        let volumes = self.volumes.iter().map(|volume| volume.value.0.clone());
        let binds = self.binds.iter().map(|bind| match bind.value.0.clone() {
            Mount { source: MountSource::Bind(path), path: at, read_only } => {
                Mount { source: MountSource::Bind(context.join(path)), path: at, read_only }
            }
            other => other,
        });
        let mut mounts: Vec<_> = volumes.chain(binds).collect();
        mounts.sort_by(|one, other| one.path.cmp(&other.path));
        mounts
    }

    /// All secrets.
    pub fn secrets(&self) -> Vec<SecretGrant> {
        self.secrets.iter().map(|secret| secret.value.clone()).collect()
    }

    /// How long `appc up` waits until the container is ready.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.wait.as_ref().map_or_else(default_timeout, |wait| wait.timeout).into())
    }

    /// What the container is given beyond its image. `context` is the directory of the app file.
    pub fn settings(&self, context: &Path) -> Settings {
        let mut life = Life::default();
        self.apply_life(&Self::default(), &mut life);
        Settings {
            limits: self.limits(),
            life,
            secrets: self.secrets(),
            mounts: self.mounts(context),
            disk: self.disk.as_ref().map(|size| size.value.bytes()),
        }
    }

    /// All that this section or the other one names and that can be taken away again.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.egress = self.egress.or(other.egress);
        join(&mut self.publish, other.publish);
        self.links.extend(other.links);
        join(&mut self.allow, other.allow);
        join(&mut self.limits, other.limits);
        self.env.extend(other.env);
        join(&mut self.volumes, other.volumes);
        join(&mut self.binds, other.binds);
        join(&mut self.secrets, other.secrets);
        self.restart = self.restart.or(other.restart);
        self.health = self.health.or(other.health);
        join(&mut self.after, other.after);
        self.on_start = self.on_start.or(other.on_start);
        self.on_fail = self.on_fail.or(other.on_fail);
        self.on_stop = self.on_stop.or(other.on_stop);
        self
    }

    /// Makes of a container's life what this section says. What neither it nor the one before names stays.
    pub(super) fn apply_life(&self, before: &Self, life: &mut Life) {
        put(&mut life.restart, before.restart.is_some(), self.restart.as_ref().map(|restart| restart.value));
        put(&mut life.health, before.health.is_some(), self.health.as_ref().map(HealthSection::check));
        let on = &mut life.on;
        put(&mut on.start, before.on_start.is_some(), self.on_start.clone().map(Some));
        put(&mut on.fail, before.on_fail.is_some(), self.on_fail.clone().map(Some));
        put(&mut on.stop, before.on_stop.is_some(), self.on_stop.clone().map(Some));
        let wanted: Vec<_> = self.after.iter().map(|after| after.value.clone()).collect();
        let is_the_files =
            |one: &Dependency| before.after.iter().chain(&self.after).any(|after| after.value.name == one.name);
        life.after.retain(|one| wanted.contains(one) || !is_the_files(one));
        let missing: Vec<_> = wanted.into_iter().filter(|one| !life.after.contains(one)).collect();
        life.after.extend(missing);
    }

    /// What the types don't say.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.health.as_ref().is_some_and(|health| health.probe().is_none()) {
            return Err("`health` has either `command`, or `port`, and with that `http`".to_owned());
        }
        match &self.wait {
            Some(WaitFor { port: None, http: Some(_), .. }) => {
                return Err("`wait` has `http`, and no `port`".to_owned());
            }
            Some(WaitFor { port: None, .. }) if self.health.is_none() => {
                return Err("there is nothing to wait for: `wait` has no `port`, and there is no `health`".to_owned());
            }
            _ => {}
        }
        let mounts = self.mounts(Path::new("."));
        if let Some(two) = mounts.windows(2).find(|two| two[0].path == two[1].path) {
            return Err(format!("`volumes` and `binds` have two things at {}", two[0].path));
        }
        let is_mounted = |name: &VolumeName| mounts.iter().any(|mount| mount.volume_name() == Some(name));
        if let Some(name) = self.volume_sizes.keys().find(|name| !is_mounted(name)) {
            return Err(format!("`volume_sizes` has {name}, which is not in `volumes`"));
        }
        self.settings(Path::new(".")).life.check().map_err(|error| error.to_string())
    }
}

/// Adds what is not there yet.
fn join<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// Puts what is wanted there; if nothing is, takes away what the file had put there.
fn put<T: Default>(place: &mut T, was_the_files: bool, wanted: Option<T>) {
    if wanted.is_some() || was_the_files {
        *place = wanted.unwrap_or_default();
    }
}

fn default_timeout() -> u32 {
    60
}

/// The schema of [`Init`].
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum InitName {
    App,
    System,
}

/// The schema of [`NetworkMode`].
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum NetworkName {
    Routed,
    Bridge,
}
