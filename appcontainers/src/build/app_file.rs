//! What an app file says, as types: the JSON Schema is made from them, comments and all.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ContainerSection;
use crate::{ImageName, image::ImageConfig};

/// A program's image, and the container that is made of it.
///
/// What stands outside of `container` becomes part of the image. `container` is for this host alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "appc.toml")]
pub struct AppFile {
    /// What the image is called, and the container unless `container.name` says otherwise. The name of the directory that the
    /// file is in if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub name: Option<ImageName>,
    /// The base that the image starts from; `busybox` if neither this nor `image` is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub base: Option<ImageName>,
    /// The image that this one starts from, instead of a base: a name from the store or a file (`other.aimg`, `./other`), a
    /// relative path from the directory of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Times in the image are at most this: seconds since 1970. `SOURCE_DATE_EPOCH` in the environment goes before it. 1980 if
    /// neither is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_date_epoch: Option<u32>,
    /// What copies leave out: names, or paths from the directory of this file, with `*`, `?` and `**`; a `/` at the end means
    /// directories alone, a `!` before takes back.
    pub ignore: Vec<String>,
    /// The environment of every command: of the image's, and of the steps.
    pub env: BTreeMap<String, String>,
    /// Who runs the image's commands: `USER[:GROUP]` or `UID[:GID]`. Steps are run by root unless they say otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the image's commands start; the user's home directory if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Commands that are run when a container starts, each by `/bin/sh -c`.
    pub startup: Vec<String>,
    /// Free text for people and programs.
    pub labels: BTreeMap<String, String>,
    /// Services that the program offers: name and port, as `80` or `53/udp`.
    pub provides: BTreeMap<String, String>,
    /// Services that the program needs, by name.
    pub consumes: Vec<String>,
    /// What makes the image, in this order; what each step writes is a layer.
    pub steps: Vec<Step>,
    /// Files that are copied into the image after the last step.
    pub files: Vec<Copy>,
    /// The container that `appc up` makes.
    pub container: ContainerSection,
    /// Where the file is.
    #[serde(skip)]
    pub path: PathBuf,
}

impl Default for AppFile {
    fn default() -> Self {
        Self {
            name: None,
            base: None,
            image: None,
            source_date_epoch: None,
            ignore: [".git", "*.aimg"].map(str::to_owned).into(),
            env: BTreeMap::new(),
            user: None,
            working_dir: None,
            startup: Vec::new(),
            labels: BTreeMap::new(),
            provides: BTreeMap::new(),
            consumes: Vec::new(),
            steps: Vec::new(),
            files: Vec::new(),
            container: ContainerSection::default(),
            path: PathBuf::from("appc.toml"),
        }
    }
}

/// A step: a command, or a copy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Lines for `/bin/sh -e -c`: the first that fails ends the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Files to be copied into the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<Copy>,
    /// Environment of this command alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Who runs the command; root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the command starts; `/` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What the command may reach.
    pub network: StepNetwork,
    /// The line of the file at which it begins.
    #[serde(skip)]
    pub line: usize,
}

/// What a step's command may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepNetwork {
    /// What any container may.
    #[default]
    All,
    /// Nothing outside.
    None,
}

/// Files from beside the app file for the image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// A file, or a directory whose content is copied; a path from the directory of the app file, not beyond it.
    pub from: String,
    /// Where it goes: of a file the name that it gets, or with a `/` at the end the directory that it gets into; of a
    /// directory the one that gets its content. Absolute; what is missing on the way is made.
    pub to: String,
    /// Permissions in octal, as `"0755"`; a directory can also be entered by whoever may read it. As they are if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Whose everything becomes: `USER[:GROUP]` or `UID[:GID]` of the image; root's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What is left out, beside what the file's `ignore` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// The line of the file at which it begins.
    #[serde(skip)]
    pub line: usize,
}

/// Permissions, at most 07777.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct FileMode(u32);

/// What are no permissions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no mode: write permissions in octal, as \"0644\"")]
pub struct InvalidMode {
    text: String,
}

impl FileMode {
    /// The permissions of a file.
    pub fn of_file(self) -> u32 {
        self.0
    }

    /// The permissions of a directory: whoever may read it can enter it.
    pub fn of_directory(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }
}

impl FromStr for FileMode {
    type Err = InvalidMode;
    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| InvalidMode { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for FileMode {
    type Error = InvalidMode;
    fn try_from(text: String) -> Result<Self, InvalidMode> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl AppFile {
    /// Where files to be copied are: the directory of the file.
    pub fn context(&self) -> PathBuf {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// What the image is called, if the file or its directory says so.
    pub fn image_name(&self) -> Option<ImageName> {
        let of_directory = || self.context().canonicalize().ok()?.file_name()?.to_str()?.to_lowercase().parse().ok();
        self.name.clone().or_else(of_directory)
    }

    /// The JSON Schema of app files, as `docs/appc.schema.json` has it.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(AppFile);
        let text = serde_json::to_string_pretty(schema.as_value()).unwrap_or_default();
        text + "\n"
    }

    /// How the image's program is run: what the file says over what the image below says.
    pub(super) fn config(&self, below: &ImageConfig) -> ImageConfig {
        let mut config = below.clone();
        config.env.extend(self.env.clone());
        config.user = self.user.clone().or(config.user);
        config.working_dir = self.working_dir.clone().or(config.working_dir);
        if !self.startup.is_empty() {
            config.startup_commands.clone_from(&self.startup);
        }
        config.labels.extend(self.labels.clone());
        config.provides.extend(self.provides.clone());
        let more = self.consumes.iter().filter(|service| !below.consumes.contains(service));
        config.consumes.extend(more.cloned());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_documentation_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/appc.schema.json");
        let documented = std::fs::read_to_string(path).unwrap_or_default();
        assert!(documented == AppFile::schema(), "make it anew: appc build --schema > docs/appc.schema.json");
    }

    #[test]
    fn a_mode_is_octal_and_lets_readers_of_a_directory_in() {
        let mode: FileMode = "0640".parse().unwrap();
        assert_eq!((mode.of_file(), mode.of_directory()), (0o640, 0o750));
        assert_eq!("4755".parse::<FileMode>().unwrap().of_file(), 0o4755);
        for bad in ["", "rwx", "0o644", "8", "+644", "10000"] {
            assert!(bad.parse::<FileMode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_goes_over_the_image_below() {
        let below = ImageConfig {
            env: [("A", "1"), ("B", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            user: Some("web".to_owned()),
            startup_commands: vec!["old".to_owned()],
            consumes: vec!["db".to_owned()],
            ..ImageConfig::default()
        };
        let file = AppFile {
            env: [("B".to_owned(), "3".to_owned())].into(),
            startup: vec!["new".to_owned()],
            consumes: vec!["db".to_owned(), "mail".to_owned()],
            ..AppFile::default()
        };
        let config = file.config(&below);
        assert_eq!(config.env.values().collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(config.user.as_deref(), Some("web"));
        assert_eq!(config.startup_commands, ["new"]);
        assert_eq!(config.consumes, ["db", "mail"]);
    }
}
