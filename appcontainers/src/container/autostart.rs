//! Whether a container is started when the host boots.

use super::Container;
use crate::{Error, record::OverlayKind};

impl Container {
    /// Says whether [`Service::start_all_marked`](crate::Service::start_all_marked) starts it. An ephemeral container is gone when
    /// the host boots, so that is an error.
    pub fn set_autostart(&self, autostart: bool) -> Result<(), Error> {
        self.update(|record| {
            if autostart && record.overlay == OverlayKind::Tmp {
                return Err(Error::EphemeralAutostart { name: self.name.clone() });
            }
            record.autostart = autostart;
            Ok(())
        })
    }
}
