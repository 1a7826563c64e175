//! Makes an image of an app file: a step after the other, each of them from the cache or in the build's container.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    thread,
};

use appcontainers_sys::squashfs;
use appcontainers_wire::ExitStatus;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::{
    AppFile, BuildCache, BuildError, Copy, Step, StepNetwork,
    context::Files,
    copy,
    hashes::Hashes,
    ignore::Ignore,
    key::{Action, Key},
    room::{Room, UnderWay},
};
use crate::{
    Command, DEFAULT_BASE, Error, ImageName, ImageSource, ImageSummary, Progress, RunStreams, Service,
    error::io_error,
    image::{
        BaseReference, Digest, ImageConfig, Kind, Layer, MAX_LAYERS, Manifest, Store,
        aimg::{self, Carry},
        base,
        pack::LeftOut,
    },
};

/// The newest time in an image unless something else is said: the first that every archive format can hold.
pub const DEFAULT_SOURCE_DATE_EPOCH: u32 = 315_532_800;

/// The variable by which programs hear of it.
const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// Whose copied files are unless the file says otherwise.
const ROOT: &str = "0:0";

/// How to build.
#[derive(Debug, Default)]
pub struct BuildOptions {
    /// Do every step, whatever is remembered of it; what comes of it is remembered.
    pub no_cache: bool,
    /// Write the image to this file, too.
    pub output: Option<PathBuf>,
    /// The image's name, instead of what the file says.
    pub tag: Option<ImageName>,
    /// Times in the image are at most this, in seconds since 1970, instead of what the file says.
    pub source_date_epoch: Option<u32>,
    /// Do the steps without a user namespace: for kernels that can't map the ids of layers. A step's root is the host's root
    /// then, held back by capabilities alone.
    pub privileged: bool,
    /// Gets what steps print, both streams; nobody does if absent.
    pub steps_output: Option<File>,
    /// Gives numbers of signals, one byte each, for the step that runs; between two steps they end the build.
    pub signals: Option<OwnedFd>,
}

/// What was built.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// The image, which is in the store.
    pub image: ImageSummary,
    /// Every step, and then every one of `files`.
    pub steps: Vec<BuiltStep>,
    /// Attributes that squashfs can't hold, which the image has not.
    #[serde(skip)]
    pub left_out: Vec<LeftOut>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuiltStep {
    /// The line of the file at which it begins.
    pub line: usize,
    /// The step, in a line.
    pub step: String,
    /// Whether it was remembered, so that nothing was done.
    pub cached: bool,
    /// Its layer; none if it changed nothing.
    pub layer: Option<Digest>,
}

/// A step or a copy, in the order in which they are done.
enum Planned<'f> {
    Run(&'f Step, &'f str),
    Copy(&'f Copy),
}

impl Planned<'_> {
    fn line(&self) -> usize {
        match self {
            Self::Run(step, _) => step.line,
            Self::Copy(copy) => copy.line,
        }
    }

    /// The step in a line of at most 60 characters.
    fn what(&self) -> String {
        let text = match self {
            Self::Run(_, line) => {
                let mut lines = line.lines().map(str::trim).filter(|line| !line.is_empty());
                let (first, more) = (lines.next().unwrap_or_default(), lines.next().is_some());
                format!("run {first}{}", if more { " …" } else { "" })
            }
            Self::Copy(copy) => format!("copy {} to {}", copy.from, copy.to),
        };
        let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        if text.chars().count() <= 60 { text } else { text.chars().take(59).chain(['…']).collect() }
    }
}

/// A build that is under way.
struct Build<'a> {
    file: &'a AppFile,
    options: &'a BuildOptions,
    progress: &'a dyn Progress,
    store: Store,
    cache: BuildCache<'a>,
    room: Room<'a>,
    hashes: Hashes,
    /// What the image starts from.
    start: Manifest,
    config: ImageConfig,
    epoch: u32,
    architecture: String,
    layers: Vec<Layer>,
    left_out: Vec<LeftOut>,
}

impl Service {
    /// Builds the image that an app file describes and gives it its name in the store, which an older one loses. A step whose
    /// result is remembered is not done again; if all are, no container is started. Builds at once don't disturb each other.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use appcontainers::{AppFile, NoProgress, build::BuildOptions, setup_service};
    ///
    /// let file = AppFile::read(Path::new("shop/appc.toml"))?;
    /// let options = BuildOptions { output: Some("shop.aimg".into()), ..Default::default() };
    /// let built = setup_service()?.build(&file, &options, &NoProgress)?;
    /// println!("{}: {} steps were done", built.image.digest, built.steps.iter().filter(|step| !step.cached).count());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build(&self, file: &AppFile, options: &BuildOptions, progress: &dyn Progress) -> Result<Built, Error> {
        Ok(self.build_manifest(file, options, progress)?.1)
    }

    /// As [`Service::build`], with the manifest.
    pub(super) fn build_manifest(
        &self,
        file: &AppFile,
        options: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<(Manifest, Built), Error> {
        self.prepare()?;
        let name = options.tag.clone().or_else(|| file.image_name());
        let name = name.ok_or_else(|| BuildError::NoName { path: file.path.clone() })?;
        let _under_way = UnderWay::enter(self.paths())?;
        let store = self.store();
        let _in_use = store.keep_layers()?;
        let start = self.start_of(file, progress)?;
        store.check_layers(&start)?;
        let said = options.source_date_epoch.or(file.source_date_epoch);
        let mut build = Build {
            config: file.config(&start.config),
            layers: start.layers.clone(),
            hashes: Hashes::open(self.paths(), &file.context()),
            cache: BuildCache::new(self.paths()),
            room: Room::new(self.paths(), options.privileged),
            epoch: said.unwrap_or(DEFAULT_SOURCE_DATE_EPOCH),
            architecture: base::architecture(),
            left_out: Vec::new(),
            file,
            options,
            progress,
            store,
            start,
        };
        let steps = build.steps()?;
        let Build { hashes, room, store, config, layers, left_out, start, .. } = build;
        hashes.store();
        room.close()?;
        let base = match &start.base {
            Some(base) => base.clone(),
            None => BaseReference { name: start.name.clone(), digest: start.digest()? },
        };
        let manifest = Manifest {
            name,
            created: said.map_or_else(base::now, |epoch| Timestamp::from_second(epoch.into()).unwrap_or_default()),
            layers,
            base: Some(base),
            config,
            ..start
        };
        let manifest = enter(&store, manifest)?;
        if let Some(dest) = &options.output {
            aimg::write(dest, &manifest, Carry::All, |digest| store.open_layer(digest), progress)
                .map_err(|source| Error::Save { dest: dest.clone(), source })?;
        }
        let built = Built { image: ImageSummary::of(&manifest)?, steps, left_out };
        Ok((manifest, built))
    }

    /// The image that this one starts from.
    fn start_of(&self, file: &AppFile, progress: &dyn Progress) -> Result<Manifest, Error> {
        match (&file.image, &file.base) {
            (Some(image), _) => match ImageSource::from(image.as_str()) {
                ImageSource::Name(name) => self.find_image(&name),
                ImageSource::File(path) => Ok(self.store().load(&file.context().join(path), progress)?.manifest),
            },
            (None, Some(base)) if base.as_str() != DEFAULT_BASE => self.find_base(base),
            (None, _) => self.default_base(),
        }
    }
}

/// Gives the image its name. One of that name that differs only in when it was made stays as it is.
fn enter(store: &Store, manifest: Manifest) -> Result<Manifest, Error> {
    manifest
        .validate()
        .map_err(|source| crate::image::StoreError::NewManifest { name: manifest.name.clone(), source })?;
    // One that can't be read is replaced.
    if let Ok(Some(existing)) = store.find(Kind::Image, &manifest.name)
        && (Manifest { created: existing.created, ..manifest.clone() }) == existing
    {
        return Ok(existing);
    }
    store.replace(Kind::Image, &manifest)?;
    Ok(manifest)
}

impl Build<'_> {
    /// Does all steps.
    fn steps(&mut self) -> Result<Vec<BuiltStep>, Error> {
        let file = self.file;
        let steps = file.steps.iter().filter_map(|step| match (&step.run, &step.copy) {
            (Some(line), _) => Some(Planned::Run(step, line)),
            (None, copy) => copy.as_ref().map(Planned::Copy),
        });
        let planned: Vec<_> = steps.chain(file.files.iter().map(Planned::Copy)).collect();
        let mut built = Vec::with_capacity(planned.len());
        for (index, step) in planned.iter().enumerate() {
            self.check_interrupted()?;
            let (number, count, what) = (index + 1, planned.len(), step.what());
            let done = self.step(step, &format!("step {number} of {count}: {what}"));
            let (cached, layer) = done.map_err(|failure| {
                let (path, line, what) = (file.path.clone(), step.line(), what.clone());
                match failure {
                    Failure::Command(status) => {
                        BuildError::StepFailed { path, line, number, count, what, status }.into()
                    }
                    Failure::Other(source) => {
                        Error::from(BuildError::Step { path, line, number, count, what, source: Box::new(source) })
                    }
                }
            })?;
            built.push(BuiltStep { line: step.line(), step: what, cached, layer: layer.map(|layer| layer.digest) });
        }
        Ok(built)
    }

    /// Does one step: whether it was remembered, and its layer.
    fn step(&mut self, step: &Planned<'_>, shown: &str) -> Result<(bool, Option<Layer>), Failure> {
        let layers: Vec<Digest> = self.layers.iter().map(|layer| layer.digest).collect();
        let (env, files);
        let action = match step {
            Planned::Run(step, line) => {
                env = self.environment(step);
                files = None;
                let (user, working_dir) = (step.user.as_deref().unwrap_or_default(), working_dir(step));
                Action::Run { line, env: &env, user, working_dir, network: step.network }
            }
            Planned::Copy(copy) => {
                let ignore = Ignore::new(self.file.ignore.iter().chain(&copy.ignore));
                files = Some(Files::collect(&self.file.context(), copy, &ignore, &mut self.hashes)?);
                env = BTreeMap::new();
                let files = files.as_ref().map_or(Digest::of(b""), Files::digest);
                Action::Copy { into: &copy.to, owner: copy.owner.as_deref().unwrap_or(ROOT), files }
            }
        };
        let key = Key::new(&self.architecture, self.epoch, &layers, self.options.privileged, action).digest();
        if !self.options.no_cache
            && let Some(found) = self.cache.find(&key, &self.store)
            // An overlay can't have a layer twice; where the layers below are others, this one was made otherwise.
            && found.as_ref().is_none_or(|layer| !layers.contains(&layer.digest))
        {
            self.progress.say(&format!("{shown} (cached)"));
            self.layers.extend(found.clone());
            return Ok((true, found));
        }
        if self.layers.len() >= MAX_LAYERS {
            return Err(BuildError::TooManyLayers { count: self.layers.len() + 1 }.into());
        }
        self.progress.say(shown);
        let network = if let Planned::Run(step, _) = step { step.network } else { StepNetwork::All };
        let container = self.room.on(&self.start, &self.layers, network)?;
        match (step, &files) {
            (Planned::Run(step, line), _) => {
                let command = Command {
                    argv: ["/bin/sh", "-e", "-c", line].map(str::to_owned).into(),
                    env,
                    user: step.user.clone(),
                    working_dir: Some(working_dir(step).to_owned()),
                    ..Command::default()
                };
                match container.run_step(command, self.streams()?)? {
                    ExitStatus::Code(0) => {}
                    status => return Err(Failure::Command(status)),
                }
            }
            (Planned::Copy(copy), Some(files)) => {
                let owner = copy.owner.as_deref().unwrap_or(ROOT);
                let (input, output) = io::pipe().map_err(io_error("make a pipe for", files.shown(b"")))?;
                let epoch = self.epoch;
                let (written, unpacked) = thread::scope(|scope| {
                    let writing = scope.spawn(move || copy::write(files, epoch, output));
                    let unpacked = container.unpack_copied(File::from(OwnedFd::from(input)), &files.into, owner);
                    (writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), unpacked)
                });
                // That files have changed is why the container's side got half a tar.
                written?;
                unpacked?;
            }
            (Planned::Copy(_), None) => {}
        }
        self.check_interrupted()?;
        let epoch = self.epoch;
        let options = |again: u32| squashfs::Options {
            newest: Some(epoch),
            made: Some(epoch.saturating_add(again)),
            ..squashfs::Options::default()
        };
        let (layer, left_out) = container.take_layer(&self.store, options, self.progress)?;
        self.left_out.extend(left_out);
        self.cache.remember(&key, layer.as_ref(), &self.store);
        self.layers.extend(layer.clone());
        Ok((false, layer))
    }

    /// A command's environment: what programs in the image have, what the step says, and which time it is to be.
    fn environment(&self, step: &Step) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([(EPOCH_VARIABLE.to_owned(), self.epoch.to_string())]);
        env.extend(self.config.env.clone());
        env.extend(step.env.clone());
        env
    }

    fn streams(&self) -> Result<RunStreams, Error> {
        let failed = || io_error("duplicate", "the stream for what steps print");
        let output = || self.options.steps_output.as_ref().map(File::try_clone).transpose().map_err(failed());
        let signals = self.options.signals.as_ref().map(|fd| fd.as_fd().try_clone_to_owned()).transpose();
        let (stdout, stderr) = (output()?, output()?);
        Ok(RunStreams { stdin: None, stdout, stderr, signals: signals.map_err(failed())?, terminal: None })
    }

    /// A signal that came while no command ran that could have it.
    fn check_interrupted(&self) -> Result<(), BuildError> {
        let Some(signals) = &self.options.signals else { return Ok(()) };
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(count) if count > 0 => Err(BuildError::Interrupted),
            _ => Ok(()),
        }
    }
}

fn working_dir(step: &Step) -> &str {
    step.working_dir.as_deref().unwrap_or("/")
}

/// Why a step was not done.
enum Failure {
    Command(ExitStatus),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Other(error.into())
    }
}
