use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version")
}

fn plan(devices: u32) -> Plan {
    let versions = Mix::parse("1.3.0=70,1.2.0=30", Version::parse).expect("a mix");
    Plan {
        devices,
        products: vec![ProductName::parse("p").expect("a name")],
        versions,
        hardware: Mix::of(None),
        interval: Duration::from_secs(100),
        install: Duration::from_secs(10),
        speed: 1.0,
        together: false,
    }
}

fn fleet(plan: &Plan) -> Fleet {
    Fleet::new(plan, fastrand::Rng::with_seed(7))
}

fn census(fleet: &Fleet) -> Vec<String> {
    let line =
        |(product, version, count): (&ProductName, &Version, u32)| format!("{product} {version} {count}");
    fleet.census().into_iter().map(line).collect()
}

const LONG: Duration = Duration::from_secs(1_000_000);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn shares_are_as_asked_for() {
    let mut plan = plan(500);
    assert_eq!(census(&fleet(&plan)), ["p 1.3.0 350", "p 1.2.0 150"]);
    plan.products.push(ProductName::parse("a").expect("a name"));
    let board = |text: &str| Hardware::parse(text).map(Some);
    plan.hardware = Mix::parse("rev-a=1,rev-b=3", board).expect("a mix");
    let fleet = fleet(&plan);
    assert_eq!(census(&fleet), ["p 1.3.0 175", "p 1.2.0 75", "a 1.3.0 175", "a 1.2.0 75"]);
    let boards =
        (0..500).filter(|serial| fleet.question(*serial).hardware == board("rev-a").unwrap().as_ref());
    assert!((124..=125).contains(&boards.count()));
    // Board and version do not go together.
    let both = (0..500).map(|serial| fleet.question(serial)).filter(|asked| {
        asked.hardware == board("rev-a").unwrap().as_ref() && *asked.version == version("1.2.0")
    });
    assert!((20..=55).contains(&both.count()));
}

#[test]
fn first_checks_are_spread_or_together() {
    let mut plan = plan(1000);
    let due = |fleet: &mut Fleet, now: u64| {
        std::iter::from_fn(|| fleet.take_check(Duration::from_secs(now))).count()
    };
    let mut spread = fleet(&plan);
    assert_eq!(due(&mut spread, 0), 0);
    assert!((400..600).contains(&due(&mut spread, 50)));
    due(&mut spread, 100);
    assert_eq!(spread.next_check(), None);
    plan.together = true;
    assert_eq!(due(&mut fleet(&plan), 0), 1000);
}

#[test]
fn an_offer_is_fetched_installed_and_run() {
    let mut fleet =
        fleet(&Plan { devices: 1, together: true, versions: Mix::of(version("1.2.0")), ..plan(1) });
    assert_eq!(fleet.adoption(), (0, 0));
    let (serial, _) = fleet.take_check(Duration::ZERO).expect("due");
    let offer = Told::Offer(version("1.4.0"));
    assert!(fleet.answered(SECOND, serial, &offer, Some(60 * SECOND)));
    assert_eq!(fleet.adoption(), (0, 1));
    assert_eq!((fleet.next_check(), fleet.next_boot()), (None, None));
    fleet.fetched(2 * SECOND, serial, Got::Image);
    let boot = fleet.next_boot().expect("installs");
    assert!(boot >= 7 * SECOND && boot <= 17 * SECOND, "{boot:?}");
    fleet.settle(boot);
    assert_eq!(census(&fleet), ["p 1.4.0 1"]);
    assert_eq!((fleet.adoption(), fleet.running(&version("1.4.0"))), ((1, 1), 1));
    let next = fleet.next_check().expect("asks again");
    assert!(next >= 61 * SECOND && next <= 64 * SECOND, "{next:?}");
    // The version that it runs already is no news.
    let (serial, _) = fleet.take_check(next).expect("due");
    assert!(!fleet.answered(next, serial, &offer, None));
}

#[test]
fn failures_wait_longer_each_time_and_speed_shortens_all() {
    for speed in [1.0, 50.0] {
        let mut fleet = fleet(&Plan { together: true, speed, ..plan(1) });
        let mut now = Duration::ZERO;
        for expected in [5.0, 10.0, 20.0, 40.0, 80.0, 100.0, 100.0] {
            let (serial, _) = fleet.take_check(now).expect("due");
            assert!(!fleet.answered(now, serial, &Told::Failed, None));
            let next = fleet.next_check().expect("asks again");
            let waited = (next - now).as_secs_f64() * speed;
            assert!((expected - 1e-3..=expected * 1.051).contains(&waited), "{waited} for {expected}");
            now = next;
        }
        // The server knows better.
        let (serial, _) = fleet.take_check(now).expect("due");
        fleet.answered(now, serial, &Told::Busy, Some(3 * SECOND));
        let waited = (fleet.next_check().expect("asks again") - now).as_secs_f64() * speed;
        assert!((2.99..=3.16).contains(&waited), "{waited}");
        let (serial, _) = fleet.take_check(now + 4 * SECOND).expect("due");
        fleet.answered(now, serial, &Told::Nothing, Some(Duration::MAX));
        assert!(fleet.next_check().expect("asks again") > now + LONG / 100);
    }
}

proptest! {
    /// Any answers, in any order, at any time.
    #[test]
    fn nobody_asks_early_and_nobody_is_lost(
        seed: u64,
        speed in 0.5_f64..500.0,
        steps in prop::collection::vec((0_u64..30_000, 0_u8..8, prop::option::of(0_u64..400)), 1..300),
    ) {
        let devices = 20;
        let mut fleet = Fleet::new(&Plan { speed, ..plan(devices) }, fastrand::Rng::with_seed(seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut not_before = vec![Duration::ZERO; devices as usize];
        let (mut asking, mut fetching) = (Vec::new(), Vec::new());
        let mut now = Duration::ZERO;
        for (millis, what, retry_after) in steps {
            now += Duration::from_secs_f64(millis as f64 / 1000.0 / speed);
            fleet.settle(now);
            prop_assert!(fleet.next_boot().is_none_or(|boot| boot > now));
            while random.u8(..) > 40 && let Some((serial, due)) = fleet.take_check(now) {
                prop_assert!(due <= now && now >= not_before[serial as usize]);
                prop_assert!(!asking.contains(&serial) && !fetching.contains(&serial));
                asking.push(serial);
            }
            if what < 5 && !asking.is_empty() {
                let serial = asking.swap_remove(random.usize(..asking.len()));
                let told = match what {
                    0 => Told::Nothing,
                    1 => Told::Busy,
                    2 => Told::Failed,
                    minor => Told::Offer(version(&format!("1.{minor}.0"))),
                };
                let retry_after = retry_after.map(Duration::from_secs);
                if fleet.answered(now, serial, &told, retry_after) {
                    fetching.push(serial);
                }
                let wait = retry_after.unwrap_or(FIRST_BACKOFF).as_secs_f64() / speed;
                not_before[serial as usize] = now + Duration::from_secs_f64((wait - 1e-6).max(0.0));
            } else if !fetching.is_empty() {
                let serial = fetching.swap_remove(random.usize(..fetching.len()));
                let retry_after = retry_after.map(Duration::from_secs);
                let got = match what {
                    5 => Got::Image,
                    6 => Got::Failed,
                    _ => Got::Busy(retry_after),
                };
                fleet.fetched(now, serial, got);
                if let Got::Busy(Some(wait)) = got {
                    let allowed = now + Duration::from_secs_f64((wait.as_secs_f64() / speed - 1e-6).max(0.0));
                    let not_before = &mut not_before[serial as usize];
                    *not_before = allowed.max(*not_before);
                }
            }
            let count: u32 = fleet.census().iter().map(|(.., count)| count).sum();
            prop_assert_eq!(count, devices);
            let known = asking.len() + fetching.len() + fleet.checks.len() + fleet.boots.len();
            prop_assert_eq!(known, devices as usize);
            let (updated, all) = fleet.adoption();
            prop_assert!(updated <= all && all <= devices);
        }
    }
}
