//! Tries on the kernel what every start does, because version numbers lie: a squashfs on a loop device, its
//! ids mapped, an overlay over it.
//!
//! A forked child does it in a mount namespace of its own; all that it mounts ends with it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, chown},
    },
    path::Path,
};

use appcontainers_sys::{mount, process, squashfs, userns};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::geteuid,
};

use super::Check;
use crate::{
    Paths,
    network::{IdRange, Reservations},
};

/// The steps, in the order in which they are tried; a step needs those before it, but for [`ID_MAP`].
const STEPS: [(&str, &str); 4] = [
    ("user-namespaces", "raise user.max_user_namespaces: sysctl -w user.max_user_namespaces=15000"),
    ("squashfs", "load the kernel's modules: modprobe -a loop squashfs"),
    (
        ID_MAP,
        "boot a kernel from 6.12 on (Debian 12 has one in bookworm-backports), or make containers with --privileged, \
         which need none",
    ),
    ("overlay", "load the kernel's module (modprobe overlay), and keep the state on ext4, xfs or btrfs"),
];

/// Without it there are privileged containers, whose layers are as they are.
const ID_MAP: &str = "id-mapped-layers";

/// The checks of what was tried.
pub(super) fn checks(paths: &Paths) -> Vec<Check> {
    if !geteuid().is_root() {
        return vec![Check::warning("kernel", "not tried: only root can", "run: sudo appc doctor")];
    }
    match in_child(paths) {
        Ok(said) => judge(&said),
        Err(error) => {
            let mend = format!("see that {} can be written to", parent_of_trials(paths).display());
            vec![Check::unfit("kernel", format!("the kernel could not be tried: {error}"), mend)]
        }
    }
}

/// Makes a check of each line that the child wrote: a step's error, empty if it went well.
fn judge(said: &str) -> Vec<Check> {
    let mut lines = said.lines();
    let mut failed = None;
    STEPS
        .into_iter()
        .map(|(name, mend)| match (failed, lines.next()) {
            (None, Some("")) => Check::fit(name, "tried"),
            (None, error) => {
                failed = Some(name).filter(|name| *name != ID_MAP || error.is_none());
                Check::unfit(name, error.unwrap_or("the trial ended early"), mend)
            }
            (Some(before), _) => Check::unfit(name, "not tried", format!("mend {before} first")),
        })
        .collect()
}

fn in_child(paths: &Paths) -> io::Result<String> {
    let parent = parent_of_trials(paths);
    // Named so that it is known as a dead process's if this one is killed.
    let suffix = format!(".{}-0.tmp", std::process::id());
    let place = tempfile::Builder::new().prefix(".doctor.").suffix(&suffix).tempdir_in(parent)?;
    let base = Reservations::read(paths).map_or(1 << 30, |reservations| reservations.settings().id_pool.base);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut writer = Some(writer);
    let child = process::fork(|| {
        if let Some(writer) = writer.take() {
            try_all(place.path(), base, &mut File::from(writer));
        }
    })?;
    drop(writer);
    let mut said = String::new();
    File::from(reader).read_to_string(&mut said)?;
    child.wait()?;
    Ok(said)
}

/// Where overlays are, so that their file system is tried; elsewhere before the first setup.
fn parent_of_trials(paths: &Paths) -> &Path {
    if paths.root().is_dir() { paths.root() } else { Path::new("/tmp") }
}

/// Tries the steps and writes a line for each, up to the first without which the next ones can't be.
fn try_all(place: &Path, base: u32, say: &mut File) {
    let mut namespace = None;
    let made = userns::with_range(base, IdRange::COUNT).map(|made| namespace = Some(made));
    if !told(say, made) || !told(say, try_squashfs(place)) {
        return;
    }
    let Some(namespace) = namespace else { return };
    let (lower, owner) =
        if told(say, try_id_map(place, namespace.as_fd(), base)) { ("mapped", base) } else { ("layer", 0) };
    told(say, try_overlay(place, lower, owner));
}

fn told(say: &mut File, result: io::Result<()>) -> bool {
    let line = result.as_ref().err().map(|error| error.to_string().replace('\n', " ")).unwrap_or_default();
    writeln!(say, "{line}").is_ok() && result.is_ok()
}

fn try_squashfs(place: &Path) -> io::Result<()> {
    for name in ["layer", "mapped", "upper", "work", "root"] {
        fs::create_dir(place.join(name))?;
    }
    let path = place.join("layer.sqfs");
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let metadata = squashfs::Metadata { permissions: 0o644, ..squashfs::Metadata::default() };
    let mut writer = squashfs::Writer::create(file, &squashfs::Options::default()).map_err(io::Error::other)?;
    let mut inside = writer.file(b"file", &metadata).map_err(io::Error::other)?;
    inside.write(b"appc").and_then(|()| inside.finish()).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)?;
    mount::enter_slave_namespace()?;
    mount::squashfs(&File::open(&path)?, &place.join("layer"))?;
    expect_content(&place.join("layer/file"))
}

fn try_id_map(place: &Path, namespace: std::os::fd::BorrowedFd<'_>, base: u32) -> io::Result<()> {
    mount::copy(&place.join("layer"), &place.join("mapped"), Some(namespace))?;
    expect_owner(&place.join("mapped/file"), base)
}

fn try_overlay(place: &Path, lower: &str, owner: u32) -> io::Result<()> {
    let [lower, upper, work, root] = [lower, "upper", "work", "root"].map(|name| place.join(name));
    chown(&upper, Some(owner), Some(owner))?;
    chown(&work, Some(owner), Some(owner))?;
    let overlay = mount::Overlay { lowers: &[&lower], upper_and_work: Some((&upper, &work)), volatile: false };
    mount::overlay(&overlay, &root)?;
    expect_owner(&root.join("file"), owner)?;
    expect_content(&root.join("file"))?;
    fs::write(root.join("new"), "appc")?;
    expect_content(&upper.join("new"))
}

fn expect_owner(path: &Path, owner: u32) -> io::Result<()> {
    let found = path.metadata()?.uid();
    if found == owner { Ok(()) } else { Err(io::Error::other(format!("a file has owner {found} instead of {owner}"))) }
}

fn expect_content(path: &Path) -> io::Result<()> {
    if fs::read(path)? == b"appc" { Ok(()) } else { Err(io::Error::other("a file has another content")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn what_comes_after_a_failed_step_is_not_called_its_own_fault() {
        let checks = judge("\nNo such device (os error 19)\n");
        let verdicts: Vec<_> = checks.iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fit, Verdict::Unfit, Verdict::Unfit, Verdict::Unfit]);
        assert_eq!(checks[1].detail, "No such device (os error 19)");
        assert_eq!(checks[3].mend.as_deref(), Some("mend squashfs first"));
        assert!(judge("\n\n\n\n").iter().all(|check| check.verdict == Verdict::Fit));
        assert_eq!(judge("")[0].detail, "the trial ended early");
    }

    #[test]
    fn a_kernel_without_id_maps_may_have_all_that_privileged_containers_need() {
        let checks = judge("\n\nInvalid argument (os error 22)\n\n");
        let verdicts: Vec<_> = checks.iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fit, Verdict::Fit, Verdict::Unfit, Verdict::Fit]);
        assert!(checks[2].mend.as_deref().unwrap().contains("--privileged"));
        let ended_early = judge("\n\n");
        assert_eq!(ended_early[3].mend.as_deref(), Some("mend id-mapped-layers first"));
    }
}
