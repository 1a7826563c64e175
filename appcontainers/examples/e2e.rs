use appcontainers::*;
use appcontainers::{image::*, network::*, state::*};
fn main() {
    let service = Service::open(Paths::from_env());
    let paths = service.paths().clone();
    let args: Vec<String> = std::env::args().collect();
    appcontainers::prewarm();
    match args[1].as_str() {
        "setup" => {
            for d in [
                paths.root().to_owned(),
                paths.root().join("images"),
                paths.bases(),
                paths.user_images(),
                paths.layers(),
                paths.root().join("overlays"),
                paths.layer_mounts(),
                paths.raw_overlays(),
                paths.tmp_overlays(),
                paths.containers(),
            ] {
                std::fs::create_dir_all(&d).unwrap();
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&d, std::fs::Permissions::from_mode(0o711)).unwrap();
            }
            let lock = HostLock::acquire(&paths).unwrap();
            ReservationStore::create(
                &paths,
                &lock,
                PoolSettings::new("10.213.0.0/16".parse().unwrap(), IdPool { base: 1 << 30, count: 1 << 30 }),
            )
            .unwrap();
            let store = Store::new(paths.clone());
            let layer = store.add_layer(&mut std::fs::File::open("/tmp/e2e/base.sqfs").unwrap(), &NoProgress).unwrap();
            let m = Manifest {
                schema_version: 1,
                name: "busybox".parse().unwrap(),
                created: "2026-11-22T00:00:00Z".parse().unwrap(),
                architecture: "x86_64".into(),
                layers: vec![layer],
                base: None,
                config: ImageConfig::default(),
            };
            store.register(Kind::Base, &m).unwrap();
        }
        "provision" => {
            println!(
                "{}",
                service
                    .provision_with(&ProvisionOptions {
                        name: args.get(2).map(|n| n.parse().unwrap()),
                        ..Default::default()
                    })
                    .unwrap()
                    .name()
            );
        }
        "run" => {
            let t = std::time::Instant::now();
            let c = service.container(&args[2].parse().unwrap()).unwrap();
            let r = c.run(args[3..].to_vec());
            eprintln!("{r:?} {:?}", t.elapsed());
        }
        "oneshot" => {
            let t = std::time::Instant::now();
            let c = service.load_image("busybox", true).unwrap();
            let a = t.elapsed();
            let r = c.run(args[2..].to_vec());
            eprintln!("{r:?} load {a:?} {:?}", t.elapsed());
        }
        "start" => service.container(&args[2].parse().unwrap()).unwrap().start().unwrap(),
        "stop" => {
            service.container(&args[2].parse().unwrap()).unwrap().stop(std::time::Duration::from_secs(3)).unwrap()
        }
        "rm" => service.container(&args[2].parse().unwrap()).unwrap().remove(true).unwrap(),
        "ls" => println!("{:#?}", service.containers().unwrap()),
        _ => panic!(),
    }
}
