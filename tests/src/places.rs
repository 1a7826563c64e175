//! A small network: the host, a neighbour of it, and containers.

use crate::{Host, Outside, Prober};

/// A host with a neighbour and running containers, a prober in each.
#[derive(Debug)]
pub struct Places {
    /// On the host.
    pub host: Prober,
    /// At the neighbour.
    pub outside: Prober,
    /// In the containers, in their order.
    pub containers: Vec<Prober>,
    neighbour: Outside,
}

impl Places {
    /// Provisions and starts these containers.
    #[track_caller]
    pub fn new(host: &Host, names: &[&str]) -> Self {
        for name in names {
            host.start(name);
        }
        let neighbour = Outside::new(host);
        Self {
            host: Prober::on_host(host),
            outside: Prober::outside(host, &neighbour),
            containers: names.iter().map(|name| Prober::container(host, name)).collect(),
            neighbour,
        }
    }

    /// All probers.
    pub fn all(&self) -> Vec<&Prober> {
        [&self.host, &self.outside].into_iter().chain(&self.containers).collect()
    }

    /// The neighbour itself.
    pub fn neighbour(&self) -> &Outside {
        &self.neighbour
    }

    /// Puts another prober into a container that has been started anew.
    #[track_caller]
    pub fn enter_again(&mut self, host: &Host, name: &str) {
        let prober = self.containers.iter_mut().find(|one| one.name() == name).expect("a container of this name");
        *prober = Prober::container(host, name);
    }
}
