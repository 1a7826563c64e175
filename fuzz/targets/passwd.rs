//! A container's own `/etc/passwd` and `/etc/group`, as the agent reads them: who is looked for stands before the first line end,
//! the files behind it, one behind the other.
#![no_main]

#[path = "../../appcontainers-tools/src/user/passwd.rs"]
mod passwd;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (who, files) = data.split_at(end);
    let middle = files.iter().position(|byte| *byte == 0).unwrap_or(files.len());
    let (users, groups) = files.split_at(middle);
    if let Ok(who) = std::str::from_utf8(who) {
        if let Ok(user) = passwd::find(Some(who), users, groups) {
            assert!(!user.home.is_empty());
        }
        let _ = passwd::group_named(who, groups);
    }
});
