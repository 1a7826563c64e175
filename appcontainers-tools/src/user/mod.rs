//! Who is who in the container, by its own files.

mod passwd;

use std::{fs, io};

pub(crate) use passwd::User;

/// Where users and groups are.
const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// Why a user was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("user {user} is not in the container's /etc/passwd or /etc/group")]
    NoSuchUser { user: String },
    #[error("cannot read {path} of the container: {source}")]
    Unreadable { path: &'static str, source: io::Error },
}

/// Finds `USER`, `UID`, `USER:GROUP` or `UID:GID`; root if absent. A missing file is an empty one.
pub(crate) fn find(text: Option<&str>) -> Result<User, UserError> {
    let [passwd, group] = FILES.map(read);
    let no_such_user = |_| UserError::NoSuchUser { user: text.unwrap_or("root").to_owned() };
    passwd::find(text, &passwd?, &group?).map_err(no_such_user)
}

/// The number of a group, if the container has it.
pub(crate) fn find_group(name: &str) -> Result<Option<u32>, UserError> {
    let [_, group] = FILES;
    Ok(passwd::group_named(name, &read(group)?))
}

fn read(path: &'static str) -> Result<Vec<u8>, UserError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|source| UserError::Unreadable { path, source }),
    }
}
