//! Whose a secret's file is to be: names are the container's, ids those that the host has for them.

use std::path::Path;

use appcontainers_sys::inside::read_in_root;

use super::{SecretError, SecretGrant};
use crate::{ContainerName, network::IdRange};

/// The most bytes of a list of users: read on the host, so that a container's size of it does not count.
const MAX_BYTES: u64 = 1024 * 1024;

/// The user and group on the host. `root` is the container's root directory.
pub(super) fn resolve(
    container: &ContainerName,
    grant: &SecretGrant,
    range: Option<IdRange>,
    root: &Path,
) -> Result<(u32, u32), SecretError> {
    let read = |path: &'static str| -> Result<Vec<u8>, SecretError> {
        let users = |source| SecretError::Users { container: container.clone(), path, source };
        Ok(read_in_root(root, Path::new(path), MAX_BYTES).map_err(users)?.unwrap_or_default())
    };
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let files = match grant.owner.as_str() {
        "root" | "root:root" => Default::default(),
        // The group of a user who is a number only stands in the file, if it does.
        owner if owner.split(':').count() == 2 && owner.split(':').all(is_number) => Default::default(),
        _ => [read("/etc/passwd")?, read("/etc/group")?],
    };
    let unknown = || SecretError::NoSuchOwner {
        name: grant.name.clone(),
        container: container.clone(),
        owner: grant.owner.clone(),
    };
    let (uid, gid) = find(&grant.owner, &files[0], &files[1]).ok_or_else(unknown)?;
    match range {
        None => Ok((uid, gid)),
        Some(range) if uid < range.count() && gid < range.count() => Ok((range.base() + uid, range.base() + gid)),
        Some(_) => Err(unknown()),
    }
}

/// `USER[:GROUP]` by passwd(5) and group(5), as the agent does it: a name first, then a number; the user's own group if none is named.
fn find(owner: &str, passwd: &[u8], group: &[u8]) -> Option<(u32, u32)> {
    let (user, chosen) = owner.split_once(':').map_or((owner, None), |(user, group)| (user, Some(group)));
    let entries = || lines(passwd).filter(|fields| fields.len() >= 6);
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let by_name = entries().find(|fields| fields[0] == user.as_bytes());
    let by_id = || number(user.as_bytes()).and_then(|uid| entries().find(|fields| number(fields[2]) == Some(uid)));
    let entry = by_name.or_else(by_id);
    let (uid, own_group) = match entry {
        Some(fields) => (number(fields[2])?, number(fields[3])?),
        None if user == "root" => (0, 0),
        None => (number(user.as_bytes())?, 0),
    };
    let Some(chosen) = chosen else { return Some((uid, own_group)) };
    let named = lines(group).find(|fields| fields.len() >= 3 && fields[0] == chosen.as_bytes());
    let gid = match named {
        Some(fields) => number(fields[2]),
        None if chosen == "root" => Some(0),
        None => number(chosen.as_bytes()),
    };
    Some((uid, gid?))
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_before_a_number_and_a_group_from_its_user() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\napp:x:100:101::/srv:/bin/sh\n7:x:70:71::/:\nbad:x:no:1::/:\n";
        let group = b"root:x:0:\nwww:x:33:app\n";
        for (owner, ids) in [
            ("root", Some((0, 0))),
            ("app", Some((100, 101))),
            ("100", Some((100, 101))),
            ("app:www", Some((100, 33))),
            ("app:5", Some((100, 5))),
            ("7", Some((70, 71))),
            ("2000", Some((2000, 0))),
            ("2000:2001", Some((2000, 2001))),
            ("nobody", None),
            ("app:nogroup", None),
            ("bad", None),
            ("4294967295", None),
        ] {
            assert_eq!(find(owner, passwd, group), ids, "{owner}");
        }
        assert_eq!(find("root:root", b"", b""), Some((0, 0)));
    }

    #[test]
    fn an_id_that_the_container_has_not_is_nobody() {
        let range = IdRange::new(1 << 30).unwrap();
        let resolve = |owner: &str| {
            let grant = format!("db:::{owner}").parse().unwrap();
            resolve(&"web".parse().unwrap(), &grant, Some(range), Path::new("/nowhere"))
        };
        assert_eq!(resolve("1:2").unwrap(), ((1 << 30) + 1, (1 << 30) + 2));
        assert!(matches!(resolve("70000:0"), Err(SecretError::NoSuchOwner { .. })));
        assert_eq!(resolve("root").unwrap(), (1 << 30, 1 << 30));
    }
}
