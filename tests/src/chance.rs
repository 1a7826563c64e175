//! Chance that can be repeated.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Random numbers. Says their seed; `APPC_TEST_SEED` gives it.
pub fn random() -> StdRng {
    let given = std::env::var("APPC_TEST_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    let seed = given.unwrap_or_else(|| rand::rng().random());
    eprintln!("APPC_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
