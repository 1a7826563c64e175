//! What the kernel says of whom it ends (`/dev/kmsg`, `Documentation/ABI/testing/dev-kmsg`): read when there is something to be read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::OFlags;

/// The longest record (`CONSOLE_EXT_LOG_MAX`), and more.
const RECORD_BYTES: usize = 16 * 1024;

/// The log from a time on.
#[derive(Debug)]
pub(super) struct KernelLog(File);

impl KernelLog {
    /// From now on.
    pub(super) fn open() -> io::Result<Self> {
        let mut file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// The names of those that were ended in the cgroup whose path ends with `group`, or below it, since this was asked last.
    pub(super) fn victims(&mut self, group: &str) -> Vec<String> {
        let (mut names, mut record) = (Vec::new(), vec![0; RECORD_BYTES]);
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return names,
                Ok(length) => names.extend(parse(&String::from_utf8_lossy(&record[..length]), group)),
                // Some were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return names,
            }
        }
    }
}

/// The name in a line `oom-kill:…,task_memcg=PATH,task=NAME,pid=N,uid=N`. Paths and names are the container's own words: what is before
/// the path of a start, which has a random number in it, is not looked at, and the name ends where the last `pid` is.
fn parse(record: &str, group: &str) -> Option<String> {
    let line = record.split_once(';')?.1.lines().next()?;
    let victim = line.strip_prefix("oom-kill:")?.rsplit_once(",task_memcg=")?.1;
    let (path, rest) = victim.split_once(",task=")?;
    let is_in_group = path.ends_with(group) || path.contains(&format!("{group}/"));
    let name = rest.rsplit_once(",uid=")?.0.rsplit_once(",pid=")?.0;
    is_in_group.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "6,1234,5678,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=payload,mems_allowed=0,\
        oom_memcg=/x/appcontainers-1/web.2/payload,task_memcg=/x/appcontainers-1/web.2/payload,task=tail,pid=77,uid=1000\n \
        SUBSYSTEM=x\n";

    #[test]
    fn who_was_killed_is_the_one_in_this_cgroup() {
        let group = "/appcontainers-1/web.2/payload";
        assert_eq!(parse(LINE, group).as_deref(), Some("tail"));
        assert_eq!(parse(&LINE.replace("payload,task=", "payload/a/b,task="), group).as_deref(), Some("tail"));
        assert_eq!(parse(LINE, "/appcontainers-1/web.3/payload"), None);
        assert_eq!(parse(&LINE.replace("payload,task=", "payloads,task="), group), None);
        assert_eq!(parse("6,1,2,-;eth0: link up\n", group), None);
        assert_eq!(parse("", group), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let group = "/appcontainers-1/web.2/payload";
        let named = |name: &str| parse(&LINE.replace("task=tail", &format!("task={name}")), group);
        for name in ["a,pid=1,uid=0", ",task=x", "x;y z", "\\x0a"] {
            assert_eq!(named(name).as_deref(), Some(name));
        }
    }
}
