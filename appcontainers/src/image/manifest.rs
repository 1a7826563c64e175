//! What an image is: its layers and its configuration, as JSON. Pure; `docs/aimg.md` is its specification.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Digest, ImageConfig, InvalidConfig};
use crate::ImageName;

/// The version of the schema that is read and written.
pub const SCHEMA_VERSION: u32 = 1;
/// Longest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// Most layers: overlayfs takes 500, but each costs at every look-up.
pub const MAX_LAYERS: usize = 64;
/// Layers begin and end on multiples of this, so that a loop device can show them in place.
pub const ALIGNMENT: u64 = 4096;

/// An image's description.
///
/// # Examples
///
/// ```
/// use appcontainers::{
///     Digest, Manifest,
///     image::{ImageConfig, Layer, SCHEMA_VERSION},
/// };
///
/// let manifest = Manifest {
///     schema_version: SCHEMA_VERSION,
///     name: "app".parse()?,
///     created: "2024-05-06T07:08:09Z".parse()?,
///     architecture: std::env::consts::ARCH.to_owned(),
///     layers: vec![Layer { digest: Digest::of(b"a squashfs"), size_bytes: 4096, offset: None }],
///     base: None,
///     config: ImageConfig { startup_commands: vec!["exec ./app".to_owned()], ..Default::default() },
/// };
/// manifest.validate()?;
/// assert_eq!(Manifest::parse(&manifest.to_json()?)?, manifest);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What the image is called in the store.
    pub name: ImageName,
    /// When it was made.
    pub created: Timestamp,
    /// What machine its programs are for, as `uname -m` says it.
    pub architecture: String,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The base that its lowest layers come from; none if it is one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseReference>,
    /// How its program is meant to run.
    #[serde(default)]
    pub config: ImageConfig,
}

/// One squashfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// sha256 of all its bytes: its name.
    pub digest: Digest,
    /// Its length, a multiple of [`ALIGNMENT`].
    pub size_bytes: u64,
    /// Where it begins in an `.aimg` that carries it; absent in the store and in a thin image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Names the base of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseReference {
    /// What it was called where the image was made.
    pub name: ImageName,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Longer than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {size_bytes} bytes; 1048576 are the limit")]
    TooLong {
        /// Its length.
        size_bytes: u64,
    },
    /// No JSON, or a field is missing, unknown or of the wrong type.
    #[error("the manifest is not what schema version {SCHEMA_VERSION} says")]
    Json(#[source] serde_json::Error),
    /// A version that this program does not know.
    #[error("the manifest has schema version {version}; this program reads version {SCHEMA_VERSION}: use a newer one")]
    Version {
        /// The version.
        version: u64,
    },
    /// No layer, or too many.
    #[error("the manifest has {count} layers; 1 to {MAX_LAYERS} are allowed")]
    LayerCount {
        /// How many.
        count: usize,
    },
    /// A layer's size is zero, no multiple of 4096, or too big to count.
    #[error("layer {digest} has a size of {size_bytes} bytes; it must be a multiple of {ALIGNMENT} above 0")]
    LayerSize {
        /// The layer.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
    },
    /// A layer is named twice, which overlayfs refuses.
    #[error("layer {digest} is named twice")]
    LayerTwice {
        /// The layer.
        digest: Digest,
    },
    /// The architecture is not a short word.
    #[error("architecture {architecture:?} is not 1 to 32 of a-z, 0-9 and '_'")]
    Architecture {
        /// What stands there.
        architecture: String,
    },
    /// The configuration is refused.
    #[error("the manifest's configuration is refused")]
    Config(#[source] InvalidConfig),
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Reads the version whatever else there is.
        #[derive(Deserialize)]
        struct Version {
            schema_version: u64,
        }

        let size_bytes = bytes.len() as u64;
        if size_bytes > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { size_bytes });
        }
        let Version { schema_version: version } = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if version != u64::from(SCHEMA_VERSION) {
            return Err(ManifestError::Version { version });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks what the types don't say. Offsets are the `.aimg` reader's to check.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(ManifestError::Version { version: self.schema_version.into() });
        }
        let count = self.layers.len();
        if !(1..=MAX_LAYERS).contains(&count) {
            return Err(ManifestError::LayerCount { count });
        }
        let mut total: u64 = 0;
        for (index, Layer { digest, size_bytes, .. }) in self.layers.iter().enumerate() {
            let (digest, size_bytes) = (*digest, *size_bytes);
            // The kernel's file offsets are signed.
            match total.checked_add(size_bytes).filter(|sum| *sum < i64::MAX as u64 - (MAX_MANIFEST_BYTES << 1)) {
                Some(sum) if size_bytes != 0 && size_bytes.is_multiple_of(ALIGNMENT) => total = sum,
                _ => return Err(ManifestError::LayerSize { digest, size_bytes }),
            }
            if self.layers[..index].iter().any(|layer| layer.digest == digest) {
                return Err(ManifestError::LayerTwice { digest });
            }
        }
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=32).contains(&self.architecture.len()) || !self.architecture.chars().all(word) {
            let architecture = self.architecture.chars().take(80).collect();
            return Err(ManifestError::Architecture { architecture });
        }
        self.config.validate().map_err(ManifestError::Config)
    }

    /// The manifest as JSON: what stands in an `.aimg` (with offsets) or in the store (without). Checks it, too.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate()?;
        let json = serde_json::to_vec(self).map_err(ManifestError::Json)?;
        let size_bytes = json.len() as u64;
        if size_bytes > MAX_MANIFEST_BYTES { Err(ManifestError::TooLong { size_bytes }) } else { Ok(json) }
    }

    /// The manifest as the store keeps it: without offsets.
    pub fn in_store(&self) -> Self {
        let mut manifest = self.clone();
        manifest.layers.iter_mut().for_each(|layer| layer.offset = None);
        manifest
    }

    /// The digest that names this image: of its JSON in the store. So a thin and a full file of one image have
    /// the same.
    pub fn digest(&self) -> Result<Digest, ManifestError> {
        Ok(Digest::of(&self.in_store().to_json()?))
    }

    /// Length of all layers together.
    pub fn size_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_bytes).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::image) fn manifest(layers: Vec<Layer>) -> Manifest {
        Manifest {
            schema_version: SCHEMA_VERSION,
            name: "app".parse().unwrap(),
            created: "2024-05-06T07:08:09Z".parse().unwrap(),
            architecture: "x86_64".to_owned(),
            layers,
            base: None,
            config: ImageConfig::default(),
        }
    }

    fn layer(number: u8) -> Layer {
        Layer { digest: Digest::of(&[number]), size_bytes: 4096, offset: None }
    }

    #[test]
    fn the_json_is_what_the_specification_says() {
        let manifest = manifest(vec![Layer { offset: Some(0), ..layer(1) }]);
        assert_eq!(
            String::from_utf8(manifest.to_json().unwrap()).unwrap(),
            r#"{"schema_version":1,"name":"app","created":"2024-05-06T07:08:09Z","architecture":"x86_64","#.to_owned()
                + r#""layers":[{"digest":"sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a","#
                + r#""size_bytes":4096,"offset":0}],"config":{}}"#
        );
    }

    #[test]
    fn offsets_do_not_change_the_digest() {
        let thin = manifest(vec![layer(1)]);
        let full = manifest(vec![Layer { offset: Some(0), ..layer(1) }]);
        assert_eq!(thin.digest().unwrap(), full.digest().unwrap());
        assert_ne!(thin.digest().unwrap(), manifest(vec![layer(2)]).digest().unwrap());
    }

    #[test]
    fn a_newer_version_is_named_whatever_else_it_has() {
        let error = Manifest::parse(br#"{"schema_version":2,"new":[]}"#).unwrap_err();
        assert!(matches!(error, ManifestError::Version { version: 2 }));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let json = String::from_utf8(manifest(vec![layer(1)]).to_json().unwrap()).unwrap();
        assert!(Manifest::parse(json.as_bytes()).is_ok());
        let more = json.replacen('{', r#"{"more":1,"#, 1);
        assert!(matches!(Manifest::parse(more.as_bytes()), Err(ManifestError::Json(_))));
    }

    #[test]
    fn layers_are_counted_measured_and_different() {
        let check = |layers| manifest(layers).validate();
        assert!(matches!(check(vec![]), Err(ManifestError::LayerCount { count: 0 })));
        assert!(matches!(check((0..65).map(layer).collect()), Err(ManifestError::LayerCount { count: 65 })));
        assert!(check((0..64).map(layer).collect()).is_ok());
        assert!(matches!(check(vec![layer(1), layer(1)]), Err(ManifestError::LayerTwice { .. })));
        for size_bytes in [0, 1, 4095, 4097, u64::MAX, u64::MAX - 4095] {
            let layers = vec![layer(0), Layer { size_bytes, ..layer(1) }];
            assert!(matches!(check(layers), Err(ManifestError::LayerSize { .. })), "{size_bytes}");
        }
    }

    #[test]
    fn a_manifest_of_more_than_a_mebibyte_is_refused_unread() {
        let long = vec![b' '; MAX_MANIFEST_BYTES as usize + 1];
        assert!(matches!(Manifest::parse(&long), Err(ManifestError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            count in 1usize..10,
            env in prop::collection::btree_map("[A-Z]{1,5}", "[ -~]{0,20}", 0..5),
            commands in prop::collection::vec("[ -~]{1,20}", 0..3),
        ) {
            let mut manifest = manifest((0..count as u8).map(layer).collect());
            manifest.config.env = env;
            manifest.config.startup_commands = commands;
            prop_assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
        }
    }
}
