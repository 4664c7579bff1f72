//! Publishers and devices at work at two replicas, while things fail around them.

use std::{
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    ask::{Life, Product, ask, offer},
    faults::Wire,
    history::{Call, Operation, Reply, STALENESS},
};
use crate::harness::{Backend, Server, eventually, product_name};

const PRODUCTS: usize = 2;
const PUBLISHERS_OF_EACH: usize = 3;
/// How long a publisher waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than are ever published.
const VERSIONS: u8 = 200;

/// What happened.
pub struct Run {
    pub histories: Vec<(String, Vec<Operation>)>,
    pub lost_commits: usize,
    pub kills: usize,
}

impl Run {
    pub fn summary(&self) -> String {
        let of = |wanted: Reply| {
            let all = self.histories.iter().flat_map(|(_, operations)| operations);
            all.filter(|operation| operation.reply == wanted).count()
        };
        let calls: usize = self.histories.iter().map(|(_, operations)| operations.len()).sum();
        format!(
            "{calls} calls: {} created, {} conflicts, {} refused, {} without an answer; {} lost commits, {} kills",
            of(Reply::Created),
            of(Reply::Conflict),
            of(Reply::Refused),
            of(Reply::Unknown),
            self.lost_commits,
            self.kills
        )
    }
}

struct Replica {
    wire: Wire,
    home: Arc<TempDir>,
    url: String,
    life: RwLock<Option<Life>>,
    server: tokio::sync::Mutex<Option<Server>>,
}

struct World {
    backend: Backend,
    began: Instant,
    replicas: Vec<Replica>,
    products: Vec<Product>,
    lives: AtomicUsize,
    kills: AtomicUsize,
}

/// Runs it all.
pub async fn run(backend: &Backend, seed: u64, time: Duration) -> Run {
    let database = backend.stores().database();
    let (host, port) = database.address();
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let wire = Wire::to(&host, port).await;
        let url = secrecy::ExposeSecret::expose_secret(&database.url_at("127.0.0.1", wire.port)).to_owned();
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        replicas.push(Replica {
            wire,
            home,
            url,
            life: RwLock::new(None),
            server: tokio::sync::Mutex::new(None),
        });
    }
    let products = (0..PRODUCTS).map(|at| Product {
        name: product_name(),
        seed: 10_000 * (at as u64 + 1),
        progress: AtomicU8::new(0),
        history: Mutex::new(Vec::new()),
    });
    let world = Arc::new(World {
        backend: backend.clone(),
        began: Instant::now(),
        replicas,
        products: products.collect(),
        lives: AtomicUsize::new(0),
        kills: AtomicUsize::new(0),
    });
    tokio::join!(world.start(0), world.start(1));
    for product in &world.products {
        world.replicas[0].life().expect("started").publisher.create(&product.name).await;
    }

    let until = Instant::now() + time;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tasks = JoinSet::new();
    for product in 0..PRODUCTS {
        for _ in 0..PUBLISHERS_OF_EACH {
            tasks.spawn(publish(Arc::clone(&world), product, random.fork(), until));
        }
        for replica in 0..2 {
            tasks.spawn(check(Arc::clone(&world), product, replica, until));
        }
    }
    tokio::join!(fail(&world, random.fork(), until), tasks.join_all());
    for product in 0..PRODUCTS {
        settle(&world, product).await;
    }
    for replica in &world.replicas {
        drop(replica.server.lock().await.take());
    }
    let histories = world.products.iter().map(|product| {
        let history = std::mem::take(&mut *product.history.lock().expect("no panic"));
        (product.name.clone(), history)
    });
    Run {
        histories: histories.collect(),
        lost_commits: world.replicas.iter().map(|replica| replica.wire.lost_commits()).sum(),
        kills: world.kills.load(Ordering::SeqCst),
    }
}

impl Replica {
    fn life(&self) -> Option<Life> {
        self.life.read().expect("no panic").clone()
    }
}

impl World {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Starts a replica, at its home, and waits until it has heard from the catalogue.
    async fn start(&self, replica: usize) {
        let replica = &self.replicas[replica];
        let builder =
            Server::builder(&self.backend).at_home_of(&replica.home).set("CATALOGUE__URL", &replica.url);
        let server = builder.start().await;
        let (publisher, device) = (server.publisher(), server.device());
        eventually("the catalogue is heard", async || {
            (device.ready().await.1["snapshot_source"] == "catalogue").then_some(())
        })
        .await;
        let number = self.lives.fetch_add(1, Ordering::SeqCst);
        *replica.server.lock().await = Some(server);
        *replica.life.write().expect("no panic") = Some(Life { number, publisher, device });
    }

    /// `kill -9`, and a start after a while.
    async fn kill(&self, replica: usize, pause: Duration) {
        *self.replicas[replica].life.write().expect("no panic") = None;
        let server = self.replicas[replica].server.lock().await.take();
        tokio::task::spawn_blocking(move || server.expect("it runs").kill()).await.expect("no panic");
        self.kills.fetch_add(1, Ordering::SeqCst);
        sleep(pause).await;
        self.start(replica).await;
    }

    fn record(&self, product: usize, operation: Operation) {
        self.products[product].history.lock().expect("no panic").push(operation);
    }
}

/// Things that fail, one after the other, spread over the time.
async fn fail(world: &World, mut random: fastrand::Rng, until: Instant) {
    let mut faults = vec!["commit", "commit", "commit", "commit", "cut", "cut", "outage", "kill"];
    random.shuffle(&mut faults);
    // Whatever the machine's speed, these happen.
    faults.splice(0..0, ["commit", "kill"]);
    for fault in faults {
        sleep(Duration::from_millis(random.u64(100..700))).await;
        if Instant::now() > until {
            return;
        }
        let at = random.usize(0..2);
        let wire = &world.replicas[at].wire;
        match fault {
            "commit" => wire.lose_a_commit().await,
            "cut" => wire.cut(),
            "outage" => wire.fail_for(Duration::from_millis(random.u64(300..1500))).await,
            _ => world.kill(at, Duration::from_millis(random.u64(0..500))).await,
        }
    }
}

/// A publisher of one product.
async fn publish(world: Arc<World>, product: usize, mut random: fastrand::Rng, until: Instant) {
    let mut again = None;
    while Instant::now() < until {
        let Some(life) = world.replicas[random.usize(0..2)].life() else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let progress = world.products[product].progress.load(Ordering::SeqCst);
        let call = again.take().unwrap_or_else(|| choose(&mut random, progress));
        // Some give up early: their connection is cut while the server works.
        let patience =
            if random.u8(0..25) == 0 { Duration::from_millis(random.u64(1..80)) } else { PATIENCE };
        let invoked = world.now();
        let reply =
            timeout(patience, ask(&life, &world.products[product], call)).await.unwrap_or(Reply::Unknown);
        let returned = (reply != Reply::Unknown).then(|| world.now());
        if reply == Reply::Created
            && let Call::Publish { version, .. } = call
        {
            world.products[product].progress.fetch_max(version, Ordering::SeqCst);
        }
        if matches!(reply, Reply::Unknown | Reply::Nothing) {
            again = (random.u8(0..4) > 0).then_some(call);
            // A question without an answer says nothing.
            if reply == Reply::Nothing || matches!(call, Call::Read { .. } | Call::Check) {
                continue;
            }
        }
        world.record(product, Operation::new(call, reply, invoked, returned));
    }
}

fn choose(random: &mut fastrand::Rng, progress: u8) -> Call {
    let version = (progress.saturating_sub(2) + random.u8(0..5)).min(VERSIONS - 1);
    match random.u8(0..20) {
        0..9 => Call::Publish { version, bytes: random.u8(0..2), offer: random.bool() },
        9..12 => Call::Promote { version },
        12..14 => Call::Recall { version },
        14..18 => Call::Read { version },
        _ => Call::Check,
    }
}

/// Devices of one product, at one replica.
async fn check(world: Arc<World>, product: usize, replica: usize, until: Instant) {
    while Instant::now() < until {
        sleep(Duration::from_millis(120)).await;
        let replica = &world.replicas[replica];
        let Some(life) = replica.life() else { continue };
        let asked_at = Instant::now();
        let invoked = world.now();
        if let Some(offer) = offer(&life, &world.products[product]).await {
            let lost = replica.wire.lost_since(asked_at, STALENESS);
            let lost = lost.map(|since| since.saturating_duration_since(world.began));
            let operation = Operation::new(Call::Check, Reply::Offer(offer), invoked, Some(world.now()));
            world.record(product, operation.by_replica(life.number, lost));
        }
    }
}

/// What is there in the end, as each replica tells it; and devices are told the same before long.
async fn settle(world: &World, product: usize) {
    let known = &world.products[product];
    let settled = world.now();
    let last = (known.progress.load(Ordering::SeqCst) + 5).min(VERSIONS - 1);
    let calls = (0..=last).map(|version| Call::Read { version }).chain([Call::Check]);
    for call in calls {
        for replica in &world.replicas {
            let life = replica.life().expect("it runs in the end");
            let reply = eventually("an answer in the end", async || {
                let invoked = world.now();
                let reply = ask(&life, known, call).await;
                (!matches!(reply, Reply::Unknown | Reply::Nothing))
                    .then(|| Operation::new(call, reply, invoked, Some(world.now())))
            })
            .await;
            world.record(product, reply.clone());
            if let Reply::Offer(expected) = reply.reply {
                let told = eventually("devices are told the last offer", async || {
                    (offer(&life, known).await? == expected).then(|| world.now())
                })
                .await;
                let late = told.saturating_sub(settled);
                assert!(late < STALENESS, "a replica that nothing fails told old news for {late:?}");
            }
        }
    }
}
