//! The devices: who runs what, and who asks when. Pure: the time is given, nobody is waited for.
//!
//! A device waits for its next check, asks, fetches an image, installs it, and waits again; it is in exactly one of
//! these. Times are those of the run; what a device is told to wait is divided by the run's speed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use super::mix::Mix;
use crate::domain::{
    name::{Hardware, ProductName},
    version::Version,
};

/// Added to every wait, at most, in parts of it: no two devices have the same clock.
const JITTER: f64 = 0.05;
/// The first wait after a failure; each further one doubles it, up to the interval.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
/// The longest wait that is believed.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A device's number.
pub type Serial = u32;

/// What the devices are and how they behave.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many.
    pub devices: u32,
    /// Of which products, in equal shares.
    pub products: Vec<ProductName>,
    /// What they run at the start.
    pub versions: Mix<Version>,
    /// Their boards; `None` = they do not say.
    pub hardware: Mix<Option<Hardware>>,
    /// How often they ask before they are told.
    pub interval: Duration,
    /// How long an installation takes, more or less.
    pub install: Duration,
    /// How many times faster than real ones they live.
    pub speed: f64,
    /// All ask at once at the start, as after a power cut.
    pub together: bool,
}

/// What a device was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing newer.
    Nothing,
    /// There is this.
    Offer(Version),
    /// Too busy.
    Busy,
    /// No answer that it can use.
    Failed,
}

/// How getting the image went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// The device has it.
    Image,
    /// Too many fetch; it may come again after this, if that was said.
    Busy(Option<Duration>),
    /// It has not.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Asking,
    Fetching,
    Installing,
}

#[derive(Debug, Clone)]
struct Device {
    /// Not before this it asks again.
    promised: Duration,
    version: u32,
    /// What it fetches or installs.
    offered: u32,
    kind: u16,
    failures: u8,
    state: State,
}

/// Devices of one product and hardware.
#[derive(Debug, Clone)]
struct Kind {
    product: ProductName,
    hardware: Option<Hardware>,
    /// How many run each version, by its index.
    census: Vec<u32>,
    /// The highest that one of them was offered.
    newest: Option<u32>,
}

/// The facts that a device asks with.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its product.
    pub product: &'a ProductName,
    /// What it runs.
    pub version: &'a Version,
    /// Its board.
    pub hardware: Option<&'a Hardware>,
}

/// All of them.
#[derive(Debug)]
pub struct Fleet {
    devices: Vec<Device>,
    kinds: Vec<Kind>,
    versions: Vec<Version>,
    numbers: HashMap<Version, u32>,
    checks: BinaryHeap<Reverse<(Duration, Serial)>>,
    boots: BinaryHeap<Reverse<(Duration, Serial)>>,
    random: fastrand::Rng,
    interval: Duration,
    install: Duration,
    speed: f64,
}

impl Fleet {
    /// The fleet at the time 0. The first checks are spread over an interval, if they are not together.
    pub fn new(plan: &Plan, random: fastrand::Rng) -> Self {
        let mut fleet = Self {
            devices: Vec::new(),
            kinds: Vec::new(),
            versions: Vec::new(),
            numbers: HashMap::new(),
            checks: BinaryHeap::new(),
            boots: BinaryHeap::new(),
            random,
            interval: plan.interval,
            install: plan.install,
            speed: plan.speed,
        };
        let versions: Vec<u32> = plan.versions.values().map(|version| fleet.number(version)).collect();
        let total = usize::try_from(plan.devices).unwrap_or(usize::MAX);
        for (index, product) in plan.products.iter().enumerate() {
            let share = total * (index + 1) / plan.products.len() - total * index / plan.products.len();
            let first_kind = fleet.kinds.len();
            fleet.kinds.extend(plan.hardware.values().map(|hardware| Kind {
                product: product.clone(),
                hardware: hardware.clone(),
                census: Vec::new(),
                newest: None,
            }));
            let hardware = plan.hardware.deal(share, &mut fleet.random);
            let version = plan.versions.deal(share, &mut fleet.random);
            for (hardware, version) in hardware.into_iter().zip(version) {
                let kind = first_kind + usize::from(hardware);
                fleet.add(kind, versions[usize::from(version)], plan.together);
            }
        }
        fleet
    }

    fn add(&mut self, kind: usize, version: u32, together: bool) {
        let serial = Serial::try_from(self.devices.len()).expect("as many as a plan's u32");
        let part = self.random.f64();
        let due = if together { Duration::ZERO } else { self.scaled(self.interval, part) };
        self.count(kind, version);
        self.devices.push(Device {
            promised: due,
            version,
            offered: version,
            kind: u16::try_from(kind).unwrap_or(u16::MAX),
            failures: 0,
            state: State::Waiting,
        });
        self.checks.push(Reverse((due, serial)));
    }

    /// When the next check is due.
    pub fn next_check(&self) -> Option<Duration> {
        self.checks.peek().map(|Reverse((due, _))| *due)
    }

    /// When the next device has installed.
    pub fn next_boot(&self) -> Option<Duration> {
        self.boots.peek().map(|Reverse((due, _))| *due)
    }

    /// Lets those who have installed run their new version.
    pub fn settle(&mut self, now: Duration) {
        while let Some(&Reverse((due, serial))) = self.boots.peek().filter(|Reverse((due, _))| *due <= now) {
            self.boots.pop();
            let device = &mut self.devices[serial as usize];
            let (kind, before, after) = (usize::from(device.kind), device.version, device.offered);
            device.version = after;
            device.state = State::Waiting;
            let next = device.promised.max(due);
            self.kinds[kind].census[before as usize] -= 1;
            self.count(kind, after);
            self.checks.push(Reverse((next, serial)));
        }
    }

    /// The device whose check is due, and since when; it asks from now on.
    pub fn take_check(&mut self, now: Duration) -> Option<(Serial, Duration)> {
        let &Reverse((due, serial)) = self.checks.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.checks.pop();
        self.devices[serial as usize].state = State::Asking;
        Some((serial, due))
    }

    /// What a device asks.
    pub fn question(&self, serial: Serial) -> Question<'_> {
        let device = &self.devices[serial as usize];
        let kind = &self.kinds[usize::from(device.kind)];
        Question {
            product: &kind.product,
            hardware: kind.hardware.as_ref(),
            version: &self.versions[device.version as usize],
        }
    }

    /// A device has its answer, which may say when to ask again; `true` = it wants the image now, and
    /// [`Self::fetched`] must follow.
    pub fn answered(
        &mut self,
        now: Duration,
        serial: Serial,
        told: &Told,
        retry_after: Option<Duration>,
    ) -> bool {
        let failures = match told {
            Told::Nothing | Told::Offer(_) => 0,
            Told::Busy | Told::Failed => self.devices[serial as usize].failures.saturating_add(1),
        };
        let wait = retry_after.unwrap_or_else(|| match failures {
            0 => self.interval,
            // 2^20 times the first is more than any interval.
            failures => self.interval.min(FIRST_BACKOFF * 2_u32.pow(u32::from(failures - 1).min(20))),
        });
        let spread = 1.0 + JITTER * self.random.f64();
        let promised = now + self.scaled(wait.min(LONGEST), spread);
        let offered = match told {
            Told::Offer(version) => Some(self.number(version)),
            _ => None,
        };
        let device = &mut self.devices[serial as usize];
        debug_assert_eq!(device.state, State::Asking, "only who asks is answered");
        device.failures = failures;
        device.promised = promised;
        match offered.filter(|offered| *offered != device.version) {
            Some(offered) => {
                device.state = State::Fetching;
                device.offered = offered;
                let kind = usize::from(device.kind);
                self.aim(kind, offered);
                true
            }
            None => {
                device.state = State::Waiting;
                self.checks.push(Reverse((promised, serial)));
                false
            }
        }
    }

    /// A device has the image, or asks again when it may.
    pub fn fetched(&mut self, now: Duration, serial: Serial, got: Got) {
        let spread = 0.5 + self.random.f64();
        let booted = now + self.scaled(self.install, spread);
        let allowed = match got {
            Got::Busy(Some(wait)) => now + self.scaled(wait.min(LONGEST), 1.0 + JITTER * (spread - 0.5)),
            _ => now,
        };
        let device = &mut self.devices[serial as usize];
        debug_assert_eq!(device.state, State::Fetching, "only who fetches has fetched");
        match got {
            Got::Image => {
                device.state = State::Installing;
                self.boots.push(Reverse((booted, serial)));
            }
            Got::Busy(_) | Got::Failed => {
                device.state = State::Waiting;
                let next = device.promised.max(allowed);
                self.checks.push(Reverse((next, serial)));
            }
        }
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// How many run each version of each product: the product's order, the highest version first.
    pub fn census(&self) -> Vec<(&ProductName, &Version, u32)> {
        let mut found: Vec<(&ProductName, &Version, u32)> = Vec::new();
        for kind in &self.kinds {
            for (version, count) in self.versions.iter().zip(&kind.census).filter(|(_, count)| **count > 0) {
                let same = found
                    .iter_mut()
                    .find(|(product, known, _)| *product == &kind.product && *known == version);
                match same {
                    Some((_, _, total)) => *total += count,
                    None => found.push((&kind.product, version, *count)),
                }
            }
        }
        // Stable: the products stay in their order.
        let place = |product: &ProductName| self.kinds.iter().position(|kind| kind.product == *product);
        found.sort_by(|a, b| place(a.0).cmp(&place(b.0)).then_with(|| b.1.cmp(a.1)));
        found
    }

    /// How many devices run this version.
    pub fn running(&self, version: &Version) -> u32 {
        let Some(number) = self.numbers.get(version) else { return 0 };
        self.kinds.iter().filter_map(|kind| kind.census.get(*number as usize)).sum()
    }

    /// How many devices run the highest version that was offered to their kind, and how many there are of those kinds.
    pub fn adoption(&self) -> (u32, u32) {
        let offered = self.kinds.iter().filter_map(|kind| Some((kind, kind.newest? as usize)));
        offered.fold((0, 0), |(updated, all), (kind, newest)| {
            let runs = kind.census.get(newest).copied().unwrap_or(0);
            (updated + runs, all + kind.census.iter().sum::<u32>())
        })
    }

    fn aim(&mut self, kind: usize, offered: u32) {
        let newest = &mut self.kinds[kind].newest;
        let higher =
            newest.is_none_or(|newest| self.versions[offered as usize] > self.versions[newest as usize]);
        if higher {
            *newest = Some(offered);
        }
    }

    fn count(&mut self, kind: usize, version: u32) {
        let census = &mut self.kinds[kind].census;
        let index = version as usize;
        if census.len() <= index {
            census.resize(index + 1, 0);
        }
        census[index] += 1;
    }

    fn number(&mut self, version: &Version) -> u32 {
        if let Some(number) = self.numbers.get(version) {
            return *number;
        }
        let number = u32::try_from(self.versions.len()).expect("no run meets so many versions");
        self.versions.push(version.clone());
        self.numbers.insert(version.clone(), number);
        number
    }

    fn scaled(&self, wait: Duration, times: f64) -> Duration {
        Duration::from_secs_f64(wait.as_secs_f64() * times / self.speed)
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
