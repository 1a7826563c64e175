//! Users and groups as the container's own `/etc/passwd` and `/etc/group` have them (passwd(5), group(5)). Pure. The C
//! library is not asked: its answer would come from shared objects of whatever root file system this runs in.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    str,
};

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The login name; the number as text if the file has none.
    pub(crate) name: OsString,
    /// User id in the container.
    pub(crate) uid: u32,
    /// Group id in the container.
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
    /// Home directory.
    pub(crate) home: OsString,
    /// Login shell; empty if the file names none.
    pub(crate) shell: OsString,
}

/// A user or group that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSuchUser;

/// The home directory where the file names none.
const NO_HOME: &str = "/";

/// Finds `USER`, `UID`, `USER:GROUP` or `UID:GID` (any mix); root if `text` is absent. A number need not be in the
/// files. Further groups are those that list the user, unless a group is asked for, which is then the only one.
pub(crate) fn find(text: Option<&str>, passwd: &[u8], group: &[u8]) -> Result<User, NoSuchUser> {
    let text = text.unwrap_or("0");
    let (user, chosen) = match text.split_once(':') {
        Some((user, chosen)) => (user, Some(chosen)),
        None => (text, None),
    };
    let mut found = find_user(user, passwd)?;
    match chosen {
        Some(chosen) => found.gid = find_group(chosen, group)?,
        None => found.groups = groups_of(found.name.as_bytes(), group),
    }
    Ok(found)
}

fn find_user(text: &str, passwd: &[u8]) -> Result<User, NoSuchUser> {
    let entry = |fields: &[&[u8]]| {
        let &[name, _, uid, gid, _, home, ref shell @ ..] = fields else { return None };
        let home = if home.is_empty() { NO_HOME.as_bytes() } else { home };
        Some(User {
            name: OsStr::from_bytes(name).to_owned(),
            uid: number(uid)?,
            gid: number(gid)?,
            groups: Vec::new(),
            home: OsStr::from_bytes(home).to_owned(),
            shell: OsStr::from_bytes(shell.first().copied().unwrap_or_default()).to_owned(),
        })
    };
    let entries = || lines(passwd).filter_map(|fields| entry(&fields));
    if let Some(user) = entries().find(|user| user.name.as_bytes() == text.as_bytes()) {
        return Ok(user);
    }
    let uid = number(text.as_bytes()).ok_or(NoSuchUser)?;
    Ok(entries().find(|user| user.uid == uid).unwrap_or_else(|| User {
        name: uid.to_string().into(),
        uid,
        gid: 0,
        groups: Vec::new(),
        home: NO_HOME.into(),
        shell: OsString::new(),
    }))
}

fn find_group(text: &str, group: &[u8]) -> Result<u32, NoSuchUser> {
    group_named(text, group).or_else(|| number(text.as_bytes())).ok_or(NoSuchUser)
}

/// The number of the group with this name, if there is one.
pub(crate) fn group_named(name: &str, group: &[u8]) -> Option<u32> {
    lines(group).filter(|fields| fields.first() == Some(&name.as_bytes())).find_map(|fields| number(fields.get(2)?))
}

fn groups_of(name: &[u8], group: &[u8]) -> Vec<u32> {
    let mut groups: Vec<u32> = lines(group)
        .filter(|fields| {
            fields.get(3).is_some_and(|members| members.split(|byte| *byte == b',').any(|member| member == name))
        })
        .filter_map(|fields| number(fields[2]))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn lines(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| line.split(|byte| *byte == b':').collect())
}

/// A decimal id; not 4294967295, which the kernel takes as "unchanged".
fn number(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\n\nbroken:x\nbad:x:-1:zz::/:\n\
        app:x:1000:1000:An app,,,:/home/app:/bin/sh\n4000:x:7:8::/seven:\nnohome:x:9:9:::\nlast:x:5:6::/last:";
    const GROUP: &[u8] =
        b"root:x:0:\nadm:x:4:syslog,app\naudio:x:29:app\nagain:x:29:app\nweb:x:33:\nnone:x\nodd:x:zz:app\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), NoSuchUser> {
        find(Some(text), PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups))
    }

    #[test]
    fn a_user_is_found_by_name_then_by_number_with_the_groups_that_list_it() {
        assert_eq!(ids("app"), Ok((1000, 1000, vec![4, 29])));
        assert_eq!(ids("1000"), Ok((1000, 1000, vec![4, 29])));
        assert_eq!(ids("last"), Ok((5, 6, vec![])));
        assert_eq!(ids("4000"), Ok((7, 8, vec![])), "a name of digits is a name first");
        assert_eq!(find(None, PASSWD, GROUP).unwrap().home, "/root");
    }

    #[test]
    fn a_login_shell_is_the_last_field_and_may_be_missing() {
        let shell = |text: &str| find(Some(text), PASSWD, GROUP).unwrap().shell;
        assert_eq!([shell("app"), shell("4000"), shell("last"), shell("12345")], ["/bin/sh", "", "", ""]);
    }

    #[test]
    fn a_group_that_is_asked_for_is_the_only_one() {
        assert_eq!(ids("app:web"), Ok((1000, 33, vec![])));
        assert_eq!(ids("77:88"), Ok((77, 88, vec![])));
        assert_eq!(ids("app:nobody"), Err(NoSuchUser));
        assert_eq!(ids("app:"), Err(NoSuchUser));
    }

    #[test]
    fn a_number_needs_no_entry_and_a_name_does() {
        let user = find(Some("12345"), PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_os_str()), (12345, 0, OsStr::new("/")));
        assert_eq!(find(Some("nohome"), PASSWD, GROUP).unwrap().home, "/");
        for missing in ["nobody", "", "broken", "bad", "-1", "4294967295", "99999999999", "+1"] {
            assert_eq!(ids(missing), Err(NoSuchUser), "{missing:?}");
        }
    }

    #[test]
    fn without_files_there_is_root() {
        assert_eq!(find(None, b"", b"").map(|user| (user.uid, user.gid)), Ok((0, 0)));
    }

    proptest! {
        #[test]
        fn no_file_and_no_request_is_a_panic(text: Option<String>, passwd: Vec<u8>, group: Vec<u8>) {
            drop(find(text.as_deref(), &passwd, &group));
        }
    }
}
